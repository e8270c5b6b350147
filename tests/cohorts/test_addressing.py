"""A site's draw depends on its name and its key, not on the sites around it."""

import jax
import numpyro
from numpyro import distributions as dist

from cohorts import addressed


def _draw(model, number=0):
    with addressed(key=jax.random.key(number)):
        return model()


def test_a_new_site_leaves_the_others_as_they_were():
    def one():
        return numpyro.sample("b", dist.Normal())

    def two():
        numpyro.sample("a", dist.Normal())
        return numpyro.sample("b", dist.Normal())

    assert _draw(one) == _draw(two)
    assert _draw(one) != _draw(one, number=1)


def test_sites_of_different_names_differ():
    def pair():
        return numpyro.sample("a", dist.Normal()), numpyro.sample("b", dist.Normal())

    first, second = _draw(pair)
    assert first != second


def test_observed_sites_keep_their_value():
    assert _draw(lambda: numpyro.sample("a", dist.Normal(), obs=2.0)) == 2.0
