"""Cohorts: virtual subjects of a population, with covariates, drawn by address.

A subject is what its address (seed, population, trial, subject) says, and nothing else: not how
many others are drawn, in what order, or on how many devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped
from pydantic import Field, ValidationError

from cohorts import covariates as covariate_models
from cohorts import populations
from cohorts._faults import CohortError, Fault, Faults, raise_any
from cohorts.covariates import (
    NOTHING_STATED,
    CovariateModel,
    Marginals,
    MarginalsSpec,
    Stated,
    StatedSpec,
    state_covariates,
    state_marginals,
)
from cohorts.population import Population
from insilico.config import Document, Expression, Name, Path, Spec
from insilico.config.problems import listed
from insilico.devices import QUICKLY
from insilico.randomness import address, purpose_key, subject_keys

MAX_ATTEMPTS = 1000
"""Candidates that are drawn for one subject before it is given up."""

LANES = 1024
"""Subjects computed side by side, whatever the number asked for: a subject's bits then do not
depend on it."""


Seed = Any
"""An integer, which may be traced."""


class Subjects(NamedTuple):
    """Subjects of a cohort; every array is (subjects,)."""

    covariates: dict[str, Shaped[Array, " subjects"]]
    """By name: numbers in the vocabulary's unit, categories and flags as int32 codes."""
    parameters: Any
    """The structural model's `Parameters`; NaN where no eligible candidate was found."""
    residual_sd: dict[str, Float[Array, " subjects"]]
    """Standard deviation of the residual error of each measured output; its kind is in
    `Population.residual`."""


class CovariatesSpec(Spec):
    """Where covariates come from, and what the trial says of them."""

    source: str = Field(description="name of a covariate model in cohorts/covariates")
    marginals: MarginalsSpec = Field(
        default_factory=MarginalsSpec, description="margins of this trial's candidates"
    )
    stated: dict[str, StatedSpec] = Field(
        default_factory=dict, description="covariates that the source does not have"
    )


class CohortSpec(Spec):
    """Who is enrolled: a population, its covariates and the criteria of eligibility."""

    population: str = Field(description="name of a population in cohorts/populations")
    options: dict[str, Any] = Field(
        default_factory=dict, description="choices that the population offers"
    )
    covariates: CovariatesSpec
    eligibility: tuple[Expression, ...] = Field(
        default=(), description="conditions on covariates, all of which must hold"
    )


class EligibleShare(NamedTuple):
    """How many of the candidates may take part."""

    overall: float
    by_criterion: dict[str, float]
    """Share that passes each criterion, the others put aside."""
    candidates: int


class Cohort(eqx.Module):
    """Subjects of one population as a trial enrols them.

    **Arguments** (usually by `from_spec`):

    - `population`, `options`: whose parameters, under which of its choices.
    - `source`, `marginals`, `stated`: whose covariates, with this trial's margins.
    - `criteria`: expressions in covariates; a candidate is eligible where all hold.

    A pytree whose leaves are the numbers of the config: cohorts of one structure share a
    compilation when passed as arguments to a function under `equinox.filter_jit`.
    """

    population: Population = eqx.field(static=True)
    options: Spec = eqx.field(static=True)
    source: CovariateModel = eqx.field(static=True)
    criteria: tuple[Expression, ...] = eqx.field(static=True)
    marginals: Marginals
    stated: Stated
    stated_names: tuple[tuple[str, Name], ...] = eqx.field(static=True, default=())

    @classmethod
    def from_spec(
        cls, spec: CohortSpec, document: Document | None = None, path: Path = ("cohort",)
    ) -> Cohort:
        """The cohort that a config describes.

        **Arguments:**

        - `document`, `path`: the config that `spec` was parsed from and where it stands there, for
          the places of problems.

        Raises `ConfigError` (without a document `CohortError`) with everything wrong: unknown
        names, wrong options, margins that cannot be, criteria on unknown covariates, a covariate
        that the population needs and nobody has. Does not sample: see `check`.
        """
        faults = Faults(document, path)
        population = source = options = None
        marginals, stated, stated_names = None, NOTHING_STATED, {}
        with faults.at("population"):
            population = populations.get(spec.population)
        with faults.at("covariates", "source"):
            source = covariate_models.get(spec.covariates.source)
        if population is not None:
            with faults.at("options"):
                options = _parse_options(population, spec.options, document, (*path, "options"))
        if source is not None:
            with faults.at("covariates", "marginals"):
                margins = spec.covariates.marginals
                marginals = state_marginals(source, margins.age, margins.shares)
            with faults.at("covariates", "stated"):
                stated, stated_names = state_covariates(source, spec.covariates.stated)
            vocabulary = {**source.vocabulary, **stated_names}
            for index, criterion in enumerate(spec.eligibility):
                faults.criterion(index, criterion, vocabulary)
            if population is not None:
                with faults.at("covariates"):
                    _check_needed(population, source, vocabulary)
        faults.raise_if_any()
        assert population is not None and options is not None
        assert source is not None and marginals is not None
        return cls(
            population=population,
            options=options,
            source=source,
            criteria=tuple(spec.eligibility),
            marginals=marginals,
            stated=stated,
            stated_names=tuple(stated_names.items()),
        )

    @property
    def vocabulary(self) -> dict[str, Name]:
        """Every covariate of a subject: the source's, and the stated ones."""
        return {**self.source.vocabulary, **dict(self.stated_names)}

    def sample(
        self,
        seed: Seed,
        population: Int[Array, " subjects"],
        trial: Int[Array, " subjects"],
        subject: Int[Array, " subjects"],
    ) -> tuple[Subjects, Int[Array, " subjects"]]:
        """The subjects at these addresses, and how many candidates each took.

        **Arguments:** equal-shaped integer arrays: number of the draw of the population's
        parameters, of the trial, and of the subject in its trial.

        **Returns** `(subjects, attempts)`. `attempts` is 0 where none of `MAX_ATTEMPTS` candidates
        was eligible; that subject's parameters are NaN, so that no solve can take it for a patient.
        """
        candidates = subject_keys(purpose_key(seed, "covariates"), population, trial, subject)
        attempts = self._attempts(candidates)
        individuals = subject_keys(
            purpose_key(seed, "individual parameters"), population, trial, subject
        )
        typical_keys = jax.vmap(address, (None, 0))(
            purpose_key(seed, "population parameters"), population
        )

        def one(candidate: Any, individual: Any, typical: Any, attempts: Array) -> Subjects:
            accepted = jnp.maximum(attempts - 1, 0)
            return self._subject(address(candidate, accepted), individual, typical, attempts > 0)

        return _in_blocks(jax.vmap(one), candidates, individuals, typical_keys, attempts), attempts

    def population_parameters(
        self, seed: Seed, population: Int[Array, " draws"]
    ) -> dict[str, Float[Array, " draws"]]:
        """The population's parameters at each draw: by name, arrays (draws,)."""
        keys = jax.vmap(address, (None, 0))(purpose_key(seed, "population parameters"), population)
        return jax.vmap(self._typical)(keys)._asdict()

    def eligible_share(self, seed: int = 0, n: int = 4096) -> EligibleShare:
        """Shares of `n` candidates that are eligible, overall and by criterion."""
        return self._share(self.candidates(seed, n), n)

    def _share(self, drawn: Mapping[str, Array], n: int) -> EligibleShare:
        passed = {c.text: np.asarray(self._holds(c, drawn)) for c in self.criteria}
        together = np.logical_and.reduce([np.ones(n, bool), *passed.values()])
        shares = {text: float(np.mean(holds)) for text, holds in passed.items()}
        return EligibleShare(float(np.mean(together)), shares, n)

    def check(
        self,
        document: Document | None = None,
        path: Path = ("cohort",),
        seed: int = 0,
        n: int = 4096,
    ) -> EligibleShare:
        """Try the criteria on `n` candidates; their eligible shares, if anybody is eligible.

        Raises `ConfigError` (without a document `CohortError`) where no candidate is eligible,
        naming the criteria that let nobody pass, and where a criterion divides by zero.
        """
        drawn = self.candidates(seed, n)
        share = self._share(drawn, n)
        faults = Faults(document, path)
        with faults.at("eligibility"):
            raise_any(
                [
                    Fault((index,), "divides by zero for some candidates", criterion.text)
                    for index, criterion in enumerate(self.criteria)
                    if any(
                        np.any(np.asarray(d.evaluate(drawn, self.vocabulary)) == 0)
                        for d in criterion.denominators
                    )
                ]
            )
        with faults.at("eligibility"):
            raise_any(self._nobody(share))
        faults.raise_if_any()
        return share

    def _nobody(self, share: EligibleShare) -> list[Fault]:
        if share.overall > 0.0:
            return []
        alone = [
            Fault(
                (index,),
                f"lets none of {share.candidates} candidates pass",
                criterion.text,
                hint="widen it, or change the margins so that such people exist",
            )
            for index, criterion in enumerate(self.criteria)
            if share.by_criterion[criterion.text] == 0.0
        ]
        if alone:
            return alone
        narrowest = min(share.by_criterion, key=lambda text: share.by_criterion[text])
        return [
            Fault(
                (),
                f"no one of {share.candidates} candidates meets all criteria together",
                f"{100 * share.by_criterion[narrowest]:.2g} % meet the narrowest, {narrowest}",
            )
        ]

    def candidates(self, seed: int, n: int) -> dict[str, Array]:
        """Covariates of `n` people before anybody is judged eligible: by name, arrays (n,)."""
        zeros = jnp.zeros(n, jnp.int32)
        keys = subject_keys(purpose_key(seed, "covariates"), zeros, zeros, jnp.arange(n))
        keys = jax.vmap(address, (0, None))(keys, 0)
        return _draw(self.source, keys, self.marginals, self.stated)

    def _attempts(self, keys: Key[Array, " subjects"]) -> Int[Array, " subjects"]:
        """Number of the first eligible candidate of each key, from 1; 0 where there is none.

        A fixed number of lanes each try the next candidate of their subject; a lane that is done
        takes up the next subject, so that hard cases do not hold up the others.
        """
        n = keys.shape[0]
        if not self.criteria:
            return jnp.ones(n, jnp.int32)

        def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
            return jnp.any(state[0] < n)

        def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
            subject, attempt, waiting, found = state
            tried = jax.vmap(address)(keys[jnp.minimum(subject, n - 1)], attempt)
            eligible = self._eligible(tried)
            done = eligible | (attempt == MAX_ATTEMPTS - 1)
            found = found.at[jnp.where(done, subject, n)].set(
                jnp.where(eligible, attempt + 1, 0), mode="drop"
            )
            taken = waiting + jnp.cumsum(done, dtype=jnp.int32) - 1
            return (
                jnp.where(done, taken, subject),
                jnp.where(done, 0, attempt + 1),
                waiting + jnp.sum(done, dtype=jnp.int32),
                found,
            )

        lanes = jnp.arange(LANES, dtype=jnp.int32)
        start = (lanes, jnp.zeros_like(lanes), jnp.int32(LANES), jnp.zeros(n, jnp.int32))
        return jax.lax.while_loop(unfinished, step, start)[3]

    def _eligible(self, keys: Key[Array, " lanes"]) -> Array:
        drawn = self.source.sample(keys, self.marginals, self.stated)
        eligible = jnp.ones(keys.shape[0], bool)
        for criterion in self.criteria:
            eligible = eligible & self._holds(criterion, drawn)
        return eligible

    def _holds(self, criterion: Expression, values: Mapping[str, Array]) -> Array:
        held = jnp.asarray(criterion.evaluate(values, self.vocabulary))
        size = next(iter(values.values())).shape
        return jnp.broadcast_to(held.astype(bool), size)

    def _typical(self, key: Key[Array, ""]) -> Any:
        from cohorts.addressing import addressed

        with addressed(key=key):
            return self.population.typical_values(self.options)

    def _subject(self, candidate: Any, individual: Any, typical_key: Any, found: Any) -> Subjects:
        from cohorts.addressing import addressed

        drawn = self.source.sample_one(candidate, self.marginals, self.stated)
        typical = self._typical(typical_key)
        with addressed(key=individual):
            parameters = self.population.individual(typical, self._recoded(drawn), self.options)
        return Subjects(
            covariates=drawn,
            parameters=jax.tree.map(lambda p: jnp.where(found, p, jnp.nan), parameters),
            residual_sd={
                output: jnp.asarray(getattr(typical, residual.sd))
                for output, residual in self.population.residual.items()
            },
        )

    def _recoded(self, drawn: Mapping[str, Array]) -> dict[str, Array]:
        """The population's covariates, its categories in its own order of codes."""
        needed = {}
        for name, wanted in self.population.covariates.items():
            value = drawn[name]
            if wanted.kind == "category":
                codes = [wanted.categories.index(c) for c in self.vocabulary[name].categories]
                value = jnp.asarray(codes)[value]
            needed[name] = value
        return needed


def _draw(
    source: CovariateModel, keys: Key[Array, " subjects"], marginals: Marginals, stated: Stated
) -> dict[str, Array]:
    return _sampler(source)(keys, marginals, stated)


@functools.cache
def _sampler(source: CovariateModel) -> Callable[..., dict[str, Array]]:
    return jax.jit(source.sample, compiler_options=QUICKLY)


def _parse_options(
    population: Population, options: dict[str, Any], document: Document | None, path: Path
) -> Spec:
    if document is not None:
        return document.parse(population.Options, path=path)
    try:
        return population.Options.model_validate(options)
    except ValidationError as error:
        faults = [Fault(tuple(e["loc"]), e["msg"], str(e["input"])) for e in error.errors()]
        raise CohortError(faults) from None


def _check_needed(
    population: Population, source: CovariateModel, vocabulary: Mapping[str, Name]
) -> None:
    """Raise `CohortError` for covariates that the population needs and cannot get or read."""
    faults: list[Fault] = []
    for name, wanted in population.covariates.items():
        found = vocabulary.get(name)
        if found is None:
            faults.append(
                Fault(
                    (),
                    f"{population.name} needs the covariate {name}, which {source.name} lacks",
                    hint="state it under `stated`, or choose another source",
                )
            )
        elif (found.kind, found.unit) != (wanted.kind, wanted.unit):
            faults.append(
                Fault(
                    (),
                    f"{population.name} needs {name} as a {wanted.kind} in {wanted.unit or 1!r}",
                    f"a {found.kind} in {found.unit or 1!r}",
                )
            )
        elif strange := [c for c in found.categories if c not in wanted.categories]:
            faults.append(
                Fault(
                    (),
                    f"{population.name} does not know these categories of {name}",
                    listed(strange, quoted=True),
                    listed(wanted.categories, quoted=True),
                )
            )
    raise_any(faults)


def _in_blocks(function: Any, *arrays: Array) -> Any:
    """`function` of the arrays, always computed on `LANES` subjects at a time."""
    n = arrays[0].shape[0]
    blocks = -(-n // LANES)
    index = jnp.minimum(jnp.arange(blocks * LANES), n - 1).reshape(blocks, LANES)
    results = jax.lax.map(lambda block: function(*(a[block] for a in arrays)), index)
    return jax.tree.map(lambda r: r.reshape(blocks * LANES, *r.shape[2:])[:n], results)
