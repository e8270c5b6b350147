"""How subjects differ: the distribution of a parameter about its typical value, and correlations.

A subject's parameter is a function of x, a normal number about `location`: the logarithm of a
log-normal parameter, the logit of one between two bounds. Correlated ones are drawn one after the
other, each given those before it, which is their multivariate normal distribution written so that
every random effect keeps a site of its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from cohorts import sites
from cohorts._faults import unknown
from cohorts.hierarchy.effects import SMALLEST
from cohorts.hierarchy.hyperparameters import Numbered
from cohorts.hierarchy.imports import Correlations
from cohorts.hierarchy.numbers import NumberSpec, Positive, Reader, Stated, UncertainNumber
from insilico.config import Spec
from insilico.config.problems import listed, shown
from insilico.vocabulary import Value, absolute, exp, log, maximum, minimum, sqrt, where

EDGE = 1e-9
"""How near a typical value comes to the bounds of its parameter, as a share of their distance."""

LARGEST = 500.0
"""Of a logarithm or logit: a sampler that strays further meets a failed solve, not an infinity."""

FACTOR = "cholesky_"
"""How the sites begin that correlations are made of."""

PREFIX = {"log_normal": "log_", "logit_normal": "logit_", "normal": "", "box_cox": "box_cox_"}
"""What x is of the parameter; a normal parameter is itself x."""


class LogNormalVariabilitySpec(Spec):
    """typical value · exp(eta)."""

    kind: Literal["log_normal"]
    sd: NumberSpec = Field(description="standard deviation of the logarithm")


class LogitNormalVariabilitySpec(Spec):
    """Between two bounds: the logit of (value - lower) / (upper - lower) is normal."""

    kind: Literal["logit_normal"]
    lower: Stated = 0.0
    upper: Stated = 1.0
    sd: NumberSpec = Field(description="standard deviation of the logit")


class NormalVariabilitySpec(Spec):
    """typical value + eta."""

    kind: Literal["normal"]
    sd: NumberSpec = Field(description="in the parameter's unit")


class BoxCoxVariabilitySpec(Spec):
    """typical value · exp((exp(shape · eta) - 1) / shape); a shape of 0 is log-normal.

    Petersson KJF, Hanze E, Savic RM, Karlsson MO. Semiparametric distributions with estimated shape
    parameters. Pharm Res 2009; 26:2174-2185.
    """

    kind: Literal["box_cox"]
    sd: NumberSpec = Field(description="standard deviation of eta")
    shape: NumberSpec = Field(description="above 0 for a heavier tail to the right")


type VariabilitySpec = Annotated[
    LogNormalVariabilitySpec
    | LogitNormalVariabilitySpec
    | NormalVariabilitySpec
    | BoxCoxVariabilitySpec,
    Field(discriminator="kind"),
]


@dataclasses.dataclass(frozen=True)
class Variability(Numbered):
    """Between-subject variability of one parameter.

    `numbers` are `sd_<parameter>` and, of `box_cox`, `shape_<parameter>`; `bounds` those of
    `logit_normal`, numbers themselves. The `kind` is structure. A `shape` of 0 is not: the
    transformation has its limit there, and any shape is one of the same program.
    """

    kind: str
    parameter: str
    numbers: Mapping[str, UncertainNumber]
    bounds: tuple[float, float] = (0.0, 1.0)

    @property
    def numeric(self) -> tuple[str, ...]:
        return ("bounds",) if self.kind == "logit_normal" else ()

    @property
    def site(self) -> str:
        """Name of the site of x."""
        return PREFIX[self.kind] + self.parameter

    def sd(self, typical: Any) -> Value:
        return getattr(typical, f"sd_{self.parameter}")

    def location(self, value: Value) -> Value:
        """x of a subject whose parameter is the typical `value`, covariates included."""
        match self.kind:
            case "log_normal" | "box_cox":
                return log(maximum(value, SMALLEST))
            case "logit_normal":
                lower, upper = self.bounds
                share = minimum(maximum((value - lower) / (upper - lower), EDGE), 1.0 - EDGE)
                return log(share) - log(1.0 - share)
        return value

    def value(self, x: Value, location: Value, typical: Any) -> Value:
        """The subject's parameter; finite, and so are its derivatives."""
        if self.kind != "normal":
            x = minimum(maximum(x, -LARGEST), LARGEST)
        match self.kind:
            case "log_normal":
                return exp(x)
            case "logit_normal":
                lower, upper = self.bounds
                return lower + (upper - lower) / (1.0 + exp(-x))
            case "box_cox":
                x = location + _box_cox(x - location, getattr(typical, self._shape))
                return exp(minimum(x, LARGEST))
        return x

    def moved(self, value: Value, before: Value, after: Value) -> Value:
        """The subject's parameter when its typical value goes from `before` to `after`, and its
        random effects stay."""
        match self.kind:
            case "normal":
                return value + (after - before)
            case "logit_normal":
                shift = self.location(after) - self.location(before)
                return self.value(self.location(value) + shift, before, None)
        return value * (maximum(after, SMALLEST) / maximum(before, SMALLEST))

    @property
    def _shape(self) -> str:
        return f"shape_{self.parameter}"

    @property
    def words(self) -> str:
        sd = self.numbers[f"sd_{self.parameter}"].words
        kind = self.kind.replace("_", "-")
        if self.kind == "box_cox":
            return f"{kind} between subjects, sd {sd}, shape {self.numbers[self._shape].words}"
        lower, upper = self.bounds
        between = f" from {lower:g} to {upper:g}" if self.kind == "logit_normal" else ""
        return f"{kind}{between} between subjects, sd {sd}"


def _box_cox(eta: Value, shape: Value) -> Value:
    """(exp(shape · eta) - 1) / shape, and its limit at 0; by series where it would cancel."""
    small = absolute(shape) < 1e-5
    bent = minimum(where(small, 0.0, shape * eta), LARGEST)
    return where(small, eta + 0.5 * shape * eta * eta, (exp(bent) - 1.0) / where(small, 1.0, shape))


def read_variability(
    spec: VariabilitySpec, parameter: str, unit: str, path: tuple[str | int, ...], reader: Reader
) -> Variability:
    """The variability that a config describes, and faults."""
    sd_unit = unit if spec.kind == "normal" else "1"
    numbers = {
        f"sd_{parameter}": reader.number(spec.sd, sd_unit, (*path, "sd"), positive=True),
    }
    if isinstance(spec, BoxCoxVariabilitySpec):
        numbers[f"shape_{parameter}"] = reader.number(spec.shape, "1", (*path, "shape"))
    bounds = (0.0, 1.0)
    if isinstance(spec, LogitNormalVariabilitySpec):
        bounds = read_bounds(spec.lower, spec.upper, unit, path, reader)
    return Variability(spec.kind, parameter, numbers, bounds)


def read_bounds(
    lower: Stated, upper: Stated, unit: str, path: tuple[str | int, ...], reader: Reader
) -> tuple[float, float]:
    """The bounds of a parameter in its unit, and faults."""
    low, high = (
        # Zero is zero in every unit.
        0.0 if bound == 0.0 else reader.quantity(bound, unit, (*path, name))
        for name, bound in (("lower", lower), ("upper", upper))
    )
    if low is None or high is None:
        return 0.0, 1.0
    if low >= high:
        reader.add((*path, "upper"), "must be more than lower", shown(upper))
        return 0.0, 1.0
    return low, high


class LkjSpec(Spec):
    """Correlations that are to be estimated.

    Lewandowski D, Kurowicka D, Joe H. Generating random correlation matrices based on vines and
    extended onion method. J Multivar Anal 2009; 100:1989-2001.
    """

    kind: Literal["lkj"]
    of: tuple[str, ...] = Field(description="two or more parameters with variability")
    concentration: Positive = Field(
        default=1.0, description="1: all matrices alike; more: nearer to independence"
    )


class KnownCorrelationSpec(Spec):
    """Correlations that are known."""

    kind: Literal["known"]
    of: tuple[str, ...] = Field(description="two or more parameters with variability")
    matrix: tuple[tuple[float, ...], ...] = Field(description="row by row, ones on the diagonal")


class ImportedCorrelationSpec(Spec):
    """Correlations from the file that `estimates` names, with the variances' uncertainty."""

    kind: Literal["imported"]
    of: tuple[str, ...] = Field(
        description="two or more parameters whose sds are imported as variances of that file"
    )


type CorrelationSpec = Annotated[
    LkjSpec | KnownCorrelationSpec | ImportedCorrelationSpec, Field(discriminator="kind")
]


@dataclasses.dataclass(frozen=True)
class Block(Numbered):
    """Parameters whose random effects are correlated: by a known matrix, or a prior for it.

    Numbers are the matrix where it is known, else the `concentration` of the prior.

    `imported`: where both come from a file, the matrix at the estimates and the names of the
    uncertain ones.
    """

    parameters: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...] | None
    concentration: float = 1.0
    imported: Correlations | None = None

    @property
    def numeric(self) -> tuple[str, ...]:
        if self.imported is not None and self.imported.names:
            return ()
        return ("concentration",) if self.matrix is None else ("matrix",)

    @property
    def pairs(self) -> dict[tuple[int, int], str]:
        """Names of the correlations, by the places of the two parameters, the later one first."""
        return {
            (row, column): f"correlation_{self.parameters[column]}_{self.parameters[row]}"
            for row in range(len(self.parameters))
            for column in range(row)
        }

    def range(self, row: int, column: int) -> tuple[float, float]:
        """The bounds of the correlation of these two; both are itself where it is known."""
        if self.matrix is None or (self.imported is not None and self.imported.names):
            return -1.0, 1.0
        return self.matrix[row][column], self.matrix[row][column]

    def sites(self, estimates: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """NumPyro sites of the correlations, one a pair.

        `estimates`: by name, those of the file that numbers are imported from.
        """
        if self.imported is not None and self.imported.names:
            assert estimates is not None
            names = self.imported.names
            sd = [sqrt(estimates[row[-1]]) for row in names]
            return {
                name: sites.known(name, estimates[names[row][column]] / (sd[row] * sd[column]))
                for (row, column), name in self.pairs.items()
            }
        if self.matrix is not None:
            return {
                name: sites.known(name, self.matrix[row][column])
                for (row, column), name in self.pairs.items()
            }
        import numpyro

        factor: Any = numpyro.sample(
            FACTOR + "_".join(self.parameters),
            numpyro.distributions.LKJCholesky(len(self.parameters), self.concentration),
        )
        products = factor @ factor.T
        return {
            name: numpyro.deterministic(name, products[row, column])
            for (row, column), name in self.pairs.items()
        }

    def conditional(
        self, typical: Any, row: int, standardised: Sequence[Value]
    ) -> tuple[Value, Value]:
        """Mean and sd of standardised effect number `row`, given the `standardised` ones before.

        All effects have mean 0 and sd 1 by themselves.
        """
        factor = self._factor(typical, row)
        independent: list[Value] = []
        for number, value in enumerate(standardised):
            mean = _dot(factor[number][:number], independent)
            independent.append((value - mean) / factor[number][number])
        return _dot(factor[row][:row], independent), factor[row][row]

    def _factor(self, typical: Any, last: int) -> list[list[Value]]:
        """Rows 0 to `last` of the correlation matrix's Cholesky factor, in plain arithmetic."""
        rows: list[list[Value]] = []
        for row in range(last + 1):
            entries: list[Value] = []
            for column in range(row):
                correlation = getattr(typical, self.pairs[row, column])
                known = _dot(rows[column][:column], entries)
                entries.append((correlation - known) / rows[column][column])
            # The smallest share of variance left: a matrix of rank less than full is none.
            entries.append(sqrt(maximum(1.0 - _dot(entries, entries), 1e-12)))
            rows.append(entries)
        return rows

    @property
    def words(self) -> str:
        if self.matrix is None:
            return (
                f"Random effects of {', '.join(self.parameters)} are correlated; LKJ prior with "
                f"concentration {self.concentration:g}."
            )
        known = ", ".join(
            f"{self.parameters[column]} and {self.parameters[row]} {self.matrix[row][column]:.4g}"
            for row, column in self.pairs
        )
        source = "" if self.imported is None else f" ({self.imported.source})"
        return f"Correlations of random effects: {known}{source}."


def _dot(left: Sequence[Value], right: Sequence[Value]) -> Value:
    return sum((a * b for a, b in zip(left, right, strict=True)), start=0.0)


def read_correlations(
    specs: Sequence[CorrelationSpec],
    varying: Mapping[str, Variability],
    parameters: Sequence[str],
    path: tuple[str | int, ...],
    reader: Reader,
) -> tuple[Block, ...]:
    """The blocks that a config describes, and faults. `varying`: those of the parameters."""
    blocks: list[Block] = []
    taken: set[str] = set()
    for index, spec in enumerate(specs):
        here = (*path, index)
        known = len(reader.faults)
        if len(spec.of) < 2:
            reader.add((*here, "of"), "must name two parameters or more", listed(spec.of))
        for number, name in enumerate(spec.of):
            place = (*here, "of", number)
            if name not in parameters:
                reader.faults.append(unknown(place, "parameter", name, parameters))
            elif name not in varying:
                reader.add(
                    place,
                    "does not vary between subjects",
                    shown(name),
                    listed(varying),
                    "give it between_subject, or leave it out here",
                )
            elif name in taken:
                reader.add(
                    place,
                    "is in a correlation already",
                    shown(name),
                    None,
                    "write all that are correlated with each other in one",
                )
            taken.add(name)
        if isinstance(spec, KnownCorrelationSpec):
            _check_matrix(spec, (*here, "matrix"), reader)
        if len(reader.faults) > known:
            continue
        if isinstance(spec, LkjSpec):
            blocks.append(Block(spec.of, None, spec.concentration))
        elif isinstance(spec, KnownCorrelationSpec):
            blocks.append(Block(spec.of, spec.matrix))
        elif (found := _imported_correlations(spec, varying, here, reader)) is not None:
            blocks.append(Block(spec.of, found.matrix, imported=found))
    return tuple(blocks)


def _imported_correlations(
    spec: ImportedCorrelationSpec,
    varying: Mapping[str, Variability],
    path: tuple[str | int, ...],
    reader: Reader,
) -> Correlations | None:
    names: list[str] = []
    for number, parameter in enumerate(spec.of):
        imported = varying[parameter].numbers[f"sd_{parameter}"].imported
        if imported is not None and imported.scale == "variance":
            names.append(imported.name)
        elif reader.imports.readable:
            reader.add(
                (*path, "of", number),
                "has no sd that is imported as a variance",
                shown(parameter),
                None,
                "write sd: {kind: imported, name: ..., scale: variance}, or kind: known here",
            )
    if len(names) < len(spec.of):
        return None
    return reader.imports.correlations(names, path)


def _check_matrix(spec: KnownCorrelationSpec, path: tuple[str | int, ...], reader: Reader) -> None:
    size = len(spec.of)
    if len(spec.matrix) != size or any(len(row) != size for row in spec.matrix):
        lengths = listed(len(row) for row in spec.matrix)
        reader.add(path, f"must have {size} rows of {size} numbers", f"rows of {lengths}")
        return
    matrix = np.asarray(spec.matrix, float)
    if np.any(np.diag(matrix) != 1.0) or np.any(matrix != matrix.T):
        reader.add(path, "must be symmetric with ones on the diagonal")
    elif np.linalg.eigvalsh(matrix)[0] <= 1e-9 or not math.isfinite(matrix.sum()):
        reader.add(
            path,
            "is no correlation matrix: no numbers can be correlated like this",
            f"a smallest eigenvalue of {np.linalg.eigvalsh(matrix)[0]:.2g}",
            "more than 0",
        )
