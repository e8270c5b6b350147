"""The folder that a run leaves behind.

A run is written into a hidden folder beside its final place, synced, and renamed into place, so a
folder under its own name is complete: whatever stops a run (a kill, a full disk, a power cut)
leaves either the whole run or none (`insilico.runs.abandoned`: and what becomes of the hidden
folder). The manifest is the last file written and names all others
with their checksums.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insilico.config import did_you_mean
from insilico.runs.abandoned import OWNER, Claim, clear_abandoned

if TYPE_CHECKING:
    import xarray as xr

MANIFEST = "manifest.json"
RESULTS = "results.zarr"
FORMAT = 1
"""Version of the folder's layout, raised when an older program could not read a newer folder."""

_PARTIAL = re.compile(r"^\..+\.(partial|replaced)-[0-9a-f]{8}$")


class RunFolderError(Exception):
    """A run folder cannot be made, written or opened; its text is the message for the user."""


class NewRun:
    """A run folder that is being written.

    A context manager: unless `finish` was reached, leaving it removes everything again.
    """

    def __init__(self, wanted: Path, *, replace: bool = False, number: bool = False):
        taken = number and os.path.lexists(wanted)
        self.target = _next_free(wanted) if taken else wanted
        """Where the finished run is going to be."""
        self._wanted = wanted
        self._replace = replace
        self._made: list[Path] = []
        self._finished = False
        with _as_run_error(self.target, "the run folder cannot be created"):
            self._make_parents(self.target.parent)
            self.path = _hidden(self.target, "partial")
            """Where files are written until then."""
            try:
                self.path.mkdir()
                self._claim = Claim(self.path)
            except OSError:
                shutil.rmtree(self.path, ignore_errors=True)
                self._remove_parents()
                raise

    def __enter__(self) -> NewRun:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._finished:
            self.discard()

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """The path to write one of the run's files to.

        Raises `RunFolderError`: writing it failed; the run cannot be finished.
        """
        with _as_run_error(self.target, f"{name} cannot be written"):
            yield self.path / name

    def finish(self, manifest: Mapping[str, Any]) -> RunFolder:
        """Complete the folder and move it to its place.

        A folder that somebody else put there meanwhile is not touched: the run then goes to the
        next free name beside it rather than being lost.

        **Arguments:**

        - `manifest`: what the run says about itself; the files and their checksums are added.

        Raises `RunFolderError`: the disk is full or the place has become unwritable.
        """
        with _as_run_error(self.target, "the run folder cannot be completed"):
            complete = {"format": FORMAT, **manifest, "files": _inventory(self.path)}
            (self.path / MANIFEST).write_text(_as_json(complete), encoding="utf-8")
            _sync(self.path)
            self._claim.release()
            self._move_into_place()
            _sync_folder(self.target.parent)
        self._finished = True
        return RunFolder(self.target, complete)

    def discard(self) -> None:
        """Remove all that was written, and the folders that were made to hold it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._claim.close()
        self._remove_parents()

    def _move_into_place(self) -> None:
        if self._replace and self.target.exists():
            old = _hidden(self.target, "replaced")
            self.target.rename(old)
            try:
                self.path.rename(self.target)
            except OSError:
                old.rename(self.target)
                raise
            shutil.rmtree(old, ignore_errors=True)
            return
        while True:
            if not os.path.lexists(self.target):
                try:
                    self.path.rename(self.target)
                    return
                except OSError as error:  # taken between the look and the move
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                        raise
            self.target = _next_free(self._wanted)

    def _make_parents(self, folder: Path) -> None:
        missing = [part for part in (folder, *folder.parents) if not part.exists()]
        try:
            for part in reversed(missing):
                with contextlib.suppress(FileExistsError):
                    part.mkdir()
                    self._made.append(part)
        except OSError:
            self._remove_parents()
            raise

    def _remove_parents(self) -> None:
        for part in reversed(self._made):
            with contextlib.suppress(OSError):  # somebody else uses it by now
                part.rmdir()


@dataclass(frozen=True)
class RunFolder:
    """A finished run: `path` of the folder, and its `manifest`."""

    path: Path
    manifest: Mapping[str, Any]

    @staticmethod
    def create(
        out: str | os.PathLike[str] | None, name: str = "run", *, force: bool = False
    ) -> NewRun:
        """Begin a run's folder; what killed runs to the same place have left is removed.

        **Arguments:**

        - `out`: the folder to make; None for `runs/<name>`, or `runs/<name>-2` and so on where that
          is taken.
        - `name`: what the run is called, used where `out` is None.
        - `force`: whether an earlier run at `out`, or at `runs/<name>`, is replaced once this one
          is complete. A folder that is not a run's is never replaced.

        Raises `RunFolderError`: `out` names no folder or one that is taken, or nothing can be
        written there.
        """
        if out is None:
            RunFolder.abandoned(None, name)
            out = Path("runs") / (name or "run")
            if not force:
                return NewRun(out, number=True)
        if Path(out) == Path():  # "" as a path is "."
            raise RunFolderError('--out must name a folder; "" and "." are the current one')
        target = Path(os.path.abspath(out)) if str(out) == ".." else Path(out)
        if os.path.lexists(target):
            _check_replaceable(target, force)
        RunFolder.abandoned(target)
        return NewRun(target, replace=force)

    @staticmethod
    def abandoned(out: str | os.PathLike[str] | None, name: str = "run") -> list[str]:
        """Remove what killed runs to a place have left, as `create` does, and tell of it.

        `out`, `name`: as for `create`.
        """
        if out is None:
            return clear_abandoned(Path("runs") / (name or "run"), numbered=True)
        return clear_abandoned(Path(os.path.abspath(out)))

    @staticmethod
    def open(path: str | os.PathLike[str]) -> RunFolder:
        """Open a finished run.

        Raises `RunFolderError`: `path` is not a run folder, the run was not finished, or files of
        it are missing or damaged.
        """
        folder = Path(path)
        if not folder.exists():
            raise RunFolderError(f"{folder}: there is no such folder{_neighbour(folder)}")
        if not folder.is_dir():
            hint = "; give the folder it lies in" if (folder.parent / MANIFEST).exists() else ""
            raise RunFolderError(f"{folder}: this is a file, not a run folder{hint}")
        if _PARTIAL.match(folder.resolve().name):
            raise RunFolderError(
                f"{folder}: this run was never finished; run its config again and remove the folder"
            )
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunFolderError(f"{folder}: not a run folder: it has no {MANIFEST}") from None
        except OSError as error:
            raise RunFolderError(f"{folder}: cannot be read: {_reason(error)}") from None
        except ValueError:
            raise RunFolderError(f"{folder}: {MANIFEST} is damaged: it is not JSON") from None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            raise RunFolderError(f"{folder}: not a run folder: its {MANIFEST} is none of ours")
        if manifest.get("format") != FORMAT:
            raise RunFolderError(
                f"{folder}: written in format {manifest.get('format')}, this program reads "
                f"{FORMAT}; use the version it was written with"
            )
        return RunFolder(folder, manifest)

    def check(self, without: Collection[str] = ()) -> None:
        """Compare every file with the manifest.

        **Arguments:**

        - `without`: names of files that may differ.

        Raises `RunFolderError`: files are missing or not as they were written.
        """
        try:
            found = _inventory(self.path)
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot be read: {_reason(error)}") from None
        expected = {k: v for k, v in self.manifest["files"].items() if k not in without}
        missing = [name for name in expected if name not in found]
        changed = [name for name in expected if name in found and found[name] != expected[name]]
        if missing or changed:
            kinds = (("missing", missing), ("changed since it was written", changed))
            parts = [f"{what}: {_some(names)}" for what, names in kinds if names]
            raise RunFolderError(f"{self.path}: the run folder is damaged; {'; '.join(parts)}")

    def results(self, *groups: str) -> xr.DataTree:
        """The run's results, read into memory.

        **Arguments:**

        - `groups`: names of the groups to read, such as `estimates`; all of them where none is
          given.

        Raises `RunFolderError`: they cannot be read, or the run has none of that name.
        """
        from insilico.runs.store import read_tree

        with _as_run_error(self.path, f"{RESULTS} cannot be read"):
            try:
                return read_tree(self.path / RESULTS, groups)
            except KeyError as error:
                raise RunFolderError(f"{self.path}: {error.args[0]}") from None

    def replace(self, name: str, text: str) -> RunFolder:
        """The run with one of its text files written anew, its checksum in the manifest included.

        Raises `RunFolderError`: it cannot be written; the folder is then as it was.
        """
        with _as_run_error(self.path, f"{name} cannot be written"):
            _put(self.path / name, text)
            files = dict(self.manifest["files"]) | {name: _entry(self.path / name)}
            manifest = dict(self.manifest) | {"files": dict(sorted(files.items()))}
            _put(self.path / MANIFEST, _as_json(manifest))
        return RunFolder(self.path, manifest)


def _check_replaceable(target: Path, force: bool) -> None:
    if not target.is_dir():
        raise RunFolderError(f"{target}: a file of that name exists; choose another --out")
    if not force:
        raise RunFolderError(
            f"{target}: the folder exists; choose another --out, or replace an earlier run "
            "with --force"
        )
    if any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise RunFolderError(
            f"{target}: the folder holds something else than a run, which --force does not replace"
        )
    if target.is_symlink() or target.is_mount():
        raise RunFolderError(f"{target}: a link or mount point is not replaced; choose another")


def _next_free(wanted: Path) -> Path:
    number = 2
    while os.path.lexists(candidate := wanted.with_name(f"{wanted.name}-{number}")):
        number += 1
    return candidate


def _hidden(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name}.{what}-{secrets.token_hex(4)}")


def _inventory(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and checksum of every file but the manifest, by its path in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    others = (folder / MANIFEST, folder / OWNER)
    return {
        path.relative_to(folder).as_posix(): _entry(path) for path in files if path not in others
    }


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _sync(folder: Path) -> None:
    """Have everything in a folder on the disk before its name says that it is complete."""
    folders = [Path(root) for root, _, _ in os.walk(folder)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    # At once rather than one by one: file systems write such requests out together.
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(_sync_file, files))
        list(pool.map(_sync_folder, folders))


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems have no sync for folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _put(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = _hidden(path, "partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _as_json(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def _as_run_error(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFolderError(f"{path}: {what}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{reason}; free some space or choose another --out"
    return reason


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _neighbour(folder: Path) -> str:
    try:
        names = [entry.name for entry in os.scandir(folder.parent) if entry.is_dir()]
    except OSError:
        return ""
    hint = did_you_mean(folder.name, names)
    return f"; {hint}" if hint else ""
