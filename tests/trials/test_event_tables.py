"""A simulated trial as an event table: another program that reads it finds the same patients."""

import numpy as np
import pytest

from cohorts.data import read_patients
from insilico.solve import Tolerances, solve
from trials.event_tables import event_table, exposure_table

DOSE, RESET = 1, 3


def read_back(table, study, folder):
    """The table's patients, by the reader of fits."""
    table.frame.to_csv(folder / "nonmem.csv", index=False, na_rep=".")
    return read_patients(study.protocol.model, table.spec, folder=folder)


@pytest.fixture(scope="module")
def coag_table(coag_tree, coag_study):
    return event_table(coag_tree, coag_study)


@pytest.fixture(scope="module")
def crossover_table(crossover_tree, crossover_study):
    return event_table(crossover_tree, crossover_study, trials=2)


def of_subjects(tree, study, frame):
    """The model's parameters of the subjects of a table, in its order."""
    first = frame.drop_duplicates("ID")
    place = tuple(first[name].to_numpy() for name in ("SIMDRAW", "SIMTRIAL", "SIMSUBJ"))
    people = tree["subjects"].to_dataset()
    names = study.protocol.model.Parameters._fields
    return study.protocol.model.Parameters(*(people[f"parameter_{n}"].values[place] for n in names))


def test_doses_that_were_taken_lead_to_the_values_that_were_seen(
    coag_tree, coag_study, coag_table, tmp_path
):
    """Titrated, missed, omitted and held: solved as an event table, the same INR comes of them."""
    patients = read_back(coag_table, coag_study, tmp_path)
    parameters = of_subjects(coag_tree, coag_study, coag_table.frame)
    protocol = coag_study.protocol
    # To the trial's own tolerance of 1e-4, of which steps of another schedule keep a part.
    found = solve(protocol.model, parameters, patients.records, tolerances=Tolerances(1e-7, 1e-9))
    columns = patients.records.columns
    inr = np.asarray(found.outputs.inr)[columns.patient, columns.place]
    seen = coag_table.frame["MDV"].to_numpy() == 0
    np.testing.assert_allclose(inr[seen], coag_table.frame["IPRED"].to_numpy()[seen], rtol=2e-4)


def test_doses_are_the_drug_s_share_of_whole_tablets(coag_table):
    """A week's tablets of 1 mg, of which half is the drug that the model follows."""
    amounts = coag_table.frame.loc[coag_table.frame["EVID"] == DOSE, "AMT"].to_numpy()
    assert amounts.min() > 0
    tablets = 7 * amounts / 0.5
    np.testing.assert_allclose(tablets, np.round(tablets), rtol=1e-6)


def test_nothing_happens_after_a_subject_has_left(coag_tree, coag_table):
    left = coag_tree["randomisation"]["dropout_time"].values
    frame = coag_table.frame
    place = tuple(frame[name].to_numpy() for name in ("SIMDRAW", "SIMTRIAL", "SIMSUBJ"))
    assert np.isfinite(left[place]).any()
    assert np.all(frame["TIME"].to_numpy() <= 24 * left[place] + 1e-6)


def test_one_trial_of_each_draw_unless_more_are_asked_for(coag_tree, coag_study, coag_table):
    assert set(coag_table.frame["SIMTRIAL"]) == {0}
    assert coag_table.frame["ID"].nunique() == coag_study.config.trial.subjects
    both = event_table(coag_tree, coag_study, trials=2)
    assert both.frame["ID"].nunique() == 2 * coag_study.config.trial.subjects


def test_a_crossover_begins_each_period_anew(crossover_tree, crossover_study, crossover_table):
    frame = crossover_table.frame
    resets = frame[frame["EVID"] == RESET]
    assert (resets.groupby("ID").size() == 1).all()
    assert set(resets["OCC"]) == {2}
    start = 24 * crossover_study.protocol.periods.starts[1]
    assert set(resets["TIME"]) == {start}
    doses = frame[frame["EVID"] == DOSE]
    assert sorted(set(doses["TIME"])) == [8.0, start + 8.0]
    arms = doses.pivot(index="ID", columns="OCC", values="ARM")
    assert (arms[1] + arms[2] == 3).all()
    # The slower tablet, of which 97 % enter, is the first arm.
    np.testing.assert_allclose(doses["AMT"], np.where(doses["ARM"] == 1, 0.97 * 320, 320))


def test_times_are_those_of_the_config(crossover_study, crossover_table):
    """A stored time is good to a second; a table has the planned one."""
    frame = crossover_table.frame
    seen = frame[(frame["MDV"] == 0) & (frame["OCC"] == 1)]
    assert sorted(set(seen["TIME"] - 8.0)) == list(crossover_study.config.visits.times)
    before = seen[seen["TIME"] == 8.0]
    assert before["TAD"].isna().all()
    later = seen[seen["TIME"] > 8.0]
    np.testing.assert_allclose(later["TAD"], later["TIME"] - 8.0)


def test_a_fit_reads_it(crossover_study, crossover_table, tmp_path):
    patients = read_back(crossover_table, crossover_study, tmp_path)
    assert len(patients.subjects) == crossover_table.frame["ID"].nunique()
    assert patients.occasion is not None and set(patients.occasion) == {0, 1}


def test_exposure_is_that_of_true_concentrations(crossover_tree, crossover_study, crossover_table):
    found = exposure_table(crossover_table, crossover_study)
    outcomes = crossover_tree["outcomes"].to_dataset()
    place = tuple(found[name].to_numpy() for name in ("simdraw", "simtrial"))
    true = outcomes["concentration"].values[
        (*place, found["occ"] - 1, found["arm"] - 1, found["simsubj"])
    ]
    np.testing.assert_allclose(found["cmax"], true.max(axis=-1), rtol=1e-6)
    assert set(found["output"]) == {"concentration"} and set(found["dose"]) == {1}
    times = np.array(crossover_study.config.visits.times)
    # Log trapezoids lie below straight ones where values fall.
    straight = np.trapezoid(true, times, axis=-1)
    assert np.all(found["auc"] <= straight * (1 + 1e-6))
    assert np.all(found["auc"] > 0.95 * straight)


def test_what_is_not_quantified_is_censored_at_its_limit(crossover_table, crossover_study):
    limit = crossover_study.config.visits.quantified_from["concentration"]
    frame = crossover_table.frame
    censored = frame[frame["CENS"] == 1]
    assert len(censored) and (censored["DV"] == limit).all()
    assert (frame.loc[(frame["MDV"] == 0) & (frame["CENS"] == 0), "DV"] >= limit).all()


def test_subjects_whose_solve_failed_are_counted(coag_tree, coag_study):
    tree = coag_tree.copy(deep=True)
    arm = int(tree["randomisation"]["arm_number"].values[0, 0, 3])
    tree["endpoints"]["solved"].values[0, 0, arm, 3] = False
    found = event_table(tree, coag_study)
    assert found.left_out == 1
    assert 3 not in set(found.frame["SIMSUBJ"])


def test_without_visits_there_is_no_table(coag_tree, coag_study):
    from xarray import DataTree

    kept = {name: node.to_dataset() for name, node in coag_tree.children.items()}
    without = DataTree.from_dict({n: d for n, d in kept.items() if n not in ("outcomes", "doses")})
    with pytest.raises(ValueError, match="keep: outcomes"):
        event_table(without, coag_study)
