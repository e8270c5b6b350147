"""Thousands of subjects in blocks of a chunk of lanes each, on all devices of the machine.

What is looked for by iteration takes each subject another number of steps. In blocks, nobody waits
for more than a chunk's slowest, and one compiled program serves any number of subjects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from insilico.solve import LANES, over_devices


def for_block(joint: Any) -> Any:
    """The joint density of one block's subjects, whose functions are otherwise the same."""
    return dataclasses.replace(joint, subjects=LANES)


def in_blocks(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(common, own)` of one block, compiled to run on all subjects.

    Arrays of `own`, and of the result, have the subjects' axis last; `common`, and scalars of
    `own`, go to every block. The result is on the host.
    """
    program = over_devices(function, shared=1)

    def run(common: Any, own: Any) -> Any:
        subjects = np.shape(jax.tree.leaves(own)[0])[-1]
        devices = jax.local_device_count()
        blocks = devices * -(-subjects // (LANES * devices))

        def cut(leaf: Any) -> np.ndarray:
            values = np.asarray(leaf)
            if not values.ndim:
                return np.full(blocks, values)
            extra = [(0, 0)] * (values.ndim - 1) + [(0, blocks * LANES - subjects)]
            padded = np.pad(values, extra, mode="edge")
            return np.moveaxis(padded.reshape(*values.shape[:-1], blocks, LANES), -2, 0)

        def join(leaf: Any) -> np.ndarray:
            values = np.moveaxis(np.asarray(leaf), 0, -2)
            return values.reshape(*values.shape[:-2], blocks * LANES)[..., :subjects]

        return jax.tree.map(join, program(common, jax.tree.map(cut, own)))

    return run
