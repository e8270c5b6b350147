"""Fits find what made their data as often as their intervals say, and a wrong one does not.

Simulation-based calibration, by which `insilico sbc` judges a fit: priors, simulator, density and
sampler of a config together. Bounds are those of the judgement: of a fit that is right one of all
tests of all its parameters fails with a chance of 1 in 100, and seeds are fixed.
"""

from pathlib import Path

import jax
import numpy as np
import pytest

from cohorts import fits
from cohorts.sbc import judged, rank
from cohorts.sbc.calibrating import Ranked, prepare, simulate

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = """
title: Three subjects
seed: 1
model: one_compartment
data:
  file: few.csv
  columns: {subject: ID, time: TIME, measured: DV, amount: AMT, event: EVID, compartment: CMT,
            occasion: OCC}
  units: {time: h, amount: mg}
  outputs: {concentration: {unit: mg/L}}
population:
  absorption_rate: {typical: 1.5 1/h}
  clearance:
    typical: {kind: log_normal, median: 3 L/h, sd: 0.3}
    between_subject: {kind: log_normal, sd: {kind: log_normal, median: 0.3, sd: 0.3}}
  central_volume: {typical: 32 L}
residual:
  concentration: {kind: log_additive, sd: {kind: log_normal, median: 0.2, sd: 0.3}}
parameterisation: non_centred
"""
DATASETS = 80
QUICK = f"sbc={{datasets: {DATASETS}, warmup: 60, draws: 15, thin: 3, max_tree_depth: 4}}"
MORE = 0.45
"""Standard deviation of additional scatter: more than twice what the fit takes for likely."""
WRONG = "residual.concentration.sd={kind: log_normal, median: 0.5, sd: 0.3}"
"""Likewise."""


def written(folder: Path, visits: int) -> Path:
    """The config of three subjects who came so often, with two values each time."""
    rows = ["ID,TIME,DV,AMT,EVID,CMT,OCC"]
    for subject in (1, 2, 3):
        for occasion in range(1, visits + 1):
            start = 72 * (occasion - 1)
            rows.append(f"{subject},{start},.,320,1,1,{occasion}")
            rows += [f"{subject},{start + at},{v},.,0,1,{occasion}" for at, v in ((4, 7), (24, 2))]
    (folder / "few.csv").write_text("\n".join(rows))
    (folder / "few.yaml").write_text(CONFIG)
    return folder / "few.yaml"


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("once"), 1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("twice"), 2)


@pytest.fixture(scope="module")
def both(once: Path) -> tuple[Ranked, Ranked]:
    """Ranks of a fit to data that it would simulate, and to half of them with more scatter, in one
    run of 120 data sets."""
    fit = prepare(fits.read(once, QUICK))
    right = simulate(fit.fit)
    half = slice(DATASETS // 2)
    few = jax.tree.map(lambda of: of[half], right.data)
    value = np.asarray(few.value)
    scatter = MORE * np.random.default_rng(1).standard_normal(value.shape)
    wrong = few._replace(value=value * np.exp(scatter))
    found = fit.rank(
        right._replace(
            sites={name: np.concatenate([of, of[half]]) for name, of in right.sites.items()},
            data=jax.tree.map(lambda *of: np.concatenate(of), right.data, wrong),
            number=np.arange(DATASETS + DATASETS // 2),
        )
    )
    assert not found.impossible
    parts = slice(DATASETS), slice(DATASETS, None)
    first, second = (
        found._replace(ranks=found.ranks[part], effective=found.effective[part]) for part in parts
    )
    return first, second


def assert_calibrated(found: Ranked) -> None:
    """The verdict, and coverage: exact binomial bounds that 1 in 100 right fits miss."""
    tests = judged(found)
    assert tests.verdict.passed, tests.verdict.reasons
    assert not found.impossible
    shares = tests.coverage.found
    from scipy import stats

    tail = 0.005 / shares.size
    for expected, row in zip(tests.coverage.expected, shares, strict=True):
        low, high = stats.binom.ppf([tail, 1 - tail], len(found.ranks), expected)
        assert np.all((row * len(found.ranks) >= low) & (row * len(found.ranks) <= high)), row


def test_a_fit_that_is_right_is_calibrated(both):
    found, _ = both
    assert found.ranks.shape == (DATASETS, 5)
    assert found.parameters[3:] == ("eta_clearance[1]", "eta_clearance[3]")
    assert_calibrated(found)


def test_a_fit_with_a_wrong_residual_error_is_found_out(both):
    _, wrong = both
    assert_found_out(wrong, "too high")


def assert_found_out(wrong: Ranked, how: str) -> None:
    """The draws of the scatter lie too low or too high, and not since they are correlated."""
    tests = judged(wrong)
    assert not tests.verdict.passed
    (reason,) = [text for text in tests.verdict.reasons if "residual_sd" in text]
    # Of so few draws some chains hardly move, which is told, too.
    assert f"posteriors lie {how}; correlation" in reason and "does not explain it" in reason
    at = wrong.parameters.index("residual_sd_concentration")
    # Of the 87.5 % intervals that the draws can have.
    assert tests.coverage.high[2, at] < 0.7


@pytest.mark.slow
def test_data_may_be_simulated_by_another_fit(once):
    """What made the data is what it was simulated by, and lies above the draws."""
    found = rank(fits.read(once, QUICK), simulated_by=fits.read(once, (QUICK, WRONG)))
    assert_found_out(found, "too low")


@pytest.mark.slow
def test_theophylline_is_calibrated():
    """As shipped, with the first four of twelve subjects and 79 draws of each posterior."""
    settings = "sbc={subjects: 4, datasets: 100, thin: 3}"
    found = rank(fits.read(CONFIGS / "fit_theophylline.yaml", settings))
    assert len(found.parameters) == 7 + 6
    assert_calibrated(found)


OCCASIONS = "population.clearance.between_occasion={sd: {kind: log_normal, median: 0.2, sd: 0.3}}"


@pytest.mark.slow
def test_variability_between_occasions_is_calibrated(config):
    found = rank(fits.read(config, (OCCASIONS, "sbc={datasets: 200, draws: 31, thin: 4}")))
    assert "occasion_sd_clearance" in found.parameters
    assert "kappa_clearance[2, 3]" in found.parameters
    assert_calibrated(found)


MIXTURE = (
    "mixtures={metaboliser: {kind: dirichlet, concentrations: {extensive: 6, poor: 3}}}",
    "population.clearance.covariates={metaboliser: {kind: categorical, reference: extensive, "
    "factors: {poor: 0.2}}}",
)


@pytest.mark.slow
def test_a_mixture_is_calibrated(config):
    """To which component a subject belongs is drawn by the simulator and summed over by the fit."""
    found = rank(fits.read(config, (*MIXTURE, "sbc={datasets: 200, draws: 31, thin: 4}")))
    assert any("metaboliser" in name for name in found.parameters)
    assert_calibrated(found)
