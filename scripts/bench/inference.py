"""What posteriors cost: a gradient, effective draws a second, compilation, a second fit.

    uv run python scripts/bench/inference.py
    uv run python scripts/bench/inference.py --cases eight_schools --draws 2000 --json
    uv run python scripts/bench/inference.py --cases theophylline_tsit5 --rstan

Each case is fitted twice in one process, with seeds of its own: the first compiles, the second
shows what is left to wait for. With `--rstan` rstan fits the same posterior as well, in the order
engine, rstan, engine. README.md says how to read the numbers.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import distributions as dist

from cohorts import fits
from cohorts.data import Kind, PatientData
from cohorts.diagnosis import judge
from cohorts.fits.running import tolerances_of
from cohorts.inference import Draws, Joint, Sampling, sample
from cohorts.inference.density import Density
from cohorts.inference.numpyro_model import model_of
from cohorts.inference.parameterisation import centring
from insilico import models
from insilico.solve import Dose, Status, Tolerances, schedule, solve_traced
from insilico.solve.blocks import compiler_options
from scripts.bench import rstan

GRADIENTS = 200
"""Gradients in a row, in one call of a compiled program."""


def eight_schools(y: Any, sigma: Any) -> None:
    """Ten parameters, and a density of a few operations."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", y.shape[0]):
        effect = numpyro.sample("effect", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(mu + tau * effect, sigma), obs=y)


SATURABLE = models.get("one_compartment_michaelis_menten")
EVENTS, PATTERN = schedule(SATURABLE, [Dose(0.0, "depot", 30.0)], observe=np.arange(0.5, 10.5, 0.5))


def saturable_elimination(concentration: Any) -> None:
    """Four parameters, and an ODE with 20 observations: `one_comp_mm_elim_abs` of posteriordb."""
    rate, constant, maximal, sigma = (
        numpyro.sample(name, dist.HalfCauchy(1)) for name in ("k_a", "K_m", "V_m", "sigma")
    )
    parameters = SATURABLE.Parameters(
        *(jnp.reshape(value, 1) for value in (rate, 2.0, maximal, constant))
    )
    solution = solve_traced(
        SATURABLE,
        parameters,
        EVENTS,
        PATTERN,
        derivative="reverse",
        tolerances=Tolerances(max_steps=5000),
    )
    predicted = solution.outputs.concentration[0]
    solved = (solution.status[0] == Status.OK) & jnp.all(predicted > 0)
    error = dist.LogNormal(jnp.log(jnp.where(solved, predicted, 1.0)), sigma)
    log_density = jnp.sum(error.log_prob(concentration))
    numpyro.factor("concentration", jnp.where(solved, log_density, -jnp.inf))


class Case(NamedTuple):
    """A model and its data; the name of its Stan code, and the data for that, if there is any."""

    model: Callable[..., None]
    data: dict[str, Any]
    stan: str | None = None
    stan_data: Mapping[str, Any] = MappingProxyType({})


SCHOOLS = {
    "y": np.array([28.0, 8, -3, 7, -1, 1, 18, 12]),
    "sigma": np.array([15.0, 10, 16, 11, 9, 11, 10, 18]),
}
# posteriordb, one_comp_mm_elim_abs, BSD-3-Clause.
CONCENTRATIONS = np.array(
    """5.70812264865215 7.10126075072086 8.38520678426651 9.79008249883381 13.4390409239245
    11.4478987597702 11.2124282696837 11.4269217682577 12.2432859438401 13.8201804108938
    13.8408670746042 11.422291744251 10.5031943081843 11.9121452242965 14.0849980781312
    10.5505145523917 10.1905539351877 12.2232270592821 11.7290653047821 12.2719396535996""".split(),
    float,
)
THEOPHYLLINE = Path(__file__).resolve().parents[2] / "configs" / "fit_theophylline.yaml"


def theophylline(method: str) -> Case:
    """The population of `configs/fit_theophylline.yaml`: 12 subjects with 3 random effects each."""
    fit = fits.read(THEOPHYLLINE)
    tolerances = tolerances_of(fit.config.solver)
    joint, data = Joint.of(fit.population, fit.patients, method=method, tolerances=tolerances)
    given = {"data": data, "centred": centring(joint, data, fit.config.seed)}
    return Case(model_of(joint), given, "theophylline", _stan_data(fit.patients))


def _stan_data(patients: PatientData) -> dict[str, Any]:
    """Doses and measured values of subjects who have one dose each, at time 0."""
    columns = patients.records.columns
    kind = patients.measured.kind[columns.place, columns.patient]
    value = patients.measured.value[columns.place, columns.patient]
    seen = kind != Kind.NOTHING
    subject = columns.patient[seen]
    subjects = np.arange(len(patients.subjects))
    return {
        "subjects": len(subjects),
        "observations": len(subject),
        "first": (np.searchsorted(subject, subjects) + 1).tolist(),
        "last": np.searchsorted(subject, subjects, side="right").tolist(),
        "time": columns.time[seen].tolist(),
        "measured": value[seen].tolist(),
        "dose": columns.amount[columns.amount > 0].tolist(),
        "tolerance": 1e-6,
        # About the prior's medians: from its random starts some chains of rstan cannot solve.
        "start": {
            "typical_absorption_rate": 1.5,
            "typical_clearance": 3.0,
            "typical_central_volume": 30.0,
            "sd_absorption_rate": 0.3,
            "sd_clearance": 0.3,
            "sd_central_volume": 0.3,
            "residual_sd_concentration": 1.0,
            "effect": np.zeros((len(subjects), 3)).tolist(),
        },
    }


def saturable() -> Case:
    """The posterior of posteriordb."""
    times = np.arange(0.5, 10.5, 0.5).tolist()
    stan = {"observations": len(times), "time": times, "concentration": CONCENTRATIONS.tolist()}
    data = {"concentration": CONCENTRATIONS}
    return Case(saturable_elimination, data, "saturable_elimination", stan | {"tolerance": 1e-6})


CASES: dict[str, Callable[[], Case]] = {
    "eight_schools": lambda: Case(eight_schools, SCHOOLS),
    "saturable_elimination": saturable,
    "theophylline_taylor": lambda: theophylline("taylor"),
    "theophylline_tsit5": lambda: theophylline("tsit5"),
    "theophylline_closed_form": lambda: theophylline("closed_form"),
}


def gradient_microseconds(case: Case, draws: Draws, chains: int) -> float:
    """Of one gradient for all chains at once, where the posterior is; the quickest of five."""
    density, data = Density.of(case.model, case.data), jax.tree.map(jnp.asarray, case.data)
    last = {
        name: jnp.asarray(draws.tree["posterior"].to_dataset()[name].to_numpy()[:, -1])
        for name in density.shapes
    }
    gradient = jax.grad(lambda z: density.potential(z, data))

    def many(position: Any) -> Any:
        def body(_: Any, position: Any) -> Any:
            # The next depends on the one before, or the compiler would do them once.
            moved = jax.vmap(gradient)(position)
            return jax.tree.map(lambda z, g: z + 1e-12 * g, position, moved)

        return jax.lax.fori_loop(0, GRADIENTS, body, position)

    program = jax.jit(many, compiler_options=compiler_options())
    begin = jax.vmap(lambda values: density.unconstrained(values, data))(last)
    times = []
    for _ in range(6):
        began = time.perf_counter()
        jax.block_until_ready(program(begin))
        times.append(time.perf_counter() - began)
    return min(times[1:]) / GRADIENTS * 1e6


def measure(name: str, settings: Sampling, with_rstan: bool) -> dict[str, Any]:
    """One row."""
    case = CASES[name]()
    reached: list[float] = []

    def fit(seed: int) -> tuple[Draws, float, float]:
        reached.clear()
        began, computing = time.perf_counter(), time.process_time()
        draws = sample(
            case.model,
            case.data,
            settings,
            seed=seed,
            progress=lambda _: reached.append(time.perf_counter() - began),
        )
        return draws, reached[0], time.process_time() - computing

    first, to_first, _ = fit(1)
    second, to_second, computing = fit(2)
    verdict = judge(second.tree)
    seconds = second.counts.sampling_seconds
    row = {
        "case": name,
        "gradient of all chains, µs": gradient_microseconds(case, second, settings.chains),
        "leapfrog step of a chain, µs": seconds / second.counts.leapfrog_steps * 1e6,
        "bulk ESS/s": float(verdict.table["ess_bulk"].min()) / seconds,
        "tail ESS/s": float(verdict.table["ess_tail"].min()) / seconds,
        "compile s": first.counts.compile_seconds,
        "first fit samples after, s": to_first,
        "second fit samples after, s": to_second,
        "second fit, processor s": computing,
        "chains": second.layout.told,
        "compilations of the second": second.counts.compilations,
        "verdict": "passed" if verdict.passed else "; ".join(verdict.reasons),
    }
    if with_rstan and case.stan:
        row |= against_rstan(case, settings, lambda seed: fit(seed)[0])
    return row


def against_rstan(case: Case, settings: Sampling, fit: Callable[[int], Draws]) -> dict[str, Any]:
    """Effective draws of the population's parameters a second, of the engine before and after
    rstan, and the furthest that their means lie apart, in Monte-Carlo errors."""
    stan = case.stan
    assert stan is not None
    with tempfile.TemporaryDirectory() as folder:

        def by_rstan(seed: int, settings: Sampling = settings) -> rstan.StanFit:
            cores = os.cpu_count() or 1
            return rstan.fit(stan, case.stan_data, settings, seed, cores, Path(folder))

        # The first compiles, which is not what is compared.
        by_rstan(1, settings.model_copy(update={"warmup": 20, "draws": 4}))
        ours = [fit(3)]
        theirs = [by_rstan(3)]
        ours.append(fit(4))
    found = [{name: by_draw(draws, name) for name in theirs[0].draws} for draws in ours]
    ess = [rstan.least_ess(each) for each in found]
    apart = []
    for name in theirs[0].draws:
        both = [
            np.concatenate([each[name] for each in found], axis=1),
            np.concatenate([each.draws[name] for each in theirs], axis=1),
        ]
        error = math.hypot(*map(rstan.standard_error, both))
        apart.append(abs(both[0].mean() - both[1].mean()) / error)
    engine = [n / draws.counts.sampling_seconds for n, draws in zip(ess, ours, strict=True)]
    theirs_a_second = [each.bulk / each.seconds for each in theirs]
    return {
        "rstan": theirs[0].version,
        "rstan, s": [each.seconds for each in theirs],
        "rstan, processor µs a leapfrog step": [
            each.processor_seconds / each.steps * 1e6 for each in theirs
        ],
        "rstan, divergences": [each.diverged for each in theirs],
        "rstan, bulk ESS/s of the population": theirs_a_second,
        "engine, s": [draws.counts.sampling_seconds for draws in ours],
        "engine, bulk ESS/s of the population": engine,
        "engine over rstan": float(np.mean(engine) / np.mean(theirs_a_second)),
        "means apart, Monte-Carlo errors": float(max(apart)),
    }


def by_draw(draws: Draws, name: str) -> np.ndarray:
    """A scalar's draws, (chains, draws)."""
    return draws.tree["posterior"].to_dataset()[name].to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", default=",".join(CASES), help="comma-separated; default: all")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=500)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--layout", default="auto", help="auto, together or apart")
    parser.add_argument("--target", type=float, default=0.9, help="target acceptance")
    parser.add_argument("--rstan", action="store_true", help="fit by rstan as well, if R has it")
    parser.add_argument("--json", action="store_true", help="one object a case")
    options = parser.parse_args()
    settings = Sampling(
        chains=options.chains,
        warmup=options.warmup,
        draws=options.draws,
        target_acceptance=options.target,
        layout=options.layout,
    )
    if options.rstan and (why := rstan.missing()):
        parser.error(f"--rstan: {why}")
    for name in options.cases.split(","):
        if name not in CASES:
            parser.error(f"no case {name!r}; there are {', '.join(CASES)}")
        row = measure(name, settings, options.rstan)
        if options.json:
            print(json.dumps({"bench": "inference", **row}, ensure_ascii=False))
            continue
        for column, value in row.items():
            values = value if isinstance(value, list) else [value]
            shown = (f"{each:.3g}" if isinstance(each, float) else str(each) for each in values)
            print(f"{column:36} {', '.join(shown)}")
        print()


if __name__ == "__main__":
    main()
