"""Covariates' factors on typical values, beside each other: computed from the draws by hand."""

import csv
import types

import numpy as np
import pytest
import xarray as xr

from cohorts import fits
from cohorts.fits.report.forest import SMALL, forest
from cohorts.fits.report.parameters import densities
from cohorts.fits.report.view import View
from insilico.pages.blocks import Details, Figure

CONFIG = """
title: Covariates of every kind
seed: 1
model: one_compartment
data:
  file: table.csv
  columns: {subject: ID, time: TIME, event: EVID, amount: AMT, measured: DV}
  units: {time: h, amount: mg}
  doses_into: depot
  outputs: {concentration: {unit: mg/L}}
  covariates:
    weight: {column: WT, unit: kg}
    age: {column: AGE, unit: yr}
    site: {column: SITE, categories: [site 1, site 2, site 3]}
    genotype: {column: GENO, categories: [wild, poor]}
population:
  absorption_rate: {typical: 1 1/h}
  clearance:
    typical: {kind: log_normal, median: 3 L/h, sd: 1}
    covariates:
      weight: {kind: power, centre: 70 kg, coefficient: {kind: normal, mean: 0.7, sd: 0.2}}
      age: {kind: linear, centre: 50 yr, coefficient: {kind: normal, mean: 0 1/yr, sd: 0.01 1/yr}}
      genotype:
        kind: categorical
        reference: wild
        factors: {poor: {kind: log_normal, median: 0.5, sd: 0.5}}
  central_volume:
    typical: {kind: log_normal, median: 30 L, sd: 1}
    covariates:
      weight: {kind: exponential, centre: 70 kg, coefficient: 0.01 1/kg}
      site: {kind: categorical, reference: site 1, factors: {site 2: 1.1, site 3: 0.9}}
residual:
  concentration: {kind: additive, sd: {kind: half_normal, scale: 1 mg/L}}
"""
WEIGHTS, AGES = np.array([50.0, 60, 70, 80, 110]), np.array([20.0, 30, 50, 70, 90])


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("forest"), []
    for number, (weight, age) in enumerate(zip(WEIGHTS, AGES, strict=True)):
        of = (weight, age, f"site {number % 3 + 1}", ("wild", "poor")[number % 2])
        rows += [(number, 0, 1, 100, "", *of), (number, 2, 0, 0, 1.5, *of)]
    with (folder / "table.csv").open("w", newline="") as file:
        names = ("ID", "TIME", "EVID", "AMT", "DV", "WT", "AGE", "SITE", "GENO")
        csv.writer(file).writerows([names, *rows])
    (folder / "fit.yaml").write_text(CONFIG)
    fit = fits.read(folder / "fit.yaml")
    draws = np.random.default_rng(0).normal(size=(2, 300))
    posterior = {
        "typical_clearance": 3.0 + 0.1 * draws,
        "weight_on_clearance": 0.75 + 0.1 * draws,
        "age_on_clearance": -0.004 + 0.001 * draws,
        "genotype_poor_on_clearance": np.exp(0.2 * draws - 0.6),
        "weight_on_central_volume": np.full(draws.shape, 0.01),
        "site_site_2_on_central_volume": np.full(draws.shape, 1.1),
        "site_site_3_on_central_volume": np.full(draws.shape, 0.9),
    }
    posterior = xr.Dataset({name: (("chain", "draw"), of) for name, of in posterior.items()})
    tree = xr.DataTree.from_dict({"/posterior": posterior, "/prior": posterior})
    return View(tree, fit)


def _factors(view):
    """Median, low and high end by label."""
    (figure,) = forest(view)
    found = {}
    for trace in figure.spec["data"]:
        middle, bars = np.array(trace["x"]), trace["error_x"]
        low, high = middle - bars["arrayminus"], middle + bars["array"]
        for (label, _), *ends in zip(trace["customdata"], middle, low, high, strict=True):
            found[trace["xaxis"], label] = ends
    return found


def test_a_number_s_factor_is_shown_at_a_low_and_a_high_value_of_the_subjects(view):
    found, posterior = _factors(view), view.group("posterior")
    for value in np.percentile(WEIGHTS, [5, 95]):
        factor = (value / 70.0) ** posterior["weight_on_clearance"].values
        expected = [np.median(factor), *np.quantile(factor, [0.025, 0.975])]
        # To the digits with which figures are drawn.
        np.testing.assert_allclose(found["x", f"weight {value:g} kg"], expected, rtol=2e-4)
    for value in np.percentile(AGES, [5, 95]):
        factor = 1.0 + (value - 50.0) * posterior["age_on_clearance"].values
        np.testing.assert_allclose(found["x", f"age {value:g} yr"][0], np.median(factor), rtol=2e-4)


def test_categories_are_named_with_their_covariate_unless_they_begin_with_it(view):
    found = _factors(view)
    factor = view.group("posterior")["genotype_poor_on_clearance"].values
    np.testing.assert_allclose(
        found["x", "genotype: poor"][1:], np.quantile(factor, [0.025, 0.975]), rtol=2e-4
    )
    assert ("x2", "site 2") in found
    labels = {parameter.name: parameter.label for parameter in view.parameters}
    assert labels["genotype_poor_on_clearance"] == "Genotype: poor, on clearance"


def test_a_known_factor_has_no_interval(view):
    np.testing.assert_allclose(_factors(view)["x2", "site 3"], [0.9] * 3, rtol=1e-6)


def test_the_axis_holds_all_intervals_and_the_shaded_factors(view):
    (figure,) = forest(view)
    low, high = 10.0 ** np.array(figure.spec["layout"]["xaxis"]["range"])
    ends = np.array(list(_factors(view).values()))
    assert low < min(ends.min(), SMALL[0]) and high > max(ends.max(), SMALL[1])
    assert figure.table is not None and len(figure.table.rows) == 2 + len(ends)


def test_without_covariates_there_is_no_forest(view):
    population = types.SimpleNamespace(effects={})
    assert forest(types.SimpleNamespace(population=population)) == []  # pyright: ignore[reportArgumentType]


def test_densities_of_many_coefficients_are_folded_away(view, monkeypatch):
    (whole,) = densities(view)
    monkeypatch.setattr("cohorts.fits.report.parameters.FEW", 2)
    shown, folded = densities(view)
    assert isinstance(whole, Figure) and isinstance(shown, Figure) and isinstance(folded, Details)
    assert folded.summary == "3 coefficients of covariates"
    assert len(whole.spec["data"]) == 2 * 4 and len(shown.spec["data"]) == 2 * 1
