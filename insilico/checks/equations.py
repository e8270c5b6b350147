"""Checks that solve nothing: structure, units, what is conserved, and the Jacobian's pattern."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from insilico.checks.findings import NOT_OK, OK, Finding
from insilico.checks.situations import PATIENTS, Situation
from insilico.dimensions import inconsistencies
from insilico.model import Balance
from insilico.solve.fields import traced

BALANCED = 1e-9
"""Largest imbalance, beside all that flows: the rounding of rates that are differences of larger
ones, with room; an equation that is wrong misses by the share of what it forgets."""


def structure(situation: Situation) -> list[Finding]:
    """Whether initial state, rates and noise have the structure declared."""
    situation.model.check_structure(situation.parameters)
    gates = situation.model.gate_components()
    components = len(situation.model.components())
    detail = f"{components} state component{'s' if components > 1 else ''}"
    detail += f", {len(gates)} of them gates" if gates else ""
    return [Finding("structure", "structure", OK, None, None, detail)]


def parameters(situation: Situation) -> list[Finding]:
    """How many parameters there are that nothing depends on.

    What is only multiplied by zero, as to have its shape, does not count as depending.
    """
    model = situation.model
    state, own, inputs = situation.random_points
    time = jnp.zeros(PATIENTS)

    def everything(given: Any) -> list[Array]:
        parts: list[Any] = [
            model.initial(given),
            model.derivative(time, state, given, inputs),
            model.outputs(time, state, given),
        ]
        parts += [each(time, state, given) for each in (model.triggers, model.react) if each]
        parts += [model.diffusion(time, state, given, inputs)] if model.diffusion else []
        parts += [model.dosing(given, inputs)] if model.dosing else []
        return [jnp.asarray(leaf) for leaf in jax.tree.leaves(parts)]

    used: set[int] = set().union(*traced(everything, own).dependencies(but_zeros=True))
    unused = [name for number, name in enumerate(model.numbers("Parameters")) if number not in used]
    detail = ", ".join(unused) or "parameters that neither the equations nor outputs depend on"
    return [Finding.within("parameters", "unused parameters", len(unused), 0, detail)]


def units(situation: Situation) -> list[Finding]:
    """How many places of the equations contradict the declared units."""
    problems = inconsistencies(situation.model)
    detail = "; ".join(problems) or "places that contradict the units declared"
    return [Finding.within("units", "units", len(problems), 0, detail)]


def balances(situation: Situation) -> list[Finding]:
    """For each balance, the largest rate at random states that no flow accounts for."""
    declared = situation.model.balances
    if not declared:
        return [Finding.skipped("balances", "balances", "the model declares none")]
    return [_balance(situation, balance) for balance in declared]


def _balance(situation: Situation, balance: Balance) -> Finding:
    model = situation.model
    state, parameters, inputs = situation.random_points
    time = np.zeros(PATIENTS)
    rates = [
        jnp.broadcast_to(jnp.asarray(rate, float), (PATIENTS,))
        for rate in jax.tree.leaves(model.derivative(time, state, parameters, inputs))
    ]
    terms = []
    for index, rate in enumerate(rates):
        along = [rate if index == each else jnp.zeros(PATIENTS) for each in range(len(rates))]
        direction = jax.tree.unflatten(situation.structure, along)
        _, term = jax.jvp(lambda s: balance.total(s, parameters), (state,), (direction,))
        terms.append(np.asarray(term))
    flows = [
        np.broadcast_to(np.asarray(flow(state, parameters, inputs), float), (PATIENTS,))
        for flow in (*balance.inflows.values(), *balance.outflows.values())
    ]
    missing = np.abs(sum(terms) - np.asarray(balance.net(state, parameters, inputs)))
    size = sum(np.abs(each) for each in (*terms, *flows))
    share = np.where(missing > 0.0, missing / np.where(size > 0.0, size, 1.0), missing)
    named = ", ".join((*balance.inflows, *balance.outflows)) or "no flows"
    detail = f"share of what flows that is made or lost beside: {named}"
    return Finding.within("balances", f"balance of {balance.name}", share.max(), BALANCED, detail)


def jacobian(situation: Situation) -> list[Finding]:
    """The share of the Jacobian's entries that can differ from zero; no other one may."""
    model = situation.model
    state, parameters, inputs = situation.random_points
    flat = tuple(jax.tree.leaves(state))

    def field(time: Any, components: tuple[Any, ...]) -> tuple[Any, ...]:
        named = jax.tree.unflatten(situation.structure, list(components))
        rates = jax.tree.leaves(model.derivative(time, named, parameters, inputs))
        return tuple(jnp.broadcast_to(rate, (PATIENTS,)).astype(float) for rate in rates)

    depends = traced(field, jnp.zeros(PATIENTS), flat).dependencies()
    can = np.array([[column + 1 in each for column in range(len(flat))] for each in depends])
    zeros = jax.tree.map(jnp.zeros_like, inputs)
    slopes = np.asarray(
        jax.vmap(jax.jacfwd(situation.rates, argnums=1))(
            jnp.zeros(PATIENTS), jnp.stack(flat, axis=-1), parameters, zeros
        )
    )
    if not np.isfinite(slopes).all():
        what = f"{np.isfinite(slopes).mean():.0%} of the entries at random states are finite"
        return [Finding("jacobian", "Jacobian", NOT_OK, float(can.mean()), None, what)]
    used = np.any(slopes != 0.0, axis=0)
    detail = f"share of entries that can differ from zero; {used.mean():.2g} do at random states"
    verdict = NOT_OK if np.any(used & ~can) else OK
    return [Finding("jacobian", "Jacobian", verdict, float(can.mean()), None, detail)]
