"""How chains share the machine: side by side in one program, or each alone on a core of its own.

Side by side, the chains' numbers fill vectors that one chain's would leave half empty, and an
operation costs little more for all chains than for one: this is for small models. But all wait for
the longest trajectory, on one core. A chain whose own numbers fill the vectors goes alone: it waits
for nobody, and the host's devices have chains of their own.

The choice follows from the model, its data and the kind of device, never from how many devices
there are nor from how busy they are, so that draws do not depend on the machine's cores.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from cohorts.inference.density import Data, Density
from cohorts.inference.settings import Sampling

WIDE = 8.0
"""Numbers that an operation of one chain works on, in the mean, from which it goes alone: as many
doubles as the widest vectors of a processor hold."""

LARGE = 30_000
"""Numbers that a density computes from which a chain goes alone. A step of the sampler does as much
by itself as some thousands; the bound is a choice between models of a few hundred numbers, which
are faster side by side, and those of a million, of which a gradient of one chain takes less than a
quarter of the time of four (measured)."""


class Layout(NamedTuple):
    """How chains are laid out.

    - `apart`: whether each goes alone; `devices`: on how many of the host's.
    - `told`: what was chosen and why, in words.
    """

    apart: bool
    devices: int
    told: str


def choose(density: Density, data: Data, settings: Sampling) -> Layout:
    """The layout of the chains of a model."""
    chains, devices = settings.chains, min(settings.chains, jax.local_device_count())
    if settings.layout != "auto":
        return _layout(settings.layout == "apart", chains, devices, "as the settings say")
    if jax.default_backend() != "cpu":
        return _layout(False, chains, devices, "all of them together fill the device, no CPU")
    size = Size.of(density, data)
    large = size.numbers >= LARGE and size.width >= WIDE
    why = (
        f"the model is {'large' if large else 'small'}: its density computes {size.numbers:,} "
        f"numbers, {size.width:.0f} an operation"
    )
    return _layout(large, chains, devices, why)


def _layout(apart: bool, chains: int, devices: int, why: str) -> Layout:
    if not apart:
        return Layout(False, 1, f"{chains} chains side by side on one device: {why}")
    where = "one device" if devices == 1 else f"{devices} devices"
    return Layout(True, devices, f"{chains} chains each alone, on {where}: {why}")


class Size(NamedTuple):
    """How much a density computes at one point; what loops until a condition holds, only once.

    - `operations`, and `numbers` that come of them.
    """

    operations: int
    numbers: int

    @property
    def width(self) -> float:
        """Numbers that an operation gives, in the mean."""
        return self.numbers / max(self.operations, 1)

    @classmethod
    def of(cls, density: Density, data: Data) -> Size:
        """Of a model with its data."""
        position = {name: jnp.zeros(shape) for name, shape in density.shapes.items()}
        return cls(*_counted(jax.make_jaxpr(density.potential)(position, data).jaxpr))


def _counted(jaxpr: Any) -> tuple[int, int]:
    """Operations and numbers of a program."""
    operations, numbers = 0, 0
    for equation in jaxpr.eqns:
        inner = [_counted(each) for each in jaxprs_in_params(equation.params)]
        if not inner:
            own = sum(math.prod(getattr(out.aval, "shape", ())) for out in equation.outvars)
            operations, numbers = operations + 1, numbers + own
            continue
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        operations += times * sum(each[0] for each in inner)
        numbers += times * sum(each[1] for each in inner)
    return operations, numbers
