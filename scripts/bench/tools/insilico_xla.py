"""The engine of this repository on XLA: the one place where the benchmark knows its API.

`_prepare` maps a `Problem` to a model and a schedule of the engine, once, and returns two
functions:

* `run()` solves the first `patients` of `problem.parameters` (patients, parameters; columns as
  `problem.parameter_names`) at `settings`' tolerances, over all of `settings.devices`, in float64,
  and returns when every result is in the devices' memory, as the other tools do. Its first call may
  compile; sorting or padding the patients belongs inside it.
* `gather(result)` gives `Solution(outputs, steps)`: outputs (patients, times, outputs) in the
  patients' order, times as `problem.output_times`; steps (patients,) with rejected ones, or None.
"""

from functools import partial
from typing import Any

import numpy as np

from scripts.bench.problems import Problem
from scripts.bench.problems.type_1_diabetes import PICOMOLES_A_UNIT
from scripts.bench.tools.protocol import Prepared, Settings, Solution, Tool, Unavailable

MODELS = {
    "P1": "indirect_response",
    "P2": "target_mediated_disposition",
    "P3": "type_1_diabetes",
}
"""The engine's model of each problem; its parameters stand in the order of the problem's."""
DOSED_COMPARTMENT = {"P1": "depot", "P2": "depot", "P3": "injected"}
AMOUNT = {"P3": PICOMOLES_A_UNIT}
"""What a problem's unit of dose is in the model's, where they differ."""


def actions_of(problem: Problem, model: Any) -> list[Any]:
    """The problem's doses and changes of inputs; the model's inputs stand in its order."""
    from insilico.solve import Dose, Input

    rows, compartment = problem.rows, DOSED_COMPARTMENT[problem.name]
    amounts = rows.dose * AMOUNT.get(problem.name, 1.0)
    actions: list[Any] = [
        Dose(float(rows.start[row]), compartment, float(amounts[row]))
        for row in np.flatnonzero(rows.dose)
    ]
    for column, name in zip(rows.inputs.T, model.Inputs._fields, strict=True):
        changes = np.flatnonzero(np.diff(column, prepend=np.nan) != 0)
        actions += [Input(float(rows.start[row]), name, float(column[row])) for row in changes]
    return actions


def _prepare(
    method: str | None, problem: Problem, patients: int, settings: Settings, lanes: int
) -> Prepared:
    try:
        from insilico import models
        from insilico.solve import LANES, Tolerances, schedule, submit
    except ImportError as error:
        raise Unavailable(f"insilico.solve cannot be imported: {error}") from error
    if problem.name not in MODELS:
        raise Unavailable(f"the adapter knows no model for {problem.name}")
    if lanes != LANES:
        raise Unavailable(f"the engine's blocks are of {LANES} patients, not {lanes}")

    model = models.get(MODELS[problem.name])
    events, pattern = schedule(
        model, actions_of(problem, model), observe=problem.output_times.tolist()
    )
    tolerances = Tolerances(settings.relative_tolerance, settings.absolute_tolerance)
    parameters = model.Parameters(*problem.parameters[:patients].T)

    def run():
        return submit(
            model, parameters, events, pattern, tolerances=tolerances, method=method
        ).wait()

    def gather(pending) -> Solution:
        result = pending.solution()
        return Solution(np.stack(list(result.outputs), axis=-1), np.asarray(result.steps))

    return Prepared(run, gather)


TOOLS = (
    Tool("insilico-xla", "this engine, the model's own method", partial(_prepare, None), 64),
    *(
        Tool(f"insilico-xla-{name}", f"this engine, {name}", partial(_prepare, name), 64)
        for name in ("tsit5", "dopri8", "taylor", "rodas4", "rodas5p")
    ),
)
