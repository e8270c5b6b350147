"""How chains share the machine changes nothing of their draws, and follows from the model alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist

from cohorts.inference import Sampling, layout, nuts, sample
from cohorts.inference.density import Density

SHORT = Sampling(chains=3, warmup=60, draws=40, target_acceptance=0.8)


def begun(density: Density, data: Any, plan: nuts.Plan, chains: int) -> nuts.Chains:
    keys = jax.random.split(jax.random.key(3), chains)
    position = {
        name: 0.1 * jax.random.normal(jax.random.key(number), (chains, *shape))
        for number, (name, shape) in enumerate(density.shapes.items())
    }
    potential, gradient = jax.vmap(jax.value_and_grad(lambda z: density.potential(z, data)))(
        position
    )
    return nuts.begin(plan, position, potential, gradient, keys)


@pytest.mark.slow
def test_a_chain_alone_is_the_same_on_any_number_of_devices(schools, schools_data) -> None:
    density = Density.of(schools, schools_data)
    data = jax.tree.map(jnp.asarray, schools_data)
    plan = nuts.Plan(60, 10, ("mu", "tau"))
    chains = begun(density, data, plan, 3)
    arguments = (jnp.asarray(0), jnp.asarray(nuts.BLOCK), jnp.asarray(0.8), data)
    one, two = (
        nuts.apart(density, plan, devices)(chains, *arguments)
        for devices in (1, min(2, jax.local_device_count()))
    )
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_array_equal(_plain(ours), _plain(theirs))
    # And what a chain draws is its own: without the others it is the same.
    alone = jax.tree.map(lambda leaf: leaf[2:], chains)
    _, block = nuts.apart(density, plan, 1)(alone, *arguments)
    np.testing.assert_array_equal(block.position["mu"][:, 0], one[1].position["mu"][:, 2])


@pytest.mark.slow
def test_chains_apart_draw_what_chains_together_draw(schools, schools_data) -> None:
    """Until rounding, which depends on what XLA fuses, has grown; chaos is slow to come."""
    density = Density.of(schools, schools_data)
    data = jax.tree.map(jnp.asarray, schools_data)
    plan = nuts.Plan(60, 10, ("mu", "tau"))
    chains = begun(density, data, plan, 3)
    arguments = (jnp.asarray(0), jnp.asarray(10), jnp.asarray(0.8), data)
    # Three chains leave a place empty where there are two devices.
    _, one = nuts.apart(density, plan, min(2, jax.local_device_count()))(chains, *arguments)
    _, other = nuts.together(density, plan)(chains, *arguments)
    np.testing.assert_array_equal(one.statistics.n_steps, other.statistics.n_steps)
    for name, values in one.position.items():
        np.testing.assert_allclose(values, other.position[name], rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_chains_with_data_of_their_own_are_the_same_on_any_number_of_devices(
    schools, schools_data
) -> None:
    """Five of them, two side by side: the last stands beside a copy of itself."""
    density = Density.of(schools, schools_data)
    data = jax.tree.map(lambda leaf: jnp.stack([(1 + k) * leaf for k in range(5)]), schools_data)
    plan = nuts.Plan(60, 10, ("mu", "tau"))
    alone = jax.tree.map(lambda leaf: leaf[4], data)
    chains = begun(density, alone, plan, 5)
    arguments = (jnp.asarray(0), jnp.asarray(10), jnp.asarray(0.8))
    one, two = (
        nuts.apart(density, plan, devices, 2)(chains, *arguments, data)
        for devices in (1, min(2, jax.local_device_count()))
    )
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(_plain(ours), _plain(theirs))
    # The last chain's data are its own.
    last = jax.tree.map(lambda leaf: leaf[4:], chains)
    _, block = nuts.apart(density, plan, 1)(last, *arguments, alone)
    for name, values in block.position.items():
        ours = one[1].position[name][:10, 4]
        np.testing.assert_allclose(ours, values[:10, 0], rtol=1e-9, atol=1e-9)


def _plain(leaf: Any) -> np.ndarray:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def test_layout_is_by_the_size_of_the_model(schools, schools_data) -> None:
    def many(y: Any) -> None:
        mean = numpyro.sample("mean", dist.Normal(0, 1))
        with numpyro.plate("observation", y.shape[0]):
            numpyro.sample("y", dist.Normal(mean, 1), obs=y)

    small = layout.choose(Density.of(schools, schools_data), schools_data, SHORT)
    assert not small.apart and "side by side" in small.told and "small" in small.told
    data = {"y": np.zeros(20_000)}
    large = layout.choose(Density.of(many, data), data, SHORT)
    assert large.apart and "each alone" in large.told and "large" in large.told
    stated = SHORT.model_copy(update={"layout": "together"})
    assert not layout.choose(Density.of(many, data), data, stated).apart


@pytest.mark.slow
def test_a_run_apart_is_gone_on_with(schools, schools_data, tmp_path) -> None:
    """Bitwise, as side by side (`test_checkpoints`)."""
    from cohorts.inference import Progress, run

    apart = SHORT.model_copy(update={"layout": "apart"})
    whole = sample(schools, schools_data, apart, seed=1)
    assert whole.layout.apart
    share, run.CHECKPOINT_SHARE = run.CHECKPOINT_SHARE, np.inf

    def stop(progress: Progress) -> None:
        if progress.done >= 30:
            raise InterruptedError

    try:
        with pytest.raises(InterruptedError):
            sample(schools, schools_data, apart, seed=1, checkpoint=tmp_path, progress=stop)
    finally:
        run.CHECKPOINT_SHARE = share
    again = sample(schools, schools_data, apart, seed=1, checkpoint=tmp_path)
    one, two = (each.tree["posterior"].to_dataset()["mu"] for each in (whole, again))
    np.testing.assert_array_equal(one, two)


def test_windows_of_warmup() -> None:
    """Of 500 iterations: 75 and 25 before the first metric, 50 after the last, as Stan's."""
    plan = nuts.Plan(500, 10, ())
    assert (plan.early, plan.settling) == (100, 450)
    assert nuts.Plan(20, 10, ()).settling == 0
