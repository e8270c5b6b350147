"""A fit into a folder: sampled or approximated, checked, written, reported.

One that is sampled is gone on with after a kill; an approximation begins anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import numpyro
import xarray as xr

from cohorts.diagnosis import Verdict, judge
from cohorts.fits import results
from cohorts.fits.approximating import Approximated, approximated
from cohorts.fits.config import FitSolverSpec
from cohorts.fits.fit import Fit
from cohorts.fits.report import render
from cohorts.fits.sensitivity import warnings_of
from cohorts.inference import Progress, sample
from cohorts.inference.density import ModelError
from cohorts.inference.impossible import impossible
from cohorts.inference.joint import Joint
from cohorts.inference.numpyro_model import model_of
from cohorts.inference.parameterisation import centring
from cohorts.inference.patients import Data
from insilico import models
from insilico.runs import NewRun, RunFolder, RunFolderError, Stages, Unfinished
from insilico.runs.writing import finish, write_config, write_results
from insilico.solve import Tolerances


class NotTrusted(Exception):
    """A fit failed its diagnostics. It was written all the same, to `folder`, and says so."""

    def __init__(self, folder: RunFolder, verdict: Verdict):
        super().__init__("; ".join(verdict.reasons))
        self.folder = folder
        self.verdict = verdict


def unfinished(fit: Fit, out: str | os.PathLike[str] | None = None) -> Unfinished:
    """Where this fit, run to `out`, keeps what it has done."""
    identity = {
        "config": fit.document.data,
        **{
            field: hashlib.sha256(file.read_bytes()).hexdigest()
            for field, file in fit.files.items()
        },
        "model": digest_of(fit.config.model),
        "versions": [jax.__version__, numpyro.__version__],
    }
    return Unfinished(out, Path(fit.document.file).stem, identity)


def run(
    fit: Fit,
    out: str | os.PathLike[str] | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    force: bool = False,
    restart: bool = False,
) -> RunFolder:
    """Fit, and leave posterior, checks and report in a folder.

    It is what the command `insilico fit` does, with the same numbers.

    **Arguments:**

    - `fit`: as `cohorts.fits.read` gives it, which has checked it.
    - `out`, `force`: as for `trials.run`.
    - `progress`: called as work goes on, with a stage, and how much of how much of it is done; a
      `Stages` is told, too, where the search of an approximation stands.
    - `restart`: whether what an interrupted run of this fit has left is put aside. If it is not,
      sampling goes on from there, and gives the draws of a run that was not interrupted.

    Returns the finished run. Raises `RunFolderError` where the folder cannot be written,
    `cohorts.inference.ModelError` where no start of finite density is found, and `NotTrusted` where
    the fit fails its diagnostics: only after it was written, marked as failed.
    """
    stages = progress if isinstance(progress, Stages) else Stages(progress)
    begun = unfinished(fit, out)
    if restart:
        begun.discard()
    with RunFolder.create(out, Path(fit.document.file).stem, force=force) as new:
        joint, data = Joint.of(
            fit.population,
            fit.patients,
            method=fit.config.solver.method,
            tolerances=tolerances_of(fit.config.solver),
        )
        try:
            found = _found(fit, joint, data, begun, stages)
        except ModelError as error:
            nowhere = impossible(joint, data, fit.config.seed)
            raise ModelError(
                f"{error}{nowhere.words(fit.patients.subjects, joint, data)}"
            ) from None
        stages("checks", 0, 1)
        posterior = found.tree["posterior"].to_dataset()
        others = results.groups(fit, joint, data, posterior)
        verdict = judge(found.tree) if found.verdict is None else found.verdict
        verdict = verdict._replace(warnings=warnings_of(others))
        stages("checks", 1, 1)
        tree = xr.DataTree.from_dict(
            {
                "/": xr.Dataset(attrs=_attributes(fit, verdict)),
                **{name: node.to_dataset() for name, node in found.tree.children.items()},
                **others,
                "diagnostics": verdict.table,
            }
        )
        folder = _write(new, fit, tree, found, verdict, begun, stages)
    begun.discard()
    if not verdict.passed:
        raise NotTrusted(folder, verdict)
    return folder


def _found(
    fit: Fit, joint: Joint, data: Data, begun: Unfinished, stages: Stages
) -> _Sampled | Approximated:
    """The posterior, by the method that the config names."""
    if fit.config.method == "nuts":
        return _sampled(fit, joint, data, begun, stages)
    stages("search", 0, 1)
    results.ahead(fit, joint, data)
    shares = centring_of(fit, joint, data) if fit.config.method == "svi" else None
    found = approximated(fit, joint, data, shares, lambda words: stages("search", 0, 1, words))
    stages("search", 1, 1, _where_it_ended(found))
    return found


def _where_it_ended(found: Approximated) -> str:
    table = found.verdict.table
    rest = "came to rest" if table["converged"].item() else "did not come to rest"
    return (
        f"{rest} at {found.tree['search'].to_dataset()['objective'].values[-1]:.4f}, Pareto k "
        f"{table['pareto_k'].item():.2f}"
    )


class _Sampled(NamedTuple):
    """What sampling found, in the form in which `Approximated` has what an approximation did."""

    tree: xr.DataTree
    verdict: None
    counts: dict[str, Any]
    told: dict[str, Any]


def _sampled(fit: Fit, joint: Joint, data: Data, begun: Unfinished, stages: Stages) -> _Sampled:
    shares = centring_of(fit, joint, data)
    drawn = sample(
        model_of(joint),
        {"data": data, "centred": shares},
        fit.config.sampling,
        seed=fit.config.seed,
        checkpoint=begun.make(),
        progress=told_by_stages(stages),
        **results.axes(fit, joint),
    )
    drawn.tree["posterior"].attrs.update(method="nuts", approximate=0)
    told = {
        **fit.config.sampling.model_dump(),
        "centred": {
            name: round(float(np.mean(shares.get(name, 1.0))), 2) for name in joint.effects
        },
        "told": [*drawn.told, *fit.notes],
        "layout_chosen": drawn.layout.told,
    }
    return _Sampled(drawn.tree, None, drawn.counts._asdict(), told)


def centring_of(fit: Fit, joint: Joint, data: Data) -> dict[str, np.ndarray]:
    """By the config, how much each random effect of each subject is sampled as itself; those that
    are not named wholly."""
    match fit.config.parameterisation:
        case "auto":
            return centring(joint, data, fit.config.seed)
        case "centred":
            return {}
    return {name: np.zeros(joint.subjects) for name in joint.effects}


def digest_of(model: str) -> str | None:
    """Of the file of a model of one's own; None of one of the library."""
    file = models.file_of(model)
    return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def tolerances_of(solver: FitSolverSpec) -> Tolerances:
    """How exactly a config asks for solves."""
    return Tolerances(
        relative=solver.relative_tolerance,
        absolute=solver.absolute_tolerance,
        max_steps=solver.max_steps,
    )


def _attributes(fit: Fit, verdict: Verdict) -> dict[str, Any]:
    return {
        "title": fit.config.title,
        "model": fit.config.model,
        "seed": fit.config.seed,
        "method": fit.config.method,
        "approximate": int(fit.config.method != "nuts"),
        "passed": int(verdict.passed),
        "reasons": list(verdict.reasons),
        "warnings": list(verdict.warnings),
    }


def _sizes(fit: Fit) -> dict[str, Any]:
    summary = fit.patients.summary()
    return {
        "subjects": summary.subjects,
        "observations": summary.observations,
        "censored": summary.censored,
    }


def told_by_stages(stages: Stages) -> Callable[[Progress], None]:
    """Progress of the sampler as that of stages: warming up, then drawing."""

    def tell(now: Progress) -> None:
        if now.done <= now.warmup:
            stages("warmup", now.done, now.warmup)
        else:
            if "draws" not in stages.seconds:
                stages("warmup", now.warmup, now.warmup)
            stages("draws", now.done - now.warmup, now.total - now.warmup)

    return tell


def _write(
    new: NewRun,
    fit: Fit,
    tree: xr.DataTree,
    found: _Sampled | Approximated,
    verdict: Verdict,
    begun: Unfinished,
    stages: Stages,
) -> RunFolder:
    write_config(new, fit.document, fit.overrides, fit.files)
    write_results(new, tree, stages)
    named = "sampler" if fit.config.method == "nuts" else "approximation"
    try:
        return finish(
            new,
            lambda told: render(tree, fit, told),
            stages,
            fit.document,
            overrides=fit.overrides,
            counts={**_sizes(fit), **found.counts},
            failure=None if verdict.passed else "; ".join(verdict.reasons),
            kind="fit",
            warnings=list(verdict.warnings),
            **{named: found.told},
        )
    except RunFolderError as error:
        kept = "\nthe draws are kept: run the same command again"
        raise RunFolderError(f"{error}{kept if begun.begun else ''}") from error
