"""Numbers of a population that come from another program's estimates, with their joint uncertainty.

What is uncertain is one multivariate normal vector. Its coordinates have no bounds: an estimate is
itself, or, where what it stands for has to stay above 0, its logarithm; variances and covariances
of correlated random effects are the entries of their matrix's Cholesky factor, with logarithms on
the diagonal, so that every draw of it is a covariance matrix (Pinheiro JC, Bates DM. Unconstrained
parametrizations for variance-covariance matrices. Stat Comput 1996; 6:289-296). The covariance
matrix of the estimates is carried over by the delta method.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from cohorts.hierarchy.hyperparameters import Numbered
from insilico.config import Spec
from insilico.vocabulary import Value, exp, sqrt

if TYPE_CHECKING:
    from jaxtyping import Float

    from cohorts.estimates import Estimates

SITE = "estimates"
"""NumPyro site of the vector."""

type Scale = Literal["natural", "log", "logit", "variance", "change"]


class EstimatesSpec(Spec):
    """Another program's estimates, from which numbers of kind `imported` are taken."""

    file: str = Field(description="NONMEM's .ext, or JSON of nlmixr2; from the config's folder")
    covariance: str | None = Field(
        default=None, description="NONMEM's .cov, the covariance matrix of the estimates"
    )
    table: int | None = Field(
        default=None, ge=1, description="number of the table of an .ext; default: the last"
    )
    uncertainty: bool = Field(
        default=True, description="whether the estimates' uncertainty counts; if not, all are known"
    )
    untrusted: bool = Field(
        default=False, description="whether a run that did not terminate may be used"
    )

    def files(self, folder: Path) -> dict[str, Path]:
        """The files by the names of their fields; relative ones are below `folder`."""
        given = {"file": self.file, "covariance": self.covariance}
        return {field: folder / name for field, name in given.items() if name is not None}


class Imported(NamedTuple):
    """Where a number comes from: the estimate's `name`, and what the estimate is of the number.

    | scale | the number |
    |---|---|
    | `natural` | estimate · `factor` |
    | `log` | exp(estimate) · `factor` |
    | `logit` | 1 / (1 + exp(-estimate)) |
    | `variance` | √estimate · `factor` |
    | `change` | 1 + estimate |

    `factor` turns the file's unit into the number's.
    """

    name: str
    scale: Scale
    factor: float = 1.0

    def number(self, estimate: Value) -> Value:
        match self.scale:
            case "log":
                return exp(estimate) * self.factor
            case "logit":
                return 1.0 / (1.0 + exp(-estimate))
            case "variance":
                return sqrt(estimate) * self.factor
            case "change":
                return 1.0 + estimate
        return estimate * self.factor

    def relative_error(self, estimate: float, error: float) -> float | None:
        """Relative standard error of the number, by the delta method; None where it is 0."""
        match self.scale:
            case "log":
                return error
            case "logit":
                return error * (1.0 - self.number(estimate))
            case "variance":
                return 0.5 * error / estimate
            case "change":
                estimate = 1.0 + estimate
        return error / abs(estimate) if estimate else None

    @property
    def floor(self) -> float | None:
        """What the estimate must stay above for the number to stay above 0; None: nothing."""
        return {"natural": 0.0, "variance": 0.0, "change": -1.0}.get(self.scale)


@dataclasses.dataclass(frozen=True, eq=False)
class JointEstimates(Numbered):
    """The estimates that a population uses, as one vector of normal coordinates.

    - `names`: of the uncertain ones, `floors`: what each stays above, None where that is nothing.
    - `blocks`: matrices of correlated effects, the names of their lower triangles row by row.
    - `location`, `factor`: mean and Cholesky factor of the covariance of the coordinates: of
      `names`, then of the blocks.
    - `known`: the values of the others.

    Numbers are the last three; what estimates stay above makes another transformation, and is
    structure, as is what turns the file's units into the population's.
    """

    names: tuple[str, ...]
    floors: tuple[float | None, ...]
    blocks: tuple[tuple[tuple[str, ...], ...], ...]
    location: Float[np.ndarray, " coordinates"]
    factor: Float[np.ndarray, "coordinates coordinates"]
    known: Mapping[str, float]

    @property
    def numeric(self) -> tuple[str, ...]:
        return ("location", "factor", "known")

    @classmethod
    def of(
        cls,
        estimates: Estimates,
        floors: Mapping[str, float | None],
        blocks: Sequence[tuple[tuple[str, ...], ...]],
    ) -> JointEstimates:
        """The vector of the estimates in `floors` and `blocks`.

        Raises `np.linalg.LinAlgError` where the covariance matrix of the estimates is not positive
        definite.
        """
        in_blocks = [name for block in blocks for row in block for name in row]
        names = tuple(name for name in floors if name not in in_blocks)
        single = [name for name in names if estimates.uncertain(name)]
        known = {name: estimates[name].value for name in names if name not in single}
        values = np.array([estimates[name].value for name in single])
        bounds = tuple(floors[name] for name in single)
        above = np.array([math.nan if floor is None else floor for floor in bounds])
        bounded = np.isfinite(above)
        distance = np.where(bounded, values - above, 1.0)
        location = [np.where(bounded, np.log(distance), values)]
        slopes = [np.diag(1.0 / distance)]
        for block in blocks:
            place, slope = _cholesky_coordinates(
                np.array([estimates[name].value for row in block for name in row])
            )
            location.append(place)
            slopes.append(slope)
        slope = _block_diagonal(slopes)
        root = cholesky(estimates.covariance_of([*single, *in_blocks]))
        covariance = slope @ root @ root.T @ slope.T
        return cls(
            tuple(single),
            bounds,
            tuple(blocks),
            np.concatenate(location),
            np.linalg.cholesky(covariance),
            known,
        )

    def site(self) -> dict[str, Value]:
        """Every estimate by its name; NumPyro site of the vector, if anything is uncertain."""
        if not len(self.location):
            return dict(self.known)
        import jax.numpy as jnp
        import numpyro

        normal = numpyro.distributions.MultivariateNormal(
            jnp.asarray(self.location), scale_tril=jnp.asarray(self.factor)
        )
        vector: Any = numpyro.sample(SITE, normal)
        return self.estimates([vector[place] for place in range(len(self.location))])

    def estimates(self, coordinates: Sequence[Value]) -> dict[str, Value]:
        """Every estimate by its name, at these coordinates."""
        result: dict[str, Value] = dict(self.known)
        for name, floor, place in zip(self.names, self.floors, coordinates, strict=False):
            result[name] = place if floor is None else floor + exp(place)
        start = len(self.names)
        for block in self.blocks:
            rows: list[list[Value]] = []
            for number, names in enumerate(block):
                row = list(coordinates[start : start + number + 1])
                rows.append([*row[:-1], exp(row[-1])])
                start += number + 1
                for column, name in enumerate(names):
                    pairs = zip(rows[number], rows[column], strict=False)
                    result[name] = sum((a * b for a, b in pairs), start=0.0)
        return result


def cholesky(covariance: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Cholesky factor of a covariance matrix whose variances differ by orders of magnitude.

    Raises `np.linalg.LinAlgError` where it is not positive definite.
    """
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if not np.all(sd > 0.0):
        raise np.linalg.LinAlgError("a variance is 0")
    return sd[:, None] * np.linalg.cholesky(covariance / np.outer(sd, sd))


def matrix_of(lower: Float[np.ndarray, " entries"]) -> Float[np.ndarray, "n n"]:
    """The symmetric matrix of its lower triangle, row by row."""
    size = math.isqrt(2 * len(lower))
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = lower
    return matrix + np.tril(matrix, -1).T


def _cholesky_coordinates(lower: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a covariance matrix's lower triangle, and their derivatives by it."""
    factor = np.linalg.cholesky(matrix_of(lower))
    size = len(factor)
    index = list(zip(*np.tril_indices(size), strict=True))
    # Each coordinate's effect on the matrix; on the diagonal it is the logarithm that changes.
    effects = []
    for row, column in index:
        change = np.zeros((size, size))
        change[row, column] = factor[row, row] if row == column else 1.0
        effects.append((change @ factor.T + factor @ change.T)[np.tril_indices(size)])
    place = np.array([math.log(factor[r, c]) if r == c else factor[r, c] for r, c in index])
    return place, np.linalg.inv(np.stack(effects, axis=1))


def _block_diagonal(matrices: Sequence[np.ndarray]) -> np.ndarray:
    size = sum(len(matrix) for matrix in matrices)
    result, start = np.zeros((size, size)), 0
    for matrix in matrices:
        stop = start + len(matrix)
        result[start:stop, start:stop] = matrix
        start = stop
    return result
