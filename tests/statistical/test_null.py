"""A whole trial whose arms do the same finds an effect as often as it is allowed to."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

import trials

TRIALS = 1000
SAME = (
    "arms.genotype_guided.start=[gage2008_clinical]",
    "arms.genotype_guided.revision.formulas=[lenzini2010_clinical]",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def null(coag) -> Any:
    """Trials of 100 patients in COAG, both of whose arms dose without the genotype."""
    sizes = (f"trial.replicates={TRIALS}", "trial.subjects=100", "truth.subjects=1000")
    study = trials.read(coag, (*SAME, *sizes, "keep=estimates", "sensitivity={}"))
    return trials.simulate(study)


def test_there_is_no_effect_for_any_patient(null):
    np.testing.assert_array_equal(null["truth"]["value"].values, 0.0)


def test_p_values_are_uniform(null):
    """Of continuous endpoints. A false alarm of this test has a chance of 1 in 10,000 each."""
    estimates = null["estimates"]
    for analysis in ("primary", "non_black", "first_in_range", "final_dose"):
        p = estimates["p_value"].sel(analysis=analysis).values.ravel()
        assert np.isfinite(p).sum() >= 0.99 * TRIALS
        assert stats.kstest(p[np.isfinite(p)], "uniform").pvalue > 1e-4, analysis


def test_each_analysis_rejects_and_covers_as_often_as_its_alpha_says(null):
    """Within four Monte-Carlo errors; the risk difference may be somewhat off in small trials."""
    characteristics = null["operating_characteristics"]
    for analysis in characteristics["analysis"].values:
        one = characteristics.sel(analysis=analysis)
        alpha = float(one["alpha"])
        error = np.sqrt(alpha * (1 - alpha) / TRIALS)
        slack = 0.01 if analysis == "high_inr" else 0.0
        assert abs(float(one["power"]) - alpha) < 4 * error + slack, analysis
        assert abs(float(one["coverage"]) - (1 - alpha)) < 4 * error + slack, analysis
