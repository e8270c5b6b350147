"""The results of a fit, read once into what its report is written from."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from cohorts.fits.config import FitConfig
from cohorts.fits.fit import Fit
from cohorts.population import Population
from insilico.pages.words import readable

OBSERVED = "#1c2733"
INDIVIDUAL = "#3f5d87"
TYPICAL = "#b3541e"
PRIOR = "#8a949e"
WRONG = "#a3262a"


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A scalar of the population: its draws (chain, draw), those of its prior, and its unit."""

    name: str
    label: str
    unit: str
    draws: np.ndarray
    prior: np.ndarray


class PosteriorView:
    """What every report of a sampled population reads: its results, config and population."""

    tree: xr.DataTree

    @property
    def config(self) -> Any:
        """Has `sampling`, and `checks.interval`."""
        raise NotImplementedError

    @property
    def population(self) -> Population:
        """As the config describes it."""
        raise NotImplementedError

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
        found = self.tree.attrs["reasons"]
        return [found] if isinstance(found, str) else [str(reason) for reason in found]

    @property
    def interval(self) -> float:
        """Probability of the intervals shown."""
        return float(self.config.checks.interval)

    @property
    def percent(self) -> str:
        """The same in percent."""
        return f"{100 * self.interval:g} %"

    @functools.cached_property
    def parameters(self) -> list[Parameter]:
        """The population's parameters that were learned, as scalars."""
        posterior, prior = self.group("posterior"), self.group("prior")
        units = {number.name: number.unit for number in self.population.numbers}
        ordered = [*units, *(str(name) for name in prior if name not in units)]
        found = []
        for name in ordered:
            if name not in posterior or name not in prior:
                continue
            values = posterior[name]
            own = np.moveaxis(values.values, (0, 1), (-2, -1)).reshape(-1, *values.shape[:2])
            before = np.moveaxis(prior[name].values, (0, 1), (-2, -1)).reshape(len(own), -1)
            for index, (draws, drawn) in enumerate(zip(own, before, strict=True)):
                if np.ptp(draws) == 0:  # known
                    continue
                suffix = f"[{index}]" if len(own) > 1 else ""
                unit = units.get(name, "1")
                found.append(
                    Parameter(
                        name=name + suffix,
                        label=labelled(name) + suffix,
                        unit="" if unit == "1" else unit,
                        draws=draws,
                        prior=drawn,
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
        names = map(str, self.group("posterior").data_vars)
        return [name.removeprefix("eta_") for name in names if name.startswith("eta_")]

    @functools.cached_property
    def observations(self) -> Mapping[str, np.ndarray]:
        """Columns of the measured values and of what was predicted of them, (observations,)."""
        together = {**self.group("observed_data"), **self.group("predictions")}
        return {str(name): np.asarray(column) for name, column in together.items()}

    def of_output(self, name: str) -> Mapping[str, Any]:
        """The same of one output."""
        here = self.observations["output"] == name
        return {column: values[here] for column, values in self.observations.items()}


def labelled(name: str) -> str:
    """A population's parameter in words."""
    for prefix, words in (
        ("residual_sd_", "Residual error of"),
        ("typical_", "Typical"),
        ("sd_", "Between-subject sd of"),
    ):
        if name.startswith(prefix):
            return f"{words} {name.removeprefix(prefix).replace('_', ' ')}"
    return readable(name)
