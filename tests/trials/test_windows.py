"""What is told of endpoints that scheduled visits cannot give, and whether it is so."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from insilico.config import ConfigError
from trials import read
from trials.dosing import VisitDays
from trials.evaluation import endpoints_of

COAG = Path(__file__).parents[2] / "configs" / "warfarin_coag.yaml"

# COAG sees patients on days 1, 4, 7, 10, 14, 21 and 28.
WINDOWS = [
    ("time_in_range", {"low": 2, "high": 3, "from_day": 4, "to_day": 28}, True),
    ("time_in_range", {"low": 2, "high": 3, "from_day": 22, "to_day": 27}, True),
    ("time_in_range", {"low": 2, "high": 3, "from_day": 22, "longest_gap": "6 d"}, False),
    ("time_in_range", {"low": 2, "high": 3, "from_day": 22, "longest_gap": "7 d"}, True),
    ("last", {"from_day": 2, "to_day": 3}, False),
    ("last", {"from_day": 2, "to_day": 4}, True),
    ("mean", {"from_day": 22, "to_day": 27}, False),
    ("any_at_or_above", {"threshold": 4, "from_day": 28}, True),
    ("time_to_range", {"low": 2}, True),
]


def tried(kind: str, fields: dict) -> tuple[bool, bool]:
    """Whether an endpoint is told to have no value from the schedule, and whether it has one."""
    given = ", ".join(f"{name}: {value}" for name, value in fields.items())
    changes = [f"endpoints.tried={{kind: {kind}, of: inr, {given}}}", "sensitivity={}"]
    study = read(COAG, changes)
    told = [note for note in study.notes if note.startswith("endpoints.tried: ")]
    visits = study.protocol.visits
    assert isinstance(visits, VisitDays)
    days = np.array([visits.time(float(day)) / 24.0 for day in visits.days])
    alone = study.config.model_copy(
        update={"endpoints": {"tried": study.config.endpoints["tried"]}}
    )
    values = {"inr_measured": jnp.full(days.size, 2.5)}
    seen = jnp.ones(days.size, bool)
    found = endpoints_of(alone, jnp.asarray(days, jnp.float32), seen, values)
    return bool(told), bool(found["tried"]["valid"])


@pytest.mark.parametrize(("kind", "fields", "possible"), WINDOWS)
def test_endpoints_without_a_visit_are_told(kind, fields, possible):
    assert tried(kind, fields) == (not possible, possible)


def test_where_there_are_no_other_visits_they_are_mistakes(bioequivalence):
    late = "endpoints.late={kind: last, of: concentration, from_day: 3}"
    with pytest.raises(ConfigError) as caught:
        read(bioequivalence, ["trial.duration=4 d", late])
    (problem,) = caught.value.problems
    assert problem.field == "endpoints.late"
    assert problem.message == "has no value for anybody: no visit is in its window"
