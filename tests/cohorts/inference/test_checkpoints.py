"""A run that was stopped and gone on with equals one that was not, draw for draw."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpyro
import pytest
import xarray as xr
from numpyro import distributions as dist

from cohorts.inference import CheckpointError, Progress, Sampling, run, sample
from cohorts.inference.checkpoints import FILE, Checkpoint

pytestmark = pytest.mark.optimised

# As in the tests of posteriors, whose program is the same.
SHORT = Sampling(chains=4, warmup=200, draws=200, target_acceptance=0.8)


class Stopped(Exception):
    """What the progress raises."""


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every block."""
    monkeypatch.setattr(run, "CHECKPOINT_SHARE", np.inf)


def stop_after(iterations: int) -> Any:
    def watch(progress: Progress) -> None:
        if progress.done >= iterations:
            raise Stopped

    return watch


def assert_same(one: xr.DataTree, two: xr.DataTree) -> None:
    for group in one.children:
        ours, theirs = one[group].to_dataset(), two[group].to_dataset()
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name], err_msg=f"{group}/{name}")


def test_stopped_and_resumed_is_the_same_run(schools, schools_data, tmp_path, often) -> None:
    whole = sample(schools, schools_data, SHORT, seed=1)
    # In the first blocks and at the end of warmup; in the middle of a window of it and among draws.
    for stops in ((1, 200), (40, 220)):
        folder = tmp_path / "-".join(map(str, stops))
        for stop in stops:
            with pytest.raises(Stopped):
                sample(
                    schools,
                    schools_data,
                    SHORT,
                    seed=1,
                    checkpoint=folder,
                    progress=stop_after(stop),
                )
        resumed: list[Progress] = []
        again = sample(
            schools, schools_data, SHORT, seed=1, checkpoint=folder, progress=resumed.append
        )
        assert resumed[0].done > stops[-1], "nothing was resumed"
        assert_same(whole.tree, again.tree)
        assert again.counts.leapfrog_steps == whole.counts.leapfrog_steps


def test_finished_run_is_read_back(schools, schools_data, tmp_path) -> None:
    whole = sample(schools, schools_data, SHORT, seed=1, checkpoint=tmp_path)
    told: list[Progress] = []
    again = sample(schools, schools_data, SHORT, seed=1, checkpoint=tmp_path, progress=told.append)
    assert not told
    assert_same(whole.tree, again.tree)


def test_other_runs_are_refused(schools, schools_data, tmp_path) -> None:
    sample(schools, schools_data, SHORT, seed=1, checkpoint=tmp_path)
    other = {**schools_data, "y": schools_data["y"] + 1}
    with pytest.raises(CheckpointError, match="seed.*1 there, 2 here"):
        sample(schools, schools_data, SHORT, seed=2, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="of another run: data"):
        sample(schools, other, SHORT, seed=1, checkpoint=tmp_path)


def test_model_that_has_changed_is_refused(schools, schools_data, tmp_path) -> None:
    def wider(y: Any, sigma: Any) -> None:
        mu = numpyro.sample("mu", dist.Normal(0, 50))
        tau = numpyro.sample("tau", dist.HalfCauchy(5))
        with numpyro.plate("school", y.shape[0]):
            effect = numpyro.sample("effect", dist.Normal(0, 1))
            numpyro.sample("y", dist.Normal(mu + tau * effect, sigma), obs=y)

    sample(schools, schools_data, SHORT, seed=1, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="the model has changed"):
        sample(wider, schools_data, SHORT, seed=1, checkpoint=tmp_path)


def test_damaged_checkpoint_is_told(schools, schools_data, tmp_path) -> None:
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(CheckpointError, match="cannot be read.*remove it"):
        sample(schools, schools_data, SHORT, seed=1, checkpoint=tmp_path)


SCRIPT = """
    import sys, time
    import numpy as np
    import numpyro
    from numpyro import distributions as dist
    from cohorts.inference import Sampling, run, sample

    run.CHECKPOINT_SHARE = np.inf


    def model(y):
        mean = numpyro.sample("mean", dist.Normal(0, 2))
        sd = numpyro.sample("sd", dist.HalfNormal(2))
        numpyro.sample("y", dist.Normal(mean, sd), obs=y)


    def watch(progress):
        print(progress.done, flush=True)
        time.sleep(0.2)


    draws = sample(
        model, {"y": np.arange(5.0)}, Sampling(chains=2, warmup=300, draws=300), seed=1,
        checkpoint=sys.argv[1], progress=watch,
    )
    np.save(sys.argv[1] + "/draws.npy", draws.tree["posterior"]["mean"].to_numpy())
"""


@pytest.mark.slow
def test_killed_process_is_gone_on_with_by_another(tmp_path: Path) -> None:
    def started(folder: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / folder)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    whole = started("whole")
    killed = started("killed")
    assert killed.stdout is not None
    while int(killed.stdout.readline()) < 250:
        pass
    time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    resumed = started("killed")
    said, _ = resumed.communicate()
    whole.communicate()
    assert resumed.returncode == whole.returncode == 0
    assert int(said.split()[0]) > 250, "nothing was resumed"
    one, two = (np.load(tmp_path / folder / "draws.npy") for folder in ("whole", "killed"))
    np.testing.assert_array_equal(one, two)


def test_a_checkpoint_that_cannot_be_written_is_told_and_the_one_before_stays(
    tmp_path, monkeypatch
):
    kept = Checkpoint(tmp_path, {"seed": 1})
    kept.write({"told": []}, {"done": np.arange(3)})

    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(CheckpointError, match=r"no space left on device; the one before is whole"):
        kept.write({"told": []}, {"done": np.arange(4)})
    saved = kept.read()
    assert saved is not None and len(saved.arrays) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
