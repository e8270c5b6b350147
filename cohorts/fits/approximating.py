"""A fit by an approximation: searched for, drawn from, labelled and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from cohorts.data import Kind
from cohorts.diagnosis import Verdict
from cohorts.diagnosis.approximations import (
    condition_number,
    judge_approximation,
    wrong_with_normal,
    wrong_with_variational,
)
from cohorts.fits import results
from cohorts.fits.fit import Fit
from cohorts.inference import labels
from cohorts.inference.components import probabilities, worst
from cohorts.inference.density import Density
from cohorts.inference.joint import Joint
from cohorts.inference.marginal_likelihood import objective_function_value
from cohorts.inference.maximum_likelihood import standard_errors
from cohorts.inference.normal_approximations import NormalApproximation, normal_approximation
from cohorts.inference.numpyro_model import model_of
from cohorts.inference.parameterisation import prior_draws
from cohorts.inference.patients import Data
from cohorts.inference.settings import USED
from cohorts.inference.variational_inference import (
    BLOCK,
    variational,
)
from insilico.programs import quickly

STARTS = 5
"""Places from which a search may set out: the prior's middle, then draws of it."""

SAME = 0.1
"""Of −2 log density, by which searches of a mixture differ that came to the same maximum."""

Watch = Callable[[str], None]
"""Called as a search goes on, with where it stands in words."""


class Approximated(NamedTuple):
    """What an approximation found.

    - `tree`: groups `posterior` (one chain of independent draws), `sample_stats` with `lp`,
      `log_proposal` and `log_weight` of each, `log_likelihood`, `search`, the `objective` on the
      way; of `focei` and `laplace` also `estimates`, of the unconstrained coordinates.
    - `verdict`: its table becomes the group `diagnostics`.
    - `counts`, `told`: for the manifest.
    """

    tree: xr.DataTree
    verdict: Verdict
    counts: dict[str, Any]
    told: dict[str, Any]


def approximated(
    fit: Fit, joint: Joint, data: Data, shares: Mapping[str, np.ndarray] | None, watch: Watch
) -> Approximated:
    """The posterior of a fit by the approximation that its config names.

    `shares`: how random effects are parameterised, for `svi`.
    """
    method = fit.config.method
    assert method != "nuts"
    if method == "svi":
        return _by_variation(fit, joint, data, shares, watch)
    settings = fit.config.approximation
    given = {"data": data}
    density = Density.of(model_of(joint), given)
    labels.ahead(density, given, settings.draws)
    starts = np.asarray(
        quickly(lambda data: prior_draws(joint, data, fit.config.seed))(data), float
    )
    measured = int(np.sum(data.kind == Kind.VALUE))

    begun: list[float] = []

    def note(iteration: int, value: float) -> None:
        objective = objective_function_value(value, measured)
        begun.extend([objective] * (iteration == 0))
        search = f"search {len(begun)}, " if joint.components > 1 else ""
        watch(f"{search}iteration {iteration}, objective {objective:.4f}")

    found = normal_approximation(
        joint,
        data,
        np.stack([np.median(starts, axis=0), *starts[: STARTS - 1]]),
        settings,
        method=method,
        seed=fit.config.seed,
        bounded=joint.bounded,
        watch=note,
    )
    position = quickly(jax.vmap(joint.position))(found.theta, found.x)
    tree = _tree(fit, joint, density, given, jax.tree.map(np.asarray, position), found)
    at = quickly(joint.constrained)(found.maximum.theta, data)
    verdict = judge_approximation(
        _of_population(tree, joint, data),
        found.weights,
        wrong_with_normal(found, joint.names),
        {name: np.asarray(value) for name, value in at.items()},
        standard_errors(joint.constrained, found.maximum.theta, data, found.covariance),
    )
    values = int(np.sum(data.kind != Kind.NOTHING))
    verdict = verdict._replace(table=verdict.table.assign(_fit_of(found, measured, values)))
    tree["search"] = xr.DataTree(
        xr.Dataset(
            {"objective": ("iteration", objective_function_value(found.objective, measured))},
            coords={"iteration": np.arange(len(found.objective))},
        )
    )
    names = list(joint.names)
    tree["estimates"] = xr.DataTree(
        xr.Dataset(
            {
                "estimate": ("coordinate", found.maximum.theta),
                "covariance": (("coordinate", "other"), found.covariance),
                **_belonging(joint, found),
            },
            coords={"coordinate": names, "other": names},
        )
    )
    counts = {
        "iterations": found.maximum.iterations,
        "evaluations": found.maximum.evaluations,
        "modes_not_found": int(np.sum(found.failed)),
    }
    return Approximated(tree, verdict, counts, _told(fit, _words_of_normal(fit, found, joint)))


def _by_variation(
    fit: Fit, joint: Joint, data: Data, shares: Mapping[str, np.ndarray] | None, watch: Watch
) -> Approximated:
    settings, model = fit.config.approximation, model_of(joint)
    given = {"data": data, "centred": shares}
    density = Density.of(model, given)
    labels.ahead(density, given, settings.draws)
    found = variational(
        model,
        given,
        settings,
        seed=fit.config.seed,
        watch=lambda steps, bound: watch(f"step {steps:,}, ELBO {bound:.2f}"),
    )
    tree = _tree(fit, joint, density, given, found.position, found)
    verdict = judge_approximation(
        _of_population(tree, joint, data), found.weights, wrong_with_variational(found)
    )
    verdict = verdict._replace(
        table=verdict.table.assign(
            converged=int(found.converged),
            iterations=found.steps,
            elbo=float(np.mean(found.log_target - found.log_proposal)),
        )
    )
    steps = BLOCK * np.arange(1, len(found.objective) + 1)
    tree["search"] = xr.DataTree(
        xr.Dataset({"objective": ("iteration", found.objective)}, coords={"iteration": steps})
    )
    words = [
        f"variational family: {found.family.replace('_', ' ')} in {found.dimension} dimensions"
        + (", chosen by their number" if settings.guide == "auto" else "")
    ]
    if found.skipped:
        words.append(f"{found.skipped} steps had no finite gradient and were left out")
    counts = {"steps": found.steps, "particles": settings.particles}
    return Approximated(tree, verdict, counts, _told(fit, words))


def _tree(
    fit: Fit,
    joint: Joint,
    density: Density,
    given: Mapping[str, Any],
    position: Mapping[str, Any],
    found: Any,
) -> xr.DataTree:
    """The draws as ArviZ's groups, marked for what they are."""
    chain = {name: values[None] for name, values in position.items()}
    stats = {
        "lp": found.log_target[None],
        "log_proposal": found.log_proposal[None],
        "log_weight": found.weights.log[None],
    }
    others = {"sample_stats": stats}
    tree = labels.tree_of(density, given, chain, others, **results.axes(fit, joint))
    tree["posterior"].attrs.update(method=fit.config.method, approximate=1)
    return tree


def _of_population(tree: xr.DataTree, joint: Joint, data: Data) -> xr.Dataset:
    posterior = tree["posterior"].to_dataset()
    names = jax.eval_shape(joint.constrained, np.zeros(len(joint.names)), data)
    return posterior[[name for name in names if name in posterior]]


def _belonging(joint: Joint, found: NormalApproximation) -> dict[str, Any]:
    """Of a mixture, how probable its components are for each subject at the estimates, random
    effects integrated out."""
    each = found.maximum.marginal.of_components
    if each is None:
        return {}
    return {
        f"probability_{name}": ((results.component_of(name), "subject"), of)
        for name, of in joint.by_category(probabilities(np.asarray(each))).items()
    }


def _fit_of(found: NormalApproximation, measured: int, values: int) -> dict[str, float]:
    """How well the data are fitted, at the maximum; `values`: measured, or below a limit."""
    log_likelihood, count = found.maximum.log_likelihood, len(found.maximum.theta)
    return {
        "converged": int(found.converged),
        "iterations": found.maximum.iterations,
        "evaluations": found.maximum.evaluations,
        "parameters": count,
        "log_likelihood": log_likelihood,
        "minus_two_log_likelihood": -2.0 * log_likelihood,
        "objective_function_value": float(objective_function_value(log_likelihood, measured)),
        "aic": -2.0 * log_likelihood + 2.0 * count,
        "bic": -2.0 * log_likelihood + count * float(np.log(values)),
        "condition_number": condition_number(found.covariance),
        "importance_minus_two_log_likelihood": -2.0 * found.log_likelihood,
        "importance_standard_error": 2.0 * found.standard_error,
    }


def _words_of_normal(fit: Fit, found: NormalApproximation, joint: Joint) -> list[str]:
    settings = fit.config.approximation
    target = "marginal posterior" if settings.priors else "likelihood, priors left out"
    proposals = settings.proposals(joint.subjects)
    own = " and of its subpopulation, drawn before" if joint.components > 1 else ""
    words = [
        f"estimates are at the maximum of the {target}, in unconstrained coordinates",
        f"covariance: {settings.covariance}",
        "random effects are drawn from each subject's normal posterior given each draw of the "
        f"population{own}",
        f"draws were checked against the {target}, effects integrated out by "
        + (f"{proposals} importance samples a subject" if proposals else "the same expansion"),
    ]
    if found.indefinite is not None:
        words.append("draws are those of a substitute for the covariance that there is not")
    at = found.maximum.marginal
    if bent := int(np.sum(worst(~np.asarray(at.definite), at.of_components))):
        words.append(
            f"the exact information of {bent} of {joint.subjects} subjects is not that of a "
            "maximum; the expected one stands in for it"
        )
    if joint.components > 1:
        words += _words_of_components(found)
    if lost := int(np.sum(found.failed > 0)):
        words.append(f"some individual mode was not found for {lost} of {len(found.x)} draws")
    return words


def _words_of_components(found: NormalApproximation) -> list[str]:
    above = 2.0 * (np.max(found.searches) - np.sort(found.searches)[::-1])
    others = above[above >= SAME]
    searched = (
        "searches from the middle of the prior and from draws of it, where these let the "
        f"subpopulations differ: {len(above) - len(others)} of {len(above)} came to the highest "
        "maximum"
    )
    if len(others):
        ended = ", ".join(f"{each:.2f}" for each in others)
        searched += f", the others to {ended} more in −2 log density"
    return [
        "each subpopulation has individual modes and an expansion of its own; a subject's "
        "likelihood is the sum over them, each with its share",
        searched,
        "subpopulations are named by their priors: without these, two of them may change names "
        "from fit to fit",
    ]


def _told(fit: Fit, words: list[str]) -> dict[str, Any]:
    given = fit.config.approximation.model_dump()
    return {
        "method": fit.label,
        **{name: given[name] for name in USED[fit.config.method] if given[name] is not None},
        "told": [*words, *fit.notes],
    }
