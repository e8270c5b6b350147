"""`insilico export` leaves tables with NONMEM's columns, and what they mean."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

import trials
from insilico.config import load
from trials import running


@pytest.fixture(scope="module")
def whole(coag_study, coag_tree, tmp_path_factory) -> Path:
    """A small run's folder. Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "simulate", lambda study, progress: coag_tree)
        patch.setattr(running, "page", lambda tree, study, manifest: "<html></html>")
        return trials.run(coag_study, tmp_path_factory.mktemp("runs") / "whole").path


@pytest.fixture
def run(cli, whole) -> Path:
    """It, where a run of it is by default."""
    return Path(shutil.copytree(whole, "runs/warfarin_coag"))


def test_a_trial_s_first_is_exported_beside_its_folder(cli, run, coag_study):
    answer = cli("export", run)
    assert answer.code == 0, answer.errors
    out = Path("runs/warfarin_coag_nonmem")
    assert answer.output.strip().endswith(str(out))
    # The INR is no concentration, and has no exposure.
    assert {path.name for path in out.iterdir()} == {"nonmem.csv", "data.yaml", "manifest.json"}
    table = pd.read_csv(out / "nonmem.csv", na_values=".")
    assert table["ID"].nunique() == coag_study.config.trial.subjects
    told = load(str(out / "data.yaml")).data
    assert told["model"] == "warfarin_hamberg2010"
    assert told["data"]["file"] == "nonmem.csv"
    codes = set(told["data"]["covariates"]["vkorc1"]["categories"].values())
    assert len(codes) > 2 and set(table["VKORC1"]) <= codes


def test_more_trials_than_there_are_is_a_mistake(cli, run):
    answer = cli("export", run, "--trials", 5)
    assert answer.code == 2
    assert "--trials: found 5; the run has 4 of each draw" in answer.errors
    assert not Path("runs/warfarin_coag_nonmem").exists()


def test_options_of_a_fit_mean_nothing_to_a_trial(cli, run):
    answer = cli("export", run, "--replicates", 5)
    assert answer.code == 2
    assert "--replicates means nothing to the folder of a trial" in answer.errors


def test_an_earlier_export_is_replaced_if_asked(cli, run):
    assert cli("export", run, "--out", "here").code == 0
    again = cli("export", run, "--out", "here")
    assert again.code == 2 and "--force" in again.errors
    assert cli("export", run, "--out", "here", "--force", "--trials", 2).code == 0
    assert set(pd.read_csv("here/nonmem.csv")["SIMTRIAL"]) == {0, 1}


def test_an_export_is_no_run(cli, run):
    assert cli("export", run, "--out", "here").code == 0
    answer = cli("export", "here")
    assert answer.code == 2 and "has nothing to export" in answer.errors
