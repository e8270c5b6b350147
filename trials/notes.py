"""What is worth knowing of a config that is no mistake in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insilico.solve.methods import ADAPTIVE, CLOSED_FORM
from trials.config import TrialConfig
from trials.dosing import VisitDays
from trials.eligible import eligibility_notes
from trials.late import late_notes
from trials.protocol import Protocol
from trials.rounding import rounding_notes
from trials.windows import window_notes


def notes_of(config: TrialConfig, protocol: Protocol, values: Mapping[str, Any]) -> list[str]:
    """A sentence for each thing that may surprise, beginning with its place in the config.

    `values`: of candidates, what they are and what a visit may find, by name.
    """
    margins = config.cohort.covariates.marginals
    return [
        *eligibility_notes(protocol.cohort, margins, values),
        *late_notes(protocol),
        *_revisions(protocol),
        *rounding_notes(protocol, values),
        *window_notes(config, protocol),
        *_step(config, protocol),
    ]


def _revisions(protocol: Protocol) -> list[str]:
    """Revisions on days on which nobody is to be seen."""
    if not isinstance(protocol.visits, VisitDays):
        return []
    scheduled = set(protocol.visits.days)
    return [
        f"arms.{arm.name}.revision: no visit is scheduled on day "
        f"{' or '.join(map(str, arm.rule.revision_days))}, so that only those are revised whom a "
        "missed visit or a recheck brings there"
        for arm in protocol.arms
        if arm.rule.revision_days and not scheduled & set(arm.rule.revision_days)
    ]


def _step(config: TrialConfig, protocol: Protocol) -> list[str]:
    """A longest step that the method does not look at."""
    method = config.solver.method or protocol.model.method
    if config.solver.step is None or method not in (*ADAPTIVE, *CLOSED_FORM):
        return []
    return [f"solver.step: {method} finds its steps by itself, and does not look at this"]
