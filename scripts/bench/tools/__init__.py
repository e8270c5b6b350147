"""The tools that are compared. A new one is a `Tool` added to `TOOLS`."""

from scripts.bench.tools import (
    diffrax_solves,
    insilico_solves,
    libroadrunner_solves,
    mrgsolve_runs,
    numbalsoda_solves,
    simglucose_runs,
)
from scripts.bench.tools.protocol import Tool

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        *insilico_solves.TOOLS,
        *diffrax_solves.TOOLS,
        numbalsoda_solves.TOOL,
        libroadrunner_solves.TOOL,
        mrgsolve_runs.TOOL,
        simglucose_runs.TOOL,
    )
}
"""Tools by name, in the order of the report."""

_PEERS = (numbalsoda_solves.TOOL.name, libroadrunner_solves.TOOL.name)
_WITH_R = (*_PEERS, mrgsolve_runs.TOOL.name)

DEFAULT_TOOLS: dict[str, tuple[str, ...]] = {
    "P1": ("insilico-xla", "diffrax-scan", "diffrax-jump-ts", "diffrax-interval", *_WITH_R),
    "P2": ("insilico-xla", "diffrax-scan", "diffrax-jump-ts", *_WITH_R),
    "P3": ("insilico-xla", "diffrax-scan", "diffrax-interval", *_PEERS),
    "lorenz": ("insilico-xla", "diffrax-scan", *_PEERS),
}
"""What is compared on each problem unless `--tools` says otherwise: tools by which each patient's
answer is its own, without those known to be slower or, as simglucose, slow altogether."""

GPU_TOOLS = ("insilico-kernel", "insilico-xla", "diffrax-scan")
"""What is compared on a GPU."""

GRADIENT_TOOLS = (
    "insilico-xla",
    "insilico-xla-gradient",
    "insilico-traced",
    "insilico-traced-gradient",
    "diffrax-scan",
    "diffrax-scan-gradient",
)
"""What is compared where gradients are: each next to its own plain solve."""
