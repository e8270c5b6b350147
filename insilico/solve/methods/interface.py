"""What the loops of steps ask of a method."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from jax import Array

    from insilico.model import Model
    from insilico.solve.fields import Components, Field
    from insilico.solve.noise import Coefficients, Structure


class Trial(NamedTuple):
    """A trial step: the state at its end, the rates there, and the estimate of its error.

    `rates` is empty where the next step has no use for them. `between` is the method's own
    interpolant of the components that were asked for: of each the coefficients of θ, θ², … in
    y(t + θh) − y(t), for θ from 0 to 1.
    """

    state: Components
    rates: Components
    error: Components
    between: tuple[Components, ...] = ()


def interpolated(
    share: Array | float, state: Components, between: tuple[Components, ...]
) -> Components:
    """Components at a share of a step that began in `state`, by their interpolants `between`."""

    def value(begin: Array, curve: Components) -> Array:
        total = curve[-1]
        for coefficient in curve[-2::-1]:
            total = coefficient + share * total
        return begin + share * total

    return tuple(value(begin, curve) for begin, curve in zip(state, between, strict=True))


class Stepper(Protocol):
    """A method made ready for one field."""

    @property
    def rates(self) -> Field:
        """The field itself."""
        ...

    def step(
        self,
        time: Array,
        size: Array,
        state: Components,
        rates: Components,
        between: tuple[int, ...] = (),
    ) -> Trial:
        """From `state` with its `rates` at `time` to `time + size`, lane by lane.

        `between` are the components whose interpolant is asked for.
        """
        ...

    def flow(self, time: Array, size: Array, state: Components) -> Components:
        """The end of that step alone: what its derivative is taken of."""
        ...


class Method(Protocol):
    """One way to take a step.

    - `order`: the power of the step size that the error estimate of one step goes with.
    - `reuses_rates`: whether a step's last rates serve the next one as its first. If not, `rates`
      of a step and of its `Trial` are empty.
    """

    @property
    def name(self) -> str: ...
    @property
    def order(self) -> int: ...
    @property
    def reuses_rates(self) -> bool: ...

    def prepare(self, field: Field, time: Array, state: Components) -> Stepper:
        """The method for `field`, whose arguments will look like `time` and `state`.

        What depends on neither is computed here and now, outside the loop of steps.
        """
        ...


class FixedStepMethod(Protocol):
    """One way to take a step of a given size, without an estimate of its error."""

    @property
    def name(self) -> str: ...

    def prepare(
        self, model: Model, field: Field, time: Array, state: Components
    ) -> Callable[[Array, Array, Components], Components]:
        """A function from time, size and state to the state at the step's end, lane by lane.

        `field` holds the equations of `model`; its arguments will look like `time` and `state`.
        Raises `ValueError` for a model that does not say what the method needs.
        """
        ...


class StochasticMethod(Protocol):
    """One way to take a step of a given size along a path of the model's Wiener processes."""

    @property
    def name(self) -> str: ...

    def prepare(
        self,
        structure: Structure,
        field: Field,
        diffusion: Coefficients,
        time: Array,
        state: Components,
    ) -> Callable[[Array, Array, Components, tuple[Array, ...]], Components]:
        """A function from time, size, state and the processes' increments to the state at the end.

        Raises `ValueError` for noise that the method is not right for.
        """
        ...
