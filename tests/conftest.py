"""What all tests share: the machine's cores, how much is compiled, and one small run of a trial."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import pytest
from jax import monitoring

from insilico.devices import use_host_devices
from insilico.runs import Stages

if TYPE_CHECKING:
    import xarray as xr

    from trials import Study

# Before anything computes, as the commands do it.
use_host_devices()

COAG = Path(__file__).parents[1] / "configs" / "warfarin_coag.yaml"
TRIALS = ("tests/trials/", "tests/insilico/cli/", "tests/insilico/runs/")
FITS = "tests/cohorts/fits/"
INFERENCE = "tests/cohorts/inference/"
SMALL = ("trial.subjects=150", "trial.replicates=4", "truth.subjects=2000", "sensitivity={}")


class Compilations:
    """How many programs XLA has compiled since the listener was put in place."""

    def __init__(self) -> None:
        self.count = 0

    def listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        self.count += event == "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="session")
def compilations() -> Compilations:
    """Counts compilations; compare `count` before and after."""
    counter = Compilations()
    monitoring.register_event_duration_secs_listener(counter.listen)
    return counter


def _together(file: str) -> str:
    """The name of the files that share what is slow to make; else the file's own."""
    for folders, name in ((TRIALS, "trials"), (FITS, "fits"), (INFERENCE, "inference")):
        if file.startswith(folders):
            return name
    return file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest in one process begins first, so that all processes end together."""
    first = {"trials": 0, "inference": 1, "fits": 2}
    items.sort(key=lambda item: first.get(_together(item.nodeid), 3))


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Programs go when their group is done: among thousands of others each takes longer to make."""
    groups = [_together(each.nodeid.split("::")[0]) for each in (item, nextitem) if each]
    if len(set(groups)) == 2:
        jax.clear_caches()


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
