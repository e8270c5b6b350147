"""Arguments of solves inside a traced program: arrays of double precision of as many patients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from insilico.model import Model
from insilico.solve.events import Events
from insilico.solve.records import Layout
from insilico.solve.rows import Schedule, Shape


def refuse_parameters(model: Model, parameters: Any) -> None:
    """Raise `ValueError` for what is no model and for parameters that are not its own."""
    if not isinstance(model, Model):
        raise ValueError(
            f"model must be an insilico.model.Model, as insilico.models.get(name) gives it; "
            f"found {type(model).__name__}"
        )
    if not isinstance(parameters, model.Parameters):
        raise ValueError(
            f"parameters of model {model.name} must be its Parameters; "
            f"found {type(parameters).__name__}"
        )


def aligned(
    model: Model, parameters: Any, events: Schedule, pattern: Shape, others: Any
) -> tuple[Any, Any, Any]:
    """Parameters, events and others, such as a rule's subject, which have the patients' axis last.

    A parameter that is one number is every patient's. Raises `ValueError` for parameters that are
    not the model's or not one number a patient, for events that are not of the pattern, for arrays
    of different numbers of patients, whose last patient would stand for those that are missing, and
    for no patients at all.
    """
    refuse_parameters(model, parameters)
    _refuse_events(events, pattern)
    for leaf in jax.tree.leaves(parameters):
        if np.ndim(leaf) > 1 or jnp.result_type(leaf).kind not in "fiu":
            raise ValueError(
                f"parameters of model {model.name} must be numbers or arrays (patients,) of them; "
                f"found {jnp.result_type(leaf)} of shape {np.shape(leaf)}"
            )
    parameters = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), parameters)
    events, others = jax.tree.map(_in_double, (events, others))
    own = [leaf for leaf in jax.tree.leaves(parameters) if leaf.ndim]
    own += [leaf for leaf in jax.tree.leaves(events) if leaf.ndim == 2]
    shapes = {leaf.shape for leaf in (*own, *jax.tree.leaves(others))}
    if len({shape[-1:] for shape in shapes}) > 1:
        raise ValueError(
            f"parameters, events and others of different lengths: arrays of shapes "
            f"{', '.join(map(str, sorted(shapes)))}, whose last axis has to be the patients'"
        )
    patients = next(iter(shapes), (1,))[-1]
    if patients == 0:
        raise ValueError("there are no patients: the arrays of parameters are empty")
    parameters = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (patients,)), parameters)
    return parameters, events, others


def _refuse_events(events: Schedule, pattern: Shape) -> None:
    table = isinstance(pattern, Layout)
    if isinstance(events, Events) is table:
        raise ValueError(
            "events and pattern must be those of `schedule`, or the two parts of "
            f"`Records.laid_out`; found {type(events).__name__} and {type(pattern).__name__}"
        )
    rows = np.shape(jax.tree.leaves(events if isinstance(events, Events) else events.row)[0])[0]
    if rows != pattern.rows:
        raise ValueError(
            f"events have {rows} rows, and the pattern {pattern.rows}: both come from one call"
        )


def _in_double(leaf: Any) -> Array:
    value = jnp.asarray(leaf)
    return value.astype(float) if jnp.issubdtype(value.dtype, jnp.floating) else value
