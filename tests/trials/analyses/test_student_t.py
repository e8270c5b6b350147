import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from trials.analyses._student_t import central_quantile, two_sided_p

FREEDOM = np.array([1, 1.5, 2, 3, 5, 10, 30, 132, 598, 1e4, 1e6])


@pytest.mark.parametrize("statistic", [0.0, 1e-3, 0.7, 1.96, -2.5, 8.0, 40.0])
def test_tail_equals_scipy(statistic):
    found = two_sided_p(jnp.full(FREEDOM.shape, statistic), jnp.asarray(FREEDOM))
    expected = 2 * stats.t.sf(abs(statistic), FREEDOM)
    # betainc loses digits as its first parameter grows: 1e-12 up to trial sizes, 1e-8 at 1e6.
    rtol = np.where(FREEDOM < 1e4, 1e-11, 2e-8)
    assert np.all(np.abs(found - expected) <= rtol * expected + 1e-300)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8, 0.9, 0.95, 0.99, 0.9999, 0.999999])
def test_quantile_equals_scipy(level):
    found = central_quantile(level, jnp.asarray(FREEDOM))
    np.testing.assert_allclose(found, stats.t.ppf((1 + level) / 2, FREEDOM), rtol=5e-9)
    np.testing.assert_allclose(found[:9], stats.t.ppf((1 + level) / 2, FREEDOM[:9]), rtol=1e-11)


def test_infinite_freedom_is_the_normal_distribution():
    infinite = jnp.array([jnp.inf])
    np.testing.assert_allclose(
        two_sided_p(jnp.array([1.96]), infinite), 2 * stats.norm.sf(1.96), rtol=1e-14
    )
    np.testing.assert_allclose(
        central_quantile(0.95, infinite), stats.norm.ppf(0.975), rtol=1e-14
    )


def test_infinite_statistic_has_no_tail():
    assert two_sided_p(jnp.array([jnp.inf]), jnp.array([jnp.inf]))[0] == 0
