"""The ensemble benchmark: what it prints, and how it finds tolerances of equal error."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from scripts.bench import roofline
from scripts.bench.matched_error import closest_below

REPOSITORY = Path(__file__).resolve().parents[3]
DATA = REPOSITORY.parent / "shared" / "bench"


@pytest.mark.skipif(
    not (DATA / "ensemble_problems.npz").is_file(), reason=f"no benchmark problems in {DATA}"
)
@pytest.mark.slow
def test_a_run_tells_of_each_tool_at_nominal_tolerance_and_at_equal_error():
    ran = subprocess.run(
        [sys.executable, "scripts/bench/ensemble.py", "--problem", "P1", "--patients", "64",
         "--tools", "insilico-xla,diffrax-scan", "--repeats", "2", "--quiet-wait", "0",
         "--data", str(DATA), "--json"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    for row in rows:
        assert list(row) == [
            "bench",
            "case",
            "tool",
            "device",
            "value",
            "unit",
            "max_error",
            "ratio_to",
        ]
        assert row["bench"] == "ensemble" and row["unit"] == "patients/s"
        assert row["device"] == "2 host devices" and row["value"] > 0
    names = ["insilico-xla", "diffrax-scan", "diffrax-vmap"]
    assert [row["tool"] for row in rows] == 2 * names
    nominal, matched = rows[:3], rows[3:]
    assert {row["case"] for row in nominal} == {"P1 float64 rtol 1e-06 atol 1e-08, 64 patients"}
    target = nominal[0]["max_error"]
    assert target < 1e-5
    assert {row["case"] for row in matched} == {
        f"P1 float64 at error {target:.1e}, 64 patients",
    }
    assert all(row["max_error"] <= target * 1.001 for row in matched)
    # The baseline has one name in every run, whatever form of diffrax it is.
    assert nominal[1] == nominal[2] | {"tool": "diffrax-scan", "ratio_to": nominal[1]["ratio_to"]}
    assert nominal[0]["ratio_to"]["diffrax-vmap"] == nominal[0]["ratio_to"]["diffrax-scan"]


@pytest.mark.parametrize(
    ("target", "start", "expected"),
    [
        (1e-4, 1e-6, 1e-5),  # looser: the error is ten times the tolerance
        (1e-6, 1e-6, 1e-7),  # tighter
        (1e-5, 1e-6, 1e-6),  # already there
        (3e-5, 1e-6, 1e-6),  # a rung further would be above
    ],
)
def test_the_tolerance_of_equal_error_is_the_loosest_below_it(target, start, expected):
    tolerance, error = closest_below(target, lambda tolerance: 10 * tolerance, start) or (0, 0)
    assert tolerance == pytest.approx(expected)
    assert error == pytest.approx(10 * expected)


def test_an_error_out_of_reach_has_no_tolerance():
    assert closest_below(1e-6, lambda _: 1.0, 1e-4) is None
    assert closest_below(1e-6, lambda _: float("nan"), 1e-4) is None


def test_operations_are_those_of_the_innermost_loop_for_one_lane():
    def program(x):
        def row(x, _):
            # Three operations a lane and turn; comparing and choosing are not arithmetic.
            turn = lambda y: jnp.where(y > 1, y * 2.0 + 1.0, jnp.exp(y))  # noqa: E731
            return lax.while_loop(lambda y: jnp.max(y) < 10.0, turn, x + 1.0), None

        return lax.scan(row, x, length=4)[0]

    assert roofline.operations_a_step(jax.make_jaxpr(program)(jnp.ones(8)), 8) == 3


def test_the_roof_is_the_lower_of_arithmetic_and_memory():
    peak = roofline.peak_of("NVIDIA H100 80GB HBM3")
    assert peak is not None and peak.float32 == 67e12
    assert roofline.patients_a_second(peak, "float32", 67e3, 1) == pytest.approx(1e9)
    assert roofline.patients_a_second(peak, "float64", 1, 3.35e12 / 8) == pytest.approx(1.0)
    assert roofline.peak_of("an abacus") is None
