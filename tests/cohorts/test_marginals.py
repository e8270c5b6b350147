"""A trial's own margins are met, and what the data say about dependence stays."""

import jax
import numpy as np
import pytest

from cohorts import CohortError
from cohorts.covariates import AgeMargin, state_marginals

AGE = AgeMargin.model_validate(
    {"minimum": "18 yr", "median": "58 yr", "quartiles": ("46.5 yr", "70 yr")}
)
SHARES = {
    "ancestry": {"white": 0.67, "black": 0.27, "asian": 0.02, "other": 0.04},
    "sex": {"female": 0.49, "male": 0.51},
}


def joint(marginals):
    """Probabilities (ancestry, sex, bin) that sampling from the margins implies."""
    ancestry = np.diff(marginals.ancestry, prepend=0)
    sex = np.diff(marginals.sex, axis=1, prepend=0)
    return ancestry[:, None, None] * sex[:, :, None] * np.diff(marginals.age, axis=2)


def test_stated_margins_are_met_to_rounding(model):
    marginals = state_marginals(model, AGE, SHARES)
    table, edges = joint(marginals), np.asarray(marginals.age_edges)
    np.testing.assert_allclose(table.sum(axis=(1, 2)), [0.67, 0.27, 0.02, 0.04], atol=1e-10)
    np.testing.assert_allclose(table.sum(axis=(0, 2)), [0.49, 0.51], atol=1e-10)
    for quartile, share in ((46.5, 0.25), (58, 0.5), (70, 0.75)):
        younger = table[..., edges[:-1] < quartile].sum()
        assert younger == pytest.approx(share, abs=1e-10)


def test_sampled_ages_have_the_stated_quartiles_and_limits(model, people):
    age = AGE.model_copy(update={"maximum": 85.0})
    ages = people(state_marginals(model, age, SHARES))["age"]
    assert ages.min() >= 18 and ages.max() <= 85
    # Four standard errors of a share are 0.004; the density is about 0.02 a year at the quartiles.
    np.testing.assert_allclose(np.quantile(ages, [0.25, 0.5, 0.75]), [46.5, 58, 70], atol=0.2)


def test_raking_keeps_the_odds_ratios_of_the_data(model):
    before, after = (joint(state_marginals(model, AGE, s)) for s in ({}, SHARES))

    def log_odds_ratios(table):
        log = np.log(table[..., table.sum(axis=(0, 1)) > 0])
        return np.diff(np.diff(log, axis=0), axis=1), np.diff(np.diff(log, axis=1), axis=2)

    for old, new in zip(log_odds_ratios(before), log_odds_ratios(after), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-6)


def test_shares_of_age_bins_are_met(model, people):
    shares = {"60-69": 0.4, "70-79": 0.6}
    marginals = state_marginals(model, AgeMargin(shares=shares))
    table, edges = joint(marginals).sum(axis=(0, 1)), np.asarray(marginals.age_edges)
    assert table[edges[:-1] == 60].sum() == pytest.approx(0.4)
    assert table[edges[:-1] == 70].sum() == pytest.approx(0.6)
    ages = people(marginals)["age"]
    assert ages.min() >= 60 and ages.max() <= 80


def test_without_margins_the_table_is_the_source(model):
    marginals = state_marginals(model)
    bins = len(model.age_edges) - 1
    np.testing.assert_allclose(
        joint(marginals)[..., :bins], model.table / model.table.sum(), atol=1e-12
    )


def test_shares_of_regressed_covariates_are_met_and_dependence_stays(model, people):
    shares = SHARES | {
        "indication": {"atrial_fibrillation": 0.22, "dvt": 0.36, "pe": 0.22, "other": 0.2},
        "diabetes": 0.3,
    }
    drawn = people(state_marginals(model, AGE, shares))
    found = np.bincount(drawn["indication"], minlength=8) / 200_000
    # Standard errors of the 200,000 here and of the 65,536 the offsets were solved on: 0.1 and 0.2
    # percentage points at most, so 1 point is more than four of both together.
    np.testing.assert_allclose(found, [0.22, 0.36, 0.22, 0, 0, 0, 0, 0.2], atol=0.01)
    assert np.mean(drawn["diabetes"]) == pytest.approx(0.3, abs=0.01)
    fibrillation = drawn["indication"] == 0
    assert drawn["age"][fibrillation].mean() > drawn["age"][~fibrillation].mean() + 5


def test_margins_change_arguments_and_never_the_compiled_program(model):
    traces = 0

    @jax.jit
    def counted(marginals):
        nonlocal traces
        traces += 1
        return marginals

    counted(state_marginals(model))
    counted(state_marginals(model, AGE, SHARES | {"diabetes": 0.3}))
    assert traces == 1


@pytest.mark.parametrize(
    ("age", "shares", "message"),
    [
        (
            {},
            {"ancestry": {"white": 0.5, "black": 0.4}},
            "ancestry: shares must sum to 1; found a sum of 0.9",
        ),
        ({}, {"ancestry": {"whyte": 1.0}}, 'unknown category; found "whyte".*did you mean "white"'),
        ({}, {"ancestri": {"white": 1.0}}, 'unknown covariate.*did you mean "ancestry"'),
        ({}, {"sex": {"female": 1.5, "male": -0.5}}, "sex.female: must be a share"),
        ({}, {"sex": 0.4}, "sex: must be shares by category"),
        ({}, {"vkorc1": {"G/G": 1.0}}, "vkorc1: has no margin of its own"),
        ({}, {"diabetes": 1.2}, "diabetes"),
        ({"median": "58 yr", "quartiles": ("60 yr", "70 yr")}, {}, "limits, quartiles and median"),
        ({"quartiles": ("60 yr", "70 yr")}, {}, "age.median: is needed"),
        ({"median": "99 yr"}, {}, "age.median: must lie between the limits"),
        ({"minimum": "12 yr"}, {}, "found 12 to 95 yr; allowed: 18 to 95 yr"),
        ({"median": "58 yr", "shares": {"60-69": 1.0}}, {}, "not both"),
        ({"shares": {"60-70": 1.0}}, {}, r"age\.shares\.60-70: unknown category"),
        ({"minimum": "60 yr", "shares": {"20-29": 1.0}}, {}, "no one of iwpc2009 can have this"),
    ],
)
def test_a_mistake_says_what_and_where(model, age, shares, message):
    with pytest.raises(CohortError, match=message):
        state_marginals(model, AgeMargin.model_validate(age), shares)


def test_all_mistakes_are_reported_together(model):
    with pytest.raises(CohortError) as caught:
        state_marginals(
            model,
            AgeMargin.model_validate({"median": "99 yr"}),
            {"ancestry": {"white": 0.5}, "sexx": {"female": 1.0}},
        )
    assert len(caught.value.faults) == 3
