"""Population parameters at the maximum of the marginal likelihood, and their standard errors.

The quasi-Newton method with limited memory (Nocedal, Math Comput 1980; 35:773-782, by optax) along
exact gradients, with a line search that halves the step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from cohorts.inference.components import lanes_of
from cohorts.inference.expansions import JointDensity
from cohorts.inference.marginal_likelihood import Marginal, Method, scored
from cohorts.inference.modes import SEARCH, Modes, Search
from cohorts.inference.side_by_side import modes_ahead, modes_at
from insilico.programs import quickly, shared
from insilico.solve.blocks import compiler_options

MEMORY = 20
"""Steps remembered: about as many as there are population parameters."""
SUFFICIENT = 1e-4
HALVINGS = 30
LONGEST = 1.0
"""Largest change of a coordinate in a step: they are logarithms and the like."""
DIFFERENCE = 2e-3
"""Step of the central differences of gradients."""


class NoStartError(ValueError):
    """The likelihood is not finite where a search was to set out."""


class IndefiniteError(ValueError):
    """A matrix of standard errors is not positive definite."""


class Maximum(NamedTuple):
    """Where the likelihood, or with a prior the posterior density of the parameters, is largest.

    - `theta`: (P,), unconstrained. `gradient`: (P,), there, of the log likelihood and prior.
    - `log_likelihood`: the total, with the constants of the normal density and without the prior.
    - `marginal`: what it is made of, subject by subject.
    - `converged`: whether one more step promised less than the tolerance. `iterations`, and
      `evaluations` of the likelihood with its gradient.
    """

    theta: np.ndarray
    gradient: np.ndarray
    log_likelihood: float
    marginal: Marginal
    converged: bool
    iterations: int
    evaluations: int


class _Evaluation(NamedTuple):
    value: float
    gradient: np.ndarray
    found: Marginal
    scores: np.ndarray


def maximise(
    joint: JointDensity,
    data: Any,
    theta: Float[Array, " P"] | np.ndarray,
    *,
    method: Method = "focei",
    prior: bool = False,
    search: Search = SEARCH,
    iterations: int = 200,
    tolerance: float = 1e-8,
    watch: Callable[[int, float], None] | None = None,
) -> Maximum:
    """Maximise the marginal likelihood of all subjects, from `theta`.

    - `prior`: with the density of the population's prior on the unconstrained coordinates.
    - `tolerance`: gain of log likelihood that one more step promises where the search ends.
    - `watch`: called after each iteration with its number, from 0 at the start, and what is
      maximised there.

    Raises `NoStartError` where `theta` leaves a subject without a place of finite density.
    """
    evaluate = _Evaluator(joint, data, method, prior, search)
    theta = np.asarray(theta, float)
    now = evaluate(theta, None)
    if not np.isfinite(now.value):
        impossible = np.flatnonzero(~np.isfinite(np.asarray(now.found.value)))
        raise NoStartError(
            f"at the start the log likelihood of {len(impossible)} subjects is not finite (numbers "
            f"{', '.join(map(str, impossible[:10]))}): start from other population parameters"
        )
    if watch is not None:
        watch(0, now.value)
    begin, remember = _memory()
    state = begin(jnp.asarray(theta))
    evaluations, iteration, converged = 1, 0, False
    for iteration in range(1, iterations + 1):
        downhill, state = remember(jnp.asarray(-now.gradient), state, jnp.asarray(theta))
        direction = -np.asarray(downhill)
        promised = float(direction @ now.gradient)
        if not promised > 0.0:
            # What was remembered is no use here: set out anew along the gradient.
            state = begin(jnp.asarray(theta))
            direction, promised = now.gradient, float(now.gradient @ now.gradient)
        if promised < 2.0 * tolerance:
            converged = True
            break
        step = min(1.0, LONGEST / float(np.max(np.abs(direction))))
        for _ in range(HALVINGS):
            there = evaluate(theta + step * direction, now.found.modes.x)
            evaluations += 1
            if there.value >= now.value + SUFFICIENT * step * promised:
                break
            step /= 2.0
        else:
            break
        theta, now = theta + step * direction, there
        if watch is not None:
            watch(iteration, now.value)
    total = float(np.sum(now.found.value))
    return Maximum(theta, now.gradient, total, now.found, converged, iteration, evaluations)


def ahead(
    joint: JointDensity,
    coordinates: int,
    data: Any,
    method: Method = "focei",
    search: Search = SEARCH,
) -> None:
    """Begin to compile what `maximise` takes long to."""
    modes_ahead(joint, coordinates, data, search)
    modes = Modes.blank(len(joint.effects), lanes_of(joint))
    _programs(joint, method)[0].ahead(np.zeros(coordinates), modes, data)


class _Evaluator(NamedTuple):
    """Log likelihood, with the prior's density if asked for, and its gradient at any `theta`."""

    joint: JointDensity
    data: Any
    method: Method
    prior: bool
    search: Search

    def __call__(self, theta: np.ndarray, start: Any) -> _Evaluation:
        return self.at_all(theta[None], start)[0]

    def at_all(self, theta: Float[np.ndarray, "places P"], start: Any) -> list[_Evaluation]:
        """At several places, whose modes are looked for side by side."""
        modes = modes_at(self.joint, theta, self.data, start, self.search)
        each = [jax.tree.map(lambda leaf, i=i: leaf[i], modes) for i in range(len(theta))]
        return [self._at(place, own) for place, own in zip(theta, each, strict=True)]

    def _at(self, theta: np.ndarray, modes: Modes) -> _Evaluation:
        likelihood, log_prior = _programs(self.joint, self.method)
        found, of_subjects = jax.tree.map(np.asarray, likelihood(theta, modes, self.data))
        value, gradient = float(np.sum(found.value)), np.sum(of_subjects, axis=1)
        if self.prior:
            density, slope = log_prior(theta, self.data)
            value, gradient = value + float(density), gradient + np.asarray(slope)
        return _Evaluation(value, gradient, found, of_subjects)


@functools.lru_cache(maxsize=16)
def _programs(joint: JointDensity, method: Method) -> tuple[Any, Any]:
    options = compiler_options()

    @functools.partial(shared, options=options)
    @functools.partial(jax.jit, compiler_options=options)
    def likelihood(theta: Array, modes: Modes, data: Any) -> Any:
        return scored(joint, theta, modes, data, method)

    return likelihood, quickly(jax.value_and_grad(joint.log_prior))


@functools.cache
def _memory() -> tuple[Any, Any]:
    memory = optax.scale_by_lbfgs(MEMORY)
    return jax.jit(memory.init), jax.jit(memory.update)


Covariance = Literal["sandwich", "hessian", "scores"]


def covariance(
    joint: JointDensity,
    data: Any,
    at: Maximum,
    *,
    kind: Covariance = "sandwich",
    method: Method = "focei",
    prior: bool = False,
    search: Search = SEARCH,
    curvature: Float[np.ndarray, "P P"] | None = None,
) -> Float[np.ndarray, "P P"]:
    """Covariance of the estimates in the unconstrained coordinates.

    With R, minus the second derivatives of the log likelihood (central differences of its exact
    gradient), and S, the sum over subjects of products of their scores, as in NONMEM: `sandwich` is
    R⁻¹ S R⁻¹, `hessian` R⁻¹, `scores` S⁻¹. With a prior, `hessian` alone has a meaning, as the
    covariance of Laplace's approximation of the posterior. `curvature`: R, if it is known already.

    Raises `IndefiniteError` where R, or S, is not positive definite: then some of the parameters
    are not determined by the data, or `at` is no maximum.
    """
    evaluate = _Evaluator(joint, data, method, prior, search)
    start = at.marginal.modes.x
    if kind == "scores":
        return _inverse(_products_of_scores(evaluate(at.theta, start)), "S")
    if curvature is None:
        curvature = curvature_at(joint, data, at, method=method, prior=prior, search=search)
    inverse = _inverse(curvature, "R")
    if kind == "hessian":
        return inverse
    return inverse @ _products_of_scores(evaluate(at.theta, start)) @ inverse


def curvature_at(
    joint: JointDensity,
    data: Any,
    at: Maximum,
    *,
    method: Method = "focei",
    prior: bool = False,
    search: Search = SEARCH,
) -> Float[np.ndarray, "P P"]:
    """Minus the second derivatives of what is maximised: R, by differences of its gradient."""
    evaluate, start = _Evaluator(joint, data, method, prior, search), at.marginal.modes.x
    steps = DIFFERENCE * np.eye(len(at.theta))
    around = evaluate.at_all(at.theta + np.concatenate([steps, -steps]), start)
    above, below = np.split(np.stack([each.gradient for each in around]), 2)
    curvature = (below - above) / (2.0 * DIFFERENCE)
    return 0.5 * (curvature + curvature.T)


def _products_of_scores(at: _Evaluation) -> np.ndarray:
    return at.scores @ at.scores.T


def _inverse(matrix: np.ndarray, name: str) -> np.ndarray:
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    if not lowest > 0.0:
        raise IndefiniteError(
            f"matrix {name} of the standard errors is not positive definite (lowest eigenvalue "
            f"{lowest:.2g}): the data do not determine every parameter, or this is no maximum"
        )
    return np.linalg.inv(matrix)


def standard_errors(
    constrained: Callable[[Array, Any], dict[str, Array]],
    theta: Float[np.ndarray, " P"],
    data: Any,
    covariance: Float[np.ndarray, "P P"],
) -> dict[str, np.ndarray]:
    """Standard errors of the named parameters, by the delta method.

    `constrained` gives them at `theta`, whose covariance is given, and `data`, as
    `Joint.constrained` does.
    """
    slopes = quickly(jax.jacfwd(constrained))(np.asarray(theta), data)
    return {
        name: np.sqrt(np.einsum("...p,pq,...q->...", np.asarray(j), covariance, np.asarray(j)))
        for name, j in slopes.items()
    }
