"""Dosing as data: formulas, loading, revision, titration, and the rule that carries them out."""

from typing import TYPE_CHECKING

import lazy_loader

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

# The rule runs in the solver and needs JAX, which checking a config should not wait for.
__getattr__, *_ = lazy_loader.attach(__name__, submod_attrs={"rule": ["DosingRule", "Person"]})
