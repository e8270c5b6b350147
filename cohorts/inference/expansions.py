"""What approximations of individuals and of their marginal likelihood need of a joint density."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from insilico.solve import Derivative


class JointDensity(Protocol):
    """What is asked of a joint density here; `cohorts.inference.Joint` is one.

    `theta` are the population's unconstrained coordinates, (P,), and `x` the subjects', (K,
    subjects), in the order of `effects`. `data` is a tree of arrays whose last axis is the
    subjects'. What the functions give for a subject does not depend on the others.

    Where there are several `components`, a mixture, `by_component` gives the density of all
    subjects in the first, in the second and so on, which is none, and their data: see
    `cohorts.inference.components`. Expansions are of that.
    """

    @property
    def effects(self) -> tuple[str, ...]: ...
    @property
    def subjects(self) -> int: ...
    @property
    def components(self) -> int: ...
    def by_component(self, data: Any) -> tuple[Any, Any]: ...
    def log_prior(self, theta: Array) -> Array: ...
    def log_effects(self, theta: Array, x: Array, data: Any) -> Array: ...
    def predicted(self, theta: Array, x: Array, data: Any, derivative: Derivative | None) -> Any:
        """A NamedTuple with `mean` and `sd`, (…, records, subjects), on the scale on which the
        residual error is normal, differentiable as `derivative` says (see `solve_traced`)."""
        ...

    def log_likelihood(self, predicted: Any, data: Any) -> Array: ...


def log_density(
    joint: JointDensity,
    theta: Float[Array, " P"],
    x: Float[Array, "K subjects"],
    data: Any,
    derivative: Derivative | None = "forward",
) -> Float[Array, " subjects"]:
    """Log density of each subject's effects and data; -inf where its solve failed."""
    predicted = joint.predicted(theta, x, data, derivative)
    return joint.log_effects(theta, x, data) + joint.log_likelihood(predicted, data)


class Expansion(NamedTuple):
    """Each subject's log density about a place, to second order.

    - `value`: (subjects,); `gradient`: (K, subjects).
    - `information`: (K, K, subjects), the negative of its second derivatives, exact or expected.
    """

    value: Float[Array, " subjects"]
    gradient: Float[Array, "K subjects"]
    information: Float[Array, "K K subjects"]


def expand_exactly(
    joint: JointDensity, theta: Float[Array, " P"], x: Float[Array, "K subjects"], data: Any
) -> Expansion:
    """With the second derivatives of the log density, which need not be those of a maximum."""
    return _expand(lambda x: log_density(joint, theta, x, data), x)


def expand_expected(
    joint: JointDensity, theta: Float[Array, " P"], x: Float[Array, "K subjects"], data: Any
) -> Expansion:
    """With the information that is expected of normal measurements: first derivatives suffice.

    It is that of the first-order conditional estimate with interaction: of a measured value with
    mean f and standard deviation s it is (f' f'ᵀ + 2 s' s'ᵀ) / s², never negative. Values below a
    limit count by the curvature of their log density in f in place of 1/s², correlated residuals by
    the inverse of their covariance, for which the second term is an approximation.
    """

    def predict(x: Array) -> tuple[tuple[Array, Array], Any]:
        predicted = joint.predicted(theta, x, data, "forward")
        return (predicted.mean, predicted.sd), predicted

    def likelihood(mean: Array, sd: Array) -> Array:
        return joint.log_likelihood(predicted._replace(mean=mean, sd=sd), data)

    def score(mean: Array, sd: Array) -> tuple[Array, Array]:
        return jax.grad(lambda *scales: jnp.sum(likelihood(*scales)), argnums=(0, 1))(mean, sd)

    (mean, sd), (of_mean, of_sd), predicted = along_effects(predict, x, has_aux=True)
    score_mean, score_sd = score(mean, sd)
    gradient = jnp.einsum("k...s,...s->ks", of_mean, score_mean)
    gradient += jnp.einsum("k...s,...s->ks", of_sd, score_sd)

    def informed(direction: Array) -> Array:
        return -jax.jvp(lambda mean: score(mean, sd)[0], (mean,), (direction,))[1]

    # Side by side, since what is vectorised has to be compiled but once.
    directions = jnp.concatenate([of_mean, of_sd])
    changes = jax.vmap(informed)(directions).reshape(2, *of_mean.shape)
    information = _products(of_mean, changes[0]) + 2.0 * _products(of_sd, changes[1])
    effects = _expand(lambda x: joint.log_effects(theta, x, data), x)
    return Expansion(
        effects.value + likelihood(mean, sd),
        effects.gradient + gradient,
        effects.information + information,
    )


def _expand(function: Callable[[Array], Array], x: Array) -> Expansion:
    def gradient(x: Array) -> tuple[Array, Array]:
        value, slopes = along_effects(function, x)
        return slopes, value

    slopes, curvature, value = along_effects(gradient, x, has_aux=True)
    return Expansion(value, slopes, -curvature)


def _products(first: Array, second: Array) -> Array:
    """Sums over records of products of each with each, (K, …, subjects) to (K, K, subjects)."""
    return jnp.einsum("k...s,l...s->kls", first, second)


def along_effects(
    function: Callable[[Array], Any], x: Float[Array, "K subjects"], *, has_aux: bool = False
) -> tuple[Any, ...]:
    """`function(x)`, its derivatives along each effect on a new first axis, and its `aux`.

    All subjects move at once, which tells their derivatives apart because no subject's values
    depend on another's effects.
    """
    effects = x.shape[0]

    def along(direction: Array) -> tuple[Any, ...]:
        moved = jnp.broadcast_to(direction[:, None], x.shape)
        return jax.jvp(function, (x,), (moved,), has_aux=has_aux)

    axes = (None, 0, None) if has_aux else (None, 0)
    return jax.vmap(along, out_axes=axes)(jnp.eye(effects, dtype=x.dtype))


def at_centre(
    joint: JointDensity, theta: Float[Array, " P"], data: Any
) -> tuple[Float[Array, "K subjects"], Float[Array, "K K subjects"]]:
    """Where the subjects' effects are most likely without their data, and their precision there.

    Exact for normal effects, for which it is one step of Newton's method from anywhere.
    """
    anywhere = jnp.zeros((len(joint.effects), joint.subjects))
    effects = _expand(lambda x: joint.log_effects(theta, x, data), anywhere)
    return anywhere + solve(effects.information, effects.gradient), effects.information


class Linearised(NamedTuple):
    """What subjects' effects predict, and how that changes with each of them.

    - `mean`, `sd`: (records, subjects), on the scale on which the residual error is normal.
    - `slopes`: (K, records, subjects), of `mean` by each effect.
    - `eta`: (K, subjects), the effects less the centre of the population, and `covariance`: (K, K,
      subjects), theirs in the population.
    """

    mean: Float[Array, "records subjects"]
    sd: Float[Array, "records subjects"]
    slopes: Float[Array, "K records subjects"]
    eta: Float[Array, "K subjects"]
    covariance: Float[Array, "K K subjects"]


def linearised(
    joint: JointDensity, theta: Float[Array, " P"], x: Float[Array, "K subjects"], data: Any
) -> Linearised:
    """Individual predictions about `x`, for residuals, and the random effects, for shrinkage."""

    def predict(x: Array) -> tuple[Array, Array]:
        predicted = joint.predicted(theta, x, data, "forward")
        return predicted.mean, predicted.sd

    mean, slopes, sd = along_effects(predict, x, has_aux=True)
    centre, precision = at_centre(joint, theta, data)
    covariance = jnp.linalg.inv(jnp.moveaxis(precision, -1, 0))
    return Linearised(mean, sd, slopes, x - centre, jnp.moveaxis(covariance, 0, -1))


def solve(
    matrix: Float[Array, "K K subjects"], right: Float[Array, "K subjects"]
) -> Float[Array, "K subjects"]:
    """The solution of each subject's system of equations."""
    per_subject = jnp.linalg.solve(jnp.moveaxis(matrix, -1, 0), right.T[..., None])
    return per_subject[..., 0].T


def cholesky(
    matrix: Float[Array, "K K subjects"],
) -> tuple[Float[Array, "subjects K K"], Bool[Array, " subjects"]]:
    """Lower Cholesky factors, and whether the matrices are positive definite.

    Of one that is not it is the identity, so that nothing that follows is NaN.
    """
    per_subject = jnp.moveaxis(matrix, -1, 0)
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    found = jnp.linalg.cholesky(jax.lax.stop_gradient(per_subject))
    definite = jnp.all(jnp.isfinite(found), axis=(-2, -1))
    safe = jnp.where(definite[:, None, None], per_subject, identity)
    return jnp.linalg.cholesky(safe), definite


def spread_by(
    factor: Float[Array, "subjects K K"], standard: Float[Array, "subjects draws K"]
) -> Float[Array, "draws K subjects"]:
    """Standard draws as deviations whose information has these Cholesky factors."""
    upper = jnp.swapaxes(factor, 1, 2)
    spread = jax.scipy.linalg.solve_triangular(upper, jnp.swapaxes(standard, 1, 2), lower=False)
    return jnp.transpose(spread, (2, 1, 0))
