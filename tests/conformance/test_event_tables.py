"""Event tables in NONMEM's manner against the answers of mrgsolve and rxode2.

Where the two packages disagree, or agree against NONMEM's manual, the decisions of
`insilico/solve/records/README.md` are held to instead.
"""

import functools
import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from insilico import linear_kinetics
from insilico.dimensions import check_dimensions
from insilico.model import Dosing, Model, Quantity
from insilico.solve import (
    Covariate,
    Records,
    RecordsError,
    Solution,
    Status,
    Tolerances,
    read_records,
    solve,
)
from insilico.vocabulary import Value, power

DATA = Path(__file__).parents[3] / "shared" / "oracles" / "event_tables"
TIGHT = Tolerances(relative=1e-9, absolute=1e-9)
RELATIVE, ABSOLUTE = 1e-5, 1e-6
"""What the answers' README suggests."""


class Inputs(NamedTuple):
    weight: Annotated[Value, Quantity("1", "body weight relative to 70 kg")]


class Oral(NamedTuple):
    gut: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    cent: Annotated[Value, Quantity("mg", "drug in the central compartment")]


class Distributed(NamedTuple):
    gut: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    cent: Annotated[Value, Quantity("mg", "drug in the central compartment")]
    peri: Annotated[Value, Quantity("mg", "drug in the peripheral compartment")]


class Responding(NamedTuple):
    gut: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    cent: Annotated[Value, Quantity("mg", "drug in the central compartment")]
    resp: Annotated[Value, Quantity("1", "response")]


UNITS = {
    "CL": "L/h", "V": "L", "V2": "L", "V3": "L", "Q": "L/h", "KA": "1/h", "KIN": "1/h",
    "KOUT": "1/h", "IMAX": "1", "IC50": "mg/L", "VMAX": "mg/h", "KM": "mg/L", "BIO1": "1",
    "BIO2": "1", "LAG1": "h", "LAG2": "h", "DUR1": "h", "DUR2": "h", "RAT1": "mg/h",
    "RAT2": "mg/h",
}  # fmt: skip
DOSED = ("KA", "BIO1", "BIO2", "LAG1", "LAG2", "DUR1", "DUR2", "RAT1", "RAT2")


def _eliminated(s: Any, p: Any, weight: Value) -> Value:
    return p.CL * power(weight, 0.75) / (p.V * weight) * s.cent


def _pk1(time: Value, s: Any, p: Any, inputs: Any) -> Oral:
    absorbed = p.KA * s.gut
    return Oral(-absorbed, absorbed - _eliminated(s, p, inputs.weight))


def _pk2(time: Value, s: Any, p: Any, inputs: Any) -> Distributed:
    absorbed, volume = p.KA * s.gut, p.V2 * inputs.weight
    out = p.CL * power(inputs.weight, 0.75) / volume * s.cent
    across = p.Q / volume * s.cent - p.Q / p.V3 * s.peri
    return Distributed(-absorbed, absorbed - out - across, across)


def _idr(time: Value, s: Any, p: Any, inputs: Any) -> Responding:
    absorbed = p.KA * s.gut
    concentration = s.cent / (p.V * inputs.weight)
    produced = p.KIN * (1.0 - p.IMAX * concentration / (p.IC50 + concentration))
    return Responding(
        -absorbed, absorbed - _eliminated(s, p, inputs.weight), produced - p.KOUT * s.resp
    )


def _mm(time: Value, s: Any, p: Any, inputs: Any) -> Oral:
    absorbed = p.KA * s.gut
    concentration = s.cent / (p.V * inputs.weight)
    most = p.VMAX * power(inputs.weight, 0.75)
    return Oral(-absorbed, absorbed - most * concentration / (p.KM + concentration))


def _pk1_closed(duration: Value, s: Any, p: Any, rates: Any, inputs: Any) -> Oral:
    rate = p.CL * power(inputs.weight, 0.75) / (p.V * inputs.weight)
    system = linear_kinetics.Mammillary(p.KA, rate)
    return Oral(*linear_kinetics.propagate(duration, s, system, rates))


def _pk2_closed(duration: Value, s: Any, p: Any, rates: Any, inputs: Any) -> Distributed:
    volume = p.V2 * inputs.weight
    system = linear_kinetics.Mammillary(
        p.KA, p.CL * power(inputs.weight, 0.75) / volume, (p.Q / volume,), (volume / p.V3,)
    )
    return Distributed(*linear_kinetics.propagate(duration, s, system, rates))


def _model(
    name: str, state: Any, derivative: Any, own: str, initial: Any, propagate: Any = None
) -> Model:
    names = (*own.split(), *DOSED)
    fields: Any = [(key, Annotated[Value, Quantity(UNITS[key], key)]) for key in names]
    parameters: Any = NamedTuple("Parameters", fields)
    return Model(
        name=name,
        title=name,
        citation="none",
        State=state,
        Parameters=parameters,
        Inputs=Inputs,
        Outputs=state,
        initial=initial,
        derivative=derivative,
        outputs=lambda time, s, p: s,
        propagate=propagate,
        dosing=lambda p, inputs: {
            "gut": Dosing(p.BIO1, p.LAG1, p.DUR1, p.RAT1),
            "cent": Dosing(p.BIO2, p.LAG2, p.DUR2, p.RAT2),
        },
    )


MODELS = {
    "pk1": _model("pk1", Oral, _pk1, "CL V", lambda p: Oral(0.0 * p.KA, 0.0 * p.KA), _pk1_closed),
    "pk2": _model(
        "pk2",
        Distributed,
        _pk2,
        "CL V2 Q V3",
        lambda p: Distributed(*[0.0 * p.KA] * 3),
        _pk2_closed,
    ),
    "idr": _model(
        "idr",
        Responding,
        _idr,
        "CL V KIN KOUT IMAX IC50",
        lambda p: Responding(0.0 * p.KA, 0.0 * p.KA, p.KIN / p.KOUT),
    ),
    "mm": _model("mm", Oral, _mm, "VMAX KM V", lambda p: Oral(0.0 * p.KA, 0.0 * p.KA)),
}

CALLED_OFF = ("evid3_with_pending_addl", "ss1_with_pending_addl")
"""Cases on which both packages go on giving doses that NONMEM's manual calls off."""

REASONS = {
    "unsorted": "TIME: is 2, before the 4",
    "addl_without_ii": "II: must be above 0 with ADDL",
    "ss1_without_ii": "II: must be above 0 with SS",
    "rate_without_amt": "RATE: is 10 with AMT 0",
    "cmt_out_of_range": "CMT: is 7; compartments of model pk1 go from 1 to 2",
    "negative_rate_other": "RATE: is -3; it may be",
    "amt_missing": "AMT: is missing",
}
REFUSED_WHEN_SOLVED = {
    "modelled_duration_zero": Status.IMPOSSIBLE_DOSING,
    "negative_lag": Status.IMPOSSIBLE_DOSING,
}
"""These depend on a patient's parameters, so that the patient fails and the table does not."""


@functools.cache
def _cases() -> dict[str, dict[str, Any]]:
    if not DATA.exists():
        return {}
    return {case["case"]: case for case in json.loads((DATA / "cases.json").read_text())}


@functools.cache
def _answers(name: str) -> pd.DataFrame:
    return pd.read_csv(DATA / name, keep_default_na=False, na_values=[""], low_memory=False)


@functools.cache
def _all_records() -> pd.DataFrame:
    """Every case's records; each patient has a number of its own, PATIENT."""
    whole = pd.concat([_answers("events.csv"), _answers("contested_events.csv")])
    whole = whole.sort_values(["CASE", "ROW"], kind="stable").reset_index(drop=True)
    return whole.assign(PATIENT=whole.CASE + "/" + whole.ID.astype(str), RELATIVE=whole.WT / 70.0)


def _rows_of(table: pd.DataFrame, case: str) -> pd.DataFrame:
    return pd.DataFrame(table.groupby("CASE").get_group(case)).reset_index(drop=True)


def _table(case: str) -> pd.DataFrame:
    return _rows_of(_all_records(), case)


def _read(model: str, table: pd.DataFrame, rule: str) -> Records:
    return read_records(
        MODELS[model],
        table,
        covariates={"weight": Covariate("RELATIVE", "locf" if rule == "LOCF" else "nocb")},
        columns={"patient": "PATIENT"},
    )


def _parameters(records: Records, **changed: float) -> Any:
    """Each patient's own, from its case."""
    sets = [_cases()[patient.split("/")[0]]["params"] | changed for patient in records.patients]
    names = records.model.Parameters._fields
    return records.model.Parameters(*(np.array([s[n] for s in sets], float) for n in names))


def _solved(records: Records, method: str | None = None, **changed: float) -> Solution:
    return solve(
        records.model, _parameters(records, **changed), records, tolerances=TIGHT, method=method
    )


def _amounts(records: Records, solution: Solution) -> np.ndarray:
    """(records, components) in the order of the table."""
    return np.stack([records.by_record(values) for values in solution.outputs], axis=-1)


@functools.cache
def _together(model: str, rule: str, method: str | None = None) -> pd.DataFrame:
    """All cases of a model that can be solved, as patients of one batch, with their amounts."""
    cases = [
        name
        for name, case in _cases().items()
        if (case["model"], case["covariate_rule"]) == (model, rule)
        and (case["expect"] != "error" or name in REFUSED_WHEN_SOLVED)
        and name != "amt_missing"
    ]
    records_ = _all_records()
    own = pd.DataFrame(records_[records_["CASE"].isin(cases)])
    records = _read(model, own.reset_index(drop=True), rule)
    solution = _solved(records, method)
    found = _amounts(records, solution)
    return records.data.assign(
        **{f"A{i + 1}": found[:, i] for i in range(found.shape[1])},
        STATUS=solution.status[records.columns.patient],
    )


def _found(case: str) -> np.ndarray:
    """The amounts of one case, (records, components)."""
    entry = _cases()[case]
    whole = _together(entry["model"], entry["covariate_rule"])
    own = _rows_of(whole, case)
    assert (own.STATUS == Status.OK).all(), own.STATUS.unique()
    return own[[name for name in ("A1", "A2", "A3") if name in own]].to_numpy(float)


def _close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=RELATIVE, atol=ABSOLUTE)


@pytest.fixture(autouse=True)
def answers() -> None:
    if not DATA.exists():
        pytest.skip(f"the answers are not at {DATA}")


def _named(expect: str) -> list[str]:
    return [name for name, case in _cases().items() if case["expect"] == expect] or ["none"]


@pytest.mark.parametrize("name", MODELS)
def test_the_models_agree_with_their_units(name: str) -> None:
    check_dimensions(MODELS[name])


QUICK = ("lag_oral_addl", "infusion_modelled_duration_F", "ss1_infusion_longer_than_ii", "cov_locf")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in _named("values")
        if name not in CALLED_OFF
    ],
)
def test_every_record_is_as_both_packages_have_it(case: str) -> None:
    expected = _answers("expected.csv")
    expected = _rows_of(expected, case).sort_values("ROW")
    found = _found(case)
    _close(found, expected[["A1", "A2", "A3"][: found.shape[1]]].to_numpy(float))
    parameters = _cases()[case]["params"]
    volume = parameters.get("V", parameters.get("V2")) * _table(case).WT.to_numpy() / 70.0
    _close(found[:, 1] / volume, expected.CP.to_numpy(float))


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        ("pk1", "LOCF"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [("pk1", "NOCB"), ("pk2", "LOCF"), ("pk2", "NOCB")]
        ),
    ],
)
def test_closed_forms_go_through_every_table_as_their_equations_do(model: str, rule: str) -> None:
    """Lags, modelled durations and steady states included; a way between two rows is one step."""
    if rule not in {case["covariate_rule"] for case in _cases().values() if case["model"] == model}:
        pytest.skip("no such table")
    closed, solved = _together(model, rule, "closed_form"), _together(model, rule)
    assert closed.STATUS.tolist() == solved.STATUS.tolist()
    amounts = [name for name in ("A1", "A2", "A3") if name in closed]
    np.testing.assert_allclose(closed[amounts], solved[amounts], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("case", [*_named("error"), "amt_missing"])
def test_impossible_tables_are_refused_with_the_reason(case: str) -> None:
    entry = _cases()[case]
    if case in REFUSED_WHEN_SOLVED:
        whole = _together(entry["model"], entry["covariate_rule"])
        assert set(_rows_of(whole, case).STATUS) == {REFUSED_WHEN_SOLVED[case]}
        return
    with pytest.raises(RecordsError) as error:
        _read(entry["model"], _table(case), entry["covariate_rule"])
    assert [REASONS[case] in str(mistake) for mistake in error.value.mistakes] == [True]


def _mrgsolve(case: str) -> np.ndarray:
    columns = ["A1", "A2", "A3"][: _found(case).shape[1]]
    return _rows_of(_answers("contested_expected.csv"), case)[columns].to_numpy(float)


@pytest.mark.parametrize(
    "case",
    ["obs_then_dose_same_time", "evid3_mid_infusion", "evid4_mid_infusion", "ss1_mid_infusion"],
)
def test_decided_as_mrgsolve_has_it(case: str) -> None:
    """File order; a reset and SS = 1 turn running infusions off."""
    _close(_found(case), _mrgsolve(case))


@pytest.mark.parametrize("case", ["lag_tie_with_obs", "ss1_lag"])
def test_an_observation_at_a_lagged_arrival_sees_the_dose(case: str) -> None:
    """As at an additional dose: neither is an event of its own, both have arrived by then."""
    found, expected = _found(case), _mrgsolve(case)
    table = _table(case)
    lag = _cases()[case]["params"]["LAG1"]
    tied = np.equal(table.TIME, lag) & np.equal(table.EVID, 0)
    assert tied.sum() == 1
    expected[tied, 0] += 100.0
    _close(found, expected)


def _solved_alone(case: str, table: pd.DataFrame) -> np.ndarray:
    entry = _cases()[case]
    records = _read(entry["model"], table.assign(PATIENT=case + "/1"), entry["covariate_rule"])
    solution = _solved(records)
    assert solution.status.tolist() == [Status.OK]
    return _amounts(records, solution)


def _without_doses(table: pd.DataFrame, rows: list[int]) -> pd.DataFrame:
    """The table with some records turned into observations."""
    return table.assign(
        **{
            column: table[column].mask(table.ROW.isin(rows), 0)
            for column in ("EVID", "AMT", "RATE", "ADDL", "II", "SS")
        }
    )


@pytest.mark.parametrize(
    ("case", "row"),
    [
        ("evid3_with_pending_addl", 9),
        pytest.param("ss1_with_pending_addl", 9, marks=pytest.mark.slow),
        pytest.param("evid3_in_lag", 4, marks=pytest.mark.slow),
    ],
)
def test_a_reset_and_a_steady_state_call_off_what_is_pending(case: str, row: int) -> None:
    """Users Guide VI, V.K: they deactivate every active dose record; V, 6: doses are cancelled."""
    table = _table(case)
    earlier = [int(r) for r in table.ROW if r < row]
    expected = _solved_alone(case, _without_doses(table, earlier))
    _close(_found(case)[row - 1 :], expected[row - 1 :])
    before = _answers("expected.csv") if case in CALLED_OFF else _answers("contested_expected.csv")
    _close(_found(case)[: row - 1], _rows_of(before, case)[["A1", "A2"]].to_numpy(float)[: row - 1])


@pytest.mark.slow
def test_a_second_steady_state_leaves_running_infusions_alone() -> None:
    """Users Guide VI, V.F.2: amounts are added to what would be there without the dose."""
    case = "ss2_mid_infusion"
    table = _table(case)
    infusion = _solved_alone(case, _without_doses(table, [7]))
    steady = _solved_alone(case, _without_doses(table, [1]))
    _close(_found(case), infusion + steady)


def test_a_lag_longer_than_the_interval_is_an_explicit_history_of_lagged_doses() -> None:
    case = "ss1_lag_longer_than_ii"
    table = _table(case)
    # A history of 80 doses: what is left of the first is exp(-0.1 · 12 · 80).
    history = table[:1].assign(TIME=-12.0 * 80, EVID=1, SS=0, ADDL=80)
    record = _without_doses(table, [1])
    expected = _solved_alone(case, pd.concat([history, record]))[1:]
    _close(_found(case), expected)


@pytest.mark.parametrize(
    "case",
    [
        "ss1_infusion_longer_than_ii",
        *(
            pytest.param(case, marks=pytest.mark.slow)
            for case in ("ss1_bolus_oral", "ss1_infusion_lag", "ss1_mm")
        ),
    ],
)
def test_a_steady_state_is_a_long_explicit_history(case: str) -> None:
    table = _table(case)
    interval = table.II[0]
    history = table[:1].assign(TIME=-interval * 80, SS=0, ADDL=80)
    expected = _solved_alone(case, pd.concat([history, _without_doses(table, [1])]))[1:]
    lag = max(_cases()[case]["params"][name] for name in ("LAG1", "LAG2"))
    after = slice(1 if lag == 0 else 0, None)
    _close(_found(case)[after], expected[after])


def test_a_negative_lag_fails_the_patient() -> None:
    """Users Guide VI, III.F.6: PREDPP refuses it."""
    entry = _cases()["negative_lag"]
    whole = _together(entry["model"], entry["covariate_rule"])
    own = _rows_of(whole, "negative_lag")
    assert set(own.STATUS) == {Status.IMPOSSIBLE_DOSING}
    assert own.A1.isna().all()
