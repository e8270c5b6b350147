"""Published dosing algorithms and the choice between them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from insilico.config import Expression, Name
from trials.dosing import Formula, LateKnowledge, library, preferred_dose

CYP2C9 = ("*1/*1", "*1/*2", "*1/*3", "*2/*2", "*2/*3", "*3/*3", "unknown")
VKORC1 = ("G/G", "A/G", "A/A", "unknown")
ANCESTRY = ("white", "black", "asian", "other", "unknown")
INDICATION = ("atrial_fibrillation", "dvt", "pe", "other", "unknown")
VOCABULARY = {
    "cyp2c9": Name("category", categories=CYP2C9),
    "vkorc1": Name("category", categories=VKORC1),
    "ancestry": Name("category", categories=ANCESTRY),
    "indication": Name("category", categories=INDICATION),
}

PERSON = {
    "age": 60.0, "height": 170.0, "weight": 80.0, "bsa": 1.9, "target_inr": 2.5,
    "cyp2c9": 0, "vkorc1": 0, "ancestry": 0, "indication": 0,
    "amiodarone": 0, "smoker": 0, "enzyme_inducer": 0, "diabetes": 0, "stroke": 0,
    "fluvastatin": 0, "inr": 1.8, "dose_2": 5.0, "dose_3": 5.0, "dose_4": 5.0,
}  # fmt: skip


def dose(name: str, **changes: object) -> float:
    coded = {
        key: VOCABULARY[key].categories.index(value) if isinstance(value, str) else value
        for key, value in changes.items()
    }
    values = {key: np.asarray(value) for key, value in {**PERSON, **coded}.items()}
    return float(library()[name].dose(values, VOCABULARY))


def test_every_published_algorithm_states_its_source_and_what_it_was_checked_against():
    assert set(library()) == {
        "gage2008_pharmacogenetic",
        "gage2008_clinical",
        "lenzini2010_pharmacogenetic",
        "lenzini2010_clinical",
        "iwpc2009_pharmacogenetic",
        "iwpc2009_clinical",
    }
    for formula in library().values():
        assert formula.title and formula.status
        assert any(year in formula.source for year in ("2008", "2009", "2010"))


@pytest.mark.parametrize(
    ("change", "percent"),
    # Relative effects as the abstract of Gage 2008 prints them, in whole percent.
    [
        ({"vkorc1": "A/G"}, -28),
        ({"cyp2c9": "*1/*3"}, -33),
        ({"cyp2c9": "*1/*2"}, -19),
        ({"amiodarone": 1}, -22),
        ({"smoker": 1}, 10),
        ({"ancestry": "black"}, -9),
        ({"indication": "dvt"}, 7),
        ({"indication": "pe"}, 7),
        ({"age": 70.0}, -7),
        ({"target_inr": 3.0}, 11),
    ],
)
def test_gage_reproduces_the_effects_of_its_abstract(change, percent):
    name = "gage2008_pharmacogenetic"
    relative = 100 * (dose(name, **change) / dose(name) - 1)
    # Rounded to whole percent there.
    assert relative == pytest.approx(percent, abs=0.6)


def test_alleles_count_one_by_one():
    for name in ("gage2008_pharmacogenetic", "lenzini2010_pharmacogenetic"):
        wild = dose(name)
        one, two = dose(name, vkorc1="A/G") / wild, dose(name, vkorc1="A/A") / wild
        assert two == pytest.approx(one**2)
        star2, star3 = dose(name, cyp2c9="*1/*2") / wild, dose(name, cyp2c9="*1/*3") / wild
        assert dose(name, cyp2c9="*2/*2") / wild == pytest.approx(star2**2)
        assert dose(name, cyp2c9="*3/*3") / wild == pytest.approx(star3**2)
        assert dose(name, cyp2c9="*2/*3") / wild == pytest.approx(star2 * star3)


def test_gage_worked_through_by_hand():
    # exp(0.9751 - 0.3238 + 0.4317·1.9 - 0.00745·60 + 0.2029·2.5) for a carrier of one A allele.
    assert dose("gage2008_pharmacogenetic", vkorc1="A/G") == pytest.approx(
        np.exp(0.9751 - 0.3238 + 0.82023 - 0.447 + 0.50725), rel=1e-12
    )
    assert dose("gage2008_clinical", ancestry="black") == pytest.approx(
        np.exp(0.613 + 0.425 * 1.9 - 0.45 + 0.156 + 0.54), rel=1e-12
    )


@pytest.mark.parametrize(
    ("inr", "genotype_guided", "clinical"),
    # mg/day at 60 years, BSA 2, one A allele, 5 mg on each of the three days that count.
    [(1.0, 6.5, 7.3), (1.6, 5.1, 5.1), (3.0, 3.7, 3.1)],
)
def test_lenzini_falls_with_the_inr(inr, genotype_guided, clinical):
    given = {"inr": inr, "bsa": 2.0, "vkorc1": "A/G"}
    found = dose("lenzini2010_pharmacogenetic", **given), dose("lenzini2010_clinical", **given)
    assert found == pytest.approx((genotype_guided, clinical), abs=0.06)


def test_iwpc_counts_unknown_genotypes_and_whole_decades():
    name = "iwpc2009_pharmacogenetic"
    root = np.sqrt(7 * dose(name))
    assert np.sqrt(7 * dose(name, vkorc1="unknown")) == pytest.approx(root - 0.4854)
    assert np.sqrt(7 * dose(name, cyp2c9="unknown")) == pytest.approx(root - 0.2188)
    assert dose(name, age=69.0) == dose(name)
    assert np.sqrt(7 * dose(name, age=70.0)) == pytest.approx(root - 0.2614)


def test_a_formula_in_mg_a_week_gives_a_dose_a_day():
    weekly = Formula("weekly", Expression("35"), "mg/wk")
    assert float(weekly.dose({}, {})) == pytest.approx(5.0)
    assert float(dataclasses.replace(weekly, unit="mg/d").dose({}, {})) == 35.0


class TestPreference:
    genetic = Formula("genetic", Expression('10 - 4*(vkorc1 == "A/A")'), "mg/d")
    clinical = Formula("clinical", Expression("7 + 0*age"), "mg/d")
    late = LateKnowledge({"vkorc1": VKORC1.index("unknown")})

    def dose(self, formulas, unknown):
        values = {"vkorc1": jnp.array([0, 2, 2]), "age": jnp.full(3, 60.0)}
        return preferred_dose(
            formulas, values, VOCABULARY, self.late, {"vkorc1": jnp.array(unknown)}
        )

    def test_the_first_formula_whose_covariates_are_known(self):
        found = self.dose((self.genetic, self.clinical), [False, False, True])
        assert found.tolist() == [10.0, 6.0, 7.0]

    def test_the_last_takes_everybody_who_is_left_with_what_it_knows(self):
        with_unknown = Formula(
            "aware", Expression('10 - 4*(vkorc1 == "A/A") - 1*(vkorc1 == "unknown")'), "mg/d"
        )
        assert self.dose((with_unknown,), [True, False, True]).tolist() == [9.0, 6.0, 9.0]
