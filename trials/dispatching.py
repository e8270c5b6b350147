"""Which subjects are computed, and in what batches they go to the devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from insilico.solve import BLOCK

BLOCKS_A_DISPATCH = 8
"""Blocks each device takes at a time: enough to even out, few enough to report progress."""


class Addresses(NamedTuple):
    """Which subjects: equal-shaped arrays of the numbers of population draw, trial and subject."""

    population: Any
    trial: Any
    subject: Any


def blocks_a_dispatch(subjects: int) -> int:
    """Blocks for each device to take at a time in a study of that many subjects."""
    return min(BLOCKS_A_DISPATCH, -(-subjects // (BLOCK * jax.local_device_count())))


def dispatches(addresses: Addresses, blocks: int) -> Iterator[tuple[Addresses, int]]:
    """The subjects cut into batches of `blocks` a device, each with how many of it are real.

    All batches have one shape, so that one compiled program serves every stage of a study; the
    last is filled up with copies of the last subject.
    """
    total = len(addresses.subject)
    size = BLOCK * jax.local_device_count() * blocks
    for start in range(0, total, size):
        index = np.minimum(np.arange(start, start + size), total - 1)
        yield (
            Addresses(*(numbers[index].reshape(-1, BLOCK) for numbers in addresses)),
            min(size, total - start),
        )
