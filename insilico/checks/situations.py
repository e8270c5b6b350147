"""What a model is checked at: patients, what happens to them, and the states they pass through."""

from __future__ import annotations

import collections
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from insilico import devices as _devices  # noqa: F401  (float64 before anything is traced)
from insilico.config import dimensions
from insilico.model import Model, NoNoise, NoTriggers
from insilico.randomness import purpose_key, subject_keys
from insilico.solve import Dose, Events, Infusion, Input, Pattern, schedule
from insilico.solve.methods import ADAPTIVE

PATIENTS = 16
"""Patients of a check, the typical one first."""

DOSE = 100.0
"""Into the first compartment, in its unit, unless actions are given."""

TIME_CONSTANTS = 5.0
"""Length of the default horizon in time constants of the slowest rate: 1 % of it is left then."""

VANISHING = 1e-8
"""Share of the largest rate below which one counts as zero. An eigenvalue 0 that stands for two
conserved amounts is found within the square root of the rounding of the others."""

_AMOUNTS = ({"[mass]": 1}, {"[substance]": 1})


@dataclasses.dataclass(frozen=True, eq=False)
class Situation:
    """Patients around `typical`, their schedule, and the model in the forms that checks need.

    Arguments are those of `insilico.checks.check`. Raises `ValueError` for a `cv` or an `until`
    that is not above 0, and for typical values that are not the model's or no finite numbers.
    """

    model: Model
    typical: Any
    cv: float = 0.3
    until: float | None = None
    actions: tuple[Dose | Infusion | Input, ...] | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("cv", "until"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0; found {value}")
        if self.typical is not None and not isinstance(self.typical, self.model.Parameters):
            raise ValueError(
                f"typical values of model {self.model.name} must be its Parameters; "
                f"found {type(self.typical).__name__}"
            )
        for name, value in (self.typical._asdict() if self.typical is not None else {}).items():
            numbers = [np.asarray(leaf) for leaf in jax.tree.leaves(value)]
            if not all(leaf.dtype.kind in "fiu" and np.all(np.isfinite(leaf)) for leaf in numbers):
                raise ValueError(
                    f"typical values of model {self.model.name} must be finite numbers; "
                    f"found {value!r} for {name}"
                )

    def described(self, followed: bool) -> dict[str, Any]:
        """What it is, as plain data; `followed`: what happens to patients, too."""
        typical = None
        if self.typical is not None:
            names = self.model.numbers("Parameters")
            typical = dict(zip(names, map(float, jax.tree.leaves(self.typical)), strict=True))
        given = {"typical": typical, "cv": self.cv, "seed": self.seed, "patients": PATIENTS}
        if not followed:
            return given
        try:
            until = self.horizon
        except Exception:  # the checks tell what is wrong with the model's functions
            return given
        return {**given, "until": until, "actions": [str(each) for each in self.given_actions]}

    @functools.cached_property
    def parameters(self) -> Any:
        """The patients' parameters, arrays (patients,): log-normal, the typical patient first.

        A typical share, a pure number of at most 1, stays one: what would lie above is reflected.
        Without typical values, numbers around 1.
        """
        random = np.random.default_rng(self.seed)
        given = self.model.ones("Parameters") if self.typical is None else self.typical
        typical, structure = jax.tree.flatten(given)
        units = (
            quantity.unit
            for quantity in self.model.quantities("Parameters").values()
            for _ in range(quantity.size or 1)
        )
        spread = np.sqrt(np.log1p(self.cv**2))
        columns = []
        for unit, value in zip(units, typical, strict=True):
            column = value * np.exp(spread * random.normal(size=PATIENTS))
            if self.typical is not None and unit == "1" and 0.0 < value <= 1.0:
                column = np.where(column > 1.0, 1.0 / column, column)
            column[0] = value
            columns.append(column)
        return jax.tree.unflatten(structure, columns)

    @functools.cached_property
    def random_points(self) -> tuple[Any, Any, Any]:
        """States, parameters and inputs drawn apart from each other, arrays (patients,).

        States are log-normal around the initial one, or around their negligible size where that
        is more; the CV is 130 %.
        """
        random = np.random.default_rng(self.seed + 1)

        def spread(around: Any) -> np.ndarray:
            return around * np.exp(random.normal(size=PATIENTS))

        leaves = [np.abs(self._wide(leaf)) for leaf in jax.tree.leaves(self._start)]
        sizes = map(np.maximum, leaves, self.model.negligible())
        state = jax.tree.unflatten(self.structure, [jnp.asarray(spread(size)) for size in sizes])
        inputs = self.model.Inputs(*(spread(np.ones(PATIENTS)) for _ in self.model.Inputs._fields))
        return state, self.parameters, inputs

    @functools.cached_property
    def _start(self) -> Any:
        return self.model.initial(self.parameters)

    @property
    def structure(self) -> Any:
        """The state's tree."""
        return jax.tree.structure(self._start)

    @staticmethod
    def _wide(leaf: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(leaf, float), (PATIENTS,))

    @functools.cached_property
    def given_actions(self) -> tuple[Dose | Infusion | Input, ...]:
        """What happens to each patient."""
        if self.actions is not None:
            return self.actions
        first = next(iter(self.model.quantities("State").values()))
        if dict(dimensions(first.unit)) not in _AMOUNTS:
            return ()
        return (Dose(0.0, self.model.components()[0], DOSE),)

    @functools.cached_property
    def horizon(self) -> float:
        """How long patients are followed, in the model's time unit.

        Raises `ValueError` where nothing changes, so that there is no slowest rate, or where the
        Jacobian is not finite.
        """
        if self.until is not None:
            return self.until
        start = np.array([self._wide(leaf)[0] for leaf in jax.tree.leaves(self._start)])
        for action in self.given_actions:
            if isinstance(action, Dose) and action.time == 0.0:
                start[self.model.compartment(action.compartment)] += action.amount
        patient = jax.tree.map(lambda column: column[:1], self.parameters)
        slopes = self.jacobians(np.zeros(1), start[None, None], patient)
        if not np.isfinite(slopes).all():
            raise ValueError("derivatives of the rates are not finite at the start, typical values")
        rates = nonzero_rates(np.linalg.eigvals(slopes))
        slowest = np.nanmin(rates) if np.isfinite(rates).any() else np.nan
        if not np.isfinite(slowest):
            raise ValueError("no rate at the start from which a horizon follows: state until=")
        return float(f"{TIME_CONSTANTS / slowest:.2g}")

    @functools.cached_property
    def times(self) -> np.ndarray:
        """Times of observation, dense at the start; multiples of the model's step if it has one."""
        even, early = np.linspace(0.0, 1.0, 13)[1:], np.geomspace(1e-3, 1.0, 12)
        times = self.horizon * np.unique(np.round(np.concatenate([even, early]), 6))
        if self.model.step is not None:
            steps = np.round(times / self.model.step)
            times = self.model.step * np.unique(steps[steps > 0])
        return times

    @functools.cached_property
    def schedule(self) -> tuple[Events, Pattern]:
        """The rows of the schedule. Raises what `insilico.solve.schedule` raises."""
        return schedule(self.model, self.given_actions, observe=self.times)

    @functools.cached_property
    def observed(self) -> Model:
        """The model with all numbers of state and outputs as its outputs, and without triggers:
        what is checked are its equations, to the end."""
        everything = _observed(self.model, self.model.components())
        return dataclasses.replace(everything, Triggers=NoTriggers, triggers=None, react=None)

    @functools.cached_property
    def without_noise(self) -> Model:
        """`observed` by an adaptive method: the model's own if that is one, else `tsit5`."""
        method = self.model.method if self.model.method in ADAPTIVE else "tsit5"
        return dataclasses.replace(self.observed, diffusion=None, Noise=NoNoise, method=method)

    @functools.cached_property
    def keys(self) -> Array | None:
        """One key a patient for paths of noise, if there is any."""
        if self.model.diffusion is None:
            return None
        zeros = jnp.zeros(PATIENTS, int)
        return subject_keys(purpose_key(self.seed, "noise"), zeros, zeros, jnp.arange(PATIENTS))

    def inputs_at(self, time: float) -> Any:
        """The model's inputs just before `time`."""
        values = dict.fromkeys(self.model.Inputs._fields, 0.0)
        for action in sorted(
            (each for each in self.given_actions if isinstance(each, Input)), key=lambda a: a.time
        ):
            if action.time < time or action.time == time == 0.0:
                values[action.name] = action.value
        return self.model.Inputs(**values)

    def rates(self, time: Any, flat: Any, parameters: Any, inputs: Any) -> Array:
        """Rates of one patient's components, (components,), in flat order."""
        state = jax.tree.unflatten(self.structure, list(flat))
        rates = jax.tree.leaves(self.model.derivative(time, state, parameters, inputs))
        return jnp.stack([jnp.asarray(rate, float) for rate in rates])

    def jacobians(self, times: np.ndarray, states: np.ndarray, parameters: Any) -> np.ndarray:
        """At `states` (patients, times, components): (patients, times, components, components)."""
        inputs = [self.inputs_at(float(time)) for time in times]
        columns = self.model.Inputs(*(jnp.array(column) for column in zip(*inputs, strict=True)))
        of_times = jax.vmap(jax.jacfwd(self.rates, argnums=1), (0, 0, None, 0))
        of_patients = jax.jit(jax.vmap(of_times, (None, 0, 0, None)))
        return np.asarray(of_patients(times, states, parameters, columns))


def nonzero_rates(eigenvalues: np.ndarray) -> np.ndarray:
    """Their |real parts|, NaN where they vanish beside the largest of the same matrix."""
    rates = np.abs(np.real(eigenvalues))
    largest = rates.max(axis=-1, keepdims=True)
    return np.where(rates > VANISHING * largest, rates, np.nan)


def _observed(model: Model, components: list[str]) -> Model:
    ones = model.ones("Parameters")
    outputs = jax.tree.leaves(
        jax.eval_shape(lambda p: model.outputs(0.0, model.initial(p), p), ones)
    )
    count = len(components) + len(outputs)
    Everything = collections.namedtuple("Everything", [f"number_{i}" for i in range(count)])

    def everything(time: Any, state: Any, parameters: Any) -> Any:
        outputs = model.outputs(time, state, parameters)
        return Everything(*jax.tree.leaves(state), *jax.tree.leaves(outputs))

    return dataclasses.replace(model, Outputs=Everything, outputs=everything)
