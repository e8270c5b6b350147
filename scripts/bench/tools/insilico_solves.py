"""The engine of this repository: the one place where the benchmark knows its API.

| tool | what runs |
|---|---|
| `insilico-xla`, `insilico-xla-METHOD` | XLA's driver; on host devices as `submit` calls it |
| `insilico-kernel`, `insilico-kernel-W-warps` | the kernel, on a GPU |
| `insilico-xla-gradient` | `value_and_gradient`, its copy into NumPy arrays included |
| `insilico-traced` | `solve_traced`, one device |
| `insilico-traced-gradient` | `jax.grad` through `solve_traced`, one device |

Sorting and padding patients belong inside a run. Where patients stand side by side
(`Settings.side_by_side`) both drivers take them as arrays on the device, in the precision asked
for: there `insilico-xla` is `walk` over all patients at once.
"""

from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from insilico import models
from insilico.model import Model, Quantity
from insilico.solve import (
    LANES,
    Choice,
    Derivative,
    Dose,
    Events,
    Input,
    Launch,
    Pattern,
    Tolerances,
    methods,
    schedule,
    solve_block,
    solve_traced,
    submit,
    value_and_gradient,
    walk,
)
from insilico.solve.ahead import walk_ahead
from insilico.solve.blocks import Chunks, compiler_options
from insilico.solve.courses import Course
from insilico.solve.jobs import in_blocks
from insilico.solve.loops import advance_of
from insilico.vocabulary import Value
from scripts.bench.problems import Problem
from scripts.bench.problems.type_1_diabetes import PICOMOLES_A_UNIT
from scripts.bench.tools.protocol import Prepared, Settings, Solution, Tool, Unavailable

MODELS = {
    "P1": "indirect_response",
    "P2": "target_mediated_disposition",
    "P3": "type_1_diabetes",
}
"""The library's model of a problem; its parameters stand in the order of the problem's. The model
of another problem is built of the problem's equations."""
DOSED_COMPARTMENT = {"P1": "depot", "P2": "depot", "P3": "injected"}
AMOUNT = {"P3": PICOMOLES_A_UNIT}
"""What a problem's unit of dose is in the model's, where they differ."""
UNIT = 256
"""Patients side by side are filled up to a multiple of it, so that every launch fits."""
WASTE_BLOCKS = 4
"""Blocks of patients in which lockstep waste is looked at."""
GRADIENT_REFERENCE = Tolerances(1e-10, 1e-12)

_built: dict[str, Model] = {}


class Scheduled(NamedTuple):
    """A problem as the engine knows it."""

    model: Model
    events: Events
    pattern: Pattern

    @classmethod
    def of(cls, problem: Problem) -> "Scheduled":
        model = _model_of(problem)
        observe = problem.output_times.tolist()
        return cls(model, *schedule(model, _actions_of(problem, model), observe=observe))


def _model_of(problem: Problem) -> Model:
    if problem.name in MODELS:
        return models.get(MODELS[problem.name])
    if problem.name not in _built:
        _built[problem.name] = _model_from_equations(problem)
    return _built[problem.name]


def _model_from_equations(problem: Problem) -> Model:
    """A model whose quantities are pure numbers, for a problem without inputs."""
    if problem.rows.inputs.shape[1]:
        raise Unavailable(f"{problem.name} has inputs, and the library has no model of it")

    def numbers(kind: str, names: list[str]) -> Any:
        fields = [(name, Annotated[Value, Quantity("1", name)]) for name in names]
        return NamedTuple(kind, fields)

    own = tuple(problem.parameters[0])
    start = problem.initial(own)
    State = numbers("State", [f"y{index}" for index in range(len(start))])
    Outputs = numbers("Outputs", [f"o{i}" for i in range(len(problem.outputs(start, own)))])

    def derivative(time: Any, state: Any, parameters: Any, inputs: Any) -> Any:
        return State(*problem.derivative(time, tuple(state), tuple(parameters), ()))

    return Model(
        name=problem.name,
        title=problem.title,
        citation=f"problem {problem.name} of the ensemble benchmark",
        State=State,
        Parameters=numbers("Parameters", list(problem.parameter_names)),
        Outputs=Outputs,
        initial=lambda parameters: State(*problem.initial(tuple(parameters))),
        derivative=derivative,
        outputs=lambda time, state, parameters: Outputs(
            *problem.outputs(tuple(state), tuple(parameters))
        ),
        fastest_rate=lambda parameters: problem.fastest_rate(jnp.stack(list(parameters), axis=-1)),  # pyright: ignore[reportArgumentType]
        method="rodas4" if problem.stiff else "tsit5",
    )


def _actions_of(problem: Problem, model: Model) -> list[Any]:
    """The problem's doses and changes of inputs; the model's inputs stand in its order."""
    rows, amounts = problem.rows, problem.rows.dose * AMOUNT.get(problem.name, 1.0)
    actions: list[Any] = [
        Dose(float(rows.start[row]), DOSED_COMPARTMENT[problem.name], float(amounts[row]))
        for row in np.flatnonzero(rows.dose)
    ]
    for column, name in zip(rows.inputs.T, model.Inputs._fields, strict=True):
        changes = np.flatnonzero(np.diff(column, prepend=np.nan) != 0)
        actions += [Input(float(rows.start[row]), name, float(column[row])) for row in changes]
    return actions


def _tolerances(settings: Settings) -> Tolerances:
    return Tolerances(settings.relative_tolerance, settings.absolute_tolerance)


def _prepare_xla(
    method: str | None, problem: Problem, patients: int, settings: Settings, lanes: int
) -> Prepared:
    if settings.side_by_side:
        return _prepare_side_by_side("xla", method, 1, problem, patients, settings, lanes)
    _host_only(settings, lanes)
    model, events, pattern = Scheduled.of(problem)
    tolerances = _tolerances(settings)
    parameters = model.Parameters(*problem.parameters[:patients].T)

    def run():
        return submit(
            model,
            parameters,
            events,
            pattern,
            tolerances=tolerances,
            method=method,
            driver="xla",
        ).wait()

    def gather(pending) -> Solution:
        result = pending.solution()
        return Solution(np.stack(list(result.outputs), axis=-1), np.asarray(result.steps))

    def waste(_: Solution) -> float:
        return _waste(Scheduled(model, events, pattern), parameters, tolerances, method)

    return Prepared(run, gather, waste)


def _host_only(settings: Settings, lanes: int) -> None:
    if settings.side_by_side:
        raise Unavailable("it is measured on host devices")
    if settings.precision != "float64":
        raise Unavailable(f"on host devices the engine solves in float64, not {settings.precision}")
    if lanes != LANES:
        raise Unavailable(f"the engine's chunks are of {LANES} patients, not {lanes}")


def _waste(
    scheduled: Scheduled, parameters: Any, tolerances: Tolerances, method: str | None
) -> float:
    """Lockstep waste, mean over chunks of the first blocks.

    Between two rows a chunk's loop turns as often as its slowest lane steps. The blocks are walked
    a second time by an `advance` that counts these turns for every lane in place of its own steps.
    Where steps pass over rows, the loop's turns are counted by the walk itself.
    """
    model, events, pattern = scheduled
    name = methods.known(method or model.method)
    advance = advance_of(model, name)
    limits = tolerances.numbers()

    def counting_turns(field: Any, position: Any, *rest: Any, **more: Any) -> Any:
        after, status = advance(field, position, *rest, **more)
        turns = jnp.max(after.steps - position.steps)
        return after._replace(steps=position.steps + turns), status

    def of_chunk(own: Any) -> Any:
        parameters, events = own
        if pattern.between:
            course = Course(model, parameters, pattern)
            walked, turns = walk_ahead(course, events, limits, methods.get(name))
            return jnp.full_like(walked.steps, turns) / jnp.mean(walked.steps)
        steps = walk(model, parameters, events, pattern, limits, advance=advance).steps
        boundless = limits._replace(max_steps=np.inf)
        turns = walk(model, parameters, events, pattern, boundless, advance=counting_turns).steps
        return turns / jnp.mean(steps)

    def of_block(parameters: Any) -> Any:
        return Chunks.of(model, parameters, events).map(of_chunk, parameters, events)

    blocks = in_blocks(parameters, events, ()).arguments[1]
    first = jax.tree.map(lambda leaf: leaf[:WASTE_BLOCKS], blocks)
    program = jax.jit(lambda some: jax.lax.map(of_block, some))
    return float(np.mean(program(first)))


def side_by_side(
    problem: Problem,
    tolerances: Tolerances,
    *,
    driver: str,
    launch: Launch | None = None,
    method: str | None = None,
) -> Any:
    """A function of the model's parameters, arrays (patients,) of any one precision: a `Walk`.

    The kernel is interpreted where the default device is no GPU.
    """
    model, events, pattern = Scheduled.of(problem)
    numbers = tolerances.numbers()
    if driver == "xla":
        advance = advance_of(model, methods.known(method or model.method))
        return lambda own: walk(model, own, events, pattern, numbers, advance=advance)
    choice = Choice(
        "kernel", "it is measured", launch or Launch(), interpreted=jax.default_backend() != "gpu"
    )
    return lambda own: solve_block(
        model, own, events, pattern, numbers, method=method, driver=choice
    )


def columns_of(problem: Problem, patients: int, precision: str) -> Any:
    """The model's parameters on the device, (patients rounded up to whole programs,)."""
    rows = problem.parameters[np.arange(UNIT * -(-patients // UNIT)) % len(problem.parameters)]
    return _model_of(problem).Parameters(*(jnp.asarray(column, precision) for column in rows.T))


def _prepare_side_by_side(
    driver: str,
    method: str | None,
    warps: int,
    problem: Problem,
    patients: int,
    settings: Settings,
    lanes: int,
) -> Prepared:
    if driver == "kernel" and not settings.side_by_side:
        raise Unavailable("the kernel runs on a GPU: --device gpu")
    launch = Launch(lanes, warps)
    program = jax.jit(
        side_by_side(problem, _tolerances(settings), driver=driver, launch=launch, method=method)
    )
    parameters = columns_of(problem, patients, settings.precision)
    known = problem.reference_patients[problem.reference_patients < patients]

    def run():
        return jax.block_until_ready(program(parameters))

    def gather(walked: Any) -> Solution:
        outputs = [np.asarray(leaf[:, known]).T for leaf in walked.outputs]
        return Solution(np.stack(outputs, -1), np.asarray(walked.steps)[:patients], known)

    def waste(solution: Solution) -> float:
        # Lanes of a program are each at their own row: its loop turns as often as the lane with
        # the most steps in all asks for.
        assert solution.steps is not None
        model, events, _ = Scheduled.of(problem)
        order = np.asarray(Chunks.of(model, parameters, events).order)
        steps = solution.steps[order[order < patients]]
        programs = steps[: len(steps) // lanes * lanes].reshape(-1, lanes)
        return float(np.mean(programs.max(axis=1) / programs.mean(axis=1)))

    return Prepared(run, gather, waste if driver == "kernel" and patients >= lanes else None)


def turn_of_the_loop(problem: Problem) -> Any:
    """The program of one walk over `LANES` lanes: its innermost loop is a trial step of each."""
    walked = side_by_side(problem, Tolerances(), driver="xla")
    own = jax.tree.map(lambda leaf: leaf[:LANES], columns_of(problem, LANES, "float64"))
    return jax.make_jaxpr(walked)(own)


def numbers_a_patient(problem: Problem) -> int:
    """Numbers of a patient that are read or written at least once: parameters, outputs, state."""
    model = _model_of(problem)
    outputs = len(problem.output_times) * len(model.Outputs._fields)
    return len(model.Parameters._fields) + outputs + len(model.components()) + 3


def _sum_of_outputs(outputs: Any, data: Any) -> Any:
    return sum(jnp.sum(leaf, axis=0) for leaf in outputs)


def _prepare_gradient(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    _host_only(settings, lanes)
    model, events, pattern = Scheduled.of(problem)
    tolerances = _tolerances(settings)
    parameters = model.Parameters(*problem.parameters[:patients].T)

    def run():
        return value_and_gradient(
            model, parameters, events, pattern, _sum_of_outputs, tolerances=tolerances
        )

    return Prepared(run, lambda found: Solution(np.stack(list(found.gradient), axis=-1), None))


def reference_gradient(
    problem: Problem, patients: Int[np.ndarray, " patients"]
) -> Float[np.ndarray, "patients parameters"]:
    """The gradient of the sum of outputs, of some patients, at tolerances that are far tighter."""
    model, events, pattern = Scheduled.of(problem)
    found = value_and_gradient(
        model,
        model.Parameters(*problem.parameters[patients].T),
        events,
        pattern,
        _sum_of_outputs,
        tolerances=GRADIENT_REFERENCE,
    )
    return np.stack(list(found.gradient), axis=-1)


def _prepare_traced(
    derivative: Derivative | None, problem: Problem, patients: int, settings: Settings, lanes: int
) -> Prepared:
    _host_only(settings, lanes)
    model, events, pattern = Scheduled.of(problem)
    tolerances = _tolerances(settings)
    parameters = model.Parameters(*map(jnp.asarray, problem.parameters[:patients].T))

    def solved(parameters: Any) -> Any:
        return solve_traced(
            model, parameters, events, pattern, derivative=derivative, tolerances=tolerances
        )

    def total(parameters: Any) -> Any:
        return sum(jnp.sum(leaf) for leaf in solved(parameters).outputs)

    traced = solved if derivative is None else jax.grad(total)
    program = jax.jit(traced, compiler_options=compiler_options())

    def run():
        return jax.block_until_ready(program(parameters))

    def gather(found: Any) -> Solution:
        if derivative is None:
            return Solution(np.stack(list(found.outputs), axis=-1), np.asarray(found.steps))
        return Solution(np.stack(list(found), axis=-1), None)

    return Prepared(run, gather)


TOOLS = (
    Tool("insilico-xla", "this engine, the model's own method", partial(_prepare_xla, None), LANES),
    *(
        Tool(f"insilico-xla-{name}", f"this engine, {name}", partial(_prepare_xla, name), LANES)
        for name in ("tsit5", "dopri8", "taylor", "rodas4", "rodas5p")
    ),
    *(
        Tool(
            "insilico-kernel" if warps == 1 else f"insilico-kernel-{warps}-warps",
            f"this engine's kernel, {warps} warp(s) a program",
            partial(_prepare_side_by_side, "kernel", None, warps),
            32 * warps,
            tuple(lanes for lanes in (32, 64, 128) if lanes >= 32 * warps),
        )
        for warps in (1, 2, 4)
    ),
    Tool(
        "insilico-xla-gradient",
        "this engine's value_and_gradient",
        _prepare_gradient,
        LANES,
        gradient_of="insilico-xla",
    ),
    Tool(
        "insilico-traced",
        "this engine's solve_traced, one device",
        partial(_prepare_traced, None),
        LANES,
    ),
    Tool(
        "insilico-traced-gradient",
        "jax.grad of solve_traced, one device",
        partial(_prepare_traced, "reverse"),
        LANES,
        gradient_of="insilico-traced",
    ),
)
