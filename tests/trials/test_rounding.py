"""What is told of doses that rounding changes more than a reader may expect."""

from pathlib import Path

import pytest

from trials import read

COAG = Path(__file__).parents[2] / "configs" / "warfarin_coag.yaml"
FIXED = (
    "formulas={five: {expression: 5}}",
    "arms.clinically_guided.start=[five]",
    "drug.weekly_rounding=null",
)


def notes_of(*overrides: str) -> list[str]:
    return read(COAG, overrides).notes


def test_tablets_of_the_trial_are_small_enough():
    assert notes_of() == []


@pytest.mark.parametrize(
    ("tablet", "swallowed"),
    [("0.25 mg", None), ("1 mg", "5 %, −5 %"), ("2.5 mg", "10 %, 5 %, −5 %, −10 %, −15 %")],
)
def test_changes_that_leave_the_starting_dose_as_it_is_are_told(tablet, swallowed):
    """5 mg and 5 % more are 5.25 mg, which in tablets of 1 mg are 5 mg; 10 % more are 6 mg."""
    found = [note for note in notes_of(*FIXED, f"drug.rounding={tablet}") if "clinically" in note]
    if swallowed is None:
        assert found == []
        return
    (note,) = found
    assert f"arms.clinically_guided.titration: a change of {swallowed} leaves most" in note
    assert "5 mg becomes 5 mg again" in note


def test_doses_that_are_rounded_to_none_are_told():
    lowest = "drug.lowest=null"
    small = "formulas={five: {expression: 1.2 if age < 50 else 5}}"
    found = notes_of(*FIXED[1:], small, "drug.rounding=2.5 mg", lowest)
    assert any("arms.clinically_guided.start" in note and "get no drug" in note for note in found)
    of_placebo = notes_of(*FIXED[1:], "formulas={five: {expression: 0}}", "drug.rounding=1 mg")
    assert not any("clinically_guided" in note for note in of_placebo)


def test_a_limit_that_sets_most_doses_is_told():
    (note,) = (note for note in notes_of(*FIXED, "drug.highest=1 mg") if "clinically" in note)
    assert note.endswith("drug.highest, which is of one dose, sets that of 100 % of candidates")


def test_a_revision_that_may_stop_the_drug_for_good_is_told():
    stops = "formulas={stops: {expression: 0 if inr > 3 else dose}}"
    revised = "arms.clinically_guided.revision={days: [4], formulas: [stops]}"
    (note,) = notes_of(stops, revised)
    assert note.startswith("arms.clinically_guided.revision: stops may give 0")
    assert notes_of(stops, revised, "arms.clinically_guided.titration=null") == []
    assert notes_of("formulas={stops: {expression: dose * 2.5 / inr}}", revised) == []
