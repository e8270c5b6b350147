"""Groups of subjects, for which a predictive check is shown apart."""

import types

import numpy as np
import pytest
import xarray as xr

from cohorts import fits
from cohorts.fits.results import Observations, _predictive_check, _stratified
from cohorts.fits.strata import strata
from insilico.config import ConfigError, Name

WEIGHTS = np.array([50.0, 61.5, 70.0, 82.0, 95.0, np.nan])


def _patients(values, name):
    return types.SimpleNamespace(covariates={"group": values}, vocabulary={"group": name})


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (
            np.array([2, 0, 2]),
            Name("category", categories=("a", "b", "c")),
            {"group: a": [0, 1, 0], "group: c": [1, 0, 1]},
        ),
        (np.array([True, False]), Name("flag"), {"group: no": [0, 1], "group: yes": [1, 0]}),
        (
            np.array([100.0, 50.0, 100.0]),
            Name("number", unit="mg"),
            {"group 50 mg": [0, 1, 0], "group 100 mg": [1, 0, 1]},
        ),
        (
            WEIGHTS,
            Name("number", unit="kg"),
            {"group up to 70 kg": [1, 1, 1, 0, 0, 0], "group above 70 kg": [0, 0, 0, 1, 1, 0]},
        ),
    ],
)
def test_groups_are_categories_few_values_or_halves(values, name, expected):
    found = strata(_patients(values, name), "group")  # pyright: ignore[reportArgumentType]
    assert {stratum.label: stratum.subjects.astype(int).tolist() for stratum in found} == expected


def test_the_check_of_a_group_is_that_of_its_subjects_alone():
    random, subjects, times = np.random.default_rng(2), 12, 3
    subject = np.repeat(np.arange(subjects), times)
    time = np.tile([1.0, 4.0, 9.0], subjects)
    heavy = np.arange(subjects) % 2 == 1
    typical = 10.0 * np.exp(-time / 5.0)
    value = typical * np.exp(0.2 * random.normal(size=len(time)))
    simulated = typical * np.exp(0.2 * random.normal(size=(100, len(time))))
    observations = Observations(
        subject, subject, subject * 0, time, value, subject < 0, np.full(len(time), -np.inf), time
    )
    fit = types.SimpleNamespace(
        config=types.SimpleNamespace(checks=types.SimpleNamespace(stratify="group")),
        patients=_patients(heavy, Name("flag")),
    )
    found = list(_stratified(fit, observations, simulated, typical))  # pyright: ignore[reportArgumentType]
    assert [label for label, _ in found] == ["group: no", "group: yes"]
    for (_, check), chosen in zip(found, (~heavy, heavy), strict=True):
        here = chosen[subject]
        own = Observations(*(column[here] for column in observations))
        xr.testing.assert_identical(
            check.drop_attrs(),
            _predictive_check(own, simulated[:, here], typical[here]).drop_attrs(),
        )
        assert check.attrs["subjects"] == 6


def test_an_unknown_covariate_is_told_with_the_nearest(config, small):
    with pytest.raises(ConfigError) as caught:
        fits.read(config, (*small, "checks.stratify=wieght"))
    (problem,) = caught.value.problems
    assert problem.field == "checks.stratify"
    assert 'did you mean "weight"' in str(problem)


DOSES = """ID,TIME,EVID,AMT,ADDL,II,DV
1,0,0,,,,0.1
1,1,1,100,2,12,
1,3,0,,,,3
1,12,0,,,,1
1,20,0,,,,2.5
1,40,0,,,,1
2,0,1,100,0,0,
2,5,0,,,,2
2,6,1,50,0,0,
2,6,0,,,,2
"""


@pytest.fixture
def repeated(tmp_path, config):
    """`repeated(table, *changes)`: the theophylline fit with other data."""

    def read(table, *changes):
        (tmp_path / "doses.csv").write_text(table)
        columns = "{subject: ID, time: TIME, event: EVID, amount: AMT, additional: ADDL, "
        return fits.read(
            config,
            (
                f"data.file={tmp_path / 'doses.csv'}",
                columns.join(("data.columns=", "interval: II, measured: DV}")),
                "data.covariates={}",
                *changes,
            ),
        )

    return read


def test_the_time_since_a_dose_counts_additional_ones(repeated):
    fit = repeated(DOSES, "checks.over=time_after_dose")
    # Doses at 1, 13 and 25 h; the first sample is before any, the last of the second subject at
    # the time of its second.
    expected = [np.nan, 2.0, 11.0, 7.0, 15.0, 5.0, 0.0]
    np.testing.assert_allclose(Observations.of(fit.patients).after_dose, expected)


def test_checks_over_the_time_since_a_dose_need_one(repeated):
    without = "ID,TIME,EVID,AMT,ADDL,II,DV\n1,0,0,,,,1\n1,2,0,,,,2\n"
    with pytest.raises(
        ConfigError, match=r"checks\.over: .*no value of concentration after a dose"
    ):
        repeated(without, "checks.over=time_after_dose")
    turned = DOSES + "2,0,4,100,0,0,\n2,3,0,,,,1\n"
    with pytest.raises(ConfigError, match=r"checks\.over: .*a reset turns the clock back"):
        repeated(turned, "checks.over=time_after_dose")
