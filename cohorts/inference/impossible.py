"""What no start can be found for: measured values that have no density, whatever the parameters.

A true value of 0, as before the first dose, has no error in proportion to it and no logarithm.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from cohorts.data import Kind
from cohorts.inference.joint import Joint
from cohorts.inference.patients import Data
from insilico.devices import QUICKLY
from insilico.randomness import address, purpose_key
from insilico.solve import Status

PRIOR_DRAWS = 16
"""At which values are looked at; what has no density at any of them is told."""

LISTED = 5
"""Values, and subjects, that a message names."""


class Impossible(NamedTuple):
    """What has no density at any draw of the prior.

    - `values`: (records, subjects), measured values of subjects who can be solved.
    - `subjects`: (subjects,), those whose every solve failed.
    """

    values: Bool[np.ndarray, "records subjects"]
    subjects: Bool[np.ndarray, " subjects"]

    def words(self, subjects: Sequence[Any], joint: Joint, data: Data) -> str:
        """What is to be said of it, a sentence after a semicolon; empty where it is nothing.

        `subjects`: their IDs.
        """
        parts = []
        if np.any(self.values):
            places = np.argwhere(self.values.T).tolist()
            time, output = np.asarray(data.table.time), np.asarray(data.output)
            unit = joint.model.time_unit
            told = [
                f"{joint.outputs[output[record, subject]]} of subject {subjects[subject]} at "
                f"{time[record, subject]:g} {unit}"
                for subject, record in places[:LISTED]
            ]
            parts.append(
                f"{_listed(told, len(places))} cannot have been measured by the model: the true "
                "value there is 0, as before a dose, where an error in proportion has no spread "
                "and a logarithmic one no mean; give the residual error an additive part, or "
                "leave these records out"
            )
        if np.any(self.subjects):
            numbers = np.flatnonzero(self.subjects)
            told = [str(subjects[number]) for number in numbers[:LISTED]]
            parts.append(f"every solve failed of subject {_listed(told, len(numbers))}")
        return "".join(f"; {part}" for part in parts)


def impossible(joint: Joint, data: Data, seed: int) -> Impossible:
    """What has no density at any of `PRIOR_DRAWS` draws of the population and its subjects."""
    root = purpose_key(seed, "impossible values")

    def of_draw(number: Array, data: Data) -> tuple[Array, Array]:
        theta, x = joint.draw(address(root, number), data)
        predicted = joint.predicted(theta, x, data, None)
        mean, sd = predicted.mean, predicted.sd
        without = ~(jnp.isfinite(mean) & jnp.isfinite(sd) & (sd > 0.0))
        failed = predicted.status != Status.OK
        without &= ~failed[..., None, :]
        if joint.components > 1:
            without, failed = jnp.all(without, axis=0), jnp.all(failed, axis=0)
        return without & (data.kind == Kind.VALUE), failed

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def at_all(data: Data) -> tuple[Array, Array]:
        numbers = jnp.arange(PRIOR_DRAWS)
        without, failed = jax.vmap(lambda number: of_draw(number, data))(numbers)
        solved = jnp.any(~failed, axis=0)
        return jnp.all(without | failed[:, None], axis=0) & solved, ~solved

    return Impossible(*map(np.asarray, at_all(data)))


def _listed(told: Sequence[str], count: int) -> str:
    more = f" and {count - len(told)} more" if count > len(told) else ""
    return ", ".join(told) + more
