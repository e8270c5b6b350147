"""Estimates of a population as a file has them: by name, with their joint uncertainty."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

type Role = Literal["fixed_effect", "variance", "covariance"]


class Estimate(NamedTuple):
    """One estimate, on the scale of the file.

    - `role`: a fixed effect (a theta), or an entry of a covariance matrix of random effects or
      residual errors, on its diagonal (`variance`) or off it (`covariance`).
    - `standard_error`: None where the file has none.
    - `fixed`: whether it was not estimated at all.
    - `of`: of a covariance, the names of its two variances.
    """

    name: str
    value: float
    standard_error: float | None
    fixed: bool
    role: Role
    of: frozenset[str] = frozenset()

    @property
    def relative_standard_error(self) -> float | None:
        """Standard error over the size of the value."""
        if self.standard_error is None or self.value == 0.0:
            return None
        return self.standard_error / abs(self.value)

    @property
    def absent(self) -> bool:
        """Whether it is a covariance that the model does not have."""
        return self.role == "covariance" and self.fixed and self.value == 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Estimates:
    """What a file of estimates says.

    - `source`: the file's name. `method`: of estimation, in the words of the program.
    - `unfinished`: why the run is not to be trusted, in words; None where nothing speaks against.
    - `by_name`: every estimate, those of covariances that the model does not have included.
    - `covariance`: of the estimates of `covariance_names`, from the file `covariance_source`;
      None where there are standard errors at most.
    """

    source: str
    method: str
    by_name: Mapping[str, Estimate]
    unfinished: str | None = None
    covariance_source: str | None = None
    covariance_names: tuple[str, ...] = ()
    covariance: Float[np.ndarray, "names names"] | None = None

    def __getitem__(self, name: str) -> Estimate:
        return self.by_name[name]

    @property
    def names(self) -> list[str]:
        """Of everything that the model has."""
        return [name for name, estimate in self.by_name.items() if not estimate.absent]

    def covariance_of_effects(self, one: str, other: str) -> Estimate | None:
        """The covariance between the effects of two variances; None where there is none."""
        pair = frozenset((one, other))
        found = (each for each in self.by_name.values() if each.of == pair)
        return next((each for each in found if not each.absent), None)

    def uncertain(self, name: str) -> bool:
        """Whether it was estimated, with an uncertainty that is known."""
        estimate = self.by_name[name]
        if estimate.fixed:
            return False
        return name in self.covariance_names or estimate.standard_error is not None

    def covariance_of(self, names: Sequence[str]) -> Float[np.ndarray, "names names"]:
        """Covariance matrix of these estimates; without a matrix in the file they are independent.

        Raises `KeyError` with the first that a matrix lacks.
        """
        if self.covariance is None:
            return np.diag([self._variance(name) for name in names])
        place = {name: number for number, name in enumerate(self.covariance_names)}
        index = [place[name] for name in names]
        return self.covariance[np.ix_(index, index)]

    def _variance(self, name: str) -> float:
        error = self.by_name[name].standard_error
        if error is None:
            raise KeyError(name)
        return error**2


def with_errors(
    estimates: Iterable[Estimate], names: Sequence[str], covariance: np.ndarray
) -> dict[str, Estimate]:
    """The estimates by name, with the standard errors that their covariance matrix has."""
    errors = dict(zip(names, np.sqrt(np.maximum(np.diag(covariance), 0.0)).tolist(), strict=True))
    return {
        each.name: each
        if each.fixed or not errors.get(each.name)
        else each._replace(standard_error=errors[each.name])
        for each in estimates
    }
