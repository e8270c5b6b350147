"""mrgsolve, by `mrgsolve.R`: LSODA in C++, patients shared out over forked processes of R.

Runs where `Rscript` and the package mrgsolve are. R is started once, builds the
model, and then solves whenever it is told to; the pipe that tells it costs a millisecond at most.
The time ends when the outputs are in R's memory.
"""

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from scripts.bench.problems import Problem
from scripts.bench.tools._equations import Equations, Text, equations
from scripts.bench.tools.protocol import Prepared, Settings, Solution, Tool, Unavailable

PROBLEMS = ("P1", "P2")
"""Those whose doses go, as they are, into the first compartment."""
SCRIPT = Path(__file__).parents[1] / "mrgsolve.R"


def _prepare(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    if problem.name not in PROBLEMS:
        raise Unavailable(f"mrgsolve.R is for {' and '.join(PROBLEMS)}")
    if settings.side_by_side:
        raise Unavailable("it does not run on a GPU")
    rscript = shutil.which("Rscript")
    if rscript is None:
        raise Unavailable("there is no Rscript")
    folder = Path(mkdtemp(prefix="mrgsolve-"))
    text = equations(problem, tanh="tanh({0})", maximum="std::max({0}, {1})")
    (folder / "ensemble.cpp").write_text(model_text(text))
    _table(folder / "parameters.csv", "theta", problem.parameters[:patients])
    dosed = problem.rows.dose > 0
    doses = np.stack([problem.rows.start[dosed], problem.rows.dose[dosed]], axis=1)
    np.savetxt(folder / "doses.csv", doses, delimiter=",", header="time,amt", comments="")
    np.savetxt(folder / "times.csv", problem.output_times, header="time", comments="")
    tolerances = (settings.relative_tolerance, settings.absolute_tolerance)
    process = subprocess.Popen(
        [rscript, str(SCRIPT), str(folder), *map(repr, tolerances), str(len(settings.devices))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def tell(word: str) -> None:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{word}\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != "done":
            raise Unavailable(f"mrgsolve.R ended at {word!r}; its messages are above")

    def gather(_: None) -> Solution:
        tell("write")
        values = np.loadtxt(folder / "outputs.csv", delimiter=",", skiprows=1)
        return Solution(values.reshape(patients, len(problem.output_times), -1), None)

    tell("ready")
    return Prepared(lambda: tell("run"), gather)


def _table(path: Path, prefix: str, values: np.ndarray) -> None:
    header = ",".join(f"{prefix}{index}" for index in range(values.shape[1]))
    np.savetxt(path, values, fmt="%.17g", delimiter=",", header=header, comments="")


def model_text(text: Equations) -> str:
    """The model in mrgsolve's language: compartments `state0…`, parameters `theta0…`.

    A name is declared once in all blocks, so that each block's have a prefix.
    """
    parameters = [f"theta{index} = 1" for index in range(len(text.parameters))]
    compartments = [f"state{index}" for index in range(len(text.states))]
    return "\n".join(
        [
            "$PARAM " + ", ".join(parameters),
            "$CMT " + " ".join(compartments),
            "$MAIN",
            *_block("main", text.initial, [f"{name}_0" for name in compartments]),
            "$ODE",
            *_block("ode", text.derivative, [f"dxdt_{name}" for name in compartments]),
            "$TABLE",
            *_block(
                "table", text.outputs, [f"capture o{i}" for i in range(len(text.outputs.results))]
            ),
            "",
        ]
    )


def _block(prefix: str, function: Text, targets: list[str]) -> list[str]:
    def renamed(expression: str) -> str:
        for old, new in (("y", "state"), ("p", "theta"), ("v", f"{prefix}_v")):
            expression = re.sub(rf"\b{old}(\d+)\b", rf"{new}\1", expression)
        return expression

    lines = [f"double {renamed(name)} = {renamed(value)};" for name, value in function.lines]
    results = zip(targets, function.results, strict=True)
    return lines + [f"{target} = {renamed(result)};" for target, result in results]


TOOL = Tool("mrgsolve", "LSODA in C++ by R, a process a device", _prepare, 1)
