"""How long the stages of a run took."""

import datetime
import time
from collections.abc import Callable

Watch = Callable[[str, int, int], None]
"""Called as work goes on: the stage, and how much of how much of it is done."""

Words = Callable[[str, str, bool], None]
"""Called as work goes on: the stage, where it stands in words, and whether it is done."""


class Stages:
    """Counts the seconds of each stage, and passes progress on to whoever watches.

    All time is somebody's: what passes between two calls counts for the stage of the later one.

    `words` is called where a stage says in words where it stands, before `watch` is.
    """

    def __init__(
        self,
        watch: Watch | None = None,
        clock: Callable[[], float] = time.perf_counter,
        *,
        words: Words | None = None,
    ):
        self.seconds: dict[str, float] = {}
        """By stage, in the order in which they began."""
        self.started = datetime.datetime.now(datetime.UTC)
        """When the run began, in the world's time."""
        self.watch = watch
        self.words = words
        self._clock = clock
        self._start = self._last = clock()

    def __call__(self, stage: str, done: int, total: int, words: str = "") -> None:
        """Note that `done` of `total` of a stage are done now, and where it stands, in words."""
        now = self._clock()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
        if self.words is not None and words:
            self.words(stage, words, done >= total)
        if self.watch is not None:
            self.watch(stage, done, total)

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._start
