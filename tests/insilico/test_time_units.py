"""A model that counts time in another unit has the same solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import models
from insilico.randomness import purpose_key, subject_keys
from insilico.solve import Dose, Input, schedule, solve
from insilico.time_units import counted_in


@pytest.mark.parametrize("method", ["tsit5", "closed_form"])
def test_equations_and_closed_forms_are_the_same_in_days(method: str):
    hours = models.get("one_compartment")
    parameters = hours.Parameters(1.5, 2.8, 32.0)

    def concentrations(model, day: float):
        plan = schedule(model, [Dose(0.5 * day, "depot", 320.0)], observe=[0.75 * day, 2.0 * day])
        return solve(model, parameters, *plan, method=method).outputs.concentration

    in_days = counted_in(hours, "d")
    np.testing.assert_allclose(concentrations(in_days, 1.0), concentrations(hours, 24.0), rtol=1e-5)


@pytest.mark.slow
def test_a_path_of_noise_is_the_same_in_hours():
    days = models.get("gompertz_noise")
    zeros = jnp.zeros(5, int)
    keys = subject_keys(purpose_key(1, "noise"), zeros, zeros, jnp.arange(5))

    def volumes(model, day: float):
        plan = schedule(model, [Input(2.0 * day, "kill", 0.1)], observe=[3.3 * day, 5.0 * day])
        return solve(model, days.typical, *plan, noise=keys).outputs.volume

    # Input, too, keeps its unit.
    np.testing.assert_allclose(volumes(counted_in(days, "h"), 24.0), volumes(days, 1.0), rtol=1e-9)


def test_rates_and_balances_count_along():
    minutes = models.get("type_1_diabetes")
    hours = counted_in(minutes, "h")
    state, inputs = minutes.initial(minutes.typical), minutes.Inputs(1.0, 2.0)
    flow, same = (each.balances[0].inflows["eaten"] for each in (minutes, hours))
    assert same(state, minutes.typical, inputs) == 60.0 * flow(state, minutes.typical, inputs)
    rates, faster = (
        jax.tree.leaves(each.derivative(0.0, state, minutes.typical, inputs))
        for each in (minutes, hours)
    )
    np.testing.assert_allclose(faster, 60.0 * np.array(rates), rtol=1e-12)
    fast, slow = hours.fastest_rate, minutes.fastest_rate
    assert fast is not None and slow is not None
    assert fast(minutes.typical) == 60.0 * slow(minutes.typical)


def test_the_own_unit_changes_nothing():
    model = models.get("one_compartment")
    assert counted_in(model, "h") is model
    assert counted_in(model, "d") is counted_in(model, "d")


def test_what_is_no_time_is_refused():
    with pytest.raises(ValueError, match="cannot be turned"):
        counted_in(models.get("one_compartment"), "mg")
