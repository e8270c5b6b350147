"""Precision and host devices."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from insilico import devices


def test_importing_the_module_switches_double_precision_on():
    assert jnp.asarray(1.0).dtype == jnp.float64


def test_usable_cores_are_those_the_process_may_run_on():
    assert 1 <= devices.usable_cores() <= (os.cpu_count() or 1)


def test_the_number_of_devices_stays_once_jax_computes():
    jnp.zeros(1).block_until_ready()
    before = jax.local_device_count()
    assert devices.use_host_devices(before + 1) == before


@pytest.mark.slow
def test_importing_the_engine_uses_all_cores_unless_the_user_said_how_many():
    script = "from insilico.solve import solve; import jax; print(jax.local_device_count())"

    def devices_with(**settings: str) -> int:
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
        for name in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES"):
            environment.pop(name, None)
        found = subprocess.run(
            [sys.executable, "-c", script],
            env=environment | settings,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return int(found.stdout)

    assert devices_with() == devices.usable_cores()
    assert devices_with(JAX_NUM_CPU_DEVICES="3") == 3
    assert devices_with(XLA_FLAGS="--xla_force_host_platform_device_count=3") == 3


@pytest.mark.parametrize("count", [1, 3])
def test_the_host_is_split_into_as_many_devices_as_asked(count: int):
    script = f"from insilico.devices import use_host_devices; print(use_host_devices({count}))"
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    environment.pop("XLA_FLAGS", None)
    found = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout.split() == [str(count)]
