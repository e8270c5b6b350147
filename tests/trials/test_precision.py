"""A trial in single precision runs, and says how far off its outputs were."""

from typing import Any

import pytest

import trials
from insilico.config import ConfigError

SINGLE = ["solver={precision: single}", "truth.subjects=1000", "trial.subjects=40"]


@pytest.mark.slow
def test_a_trial_in_single_precision_says_what_its_error_was(coag: Any, small: Any):
    study = trials.read(coag, [*small, *SINGLE, "sensitivity={}"])
    assert study.protocol.tolerances.relative == 1e-5
    tree: Any = trials.simulate(study)
    counts = tree["counts"]
    assert 0.0 < float(counts["measured_error"]) < 1e-2
    assert int(counts["measured_solves"]) > 100
    assert int(counts["measured_otherwise"]) < 0.1 * int(counts["measured_solves"])
    assert int(counts["failed"]) == 0


def test_a_tolerance_that_single_precision_cannot_meet_is_refused(coag: Any):
    with pytest.raises(ConfigError, match="single precision cannot do better than 1e-05"):
        trials.read(coag, ["solver={precision: single, relative_tolerance: 1.0e-7}"])


def test_other_precisions_are_refused(coag: Any):
    with pytest.raises(ConfigError, match="precision"):
        trials.read(coag, ["solver.precision=half"])


def test_a_closed_form_is_for_models_that_have_one(coag: Any):
    with pytest.raises(ConfigError, match="closed_form is for models that have one"):
        trials.read(coag, ["solver.method=closed_form"])
