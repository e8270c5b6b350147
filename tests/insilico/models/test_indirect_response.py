"""The indirect response model against closed forms."""

import numpy as np
import pytest

from insilico import models
from insilico.solve import Dose, Infusion, Tolerances, schedule, solve

MODEL = models.get("indirect_response")
PARAMETERS = MODEL.Parameters(0.8, 4.0, 30.0, 6.0, 60.0, 5.0, 0.05, 0.9, 0.7)
TIGHT = Tolerances(relative=1e-10, absolute=1e-10)


def test_the_amounts_after_a_dose_are_sums_of_three_exponentials():
    """Eigenvalues of the two-compartment system by the textbook's quadratic formula."""
    absorption, clearance, volume, exchange, peripheral, *_ = PARAMETERS
    k10, k12, k21 = clearance / volume, exchange / volume, exchange / peripheral
    half = (k10 + k12 + k21) / 2
    alpha, beta = half + np.sqrt(half**2 - k10 * k21), half - np.sqrt(half**2 - k10 * k21)
    times = np.linspace(0.0, 72.0, 25)

    def term(rate: float, others: tuple[float, float]) -> np.ndarray:
        return (k21 - rate) / ((others[0] - rate) * (others[1] - rate)) * np.exp(-rate * times)

    answer = (100.0 * absorption) * (
        term(absorption, (alpha, beta))
        + term(alpha, (absorption, beta))
        + term(beta, (absorption, alpha))
    )
    events, pattern = schedule(MODEL, [Dose(0.0, "depot", 100.0)], observe=times)
    found = solve(MODEL, PARAMETERS, events, pattern, tolerances=TIGHT)
    np.testing.assert_allclose(found.outputs.central[0], answer, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_the_response_settles_where_production_meets_loss():
    long = 1000.0
    events, pattern = schedule(
        MODEL, [Infusion(0.0, "central", 2.0 * long, long)], observe=[0.0, long]
    )
    found = solve(MODEL, PARAMETERS, events, pattern, tolerances=TIGHT).outputs
    p, concentration = PARAMETERS, 2.0 / PARAMETERS.clearance
    inhibition = (
        p.maximal_inhibition * concentration / (p.half_inhibition_concentration + concentration)
    )
    # After 50 mean life times of the response and twenty half-lives of the drug.
    np.testing.assert_allclose(found.central[0, -1], concentration * p.central_volume, rtol=1e-7)
    np.testing.assert_allclose(found.response[0, 0], p.production / p.loss, rtol=1e-12)
    np.testing.assert_allclose(
        found.response[0, -1], p.production * (1.0 - inhibition) / p.loss, rtol=1e-7
    )
