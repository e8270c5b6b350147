"""Rules whose functions take what they have in them as arguments, so that it has derivatives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from insilico.solve.courses import Course, Plan, Rule, Visit
from insilico.solve.replays import closure_converted


@dataclasses.dataclass(frozen=True)
class OpenedRule:
    """A rule whose functions take the arrays that they have in them as their first argument."""

    start: Callable[..., Plan]
    visit: Callable[..., tuple[Any, Plan]]
    administer: Callable[..., tuple[tuple[Array, ...], Plan]]

    @classmethod
    def of(cls, rule: Rule, course: Course, subject: Any) -> tuple[OpenedRule, Any]:
        """The opened rule and what it had in it; `course` is one without a rule."""
        now = course.start()
        position = now.position
        plan = jax.eval_shape(rule.start, subject)
        visit = Visit(position.time, course.outputs(position, now.inputs))
        start, of_start = closure_converted(rule.start, subject)
        visited, of_visit = closure_converted(rule.visit, visit, plan, subject)
        administer, of_administer = closure_converted(rule.administer, position.time, plan, subject)
        return cls(start, visited, administer), (of_start, of_visit, of_administer)


class RuleWith:
    """An opened rule together with what it had in it: a `Rule` again."""

    def __init__(self, opened: OpenedRule, constants: Any):
        self._opened = opened
        self._of_start, self._of_visit, self._of_administer = constants

    def start(self, subject: Any) -> Plan:
        return self._opened.start(self._of_start, subject)

    def visit(self, visit: Visit, plan: Plan, subject: Any) -> tuple[Any, Plan]:
        return self._opened.visit(self._of_visit, visit, plan, subject)

    def administer(self, time: Array, plan: Plan, subject: Any) -> tuple[tuple[Array, ...], Plan]:
        return self._opened.administer(self._of_administer, time, plan, subject)
