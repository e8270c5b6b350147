"""The shipped numbers against the patients they were estimated from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

DATA = Path(__file__).parents[3] / "shared" / "data" / "warfarin" / "iwpc_half1.csv"
ANCESTRY = {"White": 0, "Black or African American": 1, "Asian": 2, "Unknown": 3}


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    if not DATA.exists():
        pytest.skip(f"no IWPC data at {DATA}")
    return pd.read_csv(DATA)


@pytest.mark.parametrize(
    ("gene", "column"), [(0, "VKORC1 -1639 consensus"), (1, "CYP2C9 consensus")]
)
def test_genotypes_by_ancestry(model, patients, gene, column):
    table = model.estimated["genotypes"][gene]
    for race, ancestry in ANCESTRY.items():
        seen = patients.loc[patients["Race (OMB)"] == race, column].value_counts()
        counts = np.array([seen.get(g, 0) for g in table["categories"]], float)
        shares = np.array(table["probabilities"][ancestry])
        # One patient's weight is spread over all genotypes, so no share moves by more than 1 / n.
        np.testing.assert_allclose(counts / counts.sum(), shares, atol=1 / counts.sum())


def test_weight_and_height_by_ancestry_and_sex(model, patients, drawn):
    """Quartiles within 3 % of weight and 1.5 cm of height: about three standard errors in the
    smallest group, which has 115 patients."""
    for race, ancestry in ANCESTRY.items():
        for sex, code in (("female", 0), ("male", 1)):
            rows = patients[(patients["Race (OMB)"] == race) & (patients["Gender"] == sex)]
            here = (drawn["ancestry"] == ancestry) & (drawn["sex"] == code)
            medians = rows[["Height (cm)", "Weight (kg)"]].median()
            assert np.median(drawn["height"][here]) == pytest.approx(medians.iloc[0], abs=2.5)
            assert np.median(drawn["weight"][here]) == pytest.approx(medians.iloc[1], rel=0.06)


def test_flags_and_indications_overall(model, patients, drawn):
    recorded = patients["Diabetes"].dropna()
    interval = stats.binomtest(int(recorded.sum()), len(recorded)).proportion_ci(0.999)
    assert interval.low < drawn["diabetes"].mean() < interval.high
    codes = patients["Indication for Warfarin Treatment"].dropna()
    valve = codes.str.contains("4")
    interval = stats.binomtest(int(valve.sum()), len(codes)).proportion_ci(0.999)
    index = model.categories["indication"].index("heart_valve")
    assert interval.low < (drawn["indication"] == index).mean() < interval.high
