"""A trial draws its patients from what a fit has learned, and new ones are told by it."""

import json
import shutil

import numpy as np
import pytest

import trials
from cohorts import CohortError, fits
from cohorts.fits import learned
from insilico.config import ConfigError

BIOEQUIVALENCE = "theophylline_bioequivalence.yaml"


@pytest.fixture(scope="module")
def crossover(config, fitted):
    """The bioequivalence example, of the small fit, a trial for each of eight draws."""
    return trials.read(
        config.with_name(BIOEQUIVALENCE),
        [
            f"cohort.posterior={fitted.path}",
            "cohort.untrusted=yes",
            "trial.replicates=8",
            "truth.subjects=1000",
        ],
    )


@pytest.fixture(scope="module")
def results(crossover):
    return trials.simulate(crossover)


@pytest.fixture(scope="module")
def population(crossover):
    """The population's parameters of each trial."""
    return crossover.protocol.cohort.population_parameters(crossover.config.seed, 8)


def test_each_trial_has_a_draw_of_the_posterior_of_its_own(population, fitted):
    posterior = fitted.results("posterior")["posterior"].to_dataset()
    drawn = population["typical_clearance"]
    assert len(set(drawn.tolist())) == 8
    assert set(drawn.tolist()) <= set(posterior["typical_clearance"].values.ravel().tolist())


def test_numbers_of_one_draw_belong_together(population, fitted):
    posterior = fitted.results("posterior")["posterior"].to_dataset()
    clearance = posterior["typical_clearance"].values.ravel()
    for number in range(8):
        place = np.flatnonzero(clearance == population["typical_clearance"][number])[0]
        for name in ("typical_central_volume", "sd_clearance", "residual_sd_concentration"):
            assert posterior[name].values.ravel()[place] == population[name][number]


def test_subjects_have_covariates_of_those_who_were_observed(crossover, fitted):
    observed = fitted.results("constant_data")["constant_data"]["weight"].values
    drawn = np.asarray(crossover.protocol.cohort.candidates(crossover.config.seed, 200)["weight"])
    assert len(np.unique(drawn)) > 3
    assert np.isin(drawn.astype(np.float32), observed.astype(np.float32)).all()


@pytest.mark.slow
def test_a_trial_s_results_are_of_these_populations_and_covariates(results, population, fitted):
    found = results["population"].to_dataset()
    for name in ("typical_clearance", "sd_clearance", "residual_sd_concentration"):
        np.testing.assert_array_equal(found[name], population[name])
    observed = fitted.results("constant_data")["constant_data"]["weight"].values
    drawn = results["subjects"].to_dataset()["weight"].values
    assert np.isin(drawn.astype(np.float32), observed.astype(np.float32)).all()


@pytest.mark.slow
def test_subjects_vary_as_the_draw_says(results):
    drawn = results["subjects"].to_dataset()
    sd = results["population"].to_dataset()["sd_clearance"].values
    typical = results["population"].to_dataset()["typical_clearance"].values
    eta = np.log(drawn["parameter_clearance"].values[:, 0]) - np.log(typical)[:, None]
    # 24 subjects a draw: the sum of squares over sd² is chi-square with 192 degrees of freedom.
    assert np.sum((eta / sd[:, None]) ** 2) == pytest.approx(192, abs=4 * np.sqrt(2 * 192))


def test_a_fit_that_failed_is_refused_unless_the_config_says_otherwise(fitted, config, tmp_path):
    copy = tmp_path / "fit"
    shutil.copytree(fitted.path, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "failure": "R-hat 1.2"}))
    with pytest.raises(ConfigError, match="failed its diagnostics: R-hat 1.2.*untrusted: yes"):
        trials.read(config.with_name(BIOEQUIVALENCE), [f"cohort.posterior={copy}"])
    assert learned(copy, untrusted=True).population.model == "one_compartment"


def test_a_fit_that_was_tampered_with_is_refused(fitted, tmp_path):
    copy = tmp_path / "fit"
    shutil.copytree(fitted.path, copy)
    (copy / "theophylline.csv").write_text("ID,TIME\n")
    with pytest.raises(CohortError, match="damaged"):
        learned(copy, untrusted=True)


def test_what_is_no_fit_is_refused(tmp_path):
    with pytest.raises(CohortError, match="no such folder.*insilico fit"):
        learned(tmp_path / "nothing")


def test_exactly_one_population_is_named(config):
    with pytest.raises(ConfigError, match="exactly one of these.*population, posterior, described"):
        trials.read(config.with_name(BIOEQUIVALENCE), ["cohort.posterior=null"])


NEWCOMERS = """ID,TIME,EVID,AMT,DV,WT
new,0,1,320,.,70
blood,0,1,320,.,35
blood,2,0,.,1000,35
"""


@pytest.fixture(scope="module")
def individuals(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("newcomers") / "new.csv"
    path.write_text(NEWCOMERS)
    return fits.individuals(fitted.path, path, "map", untrusted=True)


def test_who_has_no_value_is_typical(individuals, fitted):
    """At the posterior mean of the typical values' logarithms, on which they are estimated."""
    posterior = fitted.results("posterior")["posterior"].to_dataset()
    mode = individuals["mode"].to_dataset().sel(subject="new")
    for name in ("clearance", "central_volume", "absorption_rate"):
        typical = np.exp(np.log(posterior[f"typical_{name}"]).mean())
        assert mode[name].item() == pytest.approx(typical.item(), rel=1e-6), name


def test_values_move_the_parameters_and_the_order_is_that_of_the_table(individuals):
    mode, status = individuals["mode"].to_dataset(), individuals["status"].to_dataset()
    assert mode["subject"].values.tolist() == ["new", "blood"]
    # So high a concentration is that of a small volume.
    small, typical = mode["central_volume"].sel(subject=["blood", "new"]).values
    assert small < 0.8 * typical
    assert set(individuals.children) == {"mode", "status"}
    assert status["status"].values.tolist()[0] == 0
