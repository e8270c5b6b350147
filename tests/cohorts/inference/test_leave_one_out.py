"""Leave-one-subject-out on the marginal likelihood, against answers in closed form."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from cohorts.diagnosis import leave_one_out
from cohorts.inference import marginal_of_draws

from .stand_ins import linear

DRAWS = 2000
PRIOR_SD = 2.0


class Known:
    """A linear model of which all but the effects' means is known: all is normal, then."""

    def __init__(self, subjects: int = 8):
        self.joint, self.theta, self.data = linear(subjects)
        of_effects = np.diag(np.exp(2.0 * self.theta[2:4]))
        self.parts = []
        for subject in range(subjects):
            seen = self.data.measured[:, subject]
            design = self.data.at[seen, :, subject]
            covariance = design @ of_effects @ design.T
            covariance += np.exp(2.0 * self.theta[4]) * np.eye(seen.sum())
            self.parts.append((design, covariance, self.data.value[seen, subject]))

    def posterior(self, without: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the effects' means, given the data of all subjects but one."""
        precision, weighted = np.eye(2) / PRIOR_SD**2, np.zeros(2)
        for subject, (design, covariance, value) in enumerate(self.parts):
            if subject != without:
                precision += design.T @ np.linalg.solve(covariance, design)
                weighted += design.T @ np.linalg.solve(covariance, value)
        spread = np.linalg.inv(precision)
        return spread @ weighted, spread

    def left_out(self, subject: int) -> float:
        """Log density of a subject's data, given all others'."""
        mean, spread = self.posterior(without=subject)
        design, covariance, value = self.parts[subject]
        predicted = multivariate_normal(design @ mean, covariance + design @ spread @ design.T)
        return float(predicted.logpdf(value))

    def draws(self) -> np.ndarray:
        rng = np.random.default_rng(7)
        result = np.tile(self.theta, (DRAWS, 1))
        result[:, :2] = rng.multivariate_normal(*self.posterior(), DRAWS)
        return result


@pytest.fixture(scope="module")
def known() -> Known:
    return Known()


@pytest.fixture(scope="module")
def likelihood(known) -> np.ndarray:
    return marginal_of_draws(known.joint, known.draws(), known.data)


def test_the_marginal_likelihood_of_every_draw_is_exact_for_linear_models(known, likelihood):
    for draw in (0, 777, DRAWS - 1):
        expected = known.joint.log_marginal(known.draws()[draw], known.data)
        np.testing.assert_allclose(likelihood[draw], expected, rtol=1e-8)


def test_subjects_that_are_left_out_are_predicted_as_in_closed_form(known, likelihood):
    found = leave_one_out(likelihood)
    expected = np.array([known.left_out(subject) for subject in range(8)])
    assert found.draws == DRAWS and np.all(found.pareto_k < 0.5) and len(found.unreliable) == 0
    # Of 2,000 draws: the weights' relative error, their sd over √2000, is at most 0.02.
    np.testing.assert_allclose(found.elpd_of, expected, atol=0.08)
    assert found.elpd == pytest.approx(expected.sum(), abs=0.15)
    # It is harder to predict what was not seen.
    mean = np.log(np.mean(np.exp(likelihood), axis=0))
    np.testing.assert_allclose(found.p_loo_of, mean - found.elpd_of, atol=1e-10)
    assert np.all(found.p_loo_of > 0.0)
    error = np.sqrt(8) * expected.std()
    assert found.standard_error == pytest.approx(error, rel=0.05)


def test_draws_at_which_somebody_is_impossible_do_not_count(likelihood):
    wrong = np.vstack([likelihood, np.full((3, 8), -np.inf)])
    wrong[-2:, 1:] = likelihood[:2, 1:]
    found, expected = leave_one_out(wrong), leave_one_out(likelihood)
    assert found.draws == DRAWS and found.elpd == expected.elpd
    with pytest.raises(ValueError, match="possible at 0 draws only"):
        leave_one_out(np.full((5, 8), -np.inf))


def test_a_subject_whose_data_say_nothing_is_not_told_as_influential(likelihood):
    """Such as one without a dose; its likelihood is the same at every draw, but for rounding."""
    rounding = 1e-14 * np.random.default_rng(0).normal(size=DRAWS)
    found = leave_one_out(np.column_stack([likelihood, -1.5 + rounding]))
    assert len(found.unreliable) == 0
    assert found.elpd_of[8] == pytest.approx(-1.5) and found.p_loo_of[8] == 0.0
    assert found.elpd_of[:8].tolist() == leave_one_out(likelihood).elpd_of.tolist()


def test_a_subject_that_determines_the_posterior_alone_is_told():
    rng = np.random.default_rng(3)
    theta = rng.normal(size=1000)
    others = -0.5 * np.square(theta[:, None] - rng.normal(size=(1, 5)))
    influential = -0.5 * np.square((theta - 4.0) / 0.3)
    found = leave_one_out(np.column_stack([others, influential]))
    assert found.unreliable[0] == 5 and found.pareto_k[5] > 0.7


def test_the_number_of_draws_changes_nothing(known, likelihood):
    found = marginal_of_draws(known.joint, known.draws()[100:105], known.data)
    np.testing.assert_allclose(found, likelihood[100:105], rtol=1e-12)
