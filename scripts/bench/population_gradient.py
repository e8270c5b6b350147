"""The gradient of a population's joint density, by lanes and by `vmap(diffrax.diffeqsolve)`.

    uv run python scripts/bench/population_gradient.py
    uv run python scripts/bench/population_gradient.py --subjects 100,1000 --repeats 5 --json

The population of `configs/fit_theophylline.yaml` with its twelve subjects many times over, each
with random effects of its own. Both sides share everything but the solve: method (Tsit5 at
tolerances of 1e-6), times, likelihood, priors, and differentiation by `jax.grad` with respect to
the population's parameters and all random effects. diffrax has its default adjoint; `--max-steps`
is what that adjoint's memory is laid out for. They run in the order A B B A.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cohorts import fits
from cohorts.inference import Joint
from cohorts.inference.likelihood import observed
from insilico.solve import Tolerances
from insilico.solve.blocks import compiler_options

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs" / "fit_theophylline.yaml"
SUBJECTS = 12
TOLERANCE = 1e-6
Gradient = Callable[[Any, Any], Any]


def population(subjects: int) -> tuple[Joint, Any, jax.Array, jax.Array]:
    """The joint density of so many subjects, their data, and a point where the posterior is."""
    table = pd.read_csv(CONFIG.parent / "data" / "theophylline.csv", dtype=str)
    copies = -(-subjects // SUBJECTS)
    many = pd.concat(
        [table.assign(ID=table.ID.astype(int) + SUBJECTS * copy) for copy in range(copies)]
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "theophylline.csv"
        many[many.ID.between(1, subjects)].to_csv(file, index=False)
        fit = fits.read(CONFIG, [f"data.file={file}"])
    joint, data = Joint.of(
        fit.population,
        fit.patients,
        method="tsit5",
        tolerances=Tolerances(relative=TOLERANCE, absolute=TOLERANCE),
    )
    theta = joint.unconstrained(
        {
            "typical_absorption_rate": 1.6,
            "typical_clearance": 2.8,
            "typical_central_volume": 32.0,
            "sd_absorption_rate": 0.6,
            "sd_clearance": 0.27,
            "sd_central_volume": 0.14,
            "residual_sd_concentration": 0.7,
        },
        data,
    )
    typical = joint.typical(theta, data)
    names = [name.removeprefix("log_") for name in joint.effects]
    centre = np.log([float(getattr(typical, f"typical_{name}")) for name in names])
    sd = [float(getattr(typical, f"sd_{name}")) for name in names]
    noise = np.random.default_rng(1).normal(size=(len(names), subjects))
    return joint, data, theta, jnp.asarray(centre[:, None] + np.array(sd)[:, None] * noise)


def by_lanes(joint: Joint, data: Any) -> Gradient:
    """The engine's own."""
    return jax.grad(lambda theta, x: joint.log_density(theta, x, data), argnums=(0, 1))


def by_diffrax(joint: Joint, data: Any, max_steps: int) -> Gradient:
    """The same density, its solves one `diffeqsolve` a subject under `vmap`."""
    times, dose = data.table.time, jnp.sum(data.table.amount, axis=0)

    def rates(t: Any, y: Any, own: Any) -> Any:
        absorbed = own.absorption_rate * y[0]
        return -absorbed, absorbed - own.clearance / own.central_volume * y[1]

    def solve(own: Any, times: Any, dose: Any) -> Any:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(rates),
            diffrax.Tsit5(),
            t0=0.0,
            t1=times[-1],
            dt0=None,
            y0=(dose, jnp.zeros_like(dose)),
            args=own,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
            max_steps=max_steps,
        )
        assert solution.ys is not None
        return solution.ys[1] / own.central_volume

    def log_density(theta: Any, x: Any) -> Any:
        own = joint.parameters(theta, x, data)
        concentration = jax.vmap(solve, in_axes=(0, 1, 0), out_axes=1)(own, times, dose)
        residuals = {name: joint.population.residual[name] for name in joint.outputs}
        solved = jnp.zeros(joint.subjects, int)
        predicted = observed(residuals, joint.typical(theta, data), (concentration,), solved, data)
        likelihood = joint.log_likelihood(predicted, data)
        effects = joint.log_effects(theta, x, data)
        return joint.log_prior(theta, data) + jnp.sum(effects + likelihood)

    return jax.grad(log_density, argnums=(0, 1))


def measure(subjects: int, repeats: int, max_steps: int) -> dict[str, Any]:
    """One row: medians of `repeats` rounds."""
    joint, data, theta, x = population(subjects)
    seconds: dict[str, list[float]] = {"lanes": [], "diffrax": []}
    programs, found, compile_seconds = {}, {}, {}
    makes = {"lanes": by_lanes(joint, data), "diffrax": by_diffrax(joint, data, max_steps)}
    for name, gradient in makes.items():
        began = time.perf_counter()
        options = compiler_options() if name == "lanes" else None
        programs[name] = jax.jit(gradient, compiler_options=options)
        found[name] = jax.block_until_ready(programs[name](theta, x))
        compile_seconds[name] = time.perf_counter() - began
    apart = [
        float(jnp.max(jnp.abs(ours - theirs)) / jnp.max(jnp.abs(theirs)))
        for ours, theirs in zip(found["lanes"], found["diffrax"], strict=True)
    ]
    for _ in range(repeats):
        for name in ("lanes", "diffrax", "diffrax", "lanes"):
            began = time.perf_counter()
            jax.block_until_ready(programs[name](theta, x))
            seconds[name].append(time.perf_counter() - began)
    median = {name: float(np.median(each)) for name, each in seconds.items()}
    return {
        "subjects": subjects,
        "lanes, µs a subject": median["lanes"] / subjects * 1e6,
        "diffrax, µs a subject": median["diffrax"] / subjects * 1e6,
        "diffrax over lanes": median["diffrax"] / median["lanes"],
        "lanes, first s": compile_seconds["lanes"],
        "diffrax, first s": compile_seconds["diffrax"],
        "gradients apart": max(apart),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--subjects", default="100,1000,10000", help="comma-separated")
    parser.add_argument("--repeats", type=int, default=5, help="rounds of A B B A")
    parser.add_argument("--max-steps", type=int, default=4096, help="of diffrax; its default")
    parser.add_argument("--json", action="store_true", help="one object a size")
    options = parser.parse_args()
    for subjects in map(int, options.subjects.split(",")):
        row = measure(subjects, options.repeats, options.max_steps)
        if options.json:
            print(json.dumps({"bench": "population_gradient", **row}, ensure_ascii=False))
        else:
            print(", ".join(f"{name} {value:.3g}" for name, value in row.items()))


if __name__ == "__main__":
    main()
