"""A loaded config knows where its values stand, and hashes by its values alone."""

import json
import os
import subprocess
import sys

import pytest
from pydantic import Field

from insilico.config import ConfigError, Document, Expression, Name, Problem, Spec, load

TEXT = """\
title: trial   # a comment
trial:
  replicates: 10
  names: [a, b]
  empty:
arms:
  - name: a
    dose: 5 mg
"""


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (("title",), (1, 8)),
        (("trial",), (2, 1)),
        (("trial", "replicates"), (3, 15)),
        (("trial", "names"), (4, 3)),
        (("trial", "names", 1), (4, 14)),
        (("trial", "empty"), (5, 3)),
        (("arms", 0), (7, 5)),
        (("arms", 0, "dose"), (8, 11)),
        # What the file lacks is at its nearest parent.
        (("arms", 0, "every"), (7, 5)),
        (("arms", 3, "every"), (6, 1)),
        (("nowhere",), (1, 1)),
        ((), (1, 1)),
    ],
)
def test_every_value_has_its_line_and_column(read, path: tuple, where: tuple[int, int]) -> None:
    assert read(TEXT).where(path)[:2] == where


def test_a_problem_shows_what_the_file_has(read) -> None:
    document = read(TEXT)
    assert str(document.problem(("trial", "replicates"), "is too few", allowed="100 or more")) == (
        "x.yaml:3:15: trial.replicates: is too few; found 10; allowed: 100 or more"
    )
    assert str(document.problem(("title",), "is taken", hint="choose another")) == (
        'x.yaml:1:8: title: is taken; found "trial"; choose another'
    )
    assert str(document.problem(("trial", "replicates"), "is odd", key=True, found="")) == (
        "x.yaml:3:3: trial.replicates: is odd"
    )
    assert str(document.problem((), "is no trial")) == "x.yaml:1:1: is no trial"


def test_an_unknown_name_gets_the_nearest(read) -> None:
    problem = read(TEXT).unknown(("title",), "warfrin", ["warfarin", "sepsis"], "population")
    assert str(problem) == (
        'x.yaml:1:8: title: there is no population "warfrin"; allowed: warfarin, sepsis; '
        'did you mean "warfarin"?'
    )


def test_an_error_lists_its_problems_in_file_order_overrides_last() -> None:
    lines = [(0, 0), (7, 1), (2, 9), (2, 3)]
    error = ConfigError([Problem("x", line, column, "", "m") for line, column in lines])
    assert [(p.line, p.column) for p in error.problems] == [(2, 3), (2, 9), (7, 1), (0, 0)]
    assert len(str(error).splitlines()) == 4


def test_comments_and_layout_do_not_change_the_digest(read) -> None:
    first = read("a: 1\nb: {c: 5 mg}\n").digest()
    assert read("# text\nb:\n  c: '5 mg'\na: 1\n").digest() == first
    assert read("a: 2\nb: {c: 5 mg}\n").digest() != first
    assert read("a: 1.0\nb: {c: 5 mg}\n").digest() != first


def test_canonical_json_holds_the_data(read) -> None:
    document = read(TEXT)
    assert json.loads(document.resolved_json()) == document.data
    assert read("b: 1\na: é\n").resolved_json() == '{"a":"\\u00e9","b":1}'


def test_values_that_were_not_read_are_never_hashed_or_parsed(read) -> None:
    class Root(Spec):
        a: float | None = None

    document = read("a: .inf\n")
    assert document.data == {"a": None}
    for use in (document.resolved_json, document.digest, lambda: document.parse(Root)):
        with pytest.raises(ConfigError, match="must be a finite number"):
            use()


def test_a_part_is_parsed_with_its_own_places(read) -> None:
    class Options(Spec):
        depth: int = 3

    text = "a:\n  options:\n    depth: x\n"
    with pytest.raises(ConfigError) as caught:
        read(text).parse(Options, path=("a", "options"))
    assert str(caught.value) == ('x.yaml:3:12: a.options.depth: must be a whole number; found "x"')
    assert read("a: {}\n").parse(Options, path=("a", "options")).depth == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x: 2*weight + agee\n", 1),
        ("x:   '2*weight + agee'\n", 1),
        ('x: "2*weight + agee"\n', 1),
        ("x: 'sex == ''male'' and agee > 1'\n", 1),
        ('x: "sex == \\"male\\" and agee > 1"\n', 1),
        ('x: "2 \\x2b agee"\n', 1),
        ("x:\n  2*weight +\n  agee\n", 3),
        ("x: |\n  2*weight +\n    agee\n", 3),
        ("x: >-\n\n  2*weight\n  + agee\n", 4),
        ("y: {x: [1, 2*agee]}\n", 1),
        ("é: 1\nx: '\"é\" == sex or agee > 3'\n", 2),
        ("a: &e 2*agee\nx: *e\n", 1),
    ],
)
def test_a_name_in_an_expression_is_found_in_the_file(read, text: str, line: int) -> None:
    document = read(text)
    path = ("y", "x", 1) if text.startswith("y") else ("x",)
    names = {"weight": Name(), "sex": Name("category", categories=("male", "é"))}
    (problem,) = document.check_expression(path, Expression(document.value(path)), names)
    column = text.splitlines()[line - 1].index("agee") + 1
    assert (problem.line, problem.column) == (line, column)
    assert problem.message == 'there is no value named "agee"'


def test_an_expression_from_an_override_has_no_line(read) -> None:
    document = read("x: 1\n", ["x=2*agee"])
    (problem,) = document.check_expression(("x",), Expression("2*agee"), {"age": Name()})
    assert str(problem) == (
        '--set x: there is no value named "agee"; allowed: age; did you mean "age"?'
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.yaml", "nowhere.yaml:1:1: there is no such file"),
        ("a\0b", "a\0b:1:1: the file cannot be read"),
        (".", ".:1:1: the path is a folder, not a file"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path, monkeypatch, path, message) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(message)


def test_a_misspelt_file_gets_the_nearest(read) -> None:
    read("a: 1\n")
    with pytest.raises(ConfigError, match=r'did you mean "x\.yaml"\?'):
        load("y.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="neither a file nor a folder"):
        load(tmp_path / "pipe")


def test_importing_the_package_loads_neither_jax_nor_pint() -> None:
    code = "import sys, insilico.config; print([m for m in ('jax', 'pint') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert result.stdout.strip() == "[]"


class _Doses(Spec):
    strengths: dict[str, float]
    uses: list[str] = Field(default_factory=list)
    note: str = ""


def test_of_what_was_left_out_only_its_absence_is_no_mistake_of_its_own(read):
    """The note quotes the name of a value that was left out, but misses nothing."""
    document = read("strengths: {low: 1, high: much}\nuses: [high, middle]\nnote: high\n")

    def check(document: Document, doses: _Doses) -> None:
        names = list(doses.strengths)
        problems = [
            document.unknown(("uses", place), name, names, "strength", ("strengths",))
            for place, name in enumerate(doses.uses)
            if name not in names
        ]
        problems.append(document.problem(("note",), 'says "high" without a unit', found=""))
        raise ConfigError(problems)

    with pytest.raises(ConfigError) as caught:
        document.checked(_Doses, check)
    assert [problem.field for problem in caught.value.problems] == [
        "strengths.high",
        "uses.1",
        "note",
    ]
