"""The small commands."""

import json
import re
from pathlib import Path

import pytest

from cohorts import populations
from insilico.config import load
from insilico.models import names


def test_models_are_listed_with_their_populations(cli):
    answer = cli("models", "list")
    assert answer.code == 0
    for name in names():
        assert re.search(rf"^{name} ", answer.output, re.MULTILINE)
    assert "population warfarin_hamberg2010" in answer.output


@pytest.mark.parametrize("name", names())
def test_a_model_is_shown_with_source_units_and_evidence(cli, name):
    answer = cli("models", "show", name)
    assert answer.code == 0
    for heading in (name, "State (time in", "Parameters", "Outputs"):
        assert heading in answer.output


def test_a_model_s_card_names_units(cli):
    output = cli("models", "show", "warfarin_hamberg2010").output
    assert re.search(r"clearance +clearance of S-warfarin \[L/h\]", output)
    assert "Clin Pharmacol Ther 2010; 87:727-734" in output
    assert "Population warfarin_hamberg2010" in output


def test_a_population_shows_its_choices_and_how_sure_its_numbers_are(cli):
    output = cli("models", "show", "warfarin_hamberg2010").output
    assert re.search(r"- vkorc1: .*\(G/G, A/G, A/A\)", output)
    assert re.search(
        r"- spread: .*reconciled, kinetic_dynamic, standard_deviation, variance .*reconciled",
        output,
    )
    population = populations.get("warfarin_hamberg2010")
    for number in population.numbers:
        assert re.search(rf"- {number.name} +{number.value:g}\b.*{number.status}", output)
    for statement in (*population.validated, *population.limits):
        assert statement in output


def test_a_stochastic_model_s_card_names_its_noise(cli):
    output = cli("models", "show", "gompertz_noise").output
    assert re.search(r"Noise .*\n  growth +fluctuation of the growth rate", output)
    assert "Noise" not in cli("models", "show", "warfarin_hamberg2010").output


def test_a_model_that_does_not_exist_names_the_nearest(cli):
    answer = cli("models", "show", "warfarin_hamburg2010")
    assert answer.code == 2
    assert 'did you mean "warfarin_hamberg2010"?' in answer.errors


def test_init_writes_a_config_that_is_right(cli):
    assert cli("init").code == 0
    text = Path("trial.yaml").read_text(encoding="utf-8")
    assert text.count("#") > 15
    answer = cli("check", "trial.yaml")
    assert answer.code == 0, answer.errors


def test_init_takes_a_name_and_leaves_files_alone(cli):
    Path("mine.yaml").write_text("seed: 1")
    answer = cli("init", "mine.yaml")
    assert answer.code == 2
    assert answer.errors.strip() == "mine.yaml: the file exists; choose another name"
    assert Path("mine.yaml").read_text() == "seed: 1"
    assert "cannot be written: no such file" in cli("init", "nowhere/trial.yaml").errors


def test_the_schema_describes_configs(cli, coag):
    schema = json.loads(cli("schema").output)
    assert set(load(coag).data) <= set(schema["properties"])
    assert schema["additionalProperties"] is False
    assert cli("schema", "--out", "schema.json").code == 0
    assert json.loads(Path("schema.json").read_text()) == schema
    assert cli("schema", "--out", "nowhere/schema.json").code == 2


def test_without_a_command_the_help_is_shown(cli):
    answer = cli()
    for command in ("run", "check", "report", "models", "init", "schema"):
        assert command in answer.output + answer.errors
