"""Event tables with NONMEM's meaning; `README.md` beside this file says what was decided where."""

from typing import TYPE_CHECKING

import lazy_loader

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

# What computes needs JAX, which reading a table should not wait for.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "expansion": ["Expanded", "expand", "overlaps"],
        "occasions": ["in_occasions"],
    },
)
