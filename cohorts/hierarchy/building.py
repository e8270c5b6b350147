"""From a population's config to a `Population`, with everything that is wrong told at once."""

from __future__ import annotations

import collections
import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from cohorts._faults import Faults, raise_any, unknown
from cohorts.hierarchy.effects import Effect, read_effect
from cohorts.hierarchy.individuals import Mixture, Parameter, Structure
from cohorts.hierarchy.numbers import Reader, UncertainNumber
from cohorts.hierarchy.occasions import read_between_occasion
from cohorts.hierarchy.specs import (
    DirichletSpec,
    HierarchySpec,
    MixtureSpec,
    ParameterSpec,
    ResidualErrorSpec,
)
from cohorts.hierarchy.variability import Block, read_correlations, read_variability
from cohorts.population import Measure, Number, Population
from cohorts.residual import Residual
from insilico.config import Document, Name, Path, Spec, is_name
from insilico.config.problems import listed, shown
from insilico.model import Model


class NoOptions(Spec):
    """A population of a config leaves no choices: they are in the config."""


def population_of(
    spec: HierarchySpec,
    model: Model,
    vocabulary: Mapping[str, Name],
    *,
    name: str = "config",
    title: str = "A population as its config describes it",
    citation: str = "",
    document: Document | None = None,
    path: Path = (),
    folder: str | os.PathLike[str] = ".",
) -> Population:
    """The population that a config describes, to be fitted or drawn from.

    **Arguments:**

    - `model`: whose parameters it is about, in whose units its numbers are kept.
    - `vocabulary`: the covariates that there are, by name: those of the data, or of a cohort.
    - `name`, `title`, `citation`: what reports call it, and where it was published, if it was.
    - `document`, `path`: the config that `spec` was parsed from and where it stands there.
    - `folder`: that a file of estimates is relative to, where there is no `document`.

    Its typical values are `typical_<parameter>`, `<covariate>_on_<parameter>`, `sd_<parameter>`,
    `occasion_sd_<parameter>`, `correlation_<one>_<other>`, `residual_sd_<output>` and so on. A
    subject's random effects are sites of x, `log_<parameter>` for instance, in the plate `subject`;
    `eta_<parameter>` and the subject's own `<parameter>` are deterministic. x of its occasions are
    `log_<parameter>_1` and so on; `kappa_<parameter>` and `<parameter>_by_occasion` have all.

    Raises `ConfigError` (without a document `CohortError`) with everything that is wrong.
    """
    base = FilePath(document.file).parent if document else FilePath(folder)
    reader = Reader(spec.estimates, base)
    mixtures = {
        each: mixture
        for each, of in spec.mixtures.items()
        if (mixture := _mixture(each, of, vocabulary, reader)) is not None
    }
    known = {**vocabulary, **{each: mixture.name for each, mixture in mixtures.items()}}
    units = {each: quantity.unit for each, quantity in model.quantities("Parameters").items()}
    parameters = {
        each: _parameter(each, of, units[each], known, mixtures, reader)
        for each, of in spec.population.items()
        if _in_model(each, model, reader)
    }
    if missing := [each for each in units if each not in spec.population]:
        reader.add(
            ("population",),
            f"lacks parameters of {model.name}: {listed(missing)}",
            hint="give each a typical value; one that no dose and no value touches, as absorption "
            "where all doses are intravenous, any that is known",
        )
    blocks = read_correlations(
        spec.correlations,
        {
            each: parameter.variability
            for each, parameter in parameters.items()
            if parameter.variability is not None
        },
        list(units),
        ("correlations",),
        reader,
    )
    residual = _residual(spec.residual, model, reader)
    estimates = reader.imports.joint()
    faults = Faults(document, path)
    with faults.at():
        raise_any(reader.faults)
    faults.raise_if_any()
    numbers = {
        field: number
        for parameter in parameters.values()
        for field, number in parameter.numbers.items()
    }
    for error in residual.values():
        numbers |= error.numbers
    structure = Structure(
        model=model,
        parameters={each: parameters[each] for each in units},
        blocks=blocks,
        mixtures=mixtures,
        numbers=numbers,
        TypicalValues=_typical_values_class(numbers, blocks, mixtures),
        estimates=estimates,
    )
    used = {effect.covariate for p in parameters.values() for effect in p.effects}
    return Population(
        name=name,
        title=title,
        citation=citation,
        model=model.name,
        covariates={each: of for each, of in vocabulary.items() if each in used},
        Options=NoOptions,
        typical_values=structure.typical_values,
        individual=structure.individual,
        hyperparameters=structure.hyperparameters,
        between_occasion=structure.between_occasion,
        changing=True,
        residual={output: error.residual for output, error in residual.items()},
        numbers=(*_stated(numbers), *_correlations(blocks)),
        measures=_measures(structure, residual),
        effects={each: of.effects for each, of in parameters.items() if of.effects},
        assumptions=(*_assumptions(structure, residual), *reader.imports.words),
    )


def _typical_values_class(
    numbers: Mapping[str, UncertainNumber],
    blocks: tuple[Block, ...],
    mixtures: Mapping[str, Mixture],
) -> type[Any]:
    fields = [*numbers]
    fields += [pair for block in blocks for pair in block.pairs.values()]
    fields += [mixture.field for mixture in mixtures.values()]
    return collections.namedtuple("TypicalValues", fields)


def _in_model(name: str, model: Model, reader: Reader) -> bool:
    quantities = model.quantities("Parameters")
    if name not in quantities:
        reader.faults.append(
            unknown(("population", name), f"parameter of {model.name}", name, quantities)
        )
        return False
    if quantities[name].size is not None:
        reader.add(
            ("population", name),
            f"is a vector of {quantities[name].size} numbers, which a config cannot describe",
        )
        return False
    return True


def _parameter(
    name: str,
    spec: ParameterSpec,
    unit: str,
    vocabulary: Mapping[str, Name],
    mixtures: Mapping[str, Mixture],
    reader: Reader,
) -> Parameter:
    path = ("population", name)
    kind = None if spec.between_subject is None else spec.between_subject.kind
    if kind is None and spec.between_occasion is not None:
        kind = spec.between_occasion.kind or "log_normal"
    typical = reader.number(
        spec.typical, unit, (*path, "typical"), positive=kind in ("log_normal", "box_cox")
    )
    variability = None
    if spec.between_subject is not None:
        place = (*path, "between_subject")
        variability = read_variability(spec.between_subject, name, unit, place, reader)
    between_occasion = None
    if spec.between_occasion is not None:
        place = (*path, "between_occasion")
        between_occasion = read_between_occasion(
            spec.between_occasion, name, unit, variability, place, reader
        )
    scale = between_occasion.scale if between_occasion is not None else variability
    if scale is not None and kind == "logit_normal":
        lower, upper = scale.bounds
        value = typical.arguments.get("value", 0.5 * (lower + upper))
        if not lower < value < upper:
            reader.add(
                (*path, "typical"),
                "must lie between the bounds of its variability",
                typical.words,
                f"more than {lower:g}, less than {upper:g}",
            )
    effects: list[Effect] = []
    for covariate, effect in spec.covariates.items():
        place = (*path, "covariates", covariate)
        found = read_effect(effect, covariate, name, vocabulary, place, reader)
        if found is not None:
            effects.append(found)
        if covariate in mixtures and kind == "logit_normal":
            reader.add(
                place,
                "a mixture cannot act on a parameter between two bounds",
                None,
                None,
                "its factor would lead beyond them; choose another kind of variability",
            )
    return Parameter(name, typical, tuple(effects), variability, between_occasion)


def _mixture(
    name: str, spec: MixtureSpec, vocabulary: Mapping[str, Name], reader: Reader
) -> Mixture | None:
    path = ("mixtures", name)
    dirichlet = isinstance(spec, DirichletSpec)
    field = "concentrations" if dirichlet else "shares"
    numbers = spec.concentrations if dirichlet else spec.shares
    count = len(reader.faults)
    if not is_name(name):
        reader.add(path, "a name is made of letters, digits and underscores", shown(name))
    if name in vocabulary:
        reader.add(
            path,
            "is a covariate already",
            shown(name),
            None,
            "what is observed needs no mixture; give this another name",
        )
    if len(numbers) < 2:
        reader.add((*path, field), "must name two subpopulations or more", listed(numbers))
    elif not dirichlet and abs(sum(numbers.values()) - 1.0) > 1e-6:
        reader.add((*path, field), "must have the sum 1", f"{sum(numbers.values()):.6g}")
    if len(reader.faults) > count:
        return None
    return Mixture(name, tuple(numbers), tuple(numbers.values()), dirichlet)


class _Error(NamedTuple):
    residual: Residual
    numbers: dict[str, UncertainNumber]

    @property
    def words(self) -> str:
        kind = self.residual.kind.replace("_", "-")
        fields = self.residual._asdict()
        numbers = ", ".join(
            f"{role} {self.numbers[field].words}"
            for role, field in fields.items()
            if role != "kind" and field is not None
        )
        return f"{kind} residual error, {numbers}"


def _residual(
    specs: Mapping[str, ResidualErrorSpec], model: Model, reader: Reader
) -> dict[str, _Error]:
    outputs = model.quantities("Outputs")
    result: dict[str, _Error] = {}
    for output, spec in specs.items():
        path = ("residual", output)
        if output not in outputs:
            reader.faults.append(unknown(path, f"output of {model.name}", output, outputs))
            continue
        in_output = spec.kind in ("additive", "combined", "combined_linear", "power")
        units = {
            "sd": outputs[output].unit if in_output else "1",
            "proportional": "1",
            "exponent": "1",
            "autocorrelation": f"1/{model.time_unit}",
        }
        given = {role: of for role in units if (of := getattr(spec, role, None)) is not None}
        fields = {role: f"residual_{role}_{output}" for role in given}
        numbers = {
            fields[role]: reader.number(of, units[role], (*path, role), positive=True)
            for role, of in given.items()
        }
        result[output] = _Error(Residual(spec.kind, **fields), numbers)
    return result


def _measures(structure: Structure, residual: Mapping[str, _Error]) -> dict[str, Measure]:
    """Of all scalars: typical values first, then covariates, variability, residual error."""
    parameters = structure.parameters.values()
    found = {f"typical_{parameter.name}": parameter.typical for parameter in parameters}
    for parts in ("effects", "variability", "between_occasion"):
        for parameter in parameters:
            part = getattr(parameter, parts)
            for each in part if parts == "effects" else [part] if part else []:
                found |= each.numbers
    result = {name: Measure(number.unit, *number.range) for name, number in found.items()}
    for block in structure.blocks:
        result |= {pair: Measure("1", *block.range(*at)) for at, pair in block.pairs.items()}
    result |= {mixture.field: Measure("1", 0.0, 1.0) for mixture in structure.mixtures.values()}
    for error in residual.values():
        result |= {n: Measure(of.unit, *of.range) for n, of in error.numbers.items()}
    return result


def _stated(numbers: Mapping[str, UncertainNumber]) -> tuple[Number, ...]:
    """Those that are known or estimates: one transcription of what stands elsewhere, or, from a
    file of estimates, what stands there."""
    return tuple(
        Number(
            field,
            number.centre,
            number.unit,
            field.replace("_", " "),
            number.source,
            "unverified" if number.imported is None else "verified",
            number.error,
        )
        for field, number in numbers.items()
        if number.kind in ("known", "imported") or number.error is not None
    )


def _correlations(blocks: tuple[Block, ...]) -> tuple[Number, ...]:
    """The correlations that a file of estimates has."""
    return tuple(
        Number(
            field,
            block.imported.matrix[row][column],
            "1",
            field.replace("_", " "),
            block.imported.source,
            "verified",
        )
        for block in blocks
        if block.imported is not None
        for (row, column), field in block.pairs.items()
    )


def _assumptions(structure: Structure, residual: Mapping[str, _Error]) -> tuple[str, ...]:
    lines = [f"{parameter.words}." for parameter in structure.parameters.values()]
    lines += [block.words for block in structure.blocks]
    if (
        not structure.blocks
        and sum(parameter.variability is not None for parameter in structure.parameters.values())
        > 1
    ):
        lines.append("Random effects are independent.")
    lines += [mixture.words for mixture in structure.mixtures.values()]
    lines += [f"{output}: {error.words}." for output, error in residual.items()]
    return tuple(lines)
