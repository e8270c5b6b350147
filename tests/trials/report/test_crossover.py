"""The report of a crossover says what was compared with what, and how."""

import re

import pytest

from trials.report import render, summary
from trials.report.courses import courses
from trials.report.view import View


@pytest.fixture(scope="module")
def page(crossover_tree, crossover_study):
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", render(crossover_tree, crossover_study)))


def test_the_answer_is_about_equivalence(page):
    assert "the ratio of geometric means of AUC to the last sample was on average" in page
    assert "showed equivalence: a 90 % interval within 80 to 125 %; that is the power" in page
    assert "significant difference" not in page


def test_the_design_and_what_it_rests_on_are_told(page):
    assert "“Test, then Reference” 1 : “Reference, then Test” 1; permuted blocks of 4" in page
    assert "Periods 2, 7 d from one to the next" in page
    assert "theophylline, once, on day 1 at 8 h" in page
    assert "0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24 h after the first dose" in page
    assert "Absorption rate times 0.8; Bioavailability times 0.97" in page
    assert "Each period begins from the model's initial state" in page.replace("&#39;", "'")
    assert "fixed effects of sequence, subject in its sequence, period and arm" in page
    assert "two one-sided tests against 80 % and 125 %" in page


def test_courses_are_by_hour_and_also_on_a_logarithmic_scale(page, crossover_tree, crossover_study):
    assert "by time and arm, on a logarithmic scale" in page
    view = View(crossover_tree, crossover_study)
    outcomes = view.group("outcomes")
    assert outcomes is not None
    found = courses(view, outcomes, "concentration_measured")
    assert list(found) == ["test", "reference"]
    for course in found.values():
        assert course.times.tolist() == crossover_study.config.visits.times
        # Everybody, once under each arm.
        assert set(course.counts.tolist()) == {6 * 24}


def test_ratios_are_shown_in_percent(crossover_tree, crossover_study):
    row = summary(View(crossover_tree, crossover_study))[0]
    assert row.unit == "ratio of geometric means, %"
    assert 90 < float(row.estimate.split()[0]) < 102
