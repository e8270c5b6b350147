"""Cohorts: virtual subjects of a population, with covariates, drawn by address.

A subject is what its address (seed, population, trial, subject) says, and nothing else: not how
many others are drawn, in what order, or on how many devices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field, ValidationError

from cohorts import covariates as covariate_models
from cohorts import populations
from cohorts._faults import CohortError, Fault, Faults, raise_any
from cohorts.covariates import (
    NOTHING_STATED,
    CovariateModel,
    MarginalsSpec,
    ObservedCovariates,
    Stated,
    StatedSpec,
    state_covariates,
    state_marginals,
)
from cohorts.hierarchy.specs import HierarchySpec
from cohorts.population import Population
from cohorts.residual import ResidualNumbers
from insilico.arrays import library_of
from insilico.config import ConfigError, Document, Expression, Name, Path, Spec
from insilico.config.problems import listed
from insilico.model import Model

if TYPE_CHECKING:
    from jaxtyping import Array, Int, Shaped

MAX_ATTEMPTS = 1000
"""Candidates that are drawn for one subject before it is given up."""

Seed = Any
"""An integer, which may be traced."""


class Subjects(NamedTuple):
    """Subjects of a cohort; every array is (subjects,), but for some parameters."""

    covariates: dict[str, Shaped[Array, " subjects"]]
    """By name: numbers in the vocabulary's unit, categories and flags as int32 codes."""
    parameters: Any
    """The structural model's `Parameters`; NaN where no eligible candidate was found. Those that
    vary between occasions are (occasions, subjects)."""
    residual: dict[str, ResidualNumbers]
    """Numbers of the residual error of each measured output; its kind is in
    `Population.residual`."""


class Numbers(NamedTuple):
    """The numbers of a cohort, as against its structure; from `Cohort.numbers`."""

    marginals: Any
    stated: Stated
    hyperparameters: Any
    """Of the population: see `Population.hyperparameters`."""
    typical: Any
    """The population's parameters at each of its draws, (draws,)."""


class CovariatesSpec(Spec):
    """Where covariates come from, and what the trial says of them."""

    source: str | None = Field(
        default=None,
        description="name of a covariate model in cohorts/covariates; left out: the subjects that "
        "the posterior was fitted to, or what is stated alone",
    )
    marginals: MarginalsSpec = Field(
        default_factory=MarginalsSpec,
        description="margins of this trial's candidates, before eligibility",
    )
    stated: dict[str, StatedSpec] = Field(
        default_factory=dict, description="covariates that the source does not have"
    )


class CohortSpec(Spec):
    """Who is enrolled: a population, its covariates and the criteria of eligibility.

    The population is a published one, one that was fitted, or one that is described here.
    """

    population: str | None = Field(
        default=None, description="name of a population in cohorts/populations"
    )
    posterior: str | None = Field(
        default=None,
        description="folder of a finished fit, from the current folder, to be drawn from",
    )
    untrusted: bool = Field(
        default=False, description="whether a fit that failed its diagnostics may be used"
    )
    described: HierarchySpec | None = Field(
        default=None, description="typical values, variability and residual error, as for a fit"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="choices that the population offers"
    )
    covariates: CovariatesSpec = CovariatesSpec()
    eligibility: tuple[Expression, ...] = Field(
        default=(), description="conditions on covariates, all of which must hold"
    )


class EligibleShare(NamedTuple):
    """How many of the candidates may take part."""

    overall: float
    by_criterion: dict[str, float]
    """Share that passes each criterion, the others put aside."""
    candidates: int


@dataclasses.dataclass(frozen=True, eq=False)
class Cohort:
    """Subjects of one population as a trial enrols them.

    **Arguments** (usually by `from_spec`):

    - `population`, `options`: whose parameters, under which of its choices.
    - `source`, `marginals`, `stated`: whose covariates, with this trial's margins.
    - `criteria`: expressions in covariates; a candidate is eligible where all hold.
    - `draws`: of the population's parameters, by name, (draws, …), where they were learned from
      data; None where the population's own functions draw them.
    """

    population: Population
    options: Spec
    source: CovariateModel | ObservedCovariates
    criteria: tuple[Expression, ...]
    marginals: Any
    stated: Stated
    stated_names: tuple[tuple[str, Name], ...] = ()
    draws: Mapping[str, np.ndarray] | None = None

    @classmethod
    def from_spec(
        cls,
        spec: CohortSpec,
        document: Document | None = None,
        path: Path = ("cohort",),
        *,
        model: Model | None = None,
        described_at: Path | None = None,
    ) -> Cohort:
        """The cohort that a config describes.

        **Arguments:**

        - `document`, `path`: the config that `spec` was parsed from and where it stands there, for
          the places of problems.
        - `model`: the structural model of a population that is described there.
        - `described_at`: where its description stands; default: `described`, below `path`.

        Raises `ConfigError` (without a document `CohortError`) with everything wrong: unknown
        names, wrong options, margins that cannot be, criteria on unknown covariates, a covariate
        that the population needs and nobody has. Does not sample: see `check`.
        """
        faults = Faults(document, path)
        source = observed = draws = options = population = None
        marginals, stated, stated_names = None, NOTHING_STATED, {}
        with faults.at():
            _check_one(spec)
        if spec.posterior is not None:
            from cohorts.fits import learned

            with faults.at("posterior"):
                population, draws, observed = learned(spec.posterior, untrusted=spec.untrusted)
        elif spec.population is not None:
            with faults.at("population"):
                population = populations.get(spec.population)
        # Whose covariates a posterior has is not known where it could not be read.
        if spec.covariates.source or spec.posterior is None or population is not None:
            with faults.at("covariates", "source"):
                source = _source(spec.covariates.source, observed)
        if source is not None:
            with faults.at("covariates", "marginals"):
                marginals = _margins(source, spec.covariates.marginals)
            with faults.at("covariates", "stated"):
                stated, stated_names = state_covariates(
                    source.name, source.vocabulary, spec.covariates.stated
                )
            vocabulary = {**source.vocabulary, **stated_names}
            for index, criterion in enumerate(spec.eligibility):
                faults.criterion(index, criterion, vocabulary)
            if spec.described is not None and model is not None:
                from cohorts.hierarchy import population_of

                with faults.at():
                    population = population_of(
                        spec.described,
                        model,
                        vocabulary,
                        document=document,
                        path=(*path, "described") if described_at is None else described_at,
                    )
            if population is not None:
                with faults.at("covariates"):
                    hint = "state it under `stated`, or choose another source"
                    raise_any(population.unfit_covariates(vocabulary, source.name, hint))
        if population is not None:
            with faults.at("options"):
                options = _parse_options(population, spec.options, document, (*path, "options"))
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
            draws=draws,
        )

    @property
    def vocabulary(self) -> dict[str, Name]:
        """Every covariate of a subject: the source's, and the stated ones."""
        return {**self.source.vocabulary, **dict(self.stated_names)}

    def numbers(self, seed: int, draws: int = 1) -> Numbers:
        """The numbers of the cohort, with the first `draws` draws of its population's parameters.

        They are arguments of `sample`, so that cohorts which differ in numbers alone, other options
        among them, make the same compiled program.
        """
        from cohorts import sampling

        return sampling.numbers(self, seed, draws)

    def sample(
        self,
        numbers: Numbers,
        seed: Seed,
        population: Int[Array, " subjects"],
        trial: Int[Array, " subjects"],
        subject: Int[Array, " subjects"],
        occasions: int = 1,
    ) -> tuple[Subjects, Int[Array, " subjects"]]:
        """The subjects at these addresses, and how many candidates each took.

        **Arguments:**

        - `numbers`: from `numbers`, with at least as many draws as are addressed.
        - `seed`: an integer, which may be traced.
        - `population`, `trial`, `subject`: equal-shaped integer arrays: number of the draw of the
          population's parameters, of the trial, and of the subject in its trial.
        - `occasions`: how many a subject has; an occasion's draws do not depend on it.

        **Returns** `(subjects, attempts)`. `attempts` is 0 where none of `MAX_ATTEMPTS` candidates
        was eligible; that subject's parameters are NaN, so that no solve can take it for a patient.
        """
        from cohorts import sampling

        return sampling.sample(self, numbers, seed, population, trial, subject, occasions)

    def population_parameters(self, seed: int, draws: int = 1) -> dict[str, np.ndarray]:
        """The population's parameters at its first `draws` draws: by name, arrays (draws,)."""
        typical = self.numbers(seed, draws).typical
        return {name: np.asarray(values) for name, values in typical._asdict().items()}

    def eligible_share(self, seed: int = 0, n: int = 4096) -> EligibleShare:
        """Shares of `n` candidates that are eligible, overall and by criterion."""
        return self._share(self.candidates(seed, n), n)

    def _share(self, drawn: Mapping[str, np.ndarray], n: int) -> EligibleShare:
        passed = {c.text: np.asarray(self.holds(c, drawn)) for c in self.criteria}
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

    def candidates(self, seed: int, n: int) -> dict[str, np.ndarray]:
        """Covariates of `n` people before anybody is judged eligible: by name, arrays (n,).

        They are nobody in particular, none of those that `sample` draws, and need no JAX.
        """
        return self.source.people(seed, n, self.marginals, self.stated)

    def holds(self, criterion: Expression, values: Mapping[str, Any]) -> Any:
        """Where a criterion holds for people of these covariates."""
        held = criterion.evaluate(values, self.vocabulary)
        xp = library_of(held)
        return xp.broadcast_to(held.astype(bool), next(iter(values.values())).shape)


def _check_one(spec: CohortSpec) -> None:
    """Raise `CohortError` unless exactly one population is named, fitted or described."""
    ways = ("population", "posterior", "described")
    given = [way for way in ways if getattr(spec, way) is not None]
    if len(given) != 1:
        raise_any(
            [Fault((), "needs exactly one of these", " and ".join(given) or "none", listed(ways))]
        )
    if spec.posterior is not None and spec.options:
        raise_any([Fault(("options",), "a posterior leaves no choices: they are in its fit")])


def _source(
    name: str | None, observed: ObservedCovariates | None
) -> CovariateModel | ObservedCovariates:
    """The source of that name; without one, the subjects observed, or nobody's covariates."""
    if name is not None:
        return covariate_models.get(name)
    return observed or ObservedCovariates("nothing", "what the trial states alone", "", {}, {})


def _margins(source: CovariateModel | ObservedCovariates, spec: MarginalsSpec) -> Any:
    if isinstance(source, CovariateModel):
        return state_marginals(source, spec.age, spec.shares)
    if spec != MarginalsSpec():
        hint = "restrict them by eligibility, or name a covariate model as the source"
        raise_any([Fault((), f"{source.title} have no margins to state", hint=hint)])
    return source.table


def _parse_options(
    population: Population, options: dict[str, Any], document: Document | None, path: Path
) -> Spec:
    if document is not None:
        salvaged = document.salvage(population.Options, path=path)
        # Mistakes of the file elsewhere are somebody else's to tell.
        own = [problem for problem in salvaged.problems if problem not in document.problems]
        if salvaged.parsed is None or own:
            raise ConfigError(own)
        return salvaged.parsed
    try:
        return population.Options.model_validate(options)
    except ValidationError as error:
        faults = [Fault(tuple(e["loc"]), e["msg"], str(e["input"])) for e in error.errors()]
        raise CohortError(faults) from None
