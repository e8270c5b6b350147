"""A case of the benchmark: tools made ready, timed in turn, and what came of it as rows.

A case is the tools at nominal tolerance, each at the tolerance that brings its error closest below
a common target, or their gradients.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from scripts.bench import report, roofline
from scripts.bench.harness import Measurement, QuietMachine, alternate, fastest_lanes, warm_up
from scripts.bench.matched_error import closest_below
from scripts.bench.problems import Problem
from scripts.bench.tools import TOOLS, insilico_solves
from scripts.bench.tools.protocol import Prepared, Settings, Solution, Tool, Unavailable

TUNING_PATIENTS = 2560


class Case(NamedTuple):
    """Rows to be shown together; `title` is that of their table."""

    title: str
    rows: list[report.Row]


class _Ready(NamedTuple):
    tool: Tool
    prepared: Prepared
    measurement: Measurement
    lanes: int
    settings: Settings
    error: float


@dataclass
class Bench:
    """How cases of one problem are measured.

    - `until`: the clock's time (`time.monotonic`) after which no more tools are begun.
    - `longest_run`: seconds that a run may be expected to take; a tool whose last run of fewer
      patients was too long for that is left out.
    """

    names: Sequence[str]
    device: str
    repeats: int
    quiet: QuietMachine
    tune: bool = False
    until: float = float("inf")
    longest_run: float = float("inf")
    _pace: dict[str, float] = field(default_factory=dict)
    """Seconds a patient took each tool at worst, by the last warm run."""

    def nominal(
        self, problem: Problem, settings: Settings
    ) -> tuple[Case | None, dict[str, _Ready]]:
        """The tools at one tolerance; what is ready may be measured again."""
        rtol, atol = settings.relative_tolerance, settings.absolute_tolerance
        case = f"{problem.name} %s{settings.precision} rtol {rtol:g} atol {atol:g}, " + _patients(
            problem
        )
        ready = self._prepare(self.names, problem, lambda _: settings)
        gradients = any(each.tool.gradient_of for each in ready.values())
        title = case % ("gradient of the outputs' sum " if gradients else "")
        return self._measured(title, case % "", problem, ready), ready

    def matched(
        self,
        problem: Problem,
        settings: Settings,
        ready: dict[str, _Ready],
        target: float | None,
    ) -> Case | None:
        """The tools of a nominal case again, each closest below an error.

        Without a `target` that of the engine, the first of its tools, in the nominal case.
        """
        if target is None:
            engine = [each.error for name, each in ready.items() if name.startswith("insilico")]
            if not engine:
                print("no matched error: without the engine name one: --error", file=sys.stderr)
                return None
            target = engine[0]
        chosen: dict[str, Settings] = {}
        for name, each in ready.items():
            if each.tool.own_tolerances:
                continue
            found = self._closest(each, problem, target)
            if found is None:
                print(f"{name}: left out: no tolerance at error {target:.1e}", file=sys.stderr)
            else:
                chosen[name] = found
        same = {name: ready[name] for name, one in chosen.items() if one == ready[name].settings}
        for each in same.values():
            each.measurement.samples.clear()
        others = [name for name in chosen if name not in same]
        lanes = {name: each.lanes for name, each in ready.items()}
        new = self._prepare(others, problem, lambda name: chosen[name], lanes)
        again = {name: (same | new)[name] for name in chosen if name in same or name in new}
        case = f"{problem.name} {settings.precision} at error {target:.1e}, {_patients(problem)}"
        return self._measured(case, case, problem, again)

    def _closest(self, ready: _Ready, problem: Problem, target: float) -> Settings | None:
        few, start = problem.of_references(), ready.settings
        count = _solved(ready.tool, few)

        def at(tolerance: float) -> Settings:
            factor = tolerance / start.relative_tolerance
            return start._replace(
                relative_tolerance=tolerance,
                absolute_tolerance=start.absolute_tolerance * factor,
            )

        def error_at(tolerance: float) -> float:
            if tolerance == start.relative_tolerance:
                return ready.error
            prepared = ready.tool.prepare(few, count, at(tolerance), ready.lanes)
            return _error(few, prepared.gather(prepared.run()))

        found = closest_below(target, error_at, start.relative_tolerance)
        if found is None:
            return None
        return start if found[0] == start.relative_tolerance else at(found[0])

    def _prepare(
        self,
        names: Sequence[str],
        problem: Problem,
        settings_of: Callable[[str], Settings],
        lanes: dict[str, int] | None = None,
    ) -> dict[str, _Ready]:
        """Compile and warm every tool that can run; the others are named on standard error."""
        ready = {}
        for name in names:
            tool, settings = TOOLS[name], settings_of(name)
            patients = _solved(tool, problem)
            try:
                self._refuse_to_begin(name, patients)
                width = lanes[name] if lanes else self._lanes(tool, problem, settings)
                prepare = partial(tool.prepare, problem, patients, settings, width)
                on_gpu = settings.devices[0].platform == "gpu"
                prepared, measurement = warm_up(prepare, settings.devices[0] if on_gpu else None)
                if np.isfinite(self.longest_run):
                    begun = time.perf_counter()
                    prepared.run()
                    self._pace[name] = (time.perf_counter() - begun) / patients
            except Unavailable as error:
                print(f"{name}: left out: {error}", file=sys.stderr)
                continue
            except jax.errors.JaxRuntimeError as error:
                print(f"{name}: failed: {str(error).splitlines()[0][:300]}", file=sys.stderr)
                continue
            error = self._error_of(tool, problem, measurement.solution)
            ready[name] = _Ready(tool, prepared, measurement, width, settings, error)
        return ready

    def _refuse_to_begin(self, name: str, patients: int) -> None:
        if time.monotonic() > self.until:
            raise Unavailable("no time is left (--seconds)")
        expected = patients * self._pace.get(name, 0.0)
        if expected > self.longest_run:
            raise Unavailable(f"a run would take about {expected:.0f} s (--longest-run)")

    def _lanes(self, tool: Tool, problem: Problem, settings: Settings) -> int:
        """The best block size for the tool, found on a part of the patients."""
        if not (self.tune and tool.lane_choices):
            return tool.lanes
        few = min(_solved(tool, problem), TUNING_PATIENTS)
        prepare = partial(tool.prepare, problem, few, settings)
        return fastest_lanes(prepare, tool.lane_choices, self.quiet)

    def _error_of(self, tool: Tool, problem: Problem, solution: Solution) -> float:
        return gradient_error(problem, solution) if tool.gradient_of else _error(problem, solution)

    def _measured(
        self, title: str, case: str, problem: Problem, ready: dict[str, _Ready]
    ) -> Case | None:
        """Time what is ready in the order A B B A."""
        if not ready:
            return None
        pairs = {name: (each.prepared, each.measurement) for name, each in ready.items()}
        alternate(pairs, self.repeats, self.quiet)
        measured = {
            name: report.Measured(
                each.measurement,
                each.error,
                each.lanes,
                _solved(each.tool, problem),
                float("nan") if each.tool.own_tolerances else each.settings.relative_tolerance,
                _waste(each),
                each.tool.gradient_of,
            )
            for name, each in ready.items()
        }
        rows = report.rows_of(case, self.device, measured, gradient_case=title)
        return Case(title, rows)


def with_roof(case: Case, problem: Problem, precision: str, device_kind: str) -> Case:
    """The case with the roofline's row, where the device's peak is known."""
    peak = roofline.peak_of(device_kind)
    steps = next(
        (row.steps for row in case.rows if row.tool.startswith("insilico") and row.steps), None
    )
    if peak is None or steps is None:
        print(f"no roofline: the peak of {device_kind} or the steps are not known", file=sys.stderr)
        return case
    program = insilico_solves.turn_of_the_loop(problem)
    operations = roofline.operations_a_step(program, insilico_solves.LANES)
    numbers = insilico_solves.numbers_a_patient(problem)
    rate = roofline.patients_a_second(peak, precision, steps * operations, numbers)
    roof = report.roof_row(case.rows[0].case, case.rows[0].device, rate, case.rows)
    return Case(case.title, [*case.rows, roof])


def gradient_error(problem: Problem, solution: Solution) -> float:
    """Largest difference from the engine's gradient at a tight tolerance, over the references.

    |g − ref| / max(|ref|, 1e-3·largest |ref| of any patient), parameter by parameter.
    """
    known = problem.reference_patients[problem.reference_patients < len(solution.outputs)]
    if not len(known):
        return float("nan")
    reference = insilico_solves.reference_gradient(problem, known)
    size = np.abs(reference)
    scale = np.maximum(size, 1e-3 * size.max(axis=0))
    difference = np.abs(solution.outputs[known] - reference)
    return float(np.max(difference / np.where(scale > 0, scale, 1.0)))


def cases_of(
    bench: Bench,
    problems: Iterator[Problem],
    settings: Settings,
    target: float | None,
    with_matched: bool,
) -> Iterator[tuple[Case, Problem]]:
    """The cases of each problem, one after the other, as they are measured."""
    for problem in problems:
        nominal, ready = bench.nominal(problem, settings)
        if nominal is None:
            continue
        yield nominal, problem
        if with_matched:
            matched = bench.matched(problem, settings, ready, target)
            if matched is not None:
                yield matched, problem


def _patients(problem: Problem) -> str:
    return f"{len(problem.parameters)} patients"


def _solved(tool: Tool, problem: Problem) -> int:
    """How many patients the tool solves in a run."""
    return min(len(problem.parameters), tool.most_patients or len(problem.parameters))


def _error(problem: Problem, solution: Solution) -> float:
    return problem.max_error(solution.outputs, solution.patients)


def _waste(ready: _Ready) -> float:
    if ready.prepared.waste is None:
        return float("nan")
    return ready.prepared.waste(ready.measurement.solution)
