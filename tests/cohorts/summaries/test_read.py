"""Every mistake in a calibration's config is told before anything is computed."""

import pytest

from cohorts import summaries
from insilico.config import ConfigError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model=one_compartmant", "one_compartment"),
        ("population.clearance.typical=3 mg", "L/h"),
        ("arms.single.doses.0.amount=320 L", "mg"),
        ("arms.single.doses.0.into=dopot", "depot"),
        ("arms.single.doses.0.number=3", "every.*interval between 3 doses"),
        ("targets.0.arm=singel", "single"),
        ("targets.0.output=conc", "concentration"),
        ("targets.0.time=null", "a time or an exposure"),
        ("targets.0.value=3 h", "mg/L"),
        ("targets.0.statistic=maen", "mean"),
        ("targets.0.subjects=1", "targets.0.subjects"),
        ("arms.single.subjects=null", "standard error, or the number of subjects"),
        ("targets.0.standard_error=-1 mg/L", "more than 0"),
        ("targets.1.value=0 mg/L", "more than 0"),
        ("targets.14.samples=[2 h, 1 h]", "increase"),
        ("targets.14.between=[0 h, 1 h]", "`between`.*or `samples`"),
        ("residual={}", ""),
        ("targets.0.name=mean of Cmax", "name of another target"),
        ("model=gompertz_noise", "noise"),
        ("solver.method=rk4", "solver.method"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(config, change, words):
    if change == "residual={}":
        # Without a residual error, true values are meant: no mistake unless measured ones are.
        assert not summaries.read(config, change).targets[0].quantity.measured
        changes = (change, "targets.0.measured=yes")
        with pytest.raises(ConfigError, match="residual error of concentration"):
            summaries.read(config, changes)
        return
    with pytest.raises(ConfigError, match=words):
        summaries.read(config, change)


def test_all_mistakes_are_told_together(config):
    changes = ("targets.0.arm=singel", "targets.1.value=3 h", "arms.single.doses.0.amount=1 L")
    with pytest.raises(ConfigError) as told:
        summaries.read(config, changes)
    assert len(told.value.problems) == 3


def test_mistakes_of_schema_and_of_meaning_are_told_together(config):
    changes = ("targets.0.arm=singel", "virtual_patients=-3", "arms.single.doses.0.amount=1 L")
    with pytest.raises(ConfigError) as told:
        summaries.read(config, changes)
    fields = {problem.field for problem in told.value.problems}
    assert fields == {"targets.0.arm", "virtual_patients", "arms.single.doses.0.amount"}


def test_targets_have_names_units_and_the_subjects_of_their_arm(two_arms):
    read = summaries.read(two_arms)
    first, _, share, quantile, area = read.targets
    assert first.name == "mean of concentration at 9 h, oral"
    assert (first.unit, first.subjects, first.group) == ("mg/L", 24.0, 0)
    assert (share.statistic, share.level, share.value) == ("above", 5.0, 0.3)
    assert quantile.of_probability
    assert area.unit == "mg/L*h" and area.standard_error == 2.0 and area.group == 1
    assert not area.quantity.measured and first.quantity.measured
    # Infusions at 1 h and 13 h; the course is dense after the first.
    assert 1.0 < area.quantity.times[0] < 1.001
    assert area.quantity.times[-1] == 13.0


def test_the_summaries_of_the_example_are_those_of_its_data(config):
    """Means, standard deviations and exposures of the twelve subjects, to the digits written."""
    import numpy as np
    import pandas as pd

    from cohorts.data.exposure import exposures

    data = pd.read_csv(config.parent / "data" / "theophylline.csv", na_values=".")
    measured = data[data["EVID"] == 0]
    values = np.asarray(measured["DV"]).reshape(12, 11)
    times = np.asarray(measured["TIME"]).reshape(12, 11).mean(axis=0)
    exposed = exposures(data)
    for target in summaries.read(config).targets:
        if target.quantity.kind == "value":
            place = int(np.argmin(np.abs(times - target.quantity.times[0])))
            assert times[place] == pytest.approx(target.quantity.times[0], abs=0.006)
            own = values[:, place]
        else:
            own = exposed[target.quantity.kind].to_numpy()
        expected = {
            "mean": np.mean(own),
            "sd": np.std(own, ddof=1),
            "geometric_mean": np.exp(np.mean(np.log(own))),
        }
        # Written to two decimals, from 10 on to one.
        digits = 0.0501 if target.value > 10 else 0.00501
        assert target.value == pytest.approx(expected[target.statistic], abs=digits), target.name
    dose = data.loc[data["EVID"] == 1, "AMT"].mean()
    assert dose == pytest.approx(315.5, abs=0.1)
