"""The report says first whether to believe the fit, and holds all that it rests on."""

import re

import pytest

from cohorts import fits


@pytest.fixture(scope="module")
def page(fitted) -> str:
    return (fitted.path / "report.html").read_text(encoding="utf-8")


def test_the_verdict_comes_first(page):
    verdict = page.index('id="answer"')
    assert "diagnostics" in page[verdict : verdict + 400]
    assert verdict < page.index('id="parameters"')


def test_every_section_is_there(page):
    for key in ("parameters", "individuals", "predictive", "left_out", "chains", "data", "model",
                "provenance"):  # fmt: skip
        assert f'<section id="{key}"' in page


def test_every_parameter_of_the_population_is_in_the_table(page):
    for name in (
        "Typical clearance",
        "Between-subject sd of clearance",
        "Residual error of concentration",
    ):
        assert name in page


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


def test_it_needs_nothing_from_anywhere(page):
    # Plotly's own text has addresses in it, which nothing asks for.
    without_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', without_scripts)
