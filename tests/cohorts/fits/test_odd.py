"""Fits that are odd, and right: of one kind of number only, or of data that say little."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cohorts import fits
from insilico.runs import RunFolder

SUBJECTS, TIMES, LIMIT = 3, (0.5, 2.0, 5.0, 9.0, 14.0), 1.0
KNOWN = "between_subject: {kind: log_normal, sd: 0.3}"
PRIOR = "typical: {kind: log_normal, median: 4 L/h, sd: 0.5}"
FEW = """
sampling: {chains: 2, warmup: 100, draws: 50, target_acceptance: 0.9}
checks: {replicates: 100, prior_draws: 100, marginal_draws: 100}
approximation: {draws: 100}
"""


def config(folder: Path, clearance: str, *, second: bool = False, more: str = "") -> Path:
    """A fit of subjects with an intravenous dose; `second`: with another output, never measurable.

    Its `clearance` is described, other numbers are known but for the residual error.
    """
    random, rows = np.random.default_rng(1), []
    for subject in range(1, SUBJECTS + 1):
        rows.append((subject, 0.0, 1, 100.0, "", 0, 0))
        for time in TIMES:
            value = 100.0 / 25.0 * np.exp(-4.0 / 25.0 * time + 0.1 * random.normal())
            rows.append((subject, time, 0, 0, round(value, 4), 0, 1))
            if second:
                rows.append((subject, time, 0, 0, LIMIT, 1, 2))
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("ID", "TIME", "EVID", "AMT", "DV", "BLQ", "DVID"), *rows])
    other = "\n    depot: {unit: mg, where: 2}" if second else ""
    error = "\n  depot: {kind: additive, sd: 0.5 mg}" if second else ""
    path = folder / "odd.yaml"
    path.write_text(f"""
title: Odd
seed: 5
model: one_compartment
data:
  file: table.csv
  columns: {{subject: ID, time: TIME, event: EVID, amount: AMT, measured: DV, output: DVID,
            censored: BLQ, limit: DV}}
  units: {{time: h, amount: mg}}
  doses_into: central
  outputs:
    concentration: {{unit: mg/L, where: 1}}{other}
population:
  absorption_rate: {{typical: 1 1/h}}
  clearance: {{{clearance}}}
  central_volume: {{typical: 25 L}}
residual:
  concentration: {{kind: log_additive, sd: {"0.1" if more else "{kind: half_normal, scale: 0.3}"}}}
{error}
{FEW}{more}""")
    return path


def fitted(path: Path, *changes: str) -> RunFolder:
    try:
        return fits.run(fits.read(path, changes), path.with_suffix(""))
    except fits.NotTrusted as error:
        return error.folder  # so few draws need not pass


def posterior(folder: RunFolder) -> xr.Dataset:
    return folder.results("posterior")["posterior"].to_dataset()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["nuts", "focei", "svi"])
def test_a_population_without_random_effects_is_fitted(tmp_path, method):
    found = posterior(fitted(config(tmp_path, PRIOR), f"method={method}"))
    # The data's standard error of clearance is about 2 %.
    assert float(found["typical_clearance"].median()) == pytest.approx(4.0, rel=0.1)


@pytest.mark.slow
def test_subjects_of_a_population_that_is_known_are_sampled(tmp_path):
    folder = fitted(config(tmp_path, f"typical: 4 L/h, {KNOWN}", more="description: known"))
    assert float(posterior(folder)["clearance"].median()) == pytest.approx(4.0, rel=0.1)
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    assert "there was nothing of it to learn" in page


@pytest.mark.slow
def test_an_output_that_was_never_above_its_limit_has_its_report(tmp_path):
    folder = fitted(config(tmp_path, PRIOR, second=True), "method=laplace")
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    assert re.search(r"No value of \w+ \(mg\) was above its limit", page)
    assert not re.search(r"\bnan\b", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


@pytest.mark.slow
def test_a_mixture_of_poles_apart_is_fitted_and_says_who_belongs_where(tmp_path):
    speed = "{kind: categorical, reference: fast, factors: {slow: 0.1}}"
    clearance = f"typical: 4 L/h, {KNOWN}, covariates: {{speed: {speed}}}"
    shares = "mixtures: {speed: {kind: dirichlet, concentrations: {fast: 2, slow: 2}}}"
    found = posterior(fitted(config(tmp_path, clearance, more=shares)))
    # All three subjects are fast: by a factor of ten, or eight standard deviations.
    assert np.all(found["speed"] == 0)
    assert float(found["clearance"].median()) == pytest.approx(4.0, rel=0.1)
    # Dirichlet (2, 2), and three of one kind.
    assert float(found["shares_speed"][..., 0].mean()) == pytest.approx(5.0 / 7.0, abs=0.08)
