"""Subjects of a trial vary between its periods as their population says."""

import numpy as np
import pytest

import trials

pytestmark = pytest.mark.optimised

BETWEEN, WITHIN, REPLICATES, SUBJECTS = 0.26, 0.15, 100, 24
COHORT = (
    "cohort={covariates: {source: iwpc2009}, described: {population: {"
    "absorption_rate: {typical: 1.5 1/h}, central_volume: {typical: 32 L}, "
    f"clearance: {{typical: 2.8 L/h, between_subject: {{kind: log_normal, sd: {BETWEEN}}}, "
    f"between_occasion: {{sd: {WITHIN}}}}}}}}}}}"
)


def simulated(config, *changes):
    sizes = (f"trial.replicates={REPLICATES}", f"trial.subjects={SUBJECTS}", "truth.subjects=1000")
    return trials.simulate(trials.read(config, [COHORT, *sizes, *changes]))


@pytest.fixture(scope="module")
def crossover(bioequivalence):
    return simulated(bioequivalence)


@pytest.mark.slow
def test_periods_differ_by_what_varies_between_occasions(crossover):
    subjects = crossover["subjects"]
    clearance = np.stack([subjects[f"parameter_clearance_{period}"].values for period in (1, 2)])
    x = np.log(clearance).reshape(2, -1)
    count = x.shape[1]
    # Variances and covariance of 2400 subjects, to five standard errors.
    expected = BETWEEN**2 + WITHIN**2 * np.eye(2)
    np.testing.assert_allclose(np.cov(x), expected, atol=5 * np.sqrt(2 / count) * expected.max())
    assert subjects["parameter_central_volume"].shape == clearance.shape[1:]
    # The area is the absorbed dose over the clearance of the period, under both arms.
    area = crossover["endpoints"]["auc_inf"].values
    for period, own in enumerate(clearance):
        for arm, absorbed in enumerate((0.97, 1.0)):
            found = area[:, :, period, arm] * own / (320 * absorbed)
            np.testing.assert_allclose(found, 1.0, rtol=0.03)


@pytest.mark.slow
def test_the_residual_of_the_analysis_of_variance_is_what_was_put_in(crossover):
    estimates = crossover["estimates"].sel(analysis="auc_inf")
    residual = estimates["standard_error"].values ** 2 * SUBJECTS / 2
    assert residual.size == REPLICATES
    # A mean of 100 chi-squares of 22 degrees of freedom, and a hundredth for trapezoids.
    error = np.sqrt(2 / (REPLICATES * (SUBJECTS - 2)))
    assert residual.mean() == pytest.approx(WITHIN**2, rel=4 * error + 0.01)


@pytest.mark.slow
def test_another_period_leaves_the_others_as_they_were(bioequivalence, crossover):
    sequences = "[[test, reference, test], [reference, test, reference]]"
    three = simulated(bioequivalence, f"trial.crossover.sequences={sequences}")
    for name in ("auc", "cmax"):
        first = three["endpoints"][name].isel(period=slice(2)).values
        np.testing.assert_array_equal(first, crossover["endpoints"][name].values)


@pytest.mark.slow
def test_a_parallel_trial_is_one_occasion(bioequivalence, crossover):
    tree = simulated(bioequivalence, "trial.crossover=null")
    clearance = np.log(np.asarray(tree["subjects"]["parameter_clearance"].values))
    total = BETWEEN**2 + WITHIN**2
    assert clearance.var() == pytest.approx(total, rel=5 * np.sqrt(2 / clearance.size))
    first = crossover["subjects"]["parameter_clearance_1"].values
    np.testing.assert_array_equal(np.exp(clearance), np.exp(np.log(first)))
