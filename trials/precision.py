"""How far a trial in single precision is from the truth, measured on some of its patients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from insilico.solve import Status
from insilico.solve.precision import largest_error, sample_of
from trials.dispatching import Addresses, dispatches
from trials.outcomes import Drawn, Treated, make_treat
from trials.study import Study

SAME_TIME = 1e-3
"""Days by which visits of the same decisions may differ."""

SAME_DOSE = 1e-3
"""Share by which their doses may."""


class Measured(NamedTuple):
    """What single precision did to a sample of patients, each in every condition.

    - `error`: the largest relative difference of what visits saw, where all decisions were the
      same; see `insilico.solve.precision.largest_error`.
    - `otherwise`: solves in which a rounding tipped a decision, so that patients went another way.
    - `solves`: all that both precisions solved.
    """

    error: float
    otherwise: int
    solves: int


def measured(
    study: Study,
    draw: Callable[[Addresses], Drawn],
    treat: Callable[[Drawn], Treated],
    addresses: Addresses,
    blocks: int,
    method: str,
) -> Measured:
    """Treat some of the patients at `addresses` again, in double precision and more exactly.

    `draw` and `treat` are the trial's own programs, which take so many `blocks` a device; `method`
    is that of `treat`.
    """
    numbers = sample_of(len(addresses.subject))
    some = Addresses(*(column[numbers] for column in addresses))
    ((batch, _),) = dispatches(some, blocks)
    drawn = draw(batch)
    first = slice(jax.local_device_count())
    exact = make_treat(study.config, study.protocol, method, reference=True)
    ours, theirs = (
        jax.tree.map(lambda column: _solves(column[first], len(numbers)), treated)
        for treated in (treat(drawn), exact(jax.tree.map(lambda column: column[first], drawn)))
    )
    solved = (ours.status == Status.OK) & (theirs.status == Status.OK)
    same = solved & np.all(ours.used == theirs.used, axis=1)
    same &= np.all(np.abs(ours.time - theirs.time) <= SAME_TIME, axis=1)
    dose, its_dose = ours.values["daily_dose"], theirs.values["daily_dose"]
    same &= np.all(np.abs(dose - its_dose) <= SAME_DOSE * np.abs(its_dose), axis=1)
    error = largest_error(ours.values, theirs.values, same)
    return Measured(error, int(np.sum(solved & ~same)), int(np.sum(solved)))


def _solves(column: jax.Array, subjects: int) -> np.ndarray:
    """(blocks, conditions, BLOCK, …) on the device as (solves of those subjects, …) here."""
    array = np.moveaxis(np.asarray(column), 0, 1)
    array = array.reshape(array.shape[0], -1, *array.shape[3:])[:, :subjects]
    return array.reshape(-1, *array.shape[2:])
