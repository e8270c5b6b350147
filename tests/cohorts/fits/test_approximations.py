"""A fit by an approximation leaves what a sampled one does, and says everywhere that it is none."""

import contextlib
import dataclasses
import re

import numpy as np
import pytest

import trials
from cohorts import fits
from cohorts.fits import learned
from insilico.config import ConfigError
from insilico.runs import RunFolder, Stages

FOCEI = (
    "method=focei",
    "approximation.draws=200",
    "checks.replicates=200",
    "checks.prior_draws=200",
)

# FOCEI of nlmixr2 7.0.1 on the same data, by maximum likelihood: theophylline_focei_nlmixr2.json
# (see tests/conformance/test_theophylline_focei.py). Variances of the random effects.
TYPICAL = {
    "absorption_rate": np.exp(0.464451132923658),
    "clearance": np.exp(1.01204689833242),
    "central_volume": np.exp(3.45997310165565),
}
VARIANCE = {
    "absorption_rate": 0.404625391044372,
    "clearance": 0.0687956048901995,
    "central_volume": 0.019222348721803,
}
RESIDUAL = 0.693839405708945
OBJECTIVE = 116.803781271266


def run(config, changes, out) -> RunFolder:
    try:
        return fits.run(fits.read(config, changes), out)
    except fits.NotTrusted as error:
        return error.folder


@pytest.fixture(scope="module")
def approximated(config, tmp_path_factory) -> RunFolder:
    """Theophylline by FOCEI with the example's priors. Not to be changed."""
    changes = (*FOCEI, "checks.stratify=weight")
    return run(config, changes, tmp_path_factory.mktemp("focei") / "theophylline")


@pytest.fixture(scope="module")
def page(approximated) -> str:
    return (approximated.path / "report.html").read_text(encoding="utf-8")


def test_what_a_method_has_no_use_for_is_told(config):
    assert fits.read(config).notes == ()
    found = fits.read(config, ["method=focei", "approximation={steps: 500, draws: 200}"])
    assert found.notes == (
        "sampling is not used by method focei",
        "approximation.steps is not used by method focei",
    )
    nuts = fits.read(config, "approximation.draws=200")
    assert nuts.notes == ("approximation is not used by method nuts",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["method=fo"], '"nuts", "focei", "laplace" or "svi"; found "fo"'),
        (["method=svi", "approximation.priors=no"], "approximation.priors.*svi.*maximum likelih"),
        (["method=focei", "approximation.covariance=sandwich"], "covariance.*`priors: no`"),
        (["method=focei", "approximation.draw=5"], "draws"),
    ],
)
def test_what_a_method_cannot_have_is_refused(config, changes, words):
    with pytest.raises(ConfigError, match=words):
        fits.read(config, changes)


@pytest.mark.slow
def test_its_folder_holds_what_that_of_a_sampled_fit_does(approximated, fitted):
    sampled = set(fitted.results().children) - {"warmup_sample_stats"}
    of_marginals = {"leave_one_out", "prior_sensitivity"}
    found = set(approximated.results().children) - of_marginals
    assert found == sampled - of_marginals | {"search", "estimates"}
    names = set(fitted.results("posterior")["posterior"].data_vars)
    own = set(approximated.results("posterior")["posterior"].data_vars)
    # The sampler has effects in other coordinates as well.
    assert {name for name in names if not name.endswith("_decentered")} <= own
    assert approximated.manifest["approximation"]["method"] == "FOCEI"
    assert approximated.manifest["failure"] is None


@pytest.mark.slow
def test_arviz_opens_it_and_sees_what_it_is(approximated):
    import arviz as az

    tree = az.from_zarr(approximated.path / "results.zarr")
    assert tree["posterior"].attrs["method"] == "focei"
    assert tree["posterior"].attrs["approximate"] == 1
    assert tree.attrs["approximate"] == 1
    table = az.summary(tree, var_names=["typical_clearance"], ci_prob=0.95, ci_kind="eti")
    assert float(table.loc["typical_clearance", "mean"]) == pytest.approx(2.75, rel=0.05)


@pytest.mark.slow
def test_its_draws_are_near_the_sampled_ones(approximated, fitted):
    exact = fitted.results("posterior")["posterior"].to_dataset()
    found = approximated.results("posterior")["posterior"].to_dataset()
    for name in ("typical_clearance", "typical_central_volume", "residual_sd_concentration"):
        sd = float(exact[name].std())
        # Both have few draws; the posterior's own skewness moves its mean by less than this.
        assert abs(float(found[name].mean() - exact[name].mean())) < 0.6 * sd, name
        assert 0.6 * sd < float(found[name].std()) < 1.6 * sd, name
    for name in ("clearance", "central_volume"):
        theirs, ours = (d[name].mean(("chain", "draw")).values for d in (exact, found))
        assert np.corrcoef(theirs, ours)[0, 1] > 0.98


@pytest.mark.slow
def test_its_report_says_first_that_it_is_an_approximation(page):
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    first = text.index("Approximation: FOCEI; not a sampled posterior")
    assert first < text.index('id="answer"')
    for key in ("parameters", "individuals", "predictive", "approximation", "data", "model"):
        assert f'<section id="{key}"' in text


@pytest.mark.slow
def test_it_is_written_anew_from_its_folder(approximated, page):
    again = fits.render(
        approximated.results(), fits.read(approximated.path / "config.yaml"), approximated.manifest
    )
    # The folder has its own copy of the data, beside the config.
    page = page.replace("data/theophylline.csv", "theophylline.csv")
    assert again.split('id="provenance"')[0] == page.split('id="provenance"')[0]


@pytest.mark.slow
def test_a_trial_draws_its_patients_from_it(config, approximated):
    study = trials.read(
        config.with_name("theophylline_bioequivalence.yaml"),
        [
            f"cohort.posterior={approximated.path}",
            "cohort.untrusted=yes",
            "trial.replicates=4",
            "truth.subjects=1000",
        ],
    )
    drawn = trials.simulate(study)["population"].to_dataset()["typical_clearance"].values
    own = approximated.results("posterior")["posterior"]["typical_clearance"].values
    assert len(set(drawn.tolist())) == 4 and set(drawn.tolist()) <= set(own.ravel().tolist())
    told = learned(approximated.path, untrusted=True).population.assumptions[-1]
    assert "approximation of their posterior (FOCEI)" in told


@pytest.mark.slow
def test_by_maximum_likelihood_it_has_the_estimates_of_nlmixr2(config, tmp_path):
    changes = ("approximation.priors=no", "approximation.covariance=sandwich")
    folder = run(config, (*FOCEI, *changes), tmp_path / "fit")
    table = folder.results("diagnostics")["diagnostics"].to_dataset()
    estimate = table["estimate"]
    for name, value in TYPICAL.items():
        assert float(estimate.sel(parameter=f"typical_{name}")) == pytest.approx(value, rel=0.02)
    for name, value in VARIANCE.items():
        found = float(estimate.sel(parameter=f"sd_{name}")) ** 2
        assert found == pytest.approx(value, rel=0.1)
    residual = float(estimate.sel(parameter="residual_sd_concentration"))
    assert residual == pytest.approx(RESIDUAL, rel=0.02)
    assert table["objective_function_value"].item() == pytest.approx(OBJECTIVE, abs=0.5)
    assert table["converged"].item() == 1
    # Seven parameters, 132 measured values.
    twice = table["minus_two_log_likelihood"].item()
    assert twice - table["objective_function_value"].item() == pytest.approx(
        132 * np.log(2 * np.pi)
    )
    assert table["aic"].item() == pytest.approx(twice + 14.0)
    assert table["bic"].item() == pytest.approx(twice + 7.0 * np.log(132.0))
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    assert "priors left out" in page


@pytest.mark.slow
def test_variational_inference_leaves_the_same(config, tmp_path):
    folder = run(config, ("method=svi", *FOCEI[1:]), tmp_path / "fit")
    posterior = folder.results("posterior")["posterior"].to_dataset()
    assert posterior.attrs["method"] == "svi"
    assert float(posterior["typical_clearance"].mean()) == pytest.approx(2.75, rel=0.1)
    told = folder.manifest["approximation"]["told"]
    assert (
        "variational family: multivariate normal in 43 dimensions, chosen by their number" in told
    )
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    assert "Approximation: Variational inference; not a sampled posterior" in page


@pytest.mark.slow
def test_it_compiles_few_programs_and_those_of_other_numbers_none(config, tmp_path, compilations):
    changes = (*FOCEI, "checks.marginal_draws=50")

    def compiled_by(fit, out) -> int:
        before = compilations.count
        with contextlib.suppress(fits.NotTrusted):
            fits.run(fit, tmp_path / out)
        return compilations.count - before

    read = fits.read(config, changes)
    # Six of them have a solve in them: modes, scores, weights, sites, predictions, curves.
    assert compiled_by(read, "first") <= 46
    measured = read.patients.measured
    patients = dataclasses.replace(
        read.patients, measured=measured._replace(value=1.1 * measured.value)
    )
    assert compiled_by(dataclasses.replace(read, patients=patients), "other data") == 0
    priors = (
        "population.clearance.typical.median=4 L/h",
        "population.clearance.between_subject.sd.scale=0.7",
    )
    assert compiled_by(fits.read(config, (*changes, *priors)), "other priors") == 0


class _Killed(Exception):
    pass


def test_an_interruption_leaves_nothing(config, tmp_path):
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "search":
            raise _Killed

    read, out = fits.read(config, FOCEI), tmp_path / "fit"
    with pytest.raises(_Killed):
        fits.run(read, out, progress=interrupt)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_where_the_search_stands_is_told_in_words(config, tmp_path):
    said = []
    stages = Stages(words=lambda stage, words, done: said.append((stage, words)))
    with pytest.raises(_Killed):
        stages.watch = _killed_at_checks
        fits.run(fits.read(config, FOCEI), tmp_path / "fit", progress=stages)
    assert said[0][0] == "search" and said[0][1].startswith("iteration 0, objective ")
    assert said[-1][1].startswith("came to rest at ")
    values = [float(words.split()[-1]) for _, words in said[:-1]]
    assert values == sorted(values, reverse=True) and len(values) > 5


def _killed_at_checks(stage: str, done: int, total: int) -> None:
    if stage == "checks":
        raise _Killed
