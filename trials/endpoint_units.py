"""Units of endpoints as results hold them."""

from __future__ import annotations

from collections.abc import Mapping

from trials.config import DrugSpec, EndpointSpec


def endpoint_unit(endpoint: EndpointSpec, units: Mapping[str, str], drug: DrugSpec) -> str:
    """Unit of an endpoint as results hold it; empty for a pure number and for yes or no.

    `units` are those of the model's outputs.
    """
    match endpoint.kind:
        case "time_in_range":
            return "%"
        case "any_at_or_above":
            return ""
        case "time_to_range":
            return "d"
        case "time_of_maximum":
            return "h"
    unit = unit_of(endpoint.of, units, drug)
    if endpoint.kind == "area_under_curve":
        above, _, below = unit.partition("/")
        return f"{above or '1'}·h/{below}" if below else f"{unit}·h".lstrip("·")
    return unit


def unit_of(output: str, units: Mapping[str, str], drug: DrugSpec) -> str:
    """Unit of a measured output or of a record of doses; empty for a pure number."""
    if output == "weekly_dose":
        return "mg/wk"
    if output == "daily_dose":
        return "mg/d"
    unit = units.get(output.removesuffix("_measured"), "")
    return "" if unit == "1" else unit
