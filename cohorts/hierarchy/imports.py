"""The file of estimates that a population's numbers are imported from, and which of it are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cohorts._faults import Fault, unknown
from cohorts.hierarchy.imported import (
    EstimatesSpec,
    Imported,
    JointEstimates,
    Scale,
    cholesky,
    matrix_of,
)
from insilico.config import did_you_mean
from insilico.config.problems import listed, shown

if TYPE_CHECKING:
    from cohorts.estimates import Estimate, Estimates

type Place = tuple[str | int, ...]

FILE: Place = ("estimates", "file")
COVARIANCE: Place = ("estimates", "covariance")


class Found(NamedTuple):
    """An estimate that a number is imported from.

    - `uncertain`: whether it is not to be taken as known; `error`: relative standard error of the
      number; None where it is known, or 0.
    - `source`: where it stands, in words.
    """

    imported: Imported
    value: float
    uncertain: bool
    error: float | None
    source: str


class Correlations(NamedTuple):
    """Correlations that are imported.

    - `matrix`: at the estimates.
    - `names`: of the lower triangle of the effects' covariance matrix, row by row; empty where
      they are known.
    """

    matrix: tuple[tuple[float, ...], ...]
    names: tuple[tuple[str, ...], ...]
    source: str


class Imports:
    """Looks estimates up, and remembers which are used; faults go to `faults`.

    **Arguments:**

    - `spec`: None where the config names no file.
    - `folder`: that the files are relative to.
    """

    def __init__(self, spec: EstimatesSpec | None, folder: Path, faults: list[Fault]) -> None:
        self._spec = spec
        self._faults = faults
        self._floors: dict[str, float | None] = {}
        self._blocks: list[tuple[tuple[str, ...], ...]] = []
        self._estimates = None if spec is None else self._opened(spec, folder)

    @property
    def readable(self) -> bool:
        """Whether there are estimates to look into."""
        return self._estimates is not None

    def _opened(self, spec: EstimatesSpec, folder: Path) -> Estimates | None:
        # Not on top: most populations have none.
        from cohorts.data.mistakes import DataError
        from cohorts.estimates import read_estimates

        files = spec.files(folder)
        covariance = files.get("covariance")
        missing = {field: file for field, file in files.items() if not file.is_file()}
        for field, file in missing.items():
            near = [each.name for each in file.parent.iterdir()] if file.parent.is_dir() else []
            hint = did_you_mean(file.name, near)
            place = ("estimates", field)
            self._faults.append(Fault(place, "there is no such file", str(file), hint=hint))
        if missing:
            return None
        try:
            found = read_estimates(files["file"], covariance, table=spec.table)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self._faults.append(Fault(FILE, f"cannot be read: {reason}", error.filename))
            return None
        except DataError as error:
            path = COVARIANCE if covariance and error.source == covariance.name else FILE
            for mistake in error.mistakes:
                place = f"{error.source}:{mistake.line}" if mistake.line else error.source
                column = f"{mistake.column} " if mistake.column else ""
                message = f"{place}: {column}{mistake.message}"
                self._faults.append(Fault(path, message, hint=mistake.hint))
            return None
        if found.unfinished is not None and not spec.untrusted:
            self._faults.append(
                Fault(
                    FILE,
                    found.unfinished,
                    found.source,
                    None,
                    "mend the run, or state `untrusted: yes` beside the file",
                )
            )
        return found

    def number(
        self,
        name: str,
        scale: Scale,
        factor: float,
        path: Place,
        *,
        positive: bool,
    ) -> Found | None:
        """The estimate that a number is imported from; None, and a fault, where it cannot be.

        `factor` turns the file's unit into the number's; a number that is `positive` has to stay
        above 0.
        """
        if self._spec is None:
            self._add(
                path,
                "there are no estimates to import it from",
                shown(name),
                None,
                "write `estimates: {file: ...}` beside `population`",
            )
        if self._estimates is None:
            return None
        estimate = self._estimates.by_name.get(name)
        if estimate is None:
            what = f"parameter of {self._estimates.source}"
            self._faults.append(unknown((*path, "name"), what, name, self._estimates.names))
            return None
        imported = Imported(name, scale, factor)
        if not self._suits(estimate, imported, path, positive):
            return None
        floor = imported.floor if positive else None
        before = self._floors.get(name)
        bounds = [bound for bound in (floor, before) if bound is not None]
        self._floors[name] = max(bounds, default=None)
        uncertain = self._is_uncertain(estimate, path)
        error = None
        if uncertain and estimate.standard_error is not None:
            error = imported.relative_error(estimate.value, estimate.standard_error)
        return Found(imported, estimate.value, uncertain, error, self._source(name))

    def _suits(self, estimate: Estimate, imported: Imported, path: Place, positive: bool) -> bool:
        name, value = estimate.name, estimate.value
        if estimate.role == "covariance":
            self._add(
                (*path, "name"),
                "is a covariance of two effects",
                shown(name),
                None,
                "correlations: [{kind: imported, of: [...]}] takes it",
            )
        elif estimate.role == "variance" and imported.scale != "variance":
            self._add(
                (*path, "scale"), f"{name} is a variance", shown(imported.scale), '"variance"'
            )
        elif imported.scale == "variance" and value <= 0.0:
            self._add(path, f"{name} must be more than 0 as a variance", f"{value:g}")
        elif positive and imported.floor is not None and value <= imported.floor:
            self._add(
                path,
                f"must be more than 0, but {name} gives",
                f"{imported.number(value):g}",
                None,
                "is it on another scale, such as `scale: log`?",
            )
        else:
            return True
        return False

    def _is_uncertain(self, estimate: Estimate, path: Place) -> bool:
        """Whether its uncertainty counts; with a fault where a matrix lacks it."""
        assert self._spec is not None and self._estimates is not None
        if not self._spec.uncertainty or not self._estimates.uncertain(estimate.name):
            return False
        lacks = self._estimates.covariance is not None
        if lacks and estimate.name not in self._estimates.covariance_names:
            self._add(
                path,
                f"{self._estimates.covariance_source} lacks {estimate.name}, which "
                f"{self._estimates.source} has with a standard error",
                None,
                None,
                "are they of the same run?",
            )
            return False
        return estimate.standard_error is not None

    def correlations(self, names: Sequence[str], path: Place) -> Correlations | None:
        """Correlations of the effects with these variances; None, and a fault, where none are."""
        if self._estimates is None:
            return None
        known, lower = len(self._faults), []
        for row, name in enumerate(names):
            for column in range(row):
                found = self._estimates.covariance_of_effects(name, names[column])
                if found is None:
                    self._add(
                        path,
                        f"{self._estimates.source} has no covariance of {names[column]} and {name}",
                        None,
                        None,
                        "list together what it has as one block",
                    )
                else:
                    lower.append(found)
            lower.append(self._estimates[name])
        if len(self._faults) > known:
            return None
        values = matrix_of(np.array([each.value for each in lower]))
        sd = np.sqrt(np.diag(values))
        matrix = values / np.outer(sd, sd)
        if np.linalg.eigvalsh(matrix)[0] <= 1e-9:
            self._add(
                path,
                f"the covariance matrix of {listed(names)} is not positive definite",
                self._estimates.source,
            )
            return None
        source = ", ".join(each.name for each in lower if each.role == "covariance")
        result = Correlations(
            tuple(tuple(row) for row in matrix.tolist()), (), self._source(source)
        )
        uncertain = {each.name: self._is_uncertain(each, path) for each in lower}
        if len(self._faults) > known or not any(uncertain.values()):
            return result
        if not all(uncertain.values()):
            self._add(
                path,
                "some of these have an uncertainty, and others are fixed or have none",
                listed(name for name, has in uncertain.items() if not has),
                None,
                "list together what was estimated as one block, or write kind: known",
            )
            return None
        order = iter(each.name for each in lower)
        block = tuple(tuple(next(order) for _ in range(row + 1)) for row in range(len(names)))
        self._blocks.append(block)
        return result._replace(names=block)

    def joint(self) -> JointEstimates | None:
        """What is used as one vector; None where nothing of it is uncertain.

        A fault where the covariance matrix is none.
        """
        if self._estimates is None or self._spec is None or not self._spec.uncertainty:
            return None
        used = [name for name in self._floors if self._estimates.uncertain(name)]
        if not used or self._faults:
            return None
        try:
            return JointEstimates.of(self._estimates, self._floors, self._blocks)
        except np.linalg.LinAlgError:
            self._not_definite()
            return None

    def _not_definite(self) -> None:
        assert self._estimates is not None
        names = [name for name in self._floors if self._estimates.uncertain(name)]
        names += [name for block in self._blocks for row in block for name in row]
        names = list(dict.fromkeys(names))
        covariance = self._estimates.covariance_of(names)
        # The first that those before it determine, to tell where it goes wrong.
        upto = 1
        while upto < len(names):
            try:
                cholesky(covariance[:upto, :upto])
            except np.linalg.LinAlgError:
                break
            upto += 1
        self._add(
            COVARIANCE if self._spec and self._spec.covariance else FILE,
            "the covariance matrix of the estimates is not positive definite",
            f"the first {upto} of {listed(names)}",
            None,
            "take standard errors alone (leave `covariance` out), or state `uncertainty: no`",
        )

    @property
    def words(self) -> tuple[str, ...]:
        """What is assumed of the estimates, a statement a line."""
        if self._estimates is None or self._spec is None or not self._floors:
            return ()
        return tuple(_statements(self._estimates, self._spec, self._floors, self._blocks))

    def _source(self, names: str) -> str:
        assert self._estimates is not None
        return f"{names} of {self._estimates.source}"

    def _add(self, path: Place, message: str, *details: str | None) -> None:
        self._faults.append(Fault(path, message, *details))


def _statements(
    estimates: Estimates,
    spec: EstimatesSpec,
    floors: dict[str, float | None],
    blocks: Sequence[tuple[tuple[str, ...], ...]],
) -> list[str]:
    lines = [f"Numbers from {estimates.source}: estimates of {estimates.method}."]
    if estimates.unfinished is not None:
        lines.append(f"They are used although {estimates.unfinished}.")
    if not spec.uncertainty:
        return [*lines, "They are taken as known."]
    in_blocks = [name for block in blocks for row in block for name in row]
    uncertain = [name for name in floors if estimates.uncertain(name)]
    if fixed := [name for name in floors if estimates[name].fixed]:
        lines.append(f"Fixed in {estimates.source}, so known: {', '.join(fixed)}.")
    bare = [name for name in floors if name not in uncertain and name not in fixed]
    if bare:
        lines.append(f"Taken as known, having no standard error: {', '.join(bare)}.")
    if not uncertain:
        return lines
    if estimates.covariance is not None:
        joint = f"with the covariance matrix of {estimates.covariance_source}"
    else:
        joint = f"independent, with the standard errors of {estimates.source} alone"
    lines.append(f"Their uncertainty: jointly normal, {joint}.")
    logs = [name for name in uncertain if floors[name] is not None and name not in in_blocks]
    if logs:
        lines.append(
            f"What has to stay above 0 is normal as a logarithm (delta method): {', '.join(logs)}."
        )
    lines += [
        f"The covariance matrix of {', '.join(row[-1] for row in block)} is normal in its Cholesky "
        "factor, logarithms on the diagonal (delta method), so that every draw is a covariance "
        "matrix."
        for block in blocks
    ]
    return lines
