"""`insilico calibrate`: how it ends where the config is wrong, and who else knows of it."""

from pathlib import Path

import pytest

from cohorts.summaries import CalibrationConfig
from insilico.cli._errors import BadInput
from insilico.cli._prepare import prepare
from insilico.cli.check import check
from insilico.config import json_schema

CONFIG = Path(__file__).parents[3] / "configs" / "calibrate_theophylline.yaml"


def test_a_mistake_ends_with_its_line(cli, tmp_path):
    change = ("--set", "targets.0.value=3 h", "--set", "arms.single.doses.0.into=dopot")
    found = cli("calibrate", CONFIG, *change)
    assert found.code == 2
    assert "targets.0.value" in found.errors and "depot" in found.errors
    assert "Traceback" not in found.errors
    assert not (tmp_path / "runs").exists()


def test_check_knows_a_calibration(capsys):
    check(CONFIG)
    assert "16 targets in 1 arm" in capsys.readouterr().out


def test_a_trial_s_command_says_which_is_a_calibration_s():
    with pytest.raises(BadInput, match="insilico calibrate"):
        prepare(CONFIG, ())


def test_editors_get_its_schema():
    assert "targets" in json_schema(CalibrationConfig)["properties"]
