"""Estimate the joint covariate model of warfarin patients from the IWPC cohort.

    uv run python scripts/estimate_covariates.py iwpc.csv [--output FILE] [--check]

Reads the patient table of the International Warfarin Pharmacogenetics Consortium (PharmGKB
PS206767, one patient a row) and writes numbers only: tables, regressions and how many patients
stand behind each. `--check` then samples the written model and prints it beside the data.

The model is a chain, each step given what came before:

    ancestry x sex x age   log-linear table with all two-way terms
    VKORC1, CYP2C9         table given ancestry
    height, weight         regressions on ancestry, sex, age; correlated residuals
    indication             multinomial regression on ancestry, sex, age, weight
    diabetes, smoker, ...  logistic regressions on all of the former and on each other, in order

Every step uses the patients who have what that step needs (available cases). A site whose record
of a drug or disease has no patient *without* it did not collect it, and is left out of that step.
"""

# pandas types most of its results as unions, so its attributes cannot be checked:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
# pyright: reportCallIssue=false, reportGeneralTypeIssues=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false

import argparse
import datetime
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize

OUTPUT = Path(__file__).parents[1] / "cohorts" / "covariates" / "iwpc2009.json"

ANCESTRY = {
    "White": "white",
    "Black or African American": "black",
    "Asian": "asian",
    "Unknown": "other",
}
SEX = ("female", "male")
VKORC1 = ("G/G", "A/G", "A/A")
CYP2C9 = ("*1/*1", "*1/*2", "*1/*3", "*2/*2", "*2/*3", "*3/*3")
AGE_EDGES = (18.0, *np.arange(20.0, 91.0, 10.0).tolist(), 95.0)
"""The data's decades; the first cut at 18 years, the last (90+) closed at 95."""

INDICATION_BY_PRECEDENCE = (
    ("4", "heart_valve"),
    ("3", "atrial_fibrillation"),
    ("2", "pe"),
    ("1", "dvt"),
    ("5", "cardiomyopathy"),
    ("6", "stroke_indication"),
    ("7", "orthopedic"),
    ("8", "other"),
)
"""A patient with several indications counts under the first of these: the valve decides the target
INR, an embolism includes its thrombosis, and `other` says least."""
INDICATIONS = (
    "atrial_fibrillation",
    "dvt",
    "pe",
    "heart_valve",
    "cardiomyopathy",
    "stroke_indication",
    "orthopedic",
    "other",
)
FLAGS = {
    "diabetes": ("Diabetes",),
    "smoker": ("Current Smoker",),
    "amiodarone": ("Amiodarone (Cordarone)",),
    "enzyme_inducer": (
        "Carbamazepine (Tegretol)",
        "Phenytoin (Dilantin)",
        "Rifampin or Rifampicin",
    ),
    "fluvastatin": ("Fluvastatin (Lescol)",),
}
"""In the order of the chain; an enzyme inducer is any of the three."""

DESCRIPTIONS = {
    "ancestry": "race as reported, OMB categories; other includes unknown",
    "sex": "sex",
    "age": "age",
    "vkorc1": "VKORC1 -1639 G>A genotype (rs9923231)",
    "cyp2c9": "CYP2C9 genotype, alleles *1, *2 and *3",
    "height": "body height",
    "weight": "body weight",
    "indication": "indication for warfarin, one a patient",
    "diabetes": "has diabetes",
    "smoker": "smokes now",
    "amiodarone": "takes amiodarone",
    "enzyme_inducer": "takes carbamazepine, phenytoin or rifampin",
    "fluvastatin": "takes fluvastatin",
}

NOTES = [
    "Ancestry is the site's OMB race; 'Unknown' (half of it one Brazilian site) is `other`.",
    "VKORC1 is the consensus of -1639 G>A; patients typed only elsewhere in the gene are left out.",
    "CYP2C9 alleles beyond *1, *2, *3 (five patients) are left out.",
    "Genotypes are drawn independently of each other and of sex and age, given ancestry.",
    "Of several indications the first of: heart valve, atrial fibrillation, PE, DVT, "
    + "cardiomyopathy, stroke, orthopaedic, other. '1 or 2' is split as the known DVT and PE.",
    "Available cases; a site counts for a drug or disease if it recorded anyone without it.",
    "Predictors: age = (years - 65) / 10; log_weight = ln(kg / 75) / 0.25.",
    "Regressions: normal(0, 1) prior on coefficients, none on intercepts. A flag enters those "
    + "after it where its likelihood ratio is beyond 3.84.",
]

PRIOR_SD = 1.0
"""Coefficients of the regressions have a normal(0, 1) prior (intercepts none), on predictors that
are 0/1 or about one standard deviation a unit. Every level of a category has its own coefficient,
so a rare level shrinks towards the average of all, not towards an arbitrary reference level. Of
0.3, 0.5, 1, 2.5 and 5 this had the best or nearly the best ten-fold cross-validated likelihood."""
RARE = 50
"""A flag of fewer patients gets no terms but ancestry, sex and age: five take fluvastatin."""
PSEUDO_PATIENTS = 1.0
"""Added to each ancestry's tables: one patient spread in Hardy-Weinberg proportions of the
ancestry's own alleles (genotypes), or as the whole cohort (sex x age). What was never seen stays
very rare and is not impossible."""


def read_patients(path: Path) -> pd.DataFrame:
    """The cohort with this program's names; NaN where not recorded."""
    raw = pd.read_csv(path)
    patients = pd.DataFrame(
        {
            "site": raw["Project Site"],
            "ancestry": raw["Race (OMB)"].map(ANCESTRY),
            "sex": raw["Gender"].where(raw["Gender"].isin(SEX)),
            "decade": raw["Age"].str.extract(r"^(\d+)")[0].astype(float),
            "height": raw["Height (cm)"],
            "weight": raw["Weight (kg)"],
            "vkorc1": raw["VKORC1 -1639 consensus"],
            "cyp2c9": raw["CYP2C9 consensus"].where(raw["CYP2C9 consensus"].isin(CYP2C9)),
            "indication": raw["Indication for Warfarin Treatment"].map(_indication),
        }
    )
    patients["age"] = np.where(patients["decade"] == 90, 92.5, patients["decade"] + 5.0)
    for name, columns in FLAGS.items():
        record = raw[list(columns)]
        yes, no = (record == 1).any(axis=1), (record == 0).all(axis=1)
        flag = pd.Series(np.where(yes, 1.0, np.where(no, 0.0, np.nan)), raw.index)
        collected = patients["site"].map((flag == 0).groupby(patients["site"]).any())
        patients[name] = flag.where(collected)
    return patients


def _indication(codes: object) -> str | None:
    if not isinstance(codes, str):
        return None
    if codes == "1 or 2":
        return "dvt or pe"
    named = {code.strip() for code in codes.split(";")}
    return next((name for code, name in INDICATION_BY_PRECEDENCE if code in named), None)


def ancestry_sex_age(patients: pd.DataFrame) -> dict:
    """Log-linear table with all two-way terms, fitted by iterative proportional fitting.

    The three-way term is left out: its likelihood ratio is printed by `--check`.
    """
    counts, known = _count_table(patients)
    everyone = counts.sum(axis=0) / counts.sum()
    smoothed = counts + PSEUDO_PATIENTS * everyone
    fitted = _all_two_way(smoothed)
    adults = fitted.copy()
    adults[..., 0] *= (AGE_EDGES[1] - AGE_EDGES[0]) / 10.0
    return {
        "patients": known,
        "model": "log-linear, all two-way terms; uniform within an age bin",
        "smoothing": "one patient an ancestry, spread over sex and age as the whole cohort",
        "age_edges": list(AGE_EDGES),
        "probabilities": _round(adults / adults.sum(), 7),
        "three_way_chi_square": round(float(_deviance(counts, _all_two_way(smoothed))), 1),
        "limits": (
            "Adults from 18 years: of the bin 10-19 years the share 2/10 is kept, as if its "
            "patients were spread evenly. The bin 90+ is taken as 90 to 95 years."
        ),
    }


def _count_table(patients: pd.DataFrame) -> tuple[np.ndarray, int]:
    known = patients.dropna(subset=["ancestry", "sex", "decade"])
    counts = np.zeros((len(ANCESTRY), len(SEX), len(AGE_EDGES) - 1))
    np.add.at(
        counts,
        (
            known["ancestry"].map(list(ANCESTRY.values()).index).to_numpy(),
            known["sex"].map(SEX.index).to_numpy(),
            (known["decade"] / 10 - 1).astype(int).to_numpy(),
        ),
        1.0,
    )
    return counts, len(known)


def _deviance(counts: np.ndarray, fitted: np.ndarray) -> float:
    fitted = fitted * counts.sum() / fitted.sum()
    return 2.0 * (counts * np.log(np.where(counts > 0, counts, fitted) / fitted)).sum()


def _all_two_way(table: np.ndarray) -> np.ndarray:
    fitted = np.full_like(table, table.mean())
    for _ in range(1000):
        before = fitted
        for axis in range(3):
            fitted = fitted * (table.sum(axis, keepdims=True) / fitted.sum(axis, keepdims=True))
        if np.abs(fitted - before).max() < 1e-10:
            return fitted
    raise RuntimeError("iterative proportional fitting did not converge")


def genotype(patients: pd.DataFrame, gene: str, genotypes: tuple[str, ...]) -> dict:
    """Table of genotypes given ancestry, one patient's weight in Hardy-Weinberg proportions."""
    probabilities, counts = [], []
    for ancestry in ANCESTRY.values():
        values = patients.loc[patients["ancestry"] == ancestry, gene].dropna()
        seen = np.array([(values == g).sum() for g in genotypes], float)
        smoothed = seen + PSEUDO_PATIENTS * _hardy_weinberg(genotypes, seen)
        probabilities.append(_round(smoothed / smoothed.sum(), 8))
        counts.append(int(seen.sum()))
    return {
        "name": gene,
        "categories": list(genotypes),
        "given": "ancestry",
        "patients": counts,
        "smoothing": "one patient an ancestry in Hardy-Weinberg proportions of its own alleles",
        "probabilities": probabilities,
    }


def _hardy_weinberg(genotypes: tuple[str, ...], counts: np.ndarray) -> np.ndarray:
    pairs = [g.split("/") for g in genotypes]
    alleles = sorted({a for pair in pairs for a in pair})
    # Half an allele more each: an allele unseen in an ancestry is rare there, not absent.
    number = {
        a: 0.5 + sum(n * p.count(a) for n, p in zip(counts, pairs, strict=True)) for a in alleles
    }
    total = sum(number.values())
    expected = [(2 - (a == b)) * number[a] * number[b] / total**2 for a, b in pairs]
    return np.array(expected)


def body_size(patients: pd.DataFrame) -> dict:
    """Height and Box-Cox transformed weight, linear in ancestry, sex and age.

    The residual's standard deviation differs by ancestry and sex, its correlation by ancestry.
    """
    terms = [
        *[f"ancestry={a}:sex={s}" for a in ANCESTRY.values() for s in SEX],
        "age",
        "age^2",
        *[f"ancestry={a}:age" for a in ("black", "asian", "other")],
        "sex=male:age",
    ]
    known = patients.dropna(subset=["ancestry", "sex", "age"])
    groups = known["ancestry"] + known["sex"]

    height = known["height"].dropna()
    height_fit = _linear(known.loc[height.index], terms, height.to_numpy(), groups[height.index])
    weight = known["weight"].dropna()
    power = _box_cox_power(known.loc[weight.index], terms, weight.to_numpy(), groups[weight.index])
    transformed = _box_cox(weight.to_numpy(), power)
    weight_fit = _linear(known.loc[weight.index], terms, transformed, groups[weight.index])

    both = height_fit["standardised"].index.intersection(weight_fit["standardised"].index)
    pairs = pd.DataFrame(
        {"h": height_fit["standardised"][both], "w": weight_fit["standardised"][both]}
    )
    correlation = [
        round(float(pairs[known.loc[both, "ancestry"] == a].corr().iloc[0, 1]), 4)
        for a in ANCESTRY.values()
    ]
    return {
        "residuals": "normal, cut at 3.5 standard deviations",
        "residual_cut": 3.5,
        "height": {
            "unit": "cm",
            "patients": len(height),
            "coefficients": height_fit["coefficients"],
            "residual_sd": height_fit["residual_sd"],
        },
        "weight": {
            "unit": "kg",
            "patients": len(weight),
            "transformation": "Box-Cox of weight / 75 kg: (x^power - 1) / power",
            "power": power,
            "coefficients": weight_fit["coefficients"],
            "residual_sd": weight_fit["residual_sd"],
        },
        "residual_correlation": {"given": "ancestry", "values": correlation, "patients": len(both)},
    }


def _box_cox(weight: np.ndarray, power: float) -> np.ndarray:
    return ((weight / 75.0) ** power - 1.0) / power


def _box_cox_power(known: pd.DataFrame, terms: list, weight: np.ndarray, groups) -> float:
    """The power of the largest likelihood on a grid of quarters, 0 left out (it is the log)."""

    def log_likelihood(power: float) -> float:
        fit = _linear(known, terms, _box_cox(weight, power), groups)
        return -np.log(fit["sd"]).sum() + (power - 1.0) * np.log(weight / 75.0).sum()

    return max((-1.0, -0.75, -0.5, -0.25, 0.25, 0.5), key=log_likelihood)


def _linear(known: pd.DataFrame, terms: list[str], response: np.ndarray, groups: pd.Series) -> dict:
    design = _design(known, terms)
    coefficients, *_ = np.linalg.lstsq(design, response, rcond=None)
    residual = pd.Series(response - design @ coefficients, known.index)
    by_group = residual.groupby(groups).std()
    sd = groups.map(by_group)
    return {
        "coefficients": dict(zip(terms, _round(coefficients, 6), strict=True)),
        "residual_sd": [[round(float(by_group[a + s]), 5) for s in SEX] for a in ANCESTRY.values()],
        "standardised": residual / sd,
        "sd": sd.to_numpy(),
    }


def regression(patients: pd.DataFrame, name: str, categories: tuple, terms: list[str]) -> dict:
    """Penalised multinomial (two categories: logistic) regression; see `PRIOR_SD`."""
    needed = {factor.split("=")[0].split("^")[0] for t in terms for factor in t.split(":")}
    columns = ["weight" if column == "log_weight" else column for column in needed]
    known = patients.dropna(subset=[name, *columns])
    target, weight, rows = _targets(known, name, categories)
    design = _design(known.iloc[rows], ["1", *terms])
    free = 1 if len(categories) == 2 else len(categories)
    penalty = np.full((design.shape[1], free), 1.0 / PRIOR_SD**2)
    penalty[0] = 0.0 if free == 1 else 1e-6

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        beta = flat.reshape(-1, free)
        scores = design @ beta
        if free == 1:
            scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
        scores = scores - scores.max(axis=1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        error = weight[:, None] * (np.exp(log_p) - np.eye(len(categories))[target])
        gradient = design.T @ error[:, -free:] + penalty * beta
        value = -(weight * log_p[np.arange(len(target)), target]).sum()
        return value + 0.5 * (penalty * beta**2).sum(), gradient.ravel()

    start = np.zeros(design.shape[1] * free)
    fit = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-14}
    )
    if not fit.success:
        raise RuntimeError(f"the regression of {name} did not converge: {fit.message}")
    beta = fit.x.reshape(-1, free)
    counts = {str(c): round(float(weight[target == k].sum()), 1) for k, c in enumerate(categories)}
    return {
        "name": name,
        "categories": [str(c) for c in categories],
        "patients": len(known),
        "counts": counts,
        "loss": round(float(fit.fun), 3),
        "coefficients": {t: _round(beta[k], 5) for k, t in enumerate(["1", *terms])},
    }


def _related(patients: pd.DataFrame, name: str, terms: list[str], earlier: list[str]) -> list[str]:
    """The earlier flags that matter, given `terms`: likelihood ratio beyond chi-square's 95 %.

    A flag that does not would only cost the patients who lack a record of it.
    """
    related = []
    for flag in earlier:
        known = patients.dropna(subset=[flag])
        without, with_flag = (
            regression(known, name, ("no", "yes"), t)["loss"] for t in (terms, [*terms, flag])
        )
        if 2.0 * (without - with_flag) > 3.84:
            related.append(flag)
    return related


def _targets(known: pd.DataFrame, name: str, categories: tuple):
    """Category numbers, weights and row numbers; `dvt or pe` is split as the known ones are."""
    values = known[name].to_numpy()
    rows = np.arange(len(values))
    if name != "indication":
        return (values == 1).astype(int), np.ones(len(values)), rows
    unclear = rows[values == "dvt or pe"]
    dvt, pe = (values == "dvt").sum(), (values == "pe").sum()
    clear = rows[values != "dvt or pe"]
    target = [categories.index(v) for v in values[clear]]
    target += [categories.index("dvt")] * len(unclear) + [categories.index("pe")] * len(unclear)
    weight = np.concatenate(
        [
            np.ones(len(clear)),
            np.full(len(unclear), dvt / (dvt + pe)),
            np.full(len(unclear), pe / (dvt + pe)),
        ]
    )
    return np.array(target), weight, np.concatenate([clear, unclear, unclear])


def _design(known: pd.DataFrame, terms: list[str]) -> np.ndarray:
    """Columns of the terms; the same small language as `cohorts.covariates` reads."""
    columns = []
    for term in terms:
        column = np.ones(len(known))
        for factor in term.split(":"):
            if factor == "1":
                continue
            base, _, exponent = factor.partition("^")
            name, _, level = base.partition("=")
            if level:
                value = (known[name] == level).to_numpy(float)
            elif name == "age":
                value = (known["age"].to_numpy() - 65.0) / 10.0
            elif name == "log_weight":
                value = np.log(known["weight"].to_numpy() / 75.0) / 0.25
            else:
                value = known[name].to_numpy(float)
            column = column * value ** (int(exponent) if exponent else 1)
        columns.append(column)
    return np.stack(columns, axis=1)


def _round(values: np.ndarray, digits: int) -> list:
    return np.round(np.asarray(values, float), digits).tolist()


def estimate(patients: pd.DataFrame) -> dict:
    ancestry = [f"ancestry={a}" for a in ANCESTRY.values()]
    person = [*ancestry, "sex=male", "age", "age^2"]
    indication = [f"indication={i}" for i in INDICATIONS]
    regressions = [
        regression(
            patients,
            "indication",
            INDICATIONS,
            [*person, "sex=male:age", *[f"{a}:age" for a in ancestry], "log_weight"],
        )
    ]
    earlier: list[str] = []
    for name in FLAGS:
        terms = person
        if patients[name].sum() >= RARE:
            terms = [*person, *indication, "log_weight"]
            terms += _related(patients, name, terms, earlier)
        regressions.append(regression(patients, name, ("no", "yes"), terms))
        earlier.append(name)
    return {
        "name": "iwpc2009",
        "title": "Warfarin patients of the International Warfarin Pharmacogenetics Consortium",
        "source": "IWPC 2009 NEJM 360:753; PharmGKB; CC BY-SA 4.0",
        "estimated": datetime.date.today().isoformat(),
        "patients": len(patients),
        "notes": NOTES,
        "descriptions": DESCRIPTIONS,
        "ancestry": list(ANCESTRY.values()),
        "sex": list(SEX),
        "ancestry_sex_age": ancestry_sex_age(patients),
        "genotypes": [
            genotype(patients, "vkorc1", VKORC1),
            genotype(patients, "cyp2c9", CYP2C9),
        ],
        "body_size": body_size(patients),
        "regressions": regressions,
    }


def check(patients: pd.DataFrame) -> None:
    """Print the written model beside the data: each covariate by ancestry, and pairs of them."""
    data = patients[(patients["decade"] >= 20) & (patients["indication"] != "dvt or pe")]
    tables = [_with_derived(data), _with_derived(_virtual_patients(400_000))]
    ratio = ancestry_sex_age(patients)["three_way_chi_square"]
    print(f"three-way term left out: likelihood ratio {ratio} on 24 degrees of freedom")

    quantiles = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    for name in ("age", "height", "weight", "bmi"):
        _print_beside(name, tables, "ancestry", lambda t, n=name: t[n].quantile(quantiles))
    _print_beside("Spearman's correlation", tables, "ancestry", _correlations)
    for name in ("sex", "decade", "vkorc1", "cyp2c9", "indication"):
        _print_beside(f"{name}, %", tables, "ancestry", lambda t, n=name: _percentages(t[n]))
    for by in ("ancestry", "sex", "decade", "diabetes", "indication"):
        flags = [flag for flag in FLAGS if flag != by]
        _print_beside("flags, %", tables, by, lambda t, f=flags: 100 * t[f].mean())
    for by in ("sex", "decade", "diabetes", "smoker"):
        _print_beside("indication, %", tables, by, lambda t: _percentages(t["indication"]))


def _virtual_patients(size: int) -> pd.DataFrame:
    import jax

    from cohorts import covariates

    model = covariates.get("iwpc2009")
    keys = jax.random.split(jax.random.key(1), size)
    drawn = model.sample(keys, covariates.state_marginals(model))
    virtual = pd.DataFrame({name: np.asarray(values) for name, values in drawn.items()})
    for name, levels in model.categories.items():
        if levels != ("no", "yes"):
            virtual[name] = np.asarray(levels)[virtual[name]]
    virtual["decade"] = virtual["age"] // 10 * 10
    return virtual[virtual["age"] >= 20]


def _with_derived(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(bmi=table["weight"] / (table["height"] / 100) ** 2)


def _percentages(values: pd.Series) -> pd.Series:
    return 100 * values.value_counts(normalize=True)


def _correlations(table: pd.DataFrame) -> pd.Series:
    pairs = [("age", "height"), ("age", "weight"), ("age", "bmi"), ("height", "weight")]
    return pd.Series({f"{a}~{b}": table[a].corr(table[b], "spearman") for a, b in pairs})


def _print_beside(title: str, tables: list[pd.DataFrame], by: str, summary: Callable) -> None:
    """`summary` of the data and of the model, for everybody and for each level of `by`."""
    print(f"\n{title} by {by}: data | model")
    levels = sorted(tables[0][by].dropna().unique())
    for level in ["all", *levels]:
        of_data, of_model = (
            summary(table if level == "all" else table[table[by] == level]) for table in tables
        )
        shared = [key for key in of_model.index if key in of_data.index]
        print(f"  {level!s:20s}", *(f"{k} {of_data[k]:.3g}|{of_model[k]:.3g}" for k in shared))


def main() -> None:
    parser = argparse.ArgumentParser(description="Estimate the joint covariate model.")
    parser.add_argument("data", type=Path, help="the IWPC patient table (csv)")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--check", action="store_true", help="print the model beside the data")
    arguments = parser.parse_args()
    patients = read_patients(arguments.data)
    arguments.output.write_text(json.dumps(estimate(patients), indent=1) + "\n")
    print(f"wrote {arguments.output}")
    if arguments.check:
        check(patients)


if __name__ == "__main__":
    main()
