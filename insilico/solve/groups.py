"""An event table solved in groups of patients, whose lengths differ too much for one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from insilico.solve.records.parting import only
from insilico.solve.records.reading import Records

Group = tuple[Any, Records, Any]
"""Parameters, event table and other arrays of some of the patients."""


def cut(groups: list[np.ndarray], parameters: Any, records: Records, others: Any) -> list[Group]:
    """The groups' own of parameters, (patients,) or (), of the table and of `others`, whose last
    axis is the patients'."""

    def own(group: np.ndarray) -> Callable[[Any], Any]:
        return lambda leaf: leaf[..., group] if np.ndim(leaf) else leaf

    return [
        (
            jax.tree.map(own(group), parameters),
            only(records, group),
            jax.tree.map(own(group), others),
        )
        for group in groups
    ]


def joined(groups: list[np.ndarray], found: list[Any]) -> Any:
    """What came of all patients, a `Solution` as those `found` of the groups.

    Outputs are NaN beyond the last record of a patient, and so of a group.
    """
    patients = sum(map(len, groups))

    def whole(*parts: Any) -> np.ndarray:
        shape = np.max([part.shape[1:] for part in parts], axis=0).astype(int)
        dtype = parts[0].dtype
        result = np.full((patients, *shape), np.nan if dtype.kind == "f" else 0, dtype)
        for group, part in zip(groups, parts, strict=True):
            result[group, *map(slice, part.shape[1:])] = part
        return result

    errors = [each.measured_error for each in found]
    of_patients = [each._replace(measured_error=None) for each in found]
    measured = None if None in errors else float(np.fmax.reduce(errors))
    return jax.tree.map(whole, *of_patients)._replace(measured_error=measured)
