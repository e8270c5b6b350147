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
            "trail.alpha=1",
            '--set trail.alpha: the config has no key "trail"; allowed: trial, arms,',
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


def test_the_nearest_key_is_suggested(messages) -> None:
    (message,) = messages(TEXT, overrides=["trail.alpha=1"])
    assert message.endswith('did you mean "trial"?')


def test_a_missing_section_can_be_set_as_a_whole(messages) -> None:
    (message,) = messages(TEXT, overrides=["solver.rtol=1"])
    assert message.endswith("set the whole of it: --set 'solver={rtol: …}'")
    assert messages(TEXT, overrides=["solver={rtol: 1}"]) == []


def test_problems_of_overrides_come_with_those_of_the_file(read) -> None:
    class Trial(Spec):
        replicates: int
        alpha: float

    class Root(Spec):
        trial: Trial

    with pytest.raises(ConfigError) as caught:
        read("trial: {replicates: x, alpha: 1}\n", ["trial.alpha=y", "z.x=1"]).parse(Root)
    assert [str(problem).split("; ")[0] for problem in caught.value.problems] == [
        "x.yaml:1:21: trial.replicates: must be a whole number",
        '--set z.x: the config has no key "z"',
        "--set trial.alpha: must be a number",
    ]
