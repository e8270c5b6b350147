"""A whole run: patients under every arm, the trials on them, the truth, and what came of it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from insilico.solve import Status
from trials import results
from trials.conduct import Conduct, conduct
from trials.estimation import (
    Truth,
    analyse,
    characteristics,
    observed,
    strata_of,
    success,
    true_values,
)
from trials.outcomes import (
    Addresses,
    Drawn,
    Treated,
    blocks_a_dispatch,
    dispatches,
    make_draw,
    make_treat,
)
from trials.study import Study, changes_of

Progress = Callable[[str, int, int], None]
"""Called as work goes on, with a stage, and how much of how much of it is done."""

TRUTH_TRIAL = 2**30
"""Number of the trial that holds the truth's subjects, far from those of replicates."""


class TooManyFailures(RuntimeError):
    """More subjects could not be solved than the config allows; `results` holds the run so far."""

    def __init__(self, failed: int, solves: int, allowed: float, tree: xr.DataTree):
        share = failed / solves
        super().__init__(
            f"{failed} of {solves} solves failed ({100 * share:.3g} %); the config allows "
            f"{100 * allowed:.3g} % (largest_failed_share)"
        )
        self.results = tree


class Patients(NamedTuple):
    """Subjects and their potential outcomes on the host: (subject,), (arm, subject), and so on."""

    drawn: dict[str, dict[str, np.ndarray]]
    treated: Treated

    @property
    def solved(self) -> np.ndarray:
        """Whether each subject under each arm was solved through to the end, (arm, subject)."""
        eligible = self.drawn["subject"]["attempts"] > 0
        complete = (self.treated.status == Status.OK) & (self.treated.overflow == 0)
        return np.asarray(complete & eligible)


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def simulate(study: Study, progress: Progress | None = None) -> xr.DataTree:
    """Run a study from patients to operating characteristics.

    Returns the results as a `DataTree` (see `trials.results` for its groups). Raises
    `TooManyFailures`, which carries them too, where more subjects failed than the config allows.
    """
    report = progress or silent
    config = study.config
    draws, replicates, subjects = (
        config.trial.population_draws,
        config.trial.replicates,
        config.trial.subjects,
    )
    population, trial, subject = (
        axis.ravel()
        for axis in np.meshgrid(
            np.arange(draws), np.arange(replicates), np.arange(subjects), indexing="ij"
        )
    )
    treat = make_treat(config, study.protocol)
    draw = make_draw(config, study.protocol)
    keep_visits = config.keep == "outcomes"
    blocks = blocks_a_dispatch(subject.size)
    patients = _patients(
        draw, treat, Addresses(population, trial, subject), blocks, "patients",
        report, keep_visits=keep_visits,
    )  # fmt: skip

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
    estimates = analyse(
        config,
        observed(potential, conducted.arm),
        conducted.arm,
        np.take_along_axis(solved, conducted.arm[None], axis=0)[0],
        _by_trial(patients.drawn["subsets"], shape),
        strata,
    )
    report("trials", draws * replicates, draws * replicates)

    truth = _truth(study, draw, treat, config.truth.subjects, blocks, "truth", report)
    sensitivity: dict[str, dict[str, Truth]] = {}
    for name, scenario in config.sensitivity.items():
        changed = study.changed(changes_of(scenario.set))
        same = _same_treatment(study, changed)
        sensitivity[name] = _truth(
            changed,
            make_draw(changed.config, changed.protocol),
            treat if same else make_treat(changed.config, changed.protocol),
            scenario.subjects,
            blocks,
            f"sensitivity: {name}",
            report,
        )
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
        ),
    )
    failed, solves = int((~patients.solved).sum()), patients.solved.size
    if failed > config.largest_failed_share * solves:
        raise TooManyFailures(failed, solves, config.largest_failed_share, tree)
    return tree


def _same_treatment(study: Study, other: Study) -> bool:
    """Whether the other study's patients go through the very same program."""
    parts = ("model", "trial", "drug", "visits", "availability", "quantities", "formulas",
             "titrations", "arms", "endpoints", "solver")  # fmt: skip
    ours, theirs = study.config, other.config
    same = all(getattr(ours, part) == getattr(theirs, part) for part in parts)
    residual = study.protocol.cohort.population is other.protocol.cohort.population
    return same and residual


def _truth(
    study: Study,
    draw: Callable[[Addresses], Drawn],
    treat: Callable[[Drawn], Treated],
    subjects: int,
    blocks: int,
    stage: str,
    report: Progress,
) -> dict[str, Truth]:
    """The estimands on independent subjects, shared out evenly over the population's draws."""
    config = study.config
    numbers = np.arange(subjects)
    addresses = Addresses(
        numbers % config.trial.population_draws,
        np.full(subjects, TRUTH_TRIAL),
        numbers // config.trial.population_draws,
    )
    patients = _patients(draw, treat, addresses, blocks, stage, report, keep_visits=False)
    return true_values(
        config, patients.treated.endpoints, patients.solved, patients.drawn["subsets"]
    )


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
    drawn_parts: list[Any] = []
    treated_parts: list[Treated] = []
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
            drawn_parts.append(jax.tree.map(lambda c: np.asarray(c).ravel()[first], columns))  # noqa: B023
            treated_parts.append(jax.tree.map(lambda c: _arms_first(c)[:, first], treated))  # noqa: B023
            done += number
            report(stage, done, total)
        waiting = launched
    return Patients(
        jax.tree.map(lambda *parts: np.concatenate(parts), *drawn_parts),
        jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *treated_parts),
    )


def _kept(drawn: Drawn) -> dict[str, dict[str, Any]]:
    """Of the drawn subjects, what results keep; all (…, subject)."""
    return {
        "covariates": dict(drawn.covariates),
        "quantities": dict(drawn.quantities),
        "strata": dict(drawn.strata),
        "subsets": dict(drawn.subsets),
        "parameters": dict(drawn.parameters._asdict()),
        "subject": {"attempts": drawn.attempts, "leaves": drawn.person.leaves},
    }


def _without_visits(treated: Treated, keep: bool) -> Treated:
    if keep:
        return treated
    none = np.zeros((*treated.status.shape, 0), np.float32)
    return treated._replace(time=none, used=none, attended=none, values={})


def _arms_first(column: Any) -> np.ndarray:
    """(blocks, arms, BLOCK, …) on the device as (arms, subjects, …) on the host."""
    array = np.moveaxis(np.asarray(column), 0, 1)
    arms, blocks, lanes = array.shape[:3]
    return array.reshape(arms, blocks * lanes, *array.shape[3:])


def _by_trial(columns: dict[str, np.ndarray], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    return {name: column.reshape(shape) for name, column in columns.items()}


__all__ = ["Conduct", "Patients", "Progress", "TooManyFailures", "simulate"]
