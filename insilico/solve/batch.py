"""Any number of patients: checked, filled up to whole blocks and solved on all devices."""

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
from insilico.solve import groups, loops, methods
from insilico.solve import precision as precision_
from insilico.solve.aligned import refuse_parameters
from insilico.solve.blocks import (
    BLOCK,
    LANES,
    over_devices,
    solve_block,
)
from insilico.solve.brownian import words_of
from insilico.solve.choosing import MethodChoice, choose_method
from insilico.solve.courses import Rule
from insilico.solve.drivers import Choice, Launch, choose_driver
from insilico.solve.events import Events, Pattern, check_events
from insilico.solve.guards import DerivativeError
from insilico.solve.records import Layout, Records, RecordTable, overlaps
from insilico.solve.records.parting import apart
from insilico.solve.rows import Schedule, Shape, refuse_rule
from insilico.solve.status import Status
from insilico.solve.tolerances import Tolerances, TolerancesAsNumbers
from insilico.solve.walks import Walk
from insilico.vocabulary import Vector


class Solution(NamedTuple):
    """What came of each patient; arrays have the patients' axis first.

    - `outputs`: the model's outputs NamedTuple, (patients, times).
    - `visit_time`: (patients, slots), NaN where unused; `records`, the rule's, alike.
    - `administered`: what a rule gave at each event that asks for an order, (patients, orders); NaN
      where a patient failed before. `()` without a rule.
    - `status`, `stopped`, `steps`: (patients,), see `insilico.solve.Walk`.
    - `triggered`: the model's `Triggers`, of each `first`, the time of its first event or NaN, and
      `count`, how many there were, (patients,). `()` for a model without triggers.
    - `measured_error`: of a solve in single precision, the largest relative difference of outputs
      from those of a sample of the patients in double precision and to a tighter tolerance. None in
      double precision.
    """

    outputs: Any
    visit_time: np.ndarray
    records: Any
    administered: Any
    status: np.ndarray
    stopped: np.ndarray
    steps: np.ndarray
    state: Any
    triggered: Any = ()
    measured_error: float | None = None


@dataclasses.dataclass(frozen=True)
class Pending:
    """Patients that the devices are at work on, or done with.

    - `walk`: what comes of them, on the devices: arrays (blocks, …, patients of a block), of which
      the last block's last patients may be padding.
    - `choice`: the driver that solves them, `method`: the method of integration, and why.
    """

    walk: Walk
    blocks: Blocks
    choice: Choice
    method: MethodChoice
    sample: Sample | None = None

    def wait(self) -> Pending:
        """Return once every patient is solved."""
        jax.block_until_ready(self.walk)
        return self

    def solution(self) -> Solution:
        """Wait for the patients and bring what came of them to the host."""
        found = Solution(**jax.tree.map(self.blocks.joined, self.walk)._asdict())
        if self.sample is None:
            return found
        return found._replace(measured_error=self.sample.error_of(found))


class Sample(NamedTuple):
    """Some of the patients of a solve, at work in double precision: their numbers and walks."""

    patients: np.ndarray
    walk: Walk
    blocks: Blocks

    def error_of(self, found: Solution) -> float:
        """The largest relative error of the outputs of these patients; NaN if none was solved."""
        outputs, status = jax.tree.map(self.blocks.joined, (self.walk.outputs, self.walk.status))
        ours = jax.tree.map(lambda leaf: leaf[self.patients], (found.outputs, found.status))
        usable = (status == Status.OK) & (ours[1] == Status.OK)
        return precision_.largest_error(ours[0], outputs, usable)


def solve(
    model: Model,
    parameters: Any,
    events: Events | Records,
    pattern: Pattern | None = None,
    *,
    tolerances: Tolerances | None = None,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
    noise: Array | None = None,
    driver: str = "auto",
    launch: Launch | None = None,
    precision: str = "double",
) -> Solution:
    """Solve any number of patients through a schedule, or through their event table.

    **Arguments:**

    - `parameters`: the model's `Parameters`, each a number or an array (patients,); numbers are
      those of every patient.
    - `events`, `pattern`: from `insilico.solve.schedule`; arrays (rows,) or (rows, patients). Or an
      event table from `insilico.solve.read_records` alone: then outputs are (patients, records),
      NaN beyond a patient's last record, and `Records.frame` puts them beside the table.
    - `tolerances`: default 1e-6 relative.
    - `method`: one of `insilico.solve.methods.NAMES`, or `"auto"`, for which a sample of the
      patients is solved by an explicit and a stiff one (`insilico.solve.choose_method`); default:
      the model's.
    - `rule`, `subject`: decisions at visits and what they need; arrays of `subject` have the
      patients' axis last.
    - `noise`: for a model with noise, one random key a patient, which addresses its paths: the same
      key gives the same paths, whatever the step and the schedule.
    - `driver`: `"auto"`, `"xla"` or `"kernel"`; `launch`: how the kernel is laid over a GPU. See
      `insilico.solve.choose_driver`, which says what would be taken and why.
    - `precision`: `"double"` or `"single"`, numbers of 64 or 32 bits. Single precision raises
      relative tolerances below 1e-5 to that, and says in `measured_error` how far off it was.

    Patients that fail keep their place and say so in `status`. Raises `ValueError` for parameters
    that are not the model's or not one number a patient, for arrays of different lengths, for no
    patients at all, for events that ask for orders without a rule, that are not of the pattern,
    whose times fall or that name a compartment or an input the model does not have, for an event
    table with a rule, for a method that does not go with the model or its noise, and for a driver
    that cannot do what is asked. Raises `DerivativeError` for numbers that are traced, which are
    for `insilico.solve.solve_traced`.
    """
    ask = functools.partial(
        submit, model, tolerances=tolerances, method=method, rule=rule, driver=driver,
        launch=launch, precision=precision,
    )  # fmt: skip
    parted = _parted(model, parameters, events)
    if parted is None:
        return ask(parameters, events, pattern, subject=subject, noise=noise).solution()
    parameters, records, parts = parted
    pending = [
        ask(own, table, pattern, subject=known, noise=keys)
        for own, table, (known, keys) in groups.cut(parts, parameters, records, (subject, noise))
    ]
    return groups.put_together(parts, [each.solution() for each in pending])


def _parted(
    model: Model, parameters: Any, events: Events | Records
) -> tuple[Any, Records, list[np.ndarray]] | None:
    """Parameters as arrays, the event table and the numbers of the patients of its groups; None
    for what is one batch, or is not one number a patient, which `prepare` refuses."""
    if not isinstance(events, Records) or len(parts := apart(events)) == 1:
        return None
    parameters = columns_of(model, parameters)
    sizes = {leaf.shape for leaf in jax.tree.leaves(parameters)}
    return (parameters, events, parts) if sizes <= {(), (len(events.patients),)} else None


def submit(
    model: Model,
    parameters: Any,
    events: Events | Records,
    pattern: Pattern | None = None,
    *,
    tolerances: Tolerances | None = None,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
    noise: Array | None = None,
    driver: str | Choice = "auto",
    launch: Launch | None = None,
    precision: str = "double",
) -> Pending:
    """As `solve`, but return as soon as the devices are at work, on one batch in any case."""
    refuse_parameters(model, parameters)
    tolerances = tolerances or Tolerances()
    if method == methods.AUTO:
        found = choose_method(
            model, parameters, events, pattern, tolerances,
            rule=rule, subject=subject, noise=noise,
        )  # fmt: skip
    else:
        asked = "it was asked for" if method else "it is the model's own"
        found = MethodChoice(methods.known(method or model.method), asked)
    chosen = found.name
    loops.check(model, chosen, noisy=noise is not None, tolerances=tolerances)
    precision_.check(precision, chosen)
    tolerances = tolerances.attainable(precision)
    words = None if noise is None else words_of(noise)
    unit = LANES if launch is None else max(LANES, launch.lanes)
    job = prepare(model, parameters, events, pattern, rule, subject, words, unit=unit)
    common, *own = job.blocks.arguments
    first, columns, (known, _) = jax.tree.map(lambda leaf: leaf[0], tuple(own))
    schedule = put_together(job.layout, common, columns)
    first, schedule, known = precision_.in_precision(precision, (first, schedule, known))
    choice = choose_driver(
        model, first, schedule, job.pattern,
        method=chosen, rule=rule, subject=known, driver=driver, launch=launch,
    )  # fmt: skip
    walked = program_of(model, job.pattern, chosen, rule, job.layout, choice, precision)(
        tolerances.numbers(), *job.blocks.arguments
    )
    if precision == "double":
        return Pending(walked, job.blocks, choice, found)
    precision_.check_times(job.whole[1].time)
    numbers = precision_.sample_of(job.blocks.patients)
    blocks = job.some(numbers)
    again = program_of(
        model, job.pattern, chosen, rule, job.layout, Choice("xla", "a sample"), "double"
    )(precision_.tighter(_with_step(model, tolerances)).numbers(), *blocks.arguments)
    return Pending(walked, job.blocks, choice, found, Sample(numbers, again, blocks))


def _with_step(model: Model, tolerances: Tolerances) -> Tolerances:
    return dataclasses.replace(tolerances, step=tolerances.step or model.step)


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
    precision: str,
) -> Callable[..., Walk]:
    """The compiled program that solves blocks of patients on all devices."""

    def one_block(
        tolerances: TolerancesAsNumbers, common: list, parameters: Any, columns: list, others: Any
    ) -> Walk:
        events = put_together(layout, common, columns)
        subject, noise = others
        return solve_block(
            model, parameters, events, pattern, tolerances,
            method=method, rule=rule, subject=subject, noise=noise, driver=choice,
            precision=precision,
        )  # fmt: skip

    return over_devices(one_block, shared=2)
