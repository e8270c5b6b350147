"""A small calibration by weights of an example that anybody can follow, made once."""

from pathlib import Path

import pytest

from insilico.runs import RunFolder

CONFIG = Path(__file__).parents[3] / "configs" / "calibrate_theophylline.yaml"

# Two arms, given and infused, and people of two sexes; the plausible range is near the targets.
TEXT = """
title: A calibration of two arms
seed: 7
model: one_compartment
population:
  absorption_rate: {typical: 1.5 1/h}
  clearance:
    typical: {kind: log_normal, median: 3 L/h, sd: 0.3}
    covariates: {sex: {kind: categorical, reference: male, factors: {female: 0.8}}}
    between_subject: {kind: log_normal, sd: 30 %}
  central_volume:
    typical: {kind: log_normal, median: 32 L, sd: 0.2}
    between_subject: {kind: log_normal, sd: 20 %}
residual:
  concentration: {kind: proportional, sd: {kind: half_normal, scale: 10 %}}
cohort: {covariates: {stated: {sex: {shares: {female: 0.5, male: 0.5}}}}}
arms:
  oral: {doses: [{amount: 320 mg}], subjects: 24}
  infused:
    doses: [{amount: 200 mg, into: central, at: 1 h, duration: 0.5 h, every: 12 h, number: 2}]
targets:
  - {arm: oral, output: concentration, time: 9 h, statistic: mean, value: 4.6 mg/L}
  - {arm: oral, output: concentration, time: 9 h, statistic: cv, value: 30 %}
  - {arm: oral, output: concentration, time: 9 h, statistic: fraction, above: 5 mg/L, value: 0.3}
  - arm: oral
    output: concentration
    time: 9 h
    statistic: quantile
    probability: 0.9
    value: 6.4 mg/L
  - arm: infused
    output: concentration
    exposure: auc
    between: [1 h, 13 h]
    statistic: geometric_mean
    value: 40 mg*h/L
    standard_error: 2 mg*h/L
method: reweight
virtual_patients: 1000
"""


@pytest.fixture(scope="session")
def config() -> Path:
    """The config of the theophylline example."""
    return CONFIG


@pytest.fixture(scope="session")
def two_arms(tmp_path_factory) -> Path:
    """The config of two arms."""
    path = tmp_path_factory.mktemp("summaries") / "two_arms.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="session")
def weighted(two_arms) -> RunFolder:
    """Its run into a folder. Not to be changed."""
    from cohorts import summaries

    return summaries.run(summaries.read(two_arms), two_arms.parent / "weighted")
