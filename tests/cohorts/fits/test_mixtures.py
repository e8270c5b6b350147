"""Two well separated subpopulations are found, whatever the method; and who belongs where."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from cohorts import fits
from cohorts.fits.results import component_of, memberships
from cohorts.fits.sensitivity import warnings_of
from insilico.cli import app
from insilico.runs import RunFolder

SUBJECTS, TIMES = 24, (1.0, 3.0, 6.0, 10.0, 16.0, 24.0)
POOR = np.arange(1, SUBJECTS + 1) % 3 == 0
"""Every third subject has 0.3 of the others' clearance: between subjects it has an sd of 0.25."""

CONFIG = """
title: Two subpopulations of clearance
seed: 5
model: one_compartment
data:
  file: table.csv
  columns: {subject: ID, time: TIME, event: EVID, amount: AMT, measured: DV}
  units: {time: h, amount: mg}
  doses_into: central
  outputs: {concentration: {unit: mg/L}}
mixtures: {metaboliser: {kind: dirichlet, concentrations: {extensive: 2, poor: 2}}}
population:
  absorption_rate: {typical: 1 1/h}
  clearance:
    typical: {kind: log_normal, median: 3 L/h, sd: 1}
    covariates:
      metaboliser:
        kind: categorical
        reference: extensive
        factors: {poor: {kind: log_normal, median: 0.5, sd: 0.5}}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
  central_volume:
    typical: {kind: log_normal, median: 30 L, sd: 1}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
residual:
  concentration: {kind: log_additive, sd: {kind: half_normal, scale: 0.3}}
sampling: {chains: 2, warmup: 300, draws: 300, target_acceptance: 0.9}
approximation: {draws: 400}
checks: {replicates: 100, prior_draws: 100, marginal_draws: 100}
"""
FACTOR = "metaboliser_poor_on_clearance"


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    folder, random = tmp_path_factory.mktemp("mixture"), np.random.default_rng(7)
    rows = []
    for subject, poor in enumerate(POOR, start=1):
        clearance = 4.0 * (0.3 if poor else 1.0) * np.exp(0.25 * random.normal())
        volume = 25.0 * np.exp(0.2 * random.normal())
        rows.append((subject, 0.0, 1, 100.0, ""))
        for time in TIMES:
            true = 100.0 / volume * np.exp(-clearance / volume * time)
            rows.append((subject, time, 0, 0, round(true * np.exp(0.15 * random.normal()), 5)))
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("ID", "TIME", "EVID", "AMT", "DV"), *rows])
    path = folder / "mixture.yaml"
    path.write_text(CONFIG)
    return path


def fitted(path: Path, name: str, *changes: str) -> RunFolder:
    try:
        return fits.run(fits.read(path, changes), path.with_name(name))
    except fits.NotTrusted as error:
        return error.folder  # so few draws of a chain need not pass


@pytest.fixture(scope="module")
def focei(config) -> RunFolder:
    return fitted(config, "focei", "method=focei")


def estimates(folder: RunFolder) -> xr.DataArray:
    return folder.results("diagnostics")["diagnostics"].to_dataset()["estimate"]


def test_subpopulations_that_no_data_tell_apart_are_told(config):
    fit = fits.read(config)
    axis = component_of("metaboliser")
    subjects = [str(number) for number in range(1, SUBJECTS + 1)]

    def told(poor: np.ndarray) -> tuple[xr.Dataset, tuple[str, ...]]:
        draws = np.broadcast_to(np.stack([1.0 - poor, poor]), (2, 5, 2, SUBJECTS))
        posterior = xr.Dataset(
            {"probability_metaboliser": (("chain", "draw", axis, "subject"), draws)},
            coords={"subject": subjects},
        )
        groups = memberships(fit, posterior)
        return groups["membership/metaboliser"], warnings_of(groups)

    found, warnings = told(np.where(POOR, 0.8, 0.1))
    assert warnings == () and np.all((found["most_probable"] == "poor").values == POOR)
    assert float(found["probability"].sel(component="poor", subject="3")) == pytest.approx(0.8)
    _, warnings = told(np.where(POOR, 0.34, 0.32))
    assert len(warnings) == 1 and "no subject's data say to which subpopulation" in warnings[0]


@pytest.mark.slow
def test_focei_finds_what_made_the_data(focei):
    assert focei.manifest["failure"] is None
    found = estimates(focei)
    # Of 16 and 8 subjects: an sd of 0.25 over the root of their number, and a tenth of that for
    # what their own data leave open.
    assert float(np.log(found.sel(parameter="typical_clearance") / 4.0)) == pytest.approx(
        0.0, abs=0.15
    )
    assert float(np.log(found.sel(parameter=FACTOR) / 0.3)) == pytest.approx(0.0, abs=0.25)
    share = found.sel(parameter="shares_metaboliser[poor]")
    # A third of 24 subjects under Dirichlet (2, 2): (8 + 2 - 1) / (24 + 4 - 2) in the middle.
    assert float(share) == pytest.approx(0.36, abs=0.05)


@pytest.mark.slow
def test_it_says_who_belongs_where(focei):
    found = focei.results("membership")["membership/metaboliser"].to_dataset()
    assert found["component"].values.tolist() == ["extensive", "poor"]
    assert np.mean((found["most_probable"] == "poor").values == POOR) >= 23 / 24
    np.testing.assert_allclose(found["probability"].sum("component"), 1.0)
    at = focei.results("estimates")["estimates"]["probability_metaboliser"]
    # Averaged over draws it is nearer to the middle, and of the same mind.
    np.testing.assert_allclose(at.values, found["probability"].values, atol=0.2)
    page = (focei.path / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert '<section id="membership"' in text and "24 subjects one by one" in text
    assert "Share of metaboliser[poor]" in text and "Subject 3, poor" in page
    assert "came to the highest maximum" in text


@pytest.mark.slow
def test_subjects_are_left_out_of_a_mixture(focei):
    found = focei.results("leave_one_out")["leave_one_out"].to_dataset()
    assert found.sizes["subject"] == SUBJECTS and np.all(np.isfinite(found["elpd"]))
    # Six parameters of the population.
    assert 2.0 < found.attrs["p_loo"] < 14.0
    names = focei.results("prior_sensitivity")["prior_sensitivity"]["parameter"].values
    assert "shares_metaboliser[poor]" in names


@pytest.mark.slow
@pytest.mark.parametrize("method", ["nuts", "laplace", "svi"])
def test_other_methods_find_the_same(config, focei, method):
    other = fitted(config, method, f"method={method}")
    posterior, exact = (
        folder.results("posterior")["posterior"].to_dataset() for folder in (focei, other)
    )
    for name in ("typical_clearance", "typical_central_volume", "residual_sd_concentration"):
        sd = float(exact[name].std())
        assert abs(float(posterior[name].mean() - exact[name].mean())) < 0.6 * sd, name
    of_shares = [each["shares_metaboliser"][..., 1] for each in (posterior, exact)]
    means = [float(each.mean()) for each in of_shares]
    assert abs(means[0] - means[1]) < 0.5 * float(of_shares[1].std())
    theirs, ours = (
        folder.results("membership")["membership/metaboliser"].to_dataset()["probability"].values
        for folder in (other, focei)
    )
    np.testing.assert_allclose(ours, theirs, atol=0.15)


@pytest.mark.slow
def test_a_prior_that_lets_components_change_names_is_searched_from_elsewhere(config):
    """A factor about 1: in the middle of the prior both components are the same."""
    factor = "population.clearance.covariates.metaboliser.factors.poor"
    changes = (f"{factor}={{kind: log_normal, median: 1, sd: 1}}", "method=focei")
    found = estimates(fitted(config, "symmetrical", *changes))
    # Whichever is called poor, the other has a third of its clearance.
    away = abs(float(np.log(found.sel(parameter=FACTOR))))
    assert away == pytest.approx(np.log(1.0 / 0.3), abs=0.3)


@pytest.mark.slow
def test_the_command_says_how_many_belong_where(config):
    changes = ["--set", "method=focei", "--out", str(config.with_name("command"))]
    result = CliRunner().invoke(app, ["fit", str(config), *changes])
    told = "Most probable subpopulation (metaboliser) of 24 subjects: 16 extensive, 8 poor"
    assert told in result.output
