"""The steps of lanes from one row to the next, recorded as they are taken and replayed backwards.

A record has room for a fixed number of steps, numbered through all rows, and keeps the last ones.
Steps that are no more on it when their turn comes are taken again, in parts where one way has more
than there is room for, so that any number of steps is replayed right. Taking them again for the
first time leaves marks along the way, and later parts set out from these: a way is taken twice more
in all, unless it has more than `MARKS` times the steps that there is room for.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import jaxpr_as_fun

from insilico.solve import crossings, stability
from insilico.solve.adaptive import Limits, Moving, Tried, any_of, attempt, judge
from insilico.solve.cotangents import floating, plus, replaced
from insilico.solve.crossings import Going, Watched
from insilico.solve.fields import Components, Field
from insilico.solve.methods import Method, Stepper, Trial
from insilico.solve.recordings import MARKS, Kept, Marks
from insilico.solve.stability import Probe
from insilico.solve.triggers import GOING, Signals


class Constants(NamedTuple):
    """What the functions of a stepper have in them: arrays of lanes and numbers."""

    step: Any
    rates: Any
    flow: Any


class Opened(NamedTuple):
    """A stepper whose functions take what they have in them as their first argument.

    - `between`: the components whose interpolant each step comes with.
    """

    step: Callable[..., Trial]
    rates: Callable[..., Components]
    flow: Callable[..., Components]
    between: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        method: Method,
        field: Field,
        time: Array,
        state: Components,
        between: tuple[int, ...] = (),
    ) -> tuple[Opened, Constants]:
        """The method made ready for a field, and what its functions have in them."""
        stepper = method.prepare(field, time, state)
        first = stepper.rates(time, state) if method.reuses_rates else ()
        stepping = functools.partial(stepper.step, between=between)
        step, of_step = closure_converted(stepping, time, time, state, first)
        rates, of_rates = closure_converted(stepper.rates, time, state)
        flow, of_flow = opened_flow(stepper, time, state)
        return cls(step, rates, flow, between), Constants(of_step, of_rates, of_flow)

    def stepper(self, constants: Constants) -> Stepper:
        return _Stepper(self, constants)


def opened_flow(
    stepper: Stepper, time: Array, state: Components
) -> tuple[Callable[..., Components], list[Any]]:
    """The flow of `Opened.of` alone, and what it has in it."""
    return closure_converted(stepper.flow, time, time, state)


class _Stepper:
    def __init__(self, opened: Opened, constants: Constants):
        self.opened, self.constants = opened, constants

    def rates(self, time: Array, state: Components) -> Components:
        return self.opened.rates(self.constants.rates, time, state)

    def step(
        self,
        time: Array,
        size: Array,
        state: Components,
        rates: Components,
        between: tuple[int, ...] = (),
    ) -> Trial:
        assert between in ((), self.opened.between), "other components than it was opened for"
        return self.opened.step(self.constants.step, time, size, state, rates)

    def flow(self, time: Array, size: Array, state: Components) -> Components:
        return self.opened.flow(self.constants.flow, time, size, state)


class Sums(NamedTuple):
    """Cotangents: of the state before the steps replayed so far, and of all else they depend on.

    - `constants`: of the floating-point ones of the stepper's flow.
    - `time`, `target`: of the times at which lanes set out and arrive; None where not asked for.
    """

    state: Components
    constants: list[Array]
    time: Any
    target: Any

    @classmethod
    def of(cls, state: Components, constants: Constants, timed: bool) -> Sums:
        """Before anything is replayed: the state's, at the end of the way."""
        zero = jnp.zeros_like(state[0]) if timed else None
        return cls(state, [jnp.zeros_like(leaf) for leaf in floating(constants.flow)], zero, zero)


class Journey(NamedTuple):
    """The way of lanes to their `target`, from their `first` moment on.

    - `probe`: of the fastest rate, at that moment, which bounds the steps; None for a method that
      is stable with any.
    - `signals`: the triggers to look out for, if there are any; `located`: in a replay, the lanes
      whose way has ended where one crosses.
    """

    method: Method
    opened: Opened
    constants: Constants
    limits: Limits
    target: Array
    first: Moving | Watched
    probe: Probe | None
    signals: Signals | None = None
    located: Array | None = None

    def taken(self) -> tuple[Any, Probe | None]:
        """Where lanes are at the end, without a record, and the probe there."""
        if self.signals is not None:
            return self._watched.take((self.first, self.probe), lambda *now: self._step(*now)[0])
        return lax.while_loop(
            lambda now: any_of(self.limits.allow(now[0], self.target)),
            lambda now: self._step(*now)[0],
            (self.first, self.probe),
        )

    def judge(self, moving: Any) -> tuple[Any, ...]:
        """Where lanes came to rest, their status, and what is remembered of triggers if any."""
        stepper = self.opened.stepper(self.constants)
        judged = judge if self.signals is None else crossings.judge
        return judged(self.method, stepper, moving, self.target, self.limits)

    @property
    def _watched(self) -> Going:
        assert self.signals is not None
        stepper = self.opened.stepper(self.constants)
        return Going(self.method, stepper, self.target, self.limits, self.signals)

    def _step(
        self, moving: Any, probe: Probe | None
    ) -> tuple[tuple[Any, Probe | None], tuple[Moving, Tried]]:
        """A step, and from where and how it was tried."""
        stepper = self.opened.stepper(self.constants)
        at: Moving = moving.moving if isinstance(moving, Watched) else moving
        if probe is not None:
            going = self.limits.allow(at, self.target)
            if isinstance(moving, Watched):
                # The place of a crossing is told by the size of the step that it was found on.
                going = going & (moving.watch.phase == GOING)
            at, probe = stability.bounded(probe, self.method, stepper, at, going, self.limits)
        if isinstance(moving, Watched):
            after, tried = self._watched.attempt(moving._replace(moving=at))
        else:
            after, tried = attempt(self.method, stepper, at, self.target, self.limits)
        return (after, probe), (at, tried)

    @property
    def moment(self) -> tuple[Any, Probe | None]:
        """Where lanes are before the first step, and the probe there."""
        return self.first, self.probe

    def recorded(
        self,
        moment: tuple[Any, Probe | None],
        number: Array,
        record: Array,
        until: Array | None = None,
        marks: Marks | None = None,
    ) -> tuple[tuple[Any, Probe | None], Array, Array, Any]:
        """Steps until nobody has to go further, or up to step `until`.

        `number` is that of the next step. Returns where lanes are then and the probe there, the
        number of the step that would come next, the record, and marks if some are to be left.
        """
        carry = (*moment, number, record, marks)

        def packed(carry: tuple[Any, ...]) -> Any:
            return carry[:2], *carry[2:]

        if self.signals is not None:
            within = None if until is None else lambda *carry: carry[2] < until
            return packed(self._watched.take(carry, self._recording, within))

        def unfinished(carry: tuple[Any, ...]) -> Array:
            if until is not None:
                return carry[2] < until
            return any_of(self.limits.allow(carry[0], self.target))

        return packed(lax.while_loop(unfinished, lambda carry: self._recording(*carry), carry))

    def _recording(
        self, moving: Any, probe: Probe | None, number: Array, record: Array, marks: Marks | None
    ) -> tuple[Any, Probe | None, Array, Array, Marks | None]:
        """A step, and its length (0 where it was not taken), time and state before it on record."""
        if marks is not None:
            marks = marks.passing(number, (moving, probe))
        (after, probe), (at, tried) = self._step(moving, probe)
        length = jnp.where(tried.taken, tried.length, 0.0)
        row = jnp.stack([length, at.time, *at.state])
        place = number % record.shape[0]
        record = lax.dynamic_update_index_in_dim(record, row, place, 0)
        return after, probe, number + 1, record, marks

    def replayed(
        self, sums: Sums, begin: Array, end: Array, kept: Kept, recorded_from: Array
    ) -> tuple[Sums, Kept]:
        """Cotangents carried back over the steps from number `begin` to before `end`.

        Those from number `recorded_from` on are on record; it comes back with others on it where
        steps had to be taken again.
        """
        room = kept.record.shape[0]

        def on_record(start: Array, left: Array, record: Array, sums: Sums) -> Sums:
            return lax.while_loop(
                lambda carry: carry[0] > start,
                lambda carry: (carry[0] - 1, self._back(carry[0] - 1, record, carry[1])),
                (left, sums),
            )[1]

        if kept.moments is None:
            start = jnp.maximum(begin, recorded_from)
            return on_record(start, end, kept.record, sums), kept
        lost = jnp.minimum(end, recorded_from)
        spacing = jnp.maximum(room, -((begin - lost) // MARKS))

        def part(carry: tuple[Array, Kept, Sums]) -> tuple[Array, Kept, Sums]:
            left, kept, sums = carry
            known = left > recorded_from
            # There are no marks yet before the last of the lost steps.
            whole = known | (left == lost)
            marks = Marks(kept.moments, begin, spacing)
            number, marked = marks.before(left)
            number = jnp.where(whole, begin, number)
            moment = jax.tree.map(functools.partial(jnp.where, whole), self.moment, marked)
            _, _, record, marks = self.recorded(
                moment, jnp.where(known, left, number), kept.record, left, marks
            )
            start = jnp.where(known, recorded_from, jnp.maximum(number, left - room))
            start = jnp.maximum(begin, start)
            return start, Kept(record, marks.moments), on_record(start, left, record, sums)

        _, kept, sums = lax.while_loop(lambda carry: carry[0] > begin, part, (end, kept, sums))
        return sums, kept

    def _back(self, number: Array, record: Array, sums: Sums) -> Sums:
        """Cotangents before a step from those after it."""
        row = lax.dynamic_index_in_dim(record, number % record.shape[0], keepdims=False)
        length, time, *components = (row[index] for index in range(row.shape[0]))
        state = tuple(components)
        taken = length > 0.0
        # Idle lanes take some step, by which nothing passes.
        length = jnp.where(taken, length, self.limits.smallest)
        passing = tuple(jnp.where(taken, leaf, 0.0) for leaf in sums.state)
        # All of the step's operations ask for these: without a barrier each would look them up on
        # the record again.
        length, time, state, passing = lax.optimization_barrier((length, time, state, passing))

        def flow(
            constants: list[Array], time: Array, length: Array, state: Components
        ) -> Components:
            everything = replaced(self.constants.flow, constants)
            return self.opened.flow(everything, time, length, state)

        def before(of_state: Components) -> Components:
            pairs = zip(of_state, sums.state, strict=True)
            return tuple(jnp.where(taken, new, old) for new, old in pairs)

        constants = floating(self.constants.flow)
        if sums.time is None:
            _, pull = jax.vjp(lambda c, y: flow(c, time, length, y), constants, state)
            of_constants, of_state = lax.optimization_barrier(pull(passing))
            return Sums(before(of_state), plus(sums.constants, of_constants), None, None)
        _, pull = jax.vjp(flow, constants, time, length, state)
        of_constants, of_time, of_length, of_state = lax.optimization_barrier(pull(passing))
        last = length == self.target - time
        if self.located is not None:
            last = last & ~self.located
        of_length = jnp.where(last, of_length, 0.0)
        return Sums(
            before(of_state),
            plus(sums.constants, of_constants),
            sums.time + of_time - of_length,
            sums.target + of_length,
        )


def closure_converted(
    function: Callable[..., Any], *examples: Any
) -> tuple[Callable[..., Any], list[Any]]:
    """`function` with all arrays that it has in it as a list, its new first argument; and the list.

    `examples` are arguments of the shapes and types that it will be called with.
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*examples)
    structure = jax.tree.structure(shape)

    def opened(constants: list[Any], *arguments: Any) -> Any:
        program = jaxpr_as_fun(closed.replace(consts=constants))
        return jax.tree.unflatten(structure, program(*jax.tree.leaves(arguments)))

    return opened, [jnp.asarray(constant) for constant in closed.consts]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Static:
    """A choice that is part of a program, not of its numbers."""

    value: bool | tuple[bool, ...]
