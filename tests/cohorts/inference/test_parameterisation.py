"""Effects are sampled as themselves as far as data tell of them."""

import numpy as np
import pytest

from cohorts.inference.joint import Joint
from cohorts.inference.parameterisation import centring


@pytest.fixture(scope="module")
def shares(oral, weighed):
    def shares(*given):
        joint, data = Joint.of(oral(), weighed(*given))
        return centring(joint, data, seed=1)

    return shares


@pytest.mark.slow
def test_many_precise_data_are_sampled_centred_and_few_are_not(shares):
    rich, poor = shares(), shares(((8.2,), (7.1,), (5.2,)), (2.0,))
    for name in rich:
        assert np.all((poor[name] >= 0.0) & (poor[name] <= rich[name]) & (rich[name] <= 1.0))
    assert sum(of[0] for of in rich.values()) > sum(of[0] for of in poor.values()) + 0.5


@pytest.mark.slow
def test_each_subject_has_its_own(shares):
    found = shares(((4.1, 6.3, 8.2), (4.1, -0.1, -0.1), (4.1, 6.3, 8.2)), (0.5, 2.0, 8.0))
    # They differ in weight, and one has values below the limit of quantification.
    assert all(len(set(of.tolist())) == 3 for of in found.values())
    assert all(np.isfinite(of).all() for of in found.values())
