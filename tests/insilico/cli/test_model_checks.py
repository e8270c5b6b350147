"""`insilico models check`: models of the library and of files, and how it ends."""

import json
import sys
from pathlib import Path

import pytest

LEAKY = """
import dataclasses
from insilico.models import get

ONE = get("one_compartment")

def derivative(time, state, parameters, inputs):
    return ONE.derivative(time, state, parameters, inputs)._replace(depot=0.0 * state.depot)

MODEL = dataclasses.replace(ONE, name="leaky", derivative=derivative, typical=None)
"""
CHAIN = """
from typing import Annotated, NamedTuple
from insilico.model import Model, Quantity
from insilico.vocabulary import Value, Vector

class State(NamedTuple):
    transit: Annotated[Vector, Quantity("mg", "drug on its way", size=3)]

class Parameters(NamedTuple):
    rates: Annotated[Vector, Quantity("1/h", "of each transition", size=3)]

def derivative(time, state, parameters, inputs):
    return State(-(parameters.rates * state.transit))

MODEL = Model(
    name="chain", title="Three pools", citation="textbook", State=State, Parameters=Parameters,
    Outputs=State, initial=lambda p: State(0.0 * p.rates), derivative=derivative,
    outputs=lambda time, state, p: state,
)
"""
QUICK = ("--only", "units", "--only", "balances")


def test_a_model_of_the_library_passes_with_a_table(cli):
    answer = cli("models", "check", "one_compartment", *QUICK, "--set", "clearance=50 mL/min")
    assert answer.code == 0, answer.errors
    assert "balance of drug" in answer.output and "All ok." in answer.output


def test_a_model_of_a_file_that_is_wrong_ends_with_1_and_says_so_as_data(cli):
    Path("leaky.py").write_text(LEAKY)
    answer = cli("models", "check", "leaky.py", *QUICK, "--json")
    assert answer.code == 1
    data = json.loads(answer.output)
    assert data["model"] == "leaky" and data["ok"] is False
    verdicts = {each["what"]: each["verdict"] for each in data["findings"]}
    # Zero is of any unit, so that the units do not give it away.
    assert verdicts == {"units": "ok", "balance of drug": "not ok"}
    assert "1 not ok." in cli("models", "check", "leaky.py", "--only", "balances").output


def test_what_could_not_be_checked_is_not_called_ok(cli):
    Path("leaky.py").write_text(LEAKY)
    answer = cli("models", "check", "leaky.py", "--only", "units", "--only", "gradient")
    assert answer.code == 0
    assert "All that was checked is ok. 1 not checked: no typical values" in answer.output


def test_a_file_that_cannot_be_imported_is_told_with_its_line(cli):
    Path("broken.py").write_text("from insilico.models import get\n\nMODEL = get(1 / 0)\n")
    answer = cli("models", "check", "broken.py")
    assert answer.code == 2
    assert "broken.py: cannot be imported on line 3: ZeroDivisionError" in answer.errors


def test_a_model_of_a_module_is_found_from_the_folder(cli, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("ours").mkdir()
    Path("ours/__init__.py").touch()
    Path("ours/leaky.py").write_text(LEAKY)
    assert cli("models", "check", "ours.leaky", "--only", "units").code == 0


def test_parameters_come_from_a_file_and_then_from_the_line(cli):
    Path("leaky.py").write_text(LEAKY)
    Path("values.yaml").write_text("absorption_rate: 2\nclearance: 4 L/h\n")
    given = ("--parameters", "values.yaml", "--set", "central_volume=20", "--set", "clearance=5")
    answer = cli("models", "check", "leaky.py", "--only", "units", "--json", *given)
    assert json.loads(answer.output)["situation"]["typical"] == {
        "absorption_rate": 2.0,
        "clearance": 5.0,
        "central_volume": 20.0,
    }


@pytest.mark.parametrize(
    ("given", "rates"),
    [
        (["--set", "rates=[1, 2 1/h, 24 1/d]"], [1.0, 2.0, 1.0]),
        (["--set", "rates[2]=3", "--set", "rates[0]=1", "--set", "rates[1]=2"], [1.0, 2.0, 3.0]),
        (["--parameters", "values.yaml", "--set", "rates[1]=9 1/h"], [4.0, 9.0, 6.0]),
    ],
)
def test_a_vector_is_given_whole_or_by_its_components(cli, given, rates):
    Path("chain.py").write_text(CHAIN)
    Path("values.yaml").write_text("rates: [4, 5, 6]\n")
    answer = cli("models", "check", "chain.py", "--only", "structure", "--json", *given)
    assert answer.code == 0, answer.errors
    typical = json.loads(answer.output)["situation"]["typical"]
    assert typical == {f"rates[{index}]": value for index, value in enumerate(rates)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["two_compartmant"], 'did you mean "two_compartment"?'),
        (["nowhere.py"], "nowhere.py: cannot be read: no such file"),
        (["broken.py"], "broken.py: cannot be imported on line 1: NameError: name 'nothing'"),
        (["empty.py"], "empty.py: has no MODEL"),
        (["no.such.module"], "cannot be imported: ModuleNotFoundError"),
        (["one_compartment", "--set", "clearence=1"], 'did you mean "clearance"?'),
        (["one_compartment", "--set", "clearance"], "write name=value"),
        (["one_compartment", "--set", "clearance=1 mg"], "--set clearance=1 mg: must be"),
        (
            ["one_compartment", "--set", "clearance=1", "--set", "clearance=2 L/h"],
            "clearance is given twice on the command line, as 1 and as 2 L/h; leave one out",
        ),
        (["one_compartment", "--set", "clearance[0]=1"], "clearance is a single number"),
        (["tuple.py"], "typical values of model chain must be its Parameters; found tuple"),
        (["chain.py", "--set", "rates[3]=1"], 'a list of 3 and has no entry "3"; allowed: 0 to 2'),
        (["chain.py", "--set", "rates[-1]=1"], 'has no entry "-1"; allowed: 0 to 2'),
        (["chain.py", "--set", "rates[1=1"], 'has no entry "1"'),
        (["chain.py", "--set", "rates=1"], "rates is a list of 3: give all of them, or one by its"),
        (["chain.py", "--set", "rates=[1, 2]"], "rates is a list of 3: give all of them"),
        (["chain.py", "--set", "rates[1]=1 mg"], "--set rates[1]=1 mg: must be"),
        (["chain.py", "--set", "rates[1]=1"], "none are given for rates[0], rates[2]"),
        (["leaky.py", "--set", "clearance=1"], "none are given for absorption_rate"),
        (["one_compartment", "--method", "euler"], "no method 'euler'; there are tsit5"),
        (["one_compartment", "--method", "milstein"], "states no diffusion"),
        (["one_compartment", "--only", "speed"], "no check 'speed'"),
        (["one_compartment", "--cv", "-1"], "cv must be above 0"),
        (["one_compartment", "--dose", "gut=1"], 'no compartment "gut"; allowed: depot'),
        (["one_compartment", "--dose", "much"], "the amount must be a number"),
    ],
)
def test_a_mistake_ends_with_2_and_a_message(cli, arguments, message):
    Path("leaky.py").write_text(LEAKY)
    Path("chain.py").write_text(CHAIN)
    Path("tuple.py").write_text(CHAIN.replace("citation=", "typical=(1.0,), citation="))
    Path("broken.py").write_text("MODEL = nothing")
    Path("empty.py").touch()
    answer = cli("models", "check", *arguments)
    assert answer.code == 2, answer.output
    assert message in answer.errors
    assert "Traceback" not in answer.errors
