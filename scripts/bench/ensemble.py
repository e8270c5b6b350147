"""Patients a second of an ensemble of ODEs: this engine against its alternatives, in one run.

    uv run python scripts/bench/ensemble.py --patients 10000 --repeats 6

Everything that is compared runs in one process, float64, over the same host devices, in the order
A B B A; README.md says how to read the table.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

os.environ["EQX_ON_ERROR"] = "nan"  # equinox reads it when imported: no error check in any loop
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jax

from scripts.bench import report
from scripts.bench.harness import Measurement, QuietMachine, alternate, fastest_lanes, warm_up
from scripts.bench.problems import PROBLEMS, MissingProblems, Problem, TooFewPatients, load
from scripts.bench.tools import DEFAULT_TOOLS, TOOLS
from scripts.bench.tools.protocol import Prepared, Settings, Tool, Unavailable

REPOSITORY = Path(__file__).resolve().parents[2]
TUNING_PATIENTS = 2560


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns 0 where at least one tool ran, 2 where the request is wrong."""
    options = _options(arguments)
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", options.devices)
    try:
        problem = load(options.problem, options.data, options.patients)
    except MissingProblems as error:
        return _refuse(str(error))
    except TooFewPatients as error:
        return _refuse(f"--patients {options.patients}: {error}")
    settings = Settings(options.rtol, options.atol, tuple(jax.local_devices()[: options.devices]))
    quiet = QuietMachine(options.quiet_wait)
    # The first tool must not pay, in seconds and memory, for the start of the compiler.
    jax.jit(lambda x: x + 1)(0.0).block_until_ready()

    names = options.tools or DEFAULT_TOOLS[problem.name]
    ready, lanes = _prepare(names, problem, settings, quiet, options.tune)
    if not ready:
        return _refuse("none of the tools can run")
    alternate(ready, options.repeats, quiet)
    rows = report.rows_of(
        case=f"{problem.name} float64 rtol {options.rtol:g} atol {options.atol:g}, "
        f"{len(problem.parameters)} patients",
        device=f"{len(settings.devices)} host devices",
        measured={
            name: report.Measured(
                measurement,
                problem.max_error(measurement.solution.outputs),
                lanes[name],
                _patients(TOOLS[name], problem),
            )
            for name, (_, measurement) in ready.items()
        },
    )
    _print(rows, options, arguments)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problem", choices=PROBLEMS, default="P1")
    parser.add_argument(
        "--patients", type=_positive, help="the first N (default: all; lorenz: N in all, 10,000)"
    )
    parser.add_argument("--repeats", type=_positive, default=6, help="timed runs of each tool")
    parser.add_argument(
        "--tools",
        type=_tool_names,
        help=f"of {', '.join(TOOLS)}; default: "
        + "; ".join(f"{problem}: {', '.join(names)}" for problem, names in DEFAULT_TOOLS.items()),
    )
    parser.add_argument("--rtol", type=float, default=1e-6)
    parser.add_argument("--atol", type=float, default=1e-8)
    parser.add_argument("--devices", type=_positive, default=2, help="host devices")
    parser.add_argument(
        "--tune", action="store_true", help="try a few block sizes of each tool first"
    )
    parser.add_argument(
        "--quiet-wait",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="longest wait, in all, for other processes to rest",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=REPOSITORY.parent / "shared" / "bench",
        help="folder of the problems",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a row")
    form.add_argument("--markdown", action="store_true", help="a section for RESULTS.md")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return value


def _tool_names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown tool {', '.join(unknown)}; allowed: {', '.join(TOOLS)}"
        )
    return names


def _patients(tool: Tool, problem: Problem) -> int:
    """How many patients the tool solves in a run."""
    return min(len(problem.parameters), tool.most_patients or len(problem.parameters))


def _prepare(
    names: Sequence[str],
    problem: Problem,
    settings: Settings,
    quiet: QuietMachine,
    tune: bool,
) -> tuple[dict[str, tuple[Prepared, Measurement]], dict[str, int]]:
    """Compile and warm every tool that can run; the others are named on standard error."""
    ready, lanes = {}, {}
    for name in names:
        tool = TOOLS[name]
        try:
            lanes[name] = _lanes(tool, problem, settings, quiet) if tune else tool.lanes
            patients = _patients(tool, problem)
            prepare = partial(tool.prepare, problem, patients, settings, lanes[name])
            ready[name] = warm_up(prepare)
        except Unavailable as error:
            print(f"{name}: left out: {error}", file=sys.stderr)
    return ready, lanes


def _lanes(tool: Tool, problem: Problem, settings: Settings, quiet: QuietMachine) -> int:
    """The best block size for the tool, found on a part of the patients."""
    if not tool.lane_choices:
        return tool.lanes
    few = min(_patients(tool, problem), TUNING_PATIENTS)
    prepare = partial(tool.prepare, problem, few, settings)
    return fastest_lanes(prepare, tool.lane_choices, quiet)


def _print(
    rows: list[report.Row], options: argparse.Namespace, arguments: list[str] | None
) -> None:
    baselines = [row for row in rows if TOOLS[row.tool].baseline]
    baseline = max(baselines, key=lambda row: row.value).tool if baselines else None
    if options.json:
        for row in rows:
            print(report.json_line(row))
    elif options.markdown:
        given = sys.argv[1:] if arguments is None else arguments
        command = shlex.join(["uv", "run", "python", "scripts/bench/ensemble.py", *given])
        print(report.markdown(rows, baseline, command))
    else:
        report.print_table(rows, baseline)


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
