"""Targets beside what virtual patients give: how far off each is, in its standard error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cohorts.summaries import statistics
from cohorts.summaries.statistics import TINY, Statistic
from cohorts.summaries.targets import Quantity, Target
from cohorts.summaries.virtual import VirtualCohort


class Published(NamedTuple):
    """The numbers of the targets, (targets,) each; see `Target`."""

    value: Array
    level: Array
    standard_error: Array
    subjects: Array

    @classmethod
    def of(cls, targets: list[Target]) -> Published:
        columns = ("value", "level", "standard_error", "subjects")
        return cls(*(jnp.asarray([getattr(each, c) for each in targets]) for c in columns))


class Compared(NamedTuple):
    """Targets beside virtual patients.

    - `value`: the patients' statistics, in the published units.
    - `deviation`: how far above the published ones they are, on the scale on which they are
      compared: of a quantile whose error follows from the number of subjects, shares below it.
    - `standard_error`: of what was published, on that scale.
    - `covariance`: of what was published, on that scale.
    - `monte_carlo`: covariance of the statistics that comes of the patients' number.
    """

    value: Float[Array, " targets"]
    deviation: Float[Array, " targets"]
    standard_error: Float[Array, " targets"]
    covariance: Float[Array, "targets targets"]
    monte_carlo: Float[Array, "targets targets"]

    @property
    def mismatch(self) -> Array:
        """In standard errors of what was published."""
        return self.deviation / self.standard_error

    @property
    def monte_carlo_error(self) -> Array:
        """Standard error of the patients' statistics, in standard errors of the published ones."""
        return jnp.sqrt(jnp.diagonal(self.monte_carlo, axis1=-2, axis2=-1)) / self.standard_error


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """The targets of a calibration; `smooth`: whether all has to have derivatives."""

    cohort: VirtualCohort
    targets: tuple[Target, ...]
    smooth: bool

    def influences(
        self,
        published: Published,
        weights: Array,
        outputs: Mapping[str, Array],
        measured: Mapping[str, Array],
    ) -> tuple[Array, Array, Array]:
        """Values, deviations, and influences (targets, patients) of patients with weights."""

        def quantity(which: Quantity, arm: int) -> Array:
            return self.cohort.quantity(which, arm, outputs, measured, smooth=self.smooth)

        found = []
        for number, target in enumerate(self.targets):
            x = quantity(target.quantity, target.arm)
            level, value = published.level[number], published.value[number]
            if target.statistic == "correlation":
                assert target.other is not None
                other = quantity(target.other, target.arm)
                statistic = statistics.correlation(x, weights, other)
            elif target.statistic in ("above", "below"):
                statistic = statistics.share_above(x, weights, level, smooth=self.smooth)
                if target.statistic == "below":
                    statistic = Statistic(1.0 - statistic.value, -statistic.influence)
            elif target.statistic == "quantile":
                statistic = statistics.quantile(x, weights, level)
            else:
                statistic = statistics.PLAIN[target.statistic](x, weights)
            if target.of_probability:
                above = statistics.share_above(x, weights, value, smooth=self.smooth)
                deviation = above.value - (1.0 - level)
                found.append((statistic.value, deviation, above.influence))
            else:
                found.append((statistic.value, statistic.value - value, statistic.influence))
        values, deviations, influences = zip(*found, strict=True)
        return jnp.stack(values), jnp.stack(deviations), jnp.stack(influences)

    def compared(
        self,
        published: Published,
        weights: Array,
        outputs: Mapping[str, Array],
        measured: Mapping[str, Array],
    ) -> Compared:
        """The targets beside patients with these weights."""
        value, deviation, influence = self.influences(published, weights, outputs, measured)
        moments = (influence * weights) @ influence.T
        variance = jnp.maximum(jnp.diagonal(moments), TINY)
        error = self._standard_errors(published, variance)
        # Each influence scaled to have the target's own standard error.
        scale = error / jnp.sqrt(variance)
        together = jnp.asarray(self._together)
        covariance = jnp.where(together, moments * scale[:, None] * scale, 0.0)
        covariance = jnp.where(jnp.eye(len(error), dtype=bool), jnp.diag(error**2), covariance)
        monte_carlo = (influence * jnp.square(weights)) @ influence.T
        return Compared(value, deviation, error, covariance, monte_carlo)

    def _standard_errors(self, published: Published, variance: Array) -> Array:
        """Those that were published, and where there are none those of so many subjects."""
        shares = np.array([t.of_probability for t in self.targets])
        fractions = np.array([t.statistic in ("above", "below") for t in self.targets])
        expected = jnp.where(shares, published.level, published.value)
        subjects = jnp.where(jnp.isnan(published.subjects), 1.0, published.subjects)
        # A share that was published as none or all has an error, too: half a subject is added.
        expected = (subjects * expected + 0.5) / (subjects + 1.0)
        binomial = jnp.where(shares | fractions, expected * (1.0 - expected), variance)
        by_number = jnp.sqrt(binomial / subjects)
        stated = ~jnp.isnan(published.standard_error)
        return jnp.where(stated, jnp.where(stated, published.standard_error, 1.0), by_number)

    @property
    def _together(self) -> np.ndarray:
        """Which targets are of the same subjects, (targets, targets)."""
        groups = np.array([target.group for target in self.targets])
        return groups[:, None] == groups
