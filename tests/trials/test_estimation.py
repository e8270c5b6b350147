"""Success and its direction, from estimates that are given."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import trials
from trials.analyses import Estimates, Status
from trials.estimation import Truth, characteristics, favourable_sign, success

COAG = Path(__file__).parents[2] / "configs" / "warfarin_coag.yaml"


def _estimates(estimate: list[float], p_value: list[float], status: int = Status.OK) -> Estimates:
    number = jnp.asarray(estimate)
    arms = jnp.ones((number.size, 2))
    return Estimates(
        number,
        jnp.ones_like(number),
        jnp.full_like(number, jnp.inf),
        number - 2,
        number + 2,
        jnp.asarray(p_value),
        arms.astype(int),
        arms,
        jnp.full(number.shape, int(status)),
    )


def _study(*changes: str) -> trials.Study:
    return trials.read(COAG, ["endpoints.ttr.better=null", "success.any_of=[primary]", *changes])


UP_AND_DOWN = _estimates([3.0, -3.0, 3.0, -3.0], [0.001, 0.001, 0.5, 0.5])


@pytest.mark.parametrize(("better", "expected"), [("null", 0.5), ("higher", 0.25), ("lower", 0.25)])
def test_harm_is_no_success_where_the_endpoint_says_what_is_better(better, expected):
    config = _study(f"endpoints.ttr.better={better}").config
    assert float(success(config, {"primary": UP_AND_DOWN}).value) == expected


def test_all_of_several_have_to_point_the_right_way():
    changes = ("endpoints.ttr.better=higher", "success={all_of: [primary, doses_differ]}")
    config = _study(*changes).config
    mixed = {"primary": UP_AND_DOWN, "doses_differ": _estimates([-3.0] * 4, [0.001] * 4)}
    assert float(success(config, mixed).value) == 0.0
    right = {"primary": UP_AND_DOWN, "doses_differ": _estimates([3.0] * 4, [0.001] * 4)}
    assert float(success(config, right).value) == 0.25


def test_an_analysis_that_could_not_be_done_is_no_success():
    config = _study("endpoints.ttr.better=higher").config
    undone = _estimates([3.0] * 4, [0.001] * 4, Status.SINGULAR)
    assert float(success(config, {"primary": undone}).value) == 0.0


def test_a_hazard_ratio_above_one_is_better_where_shorter_times_are():
    config = _study("endpoints.first_therapeutic_inr.better=lower").config
    spec = config.analyses["first_in_range"]
    assert favourable_sign(config, spec) == -1
    hazard = spec.model_copy(update={"estimator": "hazard_ratio", "horizon": None})
    assert favourable_sign(config, hazard) == 1


def test_favourable_power_is_counted_in_the_direction_of_the_endpoint():
    config = _study("endpoints.ttr.better=higher").config
    three_up = _estimates([3.0, 3.0, 3.0, -3.0], [0.001] * 4)
    names = list(config.analyses)
    truth = dict.fromkeys(names, Truth(0.0, 0.1, 1000))
    found = characteristics(config, dict.fromkeys(names, three_up), truth)
    assert float(found["primary"].power_favourable.value) == 0.75
    assert np.isnan(found["final_dose"].power_favourable.value)
    assert float(found["high_inr"].power_favourable.value) == 0.25


def test_draws_that_agree_by_chance_do_not_make_success_certain():
    config = _study(
        "endpoints.ttr.better=null", "trial.replicates=4", "trial.trials_per_draw=2"
    ).config
    found = success(config, {"primary": UP_AND_DOWN})
    # One draw's trials all succeed and the other's never: sure to no better than half.
    np.testing.assert_allclose(found, (0.5, 0.5))
    alike = _estimates([3.0] * 4, [0.001, 0.5, 0.001, 0.5])
    np.testing.assert_allclose(success(config, {"primary": alike}), (0.5, 0.25))
