"""diffrax, used in the ways an expert would try: the baselines.

| tool | one solve covers | step size |
|---|---|---|
| `diffrax-scan` | one row of the schedule, in a `lax.scan` | each patient's own |
| `diffrax-interval` | one row; one call from Python a dose interval | each patient's own |
| `diffrax-jump-ts` | the whole horizon, depot in closed form, `jump_ts` | each patient's own |
| `diffrax-joint` | one row, a block of patients as one system, not sorted | shared by the block |
| `diffrax-joint-sorted` | the same, patients sorted | shared by the block |

Patients are sorted by their fastest rate constant, so that those of a block take like numbers of
steps (15 % faster for the vmapped solves, whose results do not depend on the order).

The joint solves avoid the masks that `vmap` puts around a `while_loop`. Their error norm is the
largest over the block, so the tolerance holds for every patient, but a patient's result then
depends (within the tolerance) on its neighbours.

What was tried and is slower: the state as one array instead of a tuple of scalars (3 ×),
`DirectAdjoint` (1.5 ×), `ForwardMode` (the same), carrying the step size over rows, one solve an
interval with its outputs by `SaveAt(ts=…)` (1.1 × for P1, 1.5 × for P3), `shard_map` instead of
`pmap`, a PI controller.

The solver is Tsit5, for stiff problems Kvaerno5, whose interpolation is of third order only:
`diffrax-jump-ts` makes it step to the output times.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from scripts.bench.problems import Problem, Rows, State
from scripts.bench.tools.protocol import Prepared, Settings, Solution, Tool, Unavailable

MAX_STEPS_A_ROW = 4096
MAX_STEPS = 65536
WIDE_VECTORS = {"xla_cpu_prefer_vector_width": 512}
"""Gains 5 % for the joint solves and loses as much for the vmapped ones."""

Block = Callable[[Float[Array, "parameters lanes"]], Any]
"""Solves a block of patients: outputs (times, outputs, lanes) and steps (lanes,)."""


def _controller(settings: Settings, **options) -> diffrax.PIDController:
    return diffrax.PIDController(
        rtol=settings.relative_tolerance, atol=settings.absolute_tolerance, **options
    )


def _solve(
    problem: Problem,
    derivative: Callable[[Any, State, State], State],
    state: State,
    parameters: State,
    *,
    between: tuple[Any, Any],
    controller: diffrax.AbstractStepSizeController,
    saveat: diffrax.SaveAt,
    max_steps: int,
):
    """One `diffeqsolve`: the states, each (times,), and the number of steps."""
    if problem.stiff:
        # An implicit step solves for the state as one array anyway.
        solver, start = diffrax.Kvaerno5(), jnp.stack(state)
        term = diffrax.ODETerm(lambda time, y, args: jnp.stack(derivative(time, tuple(y), args)))
    else:
        solver, start = diffrax.Tsit5(), state
        term = diffrax.ODETerm(derivative)
    solved = diffrax.diffeqsolve(
        term,
        solver,
        *between,
        problem.first_step,
        start,
        parameters,
        stepsize_controller=controller,
        saveat=saveat,
        max_steps=max_steps,
        throw=False,
    )
    assert solved.ys is not None
    return tuple(solved.ys.T) if problem.stiff else solved.ys, solved.stats["num_steps"]


def _largest_norm_of_block(scaled_error: State) -> Array:
    """Root mean square over a patient's states, the largest over patients."""
    return jnp.sqrt(jnp.max(sum(jnp.square(x) for x in scaled_error) / len(scaled_error)))


def _row_advance(problem: Problem, controller: diffrax.AbstractStepSizeController):
    """A function that takes a state over one row of the schedule; for one patient or a block."""

    def advance(state: State, row: Rows, parameters: State):
        states, steps = _solve(
            problem,
            lambda time, y, args: problem.derivative(time, y, args, row.inputs),
            problem.dosed(state, row.dose, parameters),
            parameters,
            between=(row.start, row.stop),
            controller=controller,
            saveat=diffrax.SaveAt(t1=True),
            max_steps=MAX_STEPS_A_ROW,
        )
        return tuple(y[0] for y in states), steps

    return advance


def _scan_rows(problem: Problem, advance, rows: Rows, state: State, parameters: State):
    """State at the end of `rows`, outputs (rows, outputs, …) at their stops, steps in all."""

    def over_row(state, row):
        state, steps = advance(state, row, parameters)
        return state, (jnp.stack(problem.outputs(state, parameters)), steps)

    state, (outputs, steps) = lax.scan(over_row, state, rows)
    return state, outputs, steps.sum(axis=0)


def _row_by_row(problem: Problem, controller: diffrax.AbstractStepSizeController):
    """A solve of the whole schedule from parameters (parameters,) or (parameters, lanes)."""
    advance = _row_advance(problem, controller)
    kept = np.flatnonzero(problem.rows.is_output)
    rows = jax.tree.map(jnp.asarray, problem.rows)

    def solve(values):
        parameters = tuple(values)
        state = problem.initial(parameters)
        first = jnp.stack(problem.outputs(state, parameters))
        _, outputs, steps = _scan_rows(problem, advance, rows, state, parameters)
        return jnp.concatenate([first[None], outputs[kept]]), steps

    return solve


def _over_patients(solve_one: Callable) -> Block:
    return jax.vmap(solve_one, in_axes=1, out_axes=-1)


class _Blocks:
    """The patients cut into blocks of lanes for each device, padded by repeating the first."""

    def __init__(self, problem: Problem, patients: int, settings: Settings, lanes: int):
        self.patients = patients
        n_devices = len(settings.devices)
        self.blocks = -(-patients // (n_devices * lanes))
        self.lanes = -(-patients // (n_devices * self.blocks))
        self.devices = n_devices
        self.parameters = problem.parameters[:patients]

    def cut(self, order: np.ndarray | None = None) -> Float[np.ndarray, "device block p lane"]:
        """Parameters (devices, blocks, parameters, lanes), patients taken in `order`."""
        values = self.parameters if order is None else self.parameters[order]
        padded = np.resize(values, (self.devices * self.blocks * self.lanes, values.shape[1]))
        shaped = padded.reshape(self.devices, self.blocks, self.lanes, -1)
        return np.ascontiguousarray(np.swapaxes(shaped, 2, 3))

    def join(self, outputs, steps, order: np.ndarray | None = None) -> Solution:
        """From (devices, blocks, times, outputs, lanes) and (devices, blocks, lanes)."""
        values = np.moveaxis(np.asarray(outputs), -1, 2)
        values = values.reshape(-1, *values.shape[3:])[: self.patients]
        counts = np.asarray(steps).reshape(-1)[: self.patients]
        if order is not None:
            place = np.argsort(order)
            values, counts = values[place], counts[place]
        return Solution(values, counts)


def _by_threads(program: Callable, devices: tuple[Any, ...]) -> Callable:
    """`program` compiled for each device and run on its part by a thread of its own.

    For implicit solves: inside `pmap` or `shard_map` an array's type tells over which devices it
    varies, and lineax then takes the sides of its linear systems for different structures. Without
    threads the devices take turns: a call of such a program returns when it is done.
    """
    compiled = jax.jit(program)
    threads = ThreadPoolExecutor(len(devices))

    def on_device(part: np.ndarray, device: Any):
        return jax.block_until_ready(compiled(jax.device_put(part, device)))

    def run(parts: np.ndarray):
        results = threads.map(on_device, parts, devices)
        return jax.tree.map(lambda *each: np.stack(each), *results)

    return run


def _prepare_block(
    block: Block,
    problem: Problem,
    patients: int,
    settings: Settings,
    lanes: int,
    *,
    ordered: bool = True,
    compiler_options: dict[str, Any] | None = None,
) -> Prepared:
    """One program a device that takes its blocks one after the other."""
    blocks = _Blocks(problem, patients, settings, lanes)

    def program(values):
        return lax.map(block, values)

    if problem.stiff:
        compiled = _by_threads(program, settings.devices)
    else:
        spread = jax.pmap(program, devices=settings.devices)
        compiled = spread.lower(blocks.cut()).compile(compiler_options)

    def run():
        order = np.argsort(problem.fastest_rate(blocks.parameters)) if ordered else None
        return *jax.block_until_ready(compiled(blocks.cut(order))), order

    return Prepared(run, lambda result: blocks.join(*result))


def _prepare_scan(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    block = _over_patients(_row_by_row(problem, _controller(settings)))
    return _prepare_block(block, problem, patients, settings, lanes)


def _prepare_joint(*, ordered: bool):
    def prepare(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
        if problem.stiff:
            raise Unavailable(
                f"{problem.name} is stiff: an implicit solve of a block as one system would "
                "factor a matrix of all its patients"
            )
        row_by_row = _row_by_row(problem, _controller(settings, norm=_largest_norm_of_block))

        def block(parameters):
            outputs, steps = row_by_row(parameters)
            return outputs, jnp.full(parameters.shape[1], steps)

        return _prepare_block(
            block,
            problem,
            patients,
            settings,
            lanes,
            ordered=ordered,
            compiler_options=WIDE_VECTORS,
        )

    return prepare


def _prepare_jump_ts(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    forced = problem.forced
    if forced is None:
        raise Unavailable(f"{problem.name} has no form with its doses as an input")
    controller = diffrax.ClipStepSizeController(
        _controller(settings),
        step_ts=jnp.asarray(problem.output_times[1:-1]) if problem.stiff else None,
        jump_ts=jnp.asarray(forced.jump_times),
    )

    def solve(values):
        parameters = tuple(values)
        states, steps = _solve(
            problem,
            forced.derivative,
            forced.initial(parameters),
            parameters,
            between=(problem.output_times[0], problem.output_times[-1]),
            controller=controller,
            saveat=diffrax.SaveAt(ts=jnp.asarray(problem.output_times)),
            max_steps=MAX_STEPS,
        )
        return jnp.stack(forced.outputs(states, parameters), axis=1), steps

    return _prepare_block(_over_patients(solve), problem, patients, settings, lanes)


def _prepare_interval(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    if problem.stiff:
        raise Unavailable(f"{problem.name} is stiff: implicit solves do not run in a pmap")
    blocks = _Blocks(problem, patients, settings, lanes)
    advance = _row_advance(problem, _controller(settings))
    intervals = problem.rows.intervals()

    def begin(values):
        parameters = tuple(values)
        state = problem.initial(parameters)
        return state, jnp.stack(problem.outputs(state, parameters))[None]

    def over_interval(state, values, rows):
        def one(state, values):
            return _scan_rows(problem, advance, rows, state, tuple(values))

        return jax.vmap(one, in_axes=(0, 1), out_axes=(0, -1, 0))(state, values)

    start = jax.pmap(
        lambda x: lax.map(jax.vmap(begin, in_axes=1, out_axes=(0, -1)), x),
        devices=settings.devices,
    )
    call = jax.pmap(
        lambda state, x, rows: lax.map(
            lambda each: over_interval(each[0], each[1], rows), (state, x)
        ),
        in_axes=(0, 0, None),
        devices=settings.devices,
    )

    def run():
        order = np.argsort(problem.fastest_rate(blocks.parameters))
        parameters = blocks.cut(order)
        state, first = start(parameters)
        pieces, counts = [first], []
        for rows in intervals:
            state, outputs, steps = call(state, parameters, rows)
            pieces.append(outputs)
            counts.append(steps)
        return *jax.block_until_ready((pieces, counts)), order

    def gather(result):
        pieces, counts, order = result
        kept = np.concatenate([[0], 1 + np.flatnonzero(problem.rows.is_output)])
        outputs = np.concatenate([np.asarray(piece) for piece in pieces], axis=2)[:, :, kept]
        steps = np.sum([np.asarray(count) for count in counts], axis=0)
        return blocks.join(outputs, steps, order)

    return Prepared(run, gather)


_CHOICES = (32, 64, 128, 256)

TOOLS = (
    Tool("diffrax-scan", "vmap of a scan over rows", _prepare_scan, 128, _CHOICES, baseline=True),
    Tool(
        "diffrax-jump-ts",
        "one solve with jump_ts",
        _prepare_jump_ts,
        64,
        _CHOICES,
        baseline=True,
    ),
    Tool(
        "diffrax-interval",
        "one call from Python a dose interval",
        _prepare_interval,
        64,
        _CHOICES,
        baseline=True,
    ),
    Tool(
        "diffrax-joint",
        "a block as one system, one step size",
        _prepare_joint(ordered=False),
        64,
        _CHOICES,
        reproducible_per_patient=False,
    ),
    Tool(
        "diffrax-joint-sorted",
        "the same, patients sorted by their fastest rate",
        _prepare_joint(ordered=True),
        64,
        _CHOICES,
        reproducible_per_patient=False,
    ),
)
