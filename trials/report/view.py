"""The results of a run, read once into what a report is written from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import xarray as xr

from insilico.pages.numbers import counted
from insilico.pages.plotting import PALETTE
from insilico.pages.words import readable
from trials.config import AnalysisSpec, TrialConfig
from trials.endpoint_units import unit_of
from trials.margins import margins_of
from trials.report.analysis_view import AnalysisView, ArmView, Published
from trials.scales import Scale, scale_of
from trials.study import Study

MOST_POOLED = 250_000
"""Subjects that summaries over trials are taken from; percentiles do not get better with more."""


SHOWN = {
    "non_inferiority": "non-inferior by its margin",
    "superiority": "superior by its margin",
    "equivalence": "equivalent within its margins",
}
"""What a trial is called that shows what its test is to show, with what it is shown against."""


class View:
    """The results of a study with everything that a report asks of them.

    Groups that a run did not keep are `None`; nothing here fails for a group that is missing.
    """

    def __init__(self, tree: xr.DataTree, study: Study):
        self.tree = tree
        self.study = study
        self.config: TrialConfig = study.config
        self.arms = tuple(
            ArmView(name, spec.label, PALETTE[index % len(PALETTE)])
            for index, (name, spec) in enumerate(study.config.arms.items())
        )

    @cached_property
    def units(self) -> dict[str, str]:
        """Units of the model's outputs."""
        quantities = self.study.protocol.model.quantities("Outputs")
        return {name: quantity.unit for name, quantity in quantities.items()}

    def group(self, name: str) -> xr.Dataset | None:
        """A group of the results, or `None` where the run has none or an empty one."""
        if name not in self.tree.children:
            return None
        dataset = self.tree.children[name].to_dataset()
        return dataset if dataset.data_vars else None

    def arm(self, name: str) -> ArmView:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Draws of the population, trials of each, subjects of a trial, as in the results."""
        spec = self.config.trial
        found = {
            "population": spec.population_draws,
            "trial": spec.per_draw,
            "subject": spec.subjects,
        }
        for name in ("estimates", "randomisation"):
            dataset = self.group(name)
            if dataset is not None:
                found |= {axis: dataset.sizes[axis] for axis in found if axis in dataset.sizes}
        return found

    @property
    def trials(self) -> int:
        """Simulated trials, over all draws of the population's parameters."""
        return self.sizes["population"] * self.sizes["trial"]

    @property
    def subjects(self) -> int:
        """Subjects of one trial."""
        return self.sizes["subject"]

    def words(self, name: str) -> str:
        """A config's name as words, with the model's acronyms as they are written: "Target INR"."""
        shorts = {output: self.output_short(output) for output in self.units}
        acronyms = {output: short for output, short in shorts.items() if short.isupper()}
        words = [acronyms.get(word, word) for word in name.split("_")]
        return readable(" ".join(words))

    def output_short(self, name: str) -> str:
        """An output in a word: short names are taken for acronyms."""
        return name.upper() if len(name) <= 4 else readable(name)

    def unit(self, output: str) -> str:
        """Unit of an output or of a record of doses."""
        return unit_of(output, self.units, self.config.drug)

    def output_label(self, name: str) -> str:
        """An output in the field's words, as the model describes it."""
        quantity = self.study.protocol.model.quantities("Outputs").get(name)
        short = self.output_short(name)
        return f"{short} ({quantity.description})" if quantity else short

    @cached_property
    def pooled(self) -> dict[str, slice]:
        """The trials that pooled summaries are taken from, at most `MOST_POOLED` subjects."""
        each = self.sizes["subject"] * self.sizes["population"]
        return {"trial": slice(0, max(1, MOST_POOLED // each))}

    @cached_property
    def pooled_words(self) -> str:
        """Says from how many trials a pooled summary is."""
        shown = min(self.pooled["trial"].stop, self.sizes["trial"])
        draws = self.sizes["population"]
        subjects = counted(shown * self.subjects * draws, "subject")
        if shown * draws == 1:
            return f"{subjects} of the {'only' if self.sizes['trial'] == 1 else 'first'} trial"
        which = "all" if shown == self.sizes["trial"] else "the first"
        return f"{subjects} of {which} {shown * draws:,} trials"

    @cached_property
    def assigned(self) -> np.ndarray | None:
        """Number of the arm each pooled subject was given, (population, trial, subject).

        In a crossover a subject counts once a period: the last axis is period · subject.
        """
        dataset = self.group("randomisation")
        if dataset is None:
            return None
        return np.asarray(_by_occasion(dataset["arm_number"].isel(self.pooled)), int)

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], np.ndarray] | None:
        """What subjects were randomised to, arms or sequences of them, by label, and the number of
        it for each pooled subject, (population, trial, subject)."""
        dataset, crossover = self.group("randomisation"), self.config.trial.crossover
        if dataset is None or self.assigned is None:
            return None
        if crossover is None:
            return tuple(arm.label for arm in self.arms), self.assigned
        labels = [self.sequence(sequence) for sequence in crossover.sequences]
        number = dataset["sequence_number"].isel(self.pooled).values
        return tuple(labels), np.asarray(number, int)

    def sequence(self, arms: Sequence[str]) -> str:
        """A sequence of arms as words: "Test, then Reference"."""
        return ", then ".join(self.arm(name).label for name in arms)

    def observed(self, dataset: xr.Dataset, name: str) -> np.ndarray | None:
        """A potential outcome of the pooled subjects under the arm each was given.

        The arm's axis of (population, trial, arm, subject, …) is taken out; a subject counts as in
        `assigned`.
        """
        if self.assigned is None or name not in dataset:
            return None
        column = _by_occasion(dataset[name].isel(self.pooled))
        index = np.maximum(self.assigned, 0)[:, :, None]
        index = index.reshape(*index.shape, *(1,) * (column.ndim - 4))
        return np.take_along_axis(column, index, axis=2)[:, :, 0]

    @cached_property
    def analyses(self) -> tuple[AnalysisView, ...]:
        """Every analysis of the config that the results hold, in the config's order."""
        estimates = self.group("estimates")
        if estimates is None or "analysis" not in estimates.coords:
            return ()
        held = set(map(str, estimates["analysis"].values))
        return tuple(
            self._analysis(name, spec, estimates)
            for name, spec in self.config.analyses.items()
            if name in held
        )

    @cached_property
    def decisive(self) -> tuple[AnalysisView, ...]:
        """The analyses that success rests on, the primary one first."""
        spec = self.config.success
        names = [] if spec is None else list(spec.any_of or spec.all_of or ())
        by_name = {analysis.name: analysis for analysis in self.analyses}
        named = tuple(by_name[name] for name in names if name in by_name)
        return named or self.analyses[:1]

    @property
    def wanted(self) -> str:
        """What success asks of its analyses, as in "any of them is …"."""
        against = [each for each in self.decisive if each.one_sided]
        differences = [each for each in self.decisive if not each.one_sided]
        words = [SHOWN[each.spec.hypothesis] for each in against]
        directed = [each for each in differences if each.endpoint.better is not None]
        if directed and len(directed) < len(differences):
            labels = ", ".join(f"“{analysis.label}”" for analysis in directed)
            words.append(f"significant and, for {labels}, for the better")
        elif differences:
            words.append("significant and for the better" if directed else "significant")
        return " or ".join(dict.fromkeys(words))

    @cached_property
    def success(self) -> tuple[float, float]:
        """Probability of success and its Monte-Carlo error."""
        dataset = self.group("operating_characteristics")
        if dataset is None or "success" not in dataset:
            return float("nan"), float("nan")
        return float(dataset["success"]), float(dataset["success_mcse"])

    def _analysis(self, name: str, spec: AnalysisSpec, estimates: xr.Dataset) -> AnalysisView:
        endpoint = self.config.endpoints[spec.endpoint]
        scale = scale_of(spec, endpoint, self.units, self.config.drug)
        one = estimates.sel(analysis=name)

        def flat(variable: str) -> np.ndarray:
            column = np.asarray(one[variable].values)
            return column.reshape(-1, *column.shape[2:])

        truth, characteristics = self.group("truth"), self.group("operating_characteristics")
        true = {} if truth is None else _numbers(truth.sel(analysis=name))
        return AnalysisView(
            name=name,
            label=spec.label or readable(name),
            spec=spec,
            endpoint=endpoint,
            endpoint_label=endpoint.label or readable(spec.endpoint),
            scale=scale,
            treatment=self.arm(spec.contrast[0]),
            reference=self.arm(spec.contrast[1]),
            margins=margins_of(self.config, spec),
            truth=true.get("value", float("nan")),
            truth_mcse=true.get("mcse", float("nan")),
            truth_subjects=true.get("n", float("nan")),
            characteristics={}
            if characteristics is None
            else _numbers(characteristics.sel(analysis=name)),
            published=self._published(name, scale),
            published_arms=self._published_arms(name),
            **{
                variable: flat(variable)
                for variable in (
                    "estimate",
                    "lower",
                    "upper",
                    "p_value",
                    "status",
                    "n",
                    "mean",
                )
            },
        )

    def _published(self, analysis: str, scale: Scale) -> Published | None:
        for name, arm, value, lower, upper in self._entries():
            if name == analysis and not arm:
                return Published(*(scale.published(number) for number in (value, lower, upper)))
        return None

    def _published_arms(self, analysis: str) -> dict[str, float]:
        return {arm: value for name, arm, value, *_ in self._entries() if name == analysis and arm}

    def _entries(self) -> list[tuple[str, str, float, float, float]]:
        dataset = self.group("published")
        if dataset is None or dataset.sizes.get("entry", 0) == 0:
            return []
        columns = [dataset[name].values for name in ("analysis", "arm", "value", "lower", "upper")]
        return [
            (str(name), str(arm), float(value), float(lower), float(upper))
            for name, arm, value, lower, upper in zip(*columns, strict=True)
        ]


def _by_occasion(column: xr.DataArray) -> np.ndarray:
    """A column of a crossover with its periods and subjects on one axis; others as they are."""
    if "period" not in column.dims:
        return np.asarray(column.values)
    axes = [axis for axis in column.dims if axis != "period"]
    axes.insert(axes.index("subject"), "period")
    column = column.transpose(*axes)
    before = axes.index("period")
    shape = column.shape
    joined = (*shape[:before], shape[before] * shape[before + 1], *shape[before + 2 :])
    return np.asarray(column.values).reshape(joined)


def _numbers(dataset: xr.Dataset) -> dict[str, float]:
    return {str(name): float(column) for name, column in dataset.data_vars.items()}
