"""Hidden folders that runs write into, and what becomes of those whose process was killed.

Whoever writes into such a folder holds a lock in it, which a system gives back when the process
ends, however it does. A folder is removed only where that lock is free and was taken on this very
machine: what another one does is not seen from here, least of all on network file systems.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # systems that are not POSIX have no such locks: nothing is removed there
    fcntl = None

OWNER = ".owner"
"""The file in a hidden folder that says whose it is, and holds the lock."""

NEW = 60.0
"""Seconds in which a folder may have no owner yet."""


class Claim:
    """The lock on a hidden folder, held until `release` or the end of the process."""

    def __init__(self, folder: Path):
        self._path = folder / OWNER
        self._handle: int | None = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o644)
        told = {
            **_machine(),
            "process": os.getpid(),
            "began": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "locked": _lock(self._handle),
        }
        os.write(self._handle, json.dumps(told).encode())

    def release(self) -> None:
        """Give the folder back, without a trace in it."""
        self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def clear_abandoned(target: Path, *, numbered: bool = False) -> list[str]:
    """Remove the hidden folders of runs to `target` that were killed; what there is to tell.

    A folder whose run goes on is left alone. So is one that another machine wrote, or of which
    nobody knows who did; these are told.

    **Arguments:**

    - `target`: where the runs were to be.
    - `numbered`: whether runs to the same name with a number belong to it, too.
    """
    number = r"(-\d+)?" if numbered else ""
    partial = re.compile(rf"\.{re.escape(target.name)}{number}\.partial-[0-9a-f]{{8}}")
    try:
        entries = [entry for entry in os.scandir(target.parent) if partial.fullmatch(entry.name)]
    except OSError:
        return []
    folders = [Path(each.path) for each in entries if each.is_dir(follow_symlinks=False)]
    return [text for folder in sorted(folders) if (text := _cleared(folder))]


def _cleared(folder: Path) -> str | None:
    """What is to tell of a hidden folder, which is removed if nobody writes there any more."""
    stranger = (
        f"{folder}: left unfinished, nobody knows by whom; remove it if no run is writing there"
    )
    try:
        with (folder / OWNER).open("r+", encoding="utf-8") as stream:
            told = json.loads(stream.read() or "{}")
            if not isinstance(told, dict) or not told:
                return stranger
            if not _here(told):
                return (
                    f"{folder}: a run on {told.get('host')} writes there, or was killed; remove it "
                    "if none does"
                )
            if not told.get("locked"):
                return stranger
            if not _lock(stream.fileno()):
                return None  # it goes on
            _remove(folder)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            age = time.time() - folder.stat().st_mtime
            return stranger if age > NEW else None
        return None  # removed or finished meanwhile
    except (OSError, ValueError):
        return stranger
    return (
        f"{folder}: removed; the run that wrote it, process {told.get('process')}, begun "
        f"{told.get('began')}, was killed"
    )


def _remove(folder: Path) -> None:
    """Remove a folder, its owner last, so that a removal that is cut short can be taken up."""
    for path in list(folder.iterdir()):
        if path.name == OWNER:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.rmtree(folder)


def _lock(handle: int) -> bool:
    """Whether the lock of a file is this process's own now."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody has it, or the file system has no locks
        return False
    return True


def _machine() -> dict[str, str]:
    """What tells this machine from others, and one start of it from another."""
    found = dict(_identities())
    return {"host": socket.gethostname(), "machine": "", "boot": "", **found}


def _identities() -> Iterator[tuple[str, str]]:
    files = {"machine": "/etc/machine-id", "boot": "/proc/sys/kernel/random/boot_id"}
    for name, file in files.items():
        with contextlib.suppress(OSError):
            yield name, Path(file).read_text(encoding="ascii", errors="replace").strip()


def _here(told: dict[str, Any]) -> bool:
    """Whether a folder was written on this very machine, now or before it was last started."""
    own = _machine()
    same = [name for name in ("machine", "boot") if own[name] and told.get(name) == own[name]]
    return told.get("host") == own["host"] and bool(same)
