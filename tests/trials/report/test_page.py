"""The page: whole, safe, without a word to the outside, and with a sentence for what is missing."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import plotly.graph_objects
import pytest

from insilico.pages.blocks import figures_of
from trials.report import estimates, render, summary
from trials.report.page import _sections
from trials.report.view import View

LARGEST = 8_000_000


class Page(HTMLParser):
    """What a page holds: its text outside of scripts, its headings, links and data."""

    def __init__(self, html: str):
        super().__init__()
        self.text, self.addresses, self.ids, self.specs = [], [], [], {}
        self.cells: dict[str, int] = {}
        self.items: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.addresses += [given[name] for name in ("src", "href", "action") if name in given]
        self.ids.append(given.get("id"))
        if tag in ("script", "style"):
            self._inside = given.get("id") or tag
        if tag == "li":
            self.items.append("")
        if tag == "th":
            self.cells[given.get("scope", "none")] = (
                self.cells.get(given.get("scope", "none"), 0) + 1
            )

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data):
        if self._inside.startswith("spec-"):
            self.specs[self._inside] = json.loads(data)
        elif not self._inside:
            self.text.append(data)
            if self.items:
                self.items[-1] += data

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def plain_page(plain_study, plain_tree) -> Page:
    return Page(
        render(plain_tree, plain_study, {"versions": {"jax": "0.12"}, "seconds": {"truth": 2.5}})
    )


@pytest.fixture(scope="module")
def odd_html(odd_study, odd_tree) -> str:
    return render(odd_tree, odd_study)


@pytest.fixture(scope="module")
def odd_page(odd_html) -> Page:
    return Page(odd_html)


def test_a_report_is_one_small_file(odd_html):
    assert len(odd_html.encode()) < LARGEST


@pytest.mark.parametrize("page", ["plain_page", "odd_page"])
def test_nothing_points_outside(page, request):
    found = request.getfixturevalue(page)
    assert all(address.startswith("#") for address in found.addresses)
    assert {address[1:] for address in found.addresses} <= set(found.ids)


def test_the_page_forbids_itself_every_request(odd_html):
    head = odd_html.partition("</head>")[0]
    assert "Content-Security-Policy" in head and "default-src 'none'" in head
    assert "@import" not in head and "url(" not in head


@pytest.mark.parametrize("page", ["plain_page", "odd_page"])
def test_ids_are_unique_and_headings_of_tables_have_a_scope(page, request):
    found = request.getfixturevalue(page)
    ids = [one for one in found.ids if one]
    assert len(ids) == len(set(ids))
    assert "none" not in found.cells
    assert found.cells["row"] > 50


@pytest.mark.parametrize("page", ["plain_page", "odd_page"])
def test_no_number_is_left_raw(page, request):
    words = request.getfixturevalue(page).words
    raw = re.search(
        r"\bnan\b|\bNone\b|\binf\b|± -|\s-\d+\.\d|Measured\(|np\.float|\d\.\d{7}", words
    )
    assert raw is None, words[raw.start() - 60 : raw.end() + 20]


@pytest.mark.parametrize("which", ["plain", "odd"])
def test_figures_are_valid_and_described(which, request):
    study = request.getfixturevalue(f"{which}_study")
    view = View(request.getfixturevalue(f"{which}_tree"), study)
    figures = [figure for section in _sections(view, None) for figure in figures_of(section.blocks)]
    assert len(figures) >= 6
    for figure in figures:
        plotly.graph_objects.Figure(figure.spec)  # raises for a name that plotly does not know
        assert len(figure.alt) > 40
        assert figure.source.startswith("/")


def test_what_a_config_says_is_shown_as_text_and_never_run(odd_html, odd_page):
    assert "<script>alert" not in odd_html
    assert "<script>alert('title')</script>" in odd_page.words
    assert "Low <b>dose</b>" in odd_page.words
    assert "Doses are taken <at night>." in odd_page.words


def test_the_sections_come_in_the_readers_order(plain_page):
    order = ["answer", "course", "arms", "effects", "estimates", "events", "published",
             "sensitivity", "design", "baseline", "failures", "assumptions", "evidence", "methods",
             "provenance"]  # fmt: skip
    assert [one for one in plain_page.ids if one in order] == order


@pytest.mark.parametrize(
    "said",
    [
        "Subjects: none. Each of 4,800 solves of a subject under an arm reached the end.",
        "Analyses: none. All 30 trials gave an estimate of each.",
        "not the same number every day",
        "Gage 2008, pharmacogenetic",
        "unverified",
        "Versions / Jax 0.12",
    ],
)
def test_a_clean_run_says_what_it_is(plain_page, said):
    assert said in plain_page.words


@pytest.mark.parametrize(
    "said",
    [
        "THIS RUN FAILED",
        "Failed solves by cause (70 of 2,160)",
        "the first 50 of 70",
        "no variation",
        "“Never” has no estimate in any trial ",
        "The run came with no manifest",
        "nobody leaves, which no trial has ever seen.",
        "the config's own formula",
        "testozole, every 2 d from day 1 to day 27 at 8 h",
    ],
)
def test_an_odd_run_says_what_is_odd(odd_page, said):
    assert said in odd_page.words


def test_means_of_ratios_are_called_geometric_where_there_are_any(odd_page, plain_page):
    said = "Means of ratios, and of their limits, are geometric."
    assert said in odd_page.words
    assert said not in plain_page.words


def test_the_table_of_failures_is_cut_at_fifty(odd_page):
    assert "0/4/49" in odd_page.words
    assert "0/0/50" not in odd_page.words


def test_nothing_is_said_of_a_published_trial_where_there_is_none(plain_study, plain_tree, without):
    study = dataclasses.replace(
        plain_study,
        config=plain_study.config.model_copy(update={"published": None, "sensitivity": {}}),
    )
    page = Page(render(without(plain_tree, "published", "sensitivity"), study))
    assert "published" not in page.ids and "sensitivity" not in page.ids
    assert "reported" not in page.words.partition("Patients over time")[0]


@pytest.mark.parametrize(
    ("kept", "groups"), [("endpoints", ["outcomes"]), ("estimates", ["outcomes", "endpoints"])]
)
def test_what_was_not_kept_falls_away_with_a_sentence(
    plain_study, plain_tree, without, kept, groups
):
    study = dataclasses.replace(
        plain_study, config=plain_study.config.model_copy(update={"keep": kept})
    )
    page = Page(render(without(plain_tree, *groups), study))
    assert f"the run kept only {kept}" in page.words
    assert "spec-effects" in page.specs
    assert "spec-course-inr" not in page.specs
    assert ("spec-events-first_therapeutic_inr" in page.specs) == (kept == "endpoints")


def test_a_single_arm_without_analyses_still_has_a_report(plain_study, plain_tree, without):
    config = plain_study.config
    one = "clinically_guided"
    study = dataclasses.replace(
        plain_study,
        config=config.model_copy(
            update={
                "arms": {one: config.arms[one]},
                "analyses": {},
                "success": None,
                "published": None,
                "sensitivity": {},
            }
        ),
    )
    tree = without(
        plain_tree, "estimates", "truth", "operating_characteristics", "published", "sensitivity"
    )
    tree = tree.map_over_datasets(lambda d: d.sel(arm=[one]) if "arm" in d.dims else d)
    tree["randomisation"]["arm_number"] = tree["randomisation"]["arm_number"] * 0
    page = Page(render(tree, study))
    assert "answers no question about an effect" in page.words
    assert "spec-course-inr" in page.specs
    assert summary(View(tree, study)) == []


def test_the_measured_course_is_that_of_the_arm_each_subject_was_given(plain_study, plain_tree):
    page = Page(render(plain_tree, plain_study))
    medians = [
        trace["y"]
        for trace in page.specs["spec-course-inr"]["data"]
        if trace["mode"] == "lines+markers"
    ]
    outcomes, given = plain_tree["outcomes"], plain_tree["randomisation"]["arm_number"].values
    for arm, found in enumerate(medians):
        values = outcomes["inr_measured"].values[:, :, arm][given == arm]
        seen = outcomes["attended"].values[:, :, arm][given == arm]
        expected = [np.median(values[seen[:, day], day]) for day in range(values.shape[-1])]
        np.testing.assert_allclose(found, expected, rtol=1e-4)  # five digits are shown


def test_curves_of_events_are_kaplan_meiers(plain_study, plain_tree):
    """Against lifelines, over all subjects of an arm."""
    from lifelines import KaplanMeierFitter

    page = Page(render(plain_tree, plain_study))
    curves = [t for t in page.specs["spec-events-first_therapeutic_inr"]["data"] if "name" in t]
    name = "first_therapeutic_inr"
    endpoints = plain_tree["endpoints"]
    given = plain_tree["randomisation"]["arm_number"].values
    for arm, curve in enumerate(curves):
        use = (given == arm) & endpoints[f"{name}_valid"].values[:, :, arm]
        fitter = KaplanMeierFitter().fit(
            endpoints[name].values[:, :, arm][use],
            endpoints[f"{name}_event"].values[:, :, arm][use],
        )
        # Just after each time: times are stored to four decimals, and events fall on visits.
        expected = 100 * (1 - fitter.predict(np.array(curve["x"]) + 1e-3).to_numpy())
        np.testing.assert_allclose(curve["y"], expected, atol=1e-3)


def test_the_summary_has_a_row_for_each_analysis(odd_study, odd_tree):
    rows = summary(View(odd_tree, odd_study))
    assert [row.unit for row in rows] == [
        "mg/L",
        "mg/L",
        "hazard ratio",
        "percentage points",
        "mg/d",
    ]
    assert rows[2].published == "1.6 (1.20 to 2.10)"
    assert rows[4].estimate == rows[4].interval == "n/a" and rows[4].failed == "12"


def test_a_real_run_has_a_report(coag_study, coag_tree):
    """The made-up trees have the shape of a real one."""
    page = Page(render(coag_tree, coag_study))
    assert {
        "spec-course-inr",
        "spec-course-dose",
        "spec-arms-primary",
        "spec-effects",
        "spec-estimates-decisive-1",
    } <= set(page.specs)
    assert "In 4 simulated trials of 150 patients each" in page.words


def test_what_was_found_is_never_cut_from_a_panel_s_title(plain_study, plain_tree):
    tree = plain_tree.copy(deep=True)
    p_value, estimate = tree["estimates"]["p_value"], tree["estimates"]["estimate"]
    of = {"analysis": "high_inr"}
    p_value.loc[of] = 0.001
    estimate.loc[of] = np.where(np.arange(30) < 29, -0.02, 0.02)[None]
    view = View(tree, plain_study)
    (analysis,) = (a for a in view.analyses if a.name == "high_inr")
    heading = estimates._heading(analysis)
    assert "100 % significant (3.3 % more frequent, 96.7 % less frequent)" in heading


def test_evidence_is_listed_a_statement_a_line(plain_study, plain_page):
    model = plain_study.protocol.model
    starts = [" ".join(item.split()) for item in plain_page.items]
    for statement in (*model.validated, *model.limits):
        assert any(start.startswith(" ".join(statement.split())) for start in starts)


def test_parameters_are_named_in_words_with_acronyms_alone_in_capitals(plain_study, plain_tree):
    view = View(plain_tree, plain_study)
    assert view.words("half_effect_concentration") == "Half effect concentration"
    assert view.words("target_inr") == "Target INR"
