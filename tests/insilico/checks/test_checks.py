"""A model that is wrong is told so. That those of the library pass is a test of the library."""

import dataclasses
import json
import math
from typing import Annotated, NamedTuple

import jax
import numpy as np
import pytest

from insilico import models
from insilico.checks import CHEAP, NOT_OK, SKIPPED, Situation, check
from insilico.checks.kinks import crossed
from insilico.model import Balance, Model, NoInputs, Quantity
from insilico.solve import Dose
from insilico.testing import check_model
from insilico.vocabulary import Value, Vector, maximum

TWO = models.get("two_compartment")
TYPICAL = TWO.typical


class State(NamedTuple):
    central: Annotated[Value, Quantity("mg", "drug in the body")]
    bound: Annotated[Value, Quantity("mg", "drug that is bound")]


class Parameters(NamedTuple):
    elimination: Annotated[Value, Quantity("1/h", "elimination")]
    binding: Annotated[Value, Quantity("1/h", "binding and release")]


class Outputs(NamedTuple):
    central: Annotated[Value, Quantity("mg", "drug in the body")]


def _binding(time: Value, s: State, p: Parameters, inputs: NoInputs) -> State:
    bound = p.binding * (s.central - s.bound)
    return State(-p.elimination * s.central - bound, bound)


STIFF = Model(
    name="stiff",
    title="Fast binding, slow elimination",
    citation="none",
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    initial=lambda p: State(0.0 * p.elimination, 0.0 * p.elimination),
    derivative=_binding,
    outputs=lambda time, s, p: Outputs(s.central),
    method="rodas5p",
    typical=Parameters(0.1, 1000.0),
    balances=(
        Balance(
            "drug",
            lambda s, p: s.central + s.bound,
            outflows={"elimination": lambda s, p, i: p.elimination * s.central},
        ),
    ),
)


def _verdicts(report) -> dict[str, str]:
    return {finding.what: finding.verdict for finding in report.findings}


def _only(report, what: str):
    (found,) = [finding for finding in report.findings if finding.what == what]
    return found


def _measured(finding) -> float:
    assert finding.measured is not None
    return finding.measured


def test_a_wrong_unit_is_not_ok_and_its_place_is_named():
    def derivative(time, s, p, inputs):
        return TWO.derivative(time, s, p, inputs)._replace(depot=-p.clearance * s.depot)

    report = check(dataclasses.replace(TWO, derivative=derivative), only=CHEAP)
    assert not report.ok
    found = _only(report, "units")
    assert found.verdict == NOT_OK and found.measured == 1
    assert "depot is length^3·mass·time^-1, declared mass·time^-1" in found.detail


def test_a_parameter_that_nothing_depends_on_is_named():
    """The initial state has only its shape from one."""

    def derivative(time, s, p, inputs):
        return State(-p.binding * s.central, 0.0 * s.bound)

    wrong = dataclasses.replace(STIFF, derivative=derivative)
    found = _only(check(wrong, only=["parameters"]), "unused parameters")
    assert (found.verdict, found.measured, found.detail) == (NOT_OK, 1, "elimination")
    shown = dataclasses.replace(
        wrong, outputs=lambda time, s, p: Outputs(p.elimination * s.central)
    )
    assert check(shown, only=["parameters"]).ok


def test_a_balance_s_flows_have_the_unit_of_its_total_over_time():
    wrong = Balance("drug", lambda s, p: s.central, outflows={"loss": lambda s, p, i: s.central})
    found = _only(check(dataclasses.replace(STIFF, balances=(wrong,)), only=["units"]), "units")
    assert found.verdict == NOT_OK and "balance of drug, loss" in found.detail


def test_mass_that_gets_lost_is_not_ok():
    def derivative(time, s, p, inputs):
        rates = TWO.derivative(time, s, p, inputs)
        return rates._replace(peripheral=0.999 * rates.peripheral)

    found = _only(
        check(dataclasses.replace(TWO, derivative=derivative), only=CHEAP), "balance of drug"
    )
    assert found.verdict == NOT_OK
    assert 1e-5 < _measured(found) < 1e-2


def test_an_outflow_that_is_not_named_is_not_ok_and_a_conserved_sum_needs_none():
    unnamed = dataclasses.replace(STIFF.balances[0], outflows={})
    report = check(dataclasses.replace(STIFF, balances=(unnamed,)), only=["balances"])
    assert _verdicts(report) == {"balance of drug": NOT_OK}

    def closed(time, s, p, inputs):
        return _binding(time, s, p._replace(elimination=0.0 * p.elimination), inputs)

    model = dataclasses.replace(STIFF, derivative=closed, balances=(unnamed,))
    assert check(model, only=["balances", "units"]).ok


def test_a_model_of_another_structure_is_told_so_and_nothing_else():
    model = dataclasses.replace(TWO, initial=lambda p: (0.0, 0.0, 0.0))
    report = check(model)
    assert report.findings[0].verdict == NOT_OK
    assert "initial state of model two_compartment must be a State" in report.findings[0].detail
    assert {finding.verdict for finding in report.findings[1:]} == {SKIPPED}


def test_equations_that_raise_are_a_finding():
    def derivative(time, s, p, inputs):
        raise RuntimeError("no such thing")

    report = check(dataclasses.replace(TWO, derivative=derivative), only=["units"])
    assert report.findings[0].detail == "RuntimeError: no such thing"
    with pytest.raises(AssertionError, match="two_compartment fails 1 checks:\n- units: not ok"):
        check_model(report.model, only=["units"])


def test_a_stiff_model_that_is_declared_explicit_is_told_so():
    # 25 hours, in which stability forces some 15,000 explicit steps.
    wrong = check(dataclasses.replace(STIFF, method="tsit5"), only=["stiffness"], until=25.0)
    found = _only(wrong, "method")
    assert found.verdict == NOT_OK
    assert _measured(found) > 5.0 == found.bound
    assert "recommended: stiff" in found.detail
    # Eigenvalues of the typical patient: 2000 and 0.05; over the range both move.
    assert 4e4 < _measured(_only(wrong, "stiffness")) < 4e5


def test_a_model_that_is_needlessly_stiff_is_told_so():
    mild = dataclasses.replace(STIFF, typical=Parameters(0.1, 0.2), method="rodas5p")
    found = _only(check(mild, only=["stiffness"]), "method")
    assert found.verdict == NOT_OK and "recommended: explicit" in found.detail


@jax.custom_jvp
def _misled(x):
    return x * x


@_misled.defjvp
def _(primals, tangents):
    return _misled(*primals), 1.0001 * 2.0 * primals[0] * tangents[0]


@pytest.mark.parametrize(
    ("loss", "mended_by"),
    [
        (lambda s, p: p.elimination if s.central > 1.0 else 0.0, "where(condition, a, b)"),
        (lambda s, p: p.elimination * math.exp(-s.central), "insilico.vocabulary"),
    ],
)
def test_equations_of_one_patient_alone_are_told_how_to_be_of_many(loss, mended_by):
    wrong = dataclasses.replace(
        STIFF, derivative=lambda time, s, p, inputs: State(-loss(s, p) * s.central, 0.0 * s.bound)
    )
    assert mended_by in check(wrong, only=["structure"]).findings[0].detail


class Rates(NamedTuple):
    rates: Annotated[Vector, Quantity("1/h", "elimination and binding", size=2)]


def test_parameters_of_several_numbers_are_checked_one_by_one():
    def derivative(time, s, p, inputs):
        bound = p.rates[1] * (s.central - s.bound)
        return State(-_misled(p.rates[0]) * s.central - bound, bound)

    wrong = dataclasses.replace(
        STIFF,
        Parameters=Rates,
        derivative=derivative,
        method="tsit5",
        typical=Rates(Vector(0.5, 1.0)),
        balances=(),
        initial=lambda p: State(100.0 + 0.0 * p.rates[0], 0.0 * p.rates[0]),
    )
    report = check(wrong, only=[*CHEAP, "gradient"], until=10.0)
    assert "in rates[0]" in _only(report, "gradient").detail
    # The square of a rate is no rate: that is told, too.
    assert {each.what for each in report.failing} == {"units", "gradient"}
    assert report.situation["typical"] == {"rates[0]": 0.5, "rates[1]": 1.0}


def test_a_wrong_derivative_is_found_by_finite_differences():
    def derivative(time, s, p, inputs):
        return State(-_misled(p.elimination) * s.central, 0.0 * s.bound)

    wrong = dataclasses.replace(
        STIFF, derivative=derivative, method="tsit5", typical=Parameters(0.5, 1.0), balances=()
    )
    found = _only(check(wrong, only=["gradient"], until=10.0), "gradient")
    assert found.verdict == NOT_OK
    assert found.measured == pytest.approx(1e-4, rel=0.1)
    assert "in elimination" in found.detail


def test_a_solution_that_goes_over_a_kink_is_told_apart():
    """A loss above 30 mg only: from 100 mg patients come down to that, from 20 mg never."""

    def derivative(time, s, p, inputs):
        return State(-p.elimination * maximum(s.central - 30.0, 0.0), 0.0 * s.bound)

    model = dataclasses.replace(STIFF, derivative=derivative, method="tsit5", balances=())
    situation = Situation(model, model.typical, until=10.0)
    states = np.linspace([100.0, 0.0], [20.0, 0.0], len(situation.times))[None]
    patient = Parameters(np.ones(1), np.ones(1))
    assert crossed(situation, states, patient)
    assert not crossed(situation, 0.2 * states, patient)


def test_without_typical_values_what_solves_is_skipped():
    report = check(dataclasses.replace(TWO, typical=None))
    assert report.ok
    skipped = {each.check for each in report.findings if each.verdict == SKIPPED}
    assert skipped == {"stiffness", "solvers", "gradient", "lanes", "compilation"}
    assert all("typical" in each.detail for each in report.findings if each.verdict == SKIPPED)
    assert {each.check for each in report.undone} == skipped


def test_a_test_does_not_pass_on_what_it_could_not_check():
    unstated = dataclasses.replace(TWO, typical=None)
    with pytest.raises(AssertionError, match="gradient: skipped: no typical values"):
        check_model(unstated)
    check_model(unstated, only=CHEAP)


def test_patients_are_log_normal_around_the_typical_one_and_shares_stay_shares():
    model = models.get("type_1_diabetes")
    parameters = Situation(model, model.typical, cv=0.6).parameters
    for name, column, typical in zip(parameters._fields, parameters, model.typical, strict=True):
        assert column[0] == typical, name
        assert np.all(column > 0.0) and np.ptp(column) > 0.0
    assert np.all(parameters.slowing_share < 1.0)


def test_the_horizon_follows_the_slowest_rate_and_the_dose_its_compartment():
    model = models.get("one_compartment")
    situation = Situation(model, model.typical)
    # CL / V = 0.1 per hour, absorption is faster.
    assert situation.horizon == pytest.approx(50.0)
    assert situation.given_actions == (Dose(0.0, "depot", 100.0),)
    axon = models.get("hodgkin_huxley1952")
    assert Situation(axon, axon.typical).given_actions == ()
    nothing = dataclasses.replace(
        STIFF, derivative=lambda time, s, p, i: State(0.0 * s.central, 0.0 * s.bound)
    )
    report = check(nothing, only=["stiffness"])
    assert "no rate at the start" in report.findings[0].detail


def test_equations_that_are_not_finite_are_told_so():
    broken = dataclasses.replace(
        STIFF, derivative=lambda time, s, p, inputs: State(-p.elimination / s.bound, 0.0 * s.bound)
    )
    report = check(broken, only=["stiffness"])
    assert "not finite at the start" in report.findings[0].detail


def test_a_report_is_plain_data():
    data = json.loads(json.dumps(check(TWO, only=CHEAP).as_data(), allow_nan=False))
    assert data["model"] == "two_compartment" and data["ok"] is True
    assert [each["check"] for each in data["findings"]] == list(CHEAP)
    assert data["situation"]["typical"]["clearance"] == 4.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["speed"]}, "no check 'speed'; there are structure, parameters, units"),
        ({"cv": 0.0}, "cv must be above 0; found 0.0"),
        ({"until": -1.0}, "until must be above 0"),
        ({"typical": (1.0,)}, "must be its Parameters; found tuple"),
        (
            {"typical": TYPICAL._replace(clearance=np.nan)},
            "numbers; found nan for clearance",
        ),
        ({"typical": TYPICAL._replace(clearance="4")}, "numbers; found '4' for clearance"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        check(TWO, **{"only": CHEAP, **options})
