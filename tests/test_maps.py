"""The README of a package names every module of it: it is the map that a reader starts from."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPS = sorted(
    path.parent.relative_to(ROOT)
    for package in ("insilico", "cohorts", "trials")
    for path in (ROOT / package).rglob("README.md")
    if "| file | concept |" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("folder", MAPS, ids=str)
def test_a_map_names_every_module(folder):
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    modules = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
    assert sorted(name for name in modules if f"`{name}`" not in text) == []
