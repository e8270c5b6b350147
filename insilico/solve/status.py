"""How a subject's solve ended."""

import enum


class Status(enum.IntEnum):
    """One a subject. Everything but `OK` is a failure that is counted, listed and shown."""

    OK = 0
    STEP_LIMIT = 1
    """Needed more than `max_steps`, though its steps were not kept short by stability."""
    NOT_FINITE = 2
    """No step, however small, gave a finite state within tolerance; or the state was finite, and an
    output at an observation was not."""
    LATE_VISIT = 3
    """A rule asked for two visits closer together than its shortest recheck interval."""
    IMPOSSIBLE_DOSING = 4
    """A lag or bioavailability below 0, or a modelled duration or rate that is not above 0."""
    NO_STEADY_STATE = 5
    """The doses of a steady-state record lead to none that could be found."""
    TOO_MANY_OVERLAPS = 6
    """At a steady-state record more doses were under way than the layout has rows for."""
    LEFT_DOMAIN = 7
    """A component fell below the `lowest` that the model declares, by more than errors explain."""
    STIFF = 8
    """Needed more than `max_steps`, each as long as an explicit method's stability allows."""
    TOO_MANY_TRIGGERED = 9
    """The state set off more events between two rows than the schedule has slots for."""


DESCRIPTIONS = {
    Status.OK: "solved",
    Status.STEP_LIMIT: "step limit reached",
    Status.NOT_FINITE: "state or output not finite, or step size underflow",
    Status.LATE_VISIT: "visits closer together than the rule's shortest recheck interval",
    Status.IMPOSSIBLE_DOSING: "lag or bioavailability below 0, duration or rate not above 0, or an "
    "infusion too short for the clock",
    Status.NO_STEADY_STATE: "no steady state found",
    Status.TOO_MANY_OVERLAPS: "more doses under way at a steady state than there are rows for",
    Status.LEFT_DOMAIN: "state below the lowest that the model allows",
    Status.STIFF: "step limit reached, too stiff for an explicit method",
    Status.TOO_MANY_TRIGGERED: "more events set off by the state between two rows than slots",
}
