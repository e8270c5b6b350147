"""Crossovers and concentration courses against R: `lm` of logarithms, areas and terminal rates."""

import csv
import json
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from trials import curves
from trials.analyses import Status, crossover_geometric_mean_ratio

ORACLES = Path(__file__).resolve().parents[3] / "shared" / "oracles" / "analysis"
pytestmark = pytest.mark.skipif(
    not ORACLES.is_dir(), reason=f"shared answers of R are not here: {ORACLES}"
)
CLOSED_FORM = 1e-10

OF_OTHER_SHAPES = ("nca_real_theophylline", "bioequivalence_02_auc", "bioequivalence_02_cmax")
"""Cases that need programs of their own."""


def _results(method):
    if not ORACLES.is_dir():
        return [pytest.param(None, id=f"{method} missing")]
    results = json.loads((ORACLES / "expected.json").read_text())["results"]
    return [
        pytest.param(r, id=r["id"], marks=pytest.mark.slow if r["id"] in OF_OTHER_SHAPES else ())
        for r in results
        if r["method"] == method
    ]


def _rows(result):
    with (ORACLES / result["data"]).open() as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("result", _results("bioequivalence"))
def test_a_crossover_is_analysed_as_by_lm(result):
    rows, spec, expected = _rows(result), result["spec"], result["expected"]["fixed"]
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    shape = (1, len(subjects), 2)
    value, arm, used = np.full(shape, np.nan), np.zeros(shape, int), np.zeros(shape, bool)
    for row in rows:
        place = 0, subjects.index(row["subject"]), int(row["period"]) - 1
        arm[place] = row["treatment"] == spec["test"]
        if row[spec["response"]]:
            value[place], used[place] = float(row[spec["response"]]), True
    found = crossover_geometric_mean_ratio(
        jnp.asarray(value),
        jnp.asarray(arm),
        jnp.asarray(used),
        level=1 - 2 * spec["alpha"],
        margins=jnp.log(jnp.asarray(spec["limits"])),
    )
    assert int(found.status[0]) == Status.OK
    assert float(found.degrees_of_freedom[0]) == expected["df"]
    ours = [found.estimate, found.standard_error, jnp.exp(found.lower), jnp.exp(found.upper)]
    theirs = [expected["log_diff"], expected["se"], *expected["ci90"]]
    np.testing.assert_allclose([float(each[0]) for each in ours], theirs, rtol=CLOSED_FORM)
    both = max(expected["tost_p_lower_upper"])
    assert float(found.p_value[0]) == pytest.approx(both, rel=CLOSED_FORM)


@pytest.mark.parametrize("result", _results("nca"))
def test_a_course_is_evaluated_as_in_r(result):
    rows = _rows(result)
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    each = [[row for row in rows if row["subject"] == subject] for subject in subjects]
    most = max(map(len, each))
    time, value, used = (np.zeros((len(subjects), most)) for _ in range(3))
    for number, course in enumerate(each):
        for place, row in enumerate(course):
            if row["conc"]:
                time[number, place], value[number, place] = float(row["time"]), float(row["conc"])
                used[number, place] = 1
    # The answers keep values of 0 where they stand.
    course = curves.samples(*map(jnp.asarray, (time, used > 0, value)), below="zero")
    terminal = curves.terminal_phase(course)
    found = {
        "cmax": curves.maximum(course).value,
        "tmax": curves.time_of_maximum(course).value,
        "auclast_linup_logdown": curves.area_to_last(course).value,
        "auclast_linear": curves.area_to_last(course, "linear").value,
        "aucinf_obs": curves.area_to_infinity(course).value,
        "lambda_z": terminal.rate,
        "lambda_z_n": terminal.points,
        "lambda_z_adj_r2": terminal.adjusted_r_squared,
    }
    for number, subject in enumerate(subjects):
        expected = result["expected"][subject]
        for name, column in found.items():
            if name in expected and expected[name] is not None:
                ours = float(column[number])
                assert ours == pytest.approx(expected[name], rel=CLOSED_FORM), (subject, name)
            else:
                assert math.isnan(float(column[number])) or not terminal.valid[number], name
