"""A spec says all that is wrong with a section, in words of the trial."""

import enum
import json
import re
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from insilico.config import (
    ConfigError,
    Expression,
    Spec,
    SpecError,
    json_schema,
    load,
    quantity,
    walk,
)


class Fixed(Spec):
    kind: Literal["fixed"]
    dose: Annotated[float, quantity("mg", gt=0)]
    every: Annotated[float, quantity("d")]


class Titrated(Spec):
    kind: Literal["titrated"]
    start: Expression
    steps: tuple[Annotated[float, quantity("mg")], ...] = ()


type Regimen = Annotated[Fixed | Titrated, Field(discriminator="kind")]


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


class Arm(Spec):
    name: str = Field(min_length=1)
    regimen: Regimen
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class Analysis(Spec):
    alpha: float = Field(0.05, gt=0, lt=1)
    stop: Annotated[float, quantity("d")] | Literal["never"] = "never"
    weights: dict[str, float] = Field(default_factory=dict)


class Trial(Spec):
    replicates: int = Field(ge=1, description="Number of simulated trials.")
    blinded: bool = True
    method: Literal["wald", "score", "exact"] = "wald"
    side: Side = Side.LEFT
    from_: int | None = Field(None, alias="from")
    limits: tuple[float, float] | None = None
    rule: Regimen | Expression | None = None
    flags: dict[str, bool] = Field(default_factory=dict)


KEYS = "; its keys: replicates, blinded, method, side, from, limits, rule, flags"


class Root(Spec):
    trial: Trial
    arms: list[Arm] = Field(default_factory=list, min_length=1)
    analyses: dict[str, Analysis] = Field(default_factory=dict)
    first: Regimen | None = None


GOOD = """\
trial: {replicates: 3, blinded: no, side: right, from: 2, limits: [1, 2.5], rule: 2*age,
        flags: {a: yes, b: false}}
arms:
  - name: a
    regimen: {kind: titrated, start: 2, steps: [1 mg, 2 g]}
"""


def test_a_right_config_is_parsed(read) -> None:
    root = read(GOOD).parse(Root)
    assert root.trial.blinded is False
    assert root.trial.flags == {"a": True, "b": False}
    assert root.trial.side is Side.RIGHT
    assert root.trial.from_ == 2
    assert root.trial.limits == (1.0, 2.5)
    assert root.trial.rule == Expression("2*age")
    regimen = root.arms[0].regimen
    assert isinstance(regimen, Titrated)
    assert regimen.steps == (1.0, 2000.0)
    assert regimen.start.evaluate({}) == 2.0
    with pytest.raises(ValidationError, match="frozen"):
        root.trial.replicates = 4  # pyright: ignore[reportAttributeAccessIssue]


def test_specs_and_expressions_are_found_with_their_paths(read) -> None:
    found = {path: type(part).__name__ for path, part in walk(read(GOOD).parse(Root))}
    assert found == {
        (): "Root",
        ("trial",): "Trial",
        ("trial", "rule"): "Expression",
        ("arms", 0): "Arm",
        ("arms", 0, "regimen"): "Titrated",
        ("arms", 0, "regimen", "start"): "Expression",
    }


def trial(inside: str) -> str:
    return f"trial: {{replicates: 1, {inside}}}\n"


def arm(regimen: str) -> str:
    return f"trial: {{replicates: 1}}\narms:\n  - name: a\n    regimen: {regimen}\n"


def analysis(inside: str) -> str:
    return f"trial: {{replicates: 1}}\nanalyses:\n  a: {inside}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Missing keys, at their section.
        (
            "arms: [{name: a}]\ntrial: {replicates: 1}\n",
            '1:8: arms.0: the required key "regimen" is missing; add regimen: … (a section)',
        ),
        (
            "analyses: {}\ntrial:\n  blinded: yes\n",
            (
                '2:1: trial: the required key "replicates" is missing; '
                "add replicates: … (Number of simulated trials)"
            ),
        ),
        (
            "first: {dose: 5 mg}\ntrial: {replicates: 1}\n",
            '1:1: first: the required key "kind" is missing; add kind: … ("fixed" or "titrated")',
        ),
        # Unknown keys, at the key.
        (
            "trial: {replicates: 1}\narm: []\n",
            '2:1: arm: unknown key; allowed: trial, arms, analyses, first; did you mean "arms"?',
        ),
        (
            trial("qqq: 1"),
            (
                "1:24: trial.qqq: unknown key; allowed: replicates, blinded, method, side, from, "
                "limits, rule, flags"
            ),
        ),
        # Numbers.
        (
            "trial: {replicates: 0}\n",
            "1:21: trial.replicates: must be a whole number, 1 or more; found 0",
        ),
        (
            "trial: {replicates: 1.5}\n",
            "1:21: trial.replicates: must be a whole number, 1 or more; found 1.5",
        ),
        (
            "trial: {replicates: 1e3}\n",
            "1:21: trial.replicates: must be a whole number, 1 or more; found 1e3; write 1000",
        ),
        (
            "trial: {replicates: 1_000}\n",
            '1:21: trial.replicates: must be a whole number, 1 or more; found "1_000"; write 1000',
        ),
        (
            "trial: {replicates: yes}\n",
            '1:21: trial.replicates: must be a whole number, 1 or more; found "yes"',
        ),
        (
            "trial: {replicates: true}\n",
            "1:21: trial.replicates: must be a whole number, 1 or more; found true",
        ),
        (
            analysis("{alpha: 1}"),
            "3:14: analyses.a.alpha: must be a number, more than 0 and less than 1; found 1",
        ),
        (
            analysis('{alpha: "0.1"}'),
            (
                "3:14: analyses.a.alpha: must be a number, more than 0 and less than 1; "
                'found "0.1"; write 0.1, without quotes'
            ),
        ),
        (
            analysis("{weights: {a: 5 kg}}"),
            (
                '3:20: analyses.a.weights.a: must be a number; found "5 kg"; '
                "write the number without a unit"
            ),
        ),
        # Other plain types.
        (trial("blinded: 1"), "1:33: trial.blinded: must be yes or no; found 1"),
        (trial("blinded: maybe"), '1:33: trial.blinded: must be yes or no; found "maybe"'),
        (trial("flags: {a: x}"), '1:35: trial.flags.a: must be yes or no; found "x"'),
        (
            trial("method: wold"),
            (
                '1:32: trial.method: must be "wald", "score" or "exact"; found "wold"; '
                'did you mean "wald"?'
            ),
        ),
        (trial("method: 3"), '1:32: trial.method: must be "wald", "score" or "exact"; found 3'),
        (
            trial("side: lefft"),
            '1:30: trial.side: must be "left" or "right"; found "lefft"; did you mean "left"?',
        ),
        (
            "trial: {replicates: 1}\narms: [{name: 3, regimen: {kind: titrated, start: 1}}]\n",
            '2:15: arms.0.name: must be text; found 3; put it in quotes: "3"',
        ),
        # Lists and sections.
        ("trial: 3\n", f"1:8: trial: must be a section; found 3{KEYS}"),
        ("trial:\n", f"1:1: trial: must be a section; found nothing{KEYS}"),
        ("trial: [1]\n", f"1:1: trial: must be a section; found a list of 1{KEYS}"),
        ("trial: {replicates: 1}\narms: []\n", "2:1: arms: must not be empty; found an empty list"),
        (
            "trial: {replicates: 1}\narms: a\n",
            '2:7: arms: must be a list; found "a"; write it as a list: [a]',
        ),
        ("trial: {replicates: 1}\narms: {a: 1}\n", "2:1: arms: must be a list; found a section"),
        (
            "trial: {replicates: 1}\nanalyses: [1]\n",
            "2:1: analyses: must be a section; found a list of 1",
        ),
        (trial("limits: [1]"), "1:24: trial.limits: must have 2 entries; found a list of 1"),
        # Alternatives told apart by their kind: only the one meant.
        (
            arm("{kind: fixd, dose: 5 mg}"),
            (
                '4:21: arms.0.regimen.kind: must be "fixed" or "titrated"; found "fixd"; '
                'did you mean "fixed"?'
            ),
        ),
        (arm("{kind: 3}"), '4:21: arms.0.regimen.kind: must be "fixed" or "titrated"; found 3'),
        (arm("5"), "4:14: arms.0.regimen: must be a section; found 5"),
        (
            arm("{kind: fixed, doze: 5 mg, every: 1 d}"),
            (
                "4:28: arms.0.regimen.doze: unknown key; allowed: kind, dose, every; "
                'did you mean "dose"?'
            ),
        ),
        (
            arm("{kind: titrated, start: 1, steps: [1 mg, 2 kgg]}"),
            (
                '4:55: arms.0.regimen.steps.1: there is no unit "kgg"; found "2 kgg"; '
                'allowed: units of mass; did you mean "kg"?'
            ),
        ),
        (
            trial("rule: {kind: titrated}"),
            '1:24: trial.rule: the required key "start" is missing; add start: … (an expression)',
        ),
        (
            trial("rule: [1]"),
            "1:24: trial.rule: must be a section or an expression; found a list of 1",
        ),
        # Alternatives without one: the one that the value looks like.
        (
            analysis("{stop: nevr}"),
            (
                '3:13: analyses.a.stop: must be a time such as 1 d or "never"; found "nevr"; '
                'did you mean "never"?'
            ),
        ),
        (
            analysis("{stop: 5}"),
            "3:13: analyses.a.stop: the unit is missing; found 5; write for example 5 d",
        ),
        (
            analysis("{stop: 5 mg}"),
            '3:13: analyses.a.stop: must be a time (in d), but mg is a unit of mass; found "5 mg"',
        ),
        (
            analysis("{stop: {a: 1}}"),
            '3:7: analyses.a.stop: must be a time such as 1 d or "never"; found a section',
        ),
        # Expressions, at the character.
        (
            trial("rule: 2 * agee.x + 1"),
            "1:34: trial.rule: a dot after a name is not allowed in an expression",
        ),
        (
            arm("{kind: titrated, start: '2 * exq(1)'}"),
            (
                '4:43: arms.0.regimen.start: there is no function "exq"; allowed: exp, log, log2, '
                'log10, sqrt, abs, round, floor, ceil, min, max, clip; did you mean "exp"?'
            ),
        ),
        (
            arm("{kind: titrated, start: yes or}"),
            "4:44: arms.0.regimen.start: the expression ends too early",
        ),
    ],
)
def test_a_mistake_is_one_clear_message(messages, text: str, message: str) -> None:
    assert messages(text, Root) == [f"x.yaml:{message}"]


def test_all_mistakes_are_told_at_once_in_file_order(messages) -> None:
    found = messages(
        "trial:\n  replicates: x\n  blinded: 3\n  replicates: 2\narms:\n"
        "  - name: ''\n    regimen: {kind: fixed, dose: 5, every: 3 mg}\n  - 3\nb: .nan\n",
        Root,
    )
    places = [message.split(" ")[0] for message in found]
    assert places == [
        f"x.yaml:{place}:"
        for place in ("2:15", "3:12", "4:3", "6:11", "7:34", "7:44", "8:5", "9:1", "9:4")
    ]


def test_what_could_not_be_read_is_not_complained_about_twice(messages) -> None:
    assert messages("trial: {replicates: .inf}\n", Root) == [
        "x.yaml:1:21: trial.replicates: must be a finite number; found .inf"
    ]
    assert messages("trial: *x\n", Root)[0].startswith("x.yaml:1:8: trial: the alias *x is not")
    assert len(messages("trial: *x\n", Root)) == 1


def test_expressions_with_several_flaws_are_told_flaw_by_flaw(messages) -> None:
    found = messages(trial("rule: 'a.b + f(1) + (1 if a else [2])'"), Root)
    assert [message.split(" ")[0] for message in found] == [
        "x.yaml:1:31:",
        "x.yaml:1:37:",
        "x.yaml:1:57:",
    ]


class Window(Spec):
    start: int
    end: int
    name: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> "Window":
        if self.end < self.start:
            raise SpecError(
                "must not be before the start", at=("end",), allowed=f"{self.start} or more"
            )
        return self

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        if info.context and name not in info.context:
            raise ValueError("names nothing known")
        return name


def test_validators_speak_for_themselves(read, messages) -> None:
    assert messages("start: 5\nend: 3\n", Window) == [
        "x.yaml:2:6: end: must not be before the start; found 3; allowed: 5 or more"
    ]
    with pytest.raises(ConfigError) as caught:
        read("{start: 1, end: 2, name: x}\n").parse(Window, context=["y"])
    assert str(caught.value) == 'x.yaml:1:26: name: names nothing known; found "x"'


def test_specs_are_strict_in_python_too() -> None:
    with pytest.raises(ValidationError):
        Trial(replicates="3")  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(ValidationError):
        Trial(replicates=3, repeats=4)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValidationError):
        Analysis(alpha=float("nan"))


def test_the_json_schema_is_one_editors_can_use() -> None:
    schema = json_schema(Root)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["additionalProperties"] is False
    assert "from" in schema["$defs"]["Trial"]["properties"]
    assert schema["$defs"]["Titrated"]["properties"]["start"]["type"] == ["string", "number"]
    assert schema["$defs"]["Fixed"]["properties"]["dose"]["examples"] == ["1 mg"]
    assert schema["required"] == ["trial"]


keys = st.sampled_from(
    re.split(
        " ",
        "trial arms analyses first replicates blinded method rule kind regimen name dose start "
        "steps alpha stop limits flags fixed a 0",
    )
)
values = st.recursive(
    st.sampled_from(
        ["fixed", "titrated", "5 mg", "1 d", "2*age", "x.y", "yes", "never", 3, -1, 0.5]
    )
    | st.none()
    | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=15,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.dictionaries(keys, values, max_size=5))
def test_whatever_a_config_holds_it_parses_or_has_problems_with_places(tmp_path, data) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(json.dumps(data, indent=1))
    lines = file.read_text().splitlines()
    try:
        load(file).parse(Root)
    except ConfigError as error:
        for problem in error.problems:
            assert 1 <= problem.line <= len(lines)
            assert 1 <= problem.column <= len(lines[problem.line - 1])
            assert "\n" not in str(problem)
            assert "Input should" not in str(problem)
