"""Enrolment and randomisation of whole trials."""

from pathlib import Path

import numpy as np
import pytest

from trials import read
from trials.conduct import Conduct, conduct

pytestmark = pytest.mark.optimised

COAG = Path(__file__).parents[2] / "configs" / "warfarin_coag.yaml"
TRIALS, SUBJECTS = 6, 40


def _conducted(*changes: str) -> Conduct:
    config = read(COAG, [f"trial.subjects={SUBJECTS}", "sensitivity={}", *changes]).config
    black = np.arange(TRIALS * SUBJECTS).reshape(TRIALS, SUBJECTS) % 3 == 0
    numbers = np.arange(TRIALS)
    return conduct(config, np.zeros(TRIALS, int), numbers, {"black": black})


def test_numbers_of_a_design_are_arguments_of_its_program(compilations):
    first = _conducted()
    before = compilations.count
    changes = "seed=5", "trial.centres.spread=0.5", "trial.enrolment.period=100 d"
    second = _conducted(*changes)
    assert compilations.count == before
    assert not np.array_equal(first.group, second.group)
    assert first.enrolment_time.max() > 100 > second.enrolment_time.max()


@pytest.mark.slow
def test_a_trial_is_conducted_the_same_however_many_there_are():
    config = read(COAG, [f"trial.subjects={SUBJECTS}", "sensitivity={}"]).config
    black = np.arange(TRIALS * SUBJECTS).reshape(TRIALS, SUBJECTS) % 3 == 0
    alone = conduct(config, np.zeros(1, int), np.array([4]), {"black": black[4:5]})
    for together, one in zip(_conducted(), alone, strict=True):
        np.testing.assert_array_equal(together[4:5], one)
