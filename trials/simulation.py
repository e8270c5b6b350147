"""A whole run: patients under every arm, the trials on them, the truth, and what came of it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from insilico.solve import Status
from trials import results
from trials.conduct import Conduct, conduct
from trials.config import TrialConfig
from trials.dispatching import Addresses, blocks_a_dispatch, dispatches
from trials.estimation import (
    Truth,
    analyse,
    characteristics,
    given,
    observed,
    strata_of,
    success,
    true_values,
)
from trials.failures import Tallies, Tally, tally
from trials.outcomes import Drawn, Treated, make_draw, make_treat, method_of
from trials.precision import measured
from trials.size import VISITS_AT_ONCE
from trials.study import Study, changes_of, needed

if TYPE_CHECKING:
    from insilico.runs import RunFolder

Progress = Callable[[str, int, int], None]
"""Called as work goes on, with a stage, and how much of how much of it is done."""

TRUTH_TRIAL = 2**30
"""Number of the trial that holds the truth's subjects, far from those of replicates."""


class TooManyFailures(RuntimeError):
    """More solves of a stage failed than the config allows.

    `results` holds what the run found all the same, and `folder` where `trials.run` left it.
    """

    def __init__(self, exceeding: Mapping[str, Tally], allowed: float, tree: xr.DataTree):
        (stage, first), *others = exceeding.items()
        also = f"; so did too many for {', '.join(name for name, _ in others)}" if others else ""
        remedies = f"; {first.remedies}" if first.remedies else ""
        super().__init__(
            f"{first.failed:,} of {first.solves:,} solves failed for {stage} "
            f"({100 * first.failed / first.solves:.3g} %), the config allows {100 * allowed:.3g} % "
            f"(largest_failed_share){also}. Causes: {first.told}{remedies}"
        )
        self.results = tree
        self.folder: RunFolder | None = None


class Patients(NamedTuple):
    """Subjects and their potential outcomes on the host: (subject,), (condition, subject), and so
    on; a parallel trial's conditions are its arms (`trials.periods`).

    Of the solver's last state only that of solves that failed is kept, an entry each of every
    component, condition after condition (the order of `trials.failures.failed_solves`).
    """

    drawn: dict[str, dict[str, np.ndarray]]
    treated: Treated

    @property
    def solved(self) -> np.ndarray:
        """Whether each subject was solved through to the end in each condition."""
        eligible = self.drawn["subject"]["attempts"] > 0
        complete = (self.treated.status == Status.OK) & (self.treated.overflow == 0)
        return np.asarray(complete & eligible)

    @classmethod
    def joined(cls, parts: list[Patients]) -> Patients:
        """Subjects of several parts, one after the other."""
        failed = [np.nonzero(~part.solved)[0] for part in parts]
        in_order = np.argsort(np.concatenate(failed), kind="stable")
        states = jax.tree.map(
            lambda *columns: np.concatenate(columns)[in_order],
            *(part.treated.state for part in parts),
        )
        treated = jax.tree.map(
            lambda *columns: np.concatenate(columns, axis=1),
            *(part.treated._replace(state={}) for part in parts),
        )
        drawn = jax.tree.map(
            lambda *columns: np.concatenate(columns), *(part.drawn for part in parts)
        )
        return cls(drawn, treated._replace(state=states))


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def simulate(study: Study, progress: Progress | None = None) -> xr.DataTree:
    """Run a study from patients to operating characteristics.

    Returns the results as a `DataTree` (see `trials.results` for its groups). Raises
    `TooManyFailures`, which carries them too, where a larger share of the solves failed than the
    config allows: of the trials' patients, of the truth's subjects, or of a scenario's.
    """
    needed(study)
    report = progress or silent
    config = study.config
    draws, replicates, subjects = (
        config.trial.population_draws,
        config.trial.per_draw,
        config.trial.subjects,
    )
    population, trial, subject = (
        axis.ravel()
        for axis in np.meshgrid(
            np.arange(draws), np.arange(replicates), np.arange(subjects), indexing="ij"
        )
    )
    addresses = Addresses(population, trial, subject)
    draw = make_draw(config, study.protocol)
    method = method_of(config, study.protocol, draw, addresses)
    treat = make_treat(config, study.protocol, method.name)
    keep_visits = config.keep == "outcomes"
    blocks = blocks_a_dispatch(subject.size)
    patients = _patients(
        draw,
        treat,
        addresses,
        blocks,
        "patients",
        report,
        keep_visits=keep_visits,
    )

    inexact = None
    if config.solver.precision == "single":
        addresses = Addresses(population, trial, subject)
        inexact = measured(study, draw, treat, addresses, blocks, method.name)

    report("trials", 0, draws * replicates)
    shape = (draws * replicates, subjects)
    numbers = np.divmod(np.arange(draws * replicates), replicates)
    strata_factors = _by_trial(patients.drawn["strata"], shape)
    conducted = conduct(config, numbers[0], numbers[1], strata_factors)
    strata = strata_of(config, conducted.centre, strata_factors)
    potential = {
        name: {part: column.reshape(-1, *shape) for part, column in parts.items()}
        for name, parts in patients.treated.endpoints.items()
    }
    solved = patients.solved.reshape(-1, *shape)
    periods = study.protocol.periods
    condition = periods.condition(conducted.group)
    estimates = analyse(
        config,
        observed(potential, condition),
        periods.arm(conducted.group),
        given(solved, condition),
        _by_trial(patients.drawn["subsets"], shape),
        strata,
    )
    report("trials", draws * replicates, draws * replicates)

    truth, truth_tally = _truth(study, draw, treat, config.truth.subjects, blocks, "truth", report)
    sensitivity: dict[str, dict[str, Truth]] = {}
    scenario_tallies: dict[str, Tally] = {}
    for name, scenario in config.sensitivity.items():
        changed = study.changed(changes_of(scenario.set))
        other_draw = make_draw(changed.config, changed.protocol)
        other_treat = treat
        if not same_treatment(study, changed):
            other = method_of(changed.config, changed.protocol, other_draw, addresses)
            other_treat = make_treat(changed.config, changed.protocol, other.name)
        sensitivity[name], scenario_tallies[name] = _truth(
            changed,
            other_draw,
            other_treat,
            scenario.subjects,
            blocks,
            f"sensitivity: {name}",
            report,
        )
    tallies = Tallies(tally(patients), truth_tally, scenario_tallies)
    tree = results.tree(
        study,
        results.Pieces(
            patients=patients,
            conduct=conducted,
            estimates=estimates,
            truth=truth,
            characteristics=characteristics(config, estimates, truth),
            success=success(config, estimates),
            sensitivity=sensitivity,
            tallies=tallies,
            method=method,
            inexact=inexact,
        ),
    )
    allowed = config.largest_failed_share
    exceeding = {name: one for name, one in tallies.by_stage().items() if one.exceeds(allowed)}
    if exceeding:
        raise TooManyFailures(exceeding, allowed, tree)
    return tree


_UNTREATED = frozenset({
    "title", "description", "seed", "cohort", "analyses", "success", "truth", "sensitivity",
    "published", "assumptions", "largest_failed_share", "keep",
})  # fmt: skip
"""Sections of a config that say who is drawn, or what is made of outcomes, not what patients go
through. Of the cohort that takes its population, and what is known of a patient when."""


def same_treatment(study: Study, other: Study) -> bool:
    """Whether the other study's patients go through the very same program."""
    ours, theirs = study.protocol, other.protocol
    sections = TrialConfig.model_fields.keys() - _UNTREATED
    return (
        all(getattr(study.config, name) == getattr(other.config, name) for name in sections)
        and ours.cohort.population is theirs.cohort.population
        and ours.rule_vocabulary == theirs.rule_vocabulary
        and ours.late == theirs.late
    )


def _truth(
    study: Study,
    draw: Callable[[Addresses], Drawn],
    treat: Callable[[Drawn], Treated],
    subjects: int,
    blocks: int,
    stage: str,
    report: Progress,
) -> tuple[dict[str, Truth], Tally]:
    """The estimands on independent subjects, shared out evenly over the population's draws.

    With them, how many of the subjects' solves failed.
    """
    config = study.config
    numbers = np.arange(subjects)
    addresses = Addresses(
        numbers % config.trial.population_draws,
        np.full(subjects, TRUTH_TRIAL),
        numbers // config.trial.population_draws,
    )
    patients = _patients(draw, treat, addresses, blocks, stage, report, keep_visits=False)
    truths = true_values(
        config, patients.treated.endpoints, patients.solved, patients.drawn["subsets"]
    )
    return truths, tally(patients)


def _patients(
    draw: Callable[[Addresses], Drawn],
    treat: Callable[[Drawn], Treated],
    addresses: Addresses,
    blocks: int,
    stage: str,
    report: Progress,
    *,
    keep_visits: bool,
) -> Patients:
    total = len(addresses.subject)
    report(stage, 0, total)
    parts: list[Patients] = []
    done = 0
    waiting: tuple[Any, int] | None = None
    for batch, real in [*dispatches(addresses, blocks), (None, 0)]:
        # One batch computes while the one before is brought to the host.
        launched = None
        if batch is not None:
            drawn = draw(batch)
            launched = ((_kept(drawn), _without_visits(treat(drawn), keep_visits)), real)
        if waiting is not None:
            (columns, treated), number = waiting
            first = slice(number)
            columns = jax.tree.map(lambda c: np.asarray(c).ravel()[first], columns)  # noqa: B023
            fetched = jax.tree.map(lambda c: _conditions_first(c)[:, first], treated)  # noqa: B023
            part = Patients(columns, _with_visits(fetched, _room_needed(fetched.used)))
            failed = {name: column[~part.solved] for name, column in fetched.state.items()}
            parts.append(part._replace(treated=part.treated._replace(state=failed)))
            done += number
            report(stage, done, total)
        waiting = launched
    most = max(part.treated.used.shape[-1] for part in parts)
    return Patients.joined(
        [part._replace(treated=_with_visits(part.treated, most)) for part in parts]
    )


def _kept(drawn: Drawn) -> dict[str, dict[str, Any]]:
    """Of the drawn subjects, what results keep; all (…, subject)."""
    return {
        "covariates": dict(drawn.covariates),
        "quantities": dict(drawn.quantities),
        "strata": dict(drawn.strata),
        "subsets": dict(drawn.subsets),
        "parameters": _by_occasion(drawn.parameters._asdict()),
        "subject": {"attempts": drawn.attempts, "leaves": drawn.person.leaves[:, 0]},
    }


def _by_occasion(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters (blocks, subject); those that vary between occasions, (blocks, occasion, subject),
    as one an occasion: `clearance_1`, `clearance_2`."""
    columns: dict[str, Any] = {}
    for name, leaf in parameters.items():
        # A vector's components have no shape together, and do not vary.
        if getattr(leaf, "ndim", 2) == 2:
            columns[name] = leaf
            continue
        occasions = leaf.shape[1]
        for number in range(occasions):
            columns[name if occasions == 1 else f"{name}_{number + 1}"] = leaf[:, number]
    return columns


def _without_visits(treated: Treated, keep: bool) -> Treated:
    if keep:
        return treated
    none = np.zeros((*treated.status.shape, 0), np.float32)
    return treated._replace(time=none, used=none, attended=none, values={}, doses=none)


def _room_needed(used: np.ndarray) -> int:
    """Visits to keep room for; in steps, so that runs of other sizes mostly agree on it."""
    needed = VISITS_AT_ONCE * -(-int(used.sum(axis=-1).max()) // VISITS_AT_ONCE)
    return min(needed, used.shape[-1])


def _with_visits(treated: Treated, most: int) -> Treated:
    """Room for that many visits and no more: the rules allow many, few patients need them."""

    def fitted(column: np.ndarray) -> np.ndarray:
        room = most - column.shape[-1]
        if room > 0:
            return np.pad(column, [(0, 0)] * (column.ndim - 1) + [(0, room)])
        return np.ascontiguousarray(column[..., :most])

    return treated._replace(
        time=fitted(treated.time),
        used=fitted(treated.used),
        attended=fitted(treated.attended),
        values={name: fitted(column) for name, column in treated.values.items()},
    )


def _conditions_first(column: Any) -> np.ndarray:
    """(blocks, conditions, BLOCK, …) on the device as (conditions, subjects, …) on the host."""
    array = np.moveaxis(np.asarray(column), 0, 1)
    conditions, blocks, lanes = array.shape[:3]
    return array.reshape(conditions, blocks * lanes, *array.shape[3:])


def _by_trial(columns: dict[str, np.ndarray], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    return {name: column.reshape(shape) for name, column in columns.items()}


__all__ = ["Conduct", "Patients", "Progress", "TooManyFailures", "simulate"]
