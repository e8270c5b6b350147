"""The joint density as a NumPyro model, for its samplers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpyro
from jaxtyping import Array, Int
from numpyro import handlers

from cohorts.inference.joint import Joint
from cohorts.inference.partial_centring import SAMPLED, PartlyCentred, standardised
from cohorts.inference.patients import Data
from insilico.solve import Status

Shares = Mapping[str, Any]
"""For a random effect of `Joint.effects` how it is sampled: 1 as itself, which it is, too, where it
is not named; 0 as a standard normal number; or in between. One number, or one a subject. Centred
suits effects about which a subject's data say much."""


def model_of(joint: Joint) -> Callable[..., None]:
    """The joint density as a NumPyro model `(data, centred)` of its data and of `Shares`, none if
    left out. Both are arguments of compiled programs: which effects are named is structure alone.

    Besides the sites of the population there are the factor `measured`, each subject's likelihood
    in the plate `subject`, and `failed_solves`, how many there were; of a mixture, too, by the name
    of its category the code that is most probable for each subject, and `probability_<name>`,
    (codes, subjects), how probable each is; the subjects' own parameters are then those of who
    belongs to the most probable one. The model raises `ValueError` for an effect that there is not.
    """

    def model(data: Data) -> None:
        typical = _typical(joint, data)
        effects = _sampled_effects(joint, typical, data)
        membership: Mapping[str, Any] = {}
        if joint.components == 1:
            likelihood, status = joint.log_likelihood_by(typical, effects, data)
        else:
            predicted = joint.predicted_by(typical, effects, data)
            likelihood, status = joint.log_likelihood(predicted, data), predicted.status
            membership = joint.membership(predicted, data)
        numpyro.deterministic("failed_solves", jnp.sum(status != Status.OK))
        likeliest = {name: jnp.argmax(each, axis=0) for name, each in membership.items()}
        with joint.plate:
            for name, probability in membership.items():
                numpyro.deterministic(name, likeliest[name])
                numpyro.deterministic(f"probability_{name}", probability)
            numpyro.factor("measured", likelihood)
        if membership:
            _described(joint, typical, effects, likeliest, data)

    return _as_sampled(joint, model)


def prior_of(joint: Joint) -> Callable[..., None]:
    """`model_of` without the likelihood, so that nothing is solved: what there is before any data.

    It has the same sites of the population and its subjects, random effects of their own scale
    included.
    """

    def model(data: Data) -> None:
        _sampled_effects(joint, _typical(joint, data), data)

    return _as_sampled(joint, model)


def as_sampled(
    joint: Joint, values: Mapping[str, Array], data: Data, centred: Shares
) -> dict[str, Array]:
    """Values of all sites with those of random effects replaced by what `model_of` samples.

    **Arguments:**

    - `values`: of the population's and its subjects' sites by name, of one draw.
    """
    with handlers.block(), handlers.trace() as sites, handlers.substitute(data=dict(values)):
        _sampled_effects(joint, _typical(joint, data), data)
    result = dict(values)
    for name, share in centred.items():
        result[name + SAMPLED] = standardised(result.pop(name), sites[name]["fn"], share)
    return result


def _typical(joint: Joint, data: Data) -> Any:
    return joint.population.typical_values(joint.options, data.hyperparameters)


def _parameters(joint: Joint, typical: Any, data: Data) -> None:
    joint.population.parameters(
        typical, data.covariates, joint.options, data.hyperparameters, joint.occasions
    )


def _sampled_effects(joint: Joint, typical: Any, data: Data) -> dict[str, Array]:
    """Sites of the subjects, in their plate; returns the random effects' values.

    To which component of a mixture a subject belongs is no site: it is summed over. So what depends
    on it, the subject's own parameters, is no site either; `_described` has these.
    """
    hidden = joint.mixtures

    def hide(site: dict[str, Any]) -> bool:
        return site["name"] in hidden or (bool(hidden) and site["type"] == "deterministic")

    with (
        handlers.trace() as sites,
        handlers.block(hide_fn=hide),
        handlers.substitute(data=joint.belonging(0)),
        joint.plate,
    ):
        _parameters(joint, typical, data)
    return {name: sites[name]["value"] for name in joint.effect_sites}


def _described(
    joint: Joint,
    typical: Any,
    effects: Mapping[str, Array],
    belonging: Mapping[str, Int[Array, " subjects"]],
    data: Data,
) -> None:
    """Sites, all deterministic, of subjects who belong to these components of a mixture and have
    these random effects."""
    with (
        handlers.block(hide_fn=lambda site: site["type"] != "deterministic"),
        handlers.substitute(data={**effects, **belonging}),
        joint.plate,
    ):
        _parameters(joint, typical, data)


def _as_sampled(joint: Joint, model: Callable[[Data], None]) -> Callable[..., None]:
    def sampled(data: Data, centred: Shares | None = None) -> None:
        shares = centred or {}
        if unknown := [name for name in shares if name not in joint.effects]:
            raise ValueError(
                f"no random effect is called {', '.join(unknown)}; there are "
                f"{', '.join(joint.effects)}"
            )
        config: Any = {name: PartlyCentred(share) for name, share in shares.items()}
        with handlers.reparam(config=config):
            model(data)

    return sampled
