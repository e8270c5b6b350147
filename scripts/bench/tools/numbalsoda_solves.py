"""numbalsoda: LSODA with right-hand side and loop over patients compiled by numba.

Patients are shared out over as many threads as there are devices. One call of the solver covers
one interval between doses, its outputs interpolated by the solver.

Not a dependency: `uv run --with numbalsoda …`. Where there is no wheel for the Python in use it is
built from source, with a C++ and a Fortran compiler.
"""

# pyright: reportMissingImports=false

from functools import lru_cache
from typing import Any

import numpy as np

from scripts.bench.problems import Problem
from scripts.bench.tools._equations import Equations, Text, equations
from scripts.bench.tools.protocol import Prepared, Settings, Solution, Tool, Unavailable

MOST_STEPS_BETWEEN_OUTPUTS = 100_000

SOURCE = """
def right_hand_side(t, y, dy, p):
{derivative}

@njit
def dose(y, p, amount):
{dosed}

@njit
def output(y, p, out):
{outputs}

@njit(parallel=True)
def solve(rhs, initial, parameters, amounts, inputs, times, ends, is_output, rtol, atol, most):
    patients, n_parameters = parameters.shape
    out = np.empty((patients, 1 + is_output.sum(), {n_outputs}))
    for i in prange(patients):
        y = initial[i].copy()
        p = np.empty(n_parameters + inputs.shape[1])
        p[:n_parameters] = parameters[i]
        output(y, p, out[i, 0])
        row, done = 0, 1
        for interval in range(len(amounts)):
            p[n_parameters:] = inputs[interval]
            dose(y, p, amounts[interval])
            asked = times[row + interval : ends[interval]]
            found, success = lsoda(rhs, y, asked, p, rtol, atol, most)
            if not success:
                found[:] = np.nan
            for k in range(1, len(found)):
                if is_output[row]:
                    output(found[k], p, out[i, done])
                    done += 1
                row += 1
            y = found[-1].copy()
    return out
"""
"""`times` holds the start and the stops of each interval; `ends` says where an interval's end."""


def _prepare(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    try:
        import numba
        import numbalsoda  # noqa: F401
    except (ImportError, OSError) as error:
        raise Unavailable(f"{error}; add it with `uv run --with numbalsoda`") from error
    if settings.side_by_side:
        raise Unavailable("it does not run on a GPU")
    solve, right_hand_side = _compiled(_source(problem))
    numba.set_num_threads(min(len(settings.devices), numba.config.NUMBA_NUM_THREADS))

    parameters = np.ascontiguousarray(problem.parameters[:patients])
    initial = np.stack(problem.initial(tuple(parameters.T)), axis=1)
    intervals = problem.rows.intervals()
    times = [np.append(rows.start[0], rows.stop) for rows in intervals]
    arguments = (
        np.array([rows.dose[0] for rows in intervals]),
        np.array([rows.inputs[0] for rows in intervals]),
        np.concatenate(times),
        np.cumsum([len(part) for part in times]),
        problem.rows.is_output,
        settings.relative_tolerance,
        settings.absolute_tolerance,
        MOST_STEPS_BETWEEN_OUTPUTS,
    )

    def run():
        # The function is named here so that it lives as long as its address is used.
        return solve(right_hand_side.address, initial, parameters, *arguments)

    return Prepared(run, lambda outputs: Solution(outputs, None))


@lru_cache
def _compiled(source: str) -> tuple[Any, Any]:
    """The loop over patients and the right-hand side; another tolerance compiles nothing."""
    import numba
    from numbalsoda import lsoda, lsoda_sig

    scope: dict[str, Any] = {
        "njit": numba.njit,
        "prange": numba.prange,
        "np": np,
        "lsoda": lsoda,
    }
    exec("from math import tanh\n" + source, scope)
    return scope["solve"], numba.cfunc(lsoda_sig)(scope["right_hand_side"])


def _source(problem: Problem) -> str:
    text = equations(problem, tanh="tanh({0})", maximum="max({0}, {1})")
    return SOURCE.format(
        derivative=_body(text, text.derivative, "dy"),
        dosed=_body(text, text.dosed, "y"),
        outputs=_body(text, text.outputs, "out"),
        n_outputs=len(text.outputs.results),
    )


def _body(equations: Equations, function: Text, target: str) -> str:
    """Statements that compute a function from the arrays `y` and `p` into `target`."""
    names = [(name, f"y[{i}]") for i, name in enumerate(equations.states)]
    data = (*equations.parameters, *(equations.inputs if target == "dy" else ()))
    names += [(name, f"p[{i}]") for i, name in enumerate(data)]
    results = [(f"{target}[{i}]", result) for i, result in enumerate(function.results)]
    lines = (*names, *function.lines, *results)
    return "\n".join(f"    {name} = {expression}" for name, expression in lines)


TOOL = Tool("numbalsoda", "LSODA compiled by numba, a thread a device", _prepare, 1)
