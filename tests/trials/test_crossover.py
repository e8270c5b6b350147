"""Crossovers from patients to estimates: periods, sequences, arms that change the patient."""

import numpy as np
import pytest
import statsmodels.formula.api as smf

import trials
from insilico.config import ConfigError
from trials.datasets import datasets
from trials.evaluation import endpoints_of

SMALL = ("trial.replicates=1", "trial.subjects=12", "truth.subjects=1000")


def simulated(config, *changes):
    return trials.simulate(trials.read(config, [*SMALL, *changes]))


def values_of(tree, group, name, **places):
    """A variable of some places as an array."""
    return np.asarray(tree[group].to_dataset()[name].isel(**places).values)


@pytest.fixture(scope="module")
def two_periods(bioequivalence):
    return simulated(bioequivalence)


def test_periods_come_before_arms(crossover_tree):
    given = ("population", "trial", "period", "subject")
    assert crossover_tree["randomisation"]["arm_number"].dims == given
    potential = ("population", "trial", "period", "arm", "subject")
    assert crossover_tree["endpoints"]["auc"].dims == potential
    assert crossover_tree["outcomes"]["concentration"].dims == (*potential, "visit")
    assert crossover_tree["endpoints"]["period"].values.tolist() == [1, 2]
    assert int(crossover_tree["counts"]["failed"]) == 0


def test_subjects_are_under_the_arms_of_their_sequence(crossover_tree):
    sequence = crossover_tree["randomisation"]["sequence_number"].values[0]
    arm = crossover_tree["randomisation"]["arm_number"].values[0]
    assert (sequence.sum(axis=-1) == 12).all()
    np.testing.assert_array_equal(arm[:, 0], sequence)
    np.testing.assert_array_equal(arm[:, 1], 1 - sequence)


def test_visits_are_at_their_times_after_the_dose(crossover_study, crossover_tree):
    times = np.array(crossover_study.config.visits.times)
    outcomes = crossover_tree["outcomes"]
    assert outcomes.sizes["visit"] == len(times)
    assert bool(outcomes["attended"].all())
    hours = 24 * outcomes["time"].values.astype(float) - 8
    np.testing.assert_allclose(hours, np.broadcast_to(times, hours.shape), atol=1e-4)
    # The sample at the time of the dose comes before it.
    assert bool((outcomes["concentration"].isel(visit=0) == 0).all())
    assert bool((outcomes["concentration"].isel(visit=1) > 0).all())


def test_periods_differ_in_residual_error_alone(crossover_tree):
    true, seen = (
        crossover_tree["outcomes"][name].values
        for name in ("concentration", "concentration_measured")
    )
    np.testing.assert_array_equal(true[:, :, 0], true[:, :, 1])
    error = np.where(true > 0, seen / np.where(true > 0, true, 1) - 1, 0)[..., 1:]
    np.testing.assert_allclose(error[:, :, :, 0], error[:, :, :, 1], atol=1e-5)
    assert np.corrcoef(error[:, :, 0].ravel(), error[:, :, 1].ravel())[0, 1] < 0.1
    assert np.std(error) == pytest.approx(0.1, rel=0.05)


def test_arms_change_the_patient(crossover_study, crossover_tree):
    outcomes = crossover_tree["outcomes"]
    true = {"concentration_measured": outcomes["concentration"].values}
    endpoints = endpoints_of(
        crossover_study.config, outcomes["time"].values, outcomes["attended"].values, true
    )
    found = np.asarray(endpoints["auc_inf"]["value"])
    clearance = crossover_tree["subjects"]["parameter_clearance"].values[:, :, None]
    # Without residual error the area is the absorbed dose over the clearance, but for trapezoids.
    np.testing.assert_allclose(found[:, :, :, 0] * clearance / 320, 0.97, rtol=0.03)
    np.testing.assert_allclose(found[:, :, :, 1] * clearance / 320, 1.00, rtol=0.03)
    later = endpoints["tmax"]["value"][:, :, :, 0] >= endpoints["tmax"]["value"][:, :, :, 1]
    assert bool(later.all())
    truth = crossover_tree["truth"]["value"].sel(analysis="auc").item()
    assert truth == pytest.approx(np.log(0.97), abs=0.01)


@pytest.mark.slow
def test_another_period_leaves_the_others_as_they_were(bioequivalence, two_periods):
    sequences = "[[test, reference, test], [reference, test, reference]]"
    three = simulated(bioequivalence, f"trial.crossover.sequences={sequences}")
    assert three["endpoints"].sizes["period"] == 3
    for group, name in (("outcomes", "concentration_measured"), ("endpoints", "auc")):
        first = three[group][name].isel(period=slice(2)).values
        np.testing.assert_array_equal(first, two_periods[group][name].values)


@pytest.mark.slow
def test_neither_washout_nor_duration_changes_what_is_drawn(bioequivalence, two_periods):
    changed = simulated(bioequivalence, "trial.crossover.washout=28 d", "trial.duration=2 d")
    for name in ("auc", "cmax"):
        np.testing.assert_array_equal(changed["endpoints"][name], two_periods["endpoints"][name])


def test_effects_of_periods_are_on_everybody(bioequivalence, crossover_tree):
    # Of the sizes that the tree's programs are for: all but one serve again.
    effects = "trial.crossover.period_effects={clearance: [1, 2]}"
    changed = trials.simulate(trials.read(bioequivalence, effects))
    last = ("outcomes", "concentration")
    first, second = (values_of(changed, *last, period=number, visit=-1) for number in (0, 1))
    assert np.all(second < 0.7 * first)
    np.testing.assert_array_equal(first, values_of(crossover_tree, *last, period=0, visit=-1))


@pytest.mark.slow
def test_who_drops_out_is_not_seen_in_later_periods(bioequivalence):
    tree = simulated(bioequivalence, "trial.dropout={share: 0.5, by: 4 d}")
    left = values_of(tree, "randomisation", "dropout_time", population=0, trial=0)
    attended = values_of(tree, "outcomes", "attended", population=0, trial=0)
    gone = left < 8
    assert 0 < gone.sum() < len(left)
    # (period, arm, subject, visit)
    assert attended[0].any(axis=(0, 2)).all()
    np.testing.assert_array_equal(attended[1].any(axis=(0, 2)), ~gone)
    assert np.all(values_of(tree, "estimates", "n", analysis=0) == (~gone).sum())


def test_datasets_give_the_trial_s_own_estimates(crossover_study, crossover_tree):
    found = datasets(crossover_tree, crossover_study)
    people, endpoints, values = found["adsl"], found["adeff"], found["adlb"]
    assert len(people) == 6 * 24 and len(endpoints) == 6 * 24 * 2 * 4
    assert set(people["TRTSEQP"]) == {"Test, then Reference", "Reference, then Test"}
    assert set(people["ARMCD"]) == {"TEST-REFERENCE", "REFERENCE-TEST"}
    assert np.all(people["TRT01P"].astype(str) != people["TRT02P"].astype(str))
    assert len(values) == 24 * 2 * 13
    assert set(values["ATPTN"]) == set(crossover_study.config.visits.times)
    assert set(values["APERIOD"]) == {1, 2}
    assert (values["BLQFL"] == "Y").tolist() == (values["AVAL"] < 0.05).tolist()
    assert values.loc[values["ABLFL"] == "Y", "ATPTN"].tolist() == [0] * 24 * 2
    rows = endpoints[(endpoints["PARAMCD"] == "AUC") & (endpoints["SIMTRIAL"] == 0)]
    rows = rows.assign(y=np.log(rows["AVAL"]), arm=rows["TRTP"].astype(str))
    fit = smf.ols("y ~ C(USUBJID) + C(APERIOD) + C(arm)", rows).fit()
    estimates = crossover_tree["estimates"].sel(analysis="auc").isel(population=0, trial=0)
    assert estimates["estimate"].item() == pytest.approx(fit.params["C(arm)[T.Test]"], rel=1e-9)
    assert estimates["standard_error"].item() == pytest.approx(fit.bse["C(arm)[T.Test]"], rel=1e-9)
    assert estimates["degrees_of_freedom"].item() == 22


def test_endpoints_follow_from_the_stored_outcomes(crossover_study, crossover_tree):
    outcomes = crossover_tree["outcomes"]
    again = endpoints_of(
        crossover_study.config,
        outcomes["time"].values,
        outcomes["attended"].values,
        {"concentration_measured": outcomes["concentration_measured"].values},
    )
    for name in crossover_study.config.endpoints:
        stored = crossover_tree["endpoints"][name].values
        np.testing.assert_allclose(again[name]["value"], stored, rtol=1e-12, err_msg=name)


@pytest.mark.slow
def test_a_parallel_trial_compares_doses_by_the_same_endpoints(bioequivalence):
    tree = simulated(
        bioequivalence,
        "trial.crossover=null",
        "trial.subjects=40",
        "formulas.double={expression: 640, unit: mg/d}",
        "arms.test.start=[double]",
        "arms.test.parameters={}",
        "arms.test.bioavailability=1",
    )
    assert tree["endpoints"]["auc"].dims == ("population", "trial", "arm", "subject")
    # Twice the dose is twice the area; residual errors are the same under both arms.
    truth = np.exp(values_of(tree, "truth", "value", analysis=[0, 2]))
    np.testing.assert_allclose(truth, 2.0, rtol=0.01)
    estimates = tree["estimates"].sel(analysis="auc").isel(population=0, trial=0)
    assert estimates["degrees_of_freedom"].item() == 38
    assert estimates["lower"] < np.log(2) < estimates["upper"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("visits.days=[1]", "visits: needs one of `days` and `times`"),
        ("visits.times=null", "visits: needs one of `days` and `times`"),
        ("visits.times=[0 h, 1 h, 1 h, 2 h]", "visits.times.2: must come at least a minute after"),
        ("visits.times=[0 h, 1 h, 36 h]", "visits.times.2: is after the trial's end, 24 h after"),
        ("visits.retry_after=1 d", "visits.retry_after: means nothing to visits at `times`"),
        ("visits.quantified_from={depot: 1}", "visits.quantified_from.depot: there is no measured"),
        ("arms.test.parameters={absorbtion_rate: 2}", "arms.test.parameters.absorbtion_rate"),
        ("arms.test.parameters={absorption_rate: -1}", "arms.test.parameters.absorption_rate"),
        ("trial.crossover.sequences=[[test, reference]]", "trial.crossover.sequences"),
        (
            "trial.crossover.sequences=[[test, reference], [reference, tset]]",
            'trial.crossover.sequences.1.1: there is no arm "tset"',
        ),
        (
            "trial.crossover.sequences=[[test, reference], [reference, test, test]]",
            "trial.crossover.sequences.1: has 3 periods, and the first sequence 2",
        ),
        (
            "trial.crossover.sequences=[[test, reference], [test, reference]]",
            "trial.crossover.sequences.1: is listed twice",
        ),
        (
            "trial.crossover.sequences=[[test, test], [reference, reference]]",
            "analyses.auc.contrast: cannot be told from effects of periods and subjects",
        ),
        (
            "trial.crossover.period_effects={clearance: [1, 1, 1]}",
            "period_effects.clearance: needs a factor for each of 2 periods",
        ),
        ("trial.randomisation.allocation={test: 1, reference: 2}", "means nothing to a crossover"),
        ("trial.randomisation.block_sizes=[3]", "block sizes: multiples of 2"),
        ("analyses.auc.estimator=risk_difference", "does not fit the endpoint auc"),
        ("analyses.auc.endpoint=tmax", "does not fit the endpoint tmax"),
        ("analyses.auc.margins=[125 %, 80 %]", "margins.1: must be above the lower, 125 %"),
        ("analyses.auc.estimator=mean_difference", "analyses.auc.margins.0: must be"),
        ("analyses.auc.adjust=strata", "is not available for geometric_mean_ratio in a crossover"),
        ("endpoints.auc.of=daily_dose", "endpoints.auc.of: there is no measured output"),
        ("endpoints.auc.from_time=20 h", "endpoints.auc: has fewer than two of visits.times"),
        (
            "endpoints.auc={kind: maximum, of: concentration, to_time: 2 h, from_time: 3 h}",
            "endpoints.auc.to_time: must be after `from_time` (3 h)",
        ),
    ],
)
def test_impossible_designs_are_told(bioequivalence, change, message):
    with pytest.raises(ConfigError) as caught:
        trials.read(bioequivalence, [change])
    assert message in "\n".join(str(problem) for problem in caught.value.problems)
