"""The console script in a process of its own."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "insilico.cli"]


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the console script in an empty folder, with a cache of its own."""

    def script(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        environment = environ(tmp_path) | more
        command = [*COMMAND, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )

    return script


def environ(tmp_path: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")}


def processor_seconds() -> float:
    """Spent by all processes that this one started and waited for: others' work is not in it."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def test_help_is_quick_and_imports_nothing_heavy(script):
    before = processor_seconds()
    assert script("--help").returncode == 0
    # 0.15 s on an idle machine; the bound leaves room for a slow one.
    assert processor_seconds() - before < 1.0
    heavy = (
        "import sys, insilico.cli; print([m for m in ('jax', 'numpy', 'rich') if m in sys.modules])"
    )
    environment = environ(Path())
    done = subprocess.run(
        [sys.executable, "-c", heavy], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_version_is_told(script):
    done = script("--version")
    assert done.returncode == 0
    assert re.match(r"insilico (\d+\.\d+|\(not installed\))", done.stdout)


def test_a_mistake_ends_with_exit_code_2_and_no_traceback(script, tmp_path):
    (tmp_path / "trial.yaml").write_text("seed: one\n", encoding="utf-8")
    done = script("check", "trial.yaml")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "trial.yaml:1:7: seed: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_a_termination_cleans_up(tmp_path, coag, small):
    arguments = ["run", str(coag), "--no-cache", *(f"--set={change}" for change in small)]
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env=environ(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("patients:")
    assert list(tmp_path.glob("runs/.warfarin_coag.partial-*"))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "terminated; nothing was kept" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_second_run_starts_warm_and_gives_the_same_bits(
    script, tmp_path, coag, small: Sequence[str]
):
    import numpy as np

    from insilico.runs import RunFolder

    seconds, trees = [], []
    for name, options in (("cold", []), ("warm", []), ("fresh", ["--no-cache"])):
        changes = [f"--set={change}" for change in small]
        start = time.perf_counter()
        done = script("run", coag, *changes, "--out", name, *options)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        trees.append(RunFolder.open(tmp_path / name).results())
    assert any((tmp_path / "cache").rglob("*-cache"))
    for tree in trees[1:]:
        for group in tree.subtree:
            for name, column in group.to_dataset(inherit=False).variables.items():
                np.testing.assert_array_equal(column, trees[0][group.path].to_dataset()[name])
    cold, warm, fresh = seconds
    # Compiling takes most of so small a run; measured 0.4 on an idle machine.
    assert warm < 0.8 * min(cold, fresh)


@pytest.mark.slow
def test_a_damaged_cache_does_no_harm(script, tmp_path, coag):
    assert script("check", coag).returncode == 0
    for entry in (tmp_path / "cache").rglob("*-cache"):
        entry.write_bytes(entry.read_bytes()[:100])
    done = script("check", coag)
    assert (done.returncode, done.stderr) == (0, "")


def test_checking_a_config_needs_no_jax(script, coag):
    """JAX takes more than a second to import, most of what a check may take."""
    code = (
        "import sys; from insilico.cli._prepare import prepare; from pathlib import Path; "
        f"prepare(Path({str(coag)!r}), ()); "
        "print([m for m in ('jax', 'numpyro', 'pandas', 'xarray') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ(Path()),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    before = processor_seconds()
    imported = script("check", coag, PYTHONPROFILEIMPORTTIME="1")
    assert imported.returncode == 0
    assert not re.search(r"\| +(jax|numpyro)$", imported.stderr, re.MULTILINE)
    assert re.search(r"\| +trials$", imported.stderr, re.MULTILINE)
    # 1.4 s on an idle machine; the bound leaves room for a slow one.
    assert processor_seconds() - before < 4.0
