"""What `insilico models check` asks for, and how it shows what was found."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from insilico.cli._errors import BadInput
from insilico.cli._options import once
from insilico.config import SpecError, did_you_mean, load, to_unit
from insilico.model import Model, Quantity
from insilico.models import ModelFileError, from_file, get, model_of, names, not_imported
from insilico.vocabulary import Vector

if TYPE_CHECKING:
    from insilico.checks import Report
    from insilico.solve import Dose

LOG_WIDTH = 120
"""Characters of a line where there is no terminal to ask."""


def find(name: str) -> Model:
    """The model of that name in the library, or the `MODEL` of a file or a module.

    Raises `BadInput`: there is none.
    """
    if name in names():
        return get(name)
    try:
        return from_file(name) if name.endswith(".py") else model_of(_of_module(name), name)
    except ModelFileError as error:
        raise BadInput(str(error)) from None


def _of_module(name: str) -> ModuleType:
    if "." not in name:
        hint = did_you_mean(name, names())
        raise BadInput(
            f'there is no model "{name}"; allowed: {", ".join(names())}, or a file.py or a '
            f"package.module with a MODEL" + (f"; {hint}" if hint else "")
        )
    # A command of the console knows only what is installed.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the user's module does
        raise not_imported(error, name) from None


def by_method(model: Model, method: str | None) -> Model:
    """The model as if it declared `method`. Raises `BadInput` where they do not go together."""
    from insilico.solve import Tolerances, loops, methods

    chosen = model if method is None else dataclasses.replace(model, method=method)
    try:
        methods.known(chosen.method)
        loops.check(
            chosen, chosen.method, noisy=model.diffusion is not None, tolerances=Tolerances()
        )
    except ValueError as error:
        raise BadInput(str(error)) from None
    return chosen


def typical(model: Model, file: Path | None, changes: Sequence[str]) -> Any:
    """The model's typical values with those of a file of `name: value` lines and `name=value`
    strings put over them; None where nothing states any.

    Values are numbers in the declared units, or carry a unit. A vector has a list of them, or they
    come one by one: `rates[0]=2`.

    Raises `BadInput`: a name or value is wrong, a parameter is given twice on the command line, or
    some have none.
    Raises `ConfigError`: the file cannot be read.
    """
    quantities = model.quantities("Parameters")
    values: dict[str, Any] = {}
    if model.typical is not None:
        if not isinstance(model.typical, model.Parameters):
            raise BadInput(
                f"typical values of model {model.name} must be its Parameters; "
                f"found {type(model.typical).__name__}"
            )
        values = dict(_numbered(quantities, model.typical._asdict()))
    given: list[tuple[str, str, Any]] = []
    if file is not None:
        document = load(file)
        given += [(f"{file}: {name}", name, value) for name, value in document.data.items()]
    for change in once(changes):
        name, equals, value = change.partition("=")
        if not equals:
            raise BadInput(f"--set {change}: write name=value")
        given.append((f"--set {change}", name.strip(), value.strip()))
    for place, name, value in given:
        for each, number in _named(place, name, value, quantities):
            values[each] = _number(place, number, quantities[each.partition("[")[0]])
    if not values:
        return None
    missing = [name for name in model.numbers("Parameters") if name not in values]
    if missing:
        raise BadInput(
            f"model {model.name} states no typical values, and none are given for "
            f"{', '.join(missing)}"
        )
    return model.Parameters(
        *(
            values[name] if size is None else Vector(*(values[f"{name}[{i}]"] for i in range(size)))
            for name, size in ((name, quantity.size) for name, quantity in quantities.items())
        )
    )


def _numbered(
    quantities: Mapping[str, Quantity], values: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Numbers by their names, a vector's one by one."""
    for name, value in values.items():
        if quantities[name].size is None:
            yield name, value
        else:
            yield from ((f"{name}[{index}]", each) for index, each in enumerate(value))


def _named(
    place: str, name: str, value: Any, quantities: Mapping[str, Quantity]
) -> list[tuple[str, Any]]:
    """The numbers that `name`, a parameter or a component of one, stands for."""
    parameter, bracket, index = name.partition("[")
    if parameter not in quantities:
        hint = did_you_mean(parameter, list(quantities))
        raise BadInput(
            f'{place}: there is no parameter "{parameter}"; allowed: {", ".join(quantities)}'
            + (f"; {hint}" if hint else "")
        )
    size = quantities[parameter].size
    if bracket:
        if size is None:
            raise BadInput(f"{place}: {parameter} is a single number and has no components")
        if name not in (f"{parameter}[{each}]" for each in range(size)):
            raise BadInput(
                f'{place}: {parameter} is a list of {size} and has no entry "{index.rstrip("]")}"; '
                f"allowed: 0 to {size - 1}"
            )
        return [(name, value)]
    if size is None:
        return [(name, value)]
    listed = value
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        listed = value[1:-1].split(",")
    if not isinstance(listed, list) or len(listed) != size:
        raise BadInput(
            f"{place}: {parameter} is a list of {size}: give all of them, or one by its place, "
            f"{parameter}[0]"
        )
    return [(f"{parameter}[{each}]", number) for each, number in enumerate(listed)]


def _number(place: str, value: Any, quantity: Quantity) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return to_unit(str(value), quantity.unit)
    except SpecError as error:
        raise BadInput(f"{place}: {error}") from None


def dose(model: Model, text: str) -> Dose:
    """A dose at time 0: `amount`, into the first component, or `component=amount`."""
    from insilico.solve import Dose

    name, _, amount = text.rpartition("=")
    components = model.components()
    name = name or components[0]
    if name not in components:
        raise BadInput(
            f'--dose {text}: there is no compartment "{name}"; allowed: {", ".join(components)}'
        )
    try:
        return Dose(0.0, name, float(amount))
    except ValueError:
        raise BadInput(f"--dose {text}: the amount must be a number") from None


def show(report: Report) -> None:
    """Print a report as a table."""
    console = Console(width=None if sys.stdout.isatty() else LOG_WIDTH, markup=False)
    model, at = report.model, report.situation
    table = Table(
        title=Text(f"{model.name}: {model.title}"), title_justify="left", pad_edge=False, box=None
    )
    for heading in ("Check", "", "Measured", "Bound", ""):
        table.add_column(heading, justify="right" if heading in ("Measured", "Bound") else "left")
    styles = {"ok": "green", "not ok": "bold red", "skipped": "yellow"}
    for finding in report.findings:
        verdict = Text(finding.verdict, style=styles[finding.verdict], no_wrap=True)
        measured = "" if finding.measured is None else f"{finding.measured:.3g}"
        bound = "" if finding.bound is None else f"{finding.bound:.3g}"
        table.add_row(
            Text(finding.what), verdict, Text(measured), Text(bound), Text(finding.detail)
        )
    console.print(table)
    if "until" in at:
        actions = "; ".join(at["actions"]) or "nothing given"
        console.print(
            f"{at['patients']} patients around typical values (CV {at['cv']:.0%}, seed "
            f"{at['seed']}) over {at['until']:g} {model.time_unit}: {actions}"
        )
    passed = "All that was checked is ok." if report.undone else "All ok."
    said = f"{len(report.failing)} not ok." if report.failing else passed
    if report.undone:
        said += f" {len(report.undone)} not checked: {report.undone[0].detail}."
    console.print(said)
