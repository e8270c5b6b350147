"""Patients a second of an ensemble of ODEs: this engine against its alternatives, in one run.

    uv run python scripts/bench/ensemble.py --patients 10000 --repeats 6

Everything that is compared runs in one process, over the same devices, in the order A B B A:
first at one nominal tolerance, then each tool at the tolerance that gives it the same error;
README.md says how to read the tables.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["EQX_ON_ERROR"] = "nan"  # equinox reads it when imported: no error check in any loop
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jax

from scripts.bench import report
from scripts.bench.cases import Bench, Case, cases_of, with_roof
from scripts.bench.harness import QuietMachine
from scripts.bench.problems import PROBLEMS, MissingProblems, Problem, TooFewPatients, load
from scripts.bench.tools import DEFAULT_TOOLS, GPU_TOOLS, GRADIENT_TOOLS, TOOLS
from scripts.bench.tools.protocol import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
NOMINAL = {"float64": (1e-6, 1e-8), "float32": (1e-4, 1e-4)}
"""Relative and absolute tolerance that a precision can hold."""
GPU_PATIENTS = [10**power for power in range(3, 8)]
GRADIENT_PATIENTS = [1024]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns 0 where at least one tool ran, 2 where the request is wrong."""
    options = _options(arguments)
    on_gpu = options.device == "gpu"
    jax.config.update("jax_enable_x64", True)
    if not on_gpu:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", options.devices)
    if on_gpu and jax.default_backend() != "gpu":
        return _refuse("--device gpu: JAX finds no GPU here")
    devices = tuple(jax.local_devices()[: 1 if on_gpu else options.devices])
    # The first tool must not pay, in seconds and memory, for the start of the compiler.
    jax.jit(lambda x: x + 1)(0.0).block_until_ready()

    shown = 0
    bench = Bench(
        names=options.tools
        or (GRADIENT_TOOLS if options.gradient else None)
        or (GPU_TOOLS if on_gpu else DEFAULT_TOOLS[options.problem]),
        device=devices[0].device_kind if on_gpu else f"{len(devices)} host devices",
        repeats=options.repeats,
        quiet=QuietMachine(options.quiet_wait),
        tune=options.tune,
        until=time.monotonic() + options.seconds,
        longest_run=options.longest_run if on_gpu else float("inf"),
    )
    precisions = options.precisions or (["float32", "float64"] if on_gpu else ["float64"])
    # Gradients are no solves, and each size of a GPU is dear: there only where it is asked for.
    matched = not (options.nominal_only or options.gradient or (on_gpu and not options.error))
    try:
        for precision in precisions:
            rtol, atol = NOMINAL[precision]
            settings = Settings(
                options.rtol or rtol, options.atol or atol, devices, precision, on_gpu
            )
            problems = _problems(options, on_gpu)
            for case, problem in cases_of(bench, problems, settings, options.error, matched):
                if on_gpu:
                    case = with_roof(case, problem, precision, devices[0].device_kind)
                _print(case, options, arguments)
                shown += 1
    except MissingProblems as error:
        return _refuse(str(error))
    except TooFewPatients as error:
        return _refuse(f"--patients: {error}")
    return 0 if shown else _refuse("none of the tools can run")


def _problems(options: argparse.Namespace, on_gpu: bool) -> Iterator[Problem]:
    """The problem with each number of patients that is asked for."""
    default = GPU_PATIENTS if on_gpu else GRADIENT_PATIENTS if options.gradient else [None]
    for patients in options.patients or default:
        if patients and on_gpu and options.problem != "lorenz":
            problem = load(options.problem, options.data).repeated(patients)
        else:
            problem = load(options.problem, options.data, patients)
        numbers = problem.reference[0].size * len(problem.parameters)
        if on_gpu and 8 * numbers > 1e9 * options.gigabytes:
            print(f"{patients} patients: left out: over --gigabytes of outputs", file=sys.stderr)
        else:
            yield problem


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--problem", choices=PROBLEMS, default="P1")
    parser.add_argument(
        "--patients",
        type=_listed(_positive),
        help="the first N, or several numbers N,M,… (default: all; lorenz: N in all, 10,000; "
        "gradients: 1024; a GPU: 1e3 to 1e7, the problem's patients again and again)",
    )
    parser.add_argument("--repeats", type=_positive, default=6, help="timed runs of each tool")
    parser.add_argument(
        "--tools",
        type=_tool_names,
        help=f"of {', '.join(TOOLS)}; default: "
        + "; ".join(f"{problem}: {', '.join(names)}" for problem, names in DEFAULT_TOOLS.items())
        + f"; with --gradient: {', '.join(GRADIENT_TOOLS)}; on a GPU: {', '.join(GPU_TOOLS)}",
    )
    parser.add_argument("--rtol", type=float, help="default: 1e-6; float32: 1e-4")
    parser.add_argument("--atol", type=float, help="default: 1e-8; float32: 1e-4")
    parser.add_argument(
        "--error",
        type=float,
        help="the error at which tools are compared again (default: the engine's, at nominal "
        "tolerance; on a GPU: none)",
    )
    parser.add_argument("--nominal-only", action="store_true", help="no comparison at equal error")
    parser.add_argument(
        "--gradient", action="store_true", help="gradients, each beside its own plain solve"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--devices", type=_positive, default=2, help="host devices")
    parser.add_argument(
        "--precisions",
        type=_listed(_precision),
        help="default: float64; on a GPU: float32,float64",
    )
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
        "--seconds", type=float, default=float("inf"), help="after which no more tools are begun"
    )
    parser.add_argument(
        "--longest-run",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="on a GPU: a tool that would need longer for more patients is left out",
    )
    parser.add_argument(
        "--gigabytes", type=float, default=15.0, help="on a GPU: most bytes of outputs"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=REPOSITORY.parent / "shared" / "bench",
        help="folder of the problems",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a row")
    form.add_argument("--markdown", action="store_true", help="sections for RESULTS.md")
    options = parser.parse_args(arguments)
    if options.gradient and options.device == "gpu":
        parser.error("--gradient: gradients are measured on host devices")
    return options


def _listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [kind(each) for each in text.split(",")]


def _positive(text: str) -> int:
    try:
        value = int(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: must be a number") from error
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return value


def _precision(text: str) -> str:
    if text not in NOMINAL:
        raise argparse.ArgumentTypeError(f"{text}: must be of {', '.join(NOMINAL)}")
    return text


def _tool_names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown tool {', '.join(unknown)}; allowed: {', '.join(TOOLS)}"
        )
    return names


def _print(case: Case, options: argparse.Namespace, arguments: list[str] | None) -> None:
    rows = case.rows
    baseline = report.baseline_of(rows, {name for name, tool in TOOLS.items() if tool.baseline})
    if options.json:
        for row in report.with_baseline(rows, baseline):
            print(report.json_line(row), flush=True)
    elif options.markdown:
        given = sys.argv[1:] if arguments is None else arguments
        command = shlex.join(["uv", "run", "python", "scripts/bench/ensemble.py", *given])
        print(report.markdown(case.title, rows, baseline, command), end="\n\n")
    else:
        report.print_table(case.title, rows, baseline)


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
