"""Analysis datasets hold what the trial saw, in ADaM's shape."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from trials.adam import NAME_LENGTH, short_names, write
from trials.datasets import adeff, adex, adlb, adsl, datasets
from trials.occasions import study_identifier


@pytest.fixture(scope="module")
def frames(coag_tree, coag_study) -> dict[str, pd.DataFrame]:
    return datasets(coag_tree, coag_study)


@pytest.fixture(scope="module")
def given(coag_tree):
    """Picks the arm that each subject was given out of an array (population, trial, arm, ...)."""
    arm = coag_tree["randomisation"]["arm_number"].values.astype(int)

    def given(group: str, name: str) -> np.ndarray:
        column = coag_tree[group][name].values
        index = arm.reshape(*arm.shape[:2], 1, arm.shape[2], *(1,) * (column.ndim - 4))
        return np.take_along_axis(column, index, axis=2)[:, :, 0]

    return given


def test_names_are_short_unique_and_labelled(frames):
    for frame in frames.values():
        assert frame.columns.is_unique
        assert all(len(name) <= NAME_LENGTH and name.isupper() for name in frame.columns)
        assert set(frame.attrs["labels"]) == set(frame.columns)
        assert all(frame.attrs["labels"].values())


def test_every_dataset_begins_with_who_it_is_about(frames):
    for frame in frames.values():
        who = ["STUDYID", "USUBJID", "SUBJID", "SITEID", "SIMDRAW", "SIMTRIAL", "SIMSUBJ"]
        assert list(frame.columns[:7]) == who
        assert set(frame["STUDYID"]) == {"COAG"}


def test_adsl_has_a_row_a_subject_of_every_trial(frames, coag_tree):
    frame = frames["adsl"]
    assert len(frame) == 4 * 150
    assert frame["USUBJID"].is_unique
    assert frame["USUBJID"].iloc[150] == "COAG-0002-00001"
    age = coag_tree["subjects"]["age"].values
    expected = age[frame["SIMDRAW"], frame["SIMTRIAL"], frame["SIMSUBJ"]]
    np.testing.assert_array_equal(frame["AGE"], expected)


def test_arms_categories_and_flags_are_words(frames, coag_tree, coag_study):
    frame, people = frames["adsl"], coag_tree["subjects"]
    labels = np.array([spec.label for spec in coag_study.config.arms.values()])
    arm = coag_tree["randomisation"]["arm_number"].values.ravel()
    np.testing.assert_array_equal(frame["TRT01P"], labels[arm])
    np.testing.assert_array_equal(frame["TRT01PN"], arm + 1)
    assert set(frame["SEX"]) == {"F", "M"}
    races = {"WHITE", "BLACK OR AFRICAN AMERICAN", "ASIAN", "OTHER"}
    assert set(frame["RACE"]) <= races
    black = people["ancestry"].values.ravel() == 1
    np.testing.assert_array_equal(frame["RACE"] == "BLACK OR AFRICAN AMERICAN", black)
    np.testing.assert_array_equal(frame["BLACKFL"] == "Y", black)
    np.testing.assert_array_equal(frame["AMIODAFL"] == "Y", people["amiodarone"].values.ravel() > 0)
    assert set(frame["CYP2C9"]) <= set(people["cyp2c9"].attrs["categories"])


def test_who_left_early_is_discontinued(frames, coag_tree):
    frame = frames["adsl"]
    left = coag_tree["randomisation"]["dropout_time"].values.ravel()
    np.testing.assert_array_equal(frame["EOSSTT"] == "DISCONTINUED", left < 28)
    assert 0 < (left < 28).sum() < 100  # the config has 6 % of 600 leave
    assert frame.loc[frame["EOSSTT"] == "COMPLETED", "EOSDY"].eq(28).all()
    assert frame["EOSDY"].between(1, 28).all()


def test_adeff_holds_the_endpoints_under_the_arm_that_was_given(frames, given):
    frame = frames["adeff"]
    assert len(frame) == 4 * 600
    ttr = frame[frame["PARAMCD"] == "TTR"]
    np.testing.assert_array_equal(ttr["AVAL"], given("endpoints", "ttr").ravel())
    np.testing.assert_array_equal(ttr["ANL01FL"] == "Y", given("endpoints", "ttr_valid").ravel())
    assert ttr["CNSR"].isna().all()


def test_times_to_events_are_censored_as_adam_says(frames, given):
    frame = frames["adeff"]
    first = frame[frame["PARAM"] == "Time to first INR in range"]
    event = given("endpoints", "first_therapeutic_inr_event").ravel()
    np.testing.assert_array_equal(first["CNSR"], (~event).astype(int))
    assert 0 < event.mean() < 1


def test_a_mean_difference_can_be_derived_from_adeff(frames, coag_tree):
    # The analysis "black" is not adjusted: its estimate is the difference of two means.
    subjects = frames["adsl"].loc[frames["adsl"]["BLACKFL"] == "Y", ["USUBJID"]]
    frame = frames["adeff"].merge(subjects, on="USUBJID")
    frame = frame[(frame["PARAMCD"] == "TTR") & (frame["ANL01FL"] == "Y")]
    means = frame.groupby(["SIMTRIAL", "TRTP"], observed=True)["AVAL"].mean().unstack()
    expected = coag_tree["estimates"]["estimate"].sel(analysis="black").values[0]
    found = means["Genotype-guided"] - means["Clinically guided"]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_adlb_holds_the_first_trial_s_measurements_at_kept_visits(frames, given):
    frame = frames["adlb"]
    assert set(frame["SIMTRIAL"]) == {0}
    attended = given("outcomes", "attended")[0, 0]
    assert len(frame) == attended.sum()
    np.testing.assert_array_equal(
        frame["AVAL"], given("outcomes", "inr_measured")[0, 0][attended].astype(float)
    )
    time = given("outcomes", "time")[0, 0][attended]
    np.testing.assert_array_equal(frame["ADY"], np.floor(time) + 1)
    assert frame["AVISIT"].iloc[0] == f"Day {frame['ADY'].iloc[0]}"
    # True values are for the simulation alone to know.
    assert not np.isin(given("outcomes", "inr")[0, 0][attended][20:60], frame["AVAL"]).any()


def test_the_baseline_is_the_last_value_before_the_first_dose(frames):
    frame = frames["adlb"]
    baseline = frame[frame["ABLFL"] == "Y"]
    assert baseline["USUBJID"].is_unique
    assert baseline["ADY"].eq(1).all()
    assert baseline["CHG"].eq(0).all()
    # Visits are kept with a probability of 0.95; who missed the first has no baseline.
    assert 120 < len(baseline) < 150
    others = ~frame["USUBJID"].isin(baseline["USUBJID"])
    assert others.any()
    assert frame.loc[others, "BASE"].isna().all()
    seen = frame[~others]
    merged = seen["USUBJID"].map(baseline.set_index("USUBJID")["AVAL"])
    np.testing.assert_array_equal(seen["BASE"], merged)
    np.testing.assert_allclose(seen["CHG"], seen["AVAL"] - merged)


def test_adex_holds_the_prescribed_doses(frames, given):
    frame = frames["adex"]
    attended = given("outcomes", "attended")[0, 0]
    np.testing.assert_array_equal(frame["AVAL"], given("outcomes", "daily_dose")[0, 0][attended])


def test_more_trials_can_be_asked_for(coag_tree, coag_study, frames):
    for make, name in ((adlb, "adlb"), (adex, "adex")):
        frame = make(coag_tree, coag_study, trials=3)
        assert set(frame["SIMTRIAL"]) == {0, 1, 2}
        first = frame[frame["SIMTRIAL"] == 0].reset_index(drop=True)
        np.testing.assert_array_equal(first["AVAL"], frames[name]["AVAL"])


def test_what_was_not_kept_has_no_dataset(coag_tree, coag_study, frames):
    without_visits = coag_tree.copy()
    del without_visits["outcomes"]
    assert list(datasets(without_visits, coag_study)) == ["adsl", "adeff"]
    del without_visits["endpoints"]
    found = datasets(without_visits, coag_study)
    assert list(found) == ["adsl"]
    assert list(found["adsl"].columns) == [c for c in frames["adsl"].columns if c != "SOLVFL"]


def test_subjects_that_failed_are_not_analysed(coag_tree, coag_study, given):
    tree = coag_tree.copy()
    endpoints = tree["endpoints"].to_dataset()
    solved = endpoints["solved"].copy(deep=True)
    solved[0, 0, :, 5] = False
    tree["endpoints"] = endpoints.assign(solved=solved)
    subjects, endpoints = adsl(tree, coag_study), adeff(tree, coag_study)
    lost = subjects.loc[subjects["SOLVFL"] == "N", "USUBJID"].tolist()
    assert lost == ["COAG-0001-00006"]
    assert set(endpoints.loc[endpoints["USUBJID"] == lost[0], "ANL01FL"]) == {"N"}


def test_subjects_without_an_arm_are_nobody_s(coag_tree, coag_study):
    tree = coag_tree.copy()
    randomised = tree["randomisation"].to_dataset()
    arm = randomised["arm_number"].copy(deep=True)
    arm[0, 0, 7] = -1
    tree["randomisation"] = randomised.assign(arm_number=arm)
    frame = adsl(tree, coag_study)
    assert int(np.count_nonzero(frame["TRT01P"].isna())) == 1
    assert frame["ITTFL"].tolist()[7] == "N"
    assert "COAG-0001-00008" not in set(adlb(tree, coag_study)["USUBJID"])
    endpoints = adeff(tree, coag_study)
    theirs = (endpoints["SIMSUBJ"] == 7) & (endpoints["SIMTRIAL"] == 0)
    assert set(endpoints.loc[theirs, "ANL01FL"]) == {"N"}


def test_parquet_keeps_values_order_labels_and_units(frames, tmp_path):
    for name, frame in frames.items():
        path = tmp_path / f"{name}.parquet"
        write(frame, path)
        pd.testing.assert_frame_equal(pd.read_parquet(path), frame)
        schema = pq.read_schema(path)
        assert schema.metadata[b"label"].decode() == frame.attrs["label"]
        labels = {field.name: field.metadata[b"label"].decode() for field in schema}
        assert labels == frame.attrs["labels"]
    assert pq.read_schema(tmp_path / "adsl.parquet").field("HEIGHTBL").metadata[b"unit"] == b"cm"


def test_files_are_the_same_each_time(coag_tree, coag_study, tmp_path):
    for name in ("first", "second"):
        write(adsl(coag_tree, coag_study), tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_short_names_stay_apart():
    words = ["predicted_dose_genotype", "predicted_dose_clinical", "predicted_dose_x", "a-b", "ab"]
    assert short_names(words, []) == ["PREDICTE", "PREDICT2", "PREDICT3", "AB", "AB2"]
    assert short_names(["amiodarone", "amiodaquine"], [], suffix="FL") == ["AMIODAFL", "AMIOD2FL"]
    assert short_names(["age"], ["AGE"]) == ["AGE2"]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("COAG: genotype-guided", "COAG"),
        ("Warfarin, with and without genotyping", "WARFARIN-WITH-AND-WI"),
        ("EU-PACT: …", "EU-PACT"),
        ("…", "STUDY"),
    ],
)
def test_the_study_s_identifier_is_its_short_title(coag_study, title, expected):
    assert study_identifier(coag_study.config.model_copy(update={"title": title})) == expected
