"""A calibration into a folder: found, checked, written, reported; gone on with after a kill."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr
from jax.flatten_util import ravel_pytree

from cohorts.diagnosis import Verdict, judge
from cohorts.fits.results import prior, thinned
from cohorts.fits.running import NotTrusted, digest_of, told_by_stages, tolerances_of
from cohorts.inference import sample
from cohorts.inference.density import Density
from cohorts.summaries import mcmc, plausible, results
from cohorts.summaries.calibration import Calibration
from cohorts.summaries.comparing import Comparison, Published
from cohorts.summaries.conflicts import Conflicts, Optimum, conflicts
from cohorts.summaries.evaluation import Evaluation
from cohorts.summaries.judging import judged
from cohorts.summaries.report import render
from cohorts.summaries.reweighting import reweight
from cohorts.summaries.virtual import Patients, VirtualCohort
from insilico.programs import quickly
from insilico.runs import NewRun, RunFolder, RunFolderError, Stages, Unfinished
from insilico.runs.writing import finish, write_config, write_results
from insilico.solve.blocks import compiler_options

DRAWS_LOOKED_AT = 200
"""Of the posterior and of the prior, for what their virtual patients come to."""


class Found(NamedTuple):
    """What a method found: groups of results, the verdict on them, and what the manifest says."""

    groups: dict[str, xr.Dataset]
    verdict: Verdict
    counts: dict[str, Any]
    sampler: dict[str, Any]


def unfinished(calibration: Calibration, out: str | os.PathLike[str] | None = None) -> Unfinished:
    """Where this calibration, run to `out`, keeps what it has done."""
    identity = {
        "config": calibration.document.data,
        "model": digest_of(calibration.config.model),
        "versions": [jax.__version__, numpyro.__version__],
    }
    return Unfinished(out, Path(calibration.document.file).stem, identity)


def run(
    calibration: Calibration,
    out: str | os.PathLike[str] | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    force: bool = False,
    restart: bool = False,
) -> RunFolder:
    """Calibrate, and leave the population, its targets and a report in a folder.

    It is what the command `insilico calibrate` does, with the same numbers. Arguments and errors
    are those of `cohorts.fits.run`: `NotTrusted` is raised only after the run was written, marked
    as failed.
    """
    stages = progress if isinstance(progress, Stages) else Stages(progress)
    begun = unfinished(calibration, out)
    if restart:
        begun.discard()
    name = Path(calibration.document.file).stem
    with RunFolder.create(out, name, force=force) as new:
        if calibration.config.method == "mcmc":
            found = _by_mcmc(calibration, begun, stages)
        else:
            found = _by_weights(calibration, stages)
        attributes = {
            "title": calibration.config.title,
            "model": calibration.config.model,
            "method": calibration.config.method,
            "seed": calibration.config.seed,
            "passed": int(found.verdict.passed),
            "reasons": list(found.verdict.reasons),
        }
        tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **found.groups})
        folder = _write(new, calibration, tree, found, stages)
    begun.discard()
    if not found.verdict.passed:
        raise NotTrusted(folder, found.verdict)
    return folder


def _by_mcmc(calibration: Calibration, begun: Unfinished, stages: Stages) -> Found:
    config, tolerances = calibration.config, tolerances_of(calibration.config.solver)
    cohort, events = VirtualCohort.of(
        calibration.cohort.population,
        calibration.cohort.options,
        calibration.model,
        calibration.arms,
        calibration.targets,
        config.virtual_patients,
        method=config.solver.method,
        tolerances=tolerances,
    )
    subjects, _ = plausible.people(calibration.cohort, config.seed, config.virtual_patients, 1)
    covariates = calibration.cohort.population.recoded(
        subjects.covariates, calibration.cohort.vocabulary
    )
    comparison = Comparison(cohort, tuple(calibration.targets), smooth=True)
    patients = cohort.draw(covariates, config.seed, "virtual patients", calibration.arms)
    given = mcmc.Given(patients, events, Published.of(calibration.targets))
    names = [target.name for target in calibration.targets]
    per_target = ("statistic", "mismatch", "monte_carlo_error")
    drawn = sample(
        mcmc.model_of(comparison),
        {"given": given},
        config.sampling,
        seed=config.seed,
        checkpoint=begun.make(),
        progress=told_by_stages(stages),
        coords={"target": names},
        dims={name: ["target"] for name in per_target},
    )
    posterior = drawn.tree["posterior"].to_dataset()
    stages("checks", 0, 1)
    evaluation = Evaluation.of(calibration, tolerances, smooth=True)

    def fixed(purpose: str) -> Patients:
        return evaluation.cohort.draw(covariates, config.seed, purpose, calibration.arms)

    before = prior(calibration.cohort, config.checks.prior_draws, config.seed)
    sites = {name: posterior[name] for name in before.data_vars if name in posterior}
    after = thinned(xr.Dataset(sites), DRAWS_LOOKED_AT)
    of_posterior = evaluation.at(after, fixed("virtual patients"))
    repeated = evaluation.at(after, fixed("other virtual patients"))
    of_prior = evaluation.at(thinned(before, DRAWS_LOOKED_AT), fixed("virtual patients"))
    stages("checks", 1, 1)
    found = conflicts_of_posterior(
        comparison, given, posterior, of_posterior.covariance, of_posterior.standard_error, stages
    )
    group = results.targets_group(
        calibration,
        value=of_posterior.value,
        mismatch=of_posterior.mismatch,
        standard_error=of_posterior.standard_error,
        monte_carlo_error=of_posterior.monte_carlo_error,
        prior=of_prior.value,
        second=repeated.mismatch,
        distance=found.distance,
    )
    verdict = judged(calibration, group, chains=judge(drawn.tree))
    groups = {
        **{name: node.to_dataset() for name, node in drawn.tree.children.items()},
        "prior": before,
        "targets": group,
        "conflicts": results.conflicts_group(calibration, found),
        "curves": results.curves_group(evaluation, of_posterior.courses, of_prior.courses),
        "virtual_patients": results.patients_group(calibration, subjects.covariates),
        "diagnostics": verdict.table,
    }
    sampler = {**config.sampling.model_dump(), "told": list(drawn.told)}
    return Found(groups, verdict, drawn.counts._asdict(), sampler)


def conflicts_of_posterior(
    comparison: Comparison,
    given: mcmc.Given,
    posterior: xr.Dataset,
    covariances: np.ndarray,
    errors: np.ndarray,
    stages: Stages,
) -> Conflicts:
    """Conflicts by the most probable parameters, with all targets and without each.

    The covariance of the targets' errors stays what it is on average over the posterior.
    """
    targets = len(comparison.targets)
    covariance, error = np.nanmean(covariances, axis=0), np.nanmean(errors, axis=0)
    cohort = comparison.cohort

    def population(numbers: Any) -> None:
        cohort.population.typical_values(cohort.options, numbers)

    draws = {
        name: jnp.asarray(of)
        for name, of in thinned(posterior, 4 * DRAWS_LOOKED_AT).items()
        if name not in ("statistic", "mismatch", "monte_carlo_error", "failed_solves")
    }
    numbers = {"numbers": given.patients.hyperparameters}
    plain = Density.of(population, numbers)

    def point(values: Any, numbers: Any) -> Any:
        return ravel_pytree(plain.unconstrained(values, numbers))[0]

    points = quickly(jax.vmap(point, in_axes=(0, None)))(draws, numbers)
    blank = {name: jnp.zeros(shape) for name, shape in plain.shapes.items()}
    unravel = ravel_pytree(blank)[1]
    model = mcmc.frozen_model_of(comparison)
    everything = mcmc.Frozen(jnp.asarray(covariance), jnp.ones(targets))
    density = Density.of(model, {"given": given, "frozen": everything})

    def objective(point: Any, given: Any, frozen: Any) -> Any:
        data = {"given": given, "frozen": frozen}
        return density.potential(unravel(point), data)

    def ended(point: Any, given: Any, frozen: Any) -> Any:
        data = {"given": given, "frozen": frozen}
        return density.sites(unravel(point), data).values["deviation"]

    options = compiler_options()
    value = jax.jit(jax.value_and_grad(objective), compiler_options=options)
    deviation = jax.jit(ended, compiler_options=options)
    start = np.asarray(points.mean(axis=0))
    spread = np.atleast_2d(np.cov(np.asarray(points).T))

    def refit(included: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
        from scipy.optimize import minimize

        frozen = everything._replace(included=jnp.asarray(included, float))

        def potential(point: np.ndarray) -> tuple[float, np.ndarray]:
            found, slope = value(jnp.asarray(point), given, frozen)
            if not np.isfinite(found):
                return 1e30, np.zeros_like(point)
            return float(found), np.asarray(slope)

        found = minimize(
            potential,
            start,
            jac=True,
            method="BFGS",
            options={"hess_inv0": spread, "gtol": 1e-3, "maxiter": 100},
        )
        # Less the constant by which the densities of different numbers of targets differ.
        inside = covariance[np.ix_(included, included)]
        scale = np.sqrt(np.diag(inside))
        logarithm = np.linalg.slogdet(inside / np.outer(scale, scale))[1] / 2 + np.log(scale).sum()
        return found.x, found.fun - logarithm

    best, _ = refit(np.ones(targets, bool), start)

    def optimum(included: np.ndarray) -> Optimum:
        point, objective = refit(included, best)
        frozen = everything._replace(included=jnp.asarray(included, float))
        off = np.asarray(deviation(jnp.asarray(point), given, frozen))
        return Optimum(off / error, objective)

    return conflicts(optimum, targets, lambda done, total: stages("conflicts", done, total))


def _by_weights(calibration: Calibration, stages: Stages) -> Found:
    config = calibration.config
    stages("patients", 0, 1)
    evaluation = Evaluation.of(calibration, tolerances_of(config.solver), smooth=False)
    drawn = plausible.draw(evaluation, config.seed)
    stages("patients", 1, 1)
    stages("weights", 0, 1)
    weighing = plausible.Weighing.of(evaluation, drawn)
    whole = reweight(weighing.evaluate, drawn.usable)
    stages("weights", 1, 1)
    after = weighing.compare(whole.weights)
    before = weighing.compare(drawn.usable / drawn.usable.sum())
    error = after.standard_error

    def optimum(included: np.ndarray) -> Optimum:
        part = reweight(weighing.evaluate, drawn.usable, included, after.covariance)
        return Optimum(part.statistics.deviation / error, part.objective)

    found = conflicts(
        optimum, len(calibration.targets), lambda done, total: stages("conflicts", done, total)
    )
    group = results.targets_group(
        calibration,
        value=after.value[None],
        mismatch=after.mismatch[None],
        standard_error=error[None],
        monte_carlo_error=after.monte_carlo_error[None],
        prior=before.value[None],
        distance=found.distance,
    )
    share = whole.effective / len(whole.weights)
    verdict = judged(calibration, group, effective_share=share, converged=whole.converged)
    patients = results.patients_group(
        calibration, drawn.covariates, drawn.parameters, drawn.sites, whole.weights
    )
    patients.attrs["effective"] = whole.effective
    courses = weighing.courses(whole.weights), weighing.courses(drawn.usable / drawn.usable.sum())
    groups = {
        "prior": prior(calibration.cohort, config.checks.prior_draws, config.seed),
        "targets": group.assign(multiplier=("target", whole.multipliers)),
        "conflicts": results.conflicts_group(calibration, found),
        "curves": results.curves_group(
            evaluation, *({name: of[None] for name, of in each.items()} for each in courses)
        ),
        "virtual_patients": patients,
    }
    counts = {
        "patients": len(whole.weights),
        "failed": int((~drawn.usable).sum()),
        "effective_patients": round(whole.effective, 1),
    }
    return Found(groups, verdict, counts, {})


def _write(
    new: NewRun, calibration: Calibration, tree: xr.DataTree, found: Found, stages: Stages
) -> RunFolder:
    write_config(new, calibration.document, calibration.overrides, {})
    write_results(new, tree, stages)
    try:
        return finish(
            new,
            lambda told: render(tree, calibration, told),
            stages,
            calibration.document,
            overrides=calibration.overrides,
            counts={
                "targets": len(calibration.targets),
                "arms": len(calibration.arms),
                **found.counts,
            },
            failure=None if found.verdict.passed else "; ".join(found.verdict.reasons),
            kind="calibration",
            **({"sampler": found.sampler} if found.sampler else {}),
        )
    except RunFolderError as error:
        raise RunFolderError(
            f"{error}\nwhat was drawn is kept: run the same command again"
        ) from error
