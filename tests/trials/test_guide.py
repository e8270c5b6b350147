"""The guide to configs names everything that a config may say."""

import json
import math
import re
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from insilico.config.expressions import FUNCTIONS
from trials import read
from trials.config import AnalysisSpec, EndpointSpec, TrialConfig
from trials.dosing import library
from trials.margins import margins_of

CONFIGS = Path(__file__).parents[2] / "configs"
COAG = CONFIGS / "warfarin_coag.yaml"
ESTIMATES = Path(__file__).parents[1] / "cohorts" / "estimates" / "files"


@pytest.fixture(scope="module")
def guide() -> str:
    return (CONFIGS / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def named(guide) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", guide))


def test_every_section_kind_and_estimator_is_named(named):
    kinds = {
        get_args(spec.model_fields["kind"].annotation)[0]
        for spec in get_args(get_args(EndpointSpec)[0])
    }
    estimators = set(get_args(AnalysisSpec.model_fields["estimator"].annotation))
    assert set(TrialConfig.model_fields) | kinds | estimators <= named


def test_every_name_of_expressions_is_named(named):
    protocol = read(COAG).protocol
    at_visits = set(protocol.rule_vocabulary) - set(protocol.vocabulary)
    covariates = set(protocol.cohort.source.vocabulary)
    assert set(FUNCTIONS) | set(library()) | at_visits | covariates | {"maintenance"} <= named


def test_every_category_is_named(guide):
    for name, covariate in read(COAG).protocol.cohort.source.vocabulary.items():
        for category in covariate.categories:
            assert f'"{category}"' in guide, f"{name}: {category}"


@pytest.fixture(scope="module")
def examples(guide) -> list[dict]:
    found = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    return [YAML(typ="safe").load(example) for example in found]


def changed(config, sections):
    return read(config, [f"{key}={json.dumps(value)}" for key, value in sections.items()])


def test_its_example_of_a_crossover_is_a_config(examples, bioequivalence):
    _, sections, *_ = examples
    study = changed(bioequivalence, {**sections, "trial.replicates": 20})
    assert study.protocol.periods.number == 2
    assert list(study.config.endpoints) == ["auc", "cmax"]


def test_its_example_of_arms_is_a_config(examples):
    sections, *_ = examples
    other = {"label": "Other", "start": ["by_age"], "titration": "by_inr"}
    sections["arms"]["other"] = other
    changes = {
        **sections,
        "trial.randomisation.allocation": {"fixed": 1, "other": 1},
        "analyses": {
            "one": {
                "endpoint": "ttr",
                "estimator": "mean_difference",
                "contrast": ["fixed", "other"],
            }
        },
        "success": None,
        "published": None,
        "sensitivity": {},
    }
    study = changed(COAG, changes)
    assert set(study.config.arms) == {"fixed", "other"}


def test_its_example_of_margins_is_a_config(examples):
    _, _, sections, *_ = examples
    arms = {"new": "genotype_guided", "standard": "clinically_guided"}
    analyses = {
        name: {**spec, "contrast": [arms[arm] for arm in spec["contrast"]]}
        for name, spec in sections["analyses"].items()
    }
    found = {}
    for name, spec in analyses.items():
        config = changed(COAG, {f"analyses.{name}": spec, "endpoints.ttr.better": "higher"}).config
        found[name] = margins_of(config, config.analyses[name])
    expected = {"not_worse": (-5, math.inf), "much_better": (3, math.inf), "alike": (-5, 5)}
    assert found == expected


def test_its_example_of_a_population_is_a_cohort(examples, bioequivalence):
    _, _, _, sections, *_ = examples
    study = changed(bioequivalence, {"cohort": sections["cohort"], "trial.replicates": 20})
    population = study.protocol.cohort.population
    assert population.residual["concentration"].kind == "proportional"
    assert set(population.covariates) == {"weight"}


def test_its_example_of_imported_estimates_is_a_cohort(examples, bioequivalence):
    _, _, _, _, sections, *_ = examples
    described = sections["cohort"]["described"]
    for field, name in described["estimates"].items():
        described["estimates"][field] = str(ESTIMATES / name)
    study = changed(bioequivalence, {"cohort": sections["cohort"], "trial.replicates": 20})
    sources = {number.name: number.source for number in study.protocol.cohort.population.numbers}
    assert sources["typical_clearance"] == "THETA1 of run12.ext"
