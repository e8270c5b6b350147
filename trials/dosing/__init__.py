"""Dosing as data: formulas, loading, revision, titration, and the rule that carries them out."""

import importlib
from typing import TYPE_CHECKING, Any

from trials.dosing.formulas import Formula, LateKnowledge, library, preferred_dose
from trials.dosing.regimen import (
    HOURS_A_DAY,
    LAGS,
    MINUTE,
    ArmRule,
    DoseSizes,
    Schedule,
    VisitDays,
    VisitTimes,
)
from trials.dosing.titration import Titration, band_problems

if TYPE_CHECKING:
    from trials.dosing.rule import DosingRule, Person

__all__ = [
    "HOURS_A_DAY",
    "LAGS",
    "MINUTE",
    "ArmRule",
    "DoseSizes",
    "DosingRule",
    "Formula",
    "LateKnowledge",
    "Person",
    "Schedule",
    "Titration",
    "VisitDays",
    "VisitTimes",
    "band_problems",
    "library",
    "preferred_dose",
]


def __getattr__(name: str) -> Any:
    # The rule runs in the solver and needs JAX, which checking a config should not wait for.
    if name in ("DosingRule", "Person"):
        return getattr(importlib.import_module("trials.dosing.rule"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
