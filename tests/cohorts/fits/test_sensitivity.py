"""What a fit says of its priors and of single subjects."""

import numpy as np

from cohorts import fits
from cohorts.fits.sensitivity import warnings_of


def test_every_subject_is_left_out_once(fitted):
    found = fitted.results()["leave_one_out"].to_dataset()
    assert list(found["subject"].values) == [str(number) for number in range(1, 13)]
    assert found.attrs["elpd"] == float(found["elpd"].sum())
    # Seven parameters of the population.
    assert 2.0 < found.attrs["p_loo"] < 14.0
    assert np.all(np.isfinite(found["pareto_k"]))


def test_every_parameter_is_held_against_its_prior(fitted):
    found = fitted.results()["prior_sensitivity"].to_dataset()
    assert set(found["parameter"].values) == {
        "typical_absorption_rate", "typical_clearance", "typical_central_volume",
        "sd_absorption_rate", "sd_clearance", "sd_central_volume", "residual_sd_concentration",
    }  # fmt: skip
    # Twelve subjects tell a typical volume far better than a prior with a factor of 2.7.
    volume = found.sel(parameter="typical_central_volume")
    assert float(volume["overlap"]) < 0.2 and float(volume["likelihood"]) > 0.05
    assert np.all((found["overlap"] >= 0.0) & (found["overlap"] <= 1.0))


def test_warnings_are_told_and_fail_nothing(fitted):
    tree = fitted.results()
    told = warnings_of(tree)
    assert list(told) == list(fitted.manifest["warnings"])
    tree.attrs.update(passed=1, reasons=[], warnings=["leaving out subject 9 (0.91)"])
    page = fits.render(tree, fits.read(fitted.path / "config.yaml"))
    assert page.index("leaving out subject 9 (0.91)") < page.index('id="answer"')
    assert "passed its diagnostics" in page


def test_a_report_does_without_where_it_was_not_asked_for(fitted):
    tree = fitted.results()
    for name in ("leave_one_out", "prior_sensitivity"):
        del tree[name]
    page = fits.render(tree, fits.read(fitted.path / "config.yaml"))
    assert "was not looked at" in page and "What the priors do" not in page
