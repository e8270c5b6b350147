"""A small fit of the theophylline example, made once."""

from pathlib import Path

import pytest

from insilico.runs import RunFolder

CONFIG = Path(__file__).parents[3] / "configs" / "fit_theophylline.yaml"
SMALL = (
    "sampling.chains=2",
    "sampling.warmup=200",
    "sampling.draws=100",
    "sampling.target_acceptance=0.9",
    # What is chosen for it, of which `tests/cohorts/inference/test_layout.py` is.
    "sampling.layout=apart",
    "checks.replicates=200",
    "checks.prior_draws=200",
    "checks.marginal_draws=0",
    "checks.stratify=weight",
)


@pytest.fixture(scope="session")
def config() -> Path:
    """The config of the theophylline example."""
    return CONFIG


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """Overrides that make a fit of it take seconds."""
    return SMALL


@pytest.fixture(scope="session")
def fitted(config, small, tmp_path_factory) -> RunFolder:
    """The small fit, run into a folder. Not to be changed."""
    from cohorts import fits

    out = tmp_path_factory.mktemp("fits") / "theophylline"
    try:
        return fits.run(fits.read(config, small), out)
    except fits.NotTrusted as error:
        # So few draws need not pass.
        return error.folder
