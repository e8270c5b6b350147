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
    Path("broken.py").write_text("MODEL = nothing")
    Path("empty.py").touch()
    answer = cli("models", "check", *arguments)
    assert answer.code == 2, answer.output
    assert message in answer.errors
    assert "Traceback" not in answer.errors
