"""`insilico calibrate`: how it ends where the config is wrong, and who else knows of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from cohorts.summaries import CalibrationConfig
from insilico.cli._errors import BadInput
from insilico.cli._prepare import prepare
from insilico.cli.check import check
from insilico.config import json_schema

CONFIG = Path(__file__).parents[3] / "configs" / "calibrate_theophylline.yaml"


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insilico.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


def test_a_mistake_ends_with_its_line(tmp_path):
    change = ("--set", "targets.0.value=3 h", "--set", "arms.single.doses.0.into=dopot")
    found = run("calibrate", str(CONFIG), *change, cwd=tmp_path)
    assert found.returncode == 2
    assert "targets.0.value" in found.stderr and "depot" in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "runs").exists()


def test_check_knows_a_calibration(capsys):
    check(CONFIG)
    assert "16 targets in 1 arm" in capsys.readouterr().out


def test_a_trial_s_command_says_which_is_a_calibration_s():
    with pytest.raises(BadInput, match="insilico calibrate"):
        prepare(CONFIG, ())


def test_editors_get_its_schema():
    assert "targets" in json_schema(CalibrationConfig)["properties"]
