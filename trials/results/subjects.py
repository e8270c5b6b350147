"""Groups of results about subjects: who they are, and what happens to them under every arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from insilico.solve import DESCRIPTIONS
from trials.dosing import HOURS_A_DAY
from trials.endpoint_units import endpoint_unit
from trials.results.layout import SUBJECT_AXES, Layout
from trials.study import Study

if TYPE_CHECKING:
    from trials.results.tree import Pieces

PARTS = {
    "valid": "whether the endpoint could be evaluated",
    "event": "whether the time ended with an event",
}
"""What stands beside an endpoint's value."""


def population(study: Study, layout: Layout) -> xr.Dataset:
    """The population's parameters at each draw; what is no single number, as a mixture's shares or
    the factor of a correlation matrix, has axes of its own."""
    draws = study.config.trial.population_draws
    values = study.protocol.cohort.population_parameters(study.config.seed, draws)
    variables = {}
    for name, column in values.items():
        own = (f"{name}_dim_{axis}" for axis in range(column.ndim - 1))
        variables[name] = (("population", *own), column, {})
    return layout.dataset(variables, "population")


def subjects(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """Covariates, quantities, individual parameters, how many candidates each took."""
    drawn = pieces.patients.drawn
    variables = {}
    for name, column in {**drawn["covariates"], **drawn["quantities"]}.items():
        categories = layout.categories.get(name, ())
        if categories:
            variables[name] = layout.given(
                column.astype(np.int8), categories=list(categories), kind="category"
            )
        else:
            variables[name] = layout.given(
                column.astype(np.float32), units=layout.units.get(name, "")
            )
    quantities = study.protocol.model.quantities("Parameters")
    for name, column in drawn["parameters"].items():
        # What varies between occasions has a column in each.
        own, _, number = (name, "", "") if name in quantities else name.rpartition("_")
        when = f", in {'period' if layout.crossover else 'occasion'} {number}" if number else ""
        variables[f"parameter_{name}"] = layout.given(
            column,
            units=quantities[own].unit,
            description=quantities[own].description + when,
        )
    variables["attempts"] = layout.given(drawn["subject"]["attempts"].astype(np.int16))
    return layout.dataset(variables, *SUBJECT_AXES)


def randomisation(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """Arms or sequences, centres, strata, times of enrolment and of leaving."""
    conducted, drawn = pieces.conduct, pieces.patients.drawn
    arm = layout.periods.arm(conducted.group.reshape(layout.shape)).astype(np.int8)
    variables: dict[str, Any] = {}
    if layout.crossover:
        number = layout.given(conducted.group.astype(np.int8))
        variables["sequence_number"] = number
    variables |= {
        "arm_number": (
            layout.given_axes,
            np.moveaxis(arm, -1, 2) if layout.crossover else arm[..., 0],
            {},
        ),
        "centre": layout.given(conducted.centre.astype(np.int16)),
        "stratum": layout.given(conducted.stratum.astype(np.int32)),
        "enrolment_time": layout.given(conducted.enrolment_time.astype(np.float32), units="d"),
        "dropout_time": layout.given(
            drawn["subject"]["leaves"].astype(np.float32) - 1.0,
            units="d",
            description="since the first day; infinite: stays to the end",
        ),
    }
    for label, columns in (("factor", drawn["strata"]), ("subset", drawn["subsets"])):
        for name, column in columns.items():
            variables[f"{label}_{name}"] = layout.given(column)
    dataset = layout.dataset(variables, *layout.given_axes)
    return dataset.assign_attrs(arms=list(study.config.arms))


def outcomes(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """What each visit would see under every arm."""
    treated = pieces.patients.treated
    units = layout.output_units
    variables = {
        "time": layout.potential(
            treated.time, units="d", description="since day 1 began; 0 where unused"
        ),
        "used": layout.potential(treated.used),
        "attended": layout.potential(treated.attended),
    }
    for name, column in treated.values.items():
        unit = "mg" if name == "daily_dose" else units.get(name.removesuffix("_measured"), "")
        variables[name] = layout.potential(column, units=unit)
    dataset = layout.dataset(variables, *layout.potential_axes)
    return dataset.assign_coords(visit=np.arange(treated.time.shape[-1]))


def doses(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """What would be taken under every arm, as stated in the config."""
    # Stated doses in place of what of them enters the model.
    entered = study.config.drug.fraction * np.array(
        [arm.bioavailability for arm in study.protocol.arms], np.float32
    )
    taken = pieces.patients.treated.doses
    taken = taken / np.tile(entered, layout.periods.number)[:, None, None]
    axes, values, attributes = layout.potential(
        taken.astype(np.float32),
        units="mg",
        description=f"{study.config.drug.name} taken; 0 if it was not, NaN once a solve failed",
    )
    time = study.protocol.dosing_times
    dataset = layout.dataset(
        {"taken": ((*axes[:-1], "dose"), values, attributes)}, *layout.potential_axes
    )
    attributes = {"units": "d", "description": "since day 1 began, as visits'"}
    return dataset.assign_coords(
        dose=np.arange(len(time)), time=("dose", time / HOURS_A_DAY, attributes)
    )


def endpoints(study: Study, pieces: Pieces, layout: Layout) -> xr.Dataset:
    """Endpoints under every arm, with their validity and the solver's status."""
    patients = pieces.patients
    variables = {}
    for name, parts in patients.treated.endpoints.items():
        spec = study.config.endpoints[name]
        label = spec.label or name
        unit = endpoint_unit(spec, layout.output_units, study.config.drug)
        variables[name] = layout.potential(
            parts["value"],
            label=label,
            kind=spec.kind,
            of=spec.of,
            long_name=label,
            **({"units": unit} if unit else {}),
        )
        for part in sorted(set(parts) - {"value"}):
            variables[f"{name}_{part}"] = layout.potential(
                parts[part], long_name=f"{label}: {PARTS.get(part, part)}"
            )
    variables["status"] = layout.potential(
        patients.treated.status.astype(np.int8),
        meanings=[f"{int(code)}: {text}" for code, text in DESCRIPTIONS.items()],
    )
    variables["solved"] = layout.potential(patients.solved)
    variables["steps"] = layout.potential(patients.treated.steps.astype(np.int32))
    return layout.dataset(variables, *layout.potential_axes)
