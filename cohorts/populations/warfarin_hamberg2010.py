"""Warfarin patients of Hamberg et al., Clin Pharmacol Ther 2010; 87:727-734.

Clearance of S-warfarin is the sum of what each CYP2C9 allele contributes and falls linearly with
age about 71 years; the concentration of half effect is the sum of what each VKORC1 -1639 allele
contributes. Clearance, volume and half-effect concentration vary between subjects log-normally and
independently; a measured INR scatters about the true one additively on its logarithm.

Every number is in `NUMBERS`, with its unit, where it stands, and whether it was seen there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from cohorts.population import Number, Population, Values
from cohorts.residual import Residual
from cohorts.sites import known, log_normal, normal
from insilico.config import Name, Spec
from insilico.models.warfarin_hamberg2010 import Parameters
from insilico.vocabulary import Value, choose, exp, log, sqrt

if TYPE_CHECKING:
    from jaxtyping import Array, Float

CYP2C9 = ("*1/*1", "*1/*2", "*1/*3", "*2/*2", "*2/*3", "*3/*3")
VKORC1 = ("G/G", "A/G", "A/A")

TABLE_2 = "Table 2 (kinetics)"
TABLE_4 = "Table 4 (dynamics), data set C"
FIXED = "fixed by the authors"

NUMBERS = (
    Number("clearance_1", 0.174, "L/h", "of a *1 allele", TABLE_2, "transcribed", 0.0488),
    Number("clearance_2", 0.0879, "L/h", "of a *2 allele", TABLE_2, "transcribed", 0.15),
    Number("clearance_3", 0.0422, "L/h", "of a *3 allele", TABLE_2, "transcribed", 0.46),
    Number("age_effect", 0.00571, "1/yr", "part of CL lost a year", TABLE_2, "transcribed", 0.578),
    Number("age_centre", 71.0, "yr", "age of the typical CL", TABLE_2, "transcribed"),
    Number("volume", 14.3, "L", "V/F", TABLE_2, "transcribed", 0.0345),
    Number("absorption_rate", 2.0, "1/h", "KA", FIXED, "transcribed"),
    Number("half_effect_g", 2.05, "mg/L", "EC50 of a G allele", TABLE_4, "transcribed", 0.102),
    Number("half_effect_a", 0.96, "mg/L", "EC50 of an A allele", TABLE_4, "transcribed", 0.097),
    Number("hill", 1.15, "1", "gamma", TABLE_4, "transcribed", 0.044),
    Number("transit_time_fast", 28.6, "h", "MTT1", TABLE_4, "transcribed", 0.024),
    Number("transit_time_slow", 118.3, "h", "MTT2", TABLE_4, "transcribed"),
    Number("maximal_effect", 1.0, "1", "Emax", FIXED, "transcribed"),
    Number("maximal_inr_shift", 20.0, "1", "INRmax", FIXED, "transcribed"),
    Number("baseline_inr", 1.0, "1", "INR before treatment", FIXED, "unverified"),
    Number("spread_clearance", 0.089, "1", "between subjects, CL", TABLE_2, "unverified"),
    Number("spread_volume", 0.054, "1", "between subjects, V", TABLE_2, "unverified"),
    Number("spread_half_effect", 0.34, "1", "between subjects, EC50", TABLE_4, "unverified"),
    Number("spread_elimination", 0.589, "1", "between subjects, KDE", TABLE_4, "unverified"),
    Number(
        "spread_half_effect_given_kinetics",
        0.24,
        "1",
        "between subjects, EC50, where kinetics vary by themselves",
        "Augustin et al., Front Pharmacol 2023; 14:1270443, code; another column of Table 4?",
        "unverified",
    ),
    Number("residual_inr", 0.20, "1", "residual error of ln INR", TABLE_4, "unverified"),
)
"""The numbers used. The paper's tables were read in other people's code that transcribes them, not
in the paper; relative standard errors come from one transcription only."""

HYPERPARAMETERS = {
    number.name: {"value": number.value, "error": number.relative_standard_error}
    for number in NUMBERS
}
"""Values and relative standard errors of the numbers, by name."""

SIGNED = ("age_effect",)
"""Numbers whose uncertainty is drawn on their own scale; all others stay above zero."""


class Options(Spec):
    """Choices that the source leaves open.

    `spread` says how the published between-subject numbers are read; it matters, because the dose a
    patient needs varies as CL x EC50:

    - `reconciled`: CL and V as variances (30 % and 23 %, as in the same group's model of 2007),
      EC50 24 %. Doses needed by patients of one genotype and age then vary by 0.38 on the log
      scale; 0.36 to 0.41 is what stable patients of the IWPC cohort show.
    - `kinetic_dynamic`: the paper's final model to the letter. It was fitted to dose and INR alone:
      EC50 34 % and the elimination rate 59 %, clearance not by itself. Doses vary by 0.34.
    - `standard_deviation`: every number as a standard deviation (CL 9 %, V 5 %, EC50 34 %): 0.35.
    - `variance`: every number as a variance (30 %, 23 %, 58 %): 0.65, far beyond what is observed.
    """

    spread: Literal["reconciled", "kinetic_dynamic", "standard_deviation", "variance"] = Field(
        default="reconciled", description="how the published between-subject spreads are read"
    )
    residual: Literal["standard_deviation", "variance"] = Field(
        default="standard_deviation",
        description="how the published residual error of ln INR is read",
    )
    parameter_uncertainty: Literal["none", "published"] = Field(
        default="none",
        description="keep the typical values, or draw them with their published standard errors",
    )


class TypicalValues(NamedTuple):
    """Parameters of the population: scalars, in the units of `NUMBERS`."""

    clearance_1: Float[Array, ""]
    clearance_2: Float[Array, ""]
    clearance_3: Float[Array, ""]
    age_effect: Float[Array, ""]
    age_centre: Float[Array, ""]
    volume: Float[Array, ""]
    absorption_rate: Float[Array, ""]
    half_effect_g: Float[Array, ""]
    half_effect_a: Float[Array, ""]
    hill: Float[Array, ""]
    transit_time_fast: Float[Array, ""]
    transit_time_slow: Float[Array, ""]
    maximal_effect: Float[Array, ""]
    maximal_inr_shift: Float[Array, ""]
    baseline_inr: Float[Array, ""]
    sd_clearance: Float[Array, ""]
    """Standard deviation of the logarithm between subjects, as are the next two."""
    sd_volume: Float[Array, ""]
    sd_half_effect: Float[Array, ""]
    residual_sd_inr: Float[Array, ""]
    """Standard deviation of a measured ln INR about the true one."""


def typical_values(options: Options, hyperparameters: Mapping[str, Any]) -> TypicalValues:
    """NumPyro model of the population's parameters.

    With `parameter_uncertainty: published` each estimate is drawn with its relative standard error,
    log-normally about the published value (the age effect normally). The paper's correlations of
    the estimates are not known, so they are drawn independently.
    """
    published = [name for name in TypicalValues._fields if name in hyperparameters]
    values = {name: _typical(name, **hyperparameters[name], options=options) for name in published}
    for name, sd in _spread(options, hyperparameters).items():
        values[name] = known(name, sd)
    return TypicalValues(**values)


def _spread(options: Options, hyperparameters: Mapping[str, Any]) -> dict[str, Value]:
    """Standard deviations on the log scale, as the options read the published numbers."""
    number = {name: own["value"] for name, own in hyperparameters.items()}
    clearance, volume = number["spread_clearance"], number["spread_volume"]
    half_effect = number["spread_half_effect"]
    if options.spread == "reconciled":
        clearance, volume = sqrt(clearance), sqrt(volume)
        half_effect = number["spread_half_effect_given_kinetics"]
    elif options.spread == "kinetic_dynamic":
        # At a given clearance the elimination rate varies as the volume does.
        clearance, volume = 0.0, number["spread_elimination"]
    elif options.spread == "variance":
        clearance, volume, half_effect = map(sqrt, (clearance, volume, half_effect))
    residual = number["residual_inr"]
    return {
        "sd_clearance": clearance,
        "sd_volume": volume,
        "sd_half_effect": half_effect,
        "residual_sd_inr": sqrt(residual) if options.residual == "variance" else residual,
    }


def _typical(name: str, value: Value, error: Value | None, options: Options) -> Float[Array, ""]:
    if options.parameter_uncertainty == "none" or error is None:
        return known(name, value)
    if name in SIGNED:
        return normal(name, value, error * value)
    return log_normal(name, value, sqrt(log(1.0 + error * error)))


def individual(
    typical: TypicalValues, covariates: Values, options: Options, hyperparameters: Mapping[str, Any]
) -> Parameters:
    """NumPyro model of one subject's parameters, elementwise over subjects in a plate.

    `covariates` has `age` (yr), `cyp2c9` and `vkorc1` (codes of `CYP2C9` and `VKORC1`).
    """
    by_cyp2c9 = {"*1": typical.clearance_1, "*2": typical.clearance_2, "*3": typical.clearance_3}
    by_vkorc1 = {
        "G": typical.half_effect_g,
        "A": typical.half_effect_a,
    }
    ageing = 1.0 - typical.age_effect * (covariates["age"] - typical.age_centre)
    varies = options.spread != "kinetic_dynamic"
    eta_clearance = normal("eta_clearance", 0.0, typical.sd_clearance) if varies else 0.0
    eta_volume = normal("eta_volume", 0.0, typical.sd_volume)
    eta_half_effect = normal("eta_half_effect", 0.0, typical.sd_half_effect)
    clearance = _sum_of_alleles(CYP2C9, by_cyp2c9, covariates["cyp2c9"]) * ageing
    half_effect = _sum_of_alleles(VKORC1, by_vkorc1, covariates["vkorc1"])
    same = 1.0 + 0.0 * clearance
    return Parameters(
        clearance=clearance * exp(eta_clearance),
        volume=typical.volume * exp(eta_volume),
        absorption_rate=typical.absorption_rate * same,
        transit_rate_fast=3.0 / typical.transit_time_fast * same,
        transit_rate_slow=3.0 / typical.transit_time_slow * same,
        half_effect_concentration=half_effect * exp(eta_half_effect),
        hill=typical.hill * same,
        maximal_effect=typical.maximal_effect * same,
        maximal_inr_shift=typical.maximal_inr_shift * same,
        baseline_inr=typical.baseline_inr * same,
    )


def _sum_of_alleles(
    genotypes: tuple[str, ...], by_allele: dict[str, Float[Array, ""]], code: Value
) -> Value:
    pairs = [genotype.split("/") for genotype in genotypes]
    return choose(code, *(by_allele[first] + by_allele[second] for first, second in pairs))


POPULATION = Population(
    name="warfarin_hamberg2010",
    title="Warfarin patients in Sweden: CYP2C9, VKORC1 and age",
    citation=(
        "Hamberg AK, Wadelius M, Lindh JD, et al. A pharmacometric model describing the "
        "relationship between warfarin dose and INR response with respect to variations in "
        "CYP2C9, VKORC1, and age. Clin Pharmacol Ther 2010; 87:727-734."
    ),
    model="warfarin_hamberg2010",
    covariates={
        "age": Name("number", unit="yr", description="age"),
        "cyp2c9": Name("category", categories=CYP2C9, description="CYP2C9 genotype"),
        "vkorc1": Name("category", categories=VKORC1, description="VKORC1 -1639 genotype"),
    },
    Options=Options,
    typical_values=typical_values,
    individual=individual,
    residual={"inr": Residual("log_additive", "residual_sd_inr")},
    numbers=NUMBERS,
    hyperparameters=HYPERPARAMETERS,
    assumptions=(
        "Half of a racemic dose is S-warfarin; clearance and volume are apparent (F = 1).",
        "Random effects are independent: published correlations, if any, are not known.",
        "CYP2C9 alleles beyond *2 and *3 count as *1; weight and amiodarone have no effect.",
        "Baseline INR is 1 for everybody (the paper used the measured one).",
    ),
    validated=(
        "Typical doses for INR 2.5 at age 71 agree with the same group's table of 2007 to 12 %.",
        "Spread of stable doses given genotype and age agrees with the IWPC cohort (test).",
    ),
    limits=(
        "Stable doses of the IWPC cohort are about 20 % below the model's for INR 2.5.",
        "Fitted to Swedish, nearly all White patients; ancestry acts through genotype alone.",
        "The paper's own tables were not seen; see the status of each number.",
    ),
)
