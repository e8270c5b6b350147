"""libroadrunner: CVODE on a model compiled by LLVM, one thread.

A patient is one walk of the same model object: its parameters and state set, then one call of
`simulate` an interval between doses. Two patients at once would take two processes: against tools
on two threads, double its rate.

Not a dependency: `uv run --with libroadrunner --with antimony …`.
"""

# pyright: reportMissingImports=false

import numpy as np

from scripts.bench.problems import Problem
from scripts.bench.tools._equations import Equations, equations
from scripts.bench.tools.protocol import Prepared, Settings, Solution, Tool, Unavailable

MOST_PATIENTS = 512


def _prepare(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    try:
        import antimony
        import roadrunner
    except (ImportError, OSError) as error:
        raise Unavailable(
            f"{error}; add it with `uv run --with libroadrunner --with antimony`"
        ) from error

    if settings.side_by_side:
        raise Unavailable("it does not run on a GPU")
    text = equations(problem, tanh="tanh({0})", maximum="piecewise({0}, {0} > {1}, {1})")
    if antimony.loadAntimonyString(_model(text)) < 0:
        raise Unavailable(f"antimony refuses the model: {antimony.getLastError()}")
    runner = roadrunner.RoadRunner(antimony.getSBMLString(antimony.getMainModuleName()))
    integrator = runner.getIntegrator()
    integrator.setValue("relative_tolerance", settings.relative_tolerance)
    integrator.setValue("absolute_tolerance", settings.absolute_tolerance)
    integrator.setValue("stiff", True)
    runner.timeCourseSelections = list(text.states)
    model = runner.model
    where = {name: index for index, name in enumerate(model.getGlobalParameterIds())}
    at_states = [where[name] for name in text.states]
    at_parameters = [where[name] for name in text.parameters]
    at_inputs = [where[name] for name in text.inputs]

    parameters = problem.parameters[:patients]
    initial = np.stack(problem.initial(tuple(parameters.T)), axis=1)
    intervals = [
        (
            [float(rows.start[0]), *rows.stop.tolist()],
            float(rows.dose[0]),
            rows.inputs[0].tolist(),
        )
        for rows in problem.rows.intervals()
    ]

    def solve(values: np.ndarray, state: np.ndarray) -> np.ndarray:
        """States at the start and at the stop of every row."""
        model.setGlobalParameterValues(at_parameters, values.tolist())
        found = [state[None]]
        for times, amount, inputs in intervals:
            dosed = problem.dosed(tuple(found[-1][-1]), amount, tuple(values))
            model.setGlobalParameterValues(at_states, list(map(float, dosed)))
            if inputs:
                model.setGlobalParameterValues(at_inputs, inputs)
            found.append(np.array(runner.simulate(times=times))[1:])
        return np.concatenate(found)

    def run():
        return [solve(*each) for each in zip(parameters, initial, strict=True)]

    def gather(states) -> Solution:
        kept = np.concatenate([[0], 1 + np.flatnonzero(problem.rows.is_output)])
        state = tuple(np.moveaxis(np.stack(states)[:, kept], -1, 0))
        outputs = problem.outputs(state, tuple(parameters.T[..., None]))
        return Solution(np.stack(outputs, axis=-1), None)

    return Prepared(run, gather)


def _model(text: Equations) -> str:
    """The model in antimony: states are parameters with a rate, named as in `text`."""
    lines = [f"{name} := {expression}" for name, expression in text.derivative.lines]
    lines += [
        f"{name}' = {rate}" for name, rate in zip(text.states, text.derivative.results, strict=True)
    ]
    lines += [f"{name} = 1" for name in (*text.states, *text.parameters, *text.inputs)]
    return "\n".join(lines)


TOOL = Tool("libroadrunner", "CVODE, one thread", _prepare, 1, most_patients=MOST_PATIENTS)
