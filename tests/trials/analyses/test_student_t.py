import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from trials.analyses import _student_t
from trials.analyses._student_t import normal_p, normal_quantile

student_p = jax.jit(_student_t.student_p)
student_quantile = jax.jit(_student_t.student_quantile)

FREEDOM = np.array([1, 1.5, 2, 3, 5, 10, 30, 132, 598, 1e4, 1e6])


@pytest.mark.parametrize("statistic", [0.0, 1e-3, 0.7, 1.96, -2.5, 8.0, 40.0])
def test_tail_equals_scipy(statistic):
    found = student_p(jnp.full(FREEDOM.shape, statistic), jnp.asarray(FREEDOM))
    expected = 2 * stats.t.sf(abs(statistic), FREEDOM)
    # betainc loses digits as its first parameter grows: 1e-12 up to trial sizes, 1e-8 at 1e6.
    rtol = np.where(FREEDOM < 1e4, 1e-11, 2e-8)
    assert np.all(np.abs(found - expected) <= rtol * expected + 1e-300)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8, 0.9, 0.95, 0.99, 0.9999, 0.999999])
def test_quantile_equals_scipy(level):
    found = student_quantile(level, jnp.asarray(FREEDOM))
    # betainc as above; and the tail 1 - level is itself known to 1e-16 only.
    rtol = np.where(FREEDOM < 1e4, 1e-11, 5e-9) + 2e-16 / (1 - level)
    expected = stats.t.ppf((1 + level) / 2, FREEDOM)
    assert np.all(np.abs(found - expected) <= rtol * expected)


def test_normal_equals_scipy():
    statistics = jnp.array([0.0, -0.3, 1.96, 6.0, jnp.inf])
    np.testing.assert_allclose(normal_p(statistics), 2 * stats.norm.sf(abs(statistics)), rtol=1e-13)
    for level in (0.5, 0.95, 0.9999):
        expected = stats.norm.ppf((1 + level) / 2)
        np.testing.assert_allclose(normal_quantile(level), expected, rtol=1e-12)
