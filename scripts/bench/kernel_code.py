"""The machine code that the GPU's kernels become, on a machine without a GPU.

    uv run --with "jax[cuda12]" python scripts/bench/kernel_code.py

Each kernel goes through XLA, Triton and NVIDIA's assembler as it would on an H200, which is only
described here; nothing is run. Of every model of the library there is one with its own method, of
one model one with every method, and one of the COAG trial with its decisions at visits. One JSON
object a kernel:

    {of, method, precision, registers, spilled_bytes, stack_bytes, warps, instructions, float64,
     seconds}

- `registers`: of a thread, of 255. `warps`: how many they leave room for in a multiprocessor, of
  the 32 that one may hold of programs of one warp each.
- `spilled_bytes`: written for want of registers by a thread that goes through all code once.
- `instructions`: of the virtual machine, before the assembler. `float64`: those in double
  precision, of which a kernel in single precision has none.
- `seconds`: from the traced function to machine code, with whatever else its program does.

Returns 0 where all compile, 1 where one does not, 2 where CUDA's packages are missing.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from insilico import devices as _devices  # noqa: F401  (float64 before anything is traced)

import jax  # isort: skip
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import trials
from insilico import models
from insilico.solve import (
    BLOCK,
    Choice,
    Dose,
    Infusion,
    Launch,
    Precision,
    Tolerances,
    methods,
    schedule,
    solve_block,
)
from insilico.solve.kernel import walk_in_kernel
from trials import outcomes
from trials.dispatching import Addresses

H200 = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  memory_bandwidth: 4800000000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 150000000000
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 9 patch: 0 }
device_description_str: "NVIDIA H200"
"""
"""A device as XLA describes it: NVIDIA's data sheet, and the limits of compute capability 9.0."""

ARCHITECTURE = "sm_90a"
REGISTERS, GRAIN, MOST_PROGRAMS, THREADS = 65_536, 256, 32, 32
"""Of a multiprocessor: registers, how many a warp gets at a time, programs that it holds, and
threads of a warp (CUDA C++ Programming Guide, compute capability 9.0)."""

PATIENTS = 4096
DUMP = Path(tempfile.mkdtemp(prefix="kernel-code-"))
"""Where XLA leaves what it has made."""
COAG = Path(__file__).resolve().parents[2] / "configs" / "warfarin_coag.yaml"
EVERY_METHOD = "target_mediated_disposition"
"""The model that every method is compiled for; the others have their own."""


class Kernel(NamedTuple):
    """One kernel to compile: a model of the library, or a trial by its config's name."""

    of: str
    method: str
    precision: str


def main(arguments: list[str] | None = None) -> int:
    """Compile kernels and print what became of each; returns the exit code."""
    options = _options(arguments)
    assembler = _assembler()
    if assembler is None:
        print('CUDA\'s packages are missing: uv run --with "jax[cuda12]" …', file=sys.stderr)
        return 2
    # Read when something is compiled for the first time.
    flags = ("--xla_gpu_autotune_level=0", f"--xla_dump_to={DUMP}", "--xla_dump_emitter_re=ptx")
    os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *flags))
    jax.config.update("jax_platforms", "cpu")  # nobody looks for a GPU
    [described, *_] = topologies.get_topology_desc(
        platform="cuda", topology="1x1x1", target_config=H200
    ).devices
    mesh = Mesh(np.array([described]), ("gpu",))
    print(json.dumps({"device": described.device_kind, "jax": jax.__version__}), flush=True)
    failed = False
    for kernel in _kernels():
        if not re.search(options.only, "-".join(kernel)):
            continue
        try:
            found = _compiled(kernel, mesh, assembler)
        except Exception as error:  # whatever stage it is that cannot do it
            failed = True
            found = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps({**kernel._asdict(), **found}), flush=True)
    return int(failed)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", default="", help="a regular expression that of-method-precision has to match"
    )
    return parser.parse_args(arguments)


def _assembler() -> str | None:
    """NVIDIA's assembler among Python's packages, if it is there along with JAX's for CUDA."""
    try:
        plugin, package = map(
            importlib.util.find_spec, ("jax_plugins.xla_cuda12", "nvidia.cuda_nvcc")
        )
    except ModuleNotFoundError:
        return None
    places = [] if package is None else list(package.submodule_search_locations or [])
    found = [path for place in places if (path := Path(place, "bin", "ptxas")).is_file()]
    return str(found[0]) if plugin is not None and found else None


def _kernels() -> Iterator[Kernel]:
    for precision in ("float32", "float64"):
        for name in models.names():
            own = models.get(name).method
            chosen = methods.ADAPTIVE if name == EVERY_METHOD else (own,)
            yield from (
                Kernel(name, each, precision) for each in chosen if each in methods.ADAPTIVE
            )
        yield Kernel(COAG.stem, trials.read(COAG).protocol.model.method, precision)


def _compiled(kernel: Kernel, mesh: Mesh, assembler: str) -> dict[str, Any]:
    program, arguments = _of_trial(kernel) if kernel.of == COAG.stem else _of_model(kernel)
    whole = NamedSharding(mesh, PartitionSpec())
    described = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), arguments
    )
    began = time.perf_counter()
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        jax.jit(program).lower(*described).compile()
    seconds = time.perf_counter() - began
    return {**_assembled(_dumped(), assembler), "seconds": round(seconds, 1)}


def _of_model(kernel: Kernel) -> tuple[Callable[..., Any], Any]:
    """A dose and an infusion, with what is observed of them, by patients in sorted order."""
    model, dtype = models.get(kernel.of), np.dtype(kernel.precision)
    first = model.components()[0]
    actions = [Dose(0.0, first, 100.0), Infusion(3.0, first, 3.0, 2.0)]
    events, pattern = schedule(model, actions, observe=[1.0, 30.0])

    def solved(parameters: Any, events: Any, numbers: Any) -> Any:
        return walk_in_kernel(
            model,
            parameters,
            events,
            pattern,
            numbers,
            method=methods.get(kernel.method),
            order=jnp.argsort(jax.tree.leaves(parameters)[0]),
        )

    columns = (jax.ShapeDtypeStruct((PATIENTS,), dtype) for _ in model.Parameters._fields)
    others = jax.tree.map(np.asarray, (events, Tolerances().numbers()))
    return solved, (model.Parameters(*columns), *others)


def _of_trial(kernel: Kernel) -> tuple[Callable[..., Any], Any]:
    """Patients of COAG under each arm, with all that is made of them there."""
    precision: Precision = "single" if kernel.precision == "float32" else "double"
    study = trials.read(COAG, [f"solver.precision={precision}"])
    config, protocol = study.config, study.protocol
    subjects = np.arange(jax.local_device_count() * BLOCK).reshape(-1, BLOCK)
    addresses = Addresses(np.zeros_like(subjects), np.zeros_like(subjects), subjects)
    drawn = outcomes.make_draw(config, protocol)(addresses)
    drawn = jax.tree.map(lambda leaf: np.asarray(leaf)[0], drawn)
    choice = Choice("kernel", "it is compiled", Launch())
    outcomes.solve_block = partial(solve_block, driver=choice)  # pyright: ignore[reportAttributeAccessIssue]

    def treated(drawn: Any) -> Any:
        numbers = protocol.tolerances.numbers()
        return outcomes._treat(config, protocol, kernel.method, numbers, drawn, precision)  # pyright: ignore[reportPrivateUsage]

    return treated, (drawn,)


def _dumped() -> str:
    """The kernel's code for NVIDIA's virtual machine, as XLA left it."""
    texts = [path.read_text() for path in sorted(DUMP.glob("*.ptx"))]
    shutil.rmtree(DUMP)
    [text] = [text for text in texts if ".entry walk_" in text]
    return text


def _assembled(code: str, assembler: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(code)
        told = subprocess.run(
            [assembler, f"-arch={ARCHITECTURE}", "-v", str(source), "-o", str(source) + ".out"],
            capture_output=True,
            text=True,
            check=True,
        ).stderr

    def number(pattern: str) -> int:
        return int(re.findall(pattern, told)[-1])

    registers = number(r"Used (\d+) registers")
    of_a_warp = -(-THREADS * registers // GRAIN) * GRAIN
    instructions = re.findall(r"^\t(?:@!?%p\d+ )?([a-z][\w.]*)", code, re.MULTILINE)
    return {
        "registers": registers,
        "spilled_bytes": number(r"(\d+) bytes spill stores"),
        "stack_bytes": number(r"(\d+) bytes stack frame"),
        "warps": min(REGISTERS // of_a_warp, MOST_PROGRAMS),
        "instructions": len(instructions),
        "float64": sum(".f64" in each for each in instructions),
    }


if __name__ == "__main__":
    sys.exit(main())
