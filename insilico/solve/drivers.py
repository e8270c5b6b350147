"""Which driver solves a batch of patients, and why.

XLA's driver (`insilico.solve.walks`) runs everywhere and takes every model. The kernel
(`insilico.solve.kernel`) is for a GPU and for models whose numbers fit its registers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

import jax

from insilico.hashing import Keyed
from insilico.model import Model
from insilico.solve import methods
from insilico.solve.courses import Rule
from insilico.solve.guards import Derivative
from insilico.solve.plain import Unsuitable
from insilico.solve.tolerances import Tolerances

Driver = Literal["auto", "xla", "kernel"]
NAMES: tuple[Driver, ...] = get_args(Driver)

MOST_WORDS = 1024
"""Words of 32 bits a lane that a program may have alive at once: four times a thread's registers.

What does not fit registers is kept in the first-level cache. Compiled for Hopper, estimates of 72,
148 and 168 words came to 72, 159 and 208 registers of a thread's 255, and 296 words to all of them
and 124 words of stack. Where a stack stops to pay has not been measured; `gpu.sh` of
`scripts/bench` times both drivers.
"""


@dataclasses.dataclass(frozen=True)
class Launch:
    """How patients are laid over a GPU; it changes speed, never results.

    - `lanes`: patients a program, a power of two. Those of one program wait for one another.
    - `warps`: groups of 32 threads a program. One has no need to talk to others.
    """

    lanes: int = 32
    warps: int = 1


class Choice(NamedTuple):
    """How a batch is solved.

    - `driver`: `"xla"` or `"kernel"`; `reason`: why, in a sentence.
    - `launch`: the kernel's lanes and warps a program; None for XLA.
    - `words`: words of 32 bits that a lane of the kernel has alive at once, estimated; None where
      no kernel was looked at.
    - `interpreted`: whether XLA runs the kernel's operations, for want of a GPU.
    """

    driver: Literal["xla", "kernel"]
    reason: str
    launch: Launch | None = None
    words: int | None = None
    interpreted: bool = False


def choose_driver(
    model: Model,
    parameters: Any,
    events: Any,
    pattern: Any,
    *,
    method: str | None = None,
    derivative: Derivative | None = None,
    rule: Rule | None = None,
    subject: Any = None,
    driver: Driver | Choice = "auto",
    launch: Launch | None = None,
) -> Choice:
    """The driver that `solve` takes for these arguments on the default device, and why.

    **Arguments** beyond those of `solve`; arrays may be anything with a shape and a type:

    - `driver`: `"auto"` takes the kernel on a GPU where it fits, if a small solve by it, once a
      process, agrees with XLA's driver; `"xla"` and `"kernel"` take that one. Off a GPU the kernel
      is interpreted: right, but slow. A choice already made stays.
    - `launch`: lanes and warps of the kernel's programs.

    Raises `ValueError` for another name, and for `"kernel"` where the kernel cannot do it.
    """
    if isinstance(driver, Choice):
        return driver
    if driver not in NAMES:
        raise ValueError(f"there is no driver {driver!r}; there are {', '.join(NAMES)}")
    if driver == "xla":
        return Choice("xla", "it was asked for")
    on_gpu = jax.default_backend() == "gpu"
    if driver == "auto" and not on_gpu:
        return Choice("xla", f"the default device is no GPU, but {jax.default_backend()}")
    launch = launch or Launch()
    try:
        if derivative is not None:
            raise Unsuitable("derivatives")
        name = methods.known(method or model.method)
        words = _words_of_kernel(model, parameters, events, pattern, name, rule, subject, launch)
    except Unsuitable as missing:
        reason = f"the kernel cannot do {missing}"
        if driver == "kernel":
            raise ValueError(f"{reason}; choose driver='xla'") from missing
        return Choice("xla", reason)
    if driver == "kernel":
        return Choice("kernel", "it was asked for", launch, words, not on_gpu)
    if words > MOST_WORDS:
        reason = f"a lane of the kernel would hold {words} words, more than {MOST_WORDS}"
        return Choice("xla", reason, words=words)
    # Not on top: it solves, by the drivers that are chosen here.
    from insilico.solve import kernel_check

    if wrong := kernel_check.fault():
        return Choice("xla", f"the kernel {wrong}", words=words)
    reason = f"a GPU, and a lane of the kernel holds {words} words, up to {MOST_WORDS}"
    return Choice("kernel", reason, launch, words)


def _words_of_kernel(
    model: Model,
    parameters: Any,
    events: Any,
    pattern: Any,
    method: str,
    rule: Rule | None,
    subject: Any,
    launch: Launch,
) -> int:
    """Raises `Unsuitable` where no kernel does this."""
    if method not in methods.ADAPTIVE:
        raise Unsuitable(f"{method}, whose steps are not adaptive")
    if model.varying:
        raise Unsuitable("parameters that vary between occasions")

    def column(leaf: Any) -> jax.ShapeDtypeStruct:
        shape = leaf.shape if leaf.ndim == 1 else (*leaf.shape[:-1], launch.lanes)
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    def own(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*leaf.shape[:-1], launch.lanes), leaf.dtype)

    given = jax.tree.map(own, parameters), jax.tree.map(column, events), jax.tree.map(own, subject)
    leaves, structure = jax.tree.flatten(given)
    found = _traced(model, pattern, method, Keyed(rule), launch, structure, tuple(leaves))
    if isinstance(found, str):
        raise Unsuitable(found)
    return found


@functools.lru_cache(maxsize=256)
def _traced(
    model: Model,
    pattern: Any,
    method: str,
    rule: Keyed,
    launch: Launch,
    structure: Any,
    leaves: tuple[jax.ShapeDtypeStruct, ...],
) -> int | str:
    """Trace the kernel for one program of lanes; nothing is computed. A text says what none can do.

    It takes longer than many a solve, and comes to the same each time.
    """
    # Not on top: half a second that only a kernel is worth.
    from insilico.solve import loops
    from insilico.solve.kernel import walk_in_kernel
    from insilico.solve.rows import as_rows

    def solved(parameters: Any, schedule: Any, subject: Any) -> Any:
        tolerances = Tolerances().numbers()
        rows, shape, prior = as_rows(
            model,
            parameters,
            schedule,
            pattern,
            tolerances,
            loops.advance_of(model, method),
            None,
            method,
        )
        return walk_in_kernel(
            model,
            parameters,
            rows,
            shape,
            tolerances,
            method=methods.get(method),
            rule=rule.value,
            subject=subject,
            launch=launch,
            prior=prior,
        )

    try:
        program = jax.make_jaxpr(solved)(*jax.tree.unflatten(structure, leaves))
    except Unsuitable as missing:
        return str(missing)
    kernels = [e for e in program.jaxpr.eqns if e.primitive.name == "pallas_call"]
    return words_alive(kernels[0].params["jaxpr"], launch.lanes)


def words_alive(program: Any, lanes: int) -> int:
    """The most words of 32 bits a lane that are needed at one time, as the operations stand.

    Compilers put operations in another order; this is an estimate, of what a step asks for.
    """

    def words(variables: Any) -> int:
        return sum(
            -(-variable.aval.dtype.itemsize // 4)
            for variable in variables
            # Conditions are bits of registers of their own; references are no numbers.
            if getattr(variable.aval, "shape", None) == (lanes,)
            and variable.aval.dtype != bool
            and "Ref" not in type(variable.aval).__name__
        )

    alive = {result for result in program.outvars if hasattr(result, "count")}
    most = words(alive)
    for equation in reversed(program.eqns):
        inside = max(
            (words_alive(each, lanes) - words(each.invars) for each in programs(equation)),
            default=0,
        )
        alive.difference_update(equation.outvars)
        alive.update(each for each in equation.invars if not hasattr(each, "val"))
        most = max(most, words(alive) + max(inside, words(equation.outvars)))
    return most


def programs(equation: Any) -> Iterator[Any]:
    """The programs that an operation runs."""
    for value in equation.params.values():
        for each in value if isinstance(value, tuple) else (value,):
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                yield inner
