"""What is told of a config beside its mistakes."""

from pathlib import Path

from trials import read

COAG = Path(__file__).parents[2] / "configs" / "warfarin_coag.yaml"


def test_a_revision_on_days_without_a_visit_is_told():
    (note,) = read(COAG, ["arms.clinically_guided.revision.days=[5, 6]", "sensitivity={}"]).notes
    assert note.startswith("arms.clinically_guided.revision: no visit is scheduled on day 5 or 6")


def test_a_longest_step_that_nothing_looks_at_is_told():
    (note,) = read(COAG, ["solver.step=1 h", "sensitivity={}"]).notes
    assert note.startswith("solver.step: tsit5 finds its steps by itself")
    assert not read(COAG, ["solver={method: rk4, step: 1 h}", "sensitivity={}"]).notes
