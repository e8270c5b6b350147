"""The sampler draws from the model that the numbers of the JSON file describe.

Predictors are computed here a second time, in NumPy from the file's terms. Tests are at level
0.001 a comparison, with fixed seeds: a failure means a change, not bad luck.
"""

import jax
import numpy as np
import pytest
from scipy import stats

from cohorts import CohortError, covariates

ALPHA = 1e-3


def predictor(drawn, model, coefficients):
    """Linear predictors (subjects, outcomes) from the file's terms."""
    total = np.zeros((len(drawn["age"]), 1))
    for term, coefficient in coefficients.items():
        column = np.ones(len(drawn["age"]))
        for factor in term.split(":"):
            if factor == "1":
                continue
            name, _, exponent = factor.partition("^")
            name, _, level = name.partition("=")
            if level:
                value = drawn[name] == model.categories[name].index(level)
            else:
                value = {
                    "age": (drawn["age"] - 65) / 10,
                    "log_weight": np.log(drawn["weight"] / 75) / 0.25,
                }.get(name, drawn.get(name))
            column = column * value ** int(exponent or 1)
        total = total + column[:, None] * np.atleast_1d(coefficient)
    return total


def chi_square(counts, probabilities):
    """P value of counts against probabilities; cells that expect fewer than 5 are put together."""
    counts, expected = np.ravel(counts), np.ravel(probabilities) * np.sum(counts)
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    keep = expected > 0
    statistic = ((counts - expected)[keep] ** 2 / expected[keep]).sum()
    return stats.chi2.sf(statistic, keep.sum() - 1)


def test_ancestry_sex_and_age_follow_the_table(model, drawn):
    bins = np.searchsorted(model.age_edges, drawn["age"], side="right") - 1
    counts = np.zeros(model.table.shape)
    np.add.at(counts, (drawn["ancestry"], drawn["sex"], bins), 1)
    assert chi_square(counts, model.table / model.table.sum()) > ALPHA
    for k, (low, high) in enumerate(zip(model.age_edges[:-1], model.age_edges[1:], strict=True)):
        within = (drawn["age"][bins == k] - low) / (high - low)
        assert stats.kstest(within, "uniform").pvalue > ALPHA


@pytest.mark.parametrize("gene", [0, 1])
def test_genotypes_follow_their_table_given_ancestry(model, drawn, gene):
    table = model.estimated["genotypes"][gene]
    for ancestry, probabilities in enumerate(table["probabilities"]):
        codes = drawn[table["name"]][drawn["ancestry"] == ancestry]
        counts = np.bincount(codes, minlength=len(probabilities))
        assert chi_square(counts, np.array(probabilities) / sum(probabilities)) > ALPHA


def test_vkorc1_differs_between_ancestries_as_published(model):
    """Shares of A/A in the IWPC cohort: 83 % of Asian, 13 % of White, 0 % of Black patients."""
    table = model.estimated["genotypes"][0]
    homozygous = [row[table["categories"].index("A/A")] for row in table["probabilities"]]
    by_ancestry = dict(zip(model.categories["ancestry"], homozygous, strict=True))
    assert by_ancestry["asian"] == pytest.approx(0.83, abs=0.005)
    assert by_ancestry["white"] == pytest.approx(0.13, abs=0.005)
    assert 0 < by_ancestry["black"] < 0.005


def test_height_and_weight_have_the_residuals_of_the_model(model, drawn):
    body = model.estimated["body_size"]
    cut, power = body["residual_cut"], body["weight"]["power"]
    cell = drawn["ancestry"], drawn["sex"]
    mean = predictor(drawn, model, body["height"]["coefficients"])[:, 0]
    of_height = (drawn["height"] - mean) / np.array(body["height"]["residual_sd"])[cell]
    assert stats.kstest(of_height, stats.truncnorm(-cut, cut).cdf).pvalue > ALPHA

    transformed = ((drawn["weight"] / 75) ** power - 1) / power
    mean = predictor(drawn, model, body["weight"]["coefficients"])[:, 0]
    of_weight = (transformed - mean) / np.array(body["weight"]["residual_sd"])[cell]
    assert np.abs(of_weight).max() <= cut + 1e-9
    correlation = np.array(body["residual_correlation"]["values"])
    r = correlation[drawn["ancestry"]]
    # Given height's residual, weight's is normal with mean r * it, cut at the same two values.
    own = np.sqrt(1 - r**2)
    low, high, at = (stats.norm.cdf((x - r * of_height) / own) for x in (-cut, cut, of_weight))
    assert stats.kstest((at - low) / (high - low), "uniform").pvalue > ALPHA
    for ancestry, expected in enumerate(correlation):
        here = drawn["ancestry"] == ancestry
        found = np.corrcoef(of_height[here], of_weight[here])[0, 1]
        # Four standard errors; the cut at 3.5 moves a correlation by less than 0.002.
        assert abs(found - expected) < 4 / np.sqrt(here.sum()) + 0.002


@pytest.mark.parametrize("position", range(6))
def test_regressions_give_the_shares_they_should(model, drawn, position):
    regression = model.estimated["regressions"][position]
    scores = predictor(drawn, model, regression["coefficients"])
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    expected = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    found = np.eye(expected.shape[1])[drawn[regression["name"]]]
    groups = [np.ones(len(found), bool)]
    groups += [drawn["ancestry"] == a for a in range(4)] + [drawn["sex"] == s for s in range(2)]
    groups += [drawn["age"] < 50, drawn["age"] > 80, drawn["weight"] > 100]
    z = [
        (found[g] - expected[g]).sum(axis=0) / np.sqrt((expected * (1 - expected))[g].sum(axis=0))
        for g in groups
    ]
    comparisons = len(groups) * expected.shape[1]
    assert np.max(np.abs(z)) < stats.norm.isf(ALPHA / comparisons / 2)


def test_body_mass_and_surface_follow_from_height_and_weight(drawn):
    np.testing.assert_allclose(drawn["bmi"], drawn["weight"] / (drawn["height"] / 100) ** 2)
    surface = 0.007184 * drawn["weight"] ** 0.425 * drawn["height"] ** 0.725
    np.testing.assert_allclose(drawn["bsa"], surface)


def test_the_vocabulary_describes_every_covariate(model, drawn):
    assert set(model.vocabulary) == set(drawn)
    for name, meaning in model.vocabulary.items():
        if meaning.kind == "number":
            assert drawn[name].dtype == np.float64 and meaning.unit
        else:
            count = 2 if meaning.kind == "flag" else len(meaning.categories)
            assert drawn[name].dtype == np.int32
            assert drawn[name].min() >= 0 and drawn[name].max() == count - 1


@pytest.mark.slow
def test_a_stated_covariate_leaves_all_others_as_they_were(model):
    keys = jax.random.split(jax.random.key(1), 1000)
    marginals = covariates.state_marginals(model)
    stated, names = covariates.state_covariates(
        model.name,
        model.vocabulary,
        {
            "stroke": covariates.StatedSpec(probability=0.07),
            "target_inr": covariates.StatedSpec(value=2.5),
            "statin": covariates.StatedSpec(shares={"none": 0.5, "low": 0.3, "high": 0.2}),
        },
    )
    sample = jax.jit(model.sample)
    without, with_stated = sample(keys, marginals), sample(keys, marginals, stated)
    for name, values in without.items():
        np.testing.assert_array_equal(values, with_stated[name])
    assert set(with_stated) - set(without) == {"stroke", "target_inr", "statin"} == set(names)
    assert np.all(with_stated["target_inr"] == 2.5)
    assert chi_square(np.bincount(with_stated["statin"]), [0.5, 0.3, 0.2]) > ALPHA
    assert stats.binomtest(int(with_stated["stroke"].sum()), 1000, 0.07).pvalue > ALPHA


def test_mistakes_in_stated_covariates_are_all_reported(model):
    spec = covariates.StatedSpec
    with pytest.raises(CohortError) as caught:
        covariates.state_covariates(
            model.name,
            model.vocabulary,
            {
                "smoker": spec(probability=0.2),
                "stroke": spec(probability=1.2),
                "both": spec(value=1.0, probability=0.5),
                "statin": spec(shares={"none": 0.5, "low": 0.3}),
                "has space": spec(value=1.0),
            },
        )
    text = str(caught.value)
    assert len(caught.value.faults) == 5
    assert "smoker: comes from the source iwpc2009 already" in text
    assert "stroke.probability: must be a probability; found 1.2" in text
    assert "both: needs exactly one of" in text
    assert "statin.shares: shares must sum to 1; found a sum of 0.8" in text


def test_an_unknown_source_names_the_nearest():
    with pytest.raises(CohortError, match='did you mean "iwpc2009"'):
        covariates.get("iwpc2008")
