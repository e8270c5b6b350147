"""What every config shares: YAML with line numbers, units, expressions, error reporting.

The one package that knows YAML, units' names and the mistakes people make in both. Reading never
executes anything, and what is wrong is reported all at once, each problem with its place.
"""

from insilico.config.document import Document, Salvaged, load
from insilico.config.expressions import Expression, ExpressionError, Flaw, is_name
from insilico.config.problems import (
    ConfigError,
    Path,
    Problem,
    SpecError,
    Where,
    did_you_mean,
    dotted,
    listed,
    nearest,
    shown,
)
from insilico.config.solver import SolverSpec
from insilico.config.specs import Spec, json_schema, walk
from insilico.config.units import Quantity, conversion_factor, dimensions, quantity, to_unit
from insilico.config.vocabulary import ALWAYS, Name, Vocabulary

__all__ = [
    "ALWAYS",
    "ConfigError",
    "Document",
    "Expression",
    "ExpressionError",
    "Flaw",
    "Name",
    "Path",
    "Problem",
    "Quantity",
    "Salvaged",
    "SolverSpec",
    "Spec",
    "SpecError",
    "Vocabulary",
    "Where",
    "conversion_factor",
    "did_you_mean",
    "dimensions",
    "dotted",
    "is_name",
    "json_schema",
    "listed",
    "load",
    "nearest",
    "quantity",
    "shown",
    "to_unit",
    "walk",
]
