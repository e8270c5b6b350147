"""Posteriors with closed forms, what is counted, and programs that are compiled once."""

import time
from typing import Any

import numpy as np
import numpyro
import pytest
import xarray as xr
from numpyro import distributions as dist

from cohorts.inference import TARGETS, Draws, ModelError, Progress, Sampling, run, sample

pytestmark = pytest.mark.optimised

SHORT = Sampling(chains=4, warmup=200, draws=200, target_acceptance=0.8)


def group(draws: Draws, name: str) -> xr.Dataset:
    return draws.tree[name].to_dataset()


def test_normal_mean_has_the_posterior_of_the_textbook(conjugate) -> None:
    y = np.array([0.3, 1.9, 1.1, 0.2, 2.5])
    draws = sample(conjugate, {"y": y}, Sampling(draws=2000, target_acceptance=0.8), seed=1)
    variance = 1 / (1 / 4 + y.size)
    mean = group(draws, "posterior")["mean"].to_numpy()
    # 8,000 draws, about a third as many independent ones: errors of 0.02 sd of the mean, 0.014 of
    # the sd; four times these.
    assert abs(mean.mean() - variance * y.sum()) < 4 * 0.02 * variance**0.5
    assert abs(mean.std() / variance**0.5 - 1) < 4 * 0.014


@pytest.mark.slow
def test_tree_has_arvizs_groups_with_plates_as_dims(schools, schools_data) -> None:
    draws = sample(schools, schools_data, SHORT, seed=1)
    assert group(draws, "posterior")["theta"].dims == ("chain", "draw", "school")
    assert group(draws, "posterior")["mu"].shape == (4, 200)
    assert group(draws, "log_likelihood")["y"].dims == ("chain", "draw", "school")
    assert group(draws, "warmup_sample_stats")["n_steps"].shape == (4, 200)
    stats = group(draws, "sample_stats")
    expected = "lp energy acceptance_rate step_size n_steps tree_depth diverging failed"
    expected = [*expected.split(), "reached_max_treedepth"]
    assert sorted(map(str, stats.data_vars)) == sorted(expected)
    assert np.all(stats["tree_depth"] == np.floor(np.log2(stats["n_steps"])) + 1)


def test_second_fit_of_other_data_compiles_nothing(schools, schools_data, compilations) -> None:
    sample(schools, schools_data, SHORT, seed=1)
    before, reached = compilations.count, []
    begun = time.process_time()
    other = {**schools_data, "y": schools_data["y"] + 1.0}
    again = sample(
        schools,
        other,
        SHORT,
        seed=2,
        progress=lambda _: reached.append(time.process_time() - begun),
    )
    assert compilations.count == before
    assert again.counts.compilations == 0
    assert reached[0] < 0.5


def test_seed_decides_the_draws(schools, schools_data) -> None:
    one, two, other = (
        group(sample(schools, schools_data, SHORT, seed=seed), "posterior")["mu"].to_numpy()
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert np.all(one[:, -1] != other[:, -1])


def test_counts_add_up(schools, schools_data) -> None:
    told: list[Progress] = []
    draws = sample(schools, schools_data, SHORT, seed=1, progress=told.append)
    steps = group(draws, "sample_stats")["n_steps"].sum()
    steps += group(draws, "warmup_sample_stats")["n_steps"].sum()
    assert draws.counts.leapfrog_steps == int(steps)
    assert draws.counts.gradients > draws.counts.leapfrog_steps
    assert told[-1].done == told[-1].total == 400


@pytest.mark.slow
def test_trajectories_that_meet_no_density_are_counted_and_never_moved_to() -> None:
    def cut_off(bound: Any) -> None:
        x = numpyro.sample("x", dist.Normal(0, 1))
        numpyro.factor("inside", np.log(1.0) * 0 + _minus_infinity_above(x, bound))

    draws = sample(cut_off, {"bound": np.array(0.5)}, SHORT, seed=1)
    stats = group(draws, "sample_stats")
    assert int(stats["failed"].sum()) > 0
    assert np.all(stats["diverging"].to_numpy()[stats["failed"].to_numpy()])
    assert draws.counts.failed >= int(stats["failed"].sum())
    assert float(group(draws, "posterior")["x"].max()) <= 0.5


def _minus_infinity_above(x: Any, bound: Any) -> Any:
    import jax.numpy as jnp

    return jnp.where(x > bound, -jnp.inf, 0.0)


def test_discrete_sites_are_refused_by_name() -> None:
    def mixture(y: Any) -> None:
        which = numpyro.sample("component", dist.Bernoulli(0.5))
        numpyro.sample("y", dist.Normal(which, 1), obs=y)

    with pytest.raises(ModelError, match="component.*discrete"):
        sample(mixture, {"y": np.zeros(3)}, SHORT, seed=1)


def centred_schools(y: Any, sigma: Any) -> None:
    """Effects themselves, whose scale may vanish: Neal's funnel."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", y.shape[0]):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


@pytest.mark.slow
def test_steps_are_shortened_where_trajectories_diverge_and_it_is_told(
    schools_data, tmp_path, monkeypatch
) -> None:
    settings = Sampling(warmup=150, draws=150)
    whole = sample(centred_schools, schools_data, settings, seed=1)
    assert "raised from 0.9 to 0.95" in whole.told[0]
    assert len(whole.told) <= len(TARGETS) - 1
    # Stopped in the second run, it goes on there.
    monkeypatch.setattr(run, "CHECKPOINT_SHARE", np.inf)

    def stop(progress: Progress) -> None:
        if progress.target > TARGETS[0] and progress.done > 60:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sample(centred_schools, schools_data, settings, seed=1, checkpoint=tmp_path, progress=stop)
    told: list[Progress] = []
    again = sample(
        centred_schools,
        schools_data,
        settings,
        seed=1,
        checkpoint=tmp_path,
        progress=told.append,
    )
    assert told[0].target == TARGETS[1] and told[0].done > 60
    assert again.told == whole.told
    assert again.counts.leapfrog_steps == whole.counts.leapfrog_steps
    np.testing.assert_array_equal(
        group(again, "posterior")["tau"], group(whole, "posterior")["tau"]
    )


def test_stated_target_is_kept(schools, schools_data, monkeypatch) -> None:
    """Whatever the trajectories say against it."""
    monkeypatch.setattr(run.convergence, "steps_too_long", lambda table: "too many diverge")
    assert sample(schools, schools_data, SHORT, seed=1).told == ()


@pytest.mark.slow
def test_stated_target_is_kept_in_a_funnel(schools_data) -> None:
    settings = Sampling(warmup=150, draws=150, target_acceptance=0.8)
    draws = sample(centred_schools, schools_data, settings, seed=1)
    assert draws.told == ()
    assert int(group(draws, "sample_stats")["diverging"].sum()) > 0
