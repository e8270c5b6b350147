"""The joint density as a NumPyro model, for its samplers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import handlers
from numpyro.infer.reparam import LocScaleReparam

from cohorts.inference.joint import Joint
from cohorts.inference.patients import Data
from insilico.solve import Status


def model_of(
    joint: Joint, centred: Mapping[str, float | np.ndarray] | None = None
) -> Callable[[Data], None]:
    """The joint density as a NumPyro model of its data.

    **Arguments:**

    - `centred`: for a random effect of `joint.effects` how it is sampled: 1 as itself (the
      default), 0 as a standard normal number, or in between; one number, or one a subject.
      Centred suits effects about which a subject's data say much.

    Besides the sites of the population there are the factor `measured`, each subject's likelihood
    in the plate `subject`, and `failed_solves`, how many there were; of a mixture, too, by the name
    of its category the code that is most probable for each subject, and `probability_<name>`, how
    probable; the subjects' own parameters are then those of who belongs there. Raises `ValueError`
    for an effect that there is not.
    """
    shares: Mapping[str, Any] = centred or {}
    if unknown := [name for name in shares if name not in joint.effects]:
        raise ValueError(
            f"no random effect is called {', '.join(unknown)}; there are {', '.join(joint.effects)}"
        )

    def model(data: Data) -> None:
        typical = joint.population.typical_values(joint.options)
        effects = joint.sampled_effects(typical, data)
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
                numpyro.deterministic(f"probability_{name}", jnp.max(probability, axis=0))
            numpyro.factor("measured", likelihood)
        if membership:
            joint.described(typical, effects, likeliest, data)

    config: Any = {name: LocScaleReparam(centered=share) for name, share in shares.items()}
    reparametrised: Any = handlers.reparam(model, config=config)
    return reparametrised
