"""The driver for a GPU: one kernel in which each lane walks through its schedule on its own.

XLA's driver takes all lanes to a row before any goes on. Here a lane has its own time, step size
and row, its numbers stay in registers from its first step to its last, and whoever needs many
steps holds up only the few lanes of its program. What a step is, what happens at a row and when a
lane has failed are the functions that XLA's driver calls (`insilico.solve.adaptive`, `.courses`,
`.methods`), so that a lane takes the same steps in both; only who waits for whom differs.

The kernel is written in Pallas for Triton. One program has a block of lanes, a power of two; all
arrays stay in memory and are read and written entry by entry at the patient's own place, so that
patients may be sorted without their numbers being moved, and at the lane's own row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from insilico.model import Model
from insilico.solve import reactions
from insilico.solve.courses import Condition, Course, Rule
from insilico.solve.drivers import Launch
from insilico.solve.events import Events, Pattern
from insilico.solve.lane_program import Decisions, Program, Reading
from insilico.solve.methods import Method
from insilico.solve.plain import Unsuitable
from insilico.solve.tolerances import TolerancesAsNumbers
from insilico.solve.walks import Prior, Walk, judged, passed, started, times_of_rows


class _Given(NamedTuple):
    """What the kernel reads.

    - `observation`, `slot`, `ask`: for each row the number of its output time, of its slot and of
      its order, or -1; the first (rows, patients) where each patient observes at rows of its own.
    - `tolerances`: the numbers, (3,). `constants`: numbers that the rule closes over, each (1,).
    - `order`: the patient of each lane; None where they stand in their own order.
    - `rows`: how many rows each patient passes, where those have rows of their own; else None.
    """

    parameters: Any
    events: Events
    observation: Array
    slot: Array
    ask: Array
    tolerances: Array
    start: Condition
    subject: Any
    constants: list[Array]
    order: Array | None
    rows: Array | None


def walk_in_kernel(
    model: Model,
    parameters: Any,
    events: Events,
    pattern: Pattern,
    tolerances: TolerancesAsNumbers,
    *,
    method: Method,
    rule: Rule | None = None,
    subject: Any = None,
    order: Array | None = None,
    launch: Launch | None = None,
    interpret: bool = False,
    prior: Prior | None = None,
) -> Walk:
    """As `insilico.solve.walk`, for any number of patients that is a multiple of `launch.lanes`.

    **Arguments** beyond those of `walk`:

    - `order`: the patients in the order in which they fill lanes; results keep the patients' own.
    - `interpret`: run the kernel's operations by XLA, on any device.

    Raises `Unsuitable` where the model, the rule or the schedule has what no kernel can do.
    """
    launch = launch or Launch()
    lanes = launch.lanes
    course = Course(model, parameters, pattern, rule, subject)
    (patients,) = course.lanes
    if lanes & (lanes - 1) or patients % lanes:
        raise ValueError(
            f"{patients} patients do not fill programs of {lanes} lanes, "
            "which have to be a power of two"
        )
    if not pattern.rows:
        raise Unsuitable("a schedule without rows")
    start = started(course, prior)
    observations = len(pattern.observed) if prior is None else prior.observing.shape[0]
    decisions = None if rule is None else Decisions.of(course, rule, start, lanes)
    slots = np.flatnonzero(pattern.slots)
    given = _Given(
        parameters,
        events.in_precision(course.dtype),
        _numbered(pattern.rows, pattern.observed)
        if prior is None
        else _numbered_by_lane(pattern.rows, prior.observing),
        _numbered(pattern.rows, slots),
        _numbered(pattern.rows, pattern.ordered),
        jnp.stack([jnp.asarray(number, course.dtype) for number in tolerances]),
        start,
        subject,
        [] if decisions is None else [jnp.reshape(value, (1,)) for value in decisions.constants],
        None if order is None else order.astype(jnp.int32),
        None if prior is None else passed(events, prior.observing),
    )
    observed = jax.eval_shape(course.outputs, start.position, start.inputs)
    records = None if decisions is None else decisions.visit.results[0]

    def tabled(rows: int, leaf: Any) -> Any:
        return jax.ShapeDtypeStruct((rows, patients), leaf.dtype)

    walk = Walk(
        outputs=jax.tree.map(lambda leaf: tabled(observations, leaf), observed),
        visit_time=tabled(0 if rule is None else len(slots), start.position.time),
        records=()
        if rule is None
        else jax.tree.map(lambda leaf: tabled(len(slots), leaf), records),
        administered=() if rule is None else tabled(len(pattern.ordered), start.position.time),
        status=start.status,
        stopped=start.position.time,
        steps=start.position.steps,
        state=course.named(start.position.state),
        triggered=reactions.triggered(course, start),
    )
    read, given_tree = jax.tree.flatten(given)
    written, walk_tree = jax.tree.flatten(walk)
    # An array without entries has no place in memory.
    some = [index for index, leaf in enumerate(written) if leaf.size]
    types = (jax.tree.map(lambda leaf: leaf.dtype, given), jax.tree.map(lambda w: w.dtype, walk))

    def kernel(*references: Any) -> None:
        sources = jax.tree.unflatten(given_tree, references[: len(read)])
        places: list[Any] = [None] * len(written)
        for index, reference in zip(some, references[len(read) :], strict=True):
            places[index] = reference
        Program(
            model,
            pattern,
            method,
            decisions,
            lanes,
            jax.tree.map(Reading, sources, types[0]),
            jax.tree.unflatten(walk_tree, places),
            fused=not interpret,
        ).run()

    whole = pl.BlockSpec(memory_space=pl.ANY)
    results = pl.pallas_call(
        kernel,
        out_shape=[jax.ShapeDtypeStruct(written[i].shape, _kept(written[i].dtype)) for i in some],
        grid=(patients // lanes,),
        in_specs=[whole] * len(read),
        out_specs=[whole] * len(some),
        compiler_params=triton.CompilerParams(num_warps=launch.warps, num_stages=1),
        interpret=interpret,
        name=f"walk_{model.name}",
    )(*(leaf.astype(_kept(leaf.dtype)) for leaf in map(jnp.asarray, read)))
    leaves = [jnp.zeros(leaf.shape, leaf.dtype) for leaf in written]
    for index, result in zip(some, results, strict=True):
        leaves[index] = result.astype(leaves[index].dtype)
    walked = jax.tree.unflatten(walk_tree, leaves)
    rows = times_of_rows(given.events, course.lanes)
    if prior is None:
        times = rows[np.asarray(pattern.observed, dtype=int)]
        return judged(model, walked, times, prior)
    # What no lane has written is whatever was there.
    there = prior.observing >= 0
    outputs = jax.tree.map(lambda leaf: jnp.where(there, leaf, jnp.nan), walked.outputs)
    times = jnp.take_along_axis(rows, jnp.maximum(prior.observing, 0), axis=0)
    return judged(model, walked._replace(outputs=outputs), times, prior)


def _kept(dtype: Any) -> Any:
    """The type of numbers in memory, where conditions are whole numbers."""
    return jnp.int32 if dtype == jnp.bool_ else dtype


def _numbered(rows: int, chosen: Any) -> Array:
    numbers = np.full(rows, -1, np.int32)
    numbers[list(chosen)] = np.arange(len(chosen))
    return jnp.asarray(numbers)


def _numbered_by_lane(rows: int, observing: Array) -> Array:
    """The same for each lane's own rows, negative where it has no more, (rows, lanes)."""
    count, lanes = observing.shape
    numbers = jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32)[:, None], observing.shape)
    places = jnp.where(observing < 0, rows, observing)
    nothing = jnp.full((rows, lanes), -1, jnp.int32)
    return nothing.at[places, jnp.arange(lanes)].set(numbers, mode="drop")
