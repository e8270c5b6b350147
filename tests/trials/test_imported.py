"""Trials of patients whose population comes from another program's estimates."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import trials
from insilico.runs import RunFolder
from trials.running import page

FILES = Path(__file__).parents[1] / "cohorts" / "estimates" / "files"
CONFIG = """
title: A trial of imported patients
seed: 3
model: one_compartment
cohort:
  described:
    estimates: {file: estimates/run12.ext, covariance: estimates/run12.cov}
    population:
      absorption_rate: {typical: {kind: imported, name: THETA3, unit: 1/h}}
      clearance:
        typical: {kind: imported, name: THETA1, scale: log, unit: L/h}
        between_subject:
          {kind: log_normal, sd: {kind: imported, name: "OMEGA(1,1)", scale: variance}}
      central_volume:
        typical: {kind: imported, name: THETA2, scale: log, unit: L}
        between_subject:
          {kind: log_normal, sd: {kind: imported, name: "OMEGA(2,2)", scale: variance}}
    correlations: [{kind: imported, of: [clearance, central_volume]}]
    residual:
      concentration:
        {kind: proportional, sd: {kind: imported, name: "SIGMA(1,1)", scale: variance}}
trial: {subjects: 20, replicates: 8, trials_per_draw: 1, duration: 24 h}
drug: {name: theophylline, compartment: depot, last_day: 1}
visits: {times: [0 h, 2 h, 8 h, 24 h], measure: [concentration]}
formulas:
  more: {expression: 400, unit: mg/d}
  less: {expression: 200, unit: mg/d}
arms: {more: {label: More, start: [more]}, less: {label: Less, start: [less]}}
endpoints: {auc: {kind: area_under_curve, of: concentration}}
analyses:
  auc: {endpoint: auc, estimator: geometric_mean_ratio, contrast: [more, less]}
success: {all_of: [auc]}
truth: {subjects: 1000}
"""


@pytest.fixture
def config(tmp_path) -> Path:
    shutil.copytree(FILES, tmp_path / "estimates")
    file = tmp_path / "trial.yaml"
    file.write_text(CONFIG)
    return file


def test_its_files_are_found_beside_the_config_and_read_without_jax(config):
    code = (
        "import sys, trials; study = trials.read(sys.argv[1]);"
        "print(sorted(study.estimate_files)); print('jax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(config)], capture_output=True, text=True, check=True
    )
    field = "cohort.described.estimates"
    assert done.stdout.splitlines() == [str([f"{field}.covariance", f"{field}.file"]), "False"]


@pytest.mark.slow
def test_a_run_keeps_its_estimates_and_is_read_again_from_its_folder(config, tmp_path):
    folder = trials.run(trials.read(config), tmp_path / "out")
    shutil.rmtree(tmp_path / "estimates")
    found = RunFolder.open(folder.path)
    study = trials.read(folder.path / "config.yaml")
    text = page(found.results(), study, found.manifest)
    assert "THETA1 of run12.ext" in text and "covariance matrix of run12.cov" in text
    assert found.manifest["failure"] is None
