"""Event tables with NONMEM's meaning; `README.md` beside this file says what was decided where."""

import importlib
from typing import TYPE_CHECKING, Any

from insilico.solve.records.insertion import also_at
from insilico.solve.records.mistakes import Mistake, RecordsError
from insilico.solve.records.reading import Covariate, Records, read_records
from insilico.solve.records.table import Layout, RecordTable, Role, Row

if TYPE_CHECKING:
    from insilico.solve.records.expansion import Expanded, expand, overlaps
    from insilico.solve.records.occasions import in_occasions

__all__ = [
    "Covariate",
    "Expanded",
    "Layout",
    "Mistake",
    "RecordTable",
    "Records",
    "RecordsError",
    "Role",
    "Row",
    "also_at",
    "expand",
    "in_occasions",
    "overlaps",
    "read_records",
]


def __getattr__(name: str) -> Any:
    # What computes needs JAX, which reading a table should not wait for.
    if name in ("Expanded", "expand", "overlaps"):
        return getattr(importlib.import_module(f"{__name__}.expansion"), name)
    if name == "in_occasions":
        return importlib.import_module(f"{__name__}.occasions").in_occasions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
