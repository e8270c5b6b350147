"""The posterior of a population's parameters as a normal distribution about its maximum.

The marginal posterior, random effects integrated out by FOCEI or Laplace's method, is searched for
its maximum in the unconstrained coordinates; its curvature there gives their covariance. The random
effects of a draw of the population are drawn from each subject's normal approximation about its
mode, found anew for that draw: so that they go with it, and vary as much as the population says.
Of a mixture the subject's component is drawn first, by how probable each is at that draw.

The likelihood of a mixture has several maxima, one where the components have changed places, and a
stationary point wherever they are the same. So it is searched from several starts, at which they
are not the same, and the highest maximum counts.

How far the draws stand for the posterior, weights say: its density over the normal one at each of
them, subjects' effects integrated out by importance sampling (Vehtari et al., J Mach Learn Res
2024; 25:72).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cohorts.inference import maximum_likelihood
from cohorts.inference.components import (
    alike,
    apart,
    chosen,
    drawn,
    lane_keys,
    lanes_of,
    probabilities,
    worst,
)
from cohorts.inference.density import ModelError
from cohorts.inference.expansions import JointDensity, cholesky, spread_by
from cohorts.inference.importance_sampling import sampled_marginal, standard_draws, weighed
from cohorts.inference.marginal_likelihood import Method
from cohorts.inference.maximum_likelihood import (
    IndefiniteError,
    Maximum,
    NoStartError,
    covariance,
    curvature_at,
    maximise,
)
from cohorts.inference.modes import Modes
from cohorts.inference.pareto_smoothing import Weights
from cohorts.inference.settings import Approximation
from cohorts.inference.side_by_side import (
    for_places,
    marginals_at,
    on_devices,
    on_devices_ahead,
)
from insilico.programs import Shared, quickly
from insilico.randomness import address, purpose_key

AT_REST = 0.01
"""Distance from the maximum, in standard errors, at which a search has found it even where it could
not come closer: the error of a solve keeps it from doing so."""

FLAT = 0.1
"""Curvature of a coordinate with a bound below which the data do not keep it from there: its
standard error is more than three, as a logarithm a factor of twenty."""

WIDEST = 1.0
"""Standard deviation of draws along what is not determined, where the covariance is none."""


class NormalApproximation(NamedTuple):
    """A normal distribution in the place of the posterior, draws of it, and their weights.

    - `maximum`: where it is centred. `objective`: (iterations + 1,), what was maximised, at the
      start and after each iteration. `converged`: whether it was found. `searches`: (searches,),
      the largest value of each search; one without a mixture.
    - `curvature`: (P, P), there; `covariance`: (P, P), of the unconstrained coordinates;
      `indefinite`: why that is none, in words, in which case draws are those of a substitute.
    - `free`: the numbers of coordinates that have a bound and nothing that keeps them from it.
    - `theta`: (draws, P), `x`: (draws, K, subjects). `failed`: (draws,), how many subjects' modes
      were not found.
    - `log_target`, `log_proposal`: (draws,), and the `weights` that follow.
    - `log_likelihood`, `standard_error`: of all data at the maximum, by importance sampling, with
      its Monte Carlo error; NaN without.
    """

    maximum: Maximum
    objective: Float[np.ndarray, " points"]
    converged: bool
    searches: Float[np.ndarray, " searches"]
    curvature: Float[np.ndarray, "P P"]
    covariance: Float[np.ndarray, "P P"]
    indefinite: str | None
    free: tuple[int, ...]
    theta: Float[np.ndarray, "draws P"]
    x: Float[np.ndarray, "draws K subjects"]
    failed: Int[np.ndarray, " draws"]
    log_target: Float[np.ndarray, " draws"]
    log_proposal: Float[np.ndarray, " draws"]
    weights: Weights
    log_likelihood: float
    standard_error: float


def normal_approximation(
    joint: JointDensity,
    data: Any,
    starts: Float[np.ndarray, "starts P"],
    settings: Approximation | None = None,
    *,
    method: Method = "focei",
    seed: int,
    bounded: np.ndarray | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> NormalApproximation:
    """Approximate the posterior, or without priors the likelihood, of a population's parameters.

    **Arguments:**

    - `starts`: where the search sets out: the first of these at which all subjects are possible; of
      a mixture each of these, at which its components are not the same.
    - `settings`: `draws`, `priors`, `covariance`, `importance_samples`, `iterations`, `tolerance`.
    - `bounded`: (P,), which coordinates stand for something that has a bound; default: none.
    - `watch`: called after each iteration of a search with its number and what is maximised.

    Raises `ModelError` where some subject is impossible at every start.
    """
    settings = settings or Approximation()
    proposals = settings.proposals(joint.subjects)
    _ahead(joint, data, np.shape(starts)[-1], proposals, method)
    searches = _searches(joint, data, starts, settings, method, watch)
    found, objective = max(searches, key=lambda each: each[1][-1])
    of = {"method": method, "prior": settings.priors}
    curvature = curvature_at(joint, data, found, **of)
    try:
        spread = covariance(joint, data, found, kind=settings.covariance, curvature=curvature, **of)
        indefinite = None
    except IndefiniteError as error:
        spread, indefinite = _substitute(curvature), str(error)
    distance = float(np.sqrt(found.gradient @ spread @ found.gradient))
    free = np.flatnonzero((np.diag(curvature) < FLAT) & (False if bounded is None else bounded))
    root = purpose_key(seed, "normal approximation")
    factor = np.linalg.cholesky(spread)
    shape = (settings.draws, len(found.theta))
    standard = np.asarray(quickly(lambda key: jax.random.normal(key, shape))(address(root, 0)))
    theta = found.theta + standard @ factor.T
    log_proposal = -0.5 * np.sum(np.square(standard), axis=1)
    about = _about(joint, data, found, theta, proposals, method, address(root, 1))
    log_prior = _log_prior(joint)(theta, data) if settings.priors else np.zeros(len(theta))
    log_target = about.log_likelihood[1:] + np.asarray(log_prior)
    sampled = proposals > 0
    return NormalApproximation(
        maximum=found,
        objective=np.array(objective),
        converged=found.converged or (indefinite is None and distance < AT_REST),
        searches=np.array([values[-1] for _, values in searches]),
        curvature=curvature,
        covariance=spread,
        indefinite=indefinite,
        free=tuple(map(int, free)),
        theta=theta,
        x=about.x[1:],
        failed=about.failed[1:],
        log_target=log_target,
        log_proposal=log_proposal,
        weights=Weights.of(log_target, log_proposal),
        log_likelihood=float(about.log_likelihood[0]) if sampled else np.nan,
        standard_error=float(about.standard_error[0]) if sampled else np.nan,
    )


def _searches(
    joint: JointDensity,
    data: Any,
    starts: np.ndarray,
    settings: Approximation,
    method: Method,
    watch: Callable[[int, float], None] | None,
) -> list[tuple[Maximum, list[float]]]:
    """Where searches ended, and what was maximised on the way: of one, or of a mixture of all."""
    why, found = "there is no start", []
    for start in _apart(joint, data, np.atleast_2d(starts), method):
        objective: list[float] = []

        def note(iteration: int, value: float, values: list[float] = objective) -> None:
            values.append(value)
            if watch is not None:
                watch(iteration, value)

        try:
            maximum = maximise(
                joint,
                data,
                start,
                method=method,
                prior=settings.priors,
                iterations=settings.iterations,
                tolerance=settings.tolerance,
                watch=note,
            )
        except NoStartError as error:
            why = str(error)
            continue
        found.append((maximum, objective))
        if joint.components == 1:
            break
    if not found:
        raise ModelError(f"the search for the maximum finds nowhere to set out: {why}")
    return found


def _apart(joint: JointDensity, data: Any, starts: np.ndarray, method: Method) -> np.ndarray:
    """The starts at which a mixture's components are not the same, where there are any."""
    if joint.components == 1:
        return starts
    each = marginals_at(joint, starts, data, method=method).of_components
    assert each is not None
    good = [not alike(of_start) for of_start in each]
    return starts[good] if any(good) else starts


def _substitute(curvature: np.ndarray) -> np.ndarray:
    """A covariance in the place of the inverse that an indefinite curvature does not have."""
    sizes, axes = np.linalg.eigh(curvature)
    return (axes / np.maximum(sizes, WIDEST**-2)) @ axes.T


def _ahead(
    joint: JointDensity, data: Any, coordinates: int, proposals: int, method: Method
) -> None:
    """Begin to compile what takes long to, so that the machine's cores do it side by side."""
    maximum_likelihood.ahead(joint, coordinates, data, method)
    effects, subjects, lanes = len(joint.effects), joint.subjects, lanes_of(joint)
    blank = Modes.blank(effects, lanes)
    proposed = np.zeros((lanes, proposals, effects))
    normal = np.zeros((subjects, 1, effects))
    component = np.zeros(subjects, int) if joint.components > 1 else None
    own = (np.zeros(coordinates), blank.x, blank.information, normal, component)
    own = jax.tree.map(lambda leaf: np.asarray(leaf)[None], own)
    on_devices_ahead(_program(joint, proposals), joint, (data, proposed), own)


class _About(NamedTuple):
    """Of each draw of the population: its subjects' effects, and all their data's likelihood."""

    x: np.ndarray
    failed: np.ndarray
    log_likelihood: np.ndarray
    standard_error: np.ndarray


def _about(
    joint: JointDensity,
    data: Any,
    maximum: Maximum,
    theta: np.ndarray,
    proposals: int,
    method: Method,
    key: Any,
) -> _About:
    """Of the maximum itself, and of each of the draws `theta`."""
    rows = np.concatenate([maximum.theta[None], theta])
    found = marginals_at(joint, rows, data, maximum.marginal.modes.x, method=method)
    effects, subjects = len(joint.effects), joint.subjects
    standard = _standard(subjects, effects, proposals, joint.components)
    normal, proposed, uniform = jax.tree.map(np.asarray, standard(key, np.arange(len(rows))))
    component = None
    if found.of_components is not None:
        component = drawn(probabilities(found.of_components), uniform)
    own = (rows, found.modes.x, found.information, normal, component)
    x, *sampled = on_devices(_program(joint, proposals), joint, (data, proposed), own)
    failed = np.sum(worst(found.modes.status, found.of_components) > 0, axis=1)
    value, error = sampled or (np.sum(found.value, axis=1), np.zeros(len(rows)))
    return _About(x, failed, value, error)


@functools.lru_cache(maxsize=16)
def _standard(subjects: int, effects: int, proposals: int, components: int) -> Callable[..., Any]:
    def draw(key: Any, rows: Array) -> tuple[Array, Array, Array | None]:
        of_subjects = jnp.arange(subjects)

        def of_row(row: Array) -> Array:
            own = jax.vmap(address, in_axes=(None, None, None, 0))(key, 1, row, of_subjects)
            return jax.vmap(lambda key: jax.random.normal(key, (1, effects)))(own)

        # The same for all draws, so that the error of one draw's likelihood is nearly the others'.
        keys = jax.vmap(address, in_axes=(None, None, 0))(key, 0, of_subjects)
        keys = lane_keys(keys, components)
        proposed = jax.vmap(lambda key: standard_draws(key, proposals, effects))(keys)
        uniform = None
        if components > 1:
            of_places = jax.vmap(address, in_axes=(None, None, None, 0))
            places = jax.vmap(of_places, in_axes=(None, None, 0, None))(key, 2, rows, of_subjects)
            uniform = jax.vmap(jax.vmap(jax.random.uniform))(places)
        return jax.vmap(of_row)(rows), proposed, uniform

    return quickly(draw)


@functools.lru_cache(maxsize=16)
def _program(joint: JointDensity, proposals: int) -> Shared:
    def of_place(data: Any, proposed: Array, own: tuple[Any, ...]) -> tuple[Array, ...]:
        theta, x, information, normal, component = own
        factor, _ = cholesky(information)
        mode, of_mode = x, factor
        if component is not None:
            mode, of_mode = chosen(x, component), chosen(factor.T, component).T
        effects = mode + spread_by(of_mode, normal)[0]
        if not proposals:
            return (effects,)
        _, log_weights = weighed(joint, theta, data, x, factor, proposed)
        value, errors, _ = sampled_marginal(apart(log_weights, joint.components))
        return effects, jnp.sum(value), jnp.sqrt(jnp.sum(jnp.square(errors)))

    return for_places(of_place)


@functools.lru_cache(maxsize=16)
def _log_prior(joint: JointDensity) -> Callable[..., Any]:
    return quickly(jax.vmap(joint.log_prior, in_axes=(0, None)))
