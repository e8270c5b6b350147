"""Patient data as inference takes them, with a population's numbers, and whether they fit it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cohorts._faults import Fault, raise_any
from cohorts.data import Kind, PatientData
from cohorts.data.occasions import numbered
from cohorts.population import Changing, Population
from insilico.config.problems import listed
from insilico.solve.records import Records, RecordTable

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int


class Data(NamedTuple):
    """All numbers that a compiled program takes besides parameters and effects; from `Joint.data`.

    Patient data have the subjects' axis last; the population's numbers have no axis.

    - `table`: doses and other events, an `insilico.solve.records.RecordTable`.
    - `value`: measured, 0 where nothing was; `output`: number of the output; `kind`: a
      `cohorts.data.Kind`; `limit`: of quantification, None where all values are above it: then
      programs have no probabilities of being below it in them.
    - `before`: the subject's record of the last value of the same output; -1 where there is none.
    - `covariates`: by name, categories in the population's codes; a `cohorts.population.Changing`
      of one that changes.
    - `hyperparameters`: of the population, a tree of scalars: see `Population.hyperparameters`.
    - `belonging`: of a mixture by the name of its category, to which component each subject is
      taken to belong; None where that is not known and summed over. See `Joint.by_component`.
    """

    table: RecordTable
    value: Float[Array, "records subjects"]
    output: Int[Array, "records subjects"]
    kind: Int[Array, "records subjects"]
    limit: Float[Array, "records subjects"] | None
    before: Int[Array, "records subjects"]
    covariates: dict[str, Any]
    hyperparameters: Any
    belonging: dict[str, Int[Array, " subjects"]] | None = None


def data_of(population: Population, patients: PatientData, table: RecordTable) -> Data:
    """The patients' data and the population's numbers, for its densities; `table`: their events, as
    it takes them."""
    # Checking patients does not wait for JAX.
    import jax
    import jax.numpy as jnp

    measured = patients.measured
    covariates = _covariates(population, patients)
    return Data(
        table=jax.tree.map(jnp.asarray, table),
        value=jnp.asarray(measured.value),
        output=jnp.asarray(measured.output),
        kind=jnp.asarray(measured.kind),
        limit=jnp.asarray(measured.limit) if np.any(measured.kind == Kind.CENSORED) else None,
        before=jnp.asarray(values_before(measured.output, measured.kind)),
        covariates=jax.tree.map(jnp.asarray, covariates),
        hyperparameters=population.hyperparameter_arrays,
    )


def values_before(output: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """For each record the subject's last one before it that has a value of the same output."""
    result = np.full(output.shape, -1)
    columns = np.arange(output.shape[1])
    last = np.full((int(output.max(initial=0)) + 1, output.shape[1]), -1)
    for record, (number, what) in enumerate(zip(output, kind, strict=True)):
        result[record] = last[number, columns]
        seen = what == Kind.VALUE
        last[number[seen], columns[seen]] = record
    return result


def records_of(population: Population, patients: PatientData) -> Records:
    """The patients' event table as a population's solves take it: with their occasions, where its
    parameters vary between them, and with the stretches of covariates that change."""
    numbers: dict[str, np.ndarray] = {}
    if population.between_occasion:
        assert patients.occasion is not None, "check_patients says so"
        numbers = dict.fromkeys(population.between_occasion, patients.occasion)
    if changing := _changing(population, patients):
        stretch = _stretches(population, patients, changing)
        for parameter, effects in population.effects.items():
            if any(effect.covariate in changing for effect in effects):
                numbers[parameter] = stretch
    return patients.records.by_occasion(numbers) if numbers else patients.records


def _changing(population: Population, patients: PatientData) -> list[str]:
    """The covariates that change, of those that the population depends on."""
    return [name for name in population.covariates if name in patients.changing]


def _stretches(population: Population, patients: PatientData, names: list[str]) -> np.ndarray:
    """The number of each record's stretch, from 0 for its subject's first, (records,): records of
    one have the same covariates, and are of the same occasion where that matters."""
    told = [patients.changing[name] for name in names]
    if population.between_occasion and patients.occasion is not None:
        told.append(patients.occasion)
    together = [np.unique(each, return_inverse=True)[1] for each in told]
    return numbered(patients.records.columns.patient, np.column_stack(together))


def _covariates(population: Population, patients: PatientData) -> dict[str, Any]:
    """By name as `Data` has them, of NumPy's arrays."""
    first = population.recoded(patients.covariates, patients.vocabulary)
    changing = _changing(population, patients)
    if not changing:
        return first
    stretch, who = _stretches(population, patients, changing), patients.records.columns.patient
    most = int(stretch.max()) + 1

    def by_stretch(of_subjects: np.ndarray, of_records: np.ndarray) -> np.ndarray:
        result = np.repeat(np.asarray(of_subjects)[None], most, axis=0)
        result[stretch, who] = of_records
        return result

    of_records = np.zeros_like(stretch) if patients.occasion is None else patients.occasion
    occasion = by_stretch(np.zeros(len(patients.subjects), int), of_records)
    every = {
        name: by_stretch(patients.covariates[name], patients.changing[name]) for name in changing
    }
    recoded = population.recoded({**patients.covariates, **every}, patients.vocabulary)
    moved = {name: Changing(first[name], recoded[name], occasion) for name in changing}
    return {**first, **moved}


def check_patients(
    population: Population, patients: PatientData, *, learned_from: bool = True
) -> None:
    """Raise `CohortError` with everything by which the patients' data do not fit the population.

    `learned_from`: whether its parameters are to be learned from them, so that they have to tell
    what varies between occasions from what does between subjects.
    """
    faults: list[Fault] = []
    if patients.model.name != population.model:
        faults.append(
            Fault(
                (),
                f"{population.name} is a population of the model {population.model}, but the "
                f"data were read for {patients.model.name}",
            )
        )
    faults += population.unfit_covariates(patients.vocabulary, "the data")
    for name in population.covariates:
        values = patients.covariates.get(name)
        if values is not None and not np.all(np.isfinite(np.asarray(values, float))):
            faults.append(
                Fault(("covariates", name), "must be known of every subject", "missing values")
            )
    faults += _occasion_faults(population, patients, learned_from)
    if not population.changing:
        faults += [
            Fault(
                ("covariates", name),
                f"must be constant for each subject: {population.name} takes none that change",
            )
            for name in _changing(population, patients)
        ]
    for number, output in enumerate(patients.outputs):
        faults += _output_faults(population, patients, number, output)
    raise_any(faults)


def _occasion_faults(
    population: Population, patients: PatientData, learned_from: bool
) -> list[Fault]:
    if not population.between_occasion:
        return []
    varying = listed(population.between_occasion)
    if patients.occasion is None:
        return [
            Fault(
                ("data", "columns"),
                "must say which occasion a record belongs to: the "
                f"population varies between them ({varying})",
                "no column `occasion`",
                None,
                "write `columns: {occasion: OCC}` with its name, or state `occasions`",
            )
        ]
    if learned_from and patients.occasions < 2:
        return [
            Fault(
                ("data",),
                "must have a second occasion of some subject, or nothing tells "
                f"variability between occasions ({varying}) from that between subjects",
                "one occasion of each subject",
                None,
                "leave `between_occasion` out",
            )
        ]
    return []


def _output_faults(
    population: Population, patients: PatientData, number: int, output: str
) -> list[Fault]:
    residual = population.residual.get(output)
    if residual is None:
        return [
            Fault(
                ("residual",),
                f"lacks the residual error of the measured output {output}",
                None,
                listed(population.residual) or "none",
            )
        ]
    measured = patients.measured
    here = np.asarray(measured.output) == number
    values, below = here & (measured.kind == Kind.VALUE), here & (measured.kind == Kind.CENSORED)
    path = ("residual", output)
    faults: list[Fault] = []
    if residual.logarithmic and (count := int(np.sum(values & (measured.value <= 0.0)))):
        faults.append(
            Fault(
                path,
                "log_additive error has no values at or below 0",
                f"{count} of them",
                None,
                "leave them out, take them for below the limit of quantification, or choose "
                "another error",
            )
        )
    if residual.autocorrelation is None:
        return faults
    if np.any(below):
        faults.append(
            Fault(
                path,
                "autocorrelation needs values, not limits",
                f"{int(np.sum(below))} below the limit of quantification",
                None,
                "leave autocorrelation out",
            )
        )
    for subject, times in enumerate(patients.times.T):
        at = times[values[:, subject]]
        if len(np.unique(at)) < len(at):
            faults.append(
                Fault(
                    path,
                    "autocorrelation cannot explain two values at one time",
                    f"subject {patients.subjects[subject]}",
                    None,
                    "leave autocorrelation out, or one of the values",
                )
            )
            break
    return faults
