"""JAX as the engine needs it: double precision, host devices and vectors, set before it starts.

XLA runs one program on one core, so a laptop's second core would idle; splitting the host into as
many devices as there are usable cores lets a batch of patients fill all of them. Importing this
module does that, unless the user has told JAX how many devices to make or JAX has already started.
"""

import contextlib
import os

import jax

from insilico.vocabulary import register_vectors

jax.config.update("jax_enable_x64", True)
register_vectors(jax.tree_util)

QUICKLY = {"xla_backend_optimization_level": "0"}
"""XLA's options for a program that runs once: it compiles three times faster and runs slower."""


def usable_cores() -> int:
    """Number of processor cores this process may run on (affinity, not the machine's total)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _split_host(count: int) -> None:
    # Once the backend is up its device count cannot change any more.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)


if jax.config.jax_num_cpu_devices < 0 and "host_platform_device_count" not in os.environ.get(
    "XLA_FLAGS", ""
):
    _split_host(usable_cores())


def use_host_devices(count: int | None = None) -> int:
    """Split the host into `count` JAX devices (default: one a usable core).

    Has to come before JAX's first computation; once its backend runs, the number of devices it
    already has stays and is returned.
    """
    _split_host(usable_cores() if count is None else count)
    return jax.local_device_count()
