"""How commands end: exit codes, and messages in place of tracebacks."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import typer

BAD_INPUT = 2
"""Exit code of a mistake in the input, or of an output place of no use; nothing was kept."""
FAILED = 1
"""Exit code of a run that failed, or of an error of the program's own."""
NOT_TRUSTED = 3
"""Exit code of a fit that was written but failed its diagnostics."""
INTERRUPTED = 130
"""Exit code after Ctrl-C; what was begun is removed, or kept to go on with."""
TERMINATED = 143
"""Exit code after SIGTERM, as batch systems send it; as after Ctrl-C."""


class BadInput(Exception):
    """The user's input cannot be used; the text is the message."""


class Failed(Exception):
    """The command could not do its work for a reason outside the input; the text is the message."""


class _Terminated(KeyboardInterrupt):
    pass


def program() -> str:
    """The program's name and version."""
    import importlib.metadata

    try:
        return f"insilico {importlib.metadata.version('insilico')}"
    except importlib.metadata.PackageNotFoundError:
        return "insilico (not installed)"


def say(message: str) -> None:
    """Tell the user something that is not the command's result."""
    typer.echo(message, err=True)


@contextlib.contextmanager
def reported(debug: bool = False, *, left: str = "nothing was kept") -> Iterator[None]:
    """End the command with a message and an exit code when something goes wrong within.

    **Arguments:**

    - `debug`: whether an unexpected error shows its traceback.
    - `left`: what is left behind where the command is interrupted.
    """
    try:
        with _terminable():
            yield
    except KeyboardInterrupt as error:
        terminated = isinstance(error, _Terminated)
        say(f"{'terminated' if terminated else 'interrupted'}; {left}")
        raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise
    except Exception as error:
        code = _explain(error)
        if code is None:
            if debug:
                raise
            name = type(error).__name__
            say(f"unexpected error: {name}: {_first_line(error)}")
            say("this is a mistake in the program; --debug shows where it happened")
            code = FAILED
        raise typer.Exit(code) from None


def _explain(error: Exception) -> int | None:
    """Tell what is known about an error; its exit code, or None where nothing is."""
    if isinstance(error, BadInput | Failed):
        say(str(error))
        return BAD_INPUT if isinstance(error, BadInput) else FAILED
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        say("out of memory; simulate fewer replicates, or keep less with `keep: endpoints`")
        return FAILED
    from insilico.config import ConfigError  # only now: it takes a while to import

    if isinstance(error, ConfigError):
        for problem in error.problems:
            say(str(problem))
        if len(error.problems) > 1:
            say(f"{len(error.problems)} problems found; nothing was written")
        return BAD_INPUT
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else ""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, so that it cleans up."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread, where signals do not arrive
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
