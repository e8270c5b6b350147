"""What a fit found, as an ArviZ `DataTree` that says everything its report needs.

Groups, besides those of the sampler (`posterior`, `sample_stats`, `warmup_sample_stats`,
`log_likelihood`) or of an approximation (`cohorts.fits.approximating`), and the `diagnostics`:

- `prior`: draws of the population's parameters before any data.
- `observed_data`: every measured value, by `observation`: whose, when, which output.
- `constant_data`: covariates, by `subject`.
- `predictions`: at every observation what the typical subject (of a mixture one of its largest
  component) and this subject were expected to have, and how far off that was.
- `curves`: between the records, by subject, at times of its own; the typical subject is one of the
  component to which this one most probably belongs.
- `predictive_check`: by output, percentiles of the observed beside those of simulated data sets.
- `stratified_check`: by output the same of groups of subjects, if `checks.stratify` asks for it.
- `membership/<mixture>`: by subpopulation and subject, how probable it is that the subject belongs
  there, averaged over draws, and which is most probable.
- `leave_one_out`: by subject, how well it is predicted by a fit to the others.
- `prior_sensitivity`: by parameter, what prior and posterior have in common, and how the posterior
  changes as the prior, or the likelihood, counts more. Both only where the config asks for them.

Intervals have the probability that the config states; `interval` in the attributes says it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
import xarray as xr
from numpyro import handlers

from cohorts.data import Kind, PatientData
from cohorts.diagnosis import (
    PERCENTILES,
    prediction_corrected,
    prediction_errors,
    time_bins,
    visual_predictive_check,
)
from cohorts.fits.fit import Fit
from cohorts.fits.sensitivity import sensitivity
from cohorts.fits.strata import strata
from cohorts.inference.joint import Joint
from cohorts.inference.patients import Data, records_of
from cohorts.inference.predictive import Outputs, Predictive
from cohorts.inference.side_by_side import modes_ahead
from cohorts.population import Population
from insilico.config import Spec
from insilico.programs import quickly
from insilico.randomness import address, purpose_key
from insilico.solve.records import Records, also_at

CURVE_POINTS = 60
"""Times of a subject's curve."""

CURVE_DRAWS = 200
"""Draws of the posterior that curves and individual predictions are taken from."""

TOLD_APART = 0.05
"""Least difference between two subjects' probabilities of belonging to a subpopulation below which
the data do not tell subpopulations apart."""


class Observations(NamedTuple):
    """The measured values in the order of the table; arrays (observations,)."""

    subject: np.ndarray
    record: np.ndarray
    output: np.ndarray
    time: np.ndarray
    value: np.ndarray
    censored: np.ndarray
    limit: np.ndarray
    after_dose: np.ndarray
    """Time since the last dose, NaN before the first or where that is not known."""

    @classmethod
    def of(cls, patients: PatientData) -> Observations:
        columns = patients.records.columns
        value, output, kind, limit = (
            array[columns.place, columns.patient] for array in patients.measured
        )
        kept, censored = kind != Kind.NOTHING, kind == Kind.CENSORED
        after = patients.time_after_dose
        return cls(
            subject=columns.patient[kept],
            record=columns.place[kept],
            output=output[kept],
            time=columns.time[kept],
            value=value[kept],
            censored=censored[kept],
            limit=np.where(censored, limit, -np.inf)[kept],
            after_dose=np.full(kept.sum(), np.nan) if after is None else after[kept],
        )

    def of_records(self, values: np.ndarray) -> np.ndarray:
        """(…, records, subjects) as (…, observations)."""
        return values[..., self.record, self.subject]

    def of_outputs(self, outputs: Outputs) -> np.ndarray:
        """The output that each measured, (draws, observations)."""
        return outputs.values[:, self.output, self.record, self.subject]


def groups(fit: Fit, joint: Joint, data: Data, posterior: xr.Dataset) -> dict[str, xr.Dataset]:
    """All groups but the sampler's, by name."""
    checks = fit.config.checks
    predictive = Predictive(joint, data)
    observations = Observations.of(fit.patients)
    replicates = thinned(posterior, checks.replicates)
    few = thinned(posterior, CURVE_DRAWS)
    found = predictive.new(replicates, fit.config.seed)
    simulated = observations.of_records(predictive.measured(found, replicates, fit.config.seed))
    typical = observations.of_outputs(predictive.typical(replicates))
    individual = observations.of_outputs(predictive.individual(few))
    tails = np.array([0.5 - checks.interval / 2, 0.5 + checks.interval / 2])
    lower, upper = np.nanquantile(individual, tails, axis=0)
    usable = np.isfinite(simulated).all(axis=1)
    errors = _errors(fit, observations, simulated[usable])
    before = prior(joint, checks.prior_draws, fit.config.seed)
    result = {
        "prior": before,
        "observed_data": _observed(fit.patients, observations),
        "constant_data": _covariates(fit.patients),
        "predictions": xr.Dataset(
            {
                "typical": ("observation", np.nanmean(typical, axis=0)),
                "individual": ("observation", np.nanmean(individual, axis=0)),
                "individual_lower": ("observation", lower),
                "individual_upper": ("observation", upper),
                "npd": ("observation", errors.npd),
                "npde": ("observation", errors.npde),
            },
            attrs={"interval": checks.interval, "draws": len(next(iter(few.values())))},
        ),
        "curves": curves(fit, joint, data, few, tails),
        **memberships(fit, posterior),
    }
    for number, name in enumerate(joint.outputs):
        of, clock = observations.output == number, observations.time
        if checks.over == "time_after_dose":
            clock = observations.after_dose
            of = of & np.isfinite(clock)
        part = Observations(*(column[of] for column in observations._replace(time=clock)))
        of_output = part, simulated[usable][:, of], np.nanmean(typical, axis=0)[of]
        result[f"predictive_check/{name}"] = _predictive_check(*of_output)
        for place, (label, check) in enumerate(_stratified(fit, *of_output)):
            result[f"stratified_check/{name}/{place}"] = check.assign_attrs(stratum=label)
    if _integrable(fit, joint):
        some = thinned(posterior, checks.marginal_draws)
        subjects = fit.patients.subjects
        result |= sensitivity(joint, data, some, posterior, before, subjects)
    return result


def axes(fit: Fit, joint: Joint) -> dict[str, Any]:
    """Coordinates, and names of the axes that no plate gives, for the sampler's groups."""
    varying = joint.population.between_occasion
    names = [f"kappa_{name}" for name in varying] + [f"{name}_by_occasion" for name in varying]
    coords: dict[str, Any] = {"subject": list(fit.patients.subjects)}
    if varying:
        coords["occasion"] = list(range(1, joint.occasions + 1))
    dims = {name: ["occasion", "subject"] for name in names}
    for name, mixture in fit.config.mixtures.items():
        coords[component_of(name)] = list(mixture.components)
        dims[f"probability_{name}"] = [component_of(name), "subject"]
        dims[f"shares_{name}"] = [component_of(name)]
    return {"coords": coords, "dims": dims}


def component_of(mixture: str) -> str:
    """The axis of a mixture's components in the sampler's groups and in `estimates`."""
    return f"component_of_{mixture}"


def memberships(fit: Fit, posterior: xr.Dataset) -> dict[str, xr.Dataset]:
    """The groups `membership/<mixture>`, of `axes` (component, subject).

    `probability` is the mean over draws of the posterior, `most_probable` the name of the component
    in which it is largest. `warnings` in the attributes.
    """
    result = {}
    for name, mixture in fit.config.mixtures.items():
        found = posterior[f"probability_{name}"].mean(("chain", "draw"))
        probability = found.transpose(component_of(name), "subject").to_numpy()
        components = np.array(mixture.components)
        warnings = []
        if probability.shape[1] > 1 and np.max(np.ptp(probability, axis=1)) < TOLD_APART:
            warnings.append(
                f"no subject's data say to which subpopulation ({name}) it belongs: the "
                f"probabilities of any two subjects differ by less than {TOLD_APART:g}; leave the "
                "mixture out, or say beforehand how the subpopulations differ"
            )
        result[f"membership/{name}"] = xr.Dataset(
            {
                "probability": (("component", "subject"), probability),
                "most_probable": ("subject", components[np.argmax(probability, axis=0)]),
            },
            coords={
                "component": components,
                "subject": [str(subject) for subject in fit.patients.subjects],
            },
            attrs={"warnings": warnings},
        )
    return result


def thinned(posterior: xr.Dataset, count: int) -> dict[str, np.ndarray]:
    """Draws of the posterior's sites, (draws, …): `count` of them, evenly spaced, or all."""
    stacked = posterior.stack(sample=("chain", "draw")).transpose("sample", ...)
    total = stacked.sizes["sample"]
    index = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
    return {str(name): stacked[name].values[index] for name in stacked.data_vars}


class HasPopulation(Protocol):
    """What has a population, and its options."""

    @property
    def population(self) -> Population: ...

    @property
    def options(self) -> Spec: ...


def prior(of: HasPopulation, draws: int, seed: int) -> xr.Dataset:
    """Draws of the population's parameters from their prior, one chain."""
    root = purpose_key(seed, "prior")

    def one(draw: Any, numbers: Any) -> dict[str, Any]:
        with (
            handlers.block(),
            handlers.trace() as sites,
            handlers.seed(rng_seed=address(root, draw)),
        ):
            of.population.typical_values(of.options, numbers)
        return {name: site["value"] for name, site in sites.items() if "value" in site}

    program = quickly(jax.vmap(one, in_axes=(0, None)))
    drawn = program(np.arange(draws), of.population.hyperparameter_arrays)
    variables = {
        name: (
            ("chain", "draw", *(f"{name}_dim_{n}" for n in range(np.ndim(values) - 1))),
            np.asarray(values)[None],
        )
        for name, values in drawn.items()
    }
    return xr.Dataset(variables, coords={"chain": [0], "draw": np.arange(draws)})


def ahead(fit: Fit, joint: Joint, data: Data) -> None:
    """Begin to compile what `groups` takes long to, beside the search for the posterior."""
    Predictive(joint, data).ahead()
    if (found := _between(fit, joint, data)) is not None:
        found[1].ahead()
    if _integrable(fit, joint):
        modes_ahead(joint, len(joint.names), data)


def _integrable(fit: Fit, joint: Joint) -> bool:
    """Whether subjects' effects are to be integrated out: where something was learned."""
    return bool(fit.config.checks.marginal_draws and joint.sites)


def curve_times(table: Records) -> np.ndarray:
    """Of each subject from its first record to its last, (subjects, `CURVE_POINTS`): a third of
    them evenly in time, the others as its records are, so that a dose among months shows."""
    patient, time = table.columns.patient, table.columns.time
    many = np.bincount(patient)
    first = np.cumsum(many) - many
    even = np.linspace(time[first], time[first + many - 1], CURVE_POINTS // 3, axis=1)
    share = np.linspace(0.0, 1.0, CURVE_POINTS - even.shape[1])
    place = first[:, None] + share * (many[:, None] - 1)
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, (first + many - 1)[:, None])
    as_records = time[before] + (place - before) * (time[after] - time[before])
    return np.sort(np.concatenate([even, as_records], axis=1), axis=1)


def _between(fit: Fit, joint: Joint, data: Data) -> tuple[np.ndarray, Predictive] | None:
    """Times between each subject's records, and predictions there; None where a reset turns some
    patient's clock back."""
    table = records_of(joint.population, fit.patients)
    times = curve_times(table)
    try:
        records = also_at(table, times)
    except ValueError:
        return None
    return times, Predictive(joint, data, records)


def curves(
    fit: Fit, joint: Joint, data: Data, draws: Mapping[str, np.ndarray], tails: np.ndarray
) -> xr.Dataset:
    """What each subject is expected to have between its observations.

    Empty where a reset turns some patient's clock back.
    """
    if (found := _between(fit, joint, data)) is None:
        return xr.Dataset()
    times, predictive = found
    subject = np.arange(joint.subjects)[:, None]
    # Behind the subject's own records up to then, and those that were put in before.
    own = records_of(joint.population, fit.patients).columns
    earlier = np.zeros(times.shape, int)
    np.add.at(earlier, own.patient, own.time[:, None] <= times[own.patient])
    place = earlier + np.arange(times.shape[1])
    individual = predictive.individual(draws).values[:, :, place, subject]
    typical = predictive.typical(draws, belonging=True).values[:, :, place, subject]
    lower, upper = np.nanquantile(individual, tails, axis=0)
    dims = ("output", "subject", "point")
    return xr.Dataset(
        {
            "individual": (dims, np.nanmean(individual, axis=0)),
            "lower": (dims, lower),
            "upper": (dims, upper),
            "typical": (dims, np.nanmean(typical, axis=0)),
        },
        coords={
            "output": list(joint.outputs),
            "subject": list(fit.patients.subjects),
            "time": (("subject", "point"), times, {"units": fit.model.time_unit}),
        },
    )


def _errors(fit: Fit, observations: Observations, simulated: np.ndarray) -> Any:
    return prediction_errors(
        observations.value,
        observations.censored,
        observations.limit,
        simulated,
        observations.subject,
        fit.config.seed,
    )


def _observed(patients: PatientData, observations: Observations) -> xr.Dataset:
    names = np.asarray(patients.outputs, dtype=str)
    limit = np.where(np.isfinite(observations.limit), observations.limit, np.nan)
    return xr.Dataset(
        {
            "subject": ("observation", observations.subject),
            "record": ("observation", observations.record),
            "output": ("observation", names[observations.output]),
            "time": ("observation", observations.time, {"units": patients.model.time_unit}),
            "time_after_dose": (
                "observation",
                observations.after_dose,
                {"units": patients.model.time_unit},
            ),
            "value": (
                "observation",
                np.where(observations.censored, np.nan, observations.value),
            ),
            "censored": ("observation", observations.censored),
            "limit": ("observation", limit),
        }
    )


def _covariates(patients: PatientData) -> xr.Dataset:
    variables: dict[str, Any] = {}
    for name, values in patients.covariates.items():
        entry = patients.vocabulary[name]
        attributes: dict[str, Any] = {"kind": entry.kind, "units": entry.unit or ""}
        if entry.categories:
            attributes["categories"] = list(entry.categories)
        variables[name] = ("subject", np.asarray(values), attributes)
    return xr.Dataset(variables, coords={"subject": list(patients.subjects)})


def _stratified(
    fit: Fit, observations: Observations, simulated: np.ndarray, typical: np.ndarray
) -> Iterator[tuple[str, xr.Dataset]]:
    """The check of each group of subjects that has any of these observations."""
    covariate = fit.config.checks.stratify
    for stratum in [] if covariate is None else strata(fit.patients, covariate):
        here = stratum.subjects[observations.subject]
        if here.any():
            own = Observations(*(column[here] for column in observations))
            check = _predictive_check(own, simulated[:, here], typical[here])
            subjects = len(np.unique(own.subject))
            yield stratum.label, check.assign_attrs(subjects=subjects)


def _predictive_check(
    observations: Observations, simulated: np.ndarray, typical: np.ndarray
) -> xr.Dataset:
    """The check as it stands, and corrected for what the typical subject was expected to have."""
    bins = time_bins(observations.time)

    def checked(observed: np.ndarray, limit: np.ndarray, simulated: np.ndarray) -> xr.Dataset:
        found = visual_predictive_check(
            observations.time, observed, observations.censored, limit, simulated, bins
        )
        dims = {1: ("bin",), 2: ("percentile", "bin")}
        return xr.Dataset(
            {name: (dims[array.ndim], array) for name, array in found._asdict().items()},
            coords={"percentile": list(PERCENTILES)},
            attrs={"replicates": len(simulated), "covered": found.covered()},
        )

    plain = checked(observations.value, observations.limit, simulated)
    corrected = checked(
        *(
            prediction_corrected(values, typical, bins)
            for values in (observations.value, observations.limit, simulated)
        )
    )
    return xr.concat([plain, corrected], xr.Variable("corrected", [False, True]))
