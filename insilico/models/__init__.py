"""The library of structural models, one published model a file, found by the file's name; and
models of one's own, added by their files."""

import importlib
import importlib.util
import os
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType

from insilico.model import Model

HOW_TO_ADD = "a model of your own, in NAME.py, is added by `--model NAME.py`"
"""What to tell who names a model that is not there."""

_added: dict[str, tuple[Path, bytes, Model]] = {}


class ModelFileError(Exception):
    """A file has no model that can be used; the text is the message for the user."""


def names() -> list[str]:
    """Names of the models that come with the library and of those added, sorted."""
    return sorted([*_library(), *_added])


def get(name: str) -> Model:
    """The model of that name. Raises `KeyError` with the valid names."""
    if name in _added:
        return _added[name][2]
    if name not in _library():
        raise KeyError(f"no model {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"{__name__}.{name}").MODEL


def add(file: str | os.PathLike[str]) -> Model:
    """Add a model of one's own, which configs then name as they do those of the library.

    A config never executes code: who gives the command, or calls this, does.

    **Arguments:**

    - `file`: Python source with a `MODEL`, called as the file is. One that was added before is
      replaced by what the file holds now.

    Raises `ModelFileError`: it cannot be read or executed, has no such model, or is called as one
    of the library.
    """
    path = Path(file).resolve()
    name = path.stem
    if name in _library():
        raise ModelFileError(
            f"{file}: a model of the library is called {name}; give the file and its MODEL another "
            "name"
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        told = os.strerror(error.errno).lower() if error.errno else error
        raise ModelFileError(f"{file}: cannot be read: {told}") from None
    if name in _added and _added[name][:2] == (path, source):
        return _added[name][2]
    model = model_of(_executed(path, str(file)), str(file))
    if model.name != name:
        raise ModelFileError(
            f'{file}: its MODEL is called "{model.name}"; configs find a model by its file\'s '
            f'name, so state name="{name}", or call the file {model.name}.py'
        )
    _added[name] = (path, source, model)
    return model


def file_of(name: str) -> Path | None:
    """The file by which a model was added; None for one of the library."""
    return _added[name][0] if name in _added else None


def from_file(file: str | os.PathLike[str]) -> Model:
    """The `MODEL` of a file, without adding it. Raises `ModelFileError`, as `add` does."""
    path = Path(file).resolve()
    if not path.is_file():
        raise ModelFileError(f"{file}: cannot be read: no such file")
    return model_of(_executed(path, str(file)), str(file))


def model_of(module: ModuleType, said: str) -> Model:
    """The `MODEL` of a module, which messages call `said`. Raises `ModelFileError`."""
    model = getattr(module, "MODEL", None)
    if not isinstance(model, Model):
        raise ModelFileError(f"{said}: has no MODEL that is an insilico.model.Model")
    return model


def not_imported(error: Exception, said: str, file: Path | None = None) -> ModelFileError:
    """The error for what is called `said` and raised another while it was imported; with the line,
    where its `file` is known."""
    first = (str(error).strip().splitlines() or [""])[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if file is not None and Path(frame.filename) == file]
    at = f" on line {own[-1].lineno}" if own else ""
    return ModelFileError(f"{said}: cannot be imported{at}: {type(error).__name__}: {first}")


def _library() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _executed(path: Path, said: str) -> ModuleType:
    name = f"_model_of_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelFileError(f"{said}: is no Python source; its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    # Under this name the annotations of its classes are looked up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file does
        raise not_imported(error, said, path) from None
    return module
