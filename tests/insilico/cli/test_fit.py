"""`insilico fit`: what it leaves, what it says, and how it ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[3] / "configs" / "fit_theophylline.yaml"
SMALL = [
    "--set",
    "sampling.chains=2",
    "--set",
    "sampling.warmup=150",
    "--set",
    "sampling.draws=60",
    "--set",
    "checks.replicates=100",
    "--set",
    "checks.prior_draws=100",
]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insilico.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


def test_a_mistake_in_the_data_ends_with_its_line(cli, tmp_path):
    table = (CONFIG.parent / "data" / "theophylline.csv").read_text()
    broken = table.replace("1,0.25,0,.,2.84,79.6", "1,0.25,0,.,2;84,79.6")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "theophylline.csv").write_text(broken)
    (tmp_path / "fit.yaml").write_text(CONFIG.read_text())
    found = cli("fit", "fit.yaml")
    assert found.code == 2
    assert "4" in found.errors and "2;84" in found.errors and "Traceback" not in found.errors
    assert not (tmp_path / "runs").exists()


def test_a_check_says_what_is_odd_about_the_data(cli):
    limit = "data.outputs.concentration.limit=0.2 mg/L"
    found = cli("check", CONFIG, "--set", limit, "--set", "data.ignore.subjects=[2, 3]")
    assert found.code == 0
    assert "10 subjects" in found.output
    assert "rows left out: subjects 2, 3" in found.errors
    assert "is below its limit of 0.2, but not flagged; it counts as a value" in found.errors


def test_a_trial_s_command_says_which_a_fit_s_is(cli):
    found = cli("run", CONFIG)
    assert found.code == 2
    assert "insilico fit" in found.errors


def test_a_check_says_what_the_method_has_no_use_for(cli):
    found = cli("check", CONFIG, "--set", "method=laplace", "--set", "approximation.steps=500")
    assert found.code == 0
    assert "to be fitted by Laplace, an approximation" in found.output
    assert "note: sampling is not used by method laplace" in found.errors
    assert "note: approximation.steps is not used by method laplace" in found.errors


@pytest.mark.slow
def test_a_fit_that_is_terminated_goes_on_when_asked_again(tmp_path):
    command = [sys.executable, "-m", "insilico.cli", "fit", str(CONFIG), *SMALL]
    begun = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    state = tmp_path / "runs"
    for _ in range(1200):
        time.sleep(0.25)
        if any(state.glob(".fit_theophylline.unfinished-*/*")):
            break
    begun.send_signal(signal.SIGTERM)
    _, said = begun.communicate(timeout=120)
    assert begun.returncode == 143, said
    assert "goes on" in said
    again = run("fit", str(CONFIG), *SMALL, cwd=tmp_path)
    assert again.returncode in (0, 3), again.stderr
    assert "going on where an interrupted run" in again.stderr
    assert {path.name for path in state.iterdir()} == {"fit_theophylline"}
