"""Every mistake in a fit's config or data is told before anything is sampled."""

import pytest

from cohorts import fits
from cohorts.data import DataError
from cohorts.fits.posterior import assumptions_of
from insilico.config import ConfigError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model=two_compartmant", "two_compartment"),
        ("population.clearence.typical=3 L/h", "clearance"),
        ("population.clearance.typical=3 mg", "L/h"),
        ("residual.conc={kind: additive, sd: 1 mg/L}", "concentration"),
        ("sampling.chains=1", "sampling.chains"),
        ("solver.method=rk4", "solver.method"),
        ("model=hodgkin_huxley1952", "no derivative in reverse"),
        ("model=gompertz_noise", "noise"),
        ("data.file=data/nothing.csv", "no such file"),
        ("data.columns.measured=CONC", "CONC"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(config, change, words):
    with pytest.raises((ConfigError, DataError), match=words):
        fits.read(config, change)


def test_mistakes_of_schema_data_and_population_are_told_at_once(config):
    changes = {
        "model": "one_compartmant",
        "sampling.chains": "1",
        "approximation.covariance": "scores",
        "method": "focei",
        "data.columns.measured": "CONC",
        "data.units.time": "kg",
        "population.clearance.typical": "3 mg",
        "population.clearance.covariates": "{wieght: {kind: power, centre: 70 kg, coefficient: 1}}",
        "population.central_volume.between_subject": "null",
        "correlations": "[{kind: lkj, of: [clearance, central_volume]}]",
        "residual.response": "{kind: additive, sd: 1}",
    }
    with pytest.raises(ConfigError) as caught:
        fits.read(config, [f"{path}={value}" for path, value in changes.items()])
    assert {problem.field for problem in caught.value.problems} == {
        "model",
        "sampling.chains",
        "approximation.covariance",
        "data.file",
        "data.units.time",
        "population.clearance.typical",
        "population.clearance.covariates.wieght",
        "correlations.0.of.1",
        "residual.response",
    }


def test_a_model_that_is_like_no_other_hides_no_mistake_that_needs_none(config):
    changes = ["model=qqq", "method=svi", "approximation.priors=false"]
    with pytest.raises(ConfigError) as caught:
        fits.read(config, changes)
    assert [problem.field for problem in caught.value.problems] == ["model", "approximation.priors"]


def test_mistakes_in_the_data_are_told_beside_those_of_the_config(config, tmp_path):
    table = (config.parent / "data" / "theophylline.csv").read_text().splitlines()
    rows = [table[0], table[1], table[2].replace(",", ";", 1), *table[3:]]
    (tmp_path / "wrong.csv").write_text("\n".join(rows))
    changes = [f"data.file={tmp_path / 'wrong.csv'}"]
    with pytest.raises(DataError, match="line 3"):
        fits.read(config, changes)
    with pytest.raises(ConfigError) as caught:
        fits.read(config, [*changes, "population.clearance.typical=3 mg"])
    told = {problem.field: problem.message for problem in caught.value.problems}
    assert set(told) == {"data.file", "population.clearance.typical"}
    assert told["data.file"].startswith("line 3")


def test_a_power_of_a_code_for_a_missing_value_is_refused(config, tmp_path):
    table = (config.parent / "data" / "theophylline.csv").read_text()
    rows = [
        line.rsplit(",", 1)[0] + ",-99" if line.startswith("3,") else line
        for line in table.splitlines()
    ]
    (tmp_path / "coded.csv").write_text("\n".join(rows))
    effect = "{weight: {kind: power, centre: 70 kg, coefficient: 0.75}}"
    changes = [f"data.file={tmp_path / 'coded.csv'}", f"population.clearance.covariates={effect}"]
    with pytest.raises(ConfigError, match="above 0; found -99 of subject 3") as caught:
        fits.read(config, changes)
    (problem,) = caught.value.problems
    assert problem.field == "population.clearance.covariates.weight"


def test_an_expansion_without_anything_to_learn_is_refused(config):
    typical = {"absorption_rate": "1.5 1/h", "clearance": "3 L/h", "central_volume": "30 L"}
    between = "between_subject: {kind: log_normal, sd: 0.3}"
    changes = [f"population.{n}={{typical: {of}, {between}}}" for n, of in typical.items()]
    changes.append("residual.concentration={kind: additive, sd: 1 mg/L}")
    pair = "of: [clearance, central_volume]"
    known = f"correlations=[{{kind: known, {pair}, matrix: [[1, 0.4], [0.4, 1]]}}]"
    for method in ("focei", "laplace"):
        with pytest.raises(ConfigError, match="all of them are known"):
            fits.read(config, [*changes, known, f"method={method}"])
    assert fits.read(config, [*changes, known]).config.method == "nuts"
    assert fits.read(config, [*changes, f"correlations=[{{kind: lkj, {pair}}}]", "method=focei"])


@pytest.mark.parametrize("method", ["nuts", "focei", "laplace", "svi"])
def test_a_mixture_may_be_fitted_by_every_method(config, method):
    slow = "{kind: categorical, reference: fast, factors: {slow: 0.3}}"
    changes = (
        "mixtures.speed={kind: known, shares: {fast: 0.7, slow: 0.3}}",
        f"population.clearance.covariates.speed={slow}",
    )
    read = fits.read(config, [*changes, f"method={method}"])
    assert read.config.mixtures["speed"].components == ("fast", "slow")


def test_a_right_config_is_read_with_its_data(config):
    fit = fits.read(config)
    assert fit.patients.summary().observations == {"concentration": 132}
    assert fit.population.residual["concentration"].kind == "additive"


def test_patients_of_a_trial_keep_the_first_value_of_what_changed_and_that_is_said(
    config, tmp_path
):
    (tmp_path / "table.csv").write_text(
        "ID,TIME,EVID,AMT,DV,WT\n1,0,1,100,.,70\n1,1,0,.,3,70\n1,9,0,.,2,72\n"
    )
    (tmp_path / "fit.yaml").write_text(
        config.read_text()
        .replace("data/theophylline.csv", "table.csv")
        .replace("unit: kg}", "unit: kg, changes: locf}")
    )
    fit = fits.read(tmp_path / "fit.yaml", ["method=focei"])
    approximate, changed = assumptions_of(fit)
    assert "approximation" in approximate
    assert changed.startswith("weight: changed within the subjects") and "first value" in changed
    assert assumptions_of(fits.read(config)) == ()
