"""A fit into a folder: sampled, checked, written, reported; gone on with after a kill."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro
import xarray as xr

from cohorts.diagnosis import Verdict, judge
from cohorts.fits import results
from cohorts.fits.fit import Fit
from cohorts.fits.report import render
from cohorts.inference import Draws, Progress, sample
from cohorts.inference.joint import Joint
from cohorts.inference.numpyro_model import model_of
from cohorts.inference.parameterisation import centring
from cohorts.inference.patients import Data
from insilico.config import load
from insilico.runs import (
    NewRun,
    RunFolder,
    RunFolderError,
    Stages,
    Unfinished,
    manifest,
    resolved_text,
)
from insilico.runs.store import write_tree
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
        "data": hashlib.sha256(fit.data_file.read_bytes()).hexdigest(),
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
    - `progress`: called as work goes on, with a stage, and how much of how much of it is done.
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
            tolerances=_tolerances(fit),
        )
        shares = _centring(fit, joint, data)
        drawn = sample(
            model_of(joint, shares),
            {"data": data},
            fit.config.sampling,
            seed=fit.config.seed,
            checkpoint=begun.make(),
            progress=_told(stages),
            coords={"subject": list(fit.patients.subjects)},
        )
        stages("checks", 0, 1)
        posterior = drawn.tree["posterior"].to_dataset()
        found = results.groups(fit, joint, data, posterior)
        verdict = judge(drawn.tree)
        stages("checks", 1, 1)
        tree = xr.DataTree.from_dict(
            {
                "/": xr.Dataset(attrs=_attributes(fit, verdict)),
                **{name: node.to_dataset() for name, node in drawn.tree.children.items()},
                **found,
                "diagnostics": verdict.table,
            }
        )
        folder = _write(new, fit, tree, drawn, shares, verdict, stages)
    begun.discard()
    if not verdict.passed:
        raise NotTrusted(folder, verdict)
    return folder


def _centring(fit: Fit, joint: Joint, data: Data) -> dict[str, np.ndarray]:
    """How much each random effect of each subject is sampled as itself."""
    if fit.config.parameterisation == "auto":
        return centring(joint, data, fit.config.seed)
    share = float(fit.config.parameterisation == "centred")
    return {name: np.full(joint.subjects, share) for name in joint.effects}


def _tolerances(fit: Fit) -> Tolerances:
    solver = fit.config.solver
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
        "passed": int(verdict.passed),
        "reasons": list(verdict.reasons),
    }


def _sizes(fit: Fit) -> dict[str, Any]:
    summary = fit.patients.summary()
    return {
        "subjects": summary.subjects,
        "observations": summary.observations,
        "censored": summary.censored,
    }


def _told(stages: Stages) -> Callable[[Progress], None]:
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
    drawn: Draws,
    shares: Mapping[str, np.ndarray],
    verdict: Verdict,
    stages: Stages,
) -> RunFolder:
    file = fit.data_file
    # The folder's own copy of the config reads the folder's own copy of the data.
    changes = (*fit.overrides, f"data.file={file.name}")
    with new.writing("config.yaml") as path:
        text = resolved_text(load(fit.document.file, changes), changes)
        path.write_text(text, encoding="utf-8")
    with new.writing(file.name) as path:
        shutil.copyfile(file, path)
    stages("results", 0, 1)
    with new.writing("results.zarr") as path:
        write_tree(tree, path)
    stages("results", 1, 1)
    stages("report", 0, 1)
    told = manifest(
        fit.document,
        overrides=fit.overrides,
        started=stages.started,
        seconds=stages.seconds,
        counts={**_sizes(fit), **drawn.counts._asdict()},
        failure=None if verdict.passed else "; ".join(verdict.reasons),
    )
    told["kind"] = "fit"
    told["sampler"] = {
        **fit.config.sampling.model_dump(),
        "centred": {name: round(float(np.mean(of)), 2) for name, of in shares.items()},
        "told": list(drawn.told),
        "layout_chosen": drawn.layout.told,
    }
    with new.writing("report.html") as path:
        path.write_text(render(tree, fit, told), encoding="utf-8")
    stages("report", 1, 1)
    told["seconds"] = {stage: round(value, 3) for stage, value in stages.seconds.items()}
    try:
        return new.finish(told)
    except RunFolderError as error:
        raise RunFolderError(f"{error}\nthe draws are kept: run the same command again") from error
