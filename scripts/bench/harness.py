"""Fair timing on a machine that is not alone: alternating order, quiet waits, peak memory."""

import ctypes
import gc
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scripts.bench.tools.protocol import Prepared, Solution

TICKS_A_SECOND = 100.0
"""USER_HZ: the unit of /proc/stat, 100 on every Linux in use."""
QUIET_WINDOW = 0.3
"""Seconds the machine is watched before it is called quiet or not."""
QUIET_LOAD = 0.1
"""Cores that other processes may use on a quiet machine."""
DISTURBED_LOAD = 0.08
"""Cores used by others during a sample above which the sample counts as disturbed."""


class Sample(NamedTuple):
    """One timed run."""

    seconds: float
    other_load: float
    """Cores that other processes used meanwhile; NaN where the system does not tell."""


@dataclass
class Measurement:
    """What was measured of one tool."""

    first_seconds: float
    """From the problem to the first result: tracing, compiling and one run."""
    solution: Solution
    peak_memory: float
    """Bytes that compiling and the first run add to the resident set at its highest; NaN where
    the system does not tell."""
    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> np.ndarray:
        """Seconds of the samples, in the order they were taken."""
        return np.array([sample.seconds for sample in self.samples])

    @property
    def compile_seconds(self) -> float:
        """Time to the first result less a warm run."""
        return max(0.0, self.first_seconds - float(np.median(self.seconds)))

    @property
    def disturbed(self) -> int:
        """How many samples other processes disturbed."""
        return sum(sample.other_load > DISTURBED_LOAD for sample in self.samples)


def _busy_seconds() -> float:
    """Core seconds all processes have used since boot; NaN where there is no /proc."""
    try:
        line = Path("/proc/stat").read_text().splitlines()[0]
    except OSError:
        return float("nan")
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS_A_SECOND


def _timed(run: Callable[[], object]) -> Sample:
    busy, own, start = _busy_seconds(), time.process_time(), time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    others = _busy_seconds() - busy - (time.process_time() - own)
    # A tick of slack a core: /proc/stat is coarse against a short run.
    return Sample(seconds, max(0.0, others - 2 / TICKS_A_SECOND) / seconds)


class QuietMachine:
    """Waits for other processes to rest, up to a budget of seconds for the whole benchmark."""

    def __init__(self, budget: float):
        self.budget = budget

    def wait(self) -> None:
        """Return once the machine is quiet, the budget is spent, or the system does not tell."""
        while self.budget > 0:
            sample = _timed(lambda: time.sleep(QUIET_WINDOW))
            if not sample.other_load > QUIET_LOAD:
                return
            self.budget -= sample.seconds


def _resident(key: str) -> float:
    """Bytes of `VmRSS` or `VmHWM` of this process; NaN where there is no /proc."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    found = re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)
    return 1024.0 * int(found.group(1)) if found else float("nan")


def _reset_peak() -> None:
    """Give freed pages back and restart the high-water mark, where the system allows it."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        pass


def warm_up(prepare: Callable[[], Prepared], device: Any = None) -> tuple[Prepared, Measurement]:
    """Make a tool ready and run it once; memory is that of the process, or of a GPU, `device`."""
    _reset_peak()
    before, start = _memory(device), time.perf_counter()
    prepared = prepare()
    result = prepared.run()
    seconds = time.perf_counter() - start
    after = _memory(device)
    # A GPU's mark cannot be reset: it tells only of a run that rose above all before it.
    new_mark = device is None or after.highest > before.highest
    peak = after.highest - before.now if new_mark else float("nan")
    return prepared, Measurement(seconds, prepared.gather(result), peak)


class _Memory(NamedTuple):
    now: float
    highest: float


def _memory(device: Any) -> _Memory:
    if device is None:
        return _Memory(_resident("VmRSS"), _resident("VmHWM"))
    known = device.memory_stats() or {}
    return _Memory(*(float(known.get(key, "nan")) for key in ("bytes_in_use", "peak_bytes_in_use")))


def alternate(
    tools: Mapping[str, tuple[Prepared, Measurement]], repeats: int, quiet: QuietMachine
) -> None:
    """Time every tool `repeats` times in the order A B B A A B …, adding to the measurements.

    Neighbours in time share the machine's mood: a slow minute hits every tool alike.
    """
    names = list(tools)
    for repeat in range(repeats):
        quiet.wait()
        for name in names if repeat % 2 == 0 else reversed(names):
            prepared, measurement = tools[name]
            measurement.samples.append(_timed(prepared.run))


def fastest_lanes(
    prepare: Callable[[int], Prepared], choices: tuple[int, ...], quiet: QuietMachine
) -> int:
    """The block size of `choices` whose second and third run were fastest."""
    best = {}
    for lanes in choices:
        prepared = prepare(lanes)
        prepared.run()
        quiet.wait()
        best[lanes] = min(_timed(prepared.run).seconds for _ in range(2))
    return min(best, key=best.__getitem__)
