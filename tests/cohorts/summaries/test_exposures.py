"""Exposures of virtual patients are those of measured ones, and smooth ones are near them."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from cohorts.data.exposure import exposures
from cohorts.summaries.exposures import exposure
from insilico.devices import QUICKLY

TIMES = np.array([0.0, 0.3, 0.6, 1.0, 2.0, 4.0, 8.0, 12.0, 24.0])
PATIENTS = 5


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    rates = np.random.default_rng(1).lognormal([[0.3], [-2.3]], 0.3, (2, PATIENTS))
    absorbed, lost = rates
    of_time = TIMES[:, None]
    return absorbed / (absorbed - lost) * (np.exp(-lost * of_time) - np.exp(-absorbed * of_time))


@pytest.fixture(scope="module")
def measured(values) -> pd.DataFrame:
    rows = []
    for patient in range(PATIENTS):
        rows.append((patient, 0.0, 1, 1.0, np.nan))
        rows += [(patient, t, 0, 0.0, v) for t, v in zip(TIMES, values[:, patient], strict=True)]
    return exposures(pd.DataFrame(rows, columns=["ID", "TIME", "EVID", "AMT", "DV"]))


@pytest.mark.parametrize("kind", ["auc", "cmax", "cmin", "tmax"])
def test_they_are_those_of_a_measured_table(kind, values, measured):
    found = exposure(kind, TIMES, jnp.asarray(values), smooth=False)
    np.testing.assert_allclose(found, measured[kind], rtol=1e-7)


def test_smooth_ones_are_near(values):
    area = [exposure("auc", TIMES, jnp.asarray(values), smooth=smooth) for smooth in (False, True)]
    np.testing.assert_allclose(area[1], area[0], rtol=1e-12)  # nothing falls to a tenth
    time = [exposure("tmax", TIMES, jnp.asarray(values), smooth=smooth) for smooth in (False, True)]
    assert np.all(np.abs(time[1] - time[0]) <= 0.5)


def test_they_do_not_jump_where_a_value_crosses_zero_or_another():
    """Noise may do both; a step of a millionth moves nothing by more than a thousandth."""
    base = np.array([0.0, 3.0, 5.0, 1.0])
    times = np.array([0.0, 1.0, 2.0, 3.0])
    for kind, place, at in (("auc", 3, 0.0), ("tmax", 1, 5.0)):
        values = np.repeat(base[:, None], 2, axis=1)
        values[place] = [at - 1e-6, at + 1e-6]
        found = np.asarray(exposure(kind, times, jnp.asarray(values), smooth=True))
        assert abs(float(found[1] - found[0])) < 1e-3
        total = jax.jit(
            jax.grad(lambda v, kind=kind: exposure(kind, times, v, smooth=True).sum()),
            compiler_options=QUICKLY,
        )
        assert np.all(np.isfinite(total(jnp.asarray(values))))
