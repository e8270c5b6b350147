"""A small tree of results, and a finished run with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from insilico.runs import RunFolder
from insilico.runs.store import write_tree


@pytest.fixture
def tree() -> xr.DataTree:
    """Groups of different lengths, with every kind of variable that results have."""
    rng = np.random.default_rng(1)
    outcomes = xr.Dataset(
        {
            "inr": (("trial", "subject"), rng.normal(2, 1, (3, 40)).astype(np.float32)),
            "attended": (("trial", "subject"), rng.random((3, 40)) < 0.9),
            "status": (("trial", "subject"), np.zeros((3, 40), np.int8)),
        },
        coords={"trial": np.arange(3), "subject": np.arange(40)},
    )
    estimates = xr.Dataset(
        {"estimate": ("analysis", [0.5, np.nan])},
        coords={"analysis": ["primary", "women"], "label": ("analysis", ["All", "Women"])},
    )
    failures = xr.Dataset({"status": ("failure", np.array([], str))})
    groups = {"outcomes": outcomes, "estimates": estimates, "failures": failures}
    root = xr.Dataset(attrs={"title": "a trial", "seed": 1})
    return xr.DataTree.from_dict({"/": root, **groups})


@pytest.fixture
def finished(tmp_path: Path, tree: xr.DataTree) -> Callable[..., RunFolder]:
    """Makes a finished run."""

    def finished(name: str = "run", *, force: bool = False) -> RunFolder:
        with RunFolder.create(tmp_path / name, force=force) as new:
            with new.writing("report.html") as path:
                path.write_text("<html>first</html>")
            with new.writing("results.zarr") as path:
                write_tree(tree, path)
            return new.finish({"state": "finished", "title": "a trial"})

    return finished
