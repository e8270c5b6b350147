"""Every mistake of a population's config is told, with its place and how to mend it."""

import math
from pathlib import Path
from typing import Any

import pytest

import cohorts.hierarchy
from cohorts import CohortError, Residual
from cohorts.hierarchy import HierarchySpec, population_of
from insilico import models
from insilico.config import ConfigError, Name, json_schema, load

CLEARANCE = "population.clearance"
NORMAL = {"kind": "normal", "mean": "2.8 L/h", "sd": "1 L/h"}
POWER = {"kind": "power", "centre": "70 kg", "coefficient": 0.75}
LOGIT = {"kind": "logit_normal", "upper": "10 L/h", "sd": 0.3}
SEX = {"kind": "categorical", "reference": "male", "factors": {"female": 0.8}}
PAIR = ["clearance", "central_volume"]
TWO = {"kind": "known", "shares": {"fast": 0.7, "slow": 0.3}}
SPEED = {"kind": "categorical", "reference": "fast", "factors": {"slow": 0.3}}


def put(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for path, value in changes.items():
        *way, last = path.split(".")
        section = config
        for step in way:
            section = section.setdefault(step, {})
        if value is None:
            del section[last]
        else:
            section[last] = value
    return config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"population.clearence": {"typical": "3 L/h"}},
            'population.clearence: unknown parameter of one_compartment; found "clearence"; '
            'allowed: "absorption_rate", "clearance", "central_volume"; did you mean "clearance"?',
        ),
        (
            {"population.absorption_rate": None},
            "population: lacks parameters of one_compartment: absorption_rate; give each a typical "
            "value",
        ),
        (
            {f"{CLEARANCE}.typical": "2.8 L"},
            f"{CLEARANCE}.typical: must be a flow (volume/time) (in L/h), but L is a unit of "
            'volume; found "2.8 L"',
        ),
        (
            {f"{CLEARANCE}.typical": 2.8},
            f"{CLEARANCE}.typical: the unit is missing; found 2.8; write for example 2.8 L/h",
        ),
        (
            {f"{CLEARANCE}.typical": {"kind": "log_normal", "median": "-1 L/h", "sd": 1}},
            f"{CLEARANCE}.typical.median: must be more than 0 L/h",
        ),
        (
            {f"{CLEARANCE}.typical": NORMAL},
            f"{CLEARANCE}.typical: must stay above 0, which this distribution does not; found "
            "normal (mean 2.8 L/h, sd 1 L/h); allowed: a known number, log_normal",
        ),
        (
            {f"{CLEARANCE}.typical": {"kind": "uniform", "low": "3 L/h", "high": "1 L/h"}},
            f"{CLEARANCE}.typical.high: must be more than low",
        ),
        (
            {f"{CLEARANCE}.typical": {"kind": "beta", "a": 1, "b": 2}},
            f"{CLEARANCE}.typical.kind: is for shares, but this is in L/h",
        ),
        (
            {f"{CLEARANCE}.typical": {
                "kind": "estimate", "value": "-1 L/h", "relative_standard_error": 0.1}},
            f"{CLEARANCE}.typical.value: must be more than 0",
        ),
        (
            {f"{CLEARANCE}.covariates.weight": {**POWER, "coefficient": {
                "kind": "estimate", "value": 0, "relative_standard_error": 0.1}}},
            "has no relative standard error where it is 0; found 0.0; write {kind: normal",
        ),
        (
            {f"{CLEARANCE}.between_subject.sd": -0.3},
            f"{CLEARANCE}.between_subject.sd: must be more than 0; found -0.3",
        ),
        (
            {f"{CLEARANCE}.between_subject": {"kind": "normal", "sd": 0.3}},
            f"{CLEARANCE}.between_subject.sd: the unit is missing; found 0.3",
        ),
        (
            {f"{CLEARANCE}.between_subject": {**LOGIT, "lower": "20 L/h"}},
            f"{CLEARANCE}.between_subject.upper: must be more than lower",
        ),
        (
            {f"{CLEARANCE}.between_subject": LOGIT, f"{CLEARANCE}.typical": "12 L/h"},
            f"{CLEARANCE}.typical: must lie between the bounds of its variability; found 12 L/h; "
            "allowed: more than 0, less than 10",
        ),
        (
            {f"{CLEARANCE}.between_occasion": {"kind": "normal", "sd": 0.1}},
            f"{CLEARANCE}.between_occasion.kind: must be that of between_subject, to whose eta "
            'kappa is added; found "normal"; allowed: log_normal; leave it out',
        ),
        (
            {f"{CLEARANCE}.covariates.wieght": POWER},
            f'{CLEARANCE}.covariates.wieght: unknown covariate; found "wieght"; allowed: "weight", '
            '"sex", "smoker"; did you mean "weight"?',
        ),
        (
            {f"{CLEARANCE}.covariates.weight": {**POWER, "centre": "70 L"}},
            f"{CLEARANCE}.covariates.weight.centre: must be a mass (in kg), but L is a unit of",
        ),
        (
            {f"{CLEARANCE}.covariates.weight": {**POWER, "centre": "0 kg"}},
            f"{CLEARANCE}.covariates.weight.centre: must be more than 0 kg",
        ),
        (
            {f"{CLEARANCE}.covariates.weight": {**POWER, "kind": "exponential"}},
            f"{CLEARANCE}.covariates.weight.coefficient: the unit is missing; found 0.75; write "
            "for example 0.75 1/kg",
        ),
        (
            {f"{CLEARANCE}.covariates.sex": POWER},
            f"{CLEARANCE}.covariates.sex.kind: is for numbers, but sex is a category; found "
            '"power"; allowed: "categorical"',
        ),
        (
            {f"{CLEARANCE}.covariates.weight": SEX},
            f"{CLEARANCE}.covariates.weight.kind: is for categories, but weight is a number",
        ),
        (
            {f"{CLEARANCE}.covariates.sex": {**SEX, "reference": "mail"}},
            f'{CLEARANCE}.covariates.sex.reference: unknown category of sex; found "mail"; '
            'allowed: "male", "female"; did you mean "male"?',
        ),
        (
            {f"{CLEARANCE}.covariates.sex": {**SEX, "factors": {"femal": 0.8}}},
            f'{CLEARANCE}.covariates.sex.factors.femal: unknown category of sex; found "femal"; '
            'allowed: "female"; did you mean "female"?',
        ),
        (
            {f"{CLEARANCE}.covariates.sex": {**SEX, "factors": {}}},
            f"{CLEARANCE}.covariates.sex.factors: lacks the factor of these categories of sex; "
            'found "female"',
        ),
        (
            {f"{CLEARANCE}.covariates.sex": {**SEX, "factors": {"female": "0.8 L"}}},
            f"{CLEARANCE}.covariates.sex.factors.female: must be a number without dimension",
        ),
        (
            {"correlations": [{"kind": "lkj", "of": ["clearance", "absorption_rate"]}]},
            'correlations.0.of.1: does not vary between subjects; found "absorption_rate"; '
            "allowed: clearance, central_volume; give it between_subject, or leave it out here",
        ),
        (
            {"correlations": [{"kind": "lkj", "of": ["clearance", "volume"]}]},
            'correlations.0.of.1: unknown parameter; found "volume"',
        ),
        (
            {"correlations": [{"kind": "lkj", "of": ["clearance"]}]},
            "correlations.0.of: must name two parameters or more; found clearance",
        ),
        (
            {
                "population.absorption_rate.between_subject": {"kind": "log_normal", "sd": 0.5},
                "correlations": [
                    {"kind": "lkj", "of": PAIR},
                    {"kind": "lkj", "of": ["clearance", "absorption_rate"]},
                ],
            },
            'correlations.1.of.0: is in a correlation already; found "clearance"',
        ),
        (
            {"correlations": [{"kind": "known", "of": PAIR, "matrix": [[1, 0.5]]}]},
            "correlations.0.matrix: must have 2 rows of 2 numbers; found rows of 2",
        ),
        (
            {"correlations": [{"kind": "known", "of": PAIR, "matrix": [[1, 0.5], [0.4, 1]]}]},
            "correlations.0.matrix: must be symmetric with ones on the diagonal",
        ),
        (
            {"correlations": [{"kind": "known", "of": PAIR, "matrix": [[1, 1.2], [1.2, 1]]}]},
            "correlations.0.matrix: is no correlation matrix",
        ),
        (
            {"residual.concentratoin": {"kind": "log_additive", "sd": 0.3}},
            'residual.concentratoin: unknown output of one_compartment; found "concentratoin"; '
            'allowed: "concentration", "depot", "central"; did you mean "concentration"?',
        ),
        (
            {"residual.concentration.sd": "0.5 mg"},
            "residual.concentration.sd: must be a concentration (mass/volume) (in mg/L), but mg is",
        ),
        (
            {"residual.concentration.sd": "-0.5 mg/L"},
            "residual.concentration.sd: must be more than 0 mg/L",
        ),
        (
            {"mixtures.speed": {"kind": "known", "shares": {"fast": 0.7, "slow": 0.2}}},
            "mixtures.speed.shares: must have the sum 1; found 0.9",
        ),
        (
            {"mixtures.speed": {"kind": "dirichlet", "concentrations": {"fast": 1}}},
            "mixtures.speed.concentrations: must name two subpopulations or more; found fast",
        ),
        (
            {"mixtures.sex": TWO},
            'mixtures.sex: is a covariate already; found "sex"',
        ),
        (
            {"mixtures.the speed": TWO},
            "mixtures.the speed: a name is made of letters, digits and underscores",
        ),
        (
            {"mixtures.speed": TWO, f"{CLEARANCE}.covariates.speed": SPEED,
             f"{CLEARANCE}.between_subject": LOGIT},
            f"{CLEARANCE}.covariates.speed: a mixture cannot act on a parameter between two",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told(config, read, changes, said):
    with pytest.raises(CohortError) as caught:
        read(put(config, changes))
    (line,) = str(caught.value).splitlines()
    assert said in line


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path):
    file = tmp_path / "fit.yaml"
    file.write_text(
        "population:\n"
        "  absorption_rate:\n"
        "    typical: 1.5 1/d\n"
        "  clearance:\n"
        "    typical: 2.8 L\n"
        "    covariates: {wieght: {kind: power, centre: 70 kg, coefficient: 0.75}}\n"
        "correlations: [{of: [clearance, central_volume], kind: lkj}]\n"
        "residual:\n"
        "  concentration: {kind: combined, sd: 0.1 mg/L, proportional: -10 %}\n"
    )
    document = load(file)
    with pytest.raises(ConfigError) as caught:
        population_of(
            document.parse(HierarchySpec), models.get("one_compartment"), {}, document=document
        )
    assert [(p.line, p.field) for p in caught.value.problems] == [
        (1, "population"),
        (5, "population.clearance.typical"),
        (6, "population.clearance.covariates.wieght"),
        (7, "correlations.0.of.0"),
        (7, "correlations.0.of.1"),
        (9, "residual.concentration.proportional"),
    ]


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ("{kind: gamma, shape: 2}", "typical.kind", "log_normal"),
        ("{kind: log_normal, median: 2.8 L/h}", "typical", "sd"),
        ("{kind: log_normal, median: 2.8 L/h, sd: 0}", "typical.sd", "more than 0"),
        ("{kind: half_normal, scal: 2.8 L/h}", "typical.scal", "scale"),
    ],
)
def test_what_pydantic_finds_has_its_place_too(tmp_path, text, field, said):
    file = tmp_path / "fit.yaml"
    file.write_text(f"population:\n  clearance:\n    typical: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load(file).parse(HierarchySpec)
    problem = caught.value.problems[0]
    assert problem.line == 3 and problem.field == f"population.clearance.{field}"
    assert said in str(problem)


def test_reports_are_told_what_was_written(config, read):
    population = read(
        put(
            config,
            {
                f"{CLEARANCE}.covariates.sex": SEX,
                "correlations": [{"kind": "known", "of": PAIR, "matrix": [[1, 0.4], [0.4, 1]]}],
                "mixtures.speed": TWO,
            },
        )
    )
    assert population.assumptions == (
        "absorption_rate: 1.5 1/h; the same for all.",
        "clearance: log-normal (median 2.8 L/h, sd 1) × (weight / 70 kg) ^ 0.75 × a factor by sex "
        "(against male: female: 0.8); log-normal between subjects, sd half-normal (scale 0.5).",
        "central_volume: 32 L; log-normal between subjects, sd 0.2.",
        "Correlations of random effects: clearance and central_volume 0.4.",
        "Subjects belong to one of several subpopulations (speed), shares fast: 0.7, slow: 0.3.",
        "concentration: additive residual error, sd 0.5 mg/L.",
    )
    assert list(population.covariates) == ["weight", "sex"]
    card = population.card(population.Options())
    assert card["model"] == "one_compartment"
    volume = next(n for n in card["numbers"] if n["name"] == "typical_central_volume")
    assert (volume["value"], volume["unit"]) == (32.0, "L")


def test_every_number_has_its_unit_and_its_bounds_in_the_order_of_a_table(config, read):
    population = read(
        put(
            config,
            {
                f"{CLEARANCE}.covariates.sex": SEX,
                "correlations": [{"kind": "known", "of": PAIR, "matrix": [[1, 0.4], [0.4, 1]]}],
                "mixtures.speed": TWO,
                "residual.concentration.sd": {"kind": "half_normal", "scale": "0.5 mg/L"},
            },
        )
    )
    measures = population.measures
    assert list(measures) == [
        "typical_absorption_rate",
        "typical_clearance",
        "typical_central_volume",
        "weight_on_clearance",
        "sex_female_on_clearance",
        "sd_clearance",
        "sd_central_volume",
        "correlation_clearance_central_volume",
        "shares_speed",
        "residual_sd_concentration",
    ]
    # Learned numbers have units as known ones have.
    assert measures["typical_clearance"] == ("L/h", 0.0, math.inf)
    assert measures["residual_sd_concentration"] == ("mg/L", 0.0, math.inf)
    assert measures["sd_clearance"] == ("1", 0.0, math.inf)
    assert measures["correlation_clearance_central_volume"] == ("1", 0.4, 0.4)


def test_the_readmes_config_is_a_population(tmp_path):
    readme = Path(cohorts.hierarchy.__file__).with_name("README.md").read_text(encoding="utf-8")
    file = tmp_path / "fit.yaml"
    file.write_text(readme.partition("```yaml\n")[2].partition("```")[0])
    document = load(file)
    weight = {"weight": Name("number", unit="kg")}
    population = population_of(
        document.parse(HierarchySpec), models.get("one_compartment"), weight, document=document
    )
    assert len(population.assumptions) == 5


def test_two_outputs_and_the_covariates_of_a_pharmacodynamic_model_are_described(tmp_path):
    file = tmp_path / "fit.yaml"
    typical = {
        "absorption_rate": "1 1/h",
        "intercompartmental_clearance": "2 L/h",
        "peripheral_volume": "20 L",
        "production": "10 1/h",
        "maximal_inhibition": "1",
    }
    lines = [f"  {name}: {{typical: {value}}}" for name, value in typical.items()]
    file.write_text(
        "population:\n"
        + "\n".join(lines)
        + """
  clearance:
    typical: {kind: log_normal, median: 2 mL/min, sd: 1}
    covariates:
      weight: {kind: power, centre: 70 kg, coefficient: 0.75}
      sex:
        kind: categorical
        reference: male
        factors: {female: {kind: log_normal, median: 1, sd: 0.2}}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
  central_volume:
    typical: {kind: log_normal, median: 8 L, sd: 1}
    covariates: {weight: {kind: power, centre: 70 kg, coefficient: 1}}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
  loss: {typical: {kind: log_normal, median: 1 1/d, sd: 1}}
  half_inhibition_concentration:
    typical: {kind: log_normal, median: 1 mg/L, sd: 1}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
correlations: [{of: [clearance, central_volume], kind: lkj, concentration: 2}]
residual:
  central:
    kind: combined
    sd: {kind: half_normal, scale: 1 mg}
    proportional: {kind: half_normal, scale: 0.3}
  response: {kind: additive, sd: {kind: half_normal, scale: 10}}
"""
    )
    vocabulary = {
        "weight": Name("number", unit="kg"),
        "sex": Name("category", categories=("female", "male")),
    }
    document = load(file)
    population = population_of(
        document.parse(HierarchySpec),
        models.get("indirect_response"),
        vocabulary,
        document=document,
    )
    described = {line.partition(":")[0]: line for line in population.assumptions}
    assert (
        "(median 0.12 L/h, sd 1) × (weight / 70 kg) ^ 0.75 × a factor by sex (against male: "
        in (described["clearance"])
    )
    assert "(median 0.04167 1/h, sd 1); the same for all" in described["loss"]
    assert population.residual["central"] == Residual(
        "combined", "residual_sd_central", "residual_proportional_central"
    )


def test_editors_get_a_schema_of_it():
    schema = json_schema(HierarchySpec)
    sections = {"estimates", "population", "correlations", "mixtures", "residual"}
    assert sections == schema["properties"].keys()
