"""From a config file to a study that is ready to run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from insilico.cli._errors import BadInput, say
from insilico.cli._options import once

if TYPE_CHECKING:
    from cohorts.fits import Fit
    from cohorts.summaries import Calibration
    from trials import Study


CACHE_BYTES = 2**30
"""What compiled programs of earlier runs may take; those used longest ago go first. JAX can keep to
a limit itself, but then locks and writes a file at every use, which network folders bear badly."""


def tell_abandoned(out: Path | None, name: str) -> None:
    """Remove, and tell of, what killed runs to the same place were writing.

    `out`, `name`: as for `RunFolder.create`.
    """
    from insilico.runs import RunFolder

    for text in RunFolder.abandoned(out, name):
        say(f"note: {text}")


def prepare(config: Path, overrides: Sequence[str]) -> Study:
    """Read a trial's config and check it on sample candidates.

    Raises `ConfigError` with every problem found.
    Raises `BadInput`: it is the config of a fit or a calibration, or a key is overridden twice.
    """
    import trials

    if (kind := kind_of(config)) != "trial":
        command = {"fit": "fit", "calibration": "calibrate"}[kind]
        raise BadInput(f"{config}: this is the config of a {kind}; use `insilico {command}`")

    return trials.read(config, once(overrides))


def kind_of(config: Path) -> Literal["trial", "fit", "calibration"]:
    """What a config is of: a fit has data and no trial, a calibration targets.

    What is no config is one of a trial, whose reader says what is wrong with it.
    """
    from insilico.config import ConfigError, load

    try:
        given = load(config).data
    except ConfigError:
        return "trial"
    if "trial" in given:
        return "trial"
    return "fit" if "data" in given else "calibration" if "targets" in given else "trial"


def prepare_calibration(config: Path, overrides: Sequence[str]) -> Calibration:
    """Read the config of a calibration.

    Raises `ConfigError` with every problem of the config.
    Raises `BadInput`: a key is overridden twice.
    """
    from cohorts import summaries

    return summaries.read(config, once(overrides))


def prepare_fit(config: Path, overrides: Sequence[str]) -> Fit:
    """Read the config of a fit and its data.

    Raises `ConfigError` with every problem of the config.
    Raises `BadInput` with every mistake in the data, or where a key is overridden twice.
    """
    from cohorts import fits
    from cohorts.data import DataError

    try:
        return fits.read(config, once(overrides))
    except DataError as error:
        raise BadInput(str(error)) from None


def prepare_devices(*, cache: bool) -> None:
    """Use all cores and, if wanted, programs compiled by earlier runs. Comes before JAX starts."""
    from insilico.devices import use_host_devices

    use_host_devices()
    if cache:
        use_compilation_cache(cache_folder())


def cache_folder() -> Path:
    """The folder for this processor's compiled programs, which may be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification has relative paths ignored.
    root = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".cache"
    return root / "insilico" / "compiled" / _processor()


def use_compilation_cache(folder: Path) -> None:
    """Let JAX keep compiled programs in `folder`; leave it be where that cannot be written.

    Programs from the cache give the same bits as fresh ones, and JAX compiles anew where an entry
    is damaged.
    """
    import jax

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    _limit(folder, CACHE_BYTES)
    warnings.filterwarnings("ignore", message="Error .* persistent compilation cache")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _limit(folder: Path, most: int) -> None:
    """Remove the files used longest ago until a folder's take no more than `most` bytes.

    Another run may be doing the same, or use them: JAX then compiles anew.
    """
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                told = entry.stat()
                # Where the time of use is not kept, that of writing stands in for it.
                found.append((max(told.st_atime, told.st_mtime), told.st_size, entry.path))
    room = sum(size for _, size, _ in found) - most
    for _, size, path in sorted(found):
        if room <= 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        room -= size


def _processor() -> str:
    """A name for what this processor can execute.

    A home folder may be shared by machines of several kinds, and a program compiled for one need
    not run on another.
    """
    abilities = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            listed = (line for line in stream if line.startswith(("flags", "Features")))
            abilities += next(listed, "")
    except OSError:
        abilities += platform.processor()
    return hashlib.sha256(abilities.encode()).hexdigest()[:12]
