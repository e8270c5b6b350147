"""A site's draw depends on its name and its key, not on the sites around it."""

import subprocess
import sys

import jax
import numpyro
import pytest
from numpyro import distributions as dist

from cohorts import addressed
from cohorts.sites import normal


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


@pytest.mark.slow
def test_sites_have_keys_also_where_arviz_was_imported_first() -> None:
    # ArviZ puts a lazy numpyro in its place, of which a submodule must not be loaded twice.
    program = (
        "import arviz, jax\n"
        "from cohorts import addressed\n"
        "from cohorts.sites import normal\n"
        "with addressed(key=jax.random.key(0)):\n"
        "    print(float(normal('eta', 0.0, 1.0)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with addressed(key=jax.random.key(0)):
        assert float(done.stdout) == float(normal("eta", 0.0, 1.0))
