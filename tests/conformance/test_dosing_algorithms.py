"""The consortium's formulas on half of its own patients (IWPC 2009; CC BY-SA 4.0)."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from insilico.config import Name
from trials.dosing import library

DATA = Path(__file__).parents[3] / "shared" / "data" / "warfarin" / "iwpc_half1.csv"

CYP2C9 = ("*1/*1", "*1/*2", "*1/*3", "*2/*2", "*2/*3", "*3/*3", "unknown", "rare")
VKORC1 = ("G/G", "A/G", "A/A", "unknown")
ANCESTRY = ("white", "black", "asian", "other")
VOCABULARY = {
    "cyp2c9": Name("category", categories=CYP2C9),
    "vkorc1": Name("category", categories=VKORC1),
    "ancestry": Name("category", categories=ANCESTRY),
}
RACES = {"White": "white", "Black or African American": "black", "Asian": "asian"}


def patients() -> tuple[dict[str, np.ndarray], np.ndarray]:
    if not DATA.exists():
        pytest.skip(f"the IWPC data are not at {DATA}")
    table: Any = pd.read_csv(DATA, low_memory=False)
    numeric: Any = pd.to_numeric
    dose = numeric(table["Therapeutic Dose of Warfarin"], errors="coerce")
    decade = table["Age"].str.extract(r"^(\d+)")[0].astype(float)
    height, weight = (numeric(table[c], errors="coerce") for c in ("Height (cm)", "Weight (kg)"))
    complete = dose.notna() & (dose < 300) & decade.notna() & height.notna() & weight.notna()

    def taken(*columns: str) -> np.ndarray:
        return np.max([numeric(table[c], errors="coerce").fillna(0) for c in columns], axis=0)

    def coded(column: pd.Series, categories: tuple[str, ...], other: str) -> np.ndarray:
        known = column.where(column.isin(categories), other).where(column.notna(), "unknown")
        return known.map({name: code for code, name in enumerate(categories)}).to_numpy(int)

    values = {
        "age": decade.to_numpy(),
        "height": height.to_numpy(),
        "weight": weight.to_numpy(),
        "cyp2c9": coded(table["CYP2C9 consensus"], CYP2C9, "rare"),
        "vkorc1": coded(table["VKORC1 -1639 consensus"], VKORC1, "unknown"),
        "ancestry": table["Race (OMB)"]
        .map(RACES)
        .fillna("other")
        .map(ANCESTRY.index)
        .to_numpy(int),
        "amiodarone": taken("Amiodarone (Cordarone)"),
        "enzyme_inducer": taken(
            "Carbamazepine (Tegretol)", "Phenytoin (Dilantin)", "Rifampin or Rifampicin"
        ),
    }
    keep = complete.to_numpy()
    return {name: column[keep] for name, column in values.items()}, dose.to_numpy()[keep]


@pytest.mark.parametrize(
    ("name", "mean_absolute_error"),
    [("iwpc2009_pharmacogenetic", 8.496), ("iwpc2009_clinical", 9.961)],
)
def test_mean_absolute_error_in_mg_a_week(name, mean_absolute_error):
    values, observed = patients()
    assert observed.size == 2180
    weekly = 7.0 * np.asarray(library()[name].dose(values, VOCABULARY))
    # Both figures are given to three decimals.
    assert np.mean(np.abs(weekly - observed)) == pytest.approx(mean_absolute_error, abs=5e-4)
