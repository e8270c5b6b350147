"""Simulated data sets have the design of a fit's data, and values that its population gives."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from cohorts import fits
from cohorts.data import Kind
from cohorts.inference.density import Density
from cohorts.inference.numpyro_model import as_sampled, prior_of
from cohorts.sbc.calibrating import check, of_first_subjects, prepare
from cohorts.sbc.simulating import Simulated, simulated
from insilico.config import ConfigError
from insilico.programs import quickly

pytestmark = pytest.mark.optimised

CONFIG = """
title: Four subjects
seed: 3
model: one_compartment
data:
  file: few.csv
  columns: {subject: ID, time: TIME, measured: DV, amount: AMT, event: EVID, compartment: CMT,
            limit: LLOQ, censored: BLQ}
  units: {time: h, amount: mg}
  outputs: {concentration: {unit: mg/L}}
mixtures: {metaboliser: {kind: known, shares: {extensive: 0.7, poor: 0.3}}}
population:
  absorption_rate: {typical: 1.5 1/h}
  clearance:
    typical: {kind: log_normal, median: 3 L/h, sd: 0.3}
    covariates: {metaboliser: {kind: categorical, reference: extensive, factors: {poor: 0.2}}}
    between_subject: {kind: log_normal, sd: {kind: log_normal, median: 0.3, sd: 0.3}}
  central_volume: {typical: 32 L}
residual:
  concentration: {kind: log_additive, sd: {kind: log_normal, median: 0.1, sd: 0.3}}
parameterisation: non_centred
"""
SUBJECTS, DATASETS = 4, 300
TIMES = (4.0, 12.0, 24.0)
LIMIT = 1.0


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of subjects; a value at the last time below 1 mg/L is not quantified."""
    folder = tmp_path_factory.mktemp("few")
    rows = ["ID,TIME,DV,AMT,EVID,CMT,LLOQ,BLQ"]
    for subject in range(1, SUBJECTS + 1):
        rows.append(f"{subject},0,.,320,1,1,.,0")
        rows += [
            f"{subject},{time},{value},.,0,1,{LIMIT if time == 24 else '.'},0"
            for time, value in zip(TIMES, (7.0, 4.0, 2.0), strict=True)
        ]
    (folder / "few.csv").write_text("\n".join(rows))
    (folder / "few.yaml").write_text(CONFIG)
    return folder / "few.yaml"


@pytest.fixture(scope="module")
def prepared(config: Path) -> Any:
    return prepare(fits.read(config))


@pytest.fixture(scope="module")
def made(prepared: Any) -> Simulated:
    limit = prepared.fit.patients.measured.limit
    return simulated(prepared.joint, prepared.data, limit, seed=3, datasets=DATASETS)


def test_the_design_is_that_of_the_data(prepared, made):
    for name in ("table", "output", "covariates"):
        leaves = zip(
            *(jax.tree.leaves(getattr(data, name)) for data in (prepared.data, made.data)),
            strict=True,
        )
        assert all(np.array_equal(np.broadcast_to(own, of.shape), of) for own, of in leaves), name
    nothing = np.broadcast_to(prepared.data.kind, made.data.kind.shape) == Kind.NOTHING
    np.testing.assert_array_equal(
        np.asarray(made.data.kind) == Kind.NOTHING, np.broadcast_to(nothing, made.data.kind.shape)
    )


def test_values_below_their_limit_are_censored_and_no_others(made):
    value, kind, limit = (np.asarray(getattr(made.data, n)) for n in ("value", "kind", "limit"))
    limited = limit != 0.0
    assert np.all(kind[~limited] != Kind.CENSORED)
    assert np.all(value[kind == Kind.CENSORED] == LIMIT)
    assert np.all(value[limited & (kind == Kind.VALUE)] >= LIMIT)
    share = (kind[limited] == Kind.CENSORED).mean()
    assert 0.1 < share < 0.9


def test_values_are_the_population_s_own(made):
    """In closed form, by the parameters that are told; residuals are standard normal numbers."""
    sites = made.sites
    clearance = np.exp(sites["log_clearance"])
    k, ka = clearance / 32.0, 1.5
    value, kind = np.asarray(made.data.value), np.asarray(made.data.kind)
    standard = []
    for record, time in enumerate(TIMES, start=1):
        true = 320 / 32 * ka / (ka - k) * (np.exp(-k * time) - np.exp(-ka * time))
        sd = sites["residual_sd_concentration"][:, None]
        seen = kind[:, record] == Kind.VALUE
        if time < 24:
            assert seen.all()
            standard.append(((np.log(value[:, record]) - np.log(true)) / sd).ravel())
    found = np.concatenate(standard)
    # Four standard errors of mean and standard deviation.
    assert abs(found.mean()) < 4 / np.sqrt(found.size)
    assert abs(found.std() - 1.0) < 4 / np.sqrt(2 * found.size)


def test_components_of_a_mixture_are_drawn_by_their_shares(made):
    share = (made.sites["metaboliser"] == 1).mean()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / (SUBJECTS * DATASETS))


def test_a_density_finds_the_effects_that_it_was_given(prepared, made):
    """Sampled as standard normal numbers and back."""
    joint, data = prepared.joint, prepared.data
    first = {name: of[0] for name, of in made.sites.items()}
    given = {"data": data, "centred": prepared.shares}
    values = quickly(lambda first, given: as_sampled(joint, first, **given))(first, given)
    assert "log_clearance" not in values
    density = Density.of(prior_of(joint), given)
    position = quickly(density.unconstrained)(values, given)
    found = quickly(density.sites)(position, given).values
    np.testing.assert_allclose(found["log_clearance"], first["log_clearance"], rtol=1e-12)


def test_data_sets_that_cannot_be_solved_are_counted_and_left_out(prepared, made, monkeypatch):
    """Every data set whose first subject clears fast is taken for one that failed."""
    from cohorts.inference.predictive import Predictive

    true = Predictive.individual

    def failing(self: Predictive, draws: Any) -> Any:
        outputs = true(self, draws)
        status = outputs.status.copy()
        status[draws["log_clearance"][:, 0] > np.log(4.0), 0] = 1
        return outputs._replace(status=status)

    monkeypatch.setattr(Predictive, "individual", failing)
    limit = prepared.fit.patients.measured.limit
    found = simulated(prepared.joint, prepared.data, limit, seed=3, datasets=DATASETS)
    assert len(found.number) == DATASETS and found.failed
    assert set(found.failed.values()) == {1}
    assert not set(found.failed) & set(found.number.tolist())
    assert found.drawn == found.number[-1] + 1
    assert np.all(found.sites["log_clearance"][:, 0] <= np.log(4.0))
    # The others are what they were.
    first = found.number[found.number < DATASETS]
    kept = np.asarray(found.data.value)[: len(first)]
    np.testing.assert_array_equal(kept, np.asarray(made.data.value)[first])


def test_the_first_subjects_alone_may_be_taken(config):
    fit = of_first_subjects(fits.read(config, "sbc.subjects=2"))
    assert list(map(int, fit.patients.subjects)) == [1, 2]


def test_autocorrelation_with_limits_is_refused_in_words(config):
    changed = ("residual.concentration.autocorrelation=0.1 1/h",)
    with pytest.raises(ConfigError, match="residual.concentration.*limit of quantification"):
        check(fits.read(config, changed))


def test_draws_that_leave_bins_unequal_are_refused_with_the_nearest(config):
    with pytest.raises(ConfigError, match=r"sbc.draws.*multiple of 16, such as 95"):
        fits.read(config, "sbc.draws=100")
