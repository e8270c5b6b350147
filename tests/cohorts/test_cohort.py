"""Cohorts: subjects by address, eligibility by rejection, mistakes found all at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohorts import MAX_ATTEMPTS, Cohort, CohortError, CohortSpec
from insilico.config import ConfigError, load


@functools.partial(jax.jit, static_argnums=0)
def program(cohort, numbers, seed, *address):
    return cohort.sample(numbers, seed, *address)


def sample(cohort, seed, population, trial, subject):
    numbers = cohort.numbers(seed, int(max(population)) + 1)
    return program(cohort, numbers, jnp.int32(seed), population, trial, subject)


def spec(**changes) -> CohortSpec:
    settings = {
        "population": "warfarin_hamberg2010",
        "covariates": {"source": "iwpc2009"},
    }
    return CohortSpec.model_validate({**settings, **changes})


def addresses(subject, trial=0, population=0):
    subject = jnp.asarray(subject, jnp.int32)
    return jnp.full_like(subject, population), jnp.full_like(subject, trial), subject


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return Cohort.from_spec(
        spec(
            covariates={"source": "iwpc2009", "stated": {"stroke": {"probability": 0.07}}},
            eligibility=("age >= 50", 'indication in ("dvt", "pe")', "not amiodarone"),
        )
    )


@pytest.fixture(scope="module")
def everybody() -> Cohort:
    return Cohort.from_spec(spec())


@pytest.fixture(scope="module")
def subjects(cohort):
    return sample(cohort, 7, *addresses(np.arange(1500)))


def test_everybody_drawn_is_eligible(cohort, subjects):
    values, attempts = subjects
    assert values.covariates["age"].min() >= 50
    assert set(np.unique(values.covariates["indication"])) == {1, 2}
    assert not np.any(values.covariates["amiodarone"])
    assert attempts.min() == 1
    # The number of attempts is geometric; four standard errors of its mean.
    share = cohort.eligible_share(n=20_000).overall
    error = 4 * np.sqrt((1 - share) / share**2 / 1500 + (1 - share) / share**3 / 20_000)
    assert np.mean(attempts) == pytest.approx(1 / share, abs=error)


@pytest.mark.parametrize(
    "chosen",
    [
        # As many again share the program of all.
        [1499, *range(1100), *[7] * 399],
        *(pytest.param(few, marks=pytest.mark.slow) for few in ([3], [1499, *range(1100), 7])),
    ],
    ids=["as many", "one", "fewer"],
)
def test_a_subject_is_the_same_in_any_company_to_the_last_bit(cohort, subjects, chosen):
    alone = sample(cohort, 7, *addresses(chosen))
    for some, every in zip(jax.tree.leaves(alone), jax.tree.leaves(subjects), strict=True):
        np.testing.assert_array_equal(some, np.asarray(every)[chosen])


@pytest.mark.slow
def test_eligibility_chooses_among_candidates_and_changes_nothing_else(everybody, subjects):
    values, attempts = sample(everybody, 7, *addresses(np.arange(1500)))
    assert np.all(attempts == 1)
    chosen, tried = subjects
    first = np.asarray(tried) == 1
    for name, of_all in values.covariates.items():
        np.testing.assert_array_equal(of_all[first], chosen.covariates[name][first])
    # Random effects belong to the subject, whoever was rejected before.
    by_volume = np.asarray(values.parameters.volume), np.asarray(chosen.parameters.volume)
    np.testing.assert_array_equal(*by_volume)


@pytest.mark.slow
def test_seed_population_trial_and_subject_each_give_other_people(everybody):
    population, trial, subject = np.zeros((3, 1500), np.int32)
    population[1] = trial[2] = subject[3] = 1
    first, second = (
        sample(everybody, seed, *map(jnp.asarray, (population, trial, subject)))[0]
        for seed in (7, 8)
    )
    weight = np.asarray(first.covariates["weight"])
    assert len(np.unique(weight)) == 4
    assert weight[0] == weight[4]
    assert second.covariates["weight"][0] not in weight


@pytest.mark.slow
def test_a_subject_whom_nobody_can_be_is_given_up_and_marked():
    nobody = Cohort.from_spec(spec(eligibility=("age > 200",)))
    values, attempts = sample(nobody, 7, *addresses([0, 1]))
    assert np.all(attempts == 0)
    assert all(np.all(np.isnan(p)) for p in values.parameters)
    assert MAX_ATTEMPTS == 1000


def test_cohorts_that_differ_in_numbers_or_options_make_the_same_program():
    def text(female, stroke, **options):
        covariates = {
            "source": "iwpc2009",
            "marginals": {"sex": {"female": female, "male": 1 - female}},
            "stated": {"stroke": {"probability": stroke}},
        }
        cohort = Cohort.from_spec(spec(covariates=covariates, options=options))
        return program.lower(cohort, cohort.numbers(0), jnp.int32(0), *addresses([0, 1])).as_text()

    first = text(0.3, 0.07)
    assert text(0.6, 0.2) == first
    assert text(0.3, 0.07, spread="variance", parameter_uncertainty="published") == first


def test_the_residual_error_is_handed_out_with_the_subjects(subjects):
    np.testing.assert_array_equal(subjects[0].residual["inr"].sd, np.full(1500, 0.2))


@pytest.mark.slow
def test_population_parameters_belong_to_the_draw_of_the_population():
    uncertain = Cohort.from_spec(spec(options={"parameter_uncertainty": "published"}))
    drawn = uncertain.population_parameters(7, 3)
    assert len(np.unique(drawn["clearance_1"])) == 3
    values, _ = sample(uncertain, 7, *addresses([0, 1], population=2))
    np.testing.assert_allclose(values.parameters.hill, drawn["hill"][2])


def test_check_names_the_criterion_that_lets_nobody_pass():
    impossible = Cohort.from_spec(spec(eligibility=("age >= 18", "weight > 500")))
    with pytest.raises(CohortError, match=r"eligibility\.1: lets none of 512 .* weight > 500"):
        impossible.check(n=512)
    contradictory = Cohort.from_spec(spec(eligibility=("age < 60", "age > 61")))
    with pytest.raises(CohortError, match="no one of 512 candidates meets all criteria together"):
        contradictory.check(n=512)


def test_check_finds_a_criterion_that_divides_by_zero():
    dividing = Cohort.from_spec(spec(eligibility=("weight / diabetes > 20",)))
    with pytest.raises(CohortError, match="divides by zero"):
        dividing.check(n=512)


CONFIG = """\
cohort:
  population: warfarin_hamburg2010
  options:
    spread: variances
  covariates:
    source: iwpc2009
    marginals:
      ancestry: {white: 0.6, blak: 0.4}
      age: {median: 58 yr, quartiles: [60 yr, 70 yr]}
    stated:
      smoker: {probability: 0.2}
  eligibility:
    - age >= 18
    - indicaton in ("dvt", "pe")
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "trial.yaml"
        path.write_text(text)
        return load(path)

    return write


def test_a_config_makes_a_cohort(write):
    text = CONFIG.replace("hamburg", "hamberg").replace("variances", "variance")
    text = text.replace("blak", "black").replace("[60 yr", "[46 yr").replace("smoker", "stroke")
    document = write(text.replace("indicaton", "indication"))
    parsed = document.parse(CohortSpec, path=("cohort",))
    cohort = Cohort.from_spec(parsed, document)
    assert cohort.options.model_dump()["spread"] == "variance"
    assert cohort.check(document).overall > 0
    assert "stroke" in cohort.vocabulary


def test_every_mistake_of_a_config_is_reported_where_it_stands(write):
    document = write(CONFIG)
    parsed = document.parse(CohortSpec, path=("cohort",))
    with pytest.raises(ConfigError) as caught:
        Cohort.from_spec(parsed, document)
    found = {problem.line: str(problem) for problem in caught.value.problems}
    assert 'did you mean "warfarin_hamberg2010"' in found[2]
    assert 'did you mean "black"' in found[8]
    assert "limits, quartiles and median must rise" in found[9]
    assert "comes from the source iwpc2009 already" in found[11]
    assert 'did you mean "indication"' in found[14]
    assert set(found) == {2, 8, 9, 11, 14}


def test_wrong_options_are_reported_where_they_stand(write):
    document = write(CONFIG.replace("hamburg", "hamberg"))
    with pytest.raises(ConfigError) as caught:
        Cohort.from_spec(document.parse(CohortSpec, path=("cohort",)), document)
    assert any(p.line == 4 and "variance" in str(p) for p in caught.value.problems)


def test_wrong_options_without_a_config_are_reported_too():
    with pytest.raises(CohortError, match="options.spread"):
        Cohort.from_spec(spec(options={"spread": "variances"}))
