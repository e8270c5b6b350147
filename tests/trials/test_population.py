"""The population's parameters in a trial's results, numbers or not."""

from pathlib import Path

import numpy as np
import pytest

import trials
from trials.results.layout import Layout
from trials.results.subjects import population

CONFIG = """
title: Two subpopulations, correlated effects
seed: 11
model: one_compartment
cohort:
  described:
    mixtures: {metaboliser: {kind: dirichlet, concentrations: {extensive: 8, poor: 2}}}
    population:
      absorption_rate: {typical: 1 1/h}
      clearance:
        typical: 3 L/h
        covariates: {metaboliser: {kind: categorical, reference: extensive, factors: {poor: 0.3}}}
        between_subject: {kind: log_normal, sd: 30 %}
      central_volume: {typical: 30 L, between_subject: {kind: log_normal, sd: 20 %}}
    correlations: [{of: [clearance, central_volume], kind: lkj, concentration: 2}]
    residual: {concentration: {kind: proportional, sd: 10 %}}
  covariates: {source: iwpc2009}
trial: {subjects: 10, replicates: 4, trials_per_draw: 2, duration: 24 h}
drug: {name: drug, compartment: depot, last_day: 1}
visits: {times: [1 h, 24 h], measure: [concentration]}
formulas: {low: {expression: 300, unit: mg/d}, high: {expression: 400, unit: mg/d}}
arms: {low: {label: Low, start: [low]}, high: {label: High, start: [high]}}
endpoints: {auc: {kind: area_under_curve, of: concentration}}
analyses: {auc: {endpoint: auc, estimator: geometric_mean_ratio, contrast: [high, low]}}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    path = Path(tmp_path_factory.mktemp("population")) / "trial.yaml"
    path.write_text(CONFIG)
    study = trials.read(path)
    return population(study, Layout(study))


def test_shares_of_a_mixture_have_an_axis_of_their_own(found):
    shares = found["shares_metaboliser"]
    assert shares.dims[0] == "population" and shares.shape == (2, 2)
    np.testing.assert_allclose(shares.sum(dim=shares.dims[1]), 1.0)


def test_numbers_have_one_a_draw(found):
    assert found["typical_clearance"].dims == ("population",)
    assert all(column.dims[0] == "population" for column in found.values())
