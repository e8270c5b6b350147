"""The state of a run on disk: one file that is always whole."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

FILE = "checkpoint.npz"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read or written, or is of another run; the text says which and why."""


class Saved(NamedTuple):
    """What a checkpoint held: `note` as it was written, the arrays of the tree by their place."""

    path: Path
    note: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def tree(self, like: Any) -> Any:
        """The tree that was written, whose structure is that of `like`; shapes are its own."""

        def leaf(path: Any, template: Any) -> Any:
            array = self.arrays[jax.tree_util.keystr(path)]
            if jnp.issubdtype(template.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(jnp.asarray(array))
            return array

        return jax.tree_util.tree_map_with_path(leaf, like)


class Checkpoint(NamedTuple):
    """Where a run is kept, and what tells it from others.

    - `folder`: made when it is first written to.
    - `identity`: what must be the same for a run to be gone on with, by name; JSON's types.
    """

    folder: Path
    identity: Mapping[str, Any]

    def write(self, note: Mapping[str, Any], tree: Any) -> None:
        """Replace what is there, at once: whatever stops it leaves the old file or the new one.

        Raises `CheckpointError` where it cannot be written, as on a full disk.
        """
        leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
        arrays = {jax.tree_util.keystr(path): _plain(leaf) for path, leaf in leaves}
        told = json.dumps({"identity": self.identity, "note": note})
        partial = self.folder / f".{FILE}.{os.getpid()}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as stream:
                np.savez(stream, allow_pickle=False, told=np.array(told), **arrays)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(self.folder / FILE)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            kept = "; the one before is whole" if (self.folder / FILE).exists() else ""
            raise CheckpointError(
                f"{self.folder}: the checkpoint cannot be written: {reason}{kept}"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # some systems have no sync for folders
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def read(self) -> Saved | None:
        """What was written last; None where nothing was.

        Raises `CheckpointError` for a damaged file, and for that of another run.
        """
        path = self.folder / FILE
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = dict(stored)
            told = json.loads(str(arrays.pop("told")))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise CheckpointError(
                f"{path}: the checkpoint cannot be read ({error}); remove it to start anew"
            ) from error
        found, wanted = told["identity"], json.loads(json.dumps(self.identity))
        differing = [
            f"{name} ({found.get(name)!r} there, {wanted.get(name)!r} here)"
            for name in sorted({*found, *wanted})
            if found.get(name) != wanted.get(name)
        ]
        if differing:
            raise CheckpointError(
                f"{path}: the checkpoint is of another run: {'; '.join(differing)}; "
                "remove it, or give another folder"
            )
        return Saved(path, told["note"], arrays)


def _plain(leaf: Any) -> np.ndarray:
    """An array as NumPy's; of keys their words."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)
