"""The tools that are compared. A new one is a `Tool` added to `TOOLS`."""

from scripts.bench.tools import diffrax_solves, insilico_xla
from scripts.bench.tools.protocol import Tool

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (insilico_xla.TOOL, *diffrax_solves.TOOLS)}
"""Tools by name, in the order of the report."""

DEFAULT_TOOLS: tuple[str, ...] = tuple(
    name for name, tool in TOOLS.items() if tool.reproducible_per_patient
)
"""What is compared unless `--tools` says otherwise: each patient's answer is its own."""
