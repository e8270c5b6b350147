"""The GPU's kernel against XLA's driver: are they the same, and how fast is each?

    python scripts/bench/kernel_check.py --data shared/bench

One JSON object a row. First every problem is solved by both drivers and compared in each precision;
then both are timed from 1,000 patients up, the kernel with several numbers of lanes and warps a
program. On a machine without a GPU the kernel is interpreted and sizes are tiny: that checks the
check, and its times mean nothing. Needs JAX, diffrax, NumPy and jaxtyping alone.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from insilico import devices as _devices  # noqa: F401  (float64 before anything is traced)

import jax  # isort: skip
import jax.numpy as jnp
import numpy as np

from insilico import models
from insilico.solve import Choice, Launch, Tolerances, methods, schedule, solve_block, walk
from insilico.solve.adaptive import advance
from scripts.bench.problems import MissingProblems, Problem, load
from scripts.bench.tools.insilico_xla import MODELS, actions_of

REPOSITORY = Path(__file__).resolve().parents[2]
UNIT = 256
"""Sizes are multiples of it, so that every number of lanes fills its programs."""
COMPARED = 10_000
NOMINAL = {"float64": Tolerances(1e-6, 1e-8), "float32": Tolerances(1e-4, 1e-4)}
TYPICALLY, AT_MOST = {"float64": 1e-10, "float32": 1e-4}, {"float64": 1e-4, "float32": 1e-2}
"""Differences relative to an output's largest value that are still rounding, of the median patient
and of all. Where a rounding lets one step be judged otherwise, solutions differ by a part of the
tolerance; a hundred of it bounds what explicit steps at the limit of their stability make of that.
"""


class Work(NamedTuple):
    """A problem in one precision; `solved(driver, launch)` is a function of parameters."""

    problem: Problem
    precision: str
    solved: Callable[[str, Launch], Callable[[Any], Any]]
    parameters: Callable[[int], Any]
    numbers_a_patient: int


def main(arguments: list[str] | None = None) -> int:
    """Run the check; returns 0 where the drivers agree, 1 where not, 2 where it cannot run."""
    options = _options(arguments)
    on_gpu = jax.default_backend() == "gpu"
    sizes = options.sizes or ([10**power for power in range(3, 8)] if on_gpu else [UNIT])
    compared = options.compared or (COMPARED if on_gpu else UNIT)
    launches = [Launch(lanes, warps) for lanes in options.lanes for warps in options.warps]
    launches = (
        [each for each in launches if each.lanes >= 32 * each.warps] if on_gpu else launches[:1]
    )
    until = time.monotonic() + options.seconds
    _print(
        device=str(jax.devices()[0].device_kind), backend=jax.default_backend(),
        jax=jax.__version__, jaxlib=version("jaxlib"), python=sys.version.split()[0],
    )  # fmt: skip
    try:
        work = [
            _work(load(name, options.data), precision, on_gpu)
            for name in options.problems
            for precision in options.precisions
        ]
    except MissingProblems as error:
        print(error, file=sys.stderr)
        return 2
    agree = [_compare(each, _rounded(compared)) for each in work]
    for size in sizes:
        for each in work:
            for row in _timed(each, _rounded(size), launches, options, until):
                _print(problem=each.problem.name, precision=each.precision, **row)
    return 0 if all(agree) else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])

    def listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
        return lambda text: [kind(each) for each in text.split(",")]

    parser.add_argument("--problems", type=listed(str), default=list(MODELS))
    parser.add_argument("--precisions", type=listed(str), default=list(NOMINAL))
    parser.add_argument("--sizes", type=listed(lambda text: int(float(text))), help="patients")
    parser.add_argument("--compared", type=int, help="patients of the comparison")
    parser.add_argument("--lanes", type=listed(int), default=[32, 64, 128], help="a program")
    parser.add_argument("--warps", type=listed(int), default=[1, 2, 4], help="a program")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--xla-up-to",
        type=int,
        default=10**6,
        help="patients beyond which only the kernel is timed",
    )
    parser.add_argument(
        "--gigabytes", type=float, default=30.0, help="results beyond which a size is left out"
    )
    parser.add_argument(
        "--seconds", type=float, default=540.0, help="after which no more timings are begun"
    )
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "bench")
    return parser.parse_args(arguments)


def _work(problem: Problem, precision: str, on_gpu: bool) -> Work:
    model = models.get(MODELS[problem.name])
    events, pattern = schedule(
        model, actions_of(problem, model), observe=problem.output_times.tolist()
    )
    numbers = NOMINAL[precision].numbers()
    by_xla = functools.partial(advance, methods.get(model.method))

    def solved(driver: str, launch: Launch) -> Callable[[Any], Any]:
        if driver == "xla":
            # All patients as lanes side by side: on a GPU that is how XLA keeps it busy.
            return lambda own: walk(model, own, events, pattern, numbers, advance=by_xla)
        choice = Choice("kernel", "it is checked", launch, interpreted=not on_gpu)
        return lambda own: solve_block(model, own, events, pattern, numbers, driver=choice)

    def parameters(patients: int) -> Any:
        rows = problem.parameters[np.arange(patients) % len(problem.parameters)]
        return model.Parameters(*(jnp.asarray(column, precision) for column in rows.T))

    outputs = len(problem.output_times) * len(model.Outputs._fields)
    return Work(problem, precision, solved, parameters, outputs + 2 * len(model.components()))


def _rounded(patients: int) -> int:
    return UNIT * -(-patients // UNIT)


def _compiled(work: Work, driver: str, launch: Launch, parameters: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    program = jax.jit(work.solved(driver, launch)).lower(parameters).compile()
    return program, time.perf_counter() - began


def _compare(work: Work, patients: int) -> bool:
    parameters = work.parameters(patients)
    walks = {
        driver: jax.tree.map(
            np.asarray, _compiled(work, driver, Launch(), parameters)[0](parameters)
        )
        for driver in ("xla", "kernel")
    }
    outputs = {name: np.stack(list(each.outputs), -1) for name, each in walks.items()}
    # (times, patients, outputs); each output by its largest value.
    scale = np.abs(outputs["xla"]).max(axis=(0, 1))
    apart = np.abs(outputs["kernel"] - outputs["xla"]) / scale
    steps = [each.steps for each in walks.values()]
    largest = float(np.max(apart))
    median = float(np.median(apart.max(axis=(0, 2))))
    agree = (
        largest <= AT_MOST[work.precision]
        and median <= TYPICALLY[work.precision]
        and np.array_equal(walks["xla"].status, walks["kernel"].status)
    )
    _print(
        problem=work.problem.name, precision=work.precision, compared=patients, agree=bool(agree),
        largest_difference=largest,
        median_difference=median,
        same_steps=float(np.mean(steps[0] == steps[1])),
        mean_steps=float(np.mean(steps[1])),
        failed=int(np.sum(walks["kernel"].status != 0)),
        error={
            name: work.problem.max_error(np.moveaxis(each, 1, 0)[: len(work.problem.parameters)])
            for name, each in outputs.items()
        },
    )  # fmt: skip
    return bool(agree)


def _timed(
    work: Work, patients: int, launches: list[Launch], options: argparse.Namespace, until: float
) -> Iterator[dict[str, Any]]:
    """A row for each driver and launch, the fastest of some repeats after one to warm up."""
    size = {"patients": patients}
    gigabytes = patients * work.numbers_a_patient * np.dtype(work.precision).itemsize / 1e9
    if gigabytes > options.gigabytes:
        yield {**size, "left_out": f"{gigabytes:.0f} GB of results"}
        return
    parameters = work.parameters(patients)
    runs = [("kernel", launch) for launch in launches]
    if patients <= options.xla_up_to:
        runs.append(("xla", Launch()))
    for driver, launch in runs:
        row = {**size, "driver": driver}
        if driver == "kernel":
            row |= {"lanes": launch.lanes, "warps": launch.warps}
        if time.monotonic() > until:
            yield {**row, "left_out": "no time is left"}
            continue
        try:
            program, compiling = _compiled(work, driver, launch, parameters)
            seconds = []
            for _ in range(options.repeats + 1):
                began = time.perf_counter()
                jax.block_until_ready(program(parameters))
                seconds.append(time.perf_counter() - began)
        except jax.errors.JaxRuntimeError as error:
            yield {**row, "failed": str(error).splitlines()[0][:300]}
            continue
        best = min(seconds[1:])
        yield {
            **row, "compile_s": round(compiling, 2), "best_s": best,
            "patients_per_s": round(patients / best),
        }  # fmt: skip


def _print(**row: Any) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    sys.exit(main())
