"""Virtual patients of a population under every arm, as a smooth function of its parameters.

Their random numbers are fixed: a random effect is its location plus its standard deviation times a
standard normal number that is the patient's own whatever the parameters are. So what the patients
come to has exact derivatives, and differs between two values of a parameter by what the parameter
does. Of a mixture every patient is each of its components, weighted by their shares.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float, Int
from numpyro import handlers
from numpyro.distributions import Normal

from cohorts.inference.coordinates import categories, combinations, sampled
from cohorts.population import Population
from cohorts.residual import autocorrelated
from cohorts.summaries.arms import Arm, timetable
from cohorts.summaries.exposures import exposure
from cohorts.summaries.targets import Quantity, Target
from insilico import devices as _devices  # noqa: F401  (float64 before anything is drawn)
from insilico.config import Spec
from insilico.devices import QUICKLY
from insilico.model import Model
from insilico.randomness import address, name_hash, purpose_key
from insilico.solve import Derivative, Events, Pattern, Status, Tolerances, solve_traced


class Patients(NamedTuple):
    """What is fixed of virtual patients.

    - `covariates`: by name, (patients,), categories in the population's codes.
    - `effects`: standard normal numbers, by the site of the random effect, (patients,).
    - `noise`: likewise of residual errors, by output, (arms, times, patients).
    - `hyperparameters`: of their population, see `Population.hyperparameters`.
    """

    covariates: Mapping[str, Array]
    effects: Mapping[str, Array]
    noise: Mapping[str, Array]
    hyperparameters: Any


class Course(NamedTuple):
    """What virtual patients come to.

    - `outputs`: true values by name, (arms, times, patients); `measured`: with residual error.
    - `weights`: of the patients, of sum 1.
    - `failed`: how many solves failed.
    """

    outputs: Mapping[str, Float[Array, "arms times patients"]]
    measured: Mapping[str, Float[Array, "arms times patients"]]
    weights: Float[Array, " patients"]
    failed: Int[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False)
class VirtualCohort:
    """So many virtual patients of a population under every arm.

    **Arguments** (usually by `of`):

    - `population`, `options`, `model`: whose patients, of which structural model.
    - `pattern`, `times`: of the arms' schedule, and when outputs are observed.
    - `outputs`, `measured`: the outputs that are observed, and those that have noise.
    - `method`, `tolerances`: of the solves; default: the model's, the engine's.
    """

    population: Population
    options: Spec
    model: Model
    arms: int
    patients: int
    pattern: Pattern
    times: Float[np.ndarray, " times"]
    outputs: tuple[str, ...]
    measured: tuple[str, ...]
    method: str | None = None
    tolerances: Tolerances | None = None

    @classmethod
    def of(
        cls,
        population: Population,
        options: Spec,
        model: Model,
        arms: list[Arm],
        targets: list[Target],
        patients: int,
        *,
        also_at: tuple[float, ...] = (),
        method: str | None = None,
        tolerances: Tolerances | None = None,
    ) -> tuple[VirtualCohort, Events]:
        """The cohort that is needed for these targets, and the events of its arms.

        `also_at`: more times to observe at.
        """
        quantities = quantities_of(targets)
        times = {time for each in quantities for time in each.all_times}
        plan = timetable(model, arms, sorted(times | set(also_at)))
        events = Events(*(jnp.asarray(column) for column in plan.events))
        cohort = cls(
            population=population,
            options=options,
            model=model,
            arms=len(arms),
            patients=patients,
            pattern=plan.pattern,
            times=plan.times,
            outputs=tuple(dict.fromkeys(each.output for each in quantities)),
            measured=tuple(dict.fromkeys(each.output for each in quantities if each.measured)),
            method=method,
            tolerances=tolerances,
        )
        return cohort, events

    def draw(
        self, covariates: Mapping[str, Any], seed: int, purpose: str, arms: list[Arm]
    ) -> Patients:
        """The fixed random numbers of virtual patients with these covariates.

        They are addressed by patient and, for residual errors, by output, arm and time.
        """
        root = purpose_key(seed, purpose)
        keys = jax.vmap(lambda patient: address(root, patient))(jnp.arange(self.patients))
        labels = [
            [name_hash(f"{arm.name} at {time:.9g}") for time in self.times.tolist()] for arm in arms
        ]

        def normal(*hashes: Any) -> Array:
            return jax.vmap(lambda key: jax.random.normal(address(key, *hashes), dtype=float))(keys)

        def drawn(labels: Array) -> tuple[dict[str, Array], dict[str, Array]]:
            effects = {name: normal(name_hash(name)) for name in self.effects(covariates)}
            each = jax.vmap(jax.vmap(normal, in_axes=(None, 0)), in_axes=(None, 0))
            noise = {name: each(name_hash(f"residual {name}"), labels) for name in self.measured}
            return effects, noise

        program = jax.jit(drawn, compiler_options=QUICKLY)
        effects, noise = program(jnp.asarray(labels, jnp.uint32))
        return Patients(
            {name: jnp.asarray(values) for name, values in covariates.items()},
            effects,
            noise,
            self.population.hyperparameter_arrays,
        )

    def effects(self, covariates: Mapping[str, Any]) -> list[str]:
        """The sites of the random effects. Raises `ValueError` for one that is not normal."""
        found = []
        for site in sampled(self._traced(covariates)):
            if not isinstance(_base(site["fn"]), Normal):
                raise ValueError(f"random effect {site['name']} is not normal")
            found.append(site["name"])
        return found

    def _traced(self, covariates: Mapping[str, Any]) -> dict[str, Any]:
        """The sites of the patients' parameters, abstractly."""
        found: dict[str, Any] = {}

        def look() -> None:
            with handlers.block(), handlers.seed(rng_seed=0):
                numbers = self.population.hyperparameters
                typical = self.population.typical_values(self.options, numbers)
                with handlers.trace() as sites, numpyro.plate("subject", self.patients):
                    self.population.individual(typical, covariates, self.options, numbers)
            found.update(sites)

        jax.eval_shape(look)
        return found

    def parameters(self, typical: Any, patients: Patients) -> tuple[Any, Array]:
        """The structural model's `Parameters` of every patient as each component, and weights."""
        components = combinations(categories(self._traced(patients.covariates)))
        found = [self._of_component(typical, patients, component) for component in components]
        parameters = jax.tree.map(lambda *parts: jnp.concatenate(parts), *(p for p, _ in found))
        return parameters, jnp.concatenate([w for _, w in found]) / self.patients

    def _of_component(
        self, typical: Any, patients: Patients, component: Mapping[str, int]
    ) -> tuple[Any, Array]:
        def value(site: dict[str, Any]) -> Array | None:
            if site["name"] in component:
                return jnp.full(self.patients, component[site["name"]])
            if site["name"] in patients.effects:
                normal = _base(site["fn"])
                return normal.loc + normal.scale * patients.effects[site["name"]]
            return None

        with (
            handlers.block(),
            handlers.trace() as sites,
            handlers.substitute(substitute_fn=value),
            numpyro.plate("subject", self.patients),
        ):
            parameters = self.population.individual(
                typical, patients.covariates, self.options, patients.hyperparameters
            )
        share = sum(
            (site["fn"].log_prob(site["value"]) for site in categories(sites)), start=jnp.zeros(())
        )
        everyone = (self.patients,)
        return (
            jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, everyone), parameters),
            jnp.broadcast_to(jnp.exp(share), everyone),
        )

    def course(
        self, typical: Any, patients: Patients, events: Events, derivative: Derivative | None
    ) -> Course:
        """What these patients come to with these typical values; `derivative` as `solve_traced`."""
        parameters, weights = self.parameters(typical, patients)
        true, failed = self.outputs_of(parameters, events, derivative)
        copies = len(weights) // self.patients
        noise = {name: jnp.tile(draws, copies) for name, draws in patients.noise.items()}
        residual = self.population.residual
        numbers = {name: residual[name].numbers(typical) for name in self.measured}
        return Course(true, self.measured_of(true, noise, numbers), weights, jnp.sum(failed))

    def outputs_of(
        self, parameters: Any, events: Events, derivative: Derivative | None
    ) -> tuple[dict[str, Array], Array]:
        """True values by output, (arms, times, patients), and whose solve failed under any arm."""

        def of_arm(events: Events) -> tuple[dict[str, Array], Array]:
            solution = solve_traced(
                self.model,
                parameters,
                events,
                self.pattern,
                derivative=derivative,
                method=self.method,
                tolerances=self.tolerances,
            )
            found = {name: getattr(solution.outputs, name).T for name in self.outputs}
            return found, solution.status != Status.OK

        if self.arms == 1:
            found = of_arm(jax.tree.map(lambda column: column[0], events))
            values, failed = jax.tree.map(lambda leaf: leaf[None], found)
        else:
            values, failed = jax.lax.map(of_arm, events)
        return values, jnp.any(failed, axis=0)

    def measured_of(
        self, true: Mapping[str, Array], noise: Mapping[str, Array], numbers: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Measured values where the true ones are these, by output."""
        result = {}
        for name in self.measured:
            draws, own = noise[name], numbers[name]
            if own.autocorrelation is not None:
                rate = jnp.broadcast_to(own.autocorrelation, draws.shape[-1:])
                times = jnp.asarray(self.times)
                draws = jax.vmap(lambda d, r=rate, t=times: autocorrelated(d, t, r))(draws)
            result[name] = self.population.residual[name].measured(true[name], draws, own)
        return result

    def quantity(
        self,
        which: Quantity,
        arm: int,
        outputs: Mapping[str, Array],
        measured: Mapping[str, Array],
        *,
        smooth: bool,
    ) -> Float[Array, " patients"]:
        """A quantity of every patient under an arm, with a derivative if `smooth`."""
        values = (measured if which.measured else outputs)[which.output][arm]
        places = np.searchsorted(self.times, which.times)
        if which.kind != "value":
            return exposure(which.kind, np.asarray(which.times), values[places], smooth=smooth)
        value = values[int(places[0])]
        if which.change is None:
            return value
        before = values[int(np.searchsorted(self.times, which.baseline))]
        return value - before if which.change == "difference" else value / before


def quantities_of(targets: list[Target]) -> list[Quantity]:
    """Every quantity that a target is of."""
    own = [target.quantity for target in targets]
    return own + [target.other for target in targets if target.other is not None]


def _base(distribution: Any) -> Any:
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return distribution
