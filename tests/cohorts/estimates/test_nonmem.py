"""NONMEM's files say what they say, and mistakes in them are told with their lines."""

import numpy as np
import pytest

from cohorts.data import DataError
from cohorts.estimates import Estimates
from cohorts.estimates.nonmem import read_ext, with_cov


def read(ext: str, cov: str | None = None, table: int | None = None) -> Estimates:
    estimates, number = read_ext(ext, "run12.ext", table)
    return estimates if cov is None else with_cov(estimates, number, cov, "run12.cov")


def test_the_last_estimation_counts(ext):
    found = read(ext)
    assert found.method == "First Order Conditional Estimation with Interaction"
    assert found.names == [
        "THETA1",
        "THETA2",
        "THETA3",
        "THETA4",
        "SIGMA(1,1)",
        "OMEGA(1,1)",
        "OMEGA(2,1)",
        "OMEGA(2,2)",
        "OMEGA(3,3)",
    ]
    clearance = found["THETA1"]
    assert (clearance.value, clearance.standard_error) == (1.02962, 0.08)
    assert clearance.role == "fixed_effect" and not clearance.fixed
    assert found["OMEGA(2,2)"].role == "variance"
    assert found["OMEGA(2,2)"].relative_standard_error == pytest.approx(0.3)


def test_another_estimation_is_taken_where_it_is_stated(ext):
    found = read(ext, table=1)
    assert found.method == "First Order" and found["THETA1"].value == 1.1
    assert found["THETA1"].standard_error is None and not found.uncertain("THETA1")


def test_fixed_parameters_have_no_standard_error(ext):
    found = read(ext)
    assert found["THETA4"].fixed and found["THETA4"].standard_error is None
    assert not found.uncertain("THETA4")


def test_before_the_row_of_fixed_parameters_a_huge_standard_error_tells_them(ext):
    kept = [line for line in ext.splitlines() if not line.startswith("  -1000000006")]
    found = read("\n".join(kept))
    assert found["THETA4"].fixed and not found["THETA1"].fixed
    assert "OMEGA(3,1)" not in found.names


def test_a_covariance_is_found_by_its_two_effects(ext):
    found = read(ext)
    between = found.covariance_of_effects("OMEGA(2,2)", "OMEGA(1,1)")
    assert between is not None and between.name == "OMEGA(2,1)" and between.value == 0.024
    # The model has no other.
    assert found.covariance_of_effects("OMEGA(3,3)", "OMEGA(1,1)") is None


def test_the_matrix_is_of_what_was_estimated_and_gives_the_standard_errors(ext, cov):
    without = "\n".join(line for line in ext.splitlines() if not line.startswith("  -1000000001"))
    found = read(without, cov)
    assert "THETA4" not in found.covariance_names and "OMEGA(3,1)" not in found.covariance_names
    names = ("OMEGA(1,1)", "THETA1")
    np.testing.assert_array_equal(found.covariance_of(names), [[7.29e-4, 5.4e-4], [5.4e-4, 6.4e-3]])
    assert found["THETA1"].standard_error == pytest.approx(0.08, rel=1e-12)


def test_without_a_matrix_estimates_are_independent(ext):
    found = read(ext).covariance_of(["THETA1", "THETA2"])
    np.testing.assert_allclose(found, [[0.0064, 0.0], [0.0, 0.0036]], rtol=1e-12)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1.02962D+00", 1.02962),
        ("1.02962-101", 1.02962e-101),
        ("1.02962+101", 1.02962e101),
        ("-1.02962E00", -1.02962),
        (".5", 0.5),
        ("1", 1.0),
    ],
)
def test_numbers_are_read_as_fortran_writes_them(ext, written, value):
    head, final, rest = ext.rpartition("  -1000000000  1.02962E+00")
    assert final
    assert read(f"{head}  -1000000000  {written}{rest}")["THETA1"].value == value


def test_a_run_that_was_stopped_is_not_trusted(ext):
    head, _, rest = ext.rpartition("  -1000000007  0.00000E+00")
    found = read(f"{head}  -1000000007  1.34000E+02{rest}")
    assert found.unfinished == (
        "First Order Conditional Estimation with Interaction did not terminate successfully "
        "(status 134)"
    )
    assert read(ext).unfinished is None


def test_an_analysis_without_a_test_of_convergence_is_no_failure(ext):
    bayesian = ext.replace(
        "First Order Conditional Estimation with Interaction", "MCMC Bayesian Analysis"
    )
    head, _, rest = bayesian.rpartition("  -1000000007  0.00000E+00")
    assert read(f"{head}  -1000000007  2.00000E+00{rest}").unfinished is None
    assert read(f"{head}  -1000000007  1.00000E+00{rest}").unfinished is not None


def test_an_evaluation_says_nothing_of_the_estimates_that_it_is_made_at(ext):
    """As after SAEM: importance sampling whose estimates are those of the table before."""
    evaluated = ext.replace(
        "First Order Conditional Estimation with Interaction",
        "Objective Function Evaluation by Importance Sampling",
    )
    head, _, rest = evaluated.rpartition("  -1000000007  0.00000E+00")
    stopped = f"{head}  -1000000007  1.00000E+00{rest}"
    assert read(stopped).unfinished is None
    before = stopped.replace("  -1000000007  0.00000E+00", "  -1000000007  1.34000E+02")
    assert read(before).unfinished == "First Order did not terminate successfully (status 134)"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  -1000000000  1.02962E+00", "  -1000000000  ************",
         'line 13, THETA1: is no number: "************"; stars stand for a number that did not'),
        ("  -1000000001  8.00000E-02", "  -1000000001          NaN", "line 14, THETA1: is no num"),
        ("  -1000000000  1.02962E+00", "  -1000000000",
         "line 13, -1000000000: has 11 numbers, the header has 12 names; was the file cut off?"),
        ("  -1000000000  1.02962E+00", "           15  1.02962E+00",
         "line 9, table 2 has no final estimates (no row -1000000000); `table: 1` has them"),
        (" ITERATION    THETA1", ",ITERATION,THETA1",
         "line 10, has no header that begins with ITERATION; leave FORMAT of $ESTIMATION"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_estimates_is_told_with_its_line(ext, old, new, said):
    head, found, rest = ext.rpartition(old)
    assert found
    with pytest.raises(DataError) as caught:
        read(head + new + rest)
    assert "run12.ext" in str(caught.value) and said in str(caught.value)


def test_all_mistakes_are_told_at_once(ext):
    wrong = ext.replace("  -1000000000  1.02962E+00  3.46574E+00", "  -1000000000  *****  *****")
    wrong = wrong.replace("  -1000000001  8.00000E-02", "  -1000000001  0.08.1")
    with pytest.raises(DataError) as caught:
        read(wrong)
    assert [(each.line, each.column) for each in caught.value.mistakes] == [
        (13, "THETA1"),
        (13, "THETA2"),
        (14, "THETA1"),
    ]


@pytest.mark.parametrize(
    "text", ["", "TABLE NO.     1: First Order: Goal Function=…\n", "a,b\n1,2"]
)
def test_what_is_no_table_is_told(text):
    with pytest.raises(DataError, match="header that begins with ITERATION"):
        read(text)


def test_a_table_that_is_not_there_is_told(ext, cov):
    with pytest.raises(DataError, match="has no table 3, but these: 1, 2"):
        read(ext, table=3)
    with pytest.raises(DataError, match=r"run12.cov: 1 mistake\n- has no table 1, but these: 2"):
        read(ext, cov, table=1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            " THETA2        2.16000E-03",
            " THETA2        3.16000E-03",
            "line 4, THETA2: is 0.00316 with THETA1, and the other way round 0.00216",
        ),
        ("\n THETA3 ", "\n THETA5 ", "rows of THETA1, THETA2, THETA5, THETA4"),
        ("THETA3 ", "THETA9 ", 'THETA9: is no parameter of run12.ext; did you mean "THETA4"?'),
        (
            " THETA2        2.16000E-03",
            " THETA2        ***********",
            "line 4, THETA1: is no number",
        ),
    ],
)
def test_a_mistake_in_the_matrix_is_told_with_its_line(ext, cov, old, new, said):
    assert old in cov
    with pytest.raises(DataError) as caught:
        read(ext, cov.replace(old, new, 1 if old[0] in " \n" else 2))
    assert "run12.cov" in str(caught.value) and said in str(caught.value)
