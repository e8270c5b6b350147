"""Patients under every arm: the same to the last bit however the work is cut."""

from pathlib import Path

import jax
import numpy as np
import pytest

import trials
from insilico.solve import BLOCK
from trials.dispatching import Addresses, blocks_a_dispatch, dispatches
from trials.outcomes import make_draw, make_treat

pytestmark = pytest.mark.optimised

COAG = Path(__file__).parents[2] / "configs" / "warfarin_coag.yaml"


def addresses(subjects: int) -> Addresses:
    numbers = np.arange(subjects)
    return Addresses(np.zeros(subjects, int), numbers // 1015, numbers % 1015)


def test_batches_are_whole_blocks_and_hold_everybody_once():
    devices = jax.local_device_count()
    total = 2 * BLOCK * devices + 17
    batches = list(dispatches(addresses(total), blocks=2))
    assert [real for _, real in batches] == [2 * BLOCK * devices, 17]
    for batch, _ in batches:
        assert batch.subject.shape == (2 * devices, BLOCK)
    last = batches[-1][0]
    # Filled up with the last subject.
    assert (last.trial.ravel()[17:] == last.trial.ravel()[16]).all()
    assert (last.subject.ravel()[17:] == last.subject.ravel()[16]).all()


def test_small_studies_take_small_batches():
    assert blocks_a_dispatch(1) == 1
    assert blocks_a_dispatch(10**7) == 8


@pytest.mark.slow
def test_any_split_into_blocks_gives_the_same_bits():
    study = trials.read(COAG)
    draw = make_draw(study.config, study.protocol)
    treat = make_treat(study.config, study.protocol)
    everybody = addresses(3 * BLOCK * jax.local_device_count() + 5)

    def outcomes(blocks: int) -> dict[str, np.ndarray]:
        pieces: dict[str, list[np.ndarray]] = {}
        for batch, real in dispatches(everybody, blocks):
            treated = treat(draw(batch))
            for name in ("inr", "inr_measured", "daily_dose"):
                column = np.moveaxis(np.asarray(treated.values[name]), 1, 0)
                column = column.reshape(column.shape[0], -1, column.shape[-1])
                pieces.setdefault(name, []).append(column[:, :real])
        return {name: np.concatenate(parts, axis=1) for name, parts in pieces.items()}

    one, three = outcomes(1), outcomes(3)
    for name, column in one.items():
        np.testing.assert_array_equal(column, three[name], err_msg=name)
