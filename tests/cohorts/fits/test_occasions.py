"""A fit of two periods, from the table to the report and to the subjects of a trial."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohorts import fits
from cohorts.fits.posterior import learned
from insilico.config import ConfigError

TIMES = np.array([0.5, 1.0, 2.0, 5.0, 9.0, 14.0, 24.0])
CONFIG = """
title: Two periods that were made up
seed: 1
model: one_compartment
data:
  file: periods.csv
  columns: {subject: ID, time: TIME, measured: DV, amount: AMT, event: EVID, compartment: CMT,
            occasion: OCC}
  units: {time: h, amount: mg}
  outputs: {concentration: {unit: mg/L}}
population:
  absorption_rate: {typical: 1.5 1/h}
  clearance:
    typical: {kind: log_normal, median: 2.8 L/h, sd: 1}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
    between_occasion: {sd: {kind: half_normal, scale: 0.3}}
  central_volume:
    typical: {kind: log_normal, median: 32 L, sd: 1}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
residual:
  concentration: {kind: log_additive, sd: {kind: half_normal, scale: 0.5}}
sampling: {chains: 2, warmup: 250, draws: 250, target_acceptance: 0.9}
checks: {replicates: 100, prior_draws: 100}
"""
TRUTH = {
    "typical_clearance": 2.6,
    "sd_clearance": 0.3,
    "occasion_sd_clearance": 0.2,
    "typical_central_volume": 30.0,
    "sd_central_volume": 0.2,
    "residual_sd_concentration": 0.1,
}
SUBJECTS, ALONE = 24, 4
"""The last few have one occasion."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The config of made-up data, beside them."""
    rng = np.random.default_rng(20)
    rows = []
    for subject in range(1, SUBJECTS + 1):
        eta, volume = rng.normal(0.0, 0.3), 30.0 * np.exp(rng.normal(0.0, 0.2))
        for occasion in range(1 if subject > SUBJECTS - ALONE else 2):
            start = 168.0 * occasion
            k = 2.6 * np.exp(eta + rng.normal(0.0, 0.2)) / volume
            mean = 320 / volume * 1.5 / (1.5 - k) * (np.exp(-k * TIMES) - np.exp(-1.5 * TIMES))
            values = mean * np.exp(rng.normal(0.0, 0.1, len(TIMES)))
            rows.append((subject, start, ".", 320, 4 if occasion else 1, 1, occasion + 1))
            rows += [
                (subject, start + time, f"{value:.5g}", ".", 0, 1, occasion + 1)
                for time, value in zip(TIMES, values, strict=True)
            ]
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "DV", "AMT", "EVID", "CMT", "OCC"])
    frame.to_csv(tmp_path / "periods.csv", index=False)
    path = tmp_path / "periods.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.slow
def test_two_periods_are_fitted_and_drawn_from(config):
    try:
        folder = fits.run(fits.read(config), config.parent / "run")
    except fits.NotTrusted as error:
        # So few draws need not pass.
        folder = error.folder
    posterior = folder.results("posterior")["posterior"].to_dataset()
    for name, truth in TRUTH.items():
        draws = posterior[name].values
        assert abs(draws.mean() - truth) < 3.5 * draws.std(), name
    kappa = posterior["kappa_clearance"]
    assert set(kappa.dims) == {"chain", "draw", "occasion", "subject"}
    assert kappa["occasion"].values.tolist() == [1, 2]
    second = kappa.sel(occasion=2).std(("chain", "draw")).values
    # Of an occasion that somebody lacks there is nothing but the population.
    assert second[-ALONE:].mean() > 1.15 * second[:-ALONE].mean()
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    assert "Variability between occasions" in page
    assert "Of 44 occasions of 24 subjects, who have 1 to 2 each" in page
    found = learned(folder.path, untrusted=True)
    assert found.population.between_occasion == ("clearance",)
    assert "occasion_sd_clearance" in found.draws
    assert not any(name.startswith("kappa") for name in found.draws)


def test_a_config_says_where_occasions_are_missing(config):
    changes = "data.columns.occasion=null"
    with pytest.raises(ConfigError) as caught:
        fits.read(config, changes)
    (problem,) = caught.value.problems
    assert "data.columns: must say which occasion a record belongs to" in str(problem)
