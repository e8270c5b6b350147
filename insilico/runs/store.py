"""Results at rest: a labelled tree of arrays as one compressed zarr store."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

from insilico.config import did_you_mean

CHUNK_BYTES = 8 * 2**20
"""Size of a chunk before compression: few files, and still read in parts."""

_COMPRESSOR = BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")
"""Shuffled bytes of neighbouring numbers compress better and faster than the numbers as such."""


def write_tree(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write a tree with all its groups; `xarray.open_datatree(path, engine="zarr")` reads it.

    Numbers are stored in the precision they have.

    Raises `OSError`: the store cannot be written.
    """
    encoding = {
        group.path: {
            str(name): _encoding(variable)
            for name, variable in group.to_dataset(inherit=False).variables.items()
        }
        for group in tree.subtree
    }
    with warnings.catch_warnings():
        # Neither text of a fixed width nor metadata in one place is settled in zarr's third format;
        # zarr and xarray read both.
        warnings.filterwarnings("ignore", message="(?i).*zarr (v3|format 3) specification.*")
        # A store and not its path, in which `#` and `::` would be read as a URL's.
        store = LocalStore(Path(path))
        tree.to_zarr(store, mode="w-", encoding=encoding, consolidated=False, zarr_format=3)
        # Once at the end: xarray would do it after each group, over all groups so far.
        zarr.consolidate_metadata(store)


def read_tree(path: str | os.PathLike[str], groups: Collection[str] = ()) -> xr.DataTree:
    """Read a tree into memory: all of it, or of its groups only those that are named.

    Raises `OSError`: there is no such store, or it cannot be read.
    Raises `KeyError`: the tree has no group of a name; the message names those it has.
    """
    if not Path(path).is_dir():
        raise FileNotFoundError(f"{path} does not exist")
    store: Any = LocalStore(Path(path), read_only=True)  # which xarray's types do not know of
    with xr.open_datatree(store, engine="zarr") as tree:
        for name in groups:
            if name not in tree.children:
                there = list(tree.children)
                hint = did_you_mean(name, there)
                raise KeyError(
                    f"the results have no group {name!r}; groups: {', '.join(there)}"
                    + (f"; {hint}" if hint else "")
                )
        if groups:
            kept = {"", *groups}  # the root, which says what the tree is of, goes along
            tree = tree.filter(lambda node: node.path.split("/")[1] in kept)
        return tree.load()


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    if variable.dtype.kind not in "biuf":
        return {}
    return {"compressors": (_COMPRESSOR,), "chunks": _chunks(variable.shape, variable.dtype)}


def _chunks(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    """Chunks of at most `CHUNK_BYTES`, cut along the leading axes."""
    room = max(CHUNK_BYTES // dtype.itemsize, 1)
    chunks = []
    for length in reversed(shape):
        chunks.append(max(min(length, room), 1))
        room = max(room // max(length, 1), 1)
    return tuple(reversed(chunks))
