"""A calibration leaves all that it found, and trials draw their patients from it."""

import json
import shutil

import numpy as np
import pytest

from cohorts import Cohort, CohortError, CohortSpec, CovariatesSpec
from cohorts.covariates import StatedSpec
from cohorts.fits import learned
from insilico import models
from insilico.runs import RunFolder


@pytest.fixture(scope="module")
def patients(weighted):
    return weighted.results("virtual_patients")["virtual_patients"].to_dataset()


def test_its_folder_holds_everything(weighted):
    files = {path.name for path in weighted.path.iterdir()}
    assert files == {"config.yaml", "manifest.json", "report.html", "results.zarr"}
    RunFolder.open(weighted.path).check()
    groups = {"prior", "targets", "conflicts", "curves", "virtual_patients"}
    assert set(weighted.results().children) == groups
    assert weighted.manifest["kind"] == "calibration"


def test_targets_are_met_within_their_errors(weighted):
    targets = weighted.results("targets")["targets"].to_dataset()
    assert np.all(np.abs(targets["mismatch"]) < 1.0)
    # The plausible range was not where they are.
    before = (targets["prior_value"] - targets["published"]) / targets["standard_error"]
    assert np.max(np.abs(before[:2])) > 1.0


def test_the_mean_that_is_reported_is_that_of_the_patients(weighted, patients):
    """Of an area under a true course: the dose over clearance, less what is left after 12 h."""
    targets = weighted.results("targets")["targets"].to_dataset()
    clearance = patients["parameter_clearance"].to_numpy()
    rate = clearance / patients["parameter_central_volume"].to_numpy()
    infused = (1 - np.exp(-rate * 0.5)) / (rate * 0.5)  # mean of what is left of the infusion
    area = 200 / clearance * (1 - infused * np.exp(-rate * 11.5))
    weights = patients["weight"].to_numpy()
    expected = np.exp(weights @ np.log(area))
    # The trapezoids of a course with so many points are off by less than 0.2 %.
    assert targets["value"].to_numpy()[-1] == pytest.approx(expected, rel=2e-3)


def test_a_trial_draws_patients_by_their_weights(weighted, patients):
    spec = CohortSpec(
        posterior=str(weighted.path),
        covariates=CovariatesSpec(stated={"centre": StatedSpec(value=1.0)}),
    )
    cohort = Cohort.from_spec(spec, model=models.get("one_compartment"))
    import jax.numpy as jnp

    number = jnp.arange(4000)
    drawn, _ = cohort.sample(cohort.numbers(1), 1, 0 * number, 0 * number, number)
    weights = patients["weight"].to_numpy()
    for name in ("clearance", "central_volume"):
        values = patients[f"parameter_{name}"].to_numpy()
        mean = weights @ values
        sd = np.sqrt(weights @ np.square(values - mean))
        found = np.asarray(getattr(drawn.parameters, name))
        assert np.mean(found) == pytest.approx(mean, abs=4 * sd / np.sqrt(4000)), name
        assert set(found.tolist()) <= set(values.tolist())
    # Parameters and covariates of one patient stay together.
    place = {value: n for n, value in enumerate(patients["parameter_clearance"].values.tolist())}
    rows = [place[value] for value in np.asarray(drawn.parameters.clearance).tolist()]
    np.testing.assert_array_equal(np.asarray(drawn.covariates["sex"]), patients["sex"].values[rows])
    assert np.all(np.asarray(drawn.covariates["centre"]) == 1.0)
    sites = patients["population_residual_sd_concentration"].to_numpy()
    assert np.isin(np.asarray(cohort.numbers(1, 5).typical.residual_sd_concentration), sites).all()


def test_one_that_failed_is_refused_unless_the_config_says_otherwise(weighted, tmp_path):
    copy = tmp_path / "calibration"
    shutil.copytree(weighted.path, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "failure": "missed"}))
    with pytest.raises(CohortError, match="this calibration failed its diagnostics: missed"):
        learned(copy)
    assert learned(copy, untrusted=True).population.model == "one_compartment"


def test_its_report_says_first_whether_to_believe_it(weighted):
    page = (weighted.path / "report.html").read_text(encoding="utf-8")
    keys = ("answer", "targets", "conflicts", "courses", "parameters", "weights", "arms", "model")
    places = [page.index(f'<section id="{key}"') for key in keys]
    assert places == sorted(places)
    assert "every target is met" in page[places[0] : places[1]]


class _Killed(Exception):
    pass


SMALL = (
    "virtual_patients=100",
    "sampling.chains=2",
    "sampling.warmup=150",
    "sampling.draws=60",
    "sampling.target_acceptance=0.9",
    "checks.prior_draws=200",
)


def calibrated(read, out, **options) -> RunFolder:
    """A run whose diagnostics need not pass, with so few draws."""
    from cohorts import fits, summaries

    try:
        return summaries.run(read, out, **options)
    except fits.NotTrusted as error:
        return error.folder


@pytest.fixture(scope="module")
def sampled(config, tmp_path_factory) -> RunFolder:
    """The theophylline example, small."""
    from cohorts import summaries

    return calibrated(
        summaries.read(config, SMALL), tmp_path_factory.mktemp("summaries") / "sampled"
    )


@pytest.mark.slow
def test_a_posterior_is_near_what_the_subjects_themselves_say(sampled):
    """FOCEI of nlmixr2 on the subjects has KA 1.59 1/h, CL 2.75 L/h, V 31.8 L."""
    posterior = sampled.results("posterior")["posterior"].to_dataset()
    expected = {"absorption_rate": 1.59, "clearance": 2.75, "central_volume": 31.8}
    for name, value in expected.items():
        draws = posterior[f"typical_{name}"].values
        # 100 virtual patients add a third of a standard error of twelve subjects.
        assert abs(np.mean(draws) - value) < 1.5 * np.std(draws), name
    targets = sampled.results("targets")["targets"].to_dataset()
    np.testing.assert_allclose(targets["monte_carlo_error"], np.sqrt(12 / 100), rtol=1e-6)
    # Another set of random numbers differs by about as much as theory says.
    root = float(np.sqrt(np.mean(np.square(targets["repeated"]))))
    assert 0.4 * np.sqrt(12 / 100) < root < 2.0 * np.sqrt(12 / 100)


@pytest.mark.slow
def test_a_trial_draws_patients_from_a_posterior(sampled):
    cohort = Cohort.from_spec(
        CohortSpec(posterior=str(sampled.path), untrusted=True), model=models.get("one_compartment")
    )
    numbers = cohort.numbers(1, 8)
    posterior = sampled.results("posterior")["posterior"].to_dataset()
    clearance = posterior["typical_clearance"].values.ravel().tolist()
    assert set(np.asarray(numbers.typical.typical_clearance).tolist()) <= set(clearance)


@pytest.mark.slow
def test_a_calibration_that_was_interrupted_goes_on_and_finds_the_same(config, sampled, tmp_path):
    from cohorts import summaries

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "draws" and done > 10:
            raise _Killed

    read = summaries.read(config, SMALL)
    out = tmp_path / "again"
    with pytest.raises(_Killed):
        summaries.run(read, out, progress=interrupt)
    assert not out.exists()
    assert summaries.unfinished(read, out).begun
    folder = calibrated(read, out)
    expected, found = (run.results("posterior")["posterior"] for run in (sampled, folder))
    for name in map(str, expected.data_vars):
        np.testing.assert_array_equal(expected[name].values, found[name].values)
    assert not summaries.unfinished(read, out).begun


NOISY = """
title: What is measured is mostly error
seed: 3
model: one_compartment
population:
  absorption_rate: {typical: 1 1/h}
  clearance:
    typical: {kind: log_normal, median: 3 L/h, sd: 0.3}
    between_subject: {kind: log_normal, sd: 20 %}
  central_volume: {typical: 30 L}
residual: {concentration: {kind: additive, sd: 2 mg/L}}
arms: {bolus: {doses: [{amount: 300 mg, into: central}], subjects: 400}}
targets:
  - {arm: bolus, output: concentration, time: 10 h, statistic: sd, value: 1.5 mg/L}
  - {arm: bolus, output: concentration, time: 10 h, statistic: mean, value: 4 mg/L}
method: reweight
virtual_patients: 300
"""


def test_weights_choose_patients_and_not_their_errors(tmp_path):
    """A spread below that of the residual error cannot be met, whoever counts; with an error each,
    those whose error is small would have been taken for the answer."""
    from cohorts import summaries
    from cohorts.summaries.evaluation import Evaluation
    from cohorts.summaries.plausible import Weighing, draw
    from cohorts.summaries.reweighting import reweight

    (tmp_path / "noisy.yaml").write_text(NOISY)
    evaluation = Evaluation.of(summaries.read(tmp_path / "noisy.yaml"), None, smooth=False)
    drawn = draw(evaluation, 3)
    weighing = Weighing.of(evaluation, drawn)
    weights = reweight(weighing.evaluate, drawn.usable).weights
    sd, mean = weighing.compare(weights).value
    true = 10.0 * np.exp(-drawn.parameters["clearance"] / 30.0 * 10.0)
    among = np.sqrt(weights @ np.square(true - weights @ true))
    assert sd == pytest.approx(np.hypot(2.0, among), rel=1e-6)
    assert mean == pytest.approx(weights @ true, rel=1e-6)
