"""Whether what a config says of a table fits the model, and the numbers that follow from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cohorts._faults import Fault, Faults, raise_any, unknown
from cohorts.covariates.stated import FLAG
from cohorts.data.config import CovariateSpec, DataSpec, OutputSpec
from insilico.config import (
    Name,
    SpecError,
    conversion_factor,
    dimensions,
    is_name,
    listed,
    to_unit,
)
from insilico.model import Model


def check_spec(model: Model, spec: DataSpec, wanted: Mapping[str, Name], faults: Faults) -> None:
    """Collect what a config says of a table that cannot be.

    `wanted`: the covariates that somebody needs, with their units and categories.
    """
    for check in (_check_columns, _check_units, _check_occasions, _check_outputs):
        with faults.at():
            check(model, spec)
    for name, covariate in spec.covariates.items():
        with faults.at("covariates", name):
            _check_covariate(model, name, covariate, wanted.get(name))
    with faults.at("covariates"):
        followed = {covariate.input for covariate in spec.covariates.values()}
        raise_any(
            [
                *(
                    Fault((), f"the covariate {name} is needed and not described")
                    for name in wanted
                    if name not in spec.covariates
                ),
                *(
                    Fault(
                        (),
                        f"model {model.name} has an input {name}, which no covariate gives",
                        hint=f"describe one with `input: {name}`",
                    )
                    for name in model.Inputs._fields
                    if name not in followed
                ),
            ]
        )


def converted(values: np.ndarray, source: str, target: str) -> np.ndarray:
    """Numbers in the unit `source` as numbers in `target`, within a rounding.

    Raises `ValueError` where there is no such unit, or they differ in dimension.
    """
    factor = conversion_factor(source, target)
    # Divided by 24, an hour is a day to the last bit; multiplied by 1/24 it need not be.
    return values * factor if factor >= 1 else values / conversion_factor(target, source)


def limit_of(output: OutputSpec, unit: str) -> float:
    """The stated limit of quantification of an output in its `unit`; 0 where none is stated.

    Raises `SpecError`.
    """
    if output.limit is None:
        return 0.0
    if isinstance(output.limit, str):
        return to_unit(output.limit, unit)
    if unit in ("", "1"):
        return output.limit
    raise SpecError("the unit is missing", hint=f"write {output.limit:g} {output.unit}")


def codes_of(word: Name) -> tuple[str, ...]:
    """What the codes 0, 1, … of a covariate stand for."""
    return FLAG if word.kind == "flag" else word.categories


def rate_unit(spec: DataSpec) -> str:
    """The unit of infusions in the table."""
    return spec.units.rate or f"{spec.units.amount}/{spec.units.time}"


def _check_columns(model: Model, spec: DataSpec) -> None:
    found = [
        Fault(("columns", meaning), f"has to be named: {what}")
        for meaning, what in (("time", "when a record was"), ("measured", "the measured values"))
        if spec.columns.name(meaning) is None
    ]
    if spec.separator == spec.decimal:
        found.append(Fault(("decimal",), "cannot be the separator of cells, too"))
    if spec.doses_into is not None and spec.doses_into not in model.components():
        where = ("doses_into",)
        found.append(unknown(where, "compartment", spec.doses_into, model.components()))
    if spec.doses_into is not None and spec.columns.compartment is not None:
        found.append(Fault(("doses_into",), "is for tables without a column `compartment`"))
    raise_any(found)


def _check_units(model: Model, spec: DataSpec) -> None:
    units, found = spec.units, _Collected()
    found.fits(("units", "time"), units.time, model.time_unit)
    if spec.columns.amount is not None:
        compartments = [quantity.unit for quantity in model.quantities("State").values()]
        into = [unit for unit in compartments if fits(units.amount, unit)]
        found.fits(("units", "amount"), units.amount, (into or compartments)[0])
    if spec.columns.rate is not None and units.rate and units.amount and units.time:
        found.fits(("units", "rate"), units.rate, f"{units.amount}/{units.time}")
    raise_any(found)


def _check_occasions(model: Model, spec: DataSpec) -> None:
    occasions, path = spec.occasions, ("occasions",)
    if occasions is None:
        return
    if spec.columns.occasion is not None:
        column = spec.columns.occasion
        raise_any(
            [Fault(path, f"the column {column} says it already", hint="leave one of them out")]
        )
    if occasions == "doses":
        return
    if not fits(spec.units.time, model.time_unit):
        return  # said of the unit itself
    found, starts = _Collected(), []
    for index, start in enumerate(occasions):
        try:
            starts.append(to_unit(str(start), spec.units.time))
        except SpecError as error:
            found.append(
                Fault((*path, index), error.message, str(start), error.allowed, error.hint)
            )
    if not occasions:
        found.append(Fault(path, "must name a time at which a new occasion begins"))
    elif not found and starts != sorted(set(starts)):
        found.append(Fault(path, "must be times one after the other", listed(map(str, occasions))))
    raise_any(found)


def _check_outputs(model: Model, spec: DataSpec) -> None:
    quantities = model.quantities("Outputs")
    scalars = [name for name, quantity in quantities.items() if quantity.size is None]
    found, taken = _Collected(), set()
    told_apart = spec.columns.output or spec.columns.compartment
    for name, output in spec.outputs.items():
        path = ("outputs", name)
        if name not in scalars:
            found.append(unknown(path, f"output of model {model.name}", name, scalars))
            continue
        found.fits((*path, "unit"), output.unit, quantities[name].unit)
        try:
            limit_of(output, quantities[name].unit)
        except SpecError as error:
            found.append(
                Fault((*path, "limit"), error.message, str(output.limit), error.allowed, error.hint)
            )
        if output.where is None and len(spec.outputs) > 1:
            found.append(
                Fault(
                    path,
                    "which records are its is missing",
                    hint="write `where:` with what they "
                    f"have in the column {told_apart or '`output`'}",
                )
            )
        if output.where is not None and told_apart is None:
            found.append(
                Fault(
                    (*path, "where"),
                    "no column tells outputs apart",
                    str(output.where),
                    hint="write `columns: {output: …}` with the name of one",
                )
            )
        if output.where is not None and output.where in taken:
            found.append(Fault((*path, "where"), "is another output's, too", str(output.where)))
        taken.add(output.where)
    raise_any(found)


def _check_covariate(
    model: Model, name: str, covariate: CovariateSpec, wanted: Name | None
) -> None:
    found = _Collected()
    if not is_name(name):
        found.append(
            Fault(
                (),
                "is no name: letters, digits and underscores, no word of "
                "expressions such as `if` or `exp`",
            )
        )
    if covariate.categories is not None and covariate.unit:
        found.append(Fault(("unit",), "belongs to numbers, not to categories", covariate.unit))
    found.fits(("unit",), covariate.unit, covariate.unit)
    inputs = model.Inputs._fields
    if covariate.input is not None and covariate.input not in inputs:
        where = ("input",)
        found.append(unknown(where, f"input of model {model.name}", covariate.input, inputs))
    elif covariate.input is not None and covariate.categories is None:
        unit = model.quantities("Inputs")[covariate.input].unit
        found.fits(("unit",), covariate.unit, unit)
    if covariate.changes in ("nocb", "linear") and covariate.input is None:
        found.append(
            Fault(
                ("changes",),
                "is for an input of the model; what acts on parameters goes on to the next record",
                covariate.changes,
                f"locf; inputs of model {model.name}: {listed(inputs) or 'none'}",
                "write locf, or name one by `input:`",
            )
        )
    if covariate.categories is not None and covariate.changes == "linear":
        found.append(Fault(("changes",), "categories cannot change linearly"))
    if wanted is not None and covariate.changes is not None and covariate.input is not None:
        found.append(Fault(("input",), f"{name} has to act on parameters"))
    elif wanted is not None and (wanted.kind == "number") != (covariate.categories is None):
        found.append(Fault((), f"has to be a {wanted.kind}"))
    elif wanted is not None and covariate.categories is None:
        found.fits(("unit",), covariate.unit, wanted.unit)
    elif wanted is not None and covariate.categories is not None:
        known = codes_of(wanted)
        strange = [each for each in covariate.categories if each not in known]
        if strange:
            found.append(
                Fault(
                    ("categories",),
                    "some are not known",
                    listed(strange, quoted=True),
                    listed(known, quoted=True),
                    "give them its names by `{name: what the column has}`",
                )
            )
    raise_any(found)


class _Collected(list[Fault]):
    """Faults, among them those of units."""

    def fits(self, path: tuple[str, ...], unit: str, target: str) -> None:
        """A fault unless `unit` is one and can be turned into `target`."""
        if not unit and dimensions(target):
            hint = f"write `{path[-1]}: {target}`, or what the table has"
            self.append(Fault(path, "the unit is missing", hint=hint))
            return
        try:
            conversion_factor(unit, target)
        except ValueError as error:
            self.append(Fault(path, str(error)))


def fits(unit: str, target: str) -> bool:
    """Whether numbers in `unit` can be turned into `target`."""
    try:
        conversion_factor(unit, target)
    except ValueError:
        return False
    return True


def same_unit(unit: str, other: str) -> bool:
    """Whether numbers in both units are the same."""
    return unit == other or (fits(unit, other) and conversion_factor(unit, other) == 1)
