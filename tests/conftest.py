"""What all tests share: the machine's cores, how much is compiled, and one small run of a trial."""

import functools
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import compiled_once  # noqa: F401  (before what is large)
import jax
import pytest
from jax import monitoring
from jaxtyping import install_import_hook

from insilico import programs
from insilico.devices import use_host_devices
from insilico.runs import Stages

if TYPE_CHECKING:
    import xarray as xr

    from trials import Study

# Before anything computes, as the commands do it.
use_host_devices()

HASTY = "jax_disable_most_optimizations"
"""JAX's switch for programs that are compiled in half the time and round otherwise. It is on but
for tests marked `optimised`, and for all under `--optimised` or where slow ones are among them:
most tests run a program a few times, and hold of it what no compiler changes."""
jax.config.update(HASTY, True)

ROOT = Path(__file__).parents[1]
COAG = ROOT / "configs" / "warfarin_coag.yaml"
TRIALS = ("tests/trials/", "tests/insilico/cli/", "tests/insilico/runs/")
FITS = "tests/cohorts/fits/"
INFERENCE = "tests/cohorts/inference/"
SMALL = ("trial.subjects=150", "trial.replicates=4", "truth.subjects=2000", "sensitivity={}")


def pytest_configure(config: pytest.Config) -> None:
    """Check the shapes that annotations promise wherever a default test calls what makes them.

    The hook slows whatever it is on, so only modules that write shapes have it, and slow tests run
    without.
    """
    if config.getoption("markexpr") != "not slow":
        return
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("insilico", "cohorts", "trials")
        for path in (ROOT / package).rglob("*.py")
        if "from jaxtyping import" in path.read_text(encoding="utf-8")
    ]
    install_import_hook(modules, "shapes.arrays_checked")


MANY = 500
"""Programs among which each further one takes longer to compile."""

MOST_AREAS = 25_000
"""Areas of memory of a process: Linux has 65,530 for each, a program takes six and more, and who
wants one more than there are dies of it."""


class Compilations:
    """How many programs XLA has compiled since the listener was put in place.

    `forgotten` is how many there were when they were last forgotten.
    """

    def __init__(self) -> None:
        self.count = self.forgotten = 0

    def listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        self.count += event == "/jax/core/compile/backend_compile_duration"


COMPILATIONS = Compilations()
monitoring.register_event_duration_secs_listener(COMPILATIONS.listen)


@pytest.fixture(scope="session")
def compilations() -> Compilations:
    """Counts compilations; compare `count` before and after."""
    return COMPILATIONS


def _together(file: str) -> str:
    """The name of the files that share what is slow to make; else the file's own."""
    for folders, name in ((TRIALS, "trials"), (FITS, "fits"), (INFERENCE, "inference")):
        if file.startswith(folders):
            return name
    return file


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--optimised", action="store_true", help="compile everything as users have it")


def _optimised(item: pytest.Item) -> bool:
    return item.config.option.optimised or item.get_closest_marker("optimised") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest in one process begins first, so that all processes end together."""
    first = {"trials": 0, "inference": 1, "fits": 2}
    items.sort(key=lambda item: (first.get(_together(item.nodeid), 3), _optimised(item)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Slow tests have users' programs, and so has whatever they share with others."""
    if any(item.get_closest_marker("slow") for item in session.items):
        session.config.option.optimised = True
    # What is there by now stays, and tracing makes much that goes by itself: looking through all of
    # it again and again takes a fifteenth of the time (measured).
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Programs are as users have them where a test compares bits, counts programs or runs long."""
    hasty = not _optimised(item)
    if jax.config.read(HASTY) != hasty:
        _forget_programs()
        jax.config.update(HASTY, hasty)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Where there are many, programs go when their group is done, and fixtures that hold some."""
    files = {each.nodeid.split("::")[0] for each in (item, nextitem) if each}
    if len(set(map(_together, files))) == 2 and COMPILATIONS.count - COMPILATIONS.forgotten > MANY:
        _forget_traces()
    if len(files) == 2 and _areas_of_memory() > MOST_AREAS:
        _forget_programs()
        gc.collect()


def _areas_of_memory() -> int:
    """How many areas of memory this process has, where the system tells."""
    areas = Path("/proc/self/maps")
    return areas.read_bytes().count(b"\n") if areas.exists() else 0


def _forget_traces() -> None:
    jax.clear_caches()
    COMPILATIONS.forgotten = COMPILATIONS.count


def _forget_programs() -> None:
    """Neither JAX nor the engine has any program left."""
    _forget_traces()
    programs._compiled.clear()  # pyright: ignore[reportPrivateUsage]
    for name, module in list(sys.modules.items()):
        if name.startswith(("insilico.", "cohorts.", "trials.")):
            for made in vars(module).values():
                if isinstance(made, functools._lru_cache_wrapper):
                    made.cache_clear()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests in one process, so that fixtures are made once, as all of some folders."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _together(super()._split_scope(nodeid))

    return Together(config, log)


@pytest.fixture(scope="session")
def coag() -> Path:
    """The config of the COAG trial."""
    return COAG


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides that make a run of it take seconds."""
    return SMALL


@pytest.fixture(scope="session")
def coag_study(coag: Path, small: tuple[str, ...]) -> "Study":
    """A small COAG trial."""
    import trials

    return trials.read(coag, small)


@pytest.fixture(scope="session")
def coag_stages() -> Stages:
    """What watched the run that gave `coag_tree`."""
    return Stages()


@pytest.fixture(scope="session")
def coag_tree(coag_study: "Study", coag_stages: Stages) -> "xr.DataTree":
    """The results of a small COAG trial. Not to be changed."""
    import trials

    return trials.simulate(coag_study, coag_stages)
