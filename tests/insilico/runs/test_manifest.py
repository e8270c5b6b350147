"""What a run says about itself."""

import datetime
import importlib.metadata
import json
import subprocess
from pathlib import Path

import insilico
from insilico.config import load
from insilico.runs import manifest, peak_memory

START = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def told(tmp_path, **options):
    (tmp_path / "trial.yaml").write_text("title: a trial\nseed: 7\ntrial: {subjects: 3}\n")
    document = load(tmp_path / "trial.yaml", ["trial.subjects=5"])
    return document, manifest(
        document,
        overrides=["trial.subjects=5"],
        started=START,
        seconds={"patients": 1.23456},
        counts={"subjects": 5, "failed_by_cause": {}},
        **options,
    )


def test_config_seed_counts_and_times_are_told(tmp_path):
    document, found = told(tmp_path)
    assert found["config"]["values"] == {"title": "a trial", "seed": 7, "trial": {"subjects": 5}}
    assert found["config"]["sha256"] == document.digest()
    assert found["config"]["overrides"] == ["trial.subjects=5"]
    assert (found["seed"], found["title"], found["state"]) == (7, "a trial", "finished")
    assert found["counts"]["subjects"] == 5
    assert found["seconds"] == {"patients": 1.235}
    assert found["started"] == "2026-01-02T03:04:05+00:00"
    assert datetime.datetime.fromisoformat(found["ended"]) > START
    assert json.loads(json.dumps(found)) == found


def test_a_failed_run_says_why(tmp_path):
    _, found = told(tmp_path, failure="12 of 100 solves failed")
    assert (found["state"], found["failure"]) == ("failed", "12 of 100 solves failed")


def test_versions_and_machine_are_told(tmp_path):
    _, found = told(tmp_path)
    for name in ("jax", "jaxlib", "numpy", "numpyro", "diffrax", "xarray", "arviz"):
        assert found["versions"][name] == importlib.metadata.version(name)
    assert found["machine"]["devices"] >= 1
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["cpu"]
    assert found["peak_memory_bytes"] > 50e6  # an interpreter with jax in it


def test_the_revision_is_the_checkout_s(tmp_path):
    _, found = told(tmp_path)
    root = Path(insilico.__file__).parents[1]
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expected = done.stdout.strip() if done.returncode == 0 else None
    assert found["code"]["revision"] == expected


def test_an_installed_copy_in_somebody_s_checkout_has_no_revision(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "insilico").mkdir()
    (tmp_path / "insilico" / "__init__.py").touch()
    monkeypatch.setattr(insilico, "__file__", str(tmp_path / "insilico" / "__init__.py"))
    _, found = told(tmp_path)
    assert found["code"]["revision"] is None


def test_peak_memory_does_not_fall():
    before = peak_memory() or 0
    block = bytearray(200_000_000)
    block[::4096] = b"x" * len(block[::4096])
    del block
    assert (peak_memory() or 0) >= max(before, 200_000_000)
