"""Posteriors of posteriordb against its reference draws, with the models' Stan code in NumPyro.

Magnusson M, Torgander J, Bürkner PC, Zhang L, Carpenter B, Vehtari A. posteriordb: testing,
benchmarking and developing Bayesian inference algorithms. AISTATS 2025. The reference draws are
10 chains of 1,000, thinned to be nearly independent, by Stan.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from arviz_stats.base.array import array_stats
from numpyro import distributions as dist
from numpyro.distributions import constraints

from cohorts.diagnosis import judge
from cohorts.inference import Draws, Sampling, sample
from insilico import models
from insilico.solve import Dose, Status, Tolerances, schedule, solve_traced

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "posteriordb"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
Posterior = dict[str, np.ndarray]
"""Parameters by their names in Stan, each (chains, draws)."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference draws in {FOLDER}")


def stored(name: str) -> tuple[dict[str, Any], Posterior]:
    """A posterior's data and its reference draws."""
    (folder,) = FOLDER.glob(f"*{name}")
    data = json.loads((folder / "data.json").read_text())
    with zipfile.ZipFile(folder / "reference_draws.json.zip") as archive:
        chains = json.loads(archive.read(archive.namelist()[0]))
    names = chains[0]
    return data, {name: np.array([chain[name] for chain in chains]) for name in names}


def as_stan_names_them(draws: Draws, variables: dict[str, str]) -> Posterior:
    """Draws of some variables, by Stan's name and number from 1."""
    found = {}
    for ours, theirs in variables.items():
        values = draws.tree["posterior"].to_dataset()[ours].to_numpy()
        if values.ndim == 2:
            found[theirs] = values
        else:
            found |= {f"{theirs}[{i + 1}]": values[..., i] for i in range(values.shape[-1])}
    return found


def assert_agrees(found: Posterior, reference: Posterior) -> None:
    """Quantiles, and means of logarithms where positive, within four Monte-Carlo errors."""
    assert set(found) == set(reference)
    wrong = []

    def compare(what: str, ours: np.ndarray, theirs: np.ndarray, prob: float | None) -> None:
        method = "mean" if prob is None else "quantile"
        errors = [array_stats.mcse(x, method=method, prob=prob) for x in (ours, theirs)]
        found, wanted = (x.mean() if prob is None else np.quantile(x, prob) for x in (ours, theirs))
        if not abs(found - wanted) < 4 * np.hypot(errors[0], errors[1]):
            wrong.append(f"{what}: {found:.4g}, reference {wanted:.4g}, errors {errors}")

    for name, theirs in reference.items():
        ours = found[name]
        for prob in QUANTILES:
            compare(f"{name} {prob:.0%}", ours, theirs, prob)
        if theirs.min() > 0:
            compare(f"{name} mean of log", np.log(ours), np.log(theirs), None)
    assert not wrong, "\n".join(wrong)


def eight_schools_noncentered(y: Any, sigma: Any) -> None:
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", y.shape[0]):
        theta_trans = numpyro.sample("theta_trans", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", theta_trans * tau + mu)
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)


def autoregression(y: Any, lagged: Any) -> None:
    alpha = numpyro.sample("alpha", dist.Normal(0, 10))
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([lagged.shape[1]]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    numpyro.sample("y", dist.Normal(alpha + lagged @ beta, sigma), obs=y)


def flat(shape: tuple[int, ...], support: Any = constraints.real) -> Any:
    return dist.ImproperUniform(support, (), shape)


def log_earnings(log_earn: Any, height: Any) -> None:
    beta: Any = numpyro.sample("beta", flat((2,), constraints.real_vector))
    sigma = numpyro.sample("sigma", flat((), constraints.positive))
    numpyro.sample("log_earn", dist.Normal(beta[0] + beta[1] * height, sigma), obs=log_earn)


def kid_scores(kid_score: Any, mom_iq: Any) -> None:
    beta: Any = numpyro.sample("beta", flat((2,), constraints.real_vector))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    numpyro.sample("kid_score", dist.Normal(beta[0] + beta[1] * mom_iq, sigma), obs=kid_score)


SATURABLE = models.get("one_compartment_michaelis_menten")
# Its times are in days, and so are the constants: an hour of the model stands for a day.
EVENTS, PATTERN = schedule(SATURABLE, [Dose(0.0, "depot", 30.0)], observe=np.arange(0.5, 10.5, 0.5))


def saturable_elimination(concentration: Any) -> None:
    """One compartment, D = 30 mg in V = 2 L, with log-normal errors."""
    absorption = numpyro.sample("k_a", dist.HalfCauchy(1))
    constant = numpyro.sample("K_m", dist.HalfCauchy(1))
    maximal = numpyro.sample("V_m", dist.HalfCauchy(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(1))
    parameters = SATURABLE.Parameters(
        *(jnp.reshape(value, 1) for value in (absorption, 2.0, maximal, constant))
    )
    solution = solve_traced(
        SATURABLE,
        parameters,
        EVENTS,
        PATTERN,
        derivative="reverse",
        tolerances=Tolerances(relative=1e-8, absolute=1e-8, max_steps=5000),
    )
    predicted = solution.outputs.concentration[0]
    solved = (solution.status[0] == Status.OK) & jnp.all(predicted > 0)
    error = dist.LogNormal(jnp.log(jnp.where(solved, predicted, 1.0)), sigma)
    log_density = jnp.sum(error.log_prob(concentration))
    numpyro.factor("concentration", jnp.where(solved, log_density, -jnp.inf))


@pytest.mark.slow
def test_eight_schools() -> None:
    data, reference = stored("eight_schools_noncentered")
    arrays = {name: np.array(data[name], float) for name in ("y", "sigma")}
    draws = sample(eight_schools_noncentered, arrays, Sampling(draws=2500), seed=1)
    assert judge(draws.tree).passed
    assert_agrees(as_stan_names_them(draws, {n: n for n in ("theta", "mu", "tau")}), reference)


@pytest.mark.slow
def test_autoregression() -> None:
    data, reference = stored("arK-arK")
    y, lags = np.array(data["y"]), data["K"]
    lagged = np.column_stack([y[lags - k : -k] for k in range(1, lags + 1)])
    draws = sample(autoregression, {"y": y[lags:], "lagged": lagged}, Sampling(draws=2500), seed=1)
    assert judge(draws.tree).passed
    assert_agrees(as_stan_names_them(draws, {n: n for n in ("alpha", "beta", "sigma")}), reference)


@pytest.mark.slow
def test_earnings() -> None:
    data, reference = stored("logearn_height")
    arrays = {"log_earn": np.log(data["earn"]), "height": np.array(data["height"], float)}
    draws = sample(log_earnings, arrays, Sampling(draws=2500), seed=1)
    assert judge(draws.tree).passed
    assert_agrees(as_stan_names_them(draws, {n: n for n in ("beta", "sigma")}), reference)


@pytest.mark.slow
def test_kid_scores() -> None:
    data, reference = stored("kidscore_momiq")
    arrays = {name: np.array(data[name], float) for name in ("kid_score", "mom_iq")}
    draws = sample(kid_scores, arrays, Sampling(draws=2500), seed=1)
    assert judge(draws.tree).passed
    assert_agrees(as_stan_names_them(draws, {n: n for n in ("beta", "sigma")}), reference)


@pytest.mark.slow
def test_saturable_elimination() -> None:
    data, reference = stored("one_comp_mm_elim_abs")
    arrays = {"concentration": np.array(data["C_hat"])}
    draws = sample(saturable_elimination, arrays, Sampling(warmup=1000, draws=5000), seed=1)
    assert judge(draws.tree).passed, judge(draws.tree).reasons
    names = {n: n for n in ("k_a", "K_m", "V_m", "sigma")}
    assert_agrees(as_stan_names_them(draws, names), reference)
