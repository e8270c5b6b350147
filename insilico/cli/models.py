"""`insilico models`: the library of structural models and their populations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from insilico.cli._errors import FAILED, BadInput, reported, say
from insilico.cli._options import Debug

if TYPE_CHECKING:
    from cohorts import Population
    from insilico.model import Model

models = typer.Typer(help="The library of models.", no_args_is_help=True)


@models.command("list")
def list_models() -> None:
    """The models that come with the library, each with its populations."""
    with reported():
        from insilico.models import get, names

        populations = _populations()
        width = max(map(len, names()))
        for name in names():
            typer.echo(f"{name:<{width}}  {get(name).title}")
            for population in populations.get(name, []):
                typer.echo(f"{'':<{width}}  population {population.name}: {population.title}")


@models.command("show")
def show_model(name: Annotated[str, typer.Argument(help="A model.", show_default=False)]) -> None:
    """What a model is: its source, its quantities with units, its evidence."""
    with reported():
        from insilico.config import did_you_mean
        from insilico.models import get, names

        if name not in names():
            hint = did_you_mean(name, names())
            raise BadInput(
                f'there is no model "{name}"; allowed: {", ".join(names())}'
                + (f"; {hint}" if hint else "")
            )
        typer.echo("\n".join(_card(get(name), _populations().get(name, []))))


@models.command("check")
def check_model(
    name: Annotated[
        str,
        typer.Argument(
            help="A model of the library, or a file.py or a package.module with a MODEL.",
            show_default=False,
        ),
    ],
    method: Annotated[
        str | None,
        typer.Option(help="As if the model declared this method.", show_default=False),
    ] = None,
    parameters: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Typical values, a line each: name: value.", show_default=False
        ),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A parameter's typical value, in its unit or with one; of a vector's component: "
            "rates[0]=2. Repeatable, for another parameter.",
            show_default=False,
        ),
    ] = None,
    cv: Annotated[
        float, typer.Option(help="Coefficient of variation of the log-normal range.")
    ] = 0.3,
    until: Annotated[
        float | None,
        typer.Option(
            metavar="TIME",
            help="How long patients are followed, in the model's time unit.",
            show_default="five times the reciprocal of the slowest rate",
        ),
    ] = None,
    dose: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[COMPARTMENT=]AMOUNT",
            help="A dose at the start, in the compartment's unit. Repeatable.",
            show_default="100 into the first compartment if that is an amount",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK",
            help="structure, parameters, units, balances, jacobian (these solve nothing), "
            "stiffness, solvers, gradient, lanes or compilation. Repeatable.",
            show_default="all",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object for a table.")] = False,
    debug: Debug = False,
) -> None:
    """Check a model's units, balances, stiffness, solvers and gradients.

    Exit code 1: something is not ok. 2: a mistake in what was asked.
    """
    with reported(debug):
        from insilico.cli import _model_checks
        from insilico.cli._prepare import prepare_devices

        model = _model_checks.find(name)
        typical = _model_checks.typical(model, parameters, values or ())
        # Programs of earlier runs would hide how long compiling takes.
        prepare_devices(cache=False)

        from insilico.checks import ALL, check

        model = _model_checks.by_method(model, method)
        doses = [_model_checks.dose(model, text) for text in dose] if dose else None
        try:
            report = check(
                model,
                typical=typical,
                only=only or ALL,
                cv=cv,
                until=until,
                actions=doses,
                watch=lambda check: say(f"{model.name}: {check} ..."),
            )
        except ValueError as error:
            raise BadInput(str(error)) from None
        if json:
            import json as notation

            typer.echo(notation.dumps(report.as_data(), ensure_ascii=False, indent=2))
        else:
            _model_checks.show(report)
        if not report.ok:
            raise typer.Exit(FAILED)


def _populations() -> dict[str, list[Population]]:
    """The populations of each model, by the model's name."""
    from cohorts import populations

    found: dict[str, list[Population]] = {}
    for name in populations.names():
        population = populations.get(name)
        found.setdefault(population.model, []).append(population)
    return found


def _card(model: Model, populations: list[Population]) -> list[str]:
    lines = [model.name, model.title, model.citation]
    for group in ("State", "Parameters", "Inputs", "Outputs"):
        quantities = model.quantities(group)
        if not quantities:
            continue
        width = max(map(len, quantities))
        lines += ["", f"{group} (time in {model.time_unit})" if group == "State" else group]
        for name, quantity in quantities.items():
            unit = "" if quantity.unit == "1" else quantity.unit
            times = f"{quantity.size} x " if quantity.size else ""
            lines.append(
                f"  {name:<{width}}  {times}{quantity.description}" + (f" [{unit}]" if unit else "")
            )
    if model.processes():
        width = max(map(len, model.processes()))
        lines += ["", "Noise (independent Wiener processes)"]
        lines += [
            f"  {name:<{width}}  {process.description}"
            for name, process in model.processes().items()
        ]
    lines += _listed("Validated", model.validated) + _listed("Limits", model.limits)
    for population in populations:
        lines += [
            "",
            f"Population {population.name}",
            f"  {population.title}",
            f"  {population.citation}",
        ]
        lines += _population(population)
    return lines


def _population(population: Population) -> list[str]:
    """What a config may choose of a population, and how sure its numbers are."""
    lines = ["", "  Covariates that it needs"]
    for name, covariate in population.covariates.items():
        values = ", ".join(covariate.categories)
        lines.append(
            f"  - {name}: {covariate.description}"
            + (f" [{covariate.unit}]" if covariate.unit else "")
            + (f" ({values})" if values else "")
        )
    lines += ["", "  Options (cohort.options)"]
    for name, field in population.Options.model_fields.items():
        choices = ", ".join(map(str, get_args(field.annotation)))
        lines.append(f"  - {name}: {field.description}; {choices} (default {field.default})")
    lines += ["", "  Numbers"]
    width = max((len(number.name) for number in population.numbers), default=0)
    for number in population.numbers:
        unit = "" if number.unit == "1" else f" {number.unit}"
        lines.append(
            f"  - {number.name:<{width}}  {number.value:g}{unit}: {number.meaning}; "
            f"{number.source}; {number.status}"
        )
    for title in ("assumptions", "validated", "limits"):
        lines += _listed(f"  {title.capitalize()}", getattr(population, title))
    return lines


def _listed(title: str, entries: tuple[str, ...]) -> list[str]:
    return ["", title, *(f"  - {entry}" for entry in entries)] if entries else []
