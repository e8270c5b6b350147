"""The GPU's kernel against XLA's driver: do they give the same?

    python scripts/bench/kernel_check.py --data shared/bench

Every problem is solved by both drivers and compared in each precision; one JSON object a row. On a
machine without a GPU the kernel is interpreted, for few patients: that checks the check.
`ensemble.py --device gpu` times both. Needs the packages of the engine's solvers alone.
"""

import argparse
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from insilico import devices as _devices  # noqa: F401  (float64 before anything is traced)

import jax  # isort: skip
import numpy as np

from insilico.solve import Tolerances
from scripts.bench.problems import PROBLEMS, MissingProblems, Problem, load
from scripts.bench.tools.insilico_solves import UNIT, columns_of, side_by_side

REPOSITORY = Path(__file__).resolve().parents[2]
COMPARED = 10_000
NOMINAL = {"float64": Tolerances(1e-6, 1e-8), "float32": Tolerances(1e-4, 1e-4)}
TYPICALLY, AT_MOST = {"float64": 1e-10, "float32": 1e-4}, {"float64": 1e-4, "float32": 1e-2}
"""Differences relative to an output's largest value that are still rounding, of the median patient
and of all. Where a rounding lets one step be judged otherwise, solutions differ by a part of the
tolerance; a hundred of it bounds what explicit steps at the limit of their stability make of that.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the check; returns 0 where the drivers agree, 1 where not, 2 where it cannot run."""
    options = _options(arguments)
    patients = options.patients or (COMPARED if jax.default_backend() == "gpu" else UNIT)
    _print(
        device=str(jax.devices()[0].device_kind),
        backend=jax.default_backend(),
        jax=jax.__version__,
        jaxlib=version("jaxlib"),
        python=sys.version.split()[0],
    )
    try:
        problems = [
            load(name, options.data, patients if name == "lorenz" else None)
            for name in options.problems
        ]
    except MissingProblems as error:
        print(error, file=sys.stderr)
        return 2
    agree = [
        _compare(problem, precision, patients)
        for problem in problems
        for precision in options.precisions
    ]
    return 0 if all(agree) else 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])

    def listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
        return lambda text: [kind(each) for each in text.split(",")]

    parser.add_argument("--problems", type=listed(str), default=list(PROBLEMS))
    parser.add_argument("--precisions", type=listed(str), default=list(NOMINAL))
    parser.add_argument("--patients", type=int, help="default: 10,000; without a GPU 256")
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "bench")
    return parser.parse_args(arguments)


def _compare(problem: Problem, precision: str, patients: int) -> bool:
    parameters = columns_of(problem, patients, precision)
    walks = {
        driver: jax.tree.map(
            np.asarray,
            jax.jit(side_by_side(problem, NOMINAL[precision], driver=driver))(parameters),
        )
        for driver in ("xla", "kernel")
    }
    outputs = {name: np.stack(list(each.outputs), -1) for name, each in walks.items()}
    # (times, patients, outputs); each output by its largest value, zeros throughout by one.
    largest_output = np.abs(outputs["xla"]).max(axis=(0, 1))
    scale = np.where(largest_output > 0, largest_output, 1.0)
    apart = np.abs(outputs["kernel"] - outputs["xla"]) / scale
    steps = [each.steps for each in walks.values()]
    largest = float(np.max(apart))
    median = float(np.median(apart.max(axis=(0, 2))))
    agree = (
        largest <= AT_MOST[precision]
        and median <= TYPICALLY[precision]
        and np.array_equal(walks["xla"].status, walks["kernel"].status)
    )
    _print(
        problem=problem.name,
        precision=precision,
        compared=patients,
        agree=bool(agree),
        largest_difference=largest,
        median_difference=median,
        same_steps=float(np.mean(steps[0] == steps[1])),
        mean_steps=float(np.mean(steps[1])),
        failed=int(np.sum(walks["kernel"].status != 0)),
        error={
            name: problem.max_error(np.moveaxis(each, 1, 0)[: len(problem.parameters)])
            for name, each in outputs.items()
        },
    )
    return bool(agree)


def _print(**row: Any) -> None:
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    sys.exit(main())
