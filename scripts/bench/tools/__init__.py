"""The tools that are compared. A new one is a `Tool` added to `TOOLS`."""

from scripts.bench.tools import (
    diffrax_solves,
    insilico_xla,
    libroadrunner_solves,
    numbalsoda_solves,
    simglucose_runs,
)
from scripts.bench.tools.protocol import Tool

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        *insilico_xla.TOOLS,
        *diffrax_solves.TOOLS,
        numbalsoda_solves.TOOL,
        libroadrunner_solves.TOOL,
        simglucose_runs.TOOL,
    )
}
"""Tools by name, in the order of the report."""

_PEERS = (numbalsoda_solves.TOOL.name, libroadrunner_solves.TOOL.name)

DEFAULT_TOOLS: dict[str, tuple[str, ...]] = {
    "P1": ("insilico-xla", "diffrax-scan", "diffrax-jump-ts", "diffrax-interval", *_PEERS),
    "P2": ("insilico-xla", "diffrax-scan", "diffrax-jump-ts", *_PEERS),
    "P3": ("insilico-xla", "diffrax-scan", "diffrax-interval", *_PEERS),
    "lorenz": ("insilico-xla", "diffrax-scan", *_PEERS),
}
"""What is compared on each problem unless `--tools` says otherwise: tools by which each patient's
answer is its own, without those known to be slower or, as simglucose, slow altogether."""
