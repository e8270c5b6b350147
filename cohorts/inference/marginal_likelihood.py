"""The marginal likelihood of each subject's data, its effects integrated out approximately.

Laplace's method about the individual modes, with the exact second derivatives there, or with those
that are expected of normal measurements: the first-order conditional estimate with interaction,
FOCEI (Lindstrom and Bates, Biometrics 1990; 46:673-687; Wang, J Pharmacokinet Pharmacodyn 2007;
34:575-593).

Of a mixture each component has modes and an expansion of its own, and the marginal likelihood is
the sum over components of share times marginal likelihood, as with NONMEM's $MIX.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from cohorts.inference.components import apart, log_sum, on_lanes, probabilities
from cohorts.inference.expansions import (
    Expansion,
    JointDensity,
    cholesky,
    expand_exactly,
    expand_expected,
)
from cohorts.inference.modes import SEARCH, Modes, ModeStatus, Search, individual_modes

Method = Literal["laplace", "focei"]


class Marginal(NamedTuple):
    """Marginal log likelihood of each subject's data.

    - `value`: (subjects,), with the constants of the normal density; -inf where no place of finite
      density was found.
    - `modes`: about which it is expanded.
    - `information`: (K, K, lanes), the one that was used.
    - `definite`: (lanes,), whether the exact information is that of a maximum; where not, the
      expected one stands in for it.
    - `of_components`: of a mixture (components, subjects), the logarithms of each component's share
      times its marginal likelihood, which `value` is the sum of; else None.
    """

    value: Float[Array, " subjects"]
    modes: Modes
    information: Float[Array, "K K lanes"]
    definite: Bool[Array, " lanes"]
    of_components: Float[Array, "components subjects"] | None = None


def marginal(
    joint: JointDensity,
    theta: Float[Array, " P"],
    data: Any,
    start: Float[Array, "K lanes"] | None = None,
    *,
    method: Method = "focei",
    search: Search = SEARCH,
) -> Marginal:
    """Marginal log likelihood of each subject's data at the population parameters `theta`.

    Its `value` has an exact derivative with respect to `theta`, forwards and in reverse (`jax.jvp`,
    `jax.grad`), once; see `scores`. `start`: where the search for the modes sets
    out; default: the centre of the population.
    """
    here = jax.lax.stop_gradient(theta)
    modes = individual_modes(joint, here, data, start, search)
    found = about_modes(joint, here, modes, data, method)

    @jax.custom_jvp
    def following(theta: Array, value: Array, modes: Modes, data: Any) -> Array:
        return value

    @following.defjvp
    def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
        theta, _, modes, data = primals
        found, by_theta = scored(joint, theta, modes, data, method)
        return found.value, jnp.einsum("ps,p->s", by_theta, tangents[0])

    return found._replace(value=following(theta, found.value, modes, data))


def scores(
    joint: JointDensity,
    theta: Float[Array, " P"],
    data: Any,
    start: Float[Array, "K lanes"] | None = None,
    *,
    method: Method = "focei",
    search: Search = SEARCH,
) -> tuple[Marginal, Float[Array, "P subjects"]]:
    """The marginal log likelihood of each subject, and its gradient by the population parameters.

    The gradient is exact: the modes move with `theta` so that the gradient by the effects stays
    zero (implicit function theorem), and the information changes with both. It is zero for subjects
    without a place of finite density; where the expected information stands in for the exact one,
    it lacks the change of that. Of a mixture it is the mean of its components' gradients, by their
    probabilities for the subject.
    """
    modes = individual_modes(joint, theta, data, start, search)
    return scored(joint, theta, modes, data, method)


def about_modes(
    joint: JointDensity, theta: Float[Array, " P"], modes: Modes, data: Any, method: Method
) -> Marginal:
    """`marginal`, given the modes; without derivatives."""
    if method == "focei":
        return _together(_about(modes, modes.log_density, modes.information), joint.components)
    lanes, tiled = on_lanes(joint, data)
    exact = expand_exactly(lanes, theta, modes.x, tiled)
    return _together(_about(modes, exact.value, exact.information), joint.components)


def _together(of_lanes: Marginal, components: int) -> Marginal:
    """That of subjects, by those of their lanes."""
    if components == 1:
        return of_lanes
    each = apart(of_lanes.value, components)
    return of_lanes._replace(value=log_sum(each), of_components=each)


def _about(modes: Modes, value: Array, information: Array) -> Marginal:
    """Of lanes."""
    _, definite = cholesky(information)
    used = jnp.where(definite, information, modes.information)
    factor, _ = cholesky(used)
    log_root = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)), axis=1)
    constant = 0.5 * modes.x.shape[0] * math.log(2.0 * math.pi)
    possible = modes.status != ModeStatus.NO_START
    value = jnp.where(possible, value + constant - log_root, -jnp.inf)
    return Marginal(value, modes, used, definite)


def scored(
    joint: JointDensity, theta: Float[Array, " P"], modes: Modes, data: Any, method: Method
) -> tuple[Marginal, Float[Array, "P subjects"]]:
    """`scores`, given the modes."""
    expand = expand_expected if method == "focei" else expand_exactly
    lanes, tiled = on_lanes(joint, data)

    def along(of_theta: Array, of_x: Array) -> tuple[Expansion, Expansion]:
        moved = jnp.broadcast_to(of_x[:, None], modes.x.shape)
        return jax.jvp(
            lambda theta, x: expand(lanes, theta, x, tiled), (theta, modes.x), (of_theta, moved)
        )

    population, effects = theta.shape[0], modes.x.shape[0]
    directions = jnp.eye(population + effects, dtype=theta.dtype)
    here, change = jax.vmap(along, out_axes=(None, 0))(
        directions[:, :population], directions[:, population:]
    )
    found = _about(modes, here.value, here.information)
    inverse = jnp.linalg.inv(jnp.moveaxis(found.information, -1, 0))
    growth = jnp.einsum("skl,dkls->ds", inverse, change.information)
    partial = change.value - 0.5 * jnp.where(found.definite, growth, 0.0)
    # As theta moves, so do the modes: their exact information times the move is the gradient's.
    exact = jnp.moveaxis(-change.gradient[population:], -1, 0)
    move = jnp.linalg.solve(exact, jnp.transpose(change.gradient[:population], (2, 1, 0)))
    gradient = partial[:population] + jnp.einsum("ks,skp->ps", partial[population:], move)
    usable = jnp.isfinite(found.value) & jnp.all(jnp.isfinite(gradient), axis=0)
    gradient = jnp.where(usable, gradient, 0.0)
    together = _together(found, joint.components)
    if together.of_components is not None:
        probability = probabilities(together.of_components)
        gradient = jnp.sum(probability * apart(gradient, joint.components), axis=-2)
    return together, gradient


def objective_function_value(log_likelihood: Any, measured: int) -> Any:
    """-2 log likelihood as NONMEM and nlmixr2 report it.

    Without the constant ln 2π of each of the `measured` values (those below a limit have none).
    """
    return -2.0 * log_likelihood - measured * math.log(2.0 * math.pi)
