"""Small pharmacokinetic studies, of people such as those who took theophylline."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cohorts import populations
from cohorts.population import Population, Residual
from cohorts.sites import known, normal
from insilico.config import Spec
from insilico.models.one_compartment import Parameters

if TYPE_CHECKING:
    import xarray as xr

    from trials import Study

CONFIGS = Path(__file__).parent / "data"


class Options(Spec):
    """None."""


class Typical(NamedTuple):
    absorption_rate: Any
    clearance: Any
    central_volume: Any
    residual_sd: Any


SPREAD = {"absorption_rate": 0.4, "clearance": 0.26, "central_volume": 0.13}


def typical_values(options: Options, hyperparameters: Any) -> Typical:
    numbers = Typical(1.5, 2.8, 32.0, 0.1)
    return Typical(**{name: known(name, value) for name, value in numbers._asdict().items()})


def individual(
    typical: Typical, covariates: Any, options: Options, hyperparameters: Any
) -> Parameters:
    import jax.numpy as jnp

    return Parameters(
        **{
            name: getattr(typical, name) * jnp.exp(normal(f"eta_{name}", 0.0, sd))
            for name, sd in SPREAD.items()
        }
    )


POPULATION = Population(
    name="theophylline_in_tests",
    title="People such as those of the theophylline study",
    citation="none: made up for tests",
    model="one_compartment",
    covariates={},
    Options=Options,
    typical_values=typical_values,
    individual=individual,
    residual={"concentration": Residual("proportional", "residual_sd")},
    numbers=(),
    hyperparameters={},
)


@pytest.fixture(scope="session")
def theophylline() -> Iterator[None]:
    """The population that the studies in `CONFIGS` name."""
    get = populations.get
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            populations, "get", lambda name: POPULATION if name == POPULATION.name else get(name)
        )
        yield


@pytest.fixture(scope="session")
def bioequivalence(theophylline: None) -> Path:
    """The config of a crossover of two tablets."""
    return CONFIGS / "bioequivalence.yaml"


@pytest.fixture(scope="session")
def crossover_study(bioequivalence: Path) -> "Study":
    """The crossover as it is."""
    import trials

    return trials.read(bioequivalence)


@pytest.fixture(scope="session")
def crossover_tree(crossover_study: "Study") -> "xr.DataTree":
    """The crossover's results. Not to be changed."""
    import trials

    return trials.simulate(crossover_study)
