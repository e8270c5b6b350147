"""Numbers of populations are arguments: populations that differ in them alone are one program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from cohorts.inference import Data, Joint, model_of
from cohorts.inference.density import Density
from insilico.config import Name

SEX = Name("category", categories=("female", "male"))
WEIGHT = Name("number", unit="kg")


def half_normal(scale: Any) -> dict[str, Any]:
    return {"kind": "half_normal", "scale": scale}


def every_number(of: Callable[[float], float]) -> dict[str, Any]:
    """Sections of a config with every kind of number, each of them changed by `of`."""
    return {
        "residual": {
            "concentration": {
                "kind": "combined",
                "sd": {"kind": "exponential", "mean": f"{of(1.0)} mg/L"},
                "proportional": {"kind": "beta", "a": of(2.0), "b": of(9.0)},
            }
        },
        "changed": {
            "absorption_rate": {
                "typical": {
                    "kind": "estimate", "value": f"{of(1.4)} 1/h",
                    "relative_standard_error": of(0.2),
                },
                "between_subject": {
                    "kind": "box_cox",
                    "sd": half_normal(of(0.4)),
                    "shape": {"kind": "normal", "mean": of(0.1), "sd": of(0.3)},
                },
            },
            "clearance": {
                "typical": {"kind": "uniform", "low": f"{of(1.0)} L/h", "high": f"{of(6.0)} L/h"},
                "covariates": {
                    "weight": {
                        "kind": "exponential",
                        "centre": f"{of(70.0)} kg",
                        "coefficient": {
                            "kind": "normal", "mean": f"{of(0.01)} 1/kg", "sd": f"{of(0.02)} 1/kg",
                        },
                    },
                    "sex": {
                        "kind": "categorical", "reference": "female",
                        "factors": {
                            "male": {"kind": "log_normal", "median": of(1.1), "sd": of(0.2)}
                        },
                    },
                    "speed": {
                        "kind": "categorical", "reference": "fast", "factors": {"slow": of(0.4)},
                    },
                },
                "between_subject": {
                    "kind": "log_normal", "sd": {"kind": "half_cauchy", "scale": of(0.3)},
                },
            },
            "central_volume": {
                "typical": f"{of(32.0)} L",
                "covariates": {
                    "weight": {
                        "kind": "linear", "centre": f"{of(71.0)} kg",
                        "coefficient": f"{of(0.01)} 1/kg",
                    }
                },
                "between_subject": {
                    "kind": "logit_normal", "lower": f"{of(5.0)} L", "upper": f"{of(80.0)} L",
                    "sd": half_normal(of(0.5)),
                },
            },
        },
        "correlations": [
            {"kind": "lkj", "of": ["clearance", "absorption_rate"], "concentration": of(2.0)}
        ],
        "mixtures": {
            "speed": {"kind": "dirichlet", "concentrations": {"fast": of(3.0), "slow": of(2.0)}}
        },
    }  # fmt: skip


def known_numbers(of: Callable[[float], float]) -> dict[str, Any]:
    """Correlations and shares that are known, and variability between occasions alone."""
    one = of(1.0)
    return {
        "changed": {
            "clearance": {
                "covariates": {
                    "speed": {
                        "kind": "categorical",
                        "reference": "fast",
                        "factors": {"slow": of(0.4)},
                    },
                    "weight": {"kind": "power", "centre": f"{of(70.0)} kg", "coefficient": one},
                },
            },
        },
        "correlations": [
            {
                "kind": "known",
                "of": ["clearance", "central_volume"],
                "matrix": [[1.0, of(0.3)], [of(0.3), 1.0]],
            }
        ],
        "mixtures": {
            "speed": {
                "kind": "known",
                "shares": {"fast": of(0.6), "slow": 1.0 - of(0.6)},
            }
        },
    }


class Pair(NamedTuple):
    """Two joint densities whose populations differ in every number, and their data."""

    one: tuple[Joint, Data]
    other: tuple[Joint, Data]


@pytest.fixture(scope="module", params=[every_number, known_numbers])
def pair(request: Any, oral: Any, table: Any) -> Pair:
    vocabulary = {"weight": WEIGHT, "sex": SEX}
    patients = table(weight=((60.0, 72.0, 85.0), WEIGHT), sex=(np.array([0, 1, 1]), SEX))

    def joint(of: Callable[[float], float]) -> tuple[Joint, Data]:
        population = oral(vocabulary=vocabulary, **request.param(of))
        return Joint.of(population, patients, method="closed_form")

    return Pair(joint(lambda number: number), joint(lambda number: 1.1 * number))


@pytest.mark.parametrize("pair", [every_number], indirect=True)
def test_every_number_of_a_config_is_among_the_data(pair):
    one, other = (data.hyperparameters for _, data in pair)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    same = jax.tree.map(lambda mine, theirs: bool(mine == theirs), one, other)
    assert not any(jax.tree.leaves(same))


def functions(joint: Joint) -> dict[str, Callable[..., Any]]:
    """All that is made of a joint density, as functions of (theta, x, data)."""
    return {
        "density": joint.log_density,
        "prior": lambda theta, x, data: joint.log_prior(theta, data),
        "effects": joint.log_effects,
        "constrained": lambda theta, x, data: joint.constrained(theta, data),
        "back": lambda theta, x, data: joint.unconstrained(joint.constrained(theta, data), data),
        "parameters": joint.parameters,
        "draw": lambda theta, x, data: joint.draw(jax.random.key(0), data),
    }


def operations(function: Callable[..., Any], *arguments: Any) -> str:
    """What a program is found by when it has been compiled before."""
    return jax.jit(function).lower(*arguments).as_text()


def test_populations_that_differ_in_numbers_are_one_program(pair):
    (joint, data), (other, _) = pair
    theta, x = jnp.zeros(len(joint.names)), jnp.zeros((len(joint.effects), joint.subjects))
    mine, theirs = functions(joint), functions(other)
    for name, function in mine.items():
        assert operations(function, theta, x, data) == operations(theirs[name], theta, x, data)


def test_samplers_of_them_are_one_program_whatever_the_centring(pair):
    (joint, data), (other, other_data) = pair
    found = []
    for of, own, share in ((joint, data, 0.2), (other, other_data, 0.7)):
        shares = {name: np.full(of.subjects, share) for name in of.effects}
        given = {"data": own, "centred": shares}
        density = Density.of(model_of(of), given)
        position = {name: jnp.zeros(shape) for name, shape in density.shapes.items()}
        found.append(operations(density.potential, position, given))
    assert found[0] == found[1]


@pytest.mark.parametrize("pair", [every_number], indirect=True)
def test_the_numbers_that_count_are_those_of_the_data(pair, quickly):
    """Bounds of a uniform prior, too, which a transformation is made of."""
    (joint, data), (other, other_data) = pair
    theta = jnp.linspace(-0.4, 0.5, len(joint.names))

    def both(joint: Joint) -> Callable[..., Any]:
        return quickly(lambda data: (joint.log_prior(theta, data), joint.typical(theta, data)))

    before, of_one = both(joint)(data)
    found, typical = both(joint)(other_data)
    expected, of_other = both(other)(other_data)
    assert found == expected != before
    for mine, theirs in zip(typical, of_other, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert of_one.typical_clearance != typical.typical_clearance


def test_priors_have_the_densities_of_the_numbers_in_the_data(oral, weighed, quickly):
    """Of a log-normal median and a half-normal scale that are put in afterwards."""
    joint, data = Joint.of(oral(), weighed())
    numbers = oral(
        changed={
            "clearance": {
                "typical": {"kind": "log_normal", "median": "4 L/h", "sd": 0.5},
                "between_subject": {"kind": "log_normal", "sd": half_normal(0.9)},
            }
        }
    ).hyperparameter_arrays
    theta = joint.unconstrained({**TYPICAL, "typical_clearance": 3.0, "sd_clearance": 0.4}, data)
    log_prior = quickly(lambda data: joint.log_prior(theta, data, of_coordinates=False))
    found = log_prior(data._replace(hyperparameters=numbers)) - log_prior(data)
    expected = sum(
        sign
        * (
            scipy.stats.lognorm.logpdf(3.0, sd, scale=median)
            + scipy.stats.halfnorm.logpdf(0.4, scale=scale)
        )
        for sign, median, sd, scale in ((1, 4.0, 0.5, 0.9), (-1, 2.8, 1.0, 0.5))
    )
    assert float(found) == pytest.approx(expected, rel=1e-12)


TYPICAL = {
    "typical_absorption_rate": 1.5,
    "typical_central_volume": 32.0,
    "sd_absorption_rate": 0.5,
    "sd_central_volume": 0.3,
    "residual_sd_concentration": 1.0,
}
