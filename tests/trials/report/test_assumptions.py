"""What a config marks as assumed is found with its field, whichever way the comment stands."""

import pytest

from trials.report.assumptions import assumed


def written(tmp_path, text):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return [(entry.field, entry.note, entry.line) for entry in assumed(path)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n  b: 1   # ASSUMED\n", [("a.b", "", 2)]),
        ("a:\n  b: 1   # ASSUMED: it is so\n", [("a.b", "it is so", 2)]),
        ("a:\n  b: 1   # ASSUMED for the old: so\n", [("a.b", "for the old: so", 2)]),
        ("a: {b: 1, c: 2}   # ASSUMED\n", [("a", "", 1)]),
        ("a:\n  # ASSUMED: more\n  # than a line\n  b: 1\n", [("a.b", "more than a line", 2)]),
        ("# Lines marked ASSUMED are listed.\na: 1\n", []),
        ('a: "no # ASSUMED comment"\n', []),
        ("a: 'it''s # ASSUMED no comment'\n", []),
        ("a: b#ASSUMED\n", []),
        ("a:\n  - {day: 1}   # ASSUMED\n", [("a.0", "", 2)]),
        ("a: [1,\n  2]   # ASSUMED\n", [("a.1", "", 2)]),
        ("a: 1\n# ASSUMED\n# ASSUMED: twice\nb: 2\n", [("b", "", 2), ("b", "twice", 3)]),
        ("a: 1\n# ASSUMED about nothing that follows\n", []),
    ],
)
def test_a_marked_comment_belongs_to_its_field(tmp_path, text, expected):
    assert written(tmp_path, text) == expected


def test_a_file_that_is_gone_or_broken_has_no_assumptions(tmp_path):
    assert assumed(tmp_path / "gone.yaml") == []
    assert written(tmp_path, "a: [1\n# ASSUMED\n") == []


def test_coag_marks_its_titration_table(plain_study):
    found = {entry.field: entry for entry in assumed(plain_study.document.file)}
    assert "Anderson 2007" in found["titrations.by_inr"].note
    assert found["drug.weekly_rounding"].written == "weekly_rounding: 1 mg"
