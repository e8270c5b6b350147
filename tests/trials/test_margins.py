"""Margins from a config to a report."""

import math
import re

import numpy as np
import pytest
from scipy import stats

import trials
from insilico.config import ConfigError
from trials.margins import margins_of
from trials.report import render

BETTER = "endpoints.cmax.better=higher"
NON_INFERIORITY = (
    "{label: Not lower, endpoint: cmax, estimator: mean_difference, contrast: [test, reference], "
    "non_inferiority_margin: 1500 ug/L}"
)
SUPERIORITY = (
    "{label: Higher, endpoint: cmax, estimator: geometric_mean_ratio, contrast: [test, reference], "
    "superiority_margin: 1.05, alpha: 0.05}"
)
EQUIVALENCE = (
    "{label: Same area, endpoint: auc, estimator: mean_difference, contrast: [test, reference], "
    "margins: [-20 mg*h/L, 20 mg*h/L]}"
)
RISK = (
    "{label: Peaks, endpoint: peak, estimator: risk_difference, contrast: [test, reference], "
    "non_inferiority_margin: 40 %}"
)
PEAK = "endpoints.peak={kind: any_at_or_above, of: concentration, threshold: 8.5, better: higher}"


def analysed(config, *changes):
    return trials.read(
        config,
        [
            BETTER,
            f"analyses.not_lower={NON_INFERIORITY}",
            f"analyses.higher={SUPERIORITY}",
            f"analyses.same={EQUIVALENCE}",
            PEAK,
            f"analyses.peaks={RISK}",
            "success={all_of: [not_lower]}",
            *changes,
        ],
    )


@pytest.fixture(scope="module")
def study(bioequivalence):
    return analysed(bioequivalence)


@pytest.fixture(scope="module")
def tree(study, crossover_tree):
    # After the crossover, whose compiled programs it shares.
    return trials.simulate(study)


def test_margins_are_read_in_the_unit_of_the_effect(study):
    specs = study.config.analyses
    assert margins_of(study.config, specs["not_lower"]) == (-1.5, math.inf)
    assert margins_of(study.config, specs["higher"]) == (math.log(1.05), math.inf)
    assert margins_of(study.config, specs["same"]) == (-20.0, 20.0)
    assert margins_of(study.config, specs["peaks"]) == (-0.4, math.inf)
    auc = margins_of(study.config, specs["auc"])
    assert auc is not None
    np.testing.assert_allclose(auc, np.log([0.8, 1.25]), rtol=1e-15)


def test_a_one_sided_test_has_half_of_the_two_sided_level(study):
    specs = study.config.analyses
    assert (specs["not_lower"].alpha, specs["not_lower"].level) == (0.025, 0.95)
    assert (specs["higher"].alpha, specs["higher"].level) == (0.05, 0.9)
    assert (specs["same"].alpha, specs["same"].level) == (0.05, 0.9)


def test_where_lower_is_better_the_margin_lies_above(bioequivalence):
    config = analysed(
        bioequivalence, "endpoints.cmax.better=lower", "analyses.higher.superiority_margin=0.9"
    ).config
    specs = config.analyses
    assert margins_of(config, specs["not_lower"]) == (-math.inf, 1.5)
    assert margins_of(config, specs["higher"]) == (-math.inf, math.log(0.9))


def test_trials_are_tested_against_their_margins(tree):
    estimates = tree["estimates"].to_dataset().isel(population=0)
    one = estimates.sel(analysis="not_lower")
    statistic = (one["estimate"] + 1.5) / one["standard_error"]
    expected = stats.t.sf(statistic, one["degrees_of_freedom"])
    np.testing.assert_allclose(one["p_value"], expected, rtol=1e-9)
    np.testing.assert_array_equal(one["p_value"] < 0.025, one["lower"] > -1.5)
    assert one["hypothesis"].item() == "non_inferiority"
    assert (one["lower_margin"].item(), one["upper_margin"].item()) == (-1.5, math.inf)
    told = tree["operating_characteristics"].to_dataset()
    shown = (one["p_value"] < 0.025).mean().item()
    assert told["power"].sel(analysis="not_lower").item() == shown == told["success"].item()
    assert np.isfinite(told["type_i_error"].sel(analysis="not_lower"))


def test_risks_of_a_crossover_are_compared_in_pairs(tree):
    peak = tree["endpoints"]["peak"].values[0] > 0.5
    given = tree["randomisation"]["sequence_number"].values[0]
    one = tree["estimates"].to_dataset().sel(analysis="peaks").isel(population=0)
    # (trial, period, arm, subject): the sequence is the period in which the test arm was given.
    trial, subject = np.ogrid[: given.shape[0], : given.shape[1]]
    test, reference = peak[trial, given, 0, subject], peak[trial, 1 - given, 1, subject]
    alone, other = (test & ~reference).sum(axis=1), (reference & ~test).sum(axis=1)
    np.testing.assert_allclose(one["estimate"], (alone - other) / 24)
    np.testing.assert_array_equal(one["p_value"] < 0.025, one["lower"] > -0.4)
    truth = tree["truth"].to_dataset().sel(analysis="peaks")["value"].item()
    assert -0.4 < truth < 0


def test_the_report_says_what_was_asked_and_shown(tree, study):
    page = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", render(tree, study))).replace("&#39;", "'")
    assert "showed non-inferiority: a 95 % interval above −1.5 mg/L" in page
    assert "the interval excluded no effect, too: superiority" in page
    assert "non-inferior by its margin" in page
    assert "non-inferiority by a one-sided test against −1.5 mg/L, α = 0.025, 95 % inter" in page
    assert "superiority by a one-sided test against 105 %, α = 0.05, 90 % intervals" in page
    assert "Dotted line: no effect; Dashed and dotted line: margin." in page
    assert "Type I error" in page
    assert "Tango's score test, of no difference McNemar's" in page
    assert "against −40 percentage points, α = 0.025, 95 %" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("analyses.not_lower.non_inferiority_margin=5 kg", "must be a concentration"),
        ("analyses.not_lower.non_inferiority_margin=5", "the unit is missing"),
        ("analyses.not_lower.non_inferiority_margin=-1 mg/L", "and so must be more than 0"),
        ("analyses.not_lower.non_inferiority_margin=0 mg/L", "and so must be more than 0"),
        ("analyses.not_lower.superiority_margin=1 mg/L", "stands beside non_inferiority_margin"),
        ("endpoints.cmax.better=null", "needs to know which values of cmax are better"),
        ("analyses.higher.superiority_margin=0.9", "must be a ratio on the better side of no"),
        ("analyses.higher.superiority_margin=0", "must be above 0, as a ratio"),
        ("analyses.same.margins=[5 mg*h/L, 20 mg*h/L]", "must have no effect (0) between them"),
        ("analyses.same.margins=[20 mg*h/L, -20 mg*h/L]", "margins.1: must be above the lower"),
        (
            "trial.crossover.sequences=[[test, reference, test], [reference, test, reference]]",
            "pairs one period of each arm, and sequence 1 has test more than once",
        ),
        ("analyses.peaks.non_inferiority_margin=40", "must be less than 1, or 100 %"),
        ("analyses.same.margins=[-20 mg/L, 20 mg*h/L]", "analyses.same.margins.0: must be"),
    ],
)
def test_impossible_margins_are_told(bioequivalence, change, message):
    with pytest.raises(ConfigError) as caught:
        analysed(bioequivalence, change)
    assert message in "\n".join(str(problem) for problem in caught.value.problems)
