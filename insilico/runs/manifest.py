"""What a run says about itself: config, code, machine, time and what came of it."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import insilico
from insilico.config import Document

LIBRARIES = (
    "jax", "jaxlib", "numpy", "numpyro", "diffrax", "equinox", "xarray", "zarr", "arviz", "pandas",
    "pyarrow",
)  # fmt: skip
"""Packages that results may depend on."""


def manifest(
    document: Document,
    *,
    overrides: Sequence[str] = (),
    started: datetime.datetime,
    seconds: Mapping[str, float],
    counts: Mapping[str, Any],
    failure: str | None = None,
) -> dict[str, Any]:
    """The manifest of a run that ends now; all of it can be written as JSON.

    **Arguments:**

    - `document`: the run's config, overrides included.
    - `overrides`: the `a.b.c=value` strings it was loaded with.
    - `started`: when it began, with its time zone.
    - `seconds`: by stage.
    - `counts`: how many subjects, solves and failures by cause.
    - `failure`: why the run counts as failed; None for one that succeeded.
    """
    ended = datetime.datetime.now(datetime.UTC)
    return {
        "state": "finished" if failure is None else "failed",
        "failure": failure,
        "title": document.data.get("title"),
        "config": {
            "file": document.file,
            "overrides": list(overrides),
            "sha256": document.digest(),
            "values": document.data,
        },
        "seed": document.data.get("seed"),
        "code": {"version": version(), **_revision()},
        "versions": {"python": platform.python_version(), **_libraries()},
        "machine": _machine(),
        "started": started.astimezone(datetime.UTC).isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "peak_memory_bytes": peak_memory(),
        "counts": dict(counts),
    }


def version() -> str:
    """This program's version."""
    try:
        return importlib.metadata.version("insilico")
    except importlib.metadata.PackageNotFoundError:  # run from its source, not installed
        return "unknown"


def peak_memory() -> int | None:
    """The most main memory this process has held so far (bytes); None where it is not known."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _libraries() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _revision() -> dict[str, Any]:
    """Git's revision of the source, where it is a checkout."""
    package = Path(insilico.__file__).parent
    # An installed copy may lie within a checkout of something else, whose revision says nothing.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {"revision": None, "uncommitted_changes": None}
    changes = _git(package.parent, "status", "--porcelain", "--untracked-files=no")
    return {
        "revision": _git(package, "rev-parse", "HEAD"),
        "uncommitted_changes": None if changes is None else bool(changes),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _machine() -> dict[str, Any]:
    import jax

    from insilico.devices import usable_cores

    devices = jax.local_devices()
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in devices]
    known = [peak for peak in peaks if peak is not None]
    return {
        "device": devices[0].device_kind,
        "platform": devices[0].platform,
        "devices": len(devices),
        "device_peak_memory_bytes": max(known) if known else None,
        "cpu": _processor(),
        "cores": usable_cores(),
        "system": platform.platform(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            for line in stream:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
