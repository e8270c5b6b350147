"""The answer is written from the numbers: right for either direction, and for none."""

import re

import numpy as np
import pytest

from trials.report import answer
from trials.report.published import Distance, distance, in_words
from trials.report.view import View

ZERO = {"doses_differ": (0.0, 2.8)}


@pytest.fixture
def text(make_up):
    def answered(study, effects, **options):
        return answer.paragraph(View(make_up(study, effects, **options), study))

    return answered


def test_an_effect_is_named_with_its_direction(text, plain_study):
    above = text(plain_study, {"primary": (3.0, 0.2), **ZERO})
    below = text(plain_study, {"primary": (-3.0, 0.2), **ZERO})
    pattern = (
        r"was on average [23]\.\d+ ± 0\.\d+ percentage points {} in the genotype-guided arm than"
    )
    assert re.search(pattern.format("higher"), above)
    assert re.search(pattern.format("lower"), below)
    assert "is 3.000 ± 0.010 percentage points higher" in above
    assert "is 3.000 ± 0.010 percentage points lower" in below


def test_no_effect_is_called_that(text, plain_study):
    assert "which cannot be told from no effect" in text(
        plain_study, {"primary": (0.0, 1.0), **ZERO}
    )


def test_risks_are_in_percentage_points_and_more_or_less_frequent(text, plain_study):
    study = plain_study.changed(["success={any_of: [high_inr]}"])
    found = text(study, {"high_inr": (-0.2, 0.01)})
    assert re.search(r"was on average (19|20)\.\d+ ± 0\.\d+ percentage points less frequent", found)


def test_a_hazard_ratio_is_a_ratio(odd_study, odd_tree):
    found = answer.paragraph(View(odd_tree, odd_study))
    # exp(0.5) is 1.649; the error is that of the logarithm times it.
    assert re.search(r"true hazard ratio 1\.649 ± 0\.016", found)
    assert "the trial itself reported 1.6 (1.20 to 2.10)" in found


def test_success_states_its_rule(plain_study, plain_tree, odd_study, odd_tree):
    assert "when any of" in answer.paragraph(View(plain_tree, plain_study))
    assert "when each of" in answer.paragraph(View(odd_tree, odd_study))


def test_the_power_names_both_directions_when_both_occur(text, plain_study):
    study = plain_study.changed(["trial.replicates=400", "trial.subjects=4"])
    effects = {"primary": (0.0, 1.0), **ZERO}
    assert re.search(r"% higher, \d\.?\d* % lower\)", text(study, effects))


def test_an_answer_without_estimates_says_so(text, plain_study):
    effects = {"primary": (np.nan, np.nan), **ZERO}
    found = text(plain_study, effects, missing={"primary": plain_study.config.trial.replicates})
    assert "no trial gave an estimate" in found
    assert "The true effect is not available" in found
    assert "nan" not in found


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.05, "rarely"), (0.4, "fail more often"), (0.7, "more often than fail"), (0.9, "probably")],
)
def test_the_lead_follows_the_probability_of_success(plain_study, plain_tree, value, words):
    tree = plain_tree.copy()
    tree["operating_characteristics"]["success"] = value
    found = answer.lead(View(tree, plain_study))
    assert words in found
    assert f"{100 * value:.0f} ± 8 % of simulated trials succeeded" in found


def test_a_few_trials_are_no_ground_for_a_verdict(odd_study, odd_tree):
    tree = odd_tree.copy()
    tree["operating_characteristics"]["success"] = 0.0
    found = answer.lead(View(tree, odd_study))
    assert found == (
        "Too few trials to judge this design by: 0 % (below 22 %) of 12 simulated trials succeeded."
    )


def test_a_clean_run_has_no_warning_but_its_size(plain_study, plain_tree):
    assert answer.warnings(View(plain_tree, plain_study)) == [
        "Only 30 trials were simulated: power and coverage are rough, as their Monte-Carlo errors "
        "say."
    ]


def test_failures_and_missing_estimates_are_warned_of(odd_study, odd_tree):
    found = "\n".join(answer.warnings(View(odd_tree, odd_study)))
    assert "THIS RUN FAILED" in found
    assert "70 of 2,160 solves" in found
    assert "“Risk” has no estimate in 3 of 12 trials" in found
    assert "“Never” has no estimate in any trial" in found


def test_the_distance_is_in_standard_errors_of_both(plain_study, plain_tree):
    view = View(plain_tree, plain_study)
    black = next(analysis for analysis in view.analyses if analysis.name == "black")
    found = distance(black)
    assert found is not None
    simulated = np.std(black.estimate, ddof=1) / np.sqrt(len(black.estimate))
    error = np.hypot((-2.0 + 15.0) / (2 * 1.959964), simulated)
    mean = float(np.mean(black.estimate))
    assert found.in_errors == pytest.approx((mean + 8.3) / error)
    assert found.percentile == pytest.approx(100 * np.mean(black.estimate < -8.3))


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0.5, "within one standard error"),
        (-1.5, "within two standard errors"),
        (2.5, "further from"),
        (-7, "disagreement"),
        (np.nan, "no published interval"),
    ],
)
def test_distances_are_put_in_words(size, words):
    assert words in in_words(Distance(size, 0.1, size, 50.0))


@pytest.mark.parametrize(
    ("error", "words"),
    [(7.0, "within one standard error"), (1.5, "further from"), (0.1, "in disagreement")],
)
def test_a_simulated_mean_that_is_unsure_itself_does_not_disagree(
    plain_study, plain_tree, error, words
):
    """5 against −0.2 (−3.4 to 3.1) is 3.1 published standard errors away."""
    tree = plain_tree.copy()
    for name, value in (("mean_estimate", 5.0), ("mean_estimate_mcse", error)):
        column = tree["operating_characteristics"][name].copy()
        column.loc[{"analysis": "primary"}] = value
        tree["operating_characteristics"][name] = column
    found = distance(View(tree, plain_study).analyses[0])
    assert found is not None
    published = (3.1 + 3.4) / (2 * 1.959964)
    assert found.in_errors == pytest.approx(5.2 / np.hypot(published, error))
    assert words in in_words(found)


def test_a_single_trial_is_too_little_to_judge_by(make_up, plain_study):
    study = plain_study.changed(["trial.replicates=1"])
    tree = make_up(study, {"primary": (5.0, 9.9), **ZERO})
    tree["operating_characteristics"]["mean_estimate_mcse"][:] = np.nan
    view = View(tree, study)
    found = distance(view.analyses[0])
    assert found is not None
    assert in_words(found) == "too few trials to judge by"
    assert "the trial itself reported −0.2 percentage points (−3.4 to 3.1)." in answer.paragraph(
        view
    )
    assert "In 1 simulated trial of 80 patients each" in answer.paragraph(view)
    assert answer.warnings(view)[-1].startswith("Only 1 trial was simulated: ")
    assert view.pooled_words == "80 subjects of the only trial"


def test_success_says_that_it_needs_an_effect_for_the_better(
    plain_study, plain_tree, odd_study, odd_tree
):
    view = View(plain_tree, plain_study)
    assert "is significant and for the better: probability" in answer.paragraph(view)
    assert any("significant and for the better" in tile.note for tile in answer.tiles(view))
    assert "for the better" not in answer.paragraph(View(odd_tree, odd_study))
    partly = plain_study.changed(["success.any_of=[primary, final_dose]"])
    found = answer.paragraph(View(plain_tree, partly))
    assert "is significant and, for “All patients”, for the better" in found


def test_a_hazard_ratio_is_never_a_frequency_of_a_time(odd_study, odd_tree):
    study = odd_study.changed(["success.all_of=[hazard]"])
    found = answer.paragraph(View(odd_tree, study))
    pattern = (
        r"the hazard ratio for event \(analysis|the hazard ratio for event was on average 1\.\d+"
    )
    assert re.search(pattern, found)
    assert "the high dose arm against the low <b>dose</b> arm (above 1: sooner)" in found
    assert "as frequent" not in found
