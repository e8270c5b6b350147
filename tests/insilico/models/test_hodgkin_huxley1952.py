"""The squid axon's membrane does what is known of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import root_scalar

from insilico import devices as _devices  # noqa: F401  (float64)
from insilico.models.hodgkin_huxley1952 import MODEL, SQUID_AXON, Inputs, State, _ramp
from insilico.solve import Dose, Input, Status, schedule, solve
from insilico.solve.methods import FIXED_STEP


def _potential(actions, observe, **options) -> np.ndarray:
    events, pattern = schedule(MODEL, actions, observe=observe)
    solution = solve(MODEL, SQUID_AXON, events, pattern, **options)
    assert solution.status[0] == Status.OK
    return solution.outputs.potential[0]


def _gates(potential: float) -> list[float]:
    """The gates' steady state, from their rates at 0 and 1: the equations as they are."""
    closed = MODEL.derivative(0.0, State(potential, 0.0, 0.0, 0.0), SQUID_AXON, Inputs(0.0))
    opened = MODEL.derivative(0.0, State(potential, 1.0, 1.0, 1.0), SQUID_AXON, Inputs(0.0))
    return [a / (a - b) for a, b in zip(closed[1:], opened[1:], strict=True)]


def test_the_gates_start_at_rest():
    state = MODEL.initial(SQUID_AXON)
    np.testing.assert_allclose(state, [0.0, 0.053, 0.596, 0.318], atol=5e-4)
    np.testing.assert_allclose(_gates(0.0), state[1:], rtol=1e-12)


def test_rest_stays_rest():
    at_rest = _potential([], [50.0])
    # The leak's published potential leaves 0.004 uA/cm^2 there.
    np.testing.assert_allclose(at_rest, 0.0036, atol=5e-4)


@pytest.mark.parametrize(
    "method",
    [None, *(pytest.param(m, marks=pytest.mark.slow) for m in ("tsit5", *FIXED_STEP, "rodas4"))],
)
def test_a_shock_of_7_mv_fires_and_one_of_6_mv_does_not(method):
    """Figure 12; and the spike overshoots by its known height, near sodium's potential of 115."""
    observe = np.arange(0.1, 12.0, 0.1)
    peaks = [
        _potential([Dose(0.0, "potential", shock)], observe, method=method).max()
        for shock in (6.0, 7.0, 90.0)
    ]
    assert peaks[0] < 6.0
    assert 95.0 < peaks[1] < peaks[2] < 115.0


def test_the_currents_at_which_rest_loses_and_regains_stability():
    def rates(state: jax.Array) -> jax.Array:
        found = MODEL.derivative(0.0, State(*state), SQUID_AXON, Inputs(0.0))
        return jnp.stack([jnp.asarray(rate, float) for rate in found])

    slopes = jax.jit(jax.jacobian(rates))

    def at_rest(potential: float) -> jax.Array:
        return jnp.array([potential, *_gates(potential)])

    def fastest_growth(potential: float) -> float:
        return np.max(np.real(np.linalg.eigvals(np.asarray(slopes(at_rest(potential))))))

    found = []
    for bracket in ((3.0, 8.0), (15.0, 30.0)):
        potential = root_scalar(fastest_growth, bracket=bracket).root
        found.append(-float(rates(at_rest(potential))[0]))
    np.testing.assert_allclose(found[0], 9.78, atol=0.01)
    np.testing.assert_allclose(found[1], 154.5, atol=0.1)


@pytest.mark.slow
def test_it_fires_for_ever_from_6_26_ua_on():
    observe = np.arange(0.0, 400.0, 0.25)
    spikes = []
    for current in (6.2, 6.3):
        potential = _potential([Input(0.0, "current", current)], observe)
        upward = np.flatnonzero((potential[1:] > 50.0) & (potential[:-1] <= 50.0))
        spikes.append(observe[upward])
    # Below, a few spikes at the current's onset; above, one every 19 ms to the end.
    assert len(spikes[0]) < 6 and spikes[0].max() < 100.0
    assert spikes[1].max() > 375.0
    np.testing.assert_allclose(np.diff(spikes[1])[5:], 19.1, atol=0.5)


def test_the_rates_have_no_hole_where_their_formula_is_0_over_0():
    x = np.array([-1e-2, -1.001e-3, -0.999e-3, -1e-9, 0.0, 1e-9, 0.999e-3, 1.001e-3, 1e-2])
    exact = np.divide(x, np.expm1(x), out=np.ones_like(x), where=x != 0)
    np.testing.assert_allclose(_ramp(x), exact, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(_ramp)(0.0), -0.5, rtol=1e-12)
