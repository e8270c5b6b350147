"""`--set a.b.c=value` puts values over those of the file."""

import pytest

from insilico.config import ConfigError, Spec

TEXT = """
trial: {replicates: 10, alpha: 0.05}
arms:
  - {name: a, dose: 5 mg}
  - {name: b, dose: 2 mg}
shared: &x {k: 1}
other: *x
"""


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("trial.replicates=500", ("trial", "replicates"), 500),
        ("trial.alpha=1e-3", ("trial", "alpha"), 0.001),
        ("trial.new=[1, {a: b}]", ("trial", "new"), [1, {"a": "b"}]),
        ("arms.1.dose=7 mg", ("arms", 1, "dose"), "7 mg"),
        ("arms.0={name: c}", ("arms", 0), {"name": "c"}),
        ("title=a=b", ("title",), "a=b"),
        ("trial.alpha=", ("trial", "alpha"), None),
        ('trial.alpha="0.1"', ("trial", "alpha"), "0.1"),
    ],
)
def test_the_value_is_replaced_and_its_place_is_the_override(
    read, override: str, path: tuple, value: object
) -> None:
    document = read(TEXT, [override])
    assert document.problems == ()
    assert document.value(path) == value
    field = override.split("=")[0]
    assert document.where(path) == (0, 0, field)
    assert str(document.problem(path, "is wrong", found="")) == f"--set {field}: is wrong"


def test_everything_else_stays(read) -> None:
    document = read(TEXT, ["arms.1.dose=7 mg"])
    assert document.data["arms"][0] == {"name": "a", "dose": "5 mg"}
    assert document.data["arms"][1]["name"] == "b"
    assert document.where(("arms", 1, "name")) == (5, 12, None)


def test_later_overrides_win(read) -> None:
    document = read(TEXT, ["trial.alpha=1", "trial={alpha: 2}", "trial.alpha=3"])
    assert document.data["trial"] == {"alpha": 3}


def test_an_aliased_value_is_changed_in_one_place_only(read) -> None:
    document = read(TEXT, ["other.k=2"])
    assert document.data["shared"] == {"k": 1}
    assert document.data["other"] == {"k": 2}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "arms.2.new.x=1",
            '--set arms.2.new.x: arms is a list of 2 and has no entry "2"; allowed: 0 to 1',
        ),
        (
            "solver.x" + ".x" * 31 + "=1",
            "--set solver.x" + ".x" * 31 + ": is nested more than 32 levels deep",
        ),
        (
            "arms.2.dose=1",
            '--set arms.2.dose: arms is a list of 2 and has no entry "2"; allowed: 0',
        ),
        ("arms.a=1", '--set arms.a: arms is a list of 2 and has no entry "a"'),
        ("arms.-1.dose=1", '--set arms.-1.dose: arms is a list of 2 and has no entry "-1"'),
        (
            "trial.alpha.x=1",
            '--set trial.alpha.x: trial.alpha is a single value and has no key "x"',
        ),
        ("trial.alpha", "--set trial.alpha: an override is written path=value"),
        ("=1", "--set =1: an override is written path=value"),
        ("a..b=1", "--set a..b=1: an override is written path=value"),
        ("trial.alpha=[1", "--set trial.alpha: the [list] that begins here is not closed properly"),
        ("trial.alpha=.nan", "--set trial.alpha: must be a finite number; found .nan"),
        ("trial.alpha=!x 1", "--set trial.alpha: YAML tags are not allowed; found !x"),
        ("trial={a: 1, a: 2}", '--set trial: trial.a: the key "a" is given twice; remove one'),
    ],
)
def test_an_override_that_cannot_be_is_a_problem(messages, override: str, message: str) -> None:
    found = messages(TEXT, overrides=[override])
    assert len(found) == 1
    assert found[0].startswith(message)


@pytest.mark.parametrize(
    ("overrides", "section"),
    [
        (["solver.rtol=1"], {"rtol": 1}),
        (["solver.rtol=1", "solver.steps.most=9"], {"rtol": 1, "steps": {"most": 9}}),
        (["solver={rtol: 1}", "solver.steps.most=9"], {"rtol": 1, "steps": {"most": 9}}),
        (["solver=", "solver.rtol=1"], {"rtol": 1}),
    ],
)
def test_missing_sections_are_made(read, overrides: list[str], section: dict) -> None:
    document = read(TEXT, overrides)
    assert document.problems == ()
    assert document.data == read(TEXT).data | {"solver": section}


def test_a_section_that_stands_empty_is_filled(read) -> None:
    document = read("trial:\n  dropout:\n", ["trial.dropout.share=0.1"])
    assert document.data == {"trial": {"dropout": {"share": 0.1}}}
    assert document.where(("trial", "dropout")) == (0, 0, "trial.dropout.share")
    assert document.where(("trial",)) == (1, 1, None)


class Steps(Spec):
    most: int = 100
    least: int


class Solver(Spec):
    rtol: float = 1e-6
    steps: Steps | None = None


class Trial(Spec):
    replicates: int = 1
    alpha: float = 0.05


class Root(Spec):
    trial: Trial
    solver: Solver = Solver()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "trail.alpha=1",
            '--set trail.alpha: trail: unknown key; allowed: trial, solver; did you mean "trial"?',
        ),
        (
            "trial.replicats=4",
            "--set trial.replicats: unknown key; allowed: replicates, alpha; "
            'did you mean "replicates"?',
        ),
        (
            "solver.step.least=1",
            "--set solver.step.least: solver.step: unknown key; allowed: rtol, steps; "
            'did you mean "steps"?',
        ),
        (
            "solver.steps.most=9",
            '--set solver.steps.most: solver.steps: the required key "least" is missing; '
            "add least: … (a whole number)",
        ),
        (
            "solver.rtol.x=1",
            "--set solver.rtol.x: solver.rtol: must be a number; found a section",
        ),
        (
            "trial.alpha.x=1",
            '--set trial.alpha.x: trial.alpha is a single value and has no key "x"',
        ),
    ],
)
def test_what_an_override_makes_has_to_fit_the_spec(messages, override: str, message: str) -> None:
    assert messages("trial: {alpha: 0.1}\n", Root, [override]) == [message]


def test_problems_of_overrides_come_with_those_of_the_file(read) -> None:
    with pytest.raises(ConfigError) as caught:
        text = "trial: {replicates: x, alpha: 1}\n"
        read(text, ["trial.alpha=y", "trial.replicates.x=1"]).parse(Root)
    assert [str(problem).split("; ")[0] for problem in caught.value.problems] == [
        "x.yaml:1:21: trial.replicates: must be a whole number",
        '--set trial.replicates.x: trial.replicates is a single value and has no key "x"',
        "--set trial.alpha: must be a number",
    ]
