"""The report says first whether to believe the fit, and holds all that it rests on."""

import re

import numpy as np
import pytest
import xarray as xr

from cohorts import fits
from cohorts.diagnosis import judge_approximation
from cohorts.fits.report import render
from cohorts.fits.report.parameters import _density
from cohorts.inference import Weights


@pytest.fixture(scope="module")
def page(fitted) -> str:
    return (fitted.path / "report.html").read_text(encoding="utf-8")


def test_the_verdict_comes_first(page):
    verdict = page.index('id="answer"')
    assert "diagnostics" in page[verdict : verdict + 400]
    assert verdict < page.index('id="parameters"')


def test_a_fit_that_failed_says_so_in_red_at_the_top(fitted):
    fit, tree = fits.read(fitted.path / "config.yaml"), fitted.results()
    red = '<div class="warning failed" role="alert">'
    tree.attrs.update(passed=1, reasons=[], warnings=[])
    assert red not in render(tree, fit)
    tree.attrs.update(passed=0, reasons=["R-hat is 1.4"], warnings=["a subject is odd"])
    page = render(tree, fit)
    start, end = page.index(red), page.index("a subject is odd")
    assert start < page.index("R-hat is 1.4") < end < page.index('id="answer"')


def test_every_section_is_there(page):
    for key in (
        "parameters",
        "individuals",
        "predictive",
        "left_out",
        "chains",
        "data",
        "model",
        "provenance",
    ):
        assert f'<section id="{key}"' in page


def test_every_parameter_of_the_population_is_in_the_table(page):
    for name in (
        "Typical clearance",
        "Between-subject sd of clearance",
        "Residual error of concentration",
    ):
        assert name in page


def test_what_was_learned_has_its_unit(page):
    for label in ("Typical clearance (L/h)", "Residual error of concentration (mg/L)"):
        assert label in page


def test_a_density_ends_where_its_number_does():
    draws = np.random.default_rng(1).exponential(size=20_000)
    grid = np.linspace(-0.5, 3.0, 141)
    density = _density(draws, grid, (0.0, np.inf))
    assert not density[grid < 0.0].any()
    # A kernel without reflection has half the density at the bound. What is left is the curvature
    # of the density at the bandwidth of 20,000 draws, and their Monte-Carlo error.
    inside = grid >= 0.0
    np.testing.assert_allclose(density[inside], np.exp(-grid[inside]), atol=0.12)


def test_every_subject_has_its_figure(page):
    assert set(
        re.findall(r"<b>Subject (\d+)</b>", page.replace("\\u003c", "<").replace("\\u003e", ">"))
    ) == {str(number) for number in range(1, 13)}


def test_a_fit_that_failed_says_so_before_anything_else(fitted):
    tree = fitted.results()
    tree.attrs.update(passed=0, reasons=["R-hat of typical_clearance is 1.2"])
    page = fits.render(tree, fits.read(fitted.path / "config.yaml"))
    assert page.index("R-hat of typical_clearance is 1.2") < page.index('id="answer"')
    assert "failed its diagnostics" in page


@pytest.fixture(scope="module")
def as_focei(fitted):
    """The sampled fit's results with the groups of an approximation, and its fit read as one."""
    tree = fitted.results()
    posterior = tree["posterior"].to_dataset()
    names = [name for name in tree["prior"].to_dataset() if name in posterior]
    even = np.zeros(posterior.sizes["chain"] * posterior.sizes["draw"])
    found = judge_approximation(posterior[names], Weights.of(even, even)).table.assign(
        converged=1,
        iterations=17,
        evaluations=19,
        parameters=7,
        minus_two_log_likelihood=359.5,
        objective_function_value=116.9,
        aic=373.5,
        bic=393.7,
        condition_number=1.6,
        importance_minus_two_log_likelihood=360.8,
        importance_standard_error=0.3,
    )
    tree["diagnostics"] = xr.DataTree(found)
    objective = ("iteration", np.linspace(180.0, 130.0, 17))
    tree["search"] = xr.DataTree(xr.Dataset({"objective": objective}, {"iteration": range(17)}))
    return tree, fits.read(fitted.path / "config.yaml", "method=focei")


def text_of(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_the_page_of_an_approximation_says_so_first(as_focei):
    tree, fit = as_focei
    tree.attrs.update(passed=1, reasons=[])
    page = text_of(fits.render(tree, fit))
    label = "Approximation: FOCEI; not a sampled posterior"
    assert page.index(label) < page.index('id="answer"')
    lead = page.index('class="lead"')
    assert label in page[lead : lead + 100]
    assert "passed its checks" in page[lead : lead + 200]


def test_it_has_estimates_and_the_search_in_place_of_chains(as_focei):
    page = text_of(fits.render(*as_focei))
    assert '<section id="approximation"' in page and '<section id="chains"' not in page
    assert "R-hat" not in page and " chains" not in page[: page.index('id="answer"')]
    for words in (
        "Standard error",
        "RSE",
        "Pareto k",
        "AIC",
        "BIC",
        "Objective function value",
        "360.80 ± 0.30",
        "The search by its objective",
        "Typical clearance",
    ):
        assert words in page


def test_an_approximation_that_failed_says_so_before_anything_else(as_focei):
    tree, fit = as_focei
    tree.attrs.update(passed=0, reasons=["Pareto k is 1.20"])
    page = fits.render(tree, fit)
    assert page.index("Pareto k is 1.20") < page.index('id="answer"')
    assert "failed its checks" in page


def test_it_needs_nothing_from_anywhere(page):
    # Plotly's own text has addresses in it, which nothing asks for.
    without_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', without_scripts)


def test_predictive_checks_are_shown_by_the_covariate_that_is_asked_for(page):
    for title in ("Weight up to 70.5 kg (7 subjects)", "Weight above 70.5 kg (5 subjects)"):
        assert title in page
