"""Subjects of a trial vary between its periods, or stated occasions, as their population says."""

from typing import Any

import numpy as np
import pytest

import trials
from cohorts.data import read_patients
from insilico.config import ConfigError
from insilico.solve import Tolerances, solve_traced
from insilico.solve.events import Kind
from insilico.solve.records import in_occasions
from trials.event_tables import event_table, exposure_table
from trials.report import render

pytestmark = pytest.mark.optimised

BETWEEN, WITHIN, REPLICATES, SUBJECTS = 0.26, 0.15, 100, 24
COHORT = (
    "cohort={covariates: {source: iwpc2009}, described: {population: {"
    "absorption_rate: {typical: 1.5 1/h}, central_volume: {typical: 32 L}, "
    f"clearance: {{typical: 2.8 L/h, between_subject: {{kind: log_normal, sd: {BETWEEN}}}, "
    f"between_occasion: {{sd: {WITHIN}}}}}}}}}}}"
)


def simulated(config, *changes):
    sizes = (f"trial.replicates={REPLICATES}", f"trial.subjects={SUBJECTS}", "truth.subjects=1000")
    return trials.simulate(trials.read(config, [COHORT, *sizes, *changes]))


@pytest.fixture(scope="module")
def crossover(bioequivalence):
    return simulated(bioequivalence)


@pytest.mark.slow
def test_periods_differ_by_what_varies_between_occasions(crossover):
    subjects = crossover["subjects"]
    clearance = np.stack([subjects[f"parameter_clearance_{period}"].values for period in (1, 2)])
    x = np.log(clearance).reshape(2, -1)
    count = x.shape[1]
    # Variances and covariance of 2400 subjects, to five standard errors.
    expected = BETWEEN**2 + WITHIN**2 * np.eye(2)
    np.testing.assert_allclose(np.cov(x), expected, atol=5 * np.sqrt(2 / count) * expected.max())
    assert subjects["parameter_central_volume"].shape == clearance.shape[1:]
    # The area is the absorbed dose over the clearance of the period, under both arms.
    area = crossover["endpoints"]["auc_inf"].values
    for period, own in enumerate(clearance):
        for arm, absorbed in enumerate((0.97, 1.0)):
            found = area[:, :, period, arm] * own / (320 * absorbed)
            np.testing.assert_allclose(found, 1.0, rtol=0.03)


@pytest.mark.slow
def test_the_residual_of_the_analysis_of_variance_is_what_was_put_in(crossover):
    estimates = crossover["estimates"].sel(analysis="auc_inf")
    residual = estimates["standard_error"].values ** 2 * SUBJECTS / 2
    assert residual.size == REPLICATES
    # A mean of 100 chi-squares of 22 degrees of freedom, and a hundredth for trapezoids.
    error = np.sqrt(2 / (REPLICATES * (SUBJECTS - 2)))
    assert residual.mean() == pytest.approx(WITHIN**2, rel=4 * error + 0.01)


@pytest.mark.slow
def test_another_period_leaves_the_others_as_they_were(bioequivalence, crossover):
    sequences = "[[test, reference, test], [reference, test, reference]]"
    three = simulated(bioequivalence, f"trial.crossover.sequences={sequences}")
    for name in ("auc", "cmax"):
        first = three["endpoints"][name].isel(period=slice(2)).values
        np.testing.assert_array_equal(first, crossover["endpoints"][name].values)


@pytest.mark.slow
def test_a_parallel_trial_is_one_occasion(bioequivalence, crossover):
    tree = simulated(bioequivalence, "trial.crossover=null")
    clearance = np.log(np.asarray(tree["subjects"]["parameter_clearance"].values))
    total = BETWEEN**2 + WITHIN**2
    assert clearance.var() == pytest.approx(total, rel=5 * np.sqrt(2 / clearance.size))
    first = crossover["subjects"]["parameter_clearance_1"].values
    np.testing.assert_array_equal(np.exp(clearance), np.exp(np.log(first)))


OCCASIONS = "trial.occasions=[0 d, 12 h, 2 d]"
PARALLEL = (
    COHORT,
    "trial.crossover=null",
    "trial.replicates=1",
    "trial.subjects=16",
    "truth.subjects=1000",
    "trial.duration=3 d",
    "visits.times=[0 h, 8 h, 10 h, 12 h, 16 h, 24 h, 40 h, 48 h, 60 h]",
)


@pytest.fixture(scope="module")
def parallel(bioequivalence):
    """A parallel trial of one dose with three occasions, from 0, 12 and 48 h on."""
    study = trials.read(bioequivalence, [*PARALLEL, OCCASIONS])
    return study, trials.simulate(study)


@pytest.mark.slow
def test_stated_occasions_have_clearances_of_their_own(parallel):
    _, tree = parallel
    subjects, seen = tree["subjects"], tree["outcomes"]["concentration"].values[0, 0].astype(float)
    volume = subjects["parameter_central_volume"].values[0, 0]
    described = subjects["parameter_clearance_2"].attrs["description"]
    assert described.endswith(", in occasion 2")
    # Visits between which the drug is absorbed and one occasion lasts, at these times.
    for first, second, hours, occasion in (
        (2, 3, 2, 1),
        (4, 5, 8, 2),
        (5, 6, 16, 2),
        (7, 8, 12, 3),
    ):
        own = subjects[f"parameter_clearance_{occasion}"].values[0, 0]
        rate = np.log(seen[:, :, first] / seen[:, :, second]) / hours
        # What is left in the depot after 10 h: exp(-12), of the slower arm.
        tolerance = 3e-4 if occasion == 1 else 2e-6
        np.testing.assert_allclose(rate, np.broadcast_to(own / volume, rate.shape), rtol=tolerance)
    drawn = [subjects[f"parameter_clearance_{number}"].values for number in (1, 2, 3)]
    assert np.unique(np.stack(drawn)).size == 3 * 16


@pytest.mark.slow
def test_the_first_occasion_is_the_trial_without_others(bioequivalence, parallel):
    _, tree = parallel
    plain: Any = trials.simulate(trials.read(bioequivalence, PARALLEL))
    first = tree["subjects"]["parameter_clearance_1"].values
    np.testing.assert_array_equal(first, plain["subjects"]["parameter_clearance"].values)
    early = [each["outcomes"]["concentration"].values[..., :4] for each in (tree, plain)]
    np.testing.assert_allclose(*early, rtol=1e-6)
    later = [each["outcomes"]["concentration"].values[..., 4:] for each in (tree, plain)]
    assert np.abs(later[0] / later[1] - 1).min() > 0


@pytest.mark.slow
def test_the_event_table_leads_to_the_same_values(parallel):
    study, tree = parallel
    table = event_table(tree, study)
    assert sorted(set(table.frame["OCC"])) == [1, 2, 3]
    assert len(exposure_table(table, study)) == 16
    data = read_patients(study.protocol.model, table.spec, table.frame)
    assert data.occasion is not None
    varied = data.records.by_occasion({"clearance": data.occasion})
    events, layout = varied.laid_out()
    subjects = tree["subjects"].to_dataset().isel(population=0, trial=0)
    fields = study.protocol.model.Parameters._fields
    names = ("clearance_1", "clearance_2", "clearance_3")
    drawn = {
        name: np.stack([subjects[f"parameter_{each}"].values for each in names])
        if name == "clearance"
        else subjects[f"parameter_{name}"].values
        for name in fields
    }
    # The arm of interest absorbs more slowly.
    arm = tree["randomisation"]["arm_number"].values[0, 0]
    drawn["absorption_rate"] = drawn["absorption_rate"] * np.where(arm == 0, 0.8, 1.0)
    own, occasional = in_occasions(varied.model, study.protocol.model.Parameters(**drawn), events)
    found = solve_traced(
        varied.model, own, occasional, layout, derivative=None, tolerances=Tolerances(1e-10, 1e-10)
    )
    again = varied.by_record(np.asarray(found.outputs.concentration))
    seen = table.frame["EVID"].to_numpy() == 0
    np.testing.assert_allclose(again[seen], table.frame["IPRED"].to_numpy()[seen], rtol=1e-5)


@pytest.mark.slow
def test_the_report_says_when_occasions_begin(parallel):
    study, tree = parallel
    page = render(tree, study)
    assert "others 0.5 d, 2 d after the first dose. What varies between them" in page


def test_occasions_are_rows_of_the_schedule_before_doses_of_their_time(bioequivalence):
    changes = ["trial.duration=4 d", "drug.last_day=4", "trial.occasions=[2 d]"]
    study = trials.read(bioequivalence, [COHORT, "trial.crossover=null", *changes, LONG])
    protocol = study.protocol
    at = np.flatnonzero(protocol.events.kind == Kind.INPUT)
    assert protocol.events.time[at].tolist() == [56.0]
    assert protocol.events.kind[at + 1].tolist() == [Kind.DOSE]
    assert protocol.events.time[at + 1].tolist() == [56.0]
    assert protocol.number_of_occasions == 2
    assert protocol.occasion(np.zeros(2, int), np.array([55.9, 56.0])).tolist() == [0, 1]


LONG = "visits.times=[0 h, 24 h, 48 h, 96 h]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["trial.occasions=[2 d]"], "means nothing to a crossover, of which every period is an oc"),
        (
            ["trial.crossover=null", "trial.occasions=[0 d, 2 d]"],
            "trial.occasions.1: is not before the trial's end",
        ),
        (
            ["trial.crossover=null", "trial.occasions=[12 h, 6 h]"],
            "trial.occasions.1: must come at least a minute after the one before, 0.5 d",
        ),
        (
            ["trial.crossover=null", "trial.occasions=[12 h]", "cohort=null"],
            "means nothing: no parameter of the population varies between occasions",
        ),
        (
            ["trial.crossover=null", "trial.occasions=[-12 h]"],
            "trial.occasions.0: must be at least",
        ),
    ],
)
def test_impossible_occasions_are_told(bioequivalence, changes, message):
    plain = [each for each in changes if each != "cohort=null"]
    cohort = [] if "cohort=null" in changes else [COHORT]
    with pytest.raises(ConfigError) as caught:
        trials.read(bioequivalence, [*cohort, *plain])
    assert message in "\n".join(str(problem) for problem in caught.value.problems)
