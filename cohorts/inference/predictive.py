"""What a fitted population predicts: its own subjects, its typical ones, and new ones like them.

Draws are those of a posterior: by site, arrays (draws, …). Draws times subjects are the lanes of
one program.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpyro import handlers, plate, primitives

from cohorts.addressing import addressed
from cohorts.data import Kind
from cohorts.inference.joint import Joint
from cohorts.inference.patients import Data
from cohorts.residual import autocorrelated
from insilico.programs import Shared, quickly, shared
from insilico.randomness import address, name_hash, purpose_key
from insilico.solve import Status, solve_traced
from insilico.solve.blocks import compiler_options
from insilico.solve.records import Layout, Records, in_occasions

LANES_AT_ONCE = 4096
"""Draws times subjects of one call of a compiled program."""

Sites = Mapping[str, Any]
"""Values of a population's sites by name, arrays (draws, …) or of one draw."""


class Outputs(NamedTuple):
    """True values of the measured outputs; NaN where a solve failed."""

    values: Float[np.ndarray, "draws outputs records subjects"]
    status: Int[np.ndarray, "draws subjects"]


class at_centre(primitives.Messenger):
    """Handler that gives every unobserved site the mean of its distribution, or the mode if it is
    discrete: a subject without random effects."""

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] != "sample" or msg["is_observed"] or msg["value"] is not None:
            return
        distribution = msg["fn"]
        if distribution.support.is_discrete:
            codes = distribution.enumerate_support(expand=True)
            centre = jnp.argmax(distribution.log_prob(codes), axis=0)
        else:
            centre = distribution.mean
        msg["value"] = jnp.broadcast_to(centre, distribution.shape())


@dataclasses.dataclass(frozen=True, eq=False)
class Predictive:
    """Predictions of a joint density's subjects.

    **Arguments:**

    - `joint`, `data`: from `Joint.of`.
    - `records`: event tables to predict at, as `records_of` makes them for the population; default:
      those of the data.
    """

    joint: Joint
    data: Data
    records: Records | None = None

    def individual(self, draws: Sites) -> Outputs:
        """Of the subjects themselves, given draws of all sites, random effects included."""
        return self._all(draws, lambda key: (), seed=0)

    def typical(self, draws: Sites, *, belonging: bool = False) -> Outputs:
        """Of subjects with these covariates and no random effects, given the population's sites.

        Of a mixture they belong to its largest component; with `belonging` to that which is most
        probable for the subject in the draw.
        """
        sites = self._of_population(draws)
        if belonging:
            sites |= {name: draws[name] for name in self.joint.mixtures}
        return self._all(sites, lambda key: (at_centre(),), seed=0)

    def new(self, draws: Sites, seed: int) -> Outputs:
        """Of other subjects with these covariates, given the population's sites."""
        return self._all(self._of_population(draws), lambda key: (addressed(key=key),), seed)

    def measured(
        self, outputs: Outputs, draws: Sites, seed: int
    ) -> Float[np.ndarray, "draws records subjects"]:
        """Values measured where the true ones are `outputs`, of whatever each record measured.

        NaN where nothing was measured or a solve failed. A subject's draws of the residual error
        are addressed by output and record.
        """
        root = purpose_key(seed, "residual error of replicates")

        def one(draw: Array, sites: Sites, values: Array, numbers: Any) -> Array:
            return self._scattered(sites, values, numbers, address(root, draw))

        program = quickly(jax.vmap(one, in_axes=(0, 0, 0, None)))
        count = len(outputs.values)
        sites = self._of_population(draws)
        numbers = self.data.hyperparameters
        return np.asarray(program(np.arange(count), sites, outputs.values, numbers))

    def _of_population(self, draws: Sites) -> dict[str, Any]:
        """Those of the population, without its subjects'."""
        own = jax.eval_shape(self.joint.constrained, np.zeros(len(self.joint.names)), self.data)
        return {name: values for name, values in draws.items() if name in own}

    def _scattered(self, sites: Sites, values: Array, numbers: Any, key: Any) -> Array:
        joint, data = self.joint, self.data
        with handlers.block(), handlers.substitute(data=dict(sites)):
            typical = joint.population.typical_values(joint.options, numbers)
        result = jnp.full(data.value.shape, jnp.nan)
        for number, name in enumerate(joint.outputs):
            residual = joint.population.residual[name]
            error = residual.numbers(typical)
            draws = jax.random.normal(address(key, name_hash(name)), data.value.shape)
            here = (data.kind != Kind.NOTHING) & (data.output == number)
            if error.autocorrelation is not None:
                rate = jnp.broadcast_to(error.autocorrelation, draws.shape[1:])
                draws = _chained(draws, here, data, rate)
            measured = residual.measured(values[number], draws, error)
            result = jnp.where(here, measured, result)
        return result

    def _all(self, draws: Sites, otherwise: Callable[[Any], tuple[Any, ...]], seed: int) -> Outputs:
        """`otherwise` gives the handlers of sites that `draws` do not have."""
        joint = self.joint
        table = self._table
        root = purpose_key(seed, "random effects of replicates")
        batch = max(1, LANES_AT_ONCE // joint.subjects)

        def drawn(draw: Array, sites: Sites, covariates: Any, numbers: Any) -> Any:
            with contextlib.ExitStack() as stack:
                # The one entered last is asked first.
                wanted = (*otherwise(address(root, draw)), handlers.substitute(data=dict(sites)))
                for handler in (handlers.block(), *wanted):
                    stack.enter_context(handler)
                typical = joint.population.typical_values(joint.options, numbers)
                with plate("subject", joint.subjects):
                    parameters = joint.population.parameters(
                        typical, covariates, joint.options, numbers, joint.occasions
                    )
            everyone = (joint.subjects,)
            return jax.tree.map(
                lambda leaf: jnp.broadcast_to(leaf, (*jnp.shape(leaf)[:-1], *everyone)), parameters
            )

        # Apart from the solve, which takes long to compile and is the same for whoever is drawn.
        draw = quickly(jax.vmap(drawn, in_axes=(0, 0, None, None)))
        given = self.data.covariates, self.data.hyperparameters
        solve = _solver(joint, self._layout)
        sites = {name: np.asarray(values) for name, values in draws.items()}
        total = len(next(iter(sites.values())))
        found = []
        for start in range(0, total, batch):
            # The last batch is filled up, so that all have one shape.
            index = np.minimum(np.arange(start, start + batch), total - 1)
            chosen = {name: of[index] for name, of in sites.items()}
            values, status = solve(draw(index, chosen, *given), table)
            kept = min(batch, total - start)
            found.append((np.asarray(values)[:kept], np.asarray(status)[:kept]))
        return Outputs(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    @property
    def _layout(self) -> Layout:
        return self.records.laid_out()[1] if self.records else self.joint.layout

    @property
    def _table(self) -> Any:
        table = self.records.laid_out()[0] if self.records else self.data.table
        return jax.tree.map(jnp.asarray, table)

    def ahead(self) -> None:
        """Begin to compile what all predictions have in common."""
        joint = self.joint
        shape = (LANES_AT_ONCE // joint.subjects or 1,)

        def drawn(theta: Array, x: Array) -> Any:
            return joint.parameters(theta, x, self.data)

        like = (np.zeros(len(joint.names)), np.zeros((len(joint.effects), joint.subjects)))
        parameters = jax.tree.map(
            lambda leaf: jnp.zeros((*shape, *leaf.shape), leaf.dtype), jax.eval_shape(drawn, *like)
        )
        _solver(joint, self._layout).ahead(parameters, self._table)


@functools.lru_cache(maxsize=16)
def _solver(joint: Joint, layout: Layout) -> Shared:
    """The program that solves subjects of a batch of draws, (draws, subjects), by a table."""

    def one(parameters: Any, table: Any) -> tuple[Any, Any]:
        own, table = in_occasions(joint.model, parameters, table)
        solution = solve_traced(
            joint.model,
            own,
            table,
            layout,
            derivative=None,
            method=joint.method,
            tolerances=joint.tolerances,
        )
        outputs = jnp.stack([getattr(solution.outputs, name).T for name in joint.outputs])
        return jnp.where(solution.status == Status.OK, outputs, jnp.nan), solution.status

    options = compiler_options()
    solve = jax.jit(jax.vmap(one, in_axes=(0, None)), compiler_options=options)
    return shared(solve, options)


def _chained(draws: Array, here: Array, data: Data, rate: Array) -> Array:
    """Draws of the records of one output correlated in time; others are left as they are."""
    order = jnp.argsort(~here, axis=0, stable=True)
    times = jnp.take_along_axis(data.table.time, order, axis=0)
    chain = jax.vmap(autocorrelated, in_axes=(1, 1, 0), out_axes=1)
    chained = chain(jnp.take_along_axis(draws, order, axis=0), times, rate)
    return jnp.take_along_axis(chained, jnp.argsort(order, axis=0), axis=0)
