"""Progress of a run: bars on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from insilico.cli._errors import say

LINE_EVERY = 60.0
"""Seconds between the lines of a long stage where there is no terminal."""

WORDS_EVERY = 1.0
"""Seconds between two lines of where a search stands."""

Watch = Callable[[str, int, int], None]


@contextlib.contextmanager
def progress() -> Iterator[Watch]:
    """What to call as work goes on: the stage, and how much of how much is done."""
    if sys.stderr.isatty():
        with _bars() as watch:
            yield watch
    else:
        yield lines()


def lines(clock: Callable[[], float] = time.monotonic) -> Watch:
    """Progress for a log: a line when a stage begins and ends, and at most one a minute between."""
    began: dict[str, float] = {}
    spoke = clock()

    def watch(stage: str, done: int, total: int) -> None:
        nonlocal spoke
        now = clock()
        if stage not in began:
            began[stage] = spoke = now
            say(f"{stage}: {total:,} to do" if total > 1 else f"{stage}: begun")
            if done < total:
                return
        seconds = now - began[stage]
        if done >= total:
            say(f"{stage}: done in {seconds:.1f} s")
        elif done and now - spoke >= LINE_EVERY:
            spoke = now
            left = seconds / done * (total - done)
            say(f"{stage}: {done:,} of {total:,}, about {left:.0f} s left")

    return watch


def spoken(clock: Callable[[], float] = time.monotonic) -> Callable[[str, str, bool], None]:
    """What to call with a stage, where it stands in words, and whether it is done.

    A line when it is, and at most one a second before.
    """
    spoke = -WORDS_EVERY

    def speak(stage: str, words: str, done: bool) -> None:
        nonlocal spoke
        now = clock()
        if done or now - spoke >= WORDS_EVERY:
            spoke = now
            say(f"{stage}: {words}")

    return speak


@contextlib.contextmanager
def _bars() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    with Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as display:
        tasks = {}

        def watch(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = display.add_task(stage, total=total)
            # Nothing is done while a program compiles, which takes most of a small run.
            waiting = done == 0 and total > 1
            display.update(
                tasks[stage],
                completed=done,
                total=total,
                description=f"{stage} (compiling)" if waiting else stage,
            )

        yield watch
