"""The joint density of a population's parameters, its subjects' random effects and their data.

All inference is written against it: a sampler, an approximation, the posterior of one subject.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float, Int, Key
from numpyro import handlers
from numpyro.distributions import biject_to

from cohorts.data import PatientData
from cohorts.inference.components import tiled
from cohorts.inference.coordinates import (
    Coordinates,
    categories,
    combinations,
    coordinates_of,
    sampled,
)
from cohorts.inference.likelihood import Predicted, log_likelihood, membership, observed
from cohorts.inference.patients import Data, check_patients, data_of, records_of
from cohorts.population import Population
from cohorts.residual import Residual
from insilico import devices as _devices  # noqa: F401  (float64 before anything is drawn)
from insilico.arrays import library_of
from insilico.config import Spec
from insilico.model import Model
from insilico.solve import Derivative, Status, Tolerances, objective_traced, solve_traced
from insilico.solve.records import Layout, in_occasions


@dataclasses.dataclass(frozen=True, eq=False)
class Joint:
    """Density of a population's parameters, its subjects' random effects and their data.

    **Arguments** (usually by `Joint.of`):

    - `population`, `options`: a published population, or one of a config.
    - `model`, `layout`: the structural model, and the layout of the subjects' event tables.
    - `outputs`: the measured outputs, in the order of their numbers.
    - `subjects`: how many. `occasions`: of the subject who has the most, where the population
      varies between them; what others lack has the population's density, and touches no data.
    - `method`, `tolerances`: of the solves; default: the model's method, the engine's tolerances.

    All functions are pure in `theta`, the population's unconstrained coordinates (P,), in `x`, the
    subjects' (K, subjects), and in `data`, which holds covariates and the numbers of the
    population, of its priors for instance, too: one compiled program serves all data of one layout
    and all populations of one structure. Of the population itself its structure alone is used.
    Under `jax.vmap` over chains, solves run on lanes of chains × subjects.

    A subject whose solve fails has a log likelihood of minus infinity and derivatives of zero.
    """

    population: Population
    options: Spec
    model: Model
    layout: Layout
    outputs: tuple[str, ...]
    subjects: int
    method: str | None = None
    tolerances: Tolerances | None = None
    occasions: int = 1

    @classmethod
    def of(
        cls,
        population: Population,
        patients: PatientData,
        options: Spec | None = None,
        *,
        method: str | None = None,
        tolerances: Tolerances | None = None,
        learned_from: bool = True,
    ) -> tuple[Joint, Data]:
        """The joint density of a population and these patients, and their data for its functions.

        `learned_from`: see `check_patients`.

        Raises `CohortError` with everything that does not fit: another structural model, an output
        without residual error, covariates that lack or have other units or categories, values
        that the residual error cannot give, occasions that the data do not tell.
        """
        check_patients(population, patients, learned_from=learned_from)
        records = records_of(population, patients)
        table, layout = records.laid_out()
        joint = cls(
            population=population,
            options=population.Options() if options is None else options,
            model=records.model,
            layout=layout,
            outputs=tuple(patients.outputs),
            subjects=table.time.shape[1],
            method=method,
            tolerances=tolerances,
            occasions=patients.occasions if population.between_occasion else 1,
        )
        return joint, data_of(population, patients, table)

    def data(self, patients: PatientData) -> Data:
        """Data of these or other patients, as arguments for the functions.

        Raises `ValueError` where their event tables have another layout than those of this density.
        """
        table, layout = records_of(self.population, patients).laid_out()
        subjects = table.time.shape[1]
        if (layout, subjects) != (self.layout, self.subjects):
            raise ValueError(
                f"these patients' events have another layout ({subjects} subjects, {layout}) than "
                f"the density was made for ({self.subjects} subjects, {self.layout}); make one "
                f"for them by Joint.of"
            )
        return data_of(self.population, patients, table)

    @functools.cached_property
    def _parts(self) -> _Parts:
        """Coordinates of both kinds, and the components of a mixture: from one trace."""
        found: list[_Parts] = []

        def look() -> None:
            covariates = {
                name: jnp.ones(self.subjects, float if of.kind == "number" else jnp.int32)
                for name, of in self.population.covariates.items()
            }
            numbers = self.population.hyperparameters
            typical, of_population = self._typical(numbers, handlers.seed(rng_seed=0))
            _, of_subjects = self._individual(
                typical, covariates, numbers, handlers.seed(rng_seed=0)
            )
            found.append(
                _Parts(
                    coordinates_of(sampled(of_population), batch=0),
                    coordinates_of(sampled(of_subjects), batch=1),
                    combinations(categories(of_subjects)),
                )
            )

        # Names, shapes and kinds of support are all that is looked for: nothing need be computed.
        jax.eval_shape(look)
        return found[0]

    def _typical(self, numbers: Any, given: Any) -> tuple[Any, dict[str, Any]]:
        """Typical values under a handler that says what sites are, and these sites."""
        with handlers.block(), handlers.trace() as sites, given:
            typical = self.population.typical_values(self.options, numbers)
        return typical, sites

    def _individual(
        self, typical: Any, covariates: Mapping[str, Any], numbers: Any, given: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Likewise the subjects' parameters, as `parameters` gives them."""
        with handlers.block(), handlers.trace() as sites, given, self.plate:
            parameters = self.population.parameters(
                typical, covariates, self.options, numbers, self.occasions
            )
        everyone = (self.subjects,)
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (*jnp.shape(leaf)[:-1], *everyone)), parameters
        ), sites

    def _of_subjects(self, typical: Any, data: Data, given: Any) -> tuple[Any, dict[str, Any]]:
        return self._individual(typical, data.covariates, data.hyperparameters, given)

    @property
    def plate(self) -> Any:
        """The plate of the subjects."""
        return numpyro.plate("subject", self.subjects)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the population's unconstrained coordinates, (P,): its sites, with an index each where
        they have several."""
        return tuple(name for site in self._parts.population for name in site.names)

    @property
    def sites(self) -> tuple[str, ...]:
        """The population's sampled sites."""
        return tuple(site.name for site in self._parts.population)

    @property
    def effect_sites(self) -> tuple[str, ...]:
        """The sites of the subjects' random effects."""
        return tuple(site.name for site in self._parts.individual)

    @property
    def effects(self) -> tuple[str, ...]:
        """Of the subjects' coordinates, (K,): the sites of their random effects."""
        return tuple(name for site in self._parts.individual for name in site.names)

    @property
    def of_occasions(self) -> tuple[bool, ...]:
        """Of the subjects' coordinates, (K,): whether each is of one occasion."""
        sites = self._parts.individual
        return tuple(site.occasion is not None for site in sites for _ in site.names)

    @property
    def components(self) -> int:
        """How many subpopulations the population is a mixture of."""
        return len(self._parts.components)

    @property
    def mixtures(self) -> tuple[str, ...]:
        """The categories that nobody observes; every combination of theirs is a component."""
        return tuple(self._parts.components[0])

    def constrained(self, theta: Float[Array, " P"], data: Data) -> dict[str, Array]:
        """The population's parameters by name, those that are known included."""
        _, sites, _ = self._population(theta, data)
        return {name: site["value"] for name, site in sites.items() if "value" in site}

    def typical(self, theta: Float[Array, " P"], data: Data) -> Any:
        """The population's typical values, as `Population.typical_values` gives them."""
        return self._population(theta, data)[0]

    def unconstrained(self, parameters: Mapping[str, Any], data: Data) -> Float[Array, " P"]:
        """The coordinates of given values of the population's sampled parameters.

        Raises `KeyError` for one that is not given.
        """
        values = {name: jnp.asarray(parameters[name], float) for name in self.sites}
        _, sites = self._typical(data.hyperparameters, handlers.substitute(data=values))
        parts = [
            jnp.ravel(biject_to(sites[name]["fn"].support).inv(value))
            for name, value in values.items()
        ]
        return jnp.concatenate([jnp.zeros(0), *parts])

    def position(
        self, theta: Float[Array, " P"], x: Float[Array, "K subjects"]
    ) -> dict[str, Array]:
        """The same coordinates by site, as samplers of `model_of` have them, centred."""
        parts = self._parts
        found = {s.name: theta[s.start : s.stop].reshape(s.shape) for s in parts.population}
        for site in parts.individual:
            own = x[site.start : site.stop].T
            found[site.name] = own.reshape(self.subjects, *site.shape)
        return found

    @property
    def bounded(self) -> np.ndarray:
        """Of each coordinate of the population, (P,), whether what it stands for has a bound."""
        parts = self._parts.population
        return np.concatenate(
            [np.zeros(0, bool), *(np.full(s.stop - s.start, s.bounded) for s in parts)]
        )

    def log_prior(
        self, theta: Float[Array, " P"], data: Data, *, of_coordinates: bool = True
    ) -> Float[Array, ""]:
        """Log density of the population's parameters, of their unconstrained coordinates.

        If not `of_coordinates`, of the parameters themselves.
        """
        _, sites, log_jacobian = self._population(theta, data)
        densities = (jnp.sum(site["fn"].log_prob(site["value"])) for site in sampled(sites))
        return sum(densities, start=log_jacobian if of_coordinates else jnp.zeros(()))

    def _population(self, theta: Array, data: Data) -> tuple[Any, dict[str, Any], Array]:
        places = {place.name: place for place in self._parts.population}
        log_jacobians: list[Array] = []

        def value(site: dict[str, Any]) -> Array | None:
            place = places.get(site["name"])
            if place is None:
                return None
            own = theta[place.start : place.stop].reshape(place.shape)
            # Not that of `place`: bounds are numbers, too.
            transform = biject_to(site["fn"].support)
            found = transform(own)
            log_jacobians.append(jnp.sum(transform.log_abs_det_jacobian(own, found)))
            return found

        given = handlers.substitute(substitute_fn=value)
        typical, sites = self._typical(data.hyperparameters, given)
        return typical, sites, sum(log_jacobians, start=jnp.zeros(()))

    def log_effects(
        self, theta: Float[Array, " P"], x: Float[Array, "K subjects"], data: Data
    ) -> Float[Array, " subjects"]:
        """Log density of each subject's random effects, of their unconstrained coordinates.

        Of a mixture, that which they have in its first component; the other components' is in
        what `log_likelihood` sums over. Where the `data` say to which component subjects belong,
        that in their own, with the logarithm of its share.
        """
        values, log_jacobian = self._effects(x)
        given = handlers.substitute(data={**values, **self._belongings(data)[0]})
        _, sites = self._of_subjects(self.typical(theta, data), data, given)
        found = log_jacobian + _log_density(sampled(sites))
        return found if data.belonging is None else found + _log_density(categories(sites))

    def _effects(self, x: Array) -> tuple[dict[str, Array], Array]:
        values, log_jacobian = {}, jnp.zeros(self.subjects)
        for site in self._parts.individual:
            own = x[site.start : site.stop].T.reshape(self.subjects, *site.shape)
            values[site.name] = site.transform(own)
            log_jacobian += site.transform.log_abs_det_jacobian(own, values[site.name])
        return values, log_jacobian

    def parameters(
        self,
        theta: Float[Array, " P"],
        x: Float[Array, "K subjects"],
        data: Data,
        component: int | Int[Array, " subjects"] | np.ndarray = 0,
    ) -> Any:
        """The structural model's `Parameters` of each subject, (subjects,) each; those that vary
        between occasions (occasions, subjects).

        Of a mixture, those that they have if they all belong to the `component`, or each to its
        own.
        """
        effects, _ = self._effects(x)
        given = handlers.substitute(data={**effects, **self.belonging(component)})
        return self._of_subjects(self.typical(theta, data), data, given)[0]

    def predicted(
        self,
        theta: Float[Array, " P"],
        x: Float[Array, "K subjects"],
        data: Data,
        derivative: Derivative | None = "reverse",
    ) -> Predicted:
        """Mean and spread of every measured value; solves every subject.

        `derivative` says how the result may be differentiated, as for `solve_traced`.
        """
        values, _ = self._effects(x)
        return self.predicted_by(self.typical(theta, data), values, data, derivative)

    def predicted_by(
        self,
        typical: Any,
        effects: Mapping[str, Array],
        data: Data,
        derivative: Derivative | None = "reverse",
    ) -> Predicted:
        """`predicted` by typical values and the values of the random effects' sites."""
        found = [
            self._of_subjects(typical, data, handlers.substitute(data={**effects, **belonging}))
            for belonging in self._belongings(data)
        ]

        def observe(parameters: Any) -> Predicted:
            own, table = in_occasions(self.model, parameters, data.table)
            solution = solve_traced(
                self.model,
                own,
                table,
                self.layout,
                derivative=derivative,
                method=self.method,
                tolerances=self.tolerances,
            )
            outputs = tuple(getattr(solution.outputs, name).T for name in self.outputs)
            status = jnp.asarray(solution.status)
            return observed(self._residuals, typical, outputs, status, data)

        if len(found) == 1:
            return observe(found[0][0])
        parameters = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(each for each, _ in found))
        axes = Predicted(0, 0, 0, None, None)  # pyright: ignore[reportArgumentType]
        predicted = jax.vmap(observe, out_axes=axes)(parameters)
        shares = jnp.stack([_log_density(categories(sites)) for _, sites in found])
        of_effects = jnp.stack([_log_density(sampled(sites)) for _, sites in found])
        return predicted._replace(log_share=shares + of_effects - of_effects[0])

    def log_likelihood_by(
        self, typical: Any, effects: Mapping[str, Array], data: Data
    ) -> tuple[Float[Array, " subjects"], Int[Array, " subjects"]]:
        """`log_likelihood` of what `predicted_by` gives, and each solve's status, for `jax.grad`.

        Where it is differentiated, the gradient comes with the value, at the price of one solve
        less. Raises `ValueError` for a mixture.
        """
        if self.components > 1:
            raise ValueError("a mixture has several solves a subject: use predicted_by")
        given = handlers.substitute(data={**effects, **self.belonging(0)})
        parameters, _ = self._of_subjects(typical, data, given)
        own, table = in_occasions(self.model, parameters, data.table)
        residuals = self._residuals
        fields = {
            field
            for residual in residuals.values()
            for name, field in residual._asdict().items()
            if name != "kind" and field is not None
        }
        numbers = {
            field: jnp.broadcast_to(getattr(typical, field), (self.subjects,))
            for field in sorted(fields)
        }

        def objective(outputs: Any, given: tuple[Data, dict[str, Array]]) -> Array:
            data, numbers = given
            measured = tuple(getattr(outputs, name) for name in self.outputs)
            # Who failed has NaN for outputs; what is made of it is left out below.
            solved = jnp.zeros(measured[0].shape[-1:], int)
            lanes = types.SimpleNamespace(**numbers)
            return log_likelihood(
                residuals, observed(residuals, lanes, measured, solved, data), data
            )

        # Of the table a likelihood needs the times alone.
        times = _Times(jnp.asarray(data.table.time))
        lean = data._replace(table=times, covariates={}, hyperparameters={})
        found, status = objective_traced(
            self.model,
            own,
            table,
            self.layout,
            objective,
            (lean, numbers),
            method=self.method,
            tolerances=self.tolerances,
        )
        return jnp.where(status == Status.OK, found, -jnp.inf), status

    def log_likelihood(self, predicted: Predicted, data: Data) -> Float[Array, " subjects"]:
        """Log density of each subject's measured values, given its random effects.

        Values below the limit of quantification count by the probability that they are. Of a
        mixture, it is the sum over components, each with its share and with the density of the
        effects in it, over that in the first component.
        """
        return log_likelihood(self._residuals, predicted, data)

    def membership(self, predicted: Predicted, data: Data) -> dict[str, Array]:
        """Of a mixture, how probable each of its components is for each subject, given its data.

        By the name of the category that nobody observes, (categories, subjects); of a population
        that is no mixture, nothing. Where all solves failed, all are equally probable.
        """
        if not self._parts.components[0]:
            return {}
        return self.by_category(membership(self._residuals, predicted, data))

    def by_category(
        self, probability: Float[Array, "*batch components subjects"] | np.ndarray
    ) -> dict[str, Any]:
        """Probabilities of a mixture's components as those of each category that nobody observes.

        (…, categories, subjects) each. Of one mixture these are its components; of several every
        combination is a component.
        """
        numbers, result = library_of(probability), dict[str, Any]()
        for name in self._parts.components[0]:
            codes = np.array([component[name] for component in self._parts.components])
            result[name] = numbers.stack(
                [
                    numbers.sum(probability[..., codes == code, :], axis=-2)
                    for code in range(codes.max() + 1)
                ],
                axis=-2,
            )
        return result

    def by_component(self, data: Data) -> tuple[Joint, Data]:
        """The density of all subjects in the first component of a mixture, then of all in the
        second, and so on, and their data: subjects who are known to belong there.

        `log_effects` has the components' shares in it, so that the logarithms of a subject's
        densities are those of belonging to each component and having these effects and data.
        """
        count = self.components
        parts = [self.belonging(component) for component in range(count)]
        own = data._replace(hyperparameters=None)
        lanes = jax.tree.map(lambda leaf: tiled(leaf, count), own)
        belonging = {name: jnp.concatenate([part[name] for part in parts]) for name in parts[0]}
        return (
            dataclasses.replace(self, subjects=count * self.subjects),
            lanes._replace(hyperparameters=data.hyperparameters, belonging=belonging),
        )

    def belonging(self, component: int | Array | np.ndarray) -> dict[str, Array]:
        """Codes of the categories that nobody observes of subjects of this component, or these."""
        parts = self._parts.components
        return {
            name: jnp.broadcast_to(
                jnp.array([part[name] for part in parts])[component], (self.subjects,)
            )
            for name in parts[0]
        }

    def _belongings(self, data: Data) -> list[dict[str, Array]]:
        """What is to be summed over."""
        if data.belonging is not None:
            return [data.belonging]
        return [self.belonging(component) for component in range(self.components)]

    @property
    def _residuals(self) -> dict[str, Residual]:
        return {name: self.population.residual[name] for name in self.outputs}

    def log_density(
        self,
        theta: Float[Array, " P"],
        x: Float[Array, "K subjects"],
        data: Data,
        derivative: Derivative | None = "reverse",
    ) -> Float[Array, ""]:
        """Log density of everything: population, random effects and data."""
        if derivative == "reverse" and self.components == 1:
            typical = self.typical(theta, data)
            likelihood, _ = self.log_likelihood_by(typical, self._effects(x)[0], data)
        else:
            likelihood = self.log_likelihood(self.predicted(theta, x, data, derivative), data)
        return self.log_prior(theta, data) + jnp.sum(self.log_effects(theta, x, data) + likelihood)

    def draw(self, key: Key[Array, ""], data: Data) -> tuple[Array, Array]:
        """A draw of `theta` and `x` from the prior, for subjects of these covariates."""
        keys = jax.random.split(key)
        numbers = data.hyperparameters
        typical, population = self._typical(numbers, handlers.seed(rng_seed=keys[0]))
        _, individual = self._of_subjects(typical, data, handlers.seed(rng_seed=keys[1]))
        drawn = {site["name"]: site["value"] for site in sampled(population)}
        theta = self.unconstrained(drawn, data)
        parts = [
            site.transform.inv(individual[site.name]["value"]).reshape(self.subjects, -1).T
            for site in self._parts.individual
        ]
        return theta, jnp.concatenate([jnp.zeros((0, self.subjects)), *parts])


def _log_density(sites: list[dict[str, Any]]) -> Any:
    return sum((site["fn"].log_prob(site["value"]) for site in sites), start=jnp.zeros(()))


class _Times(NamedTuple):
    time: Array


class _Parts(NamedTuple):
    population: list[Coordinates]
    individual: list[Coordinates]
    components: list[dict[str, int]]
