"""A fit leaves all that it found, the same whether it was interrupted or not."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cohorts import fits
from insilico.runs import RunFolder

GROUPS = {
    "posterior",
    "sample_stats",
    "warmup_sample_stats",
    "log_likelihood",
    "prior",
    "observed_data",
    "constant_data",
    "predictions",
    "curves",
    "predictive_check",
    "stratified_check",
    "diagnostics",
}


def test_its_folder_holds_everything(fitted):
    assert {path.name for path in fitted.path.iterdir()} == {
        "config.yaml",
        "theophylline.csv",
        "manifest.json",
        "report.html",
        "results.zarr",
    }
    RunFolder.open(fitted.path).check()
    assert set(fitted.results().children) == GROUPS
    assert fitted.manifest["kind"] == "fit"
    assert fitted.manifest["counts"]["gradients"] > 1000


def test_arviz_opens_it_as_any_other_posterior(fitted):
    import arviz as az

    tree = az.from_zarr(fitted.path / "results.zarr")
    table = az.summary(tree, var_names=["typical_clearance"], ci_prob=0.95, ci_kind="eti")
    assert 2.0 < float(table.loc["typical_clearance", "mean"]) < 3.6


def test_estimates_are_those_that_everybody_finds(fitted):
    # FOCEI of nlmixr2 has KA 1.59 1/h, CL 2.75 L/h, V 31.8 L; within what few draws can tell.
    posterior = fitted.results("posterior")["posterior"].to_dataset()
    expected = {"absorption_rate": 1.59, "clearance": 2.75, "central_volume": 31.8}
    for name, value in expected.items():
        draws = posterior[f"typical_{name}"].values
        assert abs(np.mean(draws) - value) < 0.6 * np.std(draws), name


def test_what_was_fitted_can_be_read_again_from_its_folder(fitted):
    again = fits.read(fitted.path / "config.yaml")
    assert again.patients.summary().subjects == 12
    assert again.config.sampling.chains == 2


class _Killed(Exception):
    pass


@pytest.mark.slow
def test_a_fit_that_was_interrupted_goes_on_and_finds_the_same(config, small, fitted, tmp_path):
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "draws" and done > 20:
            raise _Killed

    read = fits.read(config, small)
    out = tmp_path / "again"
    with pytest.raises(_Killed):
        fits.run(read, out, progress=interrupt)
    assert not out.exists()
    assert fits.unfinished(read, out).begun
    seen = []
    try:
        folder = fits.run(read, out, progress=lambda *now: seen.append(now))
    except fits.NotTrusted as error:
        folder = error.folder
    # It did not begin anew: the first that it tells lies behind many iterations.
    assert seen[0][1] > 50
    expected, found = (run.results("posterior")["posterior"] for run in (fitted, folder))
    for name in map(str, expected.data_vars):
        np.testing.assert_array_equal(expected[name].values, found[name].values)
    assert not fits.unfinished(read, out).begun


OTHER_PRIORS = (
    "population.absorption_rate.typical.sd=0.8",
    "population.clearance.typical.median=4 L/h",
    "population.clearance.between_subject.sd.scale=0.7",
    "residual.concentration.sd.scale=1.5 mg/L",
)


def alone(config: Path, changes: tuple[str, ...], out: Path, cache: Path) -> set[Path]:
    """Fit in a process of its own; the programs that are stored afterwards."""
    given = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "insilico.cli", "fit", str(config), *given, "--out", str(out)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    # It may fail its diagnostics, which is told by the exit code.
    subprocess.run(command, env=environment, check=False, capture_output=True)
    return {path for path in cache.rglob("*-cache") if path.is_file()}


@pytest.mark.slow
def test_other_priors_compile_nothing_and_give_what_a_process_of_their_own_does(
    config, small, fitted, tmp_path, compilations
):
    before = compilations.count
    with contextlib.suppress(fits.NotTrusted):
        fits.run(fits.read(config, (*small, *OTHER_PRIORS)), tmp_path / "here")
    assert compilations.count == before
    # Nor do they in another process, which finds what is stored.
    cache = tmp_path / "cache"
    stored = alone(config, small, tmp_path / "first", cache)
    assert alone(config, (*small, *OTHER_PRIORS), tmp_path / "there", cache) == stored != set()
    here, there = (
        RunFolder.open(tmp_path / name).results("posterior")["posterior"].to_dataset()
        for name in ("here", "there")
    )
    for name in map(str, here.data_vars):
        np.testing.assert_array_equal(here[name].values, there[name].values)
    first = fitted.results("posterior")["posterior"]
    assert not np.array_equal(here["typical_clearance"], first["typical_clearance"])
