"""Trials of models with noise: each subject walks a path of its own, the same under every arm."""

import dataclasses
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trials
from insilico import models
from insilico.config import ConfigError
from insilico.model import Model, Quantity, Wiener
from insilico.randomness import address, purpose_key, subject_keys
from insilico.solve import Dose, Tolerances, schedule, solve
from insilico.vocabulary import Value
from trials.dispatching import Addresses, blocks_a_dispatch, dispatches
from trials.outcomes import _paths, make_draw, make_treat
from trials.report import render

pytestmark = pytest.mark.optimised

CONFIG = Path(__file__).parent / "data" / "fluctuating.yaml"

START, REST, REVERSION, VOLATILITY, DOSE = 4.0, 10.0, 0.05, 0.5, 3.0
"""As the config states them, times in hours."""

STEP = 0.5


class State(NamedTuple):
    level: Annotated[Value, Quantity("mg", "a marker")]


class Parameters(NamedTuple):
    start: Annotated[Value, Quantity("mg", "level at the start")]
    rest: Annotated[Value, Quantity("mg", "level at rest")]
    reversion: Annotated[Value, Quantity("1/h", "rate of return to rest")]
    volatility: Annotated[Value, Quantity("mg/h^0.5", "size of fluctuations")]


class Outputs(NamedTuple):
    level: Annotated[Value, Quantity("mg", "a marker")]


class Noise(NamedTuple):
    fluctuation: Annotated[State, Wiener("what drives it")]


MODEL = Model(
    name="ornstein_uhlenbeck",
    title="A marker that fluctuates around its rest",
    citation="none: made up for tests",
    State=State,
    Parameters=Parameters,
    Outputs=Outputs,
    Noise=Noise,
    initial=lambda p: State(p.start),
    derivative=lambda time, s, p, inputs: State(p.reversion * (p.rest - s.level)),
    diffusion=lambda time, s, p, inputs: Noise(State(p.volatility)),
    outputs=lambda time, s, p: Outputs(s.level),
    method="euler_maruyama",
    step=1.0,
)


@pytest.fixture(scope="module")
def library() -> Iterator[dict[str, Model]]:
    """Models by name beside the library's."""
    known, get = {MODEL.name: MODEL}, models.get
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "names", lambda: [*known, "gompertz_noise", "warfarin_hamberg2010"])
        patch.setattr(models, "get", lambda name: known.get(name) or get(name))
        yield known


@pytest.fixture(scope="module")
def study(library) -> trials.Study:
    return trials.read(CONFIG)


@pytest.fixture(scope="module")
def tree(study) -> Any:
    return trials.simulate(study)


def levels(tree: Any) -> np.ndarray:
    """(trial, arm, subject, visit), without the room for visits that nobody had."""
    return tree["outcomes"]["level"].values[0, ..., : len(TIMES)].astype(float)


TIMES = np.array([9.0, 33.0, 57.0, 81.0])
"""Of visits, in hours."""


@pytest.mark.slow
def test_levels_have_the_mean_and_variance_of_the_closed_form(tree):
    untreated = levels(tree)[:, 2].reshape(-1, 4)
    decay = np.exp(-REVERSION * TIMES)
    mean = REST + (START - REST) * decay
    variance = VOLATILITY**2 * (1.0 - decay**2) / (2.0 * REVERSION)
    error = np.sqrt(variance / len(untreated))
    # Steps of half an hour make the variance 1.3 % too large, and the mean hardly wrong.
    np.testing.assert_allclose(untreated.mean(axis=0), mean, atol=4.5 * error.max())
    spread = untreated.var(axis=0) / variance
    np.testing.assert_allclose(spread, 1.0, atol=0.013 + 4.5 * np.sqrt(2.0 / len(untreated)))


@pytest.mark.slow
def test_the_truth_is_the_effect_of_the_doses_alone(tree):
    """Noise that all arms share is not in a paired difference."""
    ages = 81.0 - np.array([8.0, 32.0, 56.0, 80.0])
    effect = DOSE * np.sum((1.0 - REVERSION * STEP) ** (ages / STEP))
    truth = tree["truth"].to_dataset().sel(analysis="final")
    # Levels are stored in single precision.
    np.testing.assert_allclose(float(truth["value"]), effect, rtol=1e-6)
    assert float(truth["mcse"]) < 1e-6


@pytest.mark.slow
def test_arms_share_paths_and_decisions_change_doses_alone(tree):
    found = levels(tree)
    titrated, fixed = found[:, 0], found[:, 1]
    doses = tree["outcomes"]["daily_dose"].values[0].astype(float)[:, 0]
    # The first table speaks on day 2, after that day's dose.
    assert np.array_equal(titrated[..., :2], fixed[..., :2])
    assert 0.2 < np.mean(doses[..., 1] > DOSE) < 0.8
    expected = (doses[..., 1] - DOSE) * (1.0 - REVERSION * STEP) ** (1.0 / STEP)
    np.testing.assert_allclose(titrated[..., 2] - fixed[..., 2], expected, atol=1e-5)


@pytest.mark.slow
def test_a_subject_has_its_path_whoever_stands_beside_it(study, tree):
    """To the last bit, at another place of another block, under every arm."""
    some = np.random.default_rng(1).permutation(2000)
    draw = make_draw(study.config, study.protocol)
    treat = make_treat(study.config, study.protocol)
    addresses = Addresses(0 * some, some // 40, some % 40)
    ((batch, real),) = dispatches(addresses, blocks_a_dispatch(len(some)))
    found = np.moveaxis(np.asarray(treat(draw(batch)).values["level"]), 1, 0)
    found = found.reshape(3, -1, found.shape[-1])[:, :real, : len(TIMES)]
    expected = np.moveaxis(levels(tree), 1, 0).reshape(3, -1, len(TIMES))
    assert np.array_equal(found, expected[:, some])


@pytest.mark.slow
def test_a_subject_has_its_path_in_a_trial_of_another_size(library, tree):
    small = trials.simulate(
        trials.read(CONFIG, ["trial.subjects=10", "trial.replicates=2", "truth.subjects=1000"])
    )
    assert np.array_equal(levels(small), levels(tree)[:2, :, :10])


@pytest.mark.slow
def test_a_path_is_addressed_by_draw_trial_subject_and_period(study, tree):
    """As the solver has it from keys that are made by hand."""
    numbers = jnp.arange(5)
    keys = subject_keys(
        purpose_key(study.config.seed, "noise"), 0 * numbers, 0 * numbers + 3, numbers
    )
    keys = jax.vmap(address, (0, None))(keys, 0)
    doses = [Dose(8.0 + 24.0 * day, "level", DOSE) for day in range(4)]
    events, pattern = schedule(MODEL, doses, observe=TIMES.tolist())
    alone = solve(
        MODEL,
        Parameters(START, REST, REVERSION, VOLATILITY),
        events,
        pattern,
        noise=keys,
        tolerances=Tolerances(step=STEP),
    )
    np.testing.assert_allclose(alone.outputs.level, levels(tree)[3, 1, :5], rtol=1e-6)


@pytest.mark.slow
def test_periods_have_paths_of_their_own(library, study):
    crossover = trials.read(
        CONFIG,
        [
            "trial.crossover={sequences: [[titrated, fixed, untreated], "
            "[fixed, untreated, titrated], [untreated, titrated, fixed]], washout: 7 d}",
            "analyses.final.estimator=geometric_mean_ratio",
        ],
    )
    numbers = jnp.arange(8)
    keys = subject_keys(purpose_key(1, "noise"), 0 * numbers, 0 * numbers, numbers)
    words, alone = (np.asarray(_paths(each.protocol, keys)) for each in (crossover, study))
    assert words.shape == (3, 2, 8)
    assert np.array_equal(words[:1], alone)
    assert len(np.unique(words[:, 0])) == words[:, 0].size


@pytest.mark.slow
def test_the_report_says_that_arms_share_paths(study, tree):
    page = html.unescape(render(tree, study))
    assert "paths of the model's noise" in page
    assert "Longest step (h)" in page and "Relative tolerance" not in page


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "solver.method=tsit5",
            "for models without noise, and ornstein_uhlenbeck has some; "
            'allowed: "euler_maruyama", "milstein"',
        ),
        ("solver.method=auto", "auto is for models without noise"),
        ("solver.method=taylor", "taylor is for models without noise"),
        ("solver.method=closed_form", "closed_form is for models without noise"),
        ("solver.precision=single", "single precision cannot tell apart the times at which paths"),
        ("model=stepless", "model: stepless has noise and states no step, on whose grid"),
        ("model=silent", "model: the diffusion of model silent is zero throughout"),
        ("model=deterministic", "euler_maruyama is for models with noise, and deterministic has"),
    ],
)
def test_what_does_not_go_together_is_refused(library, override: str, said: str):
    library["stepless"] = dataclasses.replace(MODEL, name="stepless", step=None)
    library["silent"] = dataclasses.replace(
        MODEL, name="silent", diffusion=lambda time, s, p, inputs: Noise(State(0.0))
    )
    library["deterministic"] = dataclasses.replace(MODEL, name="deterministic", diffusion=None)
    with pytest.raises(ConfigError) as caught:
        trials.read(CONFIG, [override])
    assert any(said in str(problem) for problem in caught.value.problems), caught.value.problems


def test_a_model_that_counts_days_is_solved_in_the_trial_s_hours(library):
    study = trials.read(
        CONFIG,
        [
            "model=gompertz_noise",
            "cohort.described.population={initial_volume: {typical: 1 cm^3}, "
            "deceleration: {typical: 0.1 1/d}, plateau: {typical: 20 cm^3}, "
            "volatility: {typical: 0.2 1/d^0.5}}",
            "drug.compartment=volume",
            "visits.measure=[volume]",
            "endpoints.final.of=volume",
            "titrations.by_level.of=volume",
            "solver={}",
        ],
    )
    assert study.protocol.model.time_unit == "h"
    assert study.protocol.model.step == 3.0
