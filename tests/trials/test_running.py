"""`trials.run` leaves what the command leaves, with the same numbers."""

import errno
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

import trials
from insilico.runs import RunFolder, RunFolderError, Stages, writing
from trials import running
from trials.failures import Tally


@pytest.fixture
def simulated(coag_tree, monkeypatch, tmp_path) -> None:
    """The simulation replaced by results that were made before, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "simulate", lambda study, progress: coag_tree)


def test_three_lines_leave_a_whole_folder(simulated, coag: Path, small: Sequence[str], coag_tree):
    study = trials.read(coag, small)
    run = trials.run(study, "runs/coag")
    assert run.path == Path("runs/coag")
    xr.testing.assert_identical(run.results(), coag_tree)
    assert run.manifest["state"] == "finished"
    assert run.manifest["config"]["overrides"] == list(small)
    assert len(pd.read_parquet(run.path / "adsl.parquet")) == 4 * 150
    assert "<html" in (run.path / "report.html").read_text(encoding="utf-8")
    RunFolder.open("runs/coag").check()
    again = trials.read(run.path / "config.yaml")
    assert again.document.digest() == study.document.digest()


def test_parts_of_the_results_can_be_read_alone(simulated, coag_study, coag_tree):
    part = trials.run(coag_study).results("truth", "counts")
    assert set(part.children) == {"truth", "counts"}
    assert part.attrs == coag_tree.attrs
    xr.testing.assert_identical(part["truth"].to_dataset(), coag_tree["truth"].to_dataset())


@pytest.mark.slow
def test_without_a_folder_it_is_the_config_s_name_and_numbered(simulated, coag_study):
    places = [trials.run(coag_study).path for _ in range(2)]
    assert places == [Path("runs/warfarin_coag"), Path("runs/warfarin_coag-2")]


@pytest.mark.slow
def test_an_earlier_run_is_replaced_only_when_asked(simulated, coag_study):
    first = trials.run(coag_study, "mine").manifest
    with pytest.raises(RunFolderError, match="the folder exists"):
        trials.run(coag_study, "mine")
    assert RunFolder.open("mine").manifest == first
    trials.run(coag_study, "mine", force=True)
    RunFolder.open("mine").check()


def test_progress_is_told_and_the_seconds_before_are_the_run_s(simulated, coag_study):
    seen = []
    stages = Stages(lambda stage, done, total: seen.append(stage))
    stages("reading", 1, 1)
    run = trials.run(coag_study, progress=stages)
    assert list(dict.fromkeys(seen)) == ["reading", "results", "datasets", "report"]
    assert list(run.manifest["seconds"]) == ["reading", "results", "datasets", "report"]
    # The page is written before its own seconds are known, and says nothing of them.
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Seconds / Datasets" in page and "Seconds / Report" not in page


def test_a_run_with_too_many_failures_is_written_and_then_raised(
    simulated, coag_study, coag_tree, monkeypatch
):
    def simulate(study, progress):
        failed = {"the truth": Tally(2000, {"step limit reached": 30})}
        raise trials.TooManyFailures(failed, 0.001, coag_tree)

    monkeypatch.setattr(running, "simulate", simulate)
    with pytest.raises(
        trials.TooManyFailures, match="30 of 2,000 solves failed for the truth"
    ) as e:
        trials.run(coag_study, "failed")
    folder = e.value.folder
    assert folder is not None and folder.manifest["state"] == "failed"
    RunFolder.open("failed").check()


def test_a_disk_that_is_full_leaves_nothing(simulated, coag_study, monkeypatch):
    def full(tree, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "write_tree", full)
    with pytest.raises(RunFolderError, match="no space left on device"):
        trials.run(coag_study, "mine")
    assert list(Path().iterdir()) == []
