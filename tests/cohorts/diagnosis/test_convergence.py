"""Verdicts on chains that are good, and on chains that are bad in one way each."""

from typing import Any

import arviz_base
import arviz_stats
import numpy as np
import pytest
import xarray as xr

from cohorts.diagnosis import judge
from cohorts.diagnosis.convergence import steps_too_long

RNG = np.random.default_rng(20261128)


def tree(draws: np.ndarray | None = None, **stats: Any) -> xr.DataTree:
    """Four chains of 1,000 independent normal draws, but for what is given."""
    shape = (4, 1000)
    good = {
        "diverging": np.zeros(shape, bool),
        "energy": RNG.normal(size=shape),
        "reached_max_treedepth": np.zeros(shape, bool),
    }
    draws = RNG.normal(size=(*shape, 2)) if draws is None else draws
    groups = {"posterior": {"clearance": draws}, "sample_stats": {**good, **stats}}
    return arviz_base.from_dict(groups, dims={"clearance": ["arm"]}, coords={"arm": ["a", "b"]})


def reasons(bad: xr.DataTree) -> str:
    verdict = judge(bad)
    assert not verdict.passed and len(verdict.reasons) >= 1
    return "; ".join(verdict.reasons)


def test_independent_draws_pass_with_arvizs_numbers():
    good = tree()
    verdict = judge(good)
    assert verdict.passed and verdict.reasons == ()
    assert steps_too_long(verdict.table) is None
    az: Any = arviz_stats
    summary = az.summary(good, kind="all", ci_prob=0.9, ci_kind="eti", round_to="none")
    table = verdict.table.to_dataframe().xs(0, level="chain")
    assert list(table.index) == ["clearance[a]", "clearance[b]"]
    for name in ("mean", "sd", "r_hat", "ess_bulk", "mcse_mean", "mcse_sd"):
        np.testing.assert_allclose(table[name], summary[name], rtol=1e-10)
    # The summary's own tails are those of ArviZ's default interval.
    tails = az.ess(good, method="tail", prob=(0.05, 0.95))["clearance"]
    np.testing.assert_allclose(table["ess_tail"], tails, rtol=1e-10)


def test_chain_that_is_elsewhere_is_told_by_r_hat():
    draws = RNG.normal(size=(4, 1000, 2))
    draws[2, :, 1] += 1.0
    assert "R-hat: clearance[b] 1." in reasons(tree(draws))


def test_slow_chains_are_told_by_their_effective_sample_sizes():
    slow = np.empty((4, 1000, 2))
    slow[:, 0] = RNG.normal(size=(4, 2))
    for i in range(1, 1000):
        slow[:, i] = 0.99 * slow[:, i - 1] + np.sqrt(1 - 0.99**2) * RNG.normal(size=(4, 2))
    told = reasons(tree(slow))
    assert "effective sample size: clearance" in told
    assert "effective sample size in the tails: clearance" in told
    assert steps_too_long(judge(tree(slow)).table) is None, "all is slow alike"


def test_tails_that_are_slower_than_the_bulk_ask_for_shorter_steps():
    table = judge(tree()).table
    table["ess_tail"][1] = 300.0
    assert "clearance[b] was 300 in the tails" in str(steps_too_long(table))


@pytest.mark.parametrize("name, value", [("divergences", 2), ("e_bfmi", 0.2)])
def test_divergences_and_energy_ask_for_shorter_steps(name: str, value: float):
    table = judge(tree()).table
    table[name][0] = value
    assert steps_too_long(table) is not None


def test_one_divergence_is_a_reason():
    diverging = np.zeros((4, 1000), bool)
    diverging[3, 7] = True
    assert "1 of 4000 trajectories diverged" in reasons(tree(diverging=diverging))


def test_energy_that_hardly_changes_is_a_reason():
    energy = RNG.normal(size=(4, 1000))
    energy[1] = np.cumsum(energy[1])
    assert "E-BFMI is 0.0" in (told := reasons(tree(energy=energy))) and "chain 1" in told


def test_trees_that_may_not_grow_are_a_reason():
    deepest = np.zeros((4, 1000), bool)
    deepest[0, :30] = True
    assert "3% of a chain's trajectories" in reasons(tree(reached_max_treedepth=deepest))


def test_constants_are_not_judged_and_nothing_else_is_left_out():
    draws = RNG.normal(size=(4, 1000, 2))
    draws[:, :, 0] = 3.0
    assert list(judge(tree(draws)).table["parameter"]) == ["clearance[b]"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_draws_that_are_no_numbers_do_not_pass(bad: float):
    draws = RNG.normal(size=(4, 1000, 2))
    draws[0, 0, 0] = bad
    assert "R-hat: clearance[a]" in reasons(tree(draws))


def test_codes_are_no_parameters():
    # Which component of a mixture a subject belongs to: another one in one draw of one chain.
    good, code = tree(), np.zeros((4, 1000, 2), int)
    code[0, 0, 0] = 1
    both = good["posterior"].to_dataset().assign(speed=(("chain", "draw", "arm"), code))
    good["posterior"] = xr.DataTree(both)
    verdict = judge(good)
    assert verdict.passed
    assert list(verdict.table["parameter"].values) == ["clearance[a]", "clearance[b]"]
