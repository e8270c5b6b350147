"""Functions that come to the same operations share one compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from insilico import programs
from insilico.programs import shared, unshared

pytestmark = pytest.mark.optimised


@pytest.fixture
def compiled(monkeypatch, compilations):
    """How many programs the test has compiled; none are known from before."""
    monkeypatch.setattr(programs, "_compiled", type(programs._compiled)())
    before = compilations.count
    return lambda: compilations.count - before


def made(factor):
    """A new function each time, as scenarios make them."""
    return shared(jax.jit(lambda x, number: {"out": x * number + factor}))


def test_functions_of_the_same_operations_compile_once(compiled):
    x = np.arange(5.0)
    first = made(2.0)(x, 3.0)
    before = compiled()
    assert before == 1
    again = made(2.0)(x, 4.0)
    assert compiled() == before
    np.testing.assert_array_equal(first["out"], 3.0 * x + 2.0)
    np.testing.assert_array_equal(again["out"], 4.0 * x + 2.0)


def test_a_program_is_compiled_though_it_is_known_to_see_how_long_that_takes(compiled):
    x = np.arange(5.0)
    made(2.0)(x, 3.0)
    before = compiled()
    with unshared():
        made(2.0)(x, 3.0)
        assert compiled() == before + 1
    made(2.0)(x, 3.0)
    assert compiled() == before + 1


def test_what_differs_is_compiled(compiled):
    x = np.arange(5.0)
    made(2.0)(x, 3.0)
    for number, other in enumerate(
        [
            lambda: made(2.5)(x, 3.0),
            lambda: made(2.0)(np.arange(6.0), 3.0),
            lambda: made(2.0)(x.astype(np.float32), np.float32(3.0)),
            lambda: shared(jax.jit(lambda x, y: {"other": x * y + 2.0}))(x, 3.0),
            lambda: made(2.0)(jax.device_put(x, jax.devices()[-1]), 3.0),
        ]
    ):
        other()
        assert compiled() == number + 2


def test_large_constants_are_told_apart():
    one, two = np.zeros(5000), np.zeros(5000)
    two[4321] = 1.0
    sums = [shared(jax.jit(lambda x, c=c: jnp.sum(x * jnp.asarray(c))))(1.0) for c in (one, two)]
    assert [float(each) for each in sums] == [0.0, 1.0]


def test_the_oldest_programs_are_forgotten(compiled, monkeypatch):
    monkeypatch.setattr(programs, "KEPT", 2)
    x = np.arange(3.0)
    for factor in (1.0, 2.0, 3.0):
        made(factor)(x, 1.0)
    assert len(programs._compiled) == 2
    made(3.0)(x, 1.0)
    assert compiled() == 3
    made(1.0)(x, 1.0)
    assert compiled() == 4


def test_what_is_compiled_ahead_is_not_compiled_again(compiled):
    x = np.arange(4.0)
    early, later = made(7.0), made(7.0)
    early.ahead(np.zeros(4), 1.0)
    np.testing.assert_array_equal(early(x, 3.0)["out"], 3.0 * x + 7.0)
    # Another function of the same operations finds it, too, be it done or under way.
    later.ahead(x, 2.0)
    np.testing.assert_array_equal(later(x, 2.0)["out"], 2.0 * x + 7.0)
    assert compiled() == 1


def test_what_cannot_be_compiled_is_told_when_it_is_called():
    options = {"no_such_option": "1"}
    wrong = shared(jax.jit(lambda x: x + 1.0, compiler_options=options), options)
    wrong.ahead(np.zeros(2))
    with pytest.raises(jax.errors.JaxRuntimeError, match="no_such_option"):
        wrong(np.zeros(2))
