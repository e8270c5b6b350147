"""The report of a run, from what its folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from trials import Study


def page(tree: xr.DataTree, study: Study, manifest: Mapping[str, Any]) -> str:
    """The report as HTML, with what the manifest says of the run but not its longest lists."""
    from trials.report import render

    told = {key: value for key, value in manifest.items() if key not in ("format", "files")}
    told["config"] = {key: value for key, value in told["config"].items() if key != "values"}
    return render(tree, study, told)
