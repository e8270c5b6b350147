"""A batch of patients made ready for a compiled program: checked and cut into blocks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array
from jax.core import Tracer

from insilico.model import Model
from insilico.solve.aligned import refuse_parameters
from insilico.solve.blocks import BLOCK, LANES, over_devices, solve_block
from insilico.solve.closures import refuse_traced
from insilico.solve.courses import Rule
from insilico.solve.drivers import Choice
from insilico.solve.events import Events, Pattern, check_events
from insilico.solve.guards import DerivativeError
from insilico.solve.records import Layout, Records, RecordTable, overlaps
from insilico.solve.rows import Schedule, Shape, refuse_rule
from insilico.solve.tolerances import Precision, TolerancesAsNumbers
from insilico.solve.walks import Walk
from insilico.vocabulary import Vector


@dataclasses.dataclass(frozen=True)
class Job:
    """What was asked for, checked and ready to be handed to a program.

    - `pattern`, `layout`: what the program is made for: the schedule's shape, its tree and which of
      its leaves are each patient's own.
    - `whole`: parameters, schedule and others, not cut into blocks.
    """

    pattern: Shape
    layout: tuple[Any, tuple[bool, ...]]
    blocks: Blocks
    whole: tuple[Any, Schedule, tuple[Any, ...]]

    def some(self, patients: np.ndarray) -> Blocks:
        """Blocks of the patients of these numbers."""

        def own(leaf: Any) -> Any:
            return np.asarray(leaf)[..., patients]

        parameters, schedule, others = self.whole
        schedule = jax.tree.map(lambda leaf: own(leaf) if np.ndim(leaf) == 2 else leaf, schedule)
        return in_blocks(jax.tree.map(own, parameters), schedule, jax.tree.map(own, others))


def prepare(
    model: Model,
    parameters: Any,
    events: Events | Records,
    pattern: Pattern | None,
    rule: Rule | None,
    *others: Any,
    unit: int = LANES,
) -> Job:
    """Check the arguments of `solve`; of `others`, arrays have the patients' axis last."""
    given = jax.tree.leaves((parameters, events, others))
    if any(isinstance(leaf, Tracer) for leaf in given):
        raise DerivativeError(
            "numbers are traced, but this solve runs outside of traced programs: under jit, vmap "
            "or a derivative use solve_traced(..., derivative=...) instead"
        )
    refuse_traced(model=model, rule=rule)
    parameters = columns_of(model, parameters)
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(parameters) if leaf.ndim}
    if len(sizes) > 1:
        raise ValueError(f"parameters of different lengths: {sorted(sizes)}")
    schedule: Schedule
    shape: Shape
    if isinstance(events, Records):
        patients = len(events.patients)
        if sizes - {patients}:
            raise ValueError(f"parameters of {sizes.pop()} patients; the table has {patients}")
        parameters = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (patients,)), parameters)
        schedule, shape = _laid_out(model, parameters, events)
    elif pattern is None:
        raise ValueError(
            f"events need their pattern, solve(model, parameters, *schedule(model, ...)), or are a "
            f"table as read_records gives it; found {type(events).__name__} alone"
        )
    else:
        schedule, shape = events, pattern
        check_events(model, events, pattern)
        # Parameters that all patients share are for as many as the events or the rule are for.
        leaves = jax.tree.leaves(others)
        sizes = sizes or {np.shape(leaf)[-1] for leaf in events if np.ndim(leaf) == 2}
        sizes = sizes or {np.shape(leaf)[-1] for leaf in leaves if np.ndim(leaf)}
        patients = max(sizes, default=1)
        if rule is None and np.any(np.asarray(events.order) >= 0):
            raise ValueError("events name orders of a rule, but there is no rule")
        parameters = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (patients,)), parameters)
    refuse_rule(shape, rule)
    if patients == 0:
        raise ValueError("there are no patients: the arrays of parameters are empty")
    leaves, structure = jax.tree.flatten(schedule)
    own = tuple(np.ndim(leaf) == 2 for leaf in leaves)
    blocks = in_blocks(parameters, schedule, others, unit)
    return Job(shape, (structure, own), blocks, (parameters, schedule, others))


def _laid_out(model: Model, parameters: Any, records: Records) -> tuple[RecordTable, Layout]:
    """The table with room for what these patients have under way at their steady states."""
    if records.model is not model:
        raise ValueError(
            f"the event table was read for model {records.model.name}; read it for {model.name}"
        )
    table, layout = records.laid_out()
    if model.dosing is None or not layout.steady:
        return table, layout
    needed = int(jax.jit(overlaps, static_argnums=0)(model, parameters, table))
    # By powers of two: other parameters rarely need another program.
    room = 0 if needed == 0 else 1 << (needed - 1).bit_length()
    return records.laid_out(max(room, layout.overlaps))


class Blocks(NamedTuple):
    """Patients cut into blocks, as many on each device.

    - `arguments`: of a program for all devices: events that patients share; parameters, events of
      each and other arrays, their blocks' axis first and the patients' last.
    """

    patients: int
    arguments: tuple[list, Any, list, Any]

    def joined(self, leaf: Array) -> np.ndarray:
        """A result on the devices, brought to the host with its patients first."""
        block = leaf.shape[-1]
        result = np.empty((*leaf.shape[1:-1], self.patients), leaf.dtype)
        for shard in leaf.addressable_shards:
            first = shard.index[0].start or 0
            for index, values in enumerate(np.asarray(shard.data), start=first):
                place = result[..., index * block : (index + 1) * block]
                place[...] = values[..., : place.shape[-1]]
        return np.moveaxis(result, -1, 0)


def in_blocks(parameters: Any, events: Schedule, others: Any, unit: int = LANES) -> Blocks:
    """Parameters, arrays (patients,), and what goes with them, cut into blocks and filled up.

    Raises `ValueError` for arrays of other lengths.
    """
    (patients,) = jax.tree.leaves(parameters)[0].shape
    devices = jax.local_device_count()
    block = min(BLOCK, unit * -(-patients // (unit * devices)))
    blocks = devices * -(-patients // (block * devices))

    def pad(leaf: Any) -> np.ndarray:
        """Copies of the last patient up to whole blocks; the blocks' axis goes first.

        In numpy: each operation of JAX outside a compiled program costs as much as many patients.
        """
        values = np.asarray(leaf)
        if values.shape[-1:] != (patients,):
            raise ValueError(
                f"parameters, events and subject of different lengths: an array of shape "
                f"{values.shape} among {patients} patients, whose axis has to be the last"
            )
        extra = [(0, 0)] * (values.ndim - 1) + [(0, blocks * block - patients)]
        values = np.pad(values, extra, mode="edge").reshape(*values.shape[:-1], blocks, block)
        return np.moveaxis(values, -2, 0)

    leaves = jax.tree.leaves(events)
    common = [leaf for leaf in leaves if np.ndim(leaf) < 2]
    columns = [pad(leaf) for leaf in leaves if np.ndim(leaf) == 2]
    return Blocks(
        patients,
        (common, jax.tree.map(pad, parameters), columns, jax.tree.map(pad, others)),
    )


def columns_of(model: Model, parameters: Any) -> Any:
    """The model's parameters with every entry an array (), or (patients,), of float64."""
    refuse_parameters(model, parameters)

    def column(name: str, value: Any) -> np.ndarray:
        try:
            values = np.asarray(value)
        except ValueError:
            values = np.asarray(None)
        if values.dtype.kind not in "fiu":
            raise ValueError(f"parameter {name} must hold numbers; found {value!r}")
        values = values.astype(float)
        if values.ndim > 1:
            raise ValueError(
                f"parameter {name} must be a number or an array (patients,); "
                f"found one of shape {values.shape}"
            )
        return values

    def entry(name: str, value: Any) -> Any:
        if isinstance(value, Vector):
            return Vector(*(column(name, component) for component in value))
        return column(name, value)

    return model.Parameters(*map(entry, model.Parameters._fields, parameters))


def put_together(layout: tuple[Any, tuple[bool, ...]], common: list, columns: list) -> Any:
    """A schedule from the leaves that patients share and those that they do not."""
    structure, own = layout
    shared, individual = iter(common), iter(columns)
    return jax.tree.unflatten(
        structure, [next(individual) if mine else next(shared) for mine in own]
    )


@functools.lru_cache(maxsize=64)
def program_of(
    model: Model,
    pattern: Shape,
    method: str,
    rule: Rule | None,
    layout: tuple[Any, tuple[bool, ...]],
    choice: Choice,
    precision: Precision,
) -> Callable[..., Walk]:
    """The compiled program that solves blocks of patients on all devices."""

    def one_block(
        tolerances: TolerancesAsNumbers, common: list, parameters: Any, columns: list, others: Any
    ) -> Walk:
        events = put_together(layout, common, columns)
        subject, noise = others
        return solve_block(
            model,
            parameters,
            events,
            pattern,
            tolerances,
            method=method,
            rule=rule,
            subject=subject,
            noise=noise,
            driver=choice,
            precision=precision,
        )

    return over_devices(one_block, shared=2)
