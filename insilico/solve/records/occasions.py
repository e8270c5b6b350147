"""Parameters that change between occasions, put into the event table of their patients."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from insilico.model import Model
from insilico.solve.records.table import RecordTable


def in_occasions(model: Model, parameters: Any, table: RecordTable) -> tuple[Any, RecordTable]:
    """Parameters and event table for a solve of a model from `by_occasion`.

    **Arguments:**

    - `parameters`: the model's `Parameters`, arrays (patients,); those that vary (occasions,
      patients), each with as many as it has.
    - `table`: from `Records.by_occasion`: it has the number of each record's occasion in the place
      of what varies.

    The results may be differentiated with respect to the parameters.
    """
    count = len(model.varying)
    if not count:
        return parameters, table
    first: dict[str, Any] = {}
    values: list[Any] = []
    for name, number in zip(model.varying, table.values[-count:], strict=True):
        own = jnp.asarray(getattr(parameters, name))
        which = jnp.arange(own.shape[0])[:, None, None]
        # A sum over few occasions: its derivative is one, too, where that of an index scatters.
        chosen = jnp.sum(jnp.where(jnp.asarray(number)[None] == which, own[:, None], 0.0), axis=0)
        first[name] = chosen[0]
        values.append(chosen)
    return parameters._replace(**first), table._replace(
        values=(*table.values[:-count], *values), after=(*table.after[:-count], *values)
    )
