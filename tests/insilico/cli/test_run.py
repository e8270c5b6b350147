"""`insilico run` leaves a complete run folder, or nothing and a message."""

import errno
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import trials
from insilico.runs import RunFolder, RunFolderError, folder, writing
from trials import running
from trials.failures import Tally

FILES = [
    "adeff.parquet",
    "adex.parquet",
    "adlb.parquet",
    "adsl.parquet",
    "config.yaml",
    "manifest.json",
    "report.html",
    "results.zarr",
]


def test_a_run_leaves_its_folder(cli, coag, changes, real_report, coag_tree):
    answer = cli("run", coag, *changes)
    assert answer.code == 0, answer.errors
    run = RunFolder.open("runs/warfarin_coag")
    assert sorted(path.name for path in run.path.iterdir()) == FILES
    run.check()
    xr.testing.assert_identical(run.results(), coag_tree)
    assert "<html" in (run.path / "report.html").read_text(encoding="utf-8")
    assert len(pd.read_parquet(run.path / "adsl.parquet")) == 4 * 150


def test_the_manifest_holds_the_run_s_facts(cli, coag, changes, simulated):
    cli("run", coag, *changes, "--seed", 5)
    manifest = RunFolder.open("runs/warfarin_coag").manifest
    assert manifest["state"] == "finished"
    assert manifest["seed"] == 5
    assert manifest["counts"]["subjects"] == 600
    assert manifest["counts"]["failed_by_cause"] == {}
    assert list(manifest["seconds"]) == ["check", "patients", "results", "datasets", "report"]
    assert "seed=5" in manifest["config"]["overrides"]


def test_the_config_in_the_folder_gives_the_same_study(cli, coag, changes, simulated):
    cli("run", coag, *changes, "--seed", 120)
    again = trials.read("runs/warfarin_coag/config.yaml")
    assert again.config.trial.subjects == 150 and again.config.seed == 120
    manifest = RunFolder.open("runs/warfarin_coag").manifest
    assert again.document.digest() == manifest["config"]["sha256"]


def test_the_table_shows_every_analysis_and_where_the_report_is(cli, coag, changes, simulated):
    output = cli("run", coag, *changes).output
    for label in ("All patients", "Black patients", "Non-Black patients", "INR of 4 or above"):
        assert label in output
    # The published difference and its interval, with a real minus.
    minus = "\N{MINUS SIGN}"
    assert f"{minus}0.2 ({minus}3.4 to 3.1)" in output
    assert "4 trials, 600 subjects, 1,200 solves, 0 failed" in output
    assert "Report: runs/warfarin_coag/report.html" in output


def test_an_analysis_that_no_trial_could_do_is_told(
    cli, coag, changes, simulated, coag_tree, monkeypatch
):
    tree = coag_tree.copy()
    estimates = tree["estimates"].to_dataset().copy(deep=True)
    estimates["status"].loc[{"analysis": "black"}] = 1
    tree["estimates"] = estimates
    monkeypatch.setattr(running, "simulate", lambda study, progress: tree)
    output = cli("run", coag, *changes).output
    assert "Warning: “Black patients” has no estimate in any trial (too few)." in output


def test_options_are_overrides_and_win_over_the_file(cli, coag, simulated, monkeypatch):
    seen = []

    def simulate(study, progress):
        seen.append(study.config)
        return simulated(study, progress)

    monkeypatch.setattr(running, "simulate", simulate)
    options = ["--replicates", 3, "--size", 40, "--seed", 9, "--set", "drug.fraction=0.4"]
    assert cli("run", coag, *options).code == 0
    (config,) = seen
    assert (config.trial.replicates, config.trial.subjects, config.seed) == (3, 40, 9)
    assert config.drug.fraction == 0.4


def test_out_names_the_folder_and_is_not_overwritten(cli, coag, changes, simulated):
    assert cli("run", coag, *changes, "--out", "here/mine").code == 0
    first = Path("here/mine/manifest.json").read_bytes()
    again = cli("run", coag, *changes, "--out", "here/mine")
    assert again.code == 2
    assert again.errors.strip().splitlines() == [
        "here/mine: the folder exists; choose another --out, or replace an earlier run with --force"
    ]
    assert Path("here/mine/manifest.json").read_bytes() == first
    assert cli("run", coag, *changes, "--out", "here/mine", "--force").code == 0
    assert Path("here/mine/manifest.json").read_bytes() != first


def test_a_second_run_gets_a_folder_of_its_own(cli, coag, changes, simulated):
    cli("run", coag, *changes)
    assert "runs/warfarin_coag-2/report.html" in cli("run", coag, *changes).output


def test_a_failed_run_is_kept_and_marked(cli, coag, changes, real_report, coag_tree, monkeypatch):
    tree = coag_tree.copy()
    tree["counts"] = tree["counts"].to_dataset().assign(failed=3)
    failures = xr.Dataset(
        {
            "population": ("failure", np.zeros(3, int)),
            "trial": ("failure", np.zeros(3, int)),
            "subject": ("failure", np.arange(3)),
            "arm": ("failure", ["genotype_guided"] * 3),
            "status": ("failure", ["step limit reached"] * 2 + ["state not finite"]),
            "stopped": ("failure", np.full(3, 12.0)),
        }
    )
    tree["failures"] = failures

    def simulate(study, progress):
        causes = {"step limit reached": 2, "state not finite": 1}
        raise trials.TooManyFailures({"the trials' patients": Tally(1200, causes)}, 0.001, tree)

    monkeypatch.setattr(running, "simulate", simulate)
    answer = cli("run", coag, *changes)
    assert answer.code == 1
    assert "the run failed: 3 of 1,200 solves failed" in answer.errors
    assert "Traceback" not in answer.errors
    manifest = RunFolder.open("runs/warfarin_coag").manifest
    assert manifest["state"] == "failed"
    assert manifest["failure"].startswith("3 of 1,200 solves failed")
    by_cause = {"state not finite": 1, "step limit reached": 2}
    assert manifest["counts"]["failed_by_cause"] == by_cause
    report = Path("runs/warfarin_coag/report.html").read_text(encoding="utf-8")
    assert "3 of 1,200 solves failed" in report


def test_a_disk_that_fills_up_midway_leaves_nothing(cli, coag, changes, simulated, monkeypatch):
    def full(tree, path):
        (Path(path) / "outcomes").mkdir(parents=True)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "write_tree", full)
    answer = cli("run", coag, *changes)
    assert answer.code == 2
    assert "results.zarr cannot be written: no space left on device" in answer.errors
    assert "nothing was kept" in answer.errors
    assert list(Path().iterdir()) == []


def test_a_disk_that_fills_up_at_the_very_end_leaves_nothing(
    cli, coag, changes, simulated, monkeypatch
):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder.os, "fsync", full)
    answer = cli("run", coag, *changes)
    assert answer.code == 2
    assert "no space left on device" in answer.errors
    assert list(Path().iterdir()) == []


def test_an_interruption_leaves_nothing(cli, coag, changes, simulated, monkeypatch):
    def simulate(study, progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "simulate", simulate)
    answer = cli("run", coag, *changes)
    assert (answer.code, answer.errors.strip()) == (130, "interrupted; nothing was kept")
    assert list(Path().iterdir()) == []


def test_an_unexpected_error_is_one_message_and_a_traceback_on_request(
    cli, coag, changes, simulated, monkeypatch
):
    def simulate(study, progress):
        raise ZeroDivisionError("of course")

    monkeypatch.setattr(running, "simulate", simulate)
    answer = cli("run", coag, *changes)
    assert answer.code == 1
    assert "unexpected error: ZeroDivisionError: of course" in answer.errors
    assert "Traceback" not in answer.errors
    assert list(Path().iterdir()) == []
    # The runner of the tests hands an exception on; the console script prints its traceback.
    assert cli("run", coag, *changes, "--debug").code == 1


def test_memory_that_runs_out_is_told(cli, coag, changes, simulated, monkeypatch):
    def simulate(study, progress):
        raise MemoryError

    monkeypatch.setattr(running, "simulate", simulate)
    answer = cli("run", coag, *changes)
    assert answer.code == 1
    assert "out of memory" in answer.errors


@pytest.mark.parametrize("out", ["file/run", "x" * 300])
def test_a_place_that_cannot_be_written_is_bad_input(cli, coag, changes, simulated, out):
    Path("file").write_text("x")
    answer = cli("run", coag, *changes, "--out", out)
    assert answer.code == 2
    assert "the run folder cannot be created" in answer.errors
    assert list(Path().iterdir()) == [Path("file")]


def test_reports_are_rendered_anew(cli, coag, changes, real_report):
    cli("run", coag, *changes)
    page = Path("runs/warfarin_coag/report.html")
    first = page.read_text(encoding="utf-8")
    page.write_text("")
    answer = cli("report", "runs/warfarin_coag")
    assert answer.code == 0, answer.errors
    assert answer.output.strip() == str(page)
    again = page.read_text(encoding="utf-8")
    assert len(again) > 0.9 * len(first)
    # It names the config that was run and what was changed, not the folder's copy.
    assert str(coag) in again and changes[1] in again
    RunFolder.open("runs/warfarin_coag").check()


def test_a_report_of_a_damaged_run_is_refused(cli, coag, changes, simulated):
    cli("run", coag, *changes)
    Path("runs/warfarin_coag/results.zarr/zarr.json").write_text("{}")
    answer = cli("report", "runs/warfarin_coag")
    assert answer.code == 2
    assert "damaged; changed since it was written: results.zarr/zarr.json" in answer.errors


def test_a_report_of_something_else_is_refused(cli, tmp_path):
    for path in ("nowhere", "."):
        answer = cli("report", path)
        assert answer.code == 2
        assert len(answer.errors.strip().splitlines()) == 1
    with pytest.raises(RunFolderError):
        RunFolder.open("nowhere")


def test_the_manifest_is_valid_json_in_utf8(cli, edited, changes, simulated):
    config = edited(('title: "COAG:', 'title: "COÄG – ∆:'))
    assert cli("run", config, *changes).code == 0
    manifest = json.loads(Path("runs/trial/manifest.json").read_text(encoding="utf-8"))
    assert manifest["title"].startswith("COÄG – ∆")
