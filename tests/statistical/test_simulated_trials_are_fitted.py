"""A simulated trial, exported and fitted, gives back the population that it was drawn from."""

from pathlib import Path

import numpy as np
import pytest

import trials
from cohorts import fits
from insilico.runs.resolved import as_yaml

pytestmark = pytest.mark.slow

TRIAL = """
title: Two doses
seed: 8
model: one_compartment
cohort:
  described:
    population:
      absorption_rate: {typical: 1.5 1/h, between_subject: {kind: log_normal, sd: 0.4}}
      clearance: {typical: 2.8 L/h, between_subject: {kind: log_normal, sd: 0.3}}
      central_volume: {typical: 32 L, between_subject: {kind: log_normal, sd: 0.2}}
    residual:
      concentration: {kind: proportional, sd: 0.1}
trial: {subjects: 60, replicates: 1, duration: 3 d}
drug:
  {name: drug, compartment: depot, last_day: 2, fraction: 0.8, adherence: {mean: 0.8, spread: 0.05}}
visits:
  times: [0 h, 30 min, 1 h, 2 h, 4 h, 8 h, 12 h, 24 h, 26 h, 36 h, 60 h]
  measure: [concentration]
  quantified_from: {concentration: 0.5}
  attendance: 0.95
formulas:
  one: {expression: 320, unit: mg/d}
  two: {expression: 640, unit: mg/d}
arms:
  low: {label: Low, start: [one]}
  high: {label: High, start: [two]}
endpoints:
  cmax: {label: Cmax, kind: maximum, of: concentration}
analyses:
  cmax:
    {label: Cmax, endpoint: cmax, estimator: mean_difference, contrast: [high, low]}
truth: {subjects: 1000}
"""
TRUE = {
    "typical_absorption_rate": 1.5,
    "typical_clearance": 2.8,
    "typical_central_volume": 32.0,
    "sd_absorption_rate": 0.4,
    "sd_clearance": 0.3,
    "sd_central_volume": 0.2,
    "residual_sd_concentration": 0.1,
}
FIT = """
title: What was learned of them
seed: 5
method: focei
approximation: {priors: false, importance_samples: 0}
checks: {replicates: 100, prior_draws: 100, marginal_draws: 0}
population:
  absorption_rate:
    typical: {kind: log_normal, median: 1 1/h, sd: 1}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 1}}
  clearance:
    typical: {kind: log_normal, median: 2 L/h, sd: 1}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
  central_volume:
    typical: {kind: log_normal, median: 20 L, sd: 1}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
residual:
  concentration: {kind: proportional, sd: {kind: half_normal, scale: 0.5}}
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """The exported trial, with the config of a fit beside it."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "trial.yaml").write_text(TRIAL)
    study = trials.read(folder / "trial.yaml")
    found = trials.event_table(trials.simulate(study), study)
    # Missed doses, missed visits, and values below the limit, also of who had no dose at all.
    event, missing, censored, true = found.frame[["EVID", "MDV", "CENS", "IPRED"]].to_numpy().T
    assert np.sum(event == 1) < 110 and np.sum(missing == 0) < 650
    assert np.any((censored == 1) & (true > 0))
    found.frame.to_csv(folder / "nonmem.csv", index=False, na_rep=".")
    told = {"model": study.config.model, "data": found.spec.model_dump(exclude_defaults=True)}
    (folder / "fit.yaml").write_text(FIT + as_yaml(told))
    return folder


def test_it_gives_back_its_population(table):
    """Each number within four standard errors, which is missed once in 2,000 fits of seven."""
    run = fits.run(fits.read(table / "fit.yaml"), table / "fitted")
    posterior = run.results("posterior")["posterior"].to_dataset()
    for name, true in TRUE.items():
        draws = np.log(posterior[name].values)
        assert abs(draws.mean() - np.log(true)) < 4 * draws.std(), name
