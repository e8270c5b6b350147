"""Whole runs, small: what is drawn, treated, randomised and estimated, and that it all fits."""

import dataclasses
import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import trials
from trials import design
from trials.evaluation import endpoints_of
from trials.failures import failed_solves
from trials.naming import OF_A_SUBJECT
from trials.outcomes import Treated
from trials.simulation import Patients, _with_visits, same_treatment


def test_axes_are_the_field_s_in_their_order(coag_tree):
    assert coag_tree["outcomes"]["inr"].dims == ("population", "trial", "arm", "subject", "visit")
    assert coag_tree["endpoints"]["ttr"].dims == ("population", "trial", "arm", "subject")
    assert coag_tree["subjects"]["age"].dims == ("population", "trial", "subject")
    assert coag_tree["estimates"]["estimate"].dims == ("population", "trial", "analysis")
    assert not coag_tree.to_dataset().coords


def test_what_is_kept_beside_endpoints_and_covariates_is_known_to_checks(coag_study, coag_tree):
    """Which names a config cannot give to something of its own."""
    own = coag_study.config.endpoints
    beside = {str(name) for name in coag_tree["endpoints"].data_vars} - set(own)
    parts = {f"{name}_{part}" for name in own for part in design.PARTS}
    assert beside - parts == set(design.OF_A_SOLVE)
    own = set(coag_study.protocol.vocabulary)
    beside = {str(name) for name in coag_tree["subjects"].data_vars} - own
    assert {name for name in beside if not name.startswith("parameter_")} == set(OF_A_SUBJECT)


def test_outcomes_are_stored_in_single_precision(coag_tree):
    assert coag_tree["outcomes"]["inr"].dtype == np.float32


def test_nobody_failed(coag_tree):
    assert int(coag_tree["counts"]["failed"]) == 0
    assert coag_tree["failures"].sizes["failure"] == 0
    assert bool((coag_tree["endpoints"]["status"] == 0).all())


def test_visits_follow_the_schedule_and_its_rechecks(coag_tree):
    outcomes = coag_tree["outcomes"]
    used = outcomes["used"].values
    day = np.where(used, outcomes["time"].values + 1 - 9 / 24, np.nan)
    assert np.nanmax(np.abs(day - np.round(day))) < 1e-5
    assert np.nanmin(day) == pytest.approx(1) and np.nanmax(day) == pytest.approx(28)
    gaps = np.diff(day, axis=-1)
    assert np.nanmin(gaps) > 0.99
    # Slots are filled from the front.
    assert bool((used[..., 1:] <= used[..., :-1]).all())
    # Everybody who stays is seen on day 1, or the day after if that visit was missed.
    assert np.nanmax(day[..., 0]) == pytest.approx(1)


def test_both_arms_share_everything_that_does_not_depend_on_treatment(coag_tree):
    first = coag_tree["outcomes"]["inr_measured"].isel(visit=0)
    assert bool((first.isel(arm=0) == first.isel(arm=1)).all())


def test_randomisation_is_balanced_within_strata(coag_tree):
    arm = coag_tree["randomisation"]["arm_number"].values
    stratum = coag_tree["randomisation"]["stratum"].values
    for trial in range(arm.shape[1]):
        for code in np.unique(stratum[0, trial]):
            here = arm[0, trial][stratum[0, trial] == code]
            # Blocks of four: no stratum is ever more than two apart.
            assert abs(int((here == 0).sum()) - int((here == 1).sum())) <= 2


def test_factors_and_subsets_of_one_name_are_both_kept(coag_tree):
    black = coag_tree["subjects"]["ancestry"] == 1
    for name in ("factor_black", "subset_black"):
        assert bool((coag_tree["randomisation"][name] == black).all())
    assert not bool((coag_tree["randomisation"]["subset_non_black"] & black).any())


def test_endpoints_follow_from_the_stored_outcomes(coag_study, coag_tree):
    outcomes = coag_tree["outcomes"]
    values = {name: outcomes[name].values for name in ("inr_measured", "inr", "daily_dose")}
    again = endpoints_of(
        coag_study.config, outcomes["time"].values, outcomes["attended"].values, values
    )
    for name in coag_study.config.endpoints:
        stored = coag_tree["endpoints"][name].values
        np.testing.assert_array_equal(np.asarray(again[name]["value"]), stored, err_msg=name)


def test_the_unadjusted_means_are_those_of_the_randomised_arms(coag_tree):
    ttr = coag_tree["endpoints"]["ttr"].values
    valid = coag_tree["endpoints"]["ttr_valid"].values
    arm = coag_tree["randomisation"]["arm_number"].values
    for number in (0, 1):
        chosen = (arm == number) & valid[:, :, number]
        mean = np.array(
            [ttr[0, trial, number][chosen[0, trial]].mean() for trial in range(arm.shape[1])]
        )
        found = (
            coag_tree["estimates"]["mean"].sel(analysis="primary").isel(population=0, arm=number)
        )
        np.testing.assert_allclose(found.values, mean, rtol=1e-12)


def test_who_is_last_seen_when_the_window_opens_has_no_time_in_it(coag_study):
    """Days 1 and 4, of days 4 to 28: and not a few seconds that are all in range."""
    time = jnp.array([0.375, 3.375, 0.0], jnp.float32)
    measured = {"inr_measured": jnp.array([1.0, 2.5, 0.0]), "daily_dose": jnp.full(3, 5.0)}
    found = endpoints_of(coag_study.config, time, jnp.array([True, True, False]), measured)
    assert not found["ttr"]["valid"] and np.isnan(found["ttr"]["value"])
    assert found["inr_above_4"]["valid"] and found["first_therapeutic_inr"]["event"]


def test_rosendaal_by_hand_for_one_subject(coag_tree):
    """The percentage in range of one subject by summing a fine grid."""
    where = {"population": 0, "trial": 1, "arm": 0, "subject": 7}
    outcomes = coag_tree["outcomes"].to_dataset().isel(where)
    kept = outcomes["attended"].values
    time, inr = outcomes["time"].values[kept], outcomes["inr_measured"].values[kept]
    grid = np.linspace(3 + 9 / 24, 27 + 9 / 24, 200_001)
    grid = grid[(grid >= time[0]) & (grid <= time[-1])]
    value = np.interp(grid, time, inr)
    share = 100 * np.mean((value >= 2) & (value <= 3))
    assert float(coag_tree["endpoints"]["ttr"].isel(where)) == pytest.approx(share, abs=0.01)


@pytest.mark.slow
def test_a_gene_that_only_one_arm_looks_at_changes_only_that_arm(coag_tree, coag, small):
    known: Any = trials.simulate(
        trials.read(coag, [*small, "availability.genotype.known=[{day: 1, share: 1.0}]"])
    )
    here, there = coag_tree["outcomes"]["inr"], known["outcomes"]["inr"]
    assert bool((here.sel(arm="clinically_guided") == there.sel(arm="clinically_guided")).all())
    assert not bool((here.sel(arm="genotype_guided") == there.sel(arm="genotype_guided")).all())


def test_subjects_that_cannot_be_solved_are_counted_and_shown_and_fail_the_run(coag, small):
    study = trials.read(coag, [*small, "solver.max_steps=700"])
    with pytest.raises(trials.TooManyFailures, match="solves failed") as caught:
        trials.simulate(study)
    results: Any = caught.value.results
    failed = int(results["counts"]["failed"])
    assert 0 < failed == results["failures"].sizes["failure"]
    assert set(results["failures"]["status"].values) == {"step limit reached"}
    assert np.isfinite(results["failures"]["parameter_clearance"].values).all()
    # The state in which each stopped, component by component.
    assert (results["failures"]["state_gut"].values >= 0.0).all()
    assert np.isfinite(results["failures"]["state_fast[0]"].values).all()
    n = results["estimates"]["n"].sel(analysis="final_dose").values.sum()
    arm = results["randomisation"]["arm_number"].values
    solved = results["endpoints"]["solved"].values
    given = np.where(arm == 0, solved[:, :, 0], solved[:, :, 1])
    doses = results["endpoints"]["final_weekly_dose"].values
    measured = np.isfinite(np.where(arm == 0, doses[:, :, 0], doses[:, :, 1]))
    assert 0 < n == (given & measured).sum() < arm.size


def test_scenarios_share_a_program_only_where_patients_go_through_the_same(coag_study):
    apart = {"cohort", "truth", "analyses", "success", "sensitivity", "published"}
    for section in ("model", "arms", "drug", "visits", "trial", "solver", *apart):
        config = coag_study.config.model_copy(update={section: None})
        other = dataclasses.replace(coag_study, config=config)
        assert same_treatment(coag_study, other) == (section in apart), section
    other_spread = coag_study.changed(["cohort.options.spread=variance"])
    assert same_treatment(coag_study, other_spread)


_DIGEST = """
import sys
from insilico import devices
devices.use_host_devices(int(sys.argv[1]))
import hashlib, jax, numpy as np, trials
assert jax.local_device_count() == int(sys.argv[1])
tree = trials.simulate(trials.read(sys.argv[2], sys.argv[3:]))
digest = hashlib.sha256()
for group in ("subjects", "randomisation", "outcomes", "endpoints", "estimates", "truth"):
    dataset = tree[group].to_dataset()
    for name in sorted(dataset.data_vars):
        digest.update(np.ascontiguousarray(dataset[name].values).tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_results_are_the_same_to_the_bit_on_one_device_and_on_two(coag, small):
    def digest(devices: int) -> str:
        command = [sys.executable, "-c", _DIGEST, str(devices), str(coag), *small]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert digest(1) == digest(2)


@pytest.mark.slow
def test_a_subject_does_not_depend_on_how_many_are_simulated(coag_tree, coag, small):
    more: Any = trials.simulate(trials.read(coag, [*small, "trial.replicates=9"]))
    for name in ("inr", "inr_measured", "daily_dose", "time"):
        few, many = coag_tree["outcomes"][name].values, more["outcomes"][name].values
        np.testing.assert_array_equal(few, many[:, :4], err_msg=name)


@pytest.mark.parametrize(
    ("keep", "gone"), [("endpoints", {"outcomes", "doses"}), ("estimates", {"endpoints"})]
)
def test_what_is_kept_is_a_choice(keep, gone, bioequivalence, crossover_tree):
    kept = trials.simulate(trials.read(bioequivalence, f"keep={keep}"))
    assert set(crossover_tree.children) - set(kept.children) == gone | {"outcomes", "doses"}
    found, whole = (tree["estimates"].to_dataset() for tree in (kept, crossover_tree))
    np.testing.assert_array_equal(found["estimate"], whole["estimate"])


def test_effects_say_what_they_are(coag_tree):
    """Scale and unit are those of the stored numbers: fractions and logarithms have no unit."""
    said = {
        "primary": ("difference in means", "percentage points"),
        "high_inr": ("risk difference", ""),
        "first_in_range": ("difference in restricted mean time", "d"),
        "final_dose": ("difference in means", "mg/wk"),
    }
    for group in ("estimates", "truth", "operating_characteristics", "sensitivity"):
        dataset = coag_tree[group].to_dataset()
        for analysis, (scale, unit) in said.items():
            one = dataset.sel(analysis=analysis)
            assert (one["scale"].item(), one["unit"].item()) == (scale, unit)
        assert all(column.attrs["long_name"] for column in dataset.data_vars.values())


def test_endpoints_say_their_unit_and_their_name(coag_study, coag_tree):
    endpoints = coag_tree["endpoints"].to_dataset()
    assert endpoints["ttr"].attrs["units"] == "%"
    for name, spec in coag_study.config.endpoints.items():
        assert endpoints[name].attrs["long_name"] == (spec.label or name)
        assert endpoints[f"{name}_valid"].attrs["long_name"].startswith(spec.label or name)


def test_visits_take_the_room_that_they_need():
    arms, subjects, room = 2, 3, 5
    count = np.array([[1, 3, 2], [0, 2, 3]])
    used = np.arange(room) < count[..., None]
    time = np.where(used, np.arange(room) + 1.0, 0.0)
    nothing = np.zeros((arms, subjects))
    treated = Treated(
        time, used, used, {"inr": 2 * time}, nothing, {}, nothing, nothing, nothing, {}, nothing
    )
    three = _with_visits(treated, 3)
    assert {column.shape[-1] for column in (three.time, three.used, three.values["inr"])} == {3}
    again = _with_visits(three, room)
    np.testing.assert_array_equal(again.time, time)
    np.testing.assert_array_equal(again.used, used)
    np.testing.assert_array_equal(again.values["inr"], 2 * time)


def test_states_of_failed_solves_stand_in_the_order_of_failures():
    def part(numbers, status) -> Patients:
        arms, subjects = status.shape
        none = np.zeros((arms, subjects))
        treated = Treated(
            none[..., None], none[..., None] > 0, none[..., None] > 0, {}, none[..., None], {},
            status, none, none, {"gut": numbers[status > 0]}, none,
        )  # fmt: skip
        return Patients({"subject": {"attempts": np.ones(subjects)}}, treated)

    first = part(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1, 0], [1, 1]]))
    second = part(np.array([[5.0], [6.0]]), np.array([[2], [0]]))
    whole = Patients.joined([first, second])
    failed = failed_solves(whole)
    places = list(zip(failed.condition, failed.subject, strict=True))
    assert places == [(0, 0), (0, 2), (1, 0), (1, 1)]
    assert whole.treated.state["gut"].tolist() == [1.0, 5.0, 3.0, 4.0]
