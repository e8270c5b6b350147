"""Populations whose numbers come from another program's estimates, with their joint uncertainty."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro import handlers

from cohorts import Cohort, CohortError, CohortSpec
from cohorts.hierarchy import HierarchySpec, population_of
from cohorts.hierarchy.imported import SITE
from cohorts.population import Population
from insilico import devices as _devices  # noqa: F401  (double precision)
from insilico import models
from insilico.config import ConfigError, Name, json_schema, load

FILES = Path(__file__).parents[1] / "estimates" / "files"
WEIGHT = {"weight": Name("number", unit="kg")}


def imported(name: str, **more: Any) -> dict[str, Any]:
    return {"kind": "imported", "name": name, **more}


def effect(name: str) -> dict[str, Any]:
    return {"kind": "log_normal", "sd": imported(name, scale="variance")}


CONFIG: dict[str, Any] = {
    "estimates": {"file": "run12.ext", "covariance": "run12.cov"},
    "population": {
        "clearance": {
            "typical": imported("THETA1", scale="log", unit="L/h"),
            "covariates": {
                "weight": {"kind": "power", "centre": "70 kg", "coefficient": imported("THETA4")}
            },
            "between_subject": effect("OMEGA(1,1)"),
        },
        "central_volume": {
            "typical": imported("THETA2", scale="log", unit="L"),
            "between_subject": effect("OMEGA(2,2)"),
        },
        "absorption_rate": {
            "typical": imported("THETA3", unit="1/h"),
            "between_subject": effect("OMEGA(3,3)"),
        },
    },
    "correlations": [{"kind": "imported", "of": ["clearance", "central_volume"]}],
    "residual": {
        "concentration": {"kind": "proportional", "sd": imported("SIGMA(1,1)", scale="variance")}
    },
}
NLMIXR2: dict[str, Any] = {
    "estimates": {"file": "fit.json"},
    "population": {
        "clearance": {
            "typical": imported("tcl", scale="log", unit="L/h"),
            "between_subject": effect("eta.cl"),
        },
        "central_volume": {
            "typical": imported("tv", scale="log", unit="L"),
            "between_subject": effect("eta.v"),
        },
        "absorption_rate": {"typical": imported("tka", scale="log", unit="1/h")},
    },
    "correlations": [{"kind": "imported", "of": ["clearance", "central_volume"]}],
    "residual": {"concentration": {"kind": "additive", "sd": imported("add.sd", unit="mg/L")}},
}


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(config)
    for path, value in changes.items():
        *way, last = path.split(".")
        section = result
        for step in way:
            section = section[step]
        if value is None:
            del section[last]
        else:
            section[last] = value
    return result


def read(config: dict[str, Any], folder: Path = FILES) -> Population:
    spec = HierarchySpec.model_validate_json(json.dumps(config))
    return population_of(spec, models.get("one_compartment"), WEIGHT, folder=folder)


def draws(population: Population, count: int) -> dict[str, np.ndarray]:
    """Sites of the population's parameters, by name, (count, …)."""

    def one(key: Any) -> dict[str, Any]:
        with handlers.block(), handlers.trace() as sites, handlers.seed(rng_seed=key):
            population.typical_values(population.Options(), population.hyperparameters)
        return {name: site["value"] for name, site in sites.items() if "value" in site}

    # Without compiling: each of these populations is drawn from once.
    found = jax.vmap(one)(jax.random.split(jax.random.key(20261128), count))
    return {name: np.asarray(values) for name, values in found.items()}


COUNT = 100_000


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    return draws(read(CONFIG), COUNT)


def test_estimates_that_are_taken_as_known_are_those_of_the_file():
    values = draws(read(changed(CONFIG, {"estimates.uncertainty": False})), 2)
    assert SITE not in values
    expected = {
        "typical_clearance": 2.8,
        "typical_central_volume": 32.0,
        "typical_absorption_rate": 1.5,
        "weight_on_clearance": 0.75,
        "sd_clearance": 0.3,
        "sd_central_volume": 0.2,
        "sd_absorption_rate": 0.5,
        "residual_sd_concentration": 0.15,
        "correlation_clearance_central_volume": 0.4,
    }
    for name, value in expected.items():
        # The files have six digits, of logarithms, too.
        assert values[name] == pytest.approx(value, rel=6e-6), name


def test_units_of_the_file_are_turned_into_the_models():
    changes = {
        "estimates.uncertainty": False,
        "population.clearance.typical": imported("THETA1", scale="log", unit="mL/min"),
        "population.absorption_rate.typical": imported("THETA3", unit="1/d"),
        "residual.concentration": {
            "kind": "additive",
            "sd": imported("SIGMA(1,1)", scale="variance", unit="ug/mL"),
        },
    }
    values = draws(read(changed(CONFIG, changes)), 1)
    assert values["typical_clearance"] == pytest.approx(2.8 * 0.06, rel=1e-5)
    assert values["typical_absorption_rate"] == pytest.approx(1.5 / 24.0)
    assert values["residual_sd_concentration"] == pytest.approx(0.15)


def test_a_change_is_one_less_than_a_factor_and_a_logit_that_of_a_share(tmp_path):
    (tmp_path / "fit.json").write_text(
        json.dumps({"params": {"name": ["a", "b"], "estimate": [-0.2, 0.4], "se": [0.1, 0.2]}})
    )
    sex = {"sex": Name("category", categories=("male", "female"))}
    config = {
        "estimates": {"file": "fit.json"},
        "population": {
            "clearance": {
                "typical": "3 L/h",
                "covariates": {
                    "sex": {
                        "kind": "categorical",
                        "reference": "male",
                        "factors": {"female": imported("a", scale="change")},
                    }
                },
            },
            "central_volume": {"typical": "30 L"},
            "absorption_rate": {"typical": "1 1/h"},
        },
    }
    spec = HierarchySpec.model_validate_json(json.dumps(config))
    population = population_of(spec, models.get("one_compartment"), sex, folder=tmp_path)
    factor = draws(population, 5_000)["sex_female_on_clearance"]
    assert np.all(factor > 0.0) and np.median(factor) == pytest.approx(0.8, rel=0.02)
    number = next(n for n in population.numbers if n.name == "sex_female_on_clearance")
    assert number.relative_standard_error == pytest.approx(0.1 / 0.8)


def test_fixed_effects_are_drawn_with_the_covariance_matrix_of_the_file(drawn):
    log_clearance, log_volume = (
        np.log(drawn[f"typical_{name}"]) for name in ("clearance", "central_volume")
    )
    found = np.cov(log_clearance, log_volume)
    expected = np.array([[6.4e-3, 2.16e-3], [2.16e-3, 3.6e-3]])
    # Standard errors of covariances of normal draws (Anderson 2003, section 3.4), times four.
    variances = np.diag(expected)
    error = np.sqrt((np.outer(variances, variances) + expected**2) / COUNT)
    assert np.all(np.abs(found - expected) < 4.0 * error)
    assert log_clearance.mean() == pytest.approx(1.02962, abs=4 * 0.08 / math.sqrt(COUNT))


def test_what_must_stay_above_zero_has_the_relative_errors_and_correlations_of_the_file(drawn):
    # Four standard errors of an sd, and of a correlation.
    close, near = 4.0 / math.sqrt(2 * COUNT), 4.0 / math.sqrt(COUNT)
    rate, residual = drawn["typical_absorption_rate"], drawn["residual_sd_concentration"]
    assert rate.min() > 0.0 and np.median(rate) == pytest.approx(1.5, rel=0.005)
    assert np.log(rate).std() == pytest.approx(0.3 / 1.5, rel=close)
    # An sd has half the relative error of its variance.
    assert np.log(residual).std() == pytest.approx(0.5 * 0.0027 / 0.0225, rel=close)
    found = np.corrcoef(np.log(drawn["typical_clearance"]), np.log(rate))[0, 1]
    assert found == pytest.approx(-0.3, abs=near)
    found = np.corrcoef(np.log(residual), np.log(drawn["sd_absorption_rate"]))[0, 1]
    assert found == pytest.approx(-0.2, abs=near)
    # What the file has between a theta and an omega of the correlated effects.
    found = np.corrcoef(np.log(drawn["typical_clearance"]), np.log(drawn["sd_clearance"]))[0, 1]
    assert found == pytest.approx(0.25, abs=near)


def test_variances_of_correlated_effects_have_about_the_moments_of_the_file(drawn):
    one, other = drawn["sd_clearance"], drawn["sd_central_volume"]
    correlation = drawn["correlation_clearance_central_volume"]
    lower = np.stack([one**2, correlation * one * other, other**2])
    expected = np.array(
        [
            [7.29e-4, 2.1384e-4, 9.72e-5],
            [2.1384e-4, 1.7424e-4, 8.712e-5],
            [9.72e-5, 8.712e-5, 1.44e-4],
        ]
    )
    # The delta method is of first order: variances with relative errors of 30 % gain 14 % in
    # variance as logarithms, (exp(0.09) - 1) exp(0.09) / 0.09 - 1.
    np.testing.assert_allclose(np.cov(lower), expected, rtol=0.2)
    # The second variance is a sum of two squares of normal numbers, whose spread adds to it.
    np.testing.assert_allclose(np.median(lower, axis=1), [0.09, 0.024, 0.04], rtol=0.05)


def test_with_small_errors_all_moments_are_those_of_the_file(tmp_path):
    """Where the delta method is exact in the limit: errors a hundredth of those in the file."""
    ext = (FILES / "run12.ext").read_text()
    lines = (FILES / "run12.cov").read_text().splitlines()
    small = [
        line
        if number < 2
        else " ".join(
            [line.split()[0], *(f"{1e-4 * float(cell):.5E}" for cell in line.split()[1:])]
        )
        for number, line in enumerate(lines)
    ]
    (tmp_path / "run12.ext").write_text(ext)
    (tmp_path / "run12.cov").write_text("\n".join(small))
    population = read(CONFIG, tmp_path)
    values = draws(population, 5_000)
    one, other = values["sd_clearance"], values["sd_central_volume"]
    found = np.cov(
        np.stack(
            [
                np.log(values["typical_clearance"]),
                values["typical_absorption_rate"],
                one**2,
                values["correlation_clearance_central_volume"] * one * other,
                other**2,
                values["residual_sd_concentration"] ** 2,
                values["sd_absorption_rate"] ** 2,
            ]
        )
    )
    names = (
        "THETA1",
        "THETA3",
        "OMEGA(1,1)",
        "OMEGA(2,1)",
        "OMEGA(2,2)",
        "SIGMA(1,1)",
        "OMEGA(3,3)",
    )
    columns = lines[1].split()[1:]
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:]}
    expected = 1e-4 * np.array(
        [[float(rows[row][columns.index(column)]) for column in names] for row in names]
    )
    variances = np.diag(expected)
    error = np.sqrt((np.outer(variances, variances) + expected**2) / 5_000)
    # Five standard errors for 28 numbers.
    assert np.all(np.abs(found - expected) < 5.0 * error)


def test_no_draw_is_impossible(drawn):
    for name in ("clearance", "central_volume", "absorption_rate"):
        assert drawn[f"sd_{name}"].min() > 0.0
    assert np.abs(drawn["correlation_clearance_central_volume"]).max() < 1.0
    # The estimate's own normal distribution would have had a negative variance now and then.
    assert scipy.stats.norm.cdf(0.0, 0.25, 0.1) * COUNT > 100


def test_its_density_is_the_multivariate_normals():
    population = read(CONFIG)
    with handlers.trace() as sites, handlers.seed(rng_seed=3):
        population.typical_values(population.Options(), population.hyperparameters)
    site = sites[SITE]
    assert [name for name, each in sites.items() if each["type"] == "sample"] == [SITE]
    factor = np.asarray(site["fn"].scale_tril)
    expected = scipy.stats.multivariate_normal.logpdf(
        np.asarray(site["value"]), np.asarray(site["fn"].loc), (factor @ factor.T).tolist()
    )
    assert float(site["fn"].log_prob(site["value"])) == pytest.approx(expected, rel=1e-9)


def test_without_a_matrix_estimates_are_independent_and_that_is_said():
    population = read(changed(CONFIG, {"estimates.covariance": None}))
    values = draws(population, 5_000)
    found = np.corrcoef(
        np.log(values["typical_clearance"]), np.log(values["typical_central_volume"])
    )
    assert abs(found[0, 1]) < 4.0 / math.sqrt(5_000)
    assert "independent, with the standard errors of run12.ext alone" in str(population.assumptions)


def test_nlmixr2s_estimates_are_imported_too():
    population = read(NLMIXR2)
    values = draws(population, 5_000)
    assert np.median(values["typical_clearance"]) == pytest.approx(2.8, rel=0.01)
    found = np.corrcoef(
        np.log(values["typical_clearance"]), np.log(values["typical_central_volume"])
    )
    assert found[0, 1] == pytest.approx(0.45, abs=4.0 / math.sqrt(5_000))
    # Of the variances there is no uncertainty in the file; tka was fixed.
    np.testing.assert_allclose(values["sd_clearance"], 0.3, rtol=1e-12)
    np.testing.assert_allclose(values["correlation_clearance_central_volume"], 0.4, rtol=1e-12)
    np.testing.assert_allclose(values["typical_absorption_rate"], 1.5, rtol=1e-5)
    assert "Taken as known, having no standard error: eta.cl, eta.v." in population.assumptions
    assert "Fixed in fit.json, so known: tka." in population.assumptions


def test_reports_are_told_the_file_the_parameter_and_the_assumptions():
    population = read(CONFIG)
    numbers = {number.name: number for number in population.numbers}
    clearance = numbers["typical_clearance"]
    assert clearance.source == "THETA1 of run12.ext" and clearance.status == "verified"
    assert clearance.relative_standard_error == pytest.approx(0.08)
    assert numbers["sd_clearance"].relative_standard_error == pytest.approx(0.15)
    assert numbers["weight_on_clearance"].relative_standard_error is None
    correlation = numbers["correlation_clearance_central_volume"]
    assert correlation.value == pytest.approx(0.4) and correlation.source == (
        "OMEGA(2,1) of run12.ext"
    )
    assert population.assumptions[:3] == (
        "absorption_rate: 1.5 1/h (THETA3 of run12.ext, relative standard error 0.2); log-normal "
        "between subjects, sd 0.5 (OMEGA(3,3) of run12.ext, relative standard error 0.2).",
        "clearance: 2.8 L/h (THETA1 of run12.ext, relative standard error 0.08) × (weight / 70 kg) "
        "^ 0.75 (THETA4 of run12.ext); log-normal between subjects, sd 0.3 (OMEGA(1,1) of "
        "run12.ext, relative standard error 0.15).",
        "central_volume: 32 L (THETA2 of run12.ext, relative standard error 0.06); log-normal "
        "between subjects, sd 0.2 (OMEGA(2,2) of run12.ext, relative standard error 0.15).",
    )
    assert population.assumptions[3] == (
        "Correlations of random effects: clearance and central_volume 0.4 (OMEGA(2,1) of "
        "run12.ext)."
    )
    assert population.assumptions[5:] == (
        "Numbers from run12.ext: estimates of First Order Conditional Estimation with Interaction.",
        "Fixed in run12.ext, so known: THETA4.",
        "Their uncertainty: jointly normal, with the covariance matrix of run12.cov.",
        "What has to stay above 0 is normal as a logarithm (delta method): THETA3, OMEGA(3,3), "
        "SIGMA(1,1).",
        "The covariance matrix of OMEGA(1,1), OMEGA(2,2) is normal in its Cholesky factor, "
        "logarithms on the diagonal (delta method), so that every draw is a covariance matrix.",
    )


CLEARANCE = "population.clearance"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"estimates": None}, f"{CLEARANCE}.typical: there are no estimates to import it from; "
         'found "THETA1"; write `estimates: {file: ...}` beside `population`'),
        ({"estimates.file": "run13.ext"}, "estimates.file: there is no such file"),
        ({"estimates.covariance": "run12.con"}, 'did you mean "run12.cov"?'),
        ({"estimates.table": 3}, "estimates.file: run12.ext: has no table 3, but these: 1, 2"),
        ({f"{CLEARANCE}.typical.name": "THETA7"},
         f'{CLEARANCE}.typical.name: unknown parameter of run12.ext; found "THETA7"; allowed: '
         '"THETA1", "THETA2"'),
        ({f"{CLEARANCE}.typical.name": "THETA(1)"}, 'did you mean "THETA1"?'),
        ({f"{CLEARANCE}.typical.unit": "L"},
         f"{CLEARANCE}.typical.unit: must be a flow (volume/time) (in L/h), but L is a unit of"),
        ({f"{CLEARANCE}.typical.unit": None},
         f"{CLEARANCE}.typical: the unit of the number in the file is missing; write for example "
         "`unit: L/h`"),
        ({f"{CLEARANCE}.typical.scale": "logit"},
         f"{CLEARANCE}.typical.scale: is for numbers without dimension, but this is in L/h"),
        ({f"{CLEARANCE}.between_subject.sd": imported("OMEGA(1,1)")},
         f"{CLEARANCE}.between_subject.sd.scale: OMEGA(1,1) is a variance; found "
         '"natural"; allowed: "variance"'),
        ({f"{CLEARANCE}.between_subject.sd.name": "OMEGA(2,1)"},
         "OMEGA(2,1)"),
        ({"correlations": [{"kind": "imported", "of": ["clearance", "absorption_rate"]}]},
         "correlations.0: run12.ext has no covariance of OMEGA(1,1) and OMEGA(3,3); list together "
         "what it has as one block"),
        ({f"{CLEARANCE}.between_subject.sd": 0.3},
         "correlations.0.of.0: has no sd that is imported as a variance; found "
         '"clearance"; write sd:'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(changes, said):
    with pytest.raises(CohortError) as caught:
        read(changed(CONFIG, changes))
    assert said in str(caught.value)


@pytest.fixture
def in_folder(tmp_path) -> Callable[..., Population]:
    """The population of files that are changed by replacing texts, a file's last one each."""

    def in_folder(config: dict[str, Any], **changes: tuple[str, str]) -> Population:
        for name in ("ext", "cov"):
            text = (FILES / f"run12.{name}").read_text()
            if name in changes:
                old, new = changes[name]
                head, found, rest = text.rpartition(old)
                assert found
                text = head + new + rest
            (tmp_path / f"run12.{name}").write_text(text)
        return read(config, tmp_path)

    return in_folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ext": ("  -1000000000  1.02962E+00", "  -1000000000  *********")},
         'estimates.file: run12.ext:13: THETA1 is no number: "*********"'),
        ({"ext": ("  -1000000007  0.00000E+00", "  -1000000007  1.34000E+02")},
         "estimates.file: First Order Conditional Estimation with Interaction did not terminate "
         "successfully (status 134); found run12.ext; mend the run, or state `untrusted: yes`"),
        ({"cov": (" THETA2        2.16000E-03", " THETA2        3.16000E-03")},
         "estimates.covariance: run12.cov:4: THETA2 is 0.00316 with THETA1"),
        ({"ext": ("2.40000E-02", "9.40000E-02")},
         "correlations.0: the covariance matrix of OMEGA(1,1), OMEGA(2,2) is not positive"),
        ({"ext": ("  -1000000000  1.02962E+00  3.46574E+00  1.50000E+00",
                  "  -1000000000  1.02962E+00  3.46574E+00 -1.50000E+00")},
         "population.absorption_rate.typical: must be more than 0, but THETA3 gives; found -1.5; "
         "is it on another scale, such as `scale: log`?"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_told_with_its_line(in_folder, changes, said):
    with pytest.raises(CohortError) as caught:
        in_folder(CONFIG, **changes)
    (line,) = str(caught.value).splitlines()
    assert said in line


def test_a_matrix_that_lacks_an_estimate_is_told(tmp_path):
    (tmp_path / "run12.ext").write_text((FILES / "run12.ext").read_text())
    title, header, *rows = (FILES / "run12.cov").read_text().splitlines()
    place = header.split().index("THETA3")
    kept = [header, *(row for row in rows if row.split()[0] != "THETA3")]
    lines = [" ".join(row.split()[:place] + row.split()[place + 1 :]) for row in kept]
    (tmp_path / "run12.cov").write_text("\n".join([title, *lines]))
    with pytest.raises(CohortError) as caught:
        read(CONFIG, tmp_path)
    assert str(caught.value) == (
        "population.absorption_rate.typical: run12.cov lacks THETA3, which run12.ext has with a "
        "standard error; are they of the same run?"
    )


def test_correlations_of_which_some_are_fixed_are_told(in_folder):
    fixed = (
        "0.00000E+00  0.00000E+00  0.00000E+00  1.00000E+00  1.00000E+00",
        "0.00000E+00  1.00000E+00  0.00000E+00  1.00000E+00  1.00000E+00",
    )
    with pytest.raises(CohortError) as caught:
        in_folder(CONFIG, ext=fixed)
    assert str(caught.value) == (
        "correlations.0: some of these have an uncertainty, and others are fixed or have none; "
        "found OMEGA(2,1); list together what was estimated as one block, or write kind: known"
    )


def test_a_matrix_that_is_none_is_told(tmp_path):
    (tmp_path / "run12.ext").write_text((FILES / "run12.ext").read_text())
    # A covariance larger than its two variances allow, in both places.
    text = (FILES / "run12.cov").read_text().replace("2.16000E-03", "6.16000E-03")
    (tmp_path / "run12.cov").write_text(text)
    with pytest.raises(CohortError) as caught:
        read(CONFIG, tmp_path)
    assert str(caught.value).startswith(
        "estimates.covariance: the covariance matrix of the estimates is not positive definite; "
        "found the first "
    )


def test_a_run_that_did_not_terminate_may_be_used_if_that_is_stated(in_folder):
    stopped = {"ext": ("  -1000000007  0.00000E+00", "  -1000000007  1.34000E+02")}
    population = in_folder(changed(CONFIG, {"estimates.untrusted": True}), **stopped)
    assert any("They are used although" in line for line in population.assumptions)


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path):
    for name in ("run12.ext", "run12.cov"):
        (tmp_path / name).write_text((FILES / name).read_text())
    file = tmp_path / "trial.yaml"
    file.write_text(
        "estimates: {file: run12.ext, covariance: run12.cov}\n"
        "population:\n"
        "  absorption_rate: {typical: {kind: imported, name: THETA3, unit: h}}\n"
        "  clearance: {typical: {kind: imported, name: THETA9, scale: log, unit: L/h}}\n"
        "  central_volume:\n"
        "    typical: {kind: imported, name: THETA2, scale: log, unit: L}\n"
        "    between_subject: {kind: log_normal, sd: {kind: imported, name: 'OMEGA(2,2)'}}\n"
    )
    document = load(file)
    with pytest.raises(ConfigError) as caught:
        population_of(
            document.parse(HierarchySpec), models.get("one_compartment"), {}, document=document
        )
    assert [(p.line, p.field) for p in caught.value.problems] == [
        (3, "population.absorption_rate.typical.unit"),
        (4, "population.clearance.typical.name"),
        (7, "population.central_volume.between_subject.sd.scale"),
    ]


def test_a_cohort_draws_from_it_and_subjects_keep_its_correlations(monkeypatch):
    monkeypatch.chdir(FILES)
    described = changed(CONFIG, {f"{CLEARANCE}.covariates": None})
    spec = CohortSpec.model_validate_json(json.dumps({"described": described}))
    cohort = Cohort.from_spec(spec, model=models.get("one_compartment"))
    typical = cohort.population_parameters(seed=5, draws=4000)
    logs = np.log([typical["typical_clearance"], typical["typical_central_volume"]])
    # Four standard errors.
    assert np.corrcoef(logs)[0, 1] == pytest.approx(0.45, abs=4.0 * 0.8 / math.sqrt(4000))
    assert np.all(
        cohort.population_parameters(seed=5, draws=3)["sd_clearance"] == typical["sd_clearance"][:3]
    )
    numbers = cohort.numbers(5, 1)
    address = (jnp.zeros(4000, int), jnp.zeros(4000, int), jnp.arange(4000))
    subjects, _ = jax.jit(cohort.sample)(numbers, jnp.int32(5), *address)
    effects = np.log([subjects.parameters.clearance, subjects.parameters.central_volume])
    expected = float(typical["correlation_clearance_central_volume"][0])
    assert np.corrcoef(effects)[0, 1] == pytest.approx(expected, abs=4.0 / math.sqrt(4000))
    assert effects[0].std() == pytest.approx(typical["sd_clearance"][0], rel=4.0 / math.sqrt(8000))


def test_editors_get_a_schema_of_it():
    text = json.dumps(json_schema(HierarchySpec))
    assert '"imported"' in text and '"untrusted"' in text
