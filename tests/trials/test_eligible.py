"""What is told of a cohort whose eligibility moves the margins that its config states."""

from pathlib import Path

import pytest

from trials import read

COAG = Path(__file__).parents[2] / "configs" / "warfarin_coag.yaml"
MARGINS = "cohort.covariates.marginals"


def notes_of(*criteria: str, **margins: str) -> list[str]:
    stated = [f"{MARGINS}={{{', '.join(f'{name}: {what}' for name, what in margins.items())}}}"]
    eligible = "cohort.eligibility=[" + ", ".join(f"'{text}'" for text in criteria) + "]"
    return read(COAG, [eligible, *(stated if margins else []), "sensitivity={}"]).notes


def test_criteria_that_leave_margins_as_they_are_say_nothing():
    assert notes_of("age >= 18") == notes_of() == []


@pytest.mark.parametrize(
    ("criterion", "margins", "said"),
    [
        ("weight < 70", {"sex": "{female: 0.5, male: 0.5}"}, ': "female" are 50 % of candidates'),
        ("not smoker or age > 60", {"smoker": "0.5"}, ': "yes" are 50 % of candidates'),
        ("age >= 60", {"age": "{median: 58 yr}"}, ": below 58 yr are 50 % of candidates, but 0 %"),
    ],
)
def test_margins_that_criteria_move_are_told(criterion, margins, said):
    (name,) = margins
    found = notes_of(criterion, **margins)
    assert any(f"{MARGINS}.{name}{said}" in note for note in found)


def test_so_few_that_patients_will_be_missing_are_told():
    found = notes_of("age > 90 and height > 165", ancestry="{white: 0.5, black: 0.5}")
    assert any("none of 1,000 candidates is eligible" in note for note in found)
