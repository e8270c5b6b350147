"""diffrax, used in the ways an expert would try: the baselines.

| tool | one solve covers | step size |
|---|---|---|
| `diffrax-scan` | one row of the schedule, in a `lax.scan` | each patient's own |
| `diffrax-interval` | one row; one call from Python a dose interval | each patient's own |
| `diffrax-jump-ts` | the whole horizon, depot in closed form, `jump_ts` | each patient's own |
| `diffrax-joint` | one row, a block of patients as one system, not sorted | shared by the block |
| `diffrax-joint-sorted` | the same, patients sorted | shared by the block |
| `diffrax-scan-gradient` | `jax.grad` of `diffrax-scan`, the default adjoint | each patient's own |

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

On a GPU all patients are one block, whose parameters are on the device already.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
WASTE_BLOCKS = 8
"""Blocks of patients, spread over all, in which lockstep waste is looked at."""
LANES_AXIS = "lanes"
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


def _row_advance(
    problem: Problem,
    controller: diffrax.AbstractStepSizeController,
    counted: Callable[[Array], Array] = lambda steps: steps,
):
    """A function that takes a state over one row of the schedule; for one patient or a block.

    `counted` says what counts as its steps.
    """

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
        return tuple(y[0] for y in states), counted(steps)

    return advance


def _scan_rows(problem: Problem, advance, rows: Rows, state: State, parameters: State):
    """State at the end of `rows`, outputs (rows, outputs, …) at their stops, steps in all."""

    def over_row(state, row):
        state, steps = advance(state, row, parameters)
        return state, (jnp.stack(problem.outputs(state, parameters)), steps)

    state, (outputs, steps) = lax.scan(over_row, state, rows)
    return state, outputs, steps.sum(axis=0)


def _row_by_row(
    problem: Problem,
    controller: diffrax.AbstractStepSizeController,
    counted: Callable[[Array], Array] = lambda steps: steps,
    precision: str = "float64",
):
    """A solve of the whole schedule from parameters (parameters,) or (parameters, lanes)."""
    advance = _row_advance(problem, controller, counted)
    kept = np.flatnonzero(problem.rows.is_output)
    rows = jax.tree.map(partial(_in_precision, precision=precision), problem.rows)

    def solve(values):
        parameters = tuple(values)
        state = problem.initial(parameters)
        first = jnp.stack(problem.outputs(state, parameters))
        _, outputs, steps = _scan_rows(problem, advance, rows, state, parameters)
        return jnp.concatenate([first[None], outputs[kept]]), steps

    return solve


def _in_precision(values: np.ndarray, precision: str) -> Array:
    return jnp.asarray(values, precision if values.dtype.kind == "f" else values.dtype)


def _over_patients(solve_one: Callable) -> Block:
    return jax.vmap(solve_one, in_axes=1, out_axes=-1, axis_name=LANES_AXIS)


def _turns(steps: Array) -> Array:
    """Turns of the loop that vmap makes of a block's solves: those of its slowest patient."""
    return lax.pmax(steps, LANES_AXIS)


class _Blocks:
    """The patients cut into blocks of lanes for each device, padded by repeating the first."""

    def __init__(self, problem: Problem, patients: int, settings: Settings, lanes: int):
        self.patients = patients
        n_devices = len(settings.devices)
        self.blocks = -(-patients // (n_devices * lanes))
        self.lanes = -(-patients // (n_devices * self.blocks))
        self.devices = n_devices
        self.parameters = problem.parameters[:patients]
        if settings.side_by_side:
            self.parameters = self.parameters.astype(settings.precision)

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

    For implicit solves and for gradients: inside `pmap` or `shard_map` an array's type tells over
    which devices it varies. Lineax then takes the sides of its linear systems for different
    structures, and equinox the arguments of its checkpointed loop. Without threads the devices take
    turns: a call of such a program returns when it is done.
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
    turning: Block | None = None,
    threads: bool = False,
) -> Prepared:
    """One program a device that takes its blocks one after the other.

    `turning` is `block` with turns of its loop in place of steps.
    """
    if settings.side_by_side:
        return _prepare_one_block(block, problem, patients, settings)
    blocks = _Blocks(problem, patients, settings, lanes)

    def program(values):
        return lax.map(block, values)

    if problem.stiff or threads:
        compiled = _by_threads(program, settings.devices)
    else:
        spread = jax.pmap(program, devices=settings.devices)
        compiled = spread.lower(blocks.cut()).compile(compiler_options)

    def run():
        order = np.argsort(problem.fastest_rate(blocks.parameters)) if ordered else None
        return *jax.block_until_ready(compiled(blocks.cut(order))), order

    def gather(result):
        return blocks.join(*result)

    return Prepared(
        run, gather, None if turning is None else _waste(block, turning, blocks, problem)
    )


def _waste(block: Block, turning: Block, blocks: _Blocks, problem: Problem):
    def waste(_: Solution) -> float:
        cut = blocks.cut(np.argsort(problem.fastest_rate(blocks.parameters)))
        cut = cut.reshape(-1, *cut.shape[2:])
        chosen = np.linspace(0, len(cut) - 1, min(WASTE_BLOCKS, len(cut))).round().astype(int)

        def of_block(values):
            return jnp.mean(turning(values)[1]) / jnp.mean(block(values)[1])

        return float(np.mean(jax.jit(lambda some: lax.map(of_block, some))(cut[chosen])))

    return waste


def _prepare_one_block(
    block: Block, problem: Problem, patients: int, settings: Settings
) -> Prepared:
    (device,) = settings.devices
    values = problem.parameters[:patients].T.astype(settings.precision)
    compiled, values = jax.jit(block), jax.device_put(values, device)
    known = problem.reference_patients[problem.reference_patients < patients]

    def run():
        return jax.block_until_ready(compiled(values))

    def gather(result):
        outputs, steps = result
        return Solution(
            np.moveaxis(np.asarray(outputs[..., known]), -1, 0), np.asarray(steps), known
        )

    return Prepared(run, gather)


def _prepare_scan(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    controller, precision = _controller(settings), settings.precision
    block = _over_patients(_row_by_row(problem, controller, precision=precision))
    turning = _over_patients(_row_by_row(problem, controller, _turns))
    return _prepare_block(block, problem, patients, settings, lanes, turning=turning)


def _prepare_scan_gradient(
    problem: Problem, patients: int, settings: Settings, lanes: int
) -> Prepared:
    if settings.side_by_side:
        raise Unavailable("gradients are measured on host devices")
    solve = _row_by_row(problem, _controller(settings))

    def total(values):
        outputs, steps = solve(values)
        return jnp.sum(outputs), steps

    block = _over_patients(jax.grad(total, has_aux=True))
    return _prepare_block(block, problem, patients, settings, lanes, threads=True)


def _prepare_joint(*, ordered: bool):
    def prepare(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
        if settings.side_by_side:
            raise Unavailable("on a GPU all patients would be one system")
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
        step_ts=(
            _in_precision(problem.output_times[1:-1], settings.precision) if problem.stiff else None
        ),
        jump_ts=_in_precision(forced.jump_times, settings.precision),
    )
    times = _in_precision(problem.output_times, settings.precision)

    def solve(values, counted=lambda steps: steps):
        parameters = tuple(values)
        states, steps = _solve(
            problem,
            forced.derivative,
            forced.initial(parameters),
            parameters,
            between=(times[0], times[-1]),
            controller=controller,
            saveat=diffrax.SaveAt(ts=times),
            max_steps=MAX_STEPS,
        )
        return jnp.stack(forced.outputs(states, parameters), axis=1), counted(steps)

    turning = _over_patients(lambda values: solve(values, _turns))
    return _prepare_block(
        _over_patients(solve), problem, patients, settings, lanes, turning=turning
    )


def _prepare_interval(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    if problem.stiff:
        raise Unavailable(f"{problem.name} is stiff: implicit solves do not run in a pmap")
    if settings.side_by_side:
        raise Unavailable("a GPU solves faster by one call: diffrax-scan")
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

    # Its solves are those of the scan, in blocks of another size.
    block, turning = (
        _over_patients(_row_by_row(problem, _controller(settings), counted))
        for counted in (lambda steps: steps, _turns)
    )
    return Prepared(run, gather, _waste(block, turning, blocks, problem))


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
        "diffrax-scan-gradient",
        "jax.grad through the scan, RecursiveCheckpointAdjoint",
        _prepare_scan_gradient,
        128,
        _CHOICES,
        gradient_of="diffrax-scan",
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
