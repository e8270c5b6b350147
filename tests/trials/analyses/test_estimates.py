import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trials.analyses import (
    Status,
    hazard_ratio,
    in_batches,
    log_rank,
    mean_difference,
    restricted_mean_difference,
    risk_difference_mantel_haenszel,
    risk_difference_miettinen_nurminen,
    risk_difference_newcombe,
)

pytestmark = pytest.mark.optimised


def _arguments(name, data):
    arm, used = jnp.asarray(data.arm), jnp.asarray(data.used)
    survival = (jnp.asarray(data.time), jnp.asarray(data.event), arm, used)
    response = (jnp.asarray(data.response), arm, used)
    stratum = jnp.asarray(data.stratum)
    return {
        "mean": (mean_difference, (jnp.asarray(data.value), arm, used), {}),
        "mantel-haenszel": (risk_difference_mantel_haenszel, (*response, stratum), {"strata": 5}),
        "newcombe": (risk_difference_newcombe, response, {}),
        "miettinen-nurminen": (risk_difference_miettinen_nurminen, response, {}),
        "cox": (hazard_ratio, (*survival, None, stratum), {}),
        "log-rank": (log_rank, (*survival, stratum), {}),
        "restricted mean": (restricted_mean_difference, survival, {"horizon": 10.0}),
    }[name]


# One shape, and always the same arguments passed, so that the whole file shares one compiled
# program an estimator.
SHAPE = (4, 40)
NUMBERS = {"treatment": 1, "reference": 0, "level": 0.95}
ESTIMATORS = [
    "mean",
    "mantel-haenszel",
    "newcombe",
    "miettinen-nurminen",
    "cox",
    "log-rank",
    "restricted mean",
]


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("mean", "cox") else pytest.param(name, marks=pytest.mark.slow)
        for name in ESTIMATORS
    ],
)
def test_batches_give_every_trial_the_bits_it_has_in_any_batch_of_that_width(draw_trials, name):
    data = draw_trials(11, SHAPE[1], effect=0.5, seed=1)
    estimator, arrays, options = _arguments(name, data)
    options = {**options, **NUMBERS}
    together = in_batches(estimator, *arrays, width=SHAPE[0], **options)
    reversed_order = [None if array is None else array[::-1] for array in arrays]
    backwards = in_batches(estimator, *reversed_order, width=SHAPE[0], **options)
    assert together.estimate.shape == (11,) and together.n.shape == (11, 2)
    for found, again in zip(together, backwards, strict=True):
        np.testing.assert_array_equal(found, again[::-1])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_second_call_of_a_shape_compiles_nothing(draw_trials, compilations, name):
    estimator, arrays, options = _arguments(name, draw_trials(*SHAPE, effect=0.5, seed=1))
    again = _arguments(name, draw_trials(*SHAPE, effect=0.5, seed=2))[1]
    estimator(*arrays, **options, **NUMBERS)
    before = compilations.count
    estimator(*again, **options, treatment=0, reference=1, level=0.9)
    assert compilations.count == before


def test_compilations_are_seen(compilations):
    before = compilations.count
    jax.jit(lambda x: 3 * x)(jnp.zeros(7))
    assert compilations.count > before


@pytest.mark.parametrize("name", ESTIMATORS)
def test_swapping_the_arms_changes_the_sign_only(draw_trials, name):
    data = draw_trials(*SHAPE, effect=0.5, seed=3)
    estimator, arrays, options = _arguments(name, data)
    forward = estimator(*arrays, **options, **NUMBERS)
    backward = estimator(*arrays, **options, treatment=0, reference=1, level=0.95)
    assert np.all(forward.status == Status.OK)
    # Cox iterates and Miettinen-Nurminen bisects, each to about 1e-10 of a standard error.
    np.testing.assert_allclose(backward.estimate, -forward.estimate, rtol=1e-8)
    np.testing.assert_allclose(backward.lower, -forward.upper, rtol=1e-8)
    np.testing.assert_allclose(backward.p_value, forward.p_value, rtol=1e-7)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_nothing_to_analyse_is_a_status_and_no_number(draw_trials, name):
    data = draw_trials(*SHAPE, effect=0.5, seed=4)
    data = data._replace(used=np.zeros_like(data.used))
    estimator, arrays, options = _arguments(name, data)
    found = estimator(*arrays, **options, **NUMBERS)
    assert np.all(found.status == Status.TOO_FEW) and np.all(found.n == 0)
    for field in (found.estimate, found.standard_error, found.lower, found.p_value, found.mean):
        assert np.all(np.isnan(field))


def test_batches_refuse_arrays_of_different_trials():
    with pytest.raises(ValueError, match="share their first"):
        in_batches(mean_difference, jnp.zeros((3, 4)), jnp.zeros((2, 4), int), jnp.ones((3, 4)))
