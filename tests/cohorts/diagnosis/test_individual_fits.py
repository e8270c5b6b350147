"""Shrinkage and weighted residuals, against their definitions."""

import numpy as np
import pytest
import scipy.linalg

from cohorts.diagnosis import (
    conditional_weighted_residuals,
    individual_weighted_residuals,
    shrinkage,
)

RNG = np.random.default_rng(8)


@pytest.mark.filterwarnings("error")
def test_shrinkage_of_a_single_subject_is_no_number():
    assert np.all(np.isnan(shrinkage(np.array([[0.1], [0.2]]), np.array([1.0, 0.4])).of_sd))


def test_shrinkage_is_the_spread_that_is_missing():
    eta = np.array([[1.0, -1.0, 1.0, -1.0], [0.2, -0.2, 0.2, -0.2]])
    found = shrinkage(eta, np.array([1.0, 0.4]))
    sd = np.std(eta, axis=1, ddof=1)
    np.testing.assert_allclose(found.of_sd, 1.0 - sd / [1.0, 0.4])
    np.testing.assert_allclose(found.of_variance, 1.0 - sd**2 / [1.0, 0.16])


def test_individual_residuals_are_in_standard_deviations_and_only_of_what_was_measured():
    value, mean = np.array([[3.0], [5.0]]), np.array([[2.0], [1.0]])
    measured = np.array([[True], [False]])
    found = individual_weighted_residuals(value, mean, np.array([[0.5], [0.0]]), measured)
    assert found[0, 0] == 2.0 and np.isnan(found[1, 0])


def _linear(subjects: int, records: int = 4):
    """Measurements that a linear model predicts, and what its best estimates are."""
    slopes = RNG.normal(size=(2, records, subjects))
    omega = np.array([[0.5, 0.2], [0.2, 0.3]])
    sd = 0.5 + RNG.random((records, subjects))
    eta = np.linalg.cholesky(omega) @ RNG.normal(size=(2, subjects))
    value = 1.0 + np.einsum("krs,ks->rs", slopes, eta) + sd * RNG.normal(size=sd.shape)
    estimates = RNG.normal(size=eta.shape)
    mean = 1.0 + np.einsum("krs,ks->rs", slopes, estimates)
    covariance = np.broadcast_to(omega[..., None], (2, 2, subjects))
    return value, mean, sd, slopes, estimates, covariance


def test_conditional_residuals_are_those_of_the_definition_wherever_they_are_linearised():
    value, mean, sd, slopes, eta, covariance = _linear(3)
    measured = np.ones_like(value, bool)
    measured[2, 1] = False
    found = conditional_weighted_residuals(value, mean, sd, slopes, eta, covariance, measured)
    for subject in range(3):
        seen = measured[:, subject]
        design = slopes[:, seen, subject].T
        spread = design @ covariance[..., subject] @ design.T + np.diag(sd[seen, subject] ** 2)
        root = np.linalg.inv(np.real(scipy.linalg.sqrtm(spread)))
        np.testing.assert_allclose(found[seen, subject], root @ (value[seen, subject] - 1.0))
    assert np.isnan(found[2, 1])


def test_conditional_residuals_of_a_true_model_are_standard_and_independent():
    value, mean, sd, slopes, eta, covariance = _linear(4000)
    measured = np.ones_like(value, bool)
    found = conditional_weighted_residuals(value, mean, sd, slopes, eta, covariance, measured)
    # 4,000 subjects, to five standard errors.
    np.testing.assert_allclose(np.cov(found), np.eye(4), atol=5 * np.sqrt(2 / 4000))
    assert found.mean() == pytest.approx(0.0, abs=5 / np.sqrt(16000))
