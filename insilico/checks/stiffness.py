"""How stiff a model is along its solutions, and whether its method goes with that."""

from __future__ import annotations

import numpy as np

from insilico.checks.findings import NOT_OK, OK, Finding
from insilico.checks.situations import PATIENTS, Situation, nonzero_rates
from insilico.checks.solves import STABLE, failures, solved
from insilico.solve import Tolerances
from insilico.solve.methods import ADAPTIVE, EXPONENTIAL, STIFF

STABLE_FIXED = {"rk4": 2.785, "euler_maruyama": 2.0, "milstein": 2.0}
"""The same of methods of stated steps; of those for noise, of their deterministic part."""

PAYS_STIFF = 5.0
"""Explicit steps a stiff one from which on a stiff method is faster: one of its steps takes about
as long as five explicit ones."""

PAYS_EXPLICIT = 1.0
"""Explicit steps a stiff one below which an explicit method certainly is."""


def stiffness(situation: Situation) -> list[Finding]:
    """The ratio of rates along solutions, and what explicit steps would be limited to."""
    model = situation.model
    solution = solved(situation, situation.without_noise, "rodas5p", Tolerances())
    failed = failures(solution.status)
    if failed:
        return [Finding("stiffness", "stiffness", NOT_OK, None, None, f"by rodas5p {failed}")]
    components = len(model.components())
    states = np.stack(list(solution.outputs)[:components], axis=-1)
    slopes = situation.jacobians(situation.times, states, situation.parameters)
    if not np.isfinite(slopes).all():
        what = "the Jacobian is not finite along solutions"
        return [Finding("stiffness", "stiffness", NOT_OK, None, None, what)]
    eigenvalues = np.linalg.eigvals(slopes)
    rates = nonzero_rates(eigenvalues)
    spread = rates if np.isfinite(rates).any() else np.ones(1)
    ratio = float(np.nanmax(spread) / np.nanmin(spread))
    fastest = np.abs(eigenvalues).max(axis=-1)
    step = STABLE / fastest.max() if fastest.max() > 0.0 else np.inf
    detail = (
        f"largest by smallest |Re λ| over {PATIENTS} patients and {len(situation.times)} times; "
        f"explicit steps are limited to {step:.2g} {model.time_unit}"
    )
    found = [Finding("stiffness", "stiffness", OK, ratio, None, detail)]
    lengths = np.diff(situation.times, prepend=0.0)
    forced = (fastest * lengths).sum(axis=1) / STABLE
    return [*found, _method(situation, fastest, float(np.median(forced / solution.steps)))]


def _method(situation: Situation, fastest: np.ndarray, forced: float) -> Finding:
    model, what = situation.model, "method"
    if model.method in EXPONENTIAL:
        return Finding.skipped(
            "stiffness", what, f"{model.method} takes gates exponentially: no limit of stability"
        )
    if model.method not in ADAPTIVE:
        if model.step is None:
            return Finding.skipped("stiffness", what, f"{model.method}, and no step is stated")
        return Finding.within(
            "stiffness",
            what,
            model.step * float(fastest.max()),
            STABLE_FIXED[model.method],
            f"{model.method}: the stated step in time constants of the fastest rate",
        )
    advice = "either explicit or stiff"
    advice = "stiff" if forced > PAYS_STIFF else "explicit" if forced < PAYS_EXPLICIT else advice
    counted = f"explicit steps that stability forces, a step of rodas5p; recommended: {advice}"
    declared = f"{model.method} is declared; {counted}"
    if model.method in STIFF:
        verdict = NOT_OK if forced < PAYS_EXPLICIT else OK
        detail = f"{declared} (below {PAYS_EXPLICIT:g}: explicit)"
        return Finding("stiffness", what, verdict, forced, None, detail)
    return Finding.within("stiffness", what, forced, PAYS_STIFF, declared)
