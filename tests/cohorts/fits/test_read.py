"""Every mistake in a fit's config or data is told before anything is sampled."""

import pytest

from cohorts import fits
from cohorts.data import DataError
from insilico.config import ConfigError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model=two_compartmant", "two_compartment"),
        ("population.clearence.typical=3 L/h", "clearance"),
        ("population.clearance.typical=3 mg", "L/h"),
        ("residual.conc={kind: additive, sd: 1 mg/L}", "concentration"),
        ("sampling.chains=1", "sampling.chains"),
        ("solver.method=rk4", "solver.method"),
        ("model=hodgkin_huxley1952", "no derivative in reverse"),
        ("model=gompertz_noise", "noise"),
        ("data.file=data/nothing.csv", "no such file"),
        ("data.columns.measured=CONC", "CONC"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(config, change, words):
    with pytest.raises((ConfigError, DataError), match=words):
        fits.read(config, change)


def test_a_right_config_is_read_with_its_data(config):
    fit = fits.read(config)
    assert fit.patients.summary().observations == {"concentration": 132}
    assert fit.population.residual["concentration"].kind == "additive"
