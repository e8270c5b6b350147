"""Results survive being stored, and others can read them."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from insilico.runs.store import CHUNK_BYTES, _chunks, read_tree, write_tree


def test_a_tree_comes_back_as_it_was(tmp_path, tree):
    write_tree(tree, tmp_path / "results.zarr")
    found = read_tree(tmp_path / "results.zarr")
    xr.testing.assert_identical(found, tree)
    assert found["outcomes"]["inr"].dtype == np.float32
    assert found["outcomes"]["attended"].dtype == bool


def by_xarray(path: Path) -> xr.DataTree:
    return xr.open_datatree(path, engine="zarr")


def by_arviz(path: Path) -> xr.DataTree:
    # Not on top: it brings all of its plots along.
    import arviz

    return arviz.from_zarr(path)


@pytest.mark.parametrize("reader", [by_xarray, by_arviz])
def test_xarray_and_arviz_open_it(tmp_path, tree, reader):
    write_tree(tree, tmp_path / "results.zarr")
    found = reader(tmp_path / "results.zarr")
    assert set(found.children) == set(tree.children)
    assert found.attrs["title"] == "a trial"
    np.testing.assert_array_equal(found["outcomes"]["inr"], tree["outcomes"]["inr"])


def test_numbers_are_compressed(tmp_path):
    zeros = xr.Dataset({"zeros": (("trial", "subject"), np.zeros((100, 1000)))})
    write_tree(xr.DataTree.from_dict({"/outcomes": zeros}), tmp_path / "results.zarr")
    written = sum(p.stat().st_size for p in (tmp_path / "results.zarr").rglob("*") if p.is_file())
    assert written < 0.05 * zeros.nbytes


def test_an_existing_store_is_not_overwritten(tmp_path, tree):
    write_tree(tree, tmp_path / "results.zarr")
    with pytest.raises(FileExistsError):
        write_tree(tree, tmp_path / "results.zarr")


def test_what_is_no_store_is_an_os_error(tmp_path):
    with pytest.raises(OSError):
        read_tree(tmp_path / "results.zarr")


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 0, 5), (200, 2, 1015, 16), (3, 10**8)])
def test_chunks_fit_the_array_and_the_limit(shape):
    chunks = _chunks(shape, np.dtype(np.float32))
    assert len(chunks) == len(shape)
    assert all(1 <= chunk <= max(length, 1) for chunk, length in zip(chunks, shape, strict=True))
    assert np.prod(chunks, dtype=int) * 4 <= CHUNK_BYTES


@pytest.mark.parametrize("name", ["trial #2", "a::b", "a#b?c%20", "memory:x"])
def test_a_folder_may_have_any_name(tmp_path, tree, name):
    """None is taken for a URL, whose parts would go elsewhere."""
    (tmp_path / name).mkdir()
    write_tree(tree, tmp_path / name / "results.zarr")
    assert os.listdir(tmp_path) == [name]
    xr.testing.assert_identical(read_tree(tmp_path / name / "results.zarr"), tree)
