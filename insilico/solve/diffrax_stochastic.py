"""A stochastic model through the same events by diffrax, along the very paths of the lanes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Key

from insilico.model import Model
from insilico.solve.adaptive import Position
from insilico.solve.brownian import Paths, words_of
from insilico.solve.events import Events, Pattern
from insilico.solve.fields import Field
from insilico.solve.noise import Coefficients, structure_of
from insilico.solve.status import Status
from insilico.solve.tolerances import Tolerances, TolerancesAsNumbers
from insilico.solve.walks import Rule, Walk, walk

if TYPE_CHECKING:
    import diffrax


def stochastic_reference(
    model: Model,
    parameters: Any,
    events: Events,
    pattern: Pattern,
    noise: Key[Array, " patients"],
    tolerances: Tolerances | None = None,
    *,
    rule: Rule | None = None,
    subject: Any = None,
    solver: diffrax.AbstractItoSolver | None = None,
) -> Walk:
    """Solve patients one by one with `solver` (default `diffrax.ItoMilstein()`) by `vmap`.

    Arguments as for `insilico.solve.solve`, result as for `insilico.solve.reference`. The Wiener
    processes are those that `noise` addresses, so that each patient can be compared with its lane.
    Steps are the stated ones from row to row: those of the lanes where rows lie on multiples of the
    step. Steps are not limited in number.
    """
    import diffrax  # not on top: who does not ask for it should not wait for it

    tolerances = tolerances or Tolerances()
    step = tolerances.step or model.step
    if step is None:
        raise ValueError(f"model {model.name} states no step")
    chosen = solver or diffrax.ItoMilstein()

    def alone(parameters: Any, events: Events, subject: Any, words: Array) -> Walk:
        return walk(
            model,
            parameters,
            events,
            pattern,
            tolerances.numbers(),
            rule=rule,
            subject=subject,
            advance=functools.partial(_advance, chosen, model, step, words),
        )

    def last_axis(leaf: Array) -> int | None:
        return leaf.ndim - 1 if leaf.ndim else None

    event_axes = jax.tree.map(lambda leaf: 1 if jnp.ndim(leaf) == 2 else None, events)
    mapped = jax.vmap(alone, in_axes=(0, event_axes, jax.tree.map(last_axis, subject), 1))
    walked = mapped(parameters, events, subject, jnp.asarray(words_of(noise)))
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), walked)


def _advance(
    solver: diffrax.AbstractItoSolver,
    model: Model,
    step: float,
    words: Array,
    field: Field,
    position: Position,
    target: Array,
    fresh: Array,
    tolerances: TolerancesAsNumbers,
    negligible: tuple[float, ...],
    diffusion: Coefficients,
) -> tuple[Position, Array]:
    del fresh, tolerances, negligible
    import diffrax

    structure = structure_of(model)
    assert model.step is not None
    paths = Paths.of(words, structure.processes, model.step)

    class Path(diffrax.AbstractBrownianPath):
        t0 = -jnp.inf
        t1 = jnp.inf
        levy_area: Any = diffrax.BrownianIncrement

        def evaluate(self, t0: Any, t1: Any = None, left: bool = True, **others: Any) -> Array:
            del left, others
            assert t1 is not None
            return jnp.stack(paths.go(paths.at(jnp.asarray(t0)), jnp.asarray(t1))[0])

    def drift(time: Any, state: Array, _: Any) -> Array:
        return jnp.stack(field(jnp.asarray(time), tuple(state)))

    def matrix(time: Any, state: Array, _: Any) -> Array:
        found = jnp.zeros((len(state), len(structure.processes)))
        coefficients = diffusion(jnp.asarray(time), tuple(state))
        for (process, component), coefficient in zip(structure.entries, coefficients, strict=True):
            found = found.at[component, process].set(coefficient)
        return found

    span = target - position.time
    count = jnp.maximum(jnp.ceil(span / step - 1e-6), 1.0)
    start = jnp.stack(position.state)
    solution = diffrax.diffeqsolve(
        diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(matrix, Path())),
        solver,
        position.time,
        target,
        span / count,
        start,
        stepsize_controller=diffrax.ConstantStepSize(),
        adjoint=diffrax.ForwardMode(),
        max_steps=None,
        throw=False,
    )
    assert solution.ys is not None
    state = tuple(jnp.where(span > 0.0, solution.ys[-1], start))
    finite = jnp.all(jnp.isfinite(jnp.stack(state)))
    status = jnp.where(finite, Status.OK, Status.NOT_FINITE).astype(jnp.int32)
    steps = position.steps + jnp.where(span > 0.0, solution.stats["num_steps"], 0)
    return position._replace(time=target, state=state, steps=steps), status
