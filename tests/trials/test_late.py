"""What is told of formulas that are used before their covariates are known."""

from pathlib import Path

from trials import read

COAG = Path(__file__).parents[2] / "configs" / "warfarin_coag.yaml"


def notes_of(formulas: str) -> list[str]:
    return read(COAG, [f"arms.genotype_guided.start={formulas}", "sensitivity={}"]).notes


def test_a_last_formula_that_says_nothing_of_the_unknown_is_told():
    (note,) = notes_of("[gage2008_pharmacogenetic]")
    assert "arms.genotype_guided.start: gage2008_pharmacogenetic serves patients whose " in note
    assert "vkorc1 and cyp2c9 are not known yet" in note


def test_a_last_formula_that_goes_without_or_has_a_term_for_it_is_fine():
    assert notes_of("[gage2008_pharmacogenetic, gage2008_clinical]") == []
    assert notes_of("[iwpc2009_pharmacogenetic]") == []
