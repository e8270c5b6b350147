"""How much memory a run's numbers take, told before anything is simulated.

A run holds on the host, all at once, what it computes of every subject of every trial; so what
nobody can have meant, such as a thousand million subjects, is told by the memory it would need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cohorts import Cohort
from insilico.model import Model
from trials.checks import Checks
from trials.config import TrialConfig

CEILING = 256 * 2**30
"""Bytes that the numbers of a run may take: the memory of a large machine. Joining them takes as
much again for a moment."""

VISITS_AT_ONCE = 16
"""Results have room for a multiple of this many visits."""

_NUMBER, _SMALL, _FLAG = 8, 4, 1


class Part(NamedTuple):
    """Subjects of one stage, with the bytes each takes, and what in the config asks for them."""

    path: tuple[str, ...]
    subjects: int
    each: int
    of: str = ""
    """How their number comes about, where it is a product."""

    @property
    def bytes(self) -> int:
        return self.subjects * self.each


class Sizes(NamedTuple):
    """What a subject of a study consists of: how many covariates and quantities, parameters,
    measured outputs, visits there is room for, and dosing times."""

    covariates: int
    parameters: int
    measured: int
    visits: int
    doses: int


def sizes(config: TrialConfig, cohort: Cohort, model: Model, most_visits: int, doses: int) -> Sizes:
    """The sizes of a config's subjects, with no more visits than are scheduled."""
    rounded = VISITS_AT_ONCE * -(-config.visits.planned // VISITS_AT_ONCE)
    return Sizes(
        covariates=len(cohort.vocabulary) + len(config.quantities),
        # Those that vary between occasions have a value in each.
        parameters=len(model.Parameters._fields)
        + len(cohort.population.between_occasion)
        * (_periods(config) - 1 + len(config.trial.occasions or ())),
        measured=len(config.visits.measure),
        visits=min(rounded, most_visits),
        doses=doses,
    )


def parts(config: TrialConfig, sizes: Sizes) -> Iterator[Part]:
    """The stages of a run that hold subjects in memory."""
    trial = config.trial
    counts = {"subjects": trial.subjects, "replicates": trial.replicates}
    largest = max(counts, key=lambda key: counts[key])
    product = trial.subjects * trial.replicates
    randomised = 4 * _NUMBER
    yield Part(
        ("trial", largest),
        product,
        _bytes(config, sizes, visits=config.keep == "outcomes") + randomised,
        f" over all trials ({' × '.join(key for key, count in counts.items() if count > 1)})",
    )
    each = _bytes(config, sizes, visits=False)
    yield Part(("truth", "subjects"), config.truth.subjects, each)
    for name, scenario in config.sensitivity.items():
        yield Part(("sensitivity", name, "subjects"), scenario.subjects, each)


def total(config: TrialConfig, sizes: Sizes) -> int:
    """Bytes of the numbers that a run holds at once at least; a scenario's are let go."""
    trials, truth, *scenarios = (part.bytes for part in parts(config, sizes))
    return trials + max(truth, *scenarios, 0)


def check_size(checks: Checks, sizes: Sizes) -> None:
    """Note what takes more memory than a run may have."""
    config = checks.config
    before = len(checks.problems)
    for part in parts(config, sizes):
        if part.bytes > CEILING:
            visits = part.path[0] == "trial" and config.keep == "outcomes"
            checks.note(
                part.path,
                f"asks for {part.subjects:,} subjects{part.of}, whose numbers take "
                f"{shown(part.bytes)} of memory; a run may have {shown(CEILING)}",
                allowed=f"up to {CEILING // part.each:,} subjects"
                + (" over all trials" if part.of else ""),
                hint="without visits (`keep: endpoints`) each takes less" if visits else None,
            )
    if len(checks.problems) > before:
        return
    trial = config.trial
    trials = trial.replicates
    blocks = trial.randomisation.block_sizes
    for path, what, number in (
        (("centres", "count"), "the centres' sizes", trials * trial.centres.count),
        # For each subject the order of its whole block is drawn.
        (("randomisation", "block_sizes"), "the blocks", trials * trial.subjects * max(blocks)),
    ):
        if _NUMBER * number > CEILING:
            message = f"asks for {shown(_NUMBER * number)} of memory for {what} of all trials"
            checks.note(("trial", *path), f"{message}; a run may have {shown(CEILING)}")


def shown(number: float) -> str:
    """Bytes as a person says them."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:,.3g} {unit}" if number < 1000 else f"{number:,.0f} {unit}"
        number /= 1024
    return f"{number:,.3g} TiB" if number < 1000 else f"{number:,.0f} TiB"


def _bytes(config: TrialConfig, sizes: Sizes, *, visits: bool) -> int:
    """Bytes that one subject takes under all arms."""
    address = 3 * _NUMBER
    drawn = _SMALL * sizes.covariates + _NUMBER * (sizes.parameters + 2)
    criteria = len(config.trial.randomisation.strata.by) + len(config.analyses)
    endpoint = _NUMBER + 2 * _FLAG
    solve = 4 * _SMALL
    # Of each visit its time, two flags, the dose, and every output as it is and as it is measured.
    visit = _SMALL + 2 * _FLAG + _SMALL * (1 + 2 * sizes.measured)
    at_times = visit * sizes.visits + _SMALL * sizes.doses
    an_arm = endpoint * len(config.endpoints) + solve + at_times * visits
    return address + drawn + _FLAG * criteria + an_arm * len(config.arms) * _periods(config)


def _periods(config: TrialConfig) -> int:
    crossover = config.trial.crossover
    return 1 if crossover is None else len(crossover.sequences[0])
