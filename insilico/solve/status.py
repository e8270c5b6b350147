"""How a subject's solve ended."""

import enum


class Status(enum.IntEnum):
    """One a subject. Everything but `OK` is a failure that is counted, listed and shown."""

    OK = 0
    STEP_LIMIT = 1
    """Needed more than `max_steps`: too stiff for an explicit method, or the limit is too low."""
    NOT_FINITE = 2
    """No step, however small, gave a finite state within tolerance."""
    LATE_VISIT = 3
    """A rule asked for two visits closer together than its shortest recheck interval."""


DESCRIPTIONS = {
    Status.OK: "solved",
    Status.STEP_LIMIT: "step limit reached",
    Status.NOT_FINITE: "state not finite, or step size underflow",
    Status.LATE_VISIT: "visits closer together than the rule's shortest recheck interval",
}
