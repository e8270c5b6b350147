"""The library of structural models: one published model a file, found by the file's name."""

import importlib
import pkgutil

from insilico.model import Model


def names() -> list[str]:
    """Names of the models that come with the library, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get(name: str) -> Model:
    """The model of that name. Raises `KeyError` with the valid names."""
    if name not in names():
        raise KeyError(f"no model {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}").MODEL
