"""Statistics are those that everybody knows, with the derivatives and errors that they have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import gmean, norm

from cohorts.summaries import statistics
from insilico.devices import QUICKLY

N = 400
EQUAL = np.full(N, 1 / N)
X = np.random.default_rng(1).lognormal(1.0, 0.4, N)
OTHER = 0.5 * X + np.random.default_rng(2).normal(size=N)

ALL = {
    **statistics.PLAIN,
    "above": lambda x, w: statistics.share_above(x, w, jnp.asarray(3.0), smooth=True),
    "quantile": lambda x, w: statistics.quantile(x, w, jnp.asarray(0.8)),
    "correlation": lambda x, w: statistics.correlation(x, w, jnp.asarray(OTHER)),
}


@pytest.fixture(scope="module")
def found():
    """Each statistic, its gradient and its influences, compiled together."""

    def every(x, w):
        return {name: of(x, w) for name, of in ALL.items()}

    def slopes(x, w):
        return {name: jax.grad(lambda y, of=of: of(y, w).value)(x) for name, of in ALL.items()}

    return (
        jax.jit(every, compiler_options=QUICKLY),
        jax.jit(slopes, compiler_options=QUICKLY),
    )


def test_values_are_those_of_numpy(found):
    of = {name: float(each.value) for name, each in found[0](X, EQUAL).items()}
    logarithm = np.std(np.log(X))
    expected = {
        "mean": np.mean(X),
        "sd": np.std(X),
        "cv": np.std(X) / np.mean(X),
        "geometric_mean": gmean(X),
        "geometric_cv": np.sqrt(np.expm1(logarithm**2)),
        "correlation": np.corrcoef(X, OTHER)[0, 1],
    }
    for name, value in expected.items():
        assert of[name] == pytest.approx(value, rel=1e-12), name
    # Harrell and Davis's quantile is a mean of order statistics about the plain one.
    near = np.quantile(X, [0.77, 0.83])
    assert near[0] < of["quantile"] < near[1]


def test_derivatives_by_values_are_exact(found):
    direction = np.random.default_rng(3).normal(size=N)
    step = 1e-6
    up, down = (found[0](X + side * step * direction, EQUAL) for side in (1, -1))
    for name, slope in found[1](X, EQUAL).items():
        difference = (up[name].value - down[name].value) / (2 * step)
        # Rounding of the difference is about 1e-16 / 1e-6 of the value.
        assert float(slope @ direction) == pytest.approx(float(difference), rel=1e-6, abs=1e-8), (
            name
        )


def test_influences_are_derivatives_by_weights(found):
    """Towards one patient: by so much the statistic changes for each unit of added weight."""
    step = 1e-6
    for patient in (7, 100):
        moved = (1 - step) * EQUAL + step * np.eye(N)[patient]
        before, after = found[0](X, EQUAL), found[0](X, moved)
        for name in ALL:
            if name == "quantile":  # a step function of weights, whose density is estimated
                continue
            # The width of a smoothed indicator follows the weights; influences leave that out.
            allowed = 5e-3 if name == "above" else 2e-3
            slope = (after[name].value - before[name].value) / step
            influence = before[name].influence[patient]
            assert float(slope) == pytest.approx(float(influence), rel=allowed, abs=2e-5), name


def test_errors_follow_from_the_number_of_subjects(found):
    """The large-sample formulas of a normal variable: of its mean, sd and quantile."""
    z = norm.ppf((np.arange(N) + 0.5) / N)
    of = {n: np.sqrt(np.mean(np.square(each.influence))) for n, each in found[0](z, EQUAL).items()}
    assert of["mean"] == pytest.approx(1.0, rel=0.01)
    assert of["sd"] == pytest.approx(np.sqrt(0.5), rel=0.03)  # tails are cut off at 3 sd
    density = norm.pdf(norm.ppf(0.8))
    # The kernel estimate of a density is off by a few per cent at this number.
    assert of["quantile"] == pytest.approx(np.sqrt(0.16) / density, rel=0.12)


@pytest.mark.parametrize("patients", [100, 1600])
def test_smoothing_moves_a_share_by_less_than_chance_does(patients):
    z = jnp.asarray(norm.ppf((np.arange(patients) + 0.5) / patients))
    equal = jnp.full(patients, 1 / patients)
    of = jax.jit(statistics.share_above, static_argnames="smooth", compiler_options=QUICKLY)
    share = of(z, equal, jnp.asarray(1.0), smooth=True).value
    bias = float(share) - norm.sf(1.0)
    # Half the squared width times the density's slope at 1 sd, which is its value there.
    width = 0.5 * patients ** (-1 / 3)
    assert bias == pytest.approx(0.5 * width**2 * norm.pdf(1.0), rel=0.2)
    assert abs(bias) < 0.25 * np.sqrt(norm.sf(1.0) * norm.cdf(1.0) / patients)


def test_quantiles_of_few_patients_are_hardly_biased():
    for patients, allowed in ((100, 0.03), (1600, 0.002)):
        z = jnp.asarray(norm.ppf((np.arange(patients) + 0.5) / patients))
        equal = jnp.full(patients, 1 / patients)
        of = jax.jit(statistics.quantile, compiler_options=QUICKLY)
        value = of(z, equal, jnp.asarray(0.9)).value
        assert float(value) == pytest.approx(norm.ppf(0.9), abs=allowed)
