"""Exposures against closed forms."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohorts.data import exposures, time_after_dose
from insilico import models
from insilico.solve import read_records, solve

CLEARANCE, VOLUME, DOSE = 3.0, 30.0, 100.0
RATE = CLEARANCE / VOLUME


def bolus(times, tau: float = 24.0, doses: int = 3) -> pd.DataFrame:
    """Boluses into one compartment by superposition, sampled at `times` after each dose, and just
    before and after each."""
    rows = []
    for number in range(doses):
        amount = sum(DOSE / VOLUME * np.exp(-RATE * tau * k) for k in range(number + 1))
        rows.append((tau * number, 1, DOSE, amount))
        rows += [
            (tau * number + time, 0, 0.0, amount * np.exp(-RATE * time)) for time in (*times, tau)
        ]
    return pd.DataFrame(rows, columns=["TIME", "EVID", "AMT", "DV"]).assign(ID=7)


@pytest.mark.parametrize("times", [[], [1.0], [0.5, 3.0, 11.0, 17.0]])
def test_log_down_is_exact_for_boluses(times):
    found = exposures(bolus(times))
    highest = DOSE / VOLUME * np.cumsum(np.exp(-RATE * 24.0 * np.arange(3)))
    left = np.exp(-RATE * 24.0)
    np.testing.assert_allclose(found["auc"], highest / RATE * (1 - left), rtol=1e-14)
    np.testing.assert_allclose(found["cavg"], highest / RATE * (1 - left) / 24, rtol=1e-14)
    np.testing.assert_allclose(found["cmax"], highest, rtol=1e-15)
    np.testing.assert_allclose(found["cmin"], highest * left, rtol=1e-14)
    assert found["tmax"].tolist() == [0.0] * 3
    assert found["start"].tolist() == [0.0, 24.0, 48.0]
    assert found["end"].tolist() == [24.0, 48.0, 72.0]
    assert found["dose"].tolist() == [1, 2, 3]
    assert found["samples"].tolist() == [len(times) + 2] * 3
    assert found["subject"].tolist() == [7] * 3


def test_linear_is_exact_for_straight_lines_and_too_large_for_falling_ones():
    times, values = [0.0, 2.0, 6.0, 12.0], [0.0, 4.0, 2.0, 0.0]
    frame = pd.DataFrame(
        {"ID": 1, "TIME": times, "EVID": [1, 0, 0, 0], "AMT": [1.0, 0, 0, 0], "DV": values}
    )
    assert exposures(frame, method="linear")["auc"].tolist() == [4.0 + 12.0 + 6.0]
    logarithmic = 4.0 + 4.0 * 2.0 / np.log(2.0) + 6.0
    assert exposures(frame)["auc"].tolist()[0] == pytest.approx(logarithmic, rel=1e-15)
    assert exposures(frame)["tmax"].tolist() == [2.0]


def test_additional_doses_have_intervals_of_their_own():
    frame = bolus([1.0, 12.0])
    whole = exposures(frame)
    # The record at the time of an additional dose sees the state after it.
    kept = frame.query("EVID == 0 or TIME == 0").assign(ADDL=0, II=0.0)
    kept.loc[kept["EVID"] == 1, ["ADDL", "II"]] = 2, 24.0
    kept.loc[kept["TIME"].isin([24.0, 48.0]), "DV"] = whole["cmax"].tolist()[1:]
    found = exposures(kept)
    assert found["start"].tolist() == [0.0, 24.0, 48.0]
    np.testing.assert_allclose(found["cmax"], whole["cmax"])
    assert found["last"].tolist() == [12.0, 12.0, 24.0]
    np.testing.assert_allclose(found["auc"][2], whole["auc"][2])


def test_time_after_dose_counts_from_the_last_one():
    frame = pd.DataFrame(
        {
            "ID": [1, 1, 1, 1, 2],
            "TIME": [0.0, 1.0, 14.0, 26.0, 5.0],
            "EVID": [0, 1, 0, 0, 0],
            "AMT": [0, 10, 0, 0, 0],
            "ADDL": [0, 5, 0, 0, 0],
            "II": [0, 12, 0, 0, 0],
        }
    )
    found = time_after_dose(frame)
    np.testing.assert_array_equal(found, [np.nan, 0.0, 1.0, 1.0, np.nan])


def test_intervals_with_too_few_samples_have_no_area():
    frame = pd.DataFrame(
        {
            "ID": 1,
            "TIME": [0.0, 1.0, 24.0, 25.0, 26.0],
            "EVID": [1, 0, 1, 0, 1],
            "AMT": 1.0,
            "DV": [np.nan, 3.0, np.nan, np.nan, np.nan],
        }
    )
    found = exposures(frame)
    assert found["samples"].tolist() == [1, 0, 0]
    assert np.all(np.isnan(found["auc"]))
    assert found["cmax"].tolist()[0] == 3.0
    assert np.isnan(found["cmax"]).tolist() == [False, True, True]


def test_exposures_of_a_solved_table_are_those_of_the_model():
    """AUC over an interval at steady state is dose over clearance."""
    model = models.get("one_compartment")
    hours = np.linspace(0, 24, 400)
    table = pd.DataFrame(
        {
            "ID": 1,
            "TIME": [0.0, *hours],
            "EVID": [1, *[0] * 400],
            "AMT": [DOSE, *[0.0] * 400],
            "SS": [1, *[0] * 400],
            "II": [24.0, *[0.0] * 400],
        }
    )
    records = read_records(model, table)
    frame = records.frame(solve(model, model.Parameters(1.0, CLEARANCE, VOLUME), records))
    found = exposures(frame, "concentration")
    assert found["auc"].tolist()[0] == pytest.approx(DOSE / CLEARANCE, rel=1e-4)


def test_what_cannot_be_summed_up_is_refused():
    frame = bolus([1.0])
    with pytest.raises(ValueError, match="method: found 'simpson'"):
        wrong: object = "simpson"
        exposures(frame, method=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no column CONC"):
        exposures(frame, "CONC")
    with pytest.raises(ValueError, match="times go back"):
        exposures(frame.iloc[::-1])


def test_exposures_are_those_of_adpp(shared: Path):
    """AUC, Cmax and Tmax of 168 subjects' first day, computed elsewhere, with hours to 0.01.

    That computation starts from no concentration at the dose.
    """
    folder = shared / "formats" / "adam"
    raw = pd.read_csv(folder / "adpc.csv.gz", low_memory=False)
    raw = raw.query("PARCAT1 != 'URINE' and DTYPE.isna()")
    dose = raw["PARAMCD"] == "DOSE"
    frame = pd.DataFrame(
        {
            "ID": raw["USUBJID"],
            "TIME": raw["AFRLT"].round(2),
            "EVID": dose.astype(int),
            "AMT": raw["AVAL"].where(dose, 0.0),
            "DV": raw["AVAL"].mask(dose, np.where(raw["AFRLT"] == 0, 0.0, np.nan)),
        }
    )
    found = exposures(frame, method="linear").query("dose == 1").set_index("subject")
    published = pd.read_csv(folder / "adpp.csv.gz", low_memory=False)
    published = published.drop_duplicates(["USUBJID", "PARAMCD"])
    published = published.pivot(index="USUBJID", columns="PARAMCD", values="AVAL").loc[found.index]
    assert len(found) == 168
    for name, theirs in {"auc": "AUCLST", "cmax": "CMAX", "tmax": "TMAX"}.items():
        np.testing.assert_allclose(found[name], published[theirs], rtol=1e-12)
