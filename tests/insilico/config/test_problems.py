"""Messages: one line each, with the nearest valid word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insilico.config import Problem, nearest
from insilico.config.problems import either, listed, shown


def test_a_problem_is_one_line_in_the_order_one_reads_it() -> None:
    problem = Problem("c.yaml", 12, 5, "a.b", "must be x", "y", "x or z", 'did you mean "x"?')
    assert str(problem) == (
        'c.yaml:12:5: a.b: must be x; found y; allowed: x or z; did you mean "x"?'
    )


@pytest.mark.parametrize(
    ("word", "choices", "expected"),
    [
        ("doze", ["dose", "every", "kind"], "dose"),
        ("Dose", ["dose", "close"], "dose"),
        ("target-inr", ["target_inr", "target"], "target_inr"),
        ("repl", ["replicates", "dose"], "replicates"),
        ("hamberg", ["warfarin_hamberg2010", "iwpc2009"], "warfarin_hamberg2010"),
        ("2010", ["hamberg2010", "lenzini2010"], None),
        ("xyzzy", ["dose", "every"], None),
        ("", ["dose"], None),
        ("dose", [], None),
    ],
)
def test_the_nearest_word(word: str, choices: list[str], expected: str | None) -> None:
    assert nearest(word, choices) == expected


@given(st.text(), st.lists(st.text(), max_size=5))
def test_the_nearest_word_is_a_choice_and_a_choice_is_its_own_nearest(word, choices) -> None:
    assert nearest(word, choices) in (None, *choices)
    if word in choices and len(word) < 50:
        found = nearest(word, choices)
        assert found is not None
        assert found.casefold().replace("-", "_").replace(" ", "_") == (
            word.casefold().replace("-", "_").replace(" ", "_")
        )


@given(st.text(max_size=200))
def test_shown_text_is_one_short_printable_line(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) < 800


def test_values_in_words() -> None:
    words = {
        "a": '"a"',
        None: "nothing",
        True: "true",
        3: "3",
        (): "an empty list",
        (1,): "a list of 1",
    }
    assert [shown(value) for value in words] == list(words.values())
    assert (shown({}), shown({"a": 1})) == ("an empty section", "a section")
    assert either(["a", "b", "c"]) == "a, b or c"
    assert listed(range(100)).endswith("23, … (100 in all)")
