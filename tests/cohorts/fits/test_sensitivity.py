"""What a fit says of its priors and of single subjects."""

import numpy as np
import pytest
import xarray as xr

from cohorts import fits
from cohorts.fits.results import thinned
from cohorts.fits.sensitivity import sensitivity, warnings_of
from cohorts.inference import Joint

PARAMETERS = [
    "typical_absorption_rate",
    "sd_absorption_rate",
    "typical_clearance",
    "sd_clearance",
    "typical_central_volume",
    "sd_central_volume",
    "residual_sd_concentration",
]
INFLUENTIAL = "leaving out subject 9 (0.91) changes the posterior"


@pytest.fixture
def rested(fitted) -> xr.DataTree:
    """The small fit's results with made-up numbers of what it rests on."""
    tree = fitted.results()
    k = np.where(np.arange(12) == 8, 0.91, 0.2)
    tree["leave_one_out"] = xr.DataTree(
        xr.Dataset(
            {name: ("subject", of) for name, of in
             {"elpd": -np.arange(12.0), "p_loo": np.full(12, 0.5), "pareto_k": k}.items()},
            coords={"subject": [str(number) for number in range(1, 13)]},
            attrs={"elpd": -66.0, "standard_error": 12.5, "p_loo": 6.0, "most_pareto_k": 0.63,
                   "draws": 500, "warnings": [INFLUENTIAL]},
        )
    )  # fmt: skip
    tree["prior_sensitivity"] = xr.DataTree(
        xr.Dataset(
            {
                "overlap": ("parameter", np.full(7, 0.25)),
                "prior": ("parameter", np.full(7, 0.08)),
                "likelihood": ("parameter", np.full(7, 0.03)),
                "finding": ("parameter", ["strong_prior"] * 7),
            },
            coords={"parameter": PARAMETERS},
            attrs={"draws": 500, "warnings": []},
        )
    )
    return tree


def test_the_report_tells_influential_subjects_and_what_the_priors_do(fitted, rested):
    page = fits.render(rested, fits.read(fitted.path / "config.yaml"))
    left_out = page[page.index('<section id="left_out"') :]
    assert "1 subject with Pareto k above 0.63" in left_out and "−66.0 ± 12.5" in left_out
    assert page.count("the prior decides") >= len(PARAMETERS)


def test_warnings_are_told_and_fail_nothing(fitted, rested):
    assert warnings_of(rested) == (INFLUENTIAL,)
    rested.attrs.update(passed=1, reasons=[], warnings=list(warnings_of(rested)))
    page = fits.render(rested, fits.read(fitted.path / "config.yaml"))
    assert page.index(INFLUENTIAL) < page.index('id="answer"')
    assert "passed its diagnostics" in page


def test_a_report_does_without_where_it_was_not_asked_for(fitted):
    page = (fitted.path / "report.html").read_text(encoding="utf-8")
    assert "was not looked at" in page and "What the priors do" not in page
    assert fitted.manifest["warnings"] == []


@pytest.mark.slow
def test_subjects_are_left_out_and_parameters_held_against_their_priors(fitted):
    fit, tree = fits.read(fitted.path / "config.yaml"), fitted.results()
    posterior, prior = (tree[name].to_dataset() for name in ("posterior", "prior"))
    joint, data = Joint.of(fit.population, fit.patients)
    groups = sensitivity(
        joint, data, thinned(posterior, 100), posterior, prior, fit.patients.subjects
    )
    left_out = groups["leave_one_out"]
    assert list(left_out["subject"].values) == [str(number) for number in range(1, 13)]
    assert left_out.attrs["elpd"] == pytest.approx(float(left_out["elpd"].sum()))
    # Seven parameters of the population.
    assert 2.0 < left_out.attrs["p_loo"] < 14.0
    assert np.all(np.isfinite(left_out["pareto_k"]))
    found = groups["prior_sensitivity"]
    assert set(found["parameter"].values) == set(PARAMETERS)
    # Twelve subjects tell a typical volume far better than a prior with a factor of 2.7.
    volume = found.sel(parameter="typical_central_volume")
    assert float(volume["overlap"]) < 0.2 and float(volume["likelihood"]) > 0.05
    assert np.all((found["overlap"] >= 0.0) & (found["overlap"] <= 1.0))
