"""What a run of any kind writes into its folder: config, results, report and manifest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insilico import models
from insilico.config import Document, load
from insilico.runs.folder import NewRun, RunFolder
from insilico.runs.manifest import manifest
from insilico.runs.resolved import resolved_text
from insilico.runs.stages import Stages
from insilico.runs.store import write_tree

if TYPE_CHECKING:
    import xarray as xr


def write_config(
    new: NewRun, document: Document, overrides: Sequence[str], files: Mapping[str, Path]
) -> None:
    """Write the config, and copies of the `files` that it names in these fields.

    The folder's own copy of the config reads the folder's own copies of them. Beside them lies a
    copy of the model's file, where it is not of the library.
    """
    changes = (*overrides, *(f"{field}={file.name}" for field, file in files.items()))
    changed = load(document.file, changes) if files else document
    with new.writing("config.yaml") as path:
        path.write_text(resolved_text(changed, changes), encoding="utf-8")
    model = models.file_of(str(document.data.get("model")))
    for file in (*files.values(), *([model] if model is not None else [])):
        with new.writing(file.name) as path:
            shutil.copyfile(file, path)


def write_results(new: NewRun, tree: xr.DataTree, stages: Stages) -> None:
    """Write the results, a stage of their own."""
    stages("results", 0, 1)
    with new.writing("results.zarr") as path:
        write_tree(tree, path)
    stages("results", 1, 1)


def finish(
    new: NewRun,
    page: Callable[[Mapping[str, Any]], str],
    stages: Stages,
    document: Document,
    *,
    overrides: Sequence[str],
    counts: Mapping[str, Any],
    failure: str | None,
    **more: Any,
) -> RunFolder:
    """Write the report, a stage of its own, and the manifest, which ends the run.

    **Arguments:**

    - `page`: the report as HTML, by what the manifest will say.
    - `document`, `overrides`, `counts`, `failure`: as for `insilico.runs.manifest`.
    - `more`: what the manifest says besides.

    Raises `RunFolderError` where the folder cannot be written.
    """
    stages("report", 0, 1)
    told = manifest(
        document,
        overrides=overrides,
        started=stages.started,
        seconds=stages.seconds,
        counts=counts,
        failure=failure,
    )
    told |= more
    with new.writing("report.html") as path:
        path.write_text(page(told), encoding="utf-8")
    stages("report", 1, 1)
    told["seconds"] = {stage: round(value, 3) for stage, value in stages.seconds.items()}
    return new.finish(told)
