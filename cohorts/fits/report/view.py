"""The results of a fit, read once into what its report is written from."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from cohorts.diagnosis.convergence import by_draw, varying
from cohorts.fits.config import FitConfig
from cohorts.fits.fit import Fit
from cohorts.hierarchy.effects import Effect
from cohorts.hierarchy.imported import SITE as ESTIMATES
from cohorts.hierarchy.variability import FACTOR
from cohorts.population import Measure, Population
from insilico.pages.words import readable

OBSERVED = "#1c2733"
INDIVIDUAL = "#3f5d87"
TYPICAL = "#b3541e"
PRIOR = "#8a949e"
WRONG = "#a3262a"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A scalar of the population: its draws (chain, draw), those of its prior, its unit ("" for 1),
    and the bounds that it lies between."""

    name: str
    label: str
    unit: str
    draws: np.ndarray
    prior: np.ndarray
    bounds: tuple[float, float] = (-np.inf, np.inf)


class PosteriorView(abc.ABC):
    """What every report of a sampled population reads: its results, config and population."""

    tree: xr.DataTree

    @property
    @abc.abstractmethod
    def config(self) -> Any:
        """Has `sampling`, and `checks.interval`."""

    @property
    @abc.abstractmethod
    def population(self) -> Population:
        """As the config describes it."""

    def group(self, name: str) -> xr.Dataset:
        """A group of the results."""
        return self.tree[name].to_dataset()

    @property
    def passed(self) -> bool:
        """Whether it passed its diagnostics."""
        return bool(self.tree.attrs["passed"])

    @property
    def reasons(self) -> list[str]:
        """Why not."""
        return texts(self.tree.attrs["reasons"])

    @property
    def warnings(self) -> list[str]:
        """What is worth knowing before the results are used, and failed nothing."""
        return texts(self.tree.attrs.get("warnings", []))

    @property
    def interval(self) -> float:
        """Probability of the intervals shown."""
        return float(self.config.checks.interval)

    @property
    def percent(self) -> str:
        """The same in percent."""
        return f"{100 * self.interval:g} %"

    def bounds(self, draws: np.ndarray) -> tuple[float, float]:
        """The ends of the equal-tailed interval of draws."""
        tails = (0.5 - self.interval / 2, 0.5 + self.interval / 2)
        low, high = np.quantile(draws, tails)
        return float(low), float(high)

    @property
    def approximate(self) -> bool:
        """Whether the posterior was approximated, not sampled."""
        return False

    @property
    def priors_count(self) -> bool:
        """Whether what was learned rests on priors, too."""
        return True

    @functools.cached_property
    def parameters(self) -> list[Parameter]:
        """The population's parameters that were learned, as scalars.

        Coordinates of imported estimates are left out: the parameters are functions of them.
        """
        posterior, prior = self.group("posterior"), self.group("prior")
        measures = {number.name: Measure(number.unit) for number in self.population.numbers} | dict(
            self.population.measures
        )
        ordered = dict.fromkeys([*self.population.measures, *measures, *map(str, prior)])
        # What parameters are made of is not shown as well: the factor of correlations, and the
        # errors of imported estimates.
        shown = [
            name
            for name in ordered
            if name in posterior
            and name in prior
            and not name.startswith(FACTOR)
            and name != ESTIMATES
        ]
        found, coefficients = [], _coefficients(self.population)
        for label, name, index in varying(posterior[shown]):
            measure = measures.get(name, Measure("1"))
            found.append(
                Parameter(
                    name=label,
                    label=coefficients.get(name, labelled(name)) + label.removeprefix(name),
                    unit="" if measure.unit == "1" else measure.unit,
                    draws=by_draw(posterior[name])[:, :, *index],
                    prior=by_draw(prior[name])[:, :, *index].ravel(),
                    bounds=(measure.low, measure.high),
                )
            )
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class View(PosteriorView):
    """A fit and its results."""

    tree: xr.DataTree
    fit: Fit

    @property
    def config(self) -> FitConfig:
        """The fit's."""
        return self.fit.config

    @property
    def population(self) -> Population:
        """The fit's."""
        return self.fit.population

    @property
    def approximate(self) -> bool:
        return self.fit.config.method != "nuts"

    @property
    def label(self) -> str:
        """What an approximation is to be called wherever it is shown."""
        return f"Approximation: {self.fit.label}; not a sampled posterior"

    @property
    def priors_count(self) -> bool:
        return not self.approximate or self.fit.config.approximation.priors

    @property
    def subjects(self) -> list[str]:
        """IDs of the subjects."""
        return [str(subject) for subject in self.fit.patients.subjects]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The measured outputs."""
        return self.fit.patients.outputs

    def output_label(self, name: str) -> str:
        """An output's description with its unit."""
        quantity = self.fit.model.quantities("Outputs")[name]
        unit = "" if quantity.unit == "1" else f" ({quantity.unit})"
        return f"{readable(name)}{unit}"

    @property
    def time_label(self) -> str:
        """The axis of time."""
        return f"Time ({self.fit.model.time_unit})"

    @property
    def effects(self) -> list[str]:
        """The parameters that vary between subjects."""
        posterior, model = self.group("posterior"), self.fit.model
        return [name for name in model.quantities("Parameters") if f"eta_{name}" in posterior]

    @functools.cached_property
    def mixtures(self) -> Mapping[str, xr.Dataset]:
        """Of each mixture, how probable its components are for each subject."""
        told = self.tree.groups
        names = [name for name in self.fit.config.mixtures if f"/membership/{name}" in told]
        return {name: self.group(f"membership/{name}") for name in names}

    @property
    def check_time(self) -> tuple[str, str]:
        """The column of the observations that predictive checks go over, and its label."""
        name = self.config.checks.over
        return name, f"{readable(name)} ({self.fit.model.time_unit})"

    def strata(self, output: str) -> list[xr.Dataset]:
        """The predictive check of each group of subjects, if any were asked for."""
        place = f"stratified_check/{output}"
        if f"/{place}" not in self.tree.groups:
            return []
        return [self.group(f"{place}/{number}") for number in range(len(self.tree[place].children))]

    @functools.cached_property
    def observations(self) -> Mapping[str, np.ndarray]:
        """Columns of the measured values and of what was predicted of them, (observations,)."""
        together = {**self.group("observed_data"), **self.group("predictions")}
        return {str(name): np.asarray(column) for name, column in together.items()}

    def of_output(self, name: str) -> Mapping[str, Any]:
        """The same of one output."""
        here = self.observations["output"] == name
        return {column: values[here] for column, values in self.observations.items()}


def texts(found: Any) -> list[str]:
    """An attribute that holds texts: of one alone a store gives back that."""
    return [found] if isinstance(found, str) else [str(text) for text in found]


def of_category(effect: Effect, category: str) -> str:
    """A category in words, with its covariate unless it begins with that."""
    covariate = effect.covariate.replace("_", " ")
    named = category.lower().startswith(covariate.lower())
    return category if named else f"{covariate}: {category}"


def _coefficients(population: Population) -> dict[str, str]:
    """Coefficients of covariates in words, as `labelled` has others."""
    return {
        name: readable(f"{of_category(effect, category)}, on {parameter}")
        for parameter, effects in population.effects.items()
        for effect in effects
        if effect.categories
        for category, name in zip(effect.others, effect.numbers, strict=True)
    }


def labelled(name: str) -> str:
    """A population's parameter in words."""
    for prefix, words in (
        ("residual_sd_", "Residual error of"),
        ("residual_proportional_", "Proportional residual error of"),
        ("residual_exponent_", "Exponent of the residual error of"),
        ("residual_autocorrelation_", "Autocorrelation rate of the residual error of"),
        ("typical_", "Typical"),
        ("occasion_sd_", "Between-occasion sd of"),
        ("sd_", "Between-subject sd of"),
        ("shares_", "Share of"),
    ):
        if name.startswith(prefix):
            return f"{words} {name.removeprefix(prefix).replace('_', ' ')}"
    return readable(name)
