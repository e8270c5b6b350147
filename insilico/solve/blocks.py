"""Patients on lanes inside a traced program: cut into chunks, sorted, spread over all devices.

Patients run in chunks of a fixed number of lanes, always full, so that each patient meets the same
machine instructions whoever runs beside it: its numbers do not depend, to the last bit, on the
batch, on the order or on the number of devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import AxisType, PartitionSpec

from insilico.devices import QUICKLY
from insilico.model import Model
from insilico.programs import Shared
from insilico.programs import shared as shared_program
from insilico.solve import guards, loops, methods
from insilico.solve.ahead import walk_ahead
from insilico.solve.cotangents import with_failed_still
from insilico.solve.courses import Course, Rule
from insilico.solve.drivers import Choice, Driver, Launch, choose_driver
from insilico.solve.guards import Derivative
from insilico.solve.precision import in_precision
from insilico.solve.records.table import RecordTable, Role
from insilico.solve.rows import Schedule, Shape, as_rows, refuse_rule
from insilico.solve.tolerances import Precision, TolerancesAsNumbers
from insilico.solve.walks import Walk, walk

LANES = 64
"""Patients a chunk. Fewer leave vector units idle, more fall out of the cache (measured)."""

FEWEST = 4
"""Patients of the narrowest chunk, for a handful of patients in a traced program."""

BLOCK = 1024
"""Patients a block: the unit of work that is dispatched; sorting never crosses it."""


def solve_block(
    model: Model,
    parameters: Any,
    events: Schedule,
    pattern: Shape,
    tolerances: TolerancesAsNumbers,
    *,
    method: str | None = None,
    derivative: Derivative | None = None,
    rule: Rule | None = None,
    subject: Any = None,
    noise: Any = None,
    driver: Driver | Choice = "auto",
    launch: Launch | None = None,
    precision: Precision = "double",
) -> Walk:
    """`walk` for a number of patients that `filled` gives, inside a traced program.

    Arrays have the patients' axis last. Patients are sorted by the model's fastest rate, so that
    those who need similar steps share a chunk, and come back in their own order. `Records.laid_out`
    gives a table and a layout in place of events and pattern; there is an output for each record.

    `derivative` says how the result may be differentiated with respect to parameters, amounts and
    times of events, and `subject`: not at all (None), "reverse" (`jax.grad`, `jax.vjp`), "forward"
    (`jax.jvp`, `jax.jacfwd`) or "second" (`jax.jvp` of `jax.grad`). Any other way raises
    `DerivativeError`. Patients that failed have derivatives of zero. Methods of fixed steps have
    only forward ones. `noise` are the words of a key a patient
    (`insilico.solve.brownian.words_of`), (2, patients). `driver` and `launch` are those of
    `insilico.solve.choose_driver`. With `precision="single"` everything is in numbers of 32 bits.
    """
    guards.check_mode(derivative)
    refuse_rule(pattern, rule)
    parameters, events, subject, tolerances = in_precision(
        precision, (parameters, events, subject, tolerances)
    )
    parameters, events, subject = guards.guarded(derivative, (parameters, events, subject))
    backwards = derivative in ("reverse", "second")
    name = loops.reversible(model, method) if backwards else methods.known(method or model.method)
    choice = choose_driver(
        model,
        parameters,
        events,
        pattern,
        method=name,
        derivative=derivative,
        rule=rule,
        subject=subject,
        driver=driver,
        launch=launch,
    )
    if choice.driver == "kernel":
        # Not on top: half a second that only a kernel is worth.
        from insilico.solve.kernel import walk_in_kernel

        rows, shape, prior = as_rows(
            model,
            parameters,
            events,
            pattern,
            tolerances,
            loops.advance_of(model, name),
            derivative,
            name,
        )
        walked = walk_in_kernel(
            model,
            parameters,
            rows,
            shape,
            tolerances,
            method=methods.get(name),
            rule=rule,
            subject=subject,
            prior=prior,
            order=Chunks.of(model, parameters, events).order,
            launch=choice.launch,
            interpret=choice.interpreted,
        )
        return guards.guarded(derivative, walked)

    def chunk(own: tuple[Any, Schedule, Any, Any]) -> Walk:
        parameters, events, subject, noise = own
        advance = loops.advance_of(model, name, noise)
        rows, shape, prior = as_rows(
            model, parameters, events, pattern, tolerances, advance, derivative, name
        )
        if backwards or (derivative is not None and name in methods.REVERSIBLE):
            walking, given = loops.differentiable(name).of(
                model, parameters, rows, shape, name, rule, subject, prior
            )
            take = walking.walk if backwards else walking.plain
            return take(given, tolerances)
        # What passes over rows is read off the state alone, with the first inputs.
        passing = shape.between and rule is None and model.triggers is None and not model.varying
        passing = passing and jax.default_backend() == "cpu"
        if passing and derivative is None and name in methods.ADAPTIVE:
            course = Course(model, parameters, shape)
            return walk_ahead(course, rows, tolerances, methods.get(name))[0]
        return walk(
            model,
            parameters,
            rows,
            shape,
            tolerances,
            rule=rule,
            subject=subject,
            advance=advance,
            prior=prior,
        )

    found = Chunks.of(model, parameters, events).map(chunk, parameters, events, subject, noise)
    if derivative == "forward":
        found = with_failed_still(found)
    return guards.guarded(derivative, found)


def filled(patients: int) -> int:
    """How many lanes a traced program solves so many patients on: whole chunks, of `LANES` each.

    A single chunk has only as many as it needs, in powers of two from `FEWEST`.
    """
    if patients > LANES // 2:
        return -(-patients // LANES) * LANES
    return max(FEWEST, 1 << (patients - 1).bit_length())


def padded(leaf: Array, lanes: int) -> Array:
    """So many patients, the last axis, of which the last one fills up what is missing."""
    extra = lanes - leaf.shape[-1]
    if not extra:
        return leaf
    # As `jnp.pad` with the edge, in a tenth of its operations.
    last = jnp.broadcast_to(leaf[..., -1:], (*leaf.shape[:-1], extra))
    return jnp.concatenate([leaf, last], axis=-1)


class Chunks(NamedTuple):
    """Patients cut into chunks of `LANES`, those who need similar steps together.

    - `order`: the patients' numbers, chunk after chunk. None where they stand in their own order:
      they fit one chunk, or nothing tells who needs similar steps.
    - `patients`: how many there are.
    """

    order: Array | None
    patients: int

    @classmethod
    def of(cls, model: Model, parameters: Any, events: Schedule) -> Chunks:
        """Patients with similar fastest rates together; before all, of event tables, those with
        about as many rows, since a chunk is done when its longest is."""
        (patients,) = jax.tree.leaves(parameters)[0].shape
        if patients <= LANES:
            return cls(None, patients)
        keys = [] if model.fastest_rate is None else [model.fastest_rate(parameters)]
        if isinstance(events, RecordTable):
            rows = jnp.sum(jnp.asarray(events.row.role) != Role.UNUSED, axis=0)
            keys.append(jnp.floor(jnp.log2(jnp.maximum(rows, 1))))
        return cls(jnp.lexsort(keys) if keys else None, patients)

    def cut(self, leaf: Array) -> Array:
        """From (…, patients) to (chunks, …, lanes)."""
        in_order = leaf if self.order is None else leaf[..., self.order]
        return jnp.moveaxis(in_order.reshape(*leaf.shape[:-1], -1, LANES), -2, 0)

    def join(self, leaf: Array) -> Array:
        """Back again."""
        in_order = jnp.moveaxis(leaf, 0, -2).reshape(*leaf.shape[1:-1], self.patients)
        return in_order if self.order is None else in_order[..., jnp.argsort(self.order)]

    def scan(
        self,
        function: Callable[[Any, Any], tuple[Any, Any]],
        start: Any,
        parameters: Any,
        events: Schedule,
        *others: Any,
    ) -> Any:
        """`function(carry, (parameters, events, *others))` of one chunk after the other.

        Arrays have the patients' axis last; events that all patients share go to every chunk whole.
        """
        if self.patients <= LANES:
            # One chunk: a loop around it would be gone through by every derivative in vain.
            return function(start, (parameters, events, *others))[1]
        leaves, structure = jax.tree.flatten(events)
        shared = [jnp.ndim(leaf) < 2 for leaf in leaves]
        own = [leaf for leaf, same in zip(leaves, shared, strict=True) if not same]

        def of_chunk(carry: Any, cut: tuple[Any, list[Array], Any]) -> tuple[Any, Any]:
            parameters, columns, others = cut
            remaining = iter(columns)
            pairs = zip(leaves, shared, strict=True)
            rows = jax.tree.unflatten(
                structure, [leaf if same else next(remaining) for leaf, same in pairs]
            )
            return function(carry, (parameters, rows, *others))

        cut = jax.tree.map(self.cut, (parameters, own, others))
        return jax.tree.map(self.join, jax.lax.scan(of_chunk, start, cut)[1])

    def map(self, function: Callable[[Any], Any], parameters: Any, *others: Any) -> Any:
        """The same without a carry."""
        return self.scan(lambda _, own: ((), function(own)), (), parameters, *others)


def over_devices(function: Callable[..., Any], *, shared: int = 0) -> Shared:
    """Compile `function` of one block to run over many blocks on all devices of the machine.

    The result takes arrays with a leading axis of blocks, a multiple of the number of devices;
    the first `shared` arguments have no such axis and go to every device whole.
    """
    mesh = jax.make_mesh((jax.local_device_count(),), ("blocks",), axis_types=(AxisType.Auto,))

    def on_device(*arguments: Any) -> Any:
        common, own = arguments[:shared], arguments[shared:]
        # A GPU is filled by all blocks together; a core of a CPU is by one.
        over_blocks = jax.vmap if jax.default_backend() == "gpu" else _one_by_one
        return over_blocks(lambda block: function(*common, *block))(own)

    options = compiler_options()

    @functools.partial(shared_program, options=options)
    @functools.partial(jax.jit, compiler_options=options)
    def program(*arguments: Any) -> Any:
        specs = tuple(
            PartitionSpec() if index < shared else PartitionSpec("blocks")
            for index in range(len(arguments))
        )
        return jax.shard_map(
            on_device, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("blocks"), check_vma=False
        )(*arguments)

    return program


def _one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.partial(jax.lax.map, function)


def compiler_options() -> dict[str, str]:
    """XLA's options for lane programs on this machine's default device.

    512-bit vectors instead of the default 256 gain about a quarter on processors that have them.
    LLVM's first level of optimisation gives the same bits as its second at the same speed (within
    10 % either way, 0 on average), and compiles in two thirds of the time. Where JAX is told to
    leave most optimisations out (`jax_disable_most_optimizations`), these programs do so, too.
    """
    if jax.default_backend() != "cpu":
        return {}
    hasty = jax.config.read("jax_disable_most_optimizations")
    level = QUICKLY if hasty else {"xla_backend_optimization_level": "1"}
    return {"xla_cpu_prefer_vector_width": "512", **level}
