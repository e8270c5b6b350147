"""Formulas that are used while a covariate of theirs is not known, and say nothing of that."""

from __future__ import annotations

from trials.dosing import Formula
from trials.naming import UNKNOWN
from trials.protocol import Protocol


def late_notes(protocol: Protocol) -> list[str]:
    """Which last formulas of an arm take a covariate that is late for none of its categories.

    The last of several formulas serves those for whom no other one can, known or not.
    """
    notes = []
    for arm in protocol.arms:
        for place, formulas in (("start", arm.start), ("revision", arm.rule.revision)):
            silent = [] if not formulas else _silent(protocol, formulas[-1])
            if silent:
                notes.append(
                    f"arms.{arm.name}.{place}: {formulas[-1].name} serves patients whose "
                    f"{' and '.join(silent)} {'is' if len(silent) == 1 else 'are'} not known yet, "
                    f'and has no term for "{UNKNOWN}": they count as none of the categories that '
                    "it names; add a formula that goes without"
                )
    return notes


def _silent(protocol: Protocol, formula: Formula) -> list[str]:
    """The late covariates that a formula reads without a word of their being unknown."""
    expression = formula.expression
    return [
        name
        for name in protocol.late.codes
        if name in expression.names and UNKNOWN not in expression.categories(name)
    ]
