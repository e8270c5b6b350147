"""A trial's own decisions run in the GPU's kernel as they are."""

import contextlib
import functools
import warnings

import jax
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh

import trials
from insilico.solve import Choice, Launch, solve_block
from trials import outcomes
from trials.dispatching import Addresses

pytestmark = pytest.mark.optimised

SUBJECTS = 64


@pytest.fixture(scope="module")
def drawn(coag):
    """The config, the protocol and a block of drawn subjects of COAG."""
    study = trials.read(coag)
    blocks = (jax.local_device_count(), SUBJECTS)
    first = np.zeros(blocks, int)
    addresses = Addresses(first, first, np.arange(first.size).reshape(blocks))
    draw = outcomes.make_draw(study.config, study.protocol)
    return study, jax.tree.map(lambda leaf: np.asarray(leaf)[0], draw(addresses))


@contextlib.contextmanager
def treating(study, driver):
    """What a block comes to under every arm, the arm's number traced, by a driver."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcomes, "solve_block", functools.partial(solve_block, driver=driver))
        yield lambda drawn: outcomes._treat(
            study.config, study.protocol, None, study.protocol.tolerances.numbers(), drawn
        )


@pytest.mark.slow
def test_the_interpreted_kernel_gives_the_trial_that_xla_does(drawn):
    study, subjects = drawn
    found = []
    for driver in ("xla", "kernel"):
        with treating(study, driver) as treat:
            found.append(jax.tree.map(np.asarray, jax.jit(treat)(subjects)))
    xla, kernel = found
    assert np.all(xla.status == 0) and xla.used.sum() > 10 * SUBJECTS
    for ours, theirs in zip(jax.tree.leaves(kernel), jax.tree.leaves(xla), strict=True):
        if theirs.dtype.kind == "f":
            # Stored in float32; hours of a visit are exact.
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_the_trial_lowers_for_cuda_with_one_kernel_for_all_arms(drawn):
    study, subjects = drawn
    mesh = AbstractMesh(
        (1,),
        ("x",),
        abstract_device=AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="gpu"),
    )
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), subjects)
    choice = Choice("kernel", "it is lowered", Launch())
    with jax.sharding.use_abstract_mesh(mesh), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with treating(study, choice) as treat:
            lowered = jax.jit(treat).trace(shapes).lower(lowering_platforms=("cuda",))
    assert lowered.as_text().count("__gpu$xla.gpu.triton") == 1
