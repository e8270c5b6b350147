"""A fit's own calibration into a folder: ranks, tests, coverage, a report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cohorts.fits.fit import Fit
from cohorts.fits.running import NotTrusted
from cohorts.sbc import results
from cohorts.sbc.calibrating import of_first_subjects, rank
from cohorts.sbc.judging import judged
from cohorts.sbc.report import render
from insilico.runs import RunFolder, Stages
from insilico.runs.writing import finish, write_config, write_results


def run(
    fit: Fit,
    out: str | os.PathLike[str] | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    force: bool = False,
    simulated_by: Fit | None = None,
) -> RunFolder:
    """Calibrate a fit by data simulated from its priors; leave ranks, tests and a report.

    It is what the command `insilico sbc` does, with the same numbers.

    **Arguments:**

    - `fit`: as `cohorts.fits.read` gives it; `config.sbc` says how many data sets, and the rest.
    - `out`, `progress`, `force`: as for `cohorts.fits.run`; the folder's name ends with `_sbc`.
    - `simulated_by`: as for `rank`.

    Returns the finished run. Raises what `rank` does, `RunFolderError` where the folder cannot be
    written, and `NotTrusted` where the fit is not calibrated: only after it was written, marked as
    failed.
    """
    stages = progress if isinstance(progress, Stages) else Stages(progress)
    name = f"{Path(fit.document.file).stem}_sbc"
    with RunFolder.create(out, name, force=force) as new:
        found = rank(fit, simulated_by=simulated_by, progress=stages)
        stages("checks", 0, 1)
        tests = judged(found)
        verdict = tests.verdict
        small = of_first_subjects(fit)
        tree = results.tree(small, found, tests)
        stages("checks", 1, 1)
        write_config(new, fit.document, fit.overrides, fit.files)
        write_results(new, tree, stages)
        folder = finish(
            new,
            lambda told: render(tree, fit, told),
            stages,
            fit.document,
            overrides=fit.overrides,
            counts={
                "datasets": len(found.ranks),
                "unsolved": len(found.simulated.failed),
                "impossible": len(found.impossible),
                "subjects": len(small.patients.subjects),
                "parameters": len(found.parameters),
                "divergences": found.calibration.divergences,
            },
            failure=None if verdict.passed else "; ".join(verdict.reasons),
            kind="sbc",
            warnings=list(verdict.warnings),
            settings=fit.config.sbc.model_dump(),
        )
    if not verdict.passed:
        raise NotTrusted(folder, verdict)
    return folder
