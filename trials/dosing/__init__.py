"""Dosing as data: formulas, loading, revision, titration, and the rule that carries them out."""

from trials.dosing.formulas import Formula, LateKnowledge, library, preferred_dose
from trials.dosing.rule import ArmRule, DoseSizes, DosingRule, Person, Schedule
from trials.dosing.titration import Titration, band_problems

__all__ = [
    "ArmRule",
    "DoseSizes",
    "DosingRule",
    "Formula",
    "LateKnowledge",
    "Person",
    "Schedule",
    "Titration",
    "band_problems",
    "library",
    "preferred_dose",
]
