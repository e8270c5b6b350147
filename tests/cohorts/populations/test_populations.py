"""Every population of the library can be found and says what it is."""

import pytest

from cohorts import CohortError, populations
from insilico import models


@pytest.mark.parametrize("name", populations.names())
def test_a_population_belongs_to_a_structural_model_and_knows_its_numbers(name):
    population = populations.get(name)
    assert population.name == name
    outputs = models.get(population.model).quantities("Outputs")
    assert set(population.residual) <= set(outputs)
    assert population.citation and population.numbers
    population.Options()  # every choice has a default


def test_an_unknown_population_names_the_nearest():
    with pytest.raises(CohortError, match='did you mean "warfarin_hamberg2010"'):
        populations.get("warfarin_hamburg2010")
