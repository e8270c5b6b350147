"""Covariates as a study's subjects had them, drawn subject by subject, so that they go together.

Subjects may have weights, as those of a calibrated population do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cohorts.covariates.draws import Draws, Keyed, Sampled
from cohorts.covariates.model import NOTHING_STATED, Covariates, Stated, choose
from insilico.arrays import library_of
from insilico.config import Name

if TYPE_CHECKING:
    from jaxtyping import Array, Key


class Table(NamedTuple):
    """The subjects who were observed.

    - `columns`: their covariates by name, (observed,).
    - `cumulative`: sums of their weights, the last of which is 1; None where all weigh the same.
    """

    columns: Mapping[str, np.ndarray]
    cumulative: np.ndarray | None = None


class ObservedCovariates:
    """A source of covariates that draws one of the subjects observed for each new one.

    **Arguments:**

    - `name`, `title`, `source`: what reports call it, and where the subjects come from.
    - `vocabulary`: what each covariate is.
    - `table`: values of the subjects observed, (observed,): numbers, or codes of categories.
    - `weights`: how often each is drawn, (observed,), not below 0; default: all alike.

    It has no margins to state: `marginals` is its table, handed in as an argument of programs.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        title: str,
        source: str,
        vocabulary: Mapping[str, Name],
        table: Mapping[str, np.ndarray],
        weights: np.ndarray | None = None,
    ):
        self.name, self.title, self.source = name, title, source
        self.vocabulary = dict(vocabulary)
        cumulative = None
        if weights is not None:
            cumulative = np.cumsum(weights) / np.sum(weights)
        columns = {name: np.asarray(values) for name, values in table.items()}
        self.table = Table(columns, cumulative)

    def draw(self, draws: Draws, marginals: Table, stated: Stated = NOTHING_STATED) -> Covariates:
        """Covariates from the random numbers of one subject, or of many in arrays."""
        values: Covariates = {}
        columns, cumulative = marginals
        if columns:
            observed = next(iter(columns.values())).shape[0]
            uniform = draws.uniform("observed subject")
            xp = library_of(uniform)
            if cumulative is None:
                place = xp.floor(uniform * observed).astype(int)
            else:
                place = xp.searchsorted(xp.asarray(cumulative), uniform, side="right")
            # A uniform number may round up to 1.
            place = xp.minimum(place, observed - 1)
            values = {name: xp.asarray(column)[place] for name, column in columns.items()}
        for name, cumulative in stated.shares.items():
            values[name] = choose(draws.uniform(name), cumulative)
        values.update(stated.constants)
        return values

    def sample(
        self, keys: Key[Array, " subjects"], marginals: Table, stated: Stated = NOTHING_STATED
    ) -> Covariates:
        """Covariates of the subjects that own `keys`: by name, arrays (subjects,)."""
        import jax

        def one(key: Key[Array, ""], marginals: Table, stated: Stated) -> Covariates:
            return self.draw(Keyed(key), marginals, stated)

        return jax.vmap(one, in_axes=(0, None, None))(keys, marginals, stated)

    def people(
        self, seed: int, n: int, marginals: Table, stated: Stated = NOTHING_STATED
    ) -> dict[str, np.ndarray]:
        """Covariates of `n` people who are nobody in particular, without JAX."""
        drawn: dict[str, Any] = self.draw(Sampled(seed, n), marginals, stated)
        return {name: np.broadcast_to(value, (n,)) for name, value in drawn.items()}
