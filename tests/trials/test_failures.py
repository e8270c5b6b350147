"""Solves that fail are counted, judged and told with their cause, wherever subjects are solved."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

import trials
from insilico.solve import DESCRIPTIONS, Status
from trials.failures import NO_ROOM, Tally
from trials.report import render

TINY = ("trial.subjects=20", "trial.replicates=2", "truth.subjects=1000", "keep=endpoints")
FEW_STEPS = "{few_steps: {label: Few steps, set: {solver.max_steps: 10}, subjects: 1000}}"


def failed_run(*arguments: Any) -> trials.TooManyFailures:
    with pytest.raises(trials.TooManyFailures) as caught:
        trials.simulate(trials.read(*arguments))
    return caught.value


@pytest.fixture(scope="module")
def changes(small) -> list[str]:
    """Of the sizes that other tests have compiled programs for."""
    return [*small, f"sensitivity={FEW_STEPS}"]


@pytest.fixture(scope="module")
def scenario_failed(coag, changes) -> trials.TooManyFailures:
    """A run of which nothing fails but a scenario, whole."""
    return failed_run(coag, changes)


def test_a_scenario_in_which_everybody_fails_fails_the_run(scenario_failed):
    results: Any = scenario_failed.results
    assert int(results["counts"]["failed"]) == int(results["counts"]["truth_failed"]) == 0
    scenario = results["sensitivity"].to_dataset().sel(scenario="few_steps")
    assert int(scenario["solves"]) == int(scenario["failed"]) == 2000
    assert bool(scenario["value"].isnull().all())
    assert str(scenario_failed) == (
        "2,000 of 2,000 solves failed for the scenario few_steps (100 %), the config allows 0.1 % "
        "(largest_failed_share). Causes: step limit reached: 2,000; raise solver.max_steps"
    )


def test_the_report_tells_of_it_and_of_the_truth_that_had_none(scenario_failed, coag, changes):
    page = render(scenario_failed.results, trials.read(coag, changes))
    assert "Truth: 0 of 4,000 solves failed." in page
    told = "Scenario “Few steps”: 2,000 of 2,000 solves failed (step limit reached: 2,000)."
    # Above all else, beside the table of scenarios, and among the failures.
    assert page.count(told) == 3
    assert "THIS RUN FAILED" in page


@pytest.mark.slow
def test_failures_of_the_truth_alone_fail_the_run(scenario_failed, coag):
    """As many steps as the trials' few patients need are too few for some of a thousand others."""
    trials_ = scenario_failed.results["endpoints"].to_dataset()
    most = int(trials_["steps"].isel(trial=slice(2), subject=slice(20)).max())
    error = failed_run(coag, [*TINY, "sensitivity={}", f"solver.max_steps={most + 1}"])
    results: Any = error.results
    counts = results["counts"]
    assert int(counts["failed"]) == 0
    assert int(counts["truth_solves"]) == 2000
    failed = int(counts["truth_failed"])
    assert 2 < failed < 200
    assert counts["truth_failed"].attrs["causes"] == f"step limit reached: {failed}"
    assert str(error).startswith(f"{failed} of 2,000 solves failed for the truth (")
    assert bool(np.isfinite(results["truth"]["value"]).all())


def test_who_is_too_stiff_is_told_what_to_choose():
    """And every status has words of its own."""
    assert len(set(DESCRIPTIONS.values())) == len(DESCRIPTIONS) == len(Status)
    stiff = Tally(10, {DESCRIPTIONS[Status.STIFF]: 1})
    assert stiff.remedies == "set solver.method to auto or rodas4"


def test_a_message_names_every_stage_and_cause_and_what_helps():
    tally = Tally(100, {"step limit reached": 2, NO_ROOM: 12})
    exceeding = {"the truth": tally, "the scenario other": tally}
    error = trials.TooManyFailures(exceeding, 0.001, xr.DataTree())
    assert "; so did too many for the scenario other. " in str(error)
    causes, remedies = str(error).partition("Causes: ")[2].split("; ")
    assert causes == f"{NO_ROOM}: 12, step limit reached: 2"
    assert remedies == "raise visits.most and raise solver.max_steps"


@pytest.mark.parametrize(("failed", "exceeds"), [(0, False), (1, False), (2, True)])
def test_the_allowed_share_itself_is_allowed(failed, exceeds):
    assert Tally(1000, {NO_ROOM: failed} if failed else {}).exceeds(0.001) is exceeds
