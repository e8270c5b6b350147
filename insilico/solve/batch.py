"""Many patients at once: padded into lanes, sorted, spread over all devices of the machine.

Patients run in chunks of a fixed number of lanes, always full (the last one padded with copies), so
that each patient meets the same machine instructions whoever runs beside it: its numbers do not
depend, to the last bit, on the batch, on the order or on the number of devices.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AxisType, PartitionSpec

from insilico.model import Model
from insilico.solve import methods
from insilico.solve.adaptive import advance
from insilico.solve.courses import Rule
from insilico.solve.drivers import Choice, Launch, choose_driver
from insilico.solve.events import Events, Pattern
from insilico.solve.tolerances import Tolerances, TolerancesAsNumbers
from insilico.solve.walks import Walk, walk
from insilico.vocabulary import Vector

LANES = 64
"""Patients a chunk. Fewer leave vector units idle, more fall out of the cache (measured)."""

BLOCK = 1024
"""Patients a block: the unit of work that is dispatched; sorting never crosses it."""


def solve_block(
    model: Model,
    parameters: Any,
    events: Events,
    pattern: Pattern,
    tolerances: TolerancesAsNumbers,
    *,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
    driver: str | Choice = "auto",
    launch: Launch | None = None,
) -> Walk:
    """`walk` for a number of patients that is a multiple of `LANES`, inside a traced program.

    Arrays have the patients' axis last. Patients are sorted by the model's fastest rate, so that
    those who need similar steps share a chunk, and come back in their own order. `driver` and
    `launch` are those of `insilico.solve.choose_driver`.
    """
    advancing = functools.partial(advance, methods.get(method or model.method))
    (patients,) = jax.tree.leaves(parameters)[0].shape
    rate = None if model.fastest_rate is None else model.fastest_rate(parameters)
    order = jnp.arange(patients) if rate is None else jnp.argsort(rate)
    choice = choose_driver(
        model, parameters, events, pattern,
        method=method, rule=rule, subject=subject, driver=driver, launch=launch,
    )  # fmt: skip
    if choice.driver == "kernel":
        # Not on top: half a second that only a kernel is worth.
        from insilico.solve.kernel import walk_in_kernel

        return walk_in_kernel(
            model, parameters, events, pattern, tolerances,
            method=methods.get(method or model.method), rule=rule, subject=subject,
            order=None if rate is None else order,
            launch=choice.launch, interpret=choice.interpreted,
        )  # fmt: skip
    shared = jax.tree.map(lambda leaf: jnp.ndim(leaf) < 2, events)

    def cut(leaf: Array) -> Array:
        chunks = leaf[..., order].reshape(*leaf.shape[:-1], -1, LANES)
        return jnp.moveaxis(chunks, -2, 0)

    def join(leaf: Array) -> Array:
        return jnp.moveaxis(leaf, 0, -2).reshape(*leaf.shape[1:-1], patients)[
            ..., jnp.argsort(order)
        ]

    def chunk(own: tuple[Any, list[Array], Any]) -> Walk:
        parameters, columns, subject = own
        remaining = iter(columns)
        rows = jax.tree.map(lambda leaf, same: leaf if same else next(remaining), events, shared)
        return walk(
            model, parameters, rows, pattern, tolerances,
            rule=rule, subject=subject, advance=advancing,
        )  # fmt: skip

    own_events = [leaf for leaf in jax.tree.leaves(events) if jnp.ndim(leaf) == 2]
    chunks = jax.tree.map(cut, (parameters, own_events, subject))
    return jax.tree.map(join, jax.lax.map(chunk, chunks))


def over_devices(function: Callable[..., Any], *, shared: int = 0) -> Callable[..., Any]:
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

    @functools.partial(jax.jit, compiler_options=compiler_options())
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
    """
    return {"xla_cpu_prefer_vector_width": "512"} if jax.default_backend() == "cpu" else {}


class Solution(NamedTuple):
    """What came of each patient; arrays have the patients' axis first.

    - `outputs`: the model's outputs NamedTuple, (patients, times).
    - `visit_time`: (patients, slots), NaN where unused; `records`, the rule's, alike.
    - `status`, `stopped`, `steps`: (patients,), see `insilico.solve.Walk`.
    """

    outputs: Any
    visit_time: np.ndarray
    records: Any
    status: np.ndarray
    stopped: np.ndarray
    steps: np.ndarray
    state: Any


@dataclasses.dataclass(frozen=True)
class Pending:
    """Patients that the devices are at work on, or done with.

    - `walk`: what comes of them, on the devices: arrays (blocks, …, patients of a block), of which
      the last block's last patients may be padding.
    - `choice`: the driver that solves them, and why.
    """

    walk: Walk
    patients: int
    choice: Choice

    def wait(self) -> Pending:
        """Return once every patient is solved."""
        jax.block_until_ready(self.walk)
        return self

    def solution(self) -> Solution:
        """Wait for the patients and bring what came of them to the host."""

        def joined(leaf: Array) -> np.ndarray:
            block = leaf.shape[-1]
            result = np.empty((*leaf.shape[1:-1], self.patients), leaf.dtype)
            for shard in leaf.addressable_shards:
                first = shard.index[0].start or 0
                for index, values in enumerate(np.asarray(shard.data), start=first):
                    place = result[..., index * block : (index + 1) * block]
                    place[...] = values[..., : place.shape[-1]]
            return np.moveaxis(result, -1, 0)

        return Solution(**jax.tree.map(joined, self.walk)._asdict())


def solve(
    model: Model,
    parameters: Any,
    events: Events,
    pattern: Pattern,
    *,
    tolerances: Tolerances | None = None,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
    driver: str = "auto",
    launch: Launch | None = None,
) -> Solution:
    """Solve any number of patients through a schedule.

    **Arguments:**

    - `parameters`: the model's `Parameters`, each a number or an array (patients,).
    - `events`, `pattern`: from `insilico.solve.schedule`; arrays (rows,) or (rows, patients).
    - `tolerances`: default 1e-6 relative.
    - `method`: one of `insilico.solve.methods.NAMES`; default: the model's.
    - `rule`, `subject`: decisions at visits and what they need; arrays of `subject` have the
      patients' axis last.
    - `driver`: `"auto"`, `"xla"` or `"kernel"`; `launch`: how the kernel is laid over a GPU. See
      `insilico.solve.choose_driver`, which says what would be taken and why.

    Patients that fail keep their place and say so in `status`. Raises `ValueError` for parameters
    that are not the model's or not one number a patient, for arrays of different lengths, for no
    patients at all, for events that ask for orders without a rule, and for a driver that cannot do
    what is asked.
    """
    return submit(
        model, parameters, events, pattern,
        tolerances=tolerances, method=method, rule=rule, subject=subject,
        driver=driver, launch=launch,
    ).solution()  # fmt: skip


def submit(
    model: Model,
    parameters: Any,
    events: Events,
    pattern: Pattern,
    *,
    tolerances: Tolerances | None = None,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
    driver: str = "auto",
    launch: Launch | None = None,
) -> Pending:
    """As `solve`, but return as soon as the devices are at work."""
    parameters = _columns(model, parameters)
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(parameters) if leaf.ndim}
    if len(sizes) > 1:
        raise ValueError(f"parameters of different lengths: {sorted(sizes)}")
    patients = sizes.pop() if sizes else 1
    if rule is None and np.any(np.asarray(events.order) >= 0):
        raise ValueError("events name orders of a rule, but there is no rule")
    if patients == 0:
        raise ValueError("there are no patients: the arrays of parameters are empty")
    parameters = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (patients,)), parameters)
    subject = jax.tree.map(np.asarray, subject)
    choice = choose_driver(
        model, parameters, events, pattern,
        method=method, rule=rule, subject=subject, driver=driver, launch=launch,
    )  # fmt: skip
    unit = LANES if choice.launch is None else max(LANES, choice.launch.lanes)
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

    own = tuple(np.ndim(leaf) == 2 for leaf in events)
    chosen = methods.get(method or model.method).name
    walked = _program(model, pattern, chosen, rule, own, choice)(
        (tolerances or Tolerances()).numbers(),
        [leaf for leaf, individual in zip(events, own, strict=True) if not individual],
        jax.tree.map(pad, parameters),
        [pad(leaf) for leaf, individual in zip(events, own, strict=True) if individual],
        jax.tree.map(pad, subject),
    )
    return Pending(walked, patients, choice)


def _columns(model: Model, parameters: Any) -> Any:
    """The model's parameters with every entry an array (), or (patients,), of float64."""
    if not isinstance(parameters, model.Parameters):
        raise ValueError(
            f"parameters of model {model.name} must be its Parameters; "
            f"found {type(parameters).__name__}"
        )

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


@functools.lru_cache(maxsize=64)
def _program(
    model: Model,
    pattern: Pattern,
    method: str,
    rule: Rule | None,
    own: tuple[bool, ...],
    choice: Choice,
) -> Callable[..., Walk]:
    def one_block(
        tolerances: TolerancesAsNumbers, common: list, parameters: Any, columns: list, subject: Any
    ) -> Walk:
        shared, individual = iter(common), iter(columns)
        events = Events(*(next(individual) if mine else next(shared) for mine in own))
        return solve_block(
            model, parameters, events, pattern, tolerances,
            method=method, rule=rule, subject=subject, driver=choice,
        )  # fmt: skip

    return over_devices(one_block, shared=2)
