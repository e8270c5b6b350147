"""Analysis datasets: a run's results as tables in the shape of CDISC's Analysis Data Model.

They hold what a trial would have: each subject under the arm it was given, measured values at the
visits it kept. What only a simulation knows (true values, the outcomes under the other arms) stays
in the results tree. Variables have ADaM's names and at most eight characters; `SIMDRAW`,
`SIMTRIAL` and `SIMSUBJ` are the subject's place in the tree. Days count from 1, the day of the
first dose.

- ADSL: subjects, one row each, of every simulated trial.
- ADEFF: endpoints, one row a subject and endpoint, of every simulated trial.
- ADLB: measured values, one row a subject, visit and measurement.
- ADEX: prescribed doses, one row a subject and visit.

In a crossover a subject has rows in each period, and days within a study count from its first dose.

The last two are of the first trials only (by default one): of hundreds, the tree is the place to
look. Labels and units are in `frame.attrs`, and in the metadata of the parquet files' columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from insilico.config import Name
from trials.adam import (
    Variable,
    coded,
    flag,
    labelled,
    sentence,
    short_names,
    stacked,
    with_unit,
)
from trials.occasions import CODE, LABEL, Occasions, Visits
from trials.study import Study

_TERMS = {
    "ancestry": ("RACE", {"black": "BLACK OR AFRICAN AMERICAN"}),
    "sex": ("SEX", {"female": "F", "male": "M", "unknown": "U"}),
}
"""Categorical covariates that have a controlled terminology, and where it is not the upper case."""

_BASELINES = {
    "age": "AGE",
    "height": "HEIGHTBL",
    "weight": "WEIGHTBL",
    "bmi": "BMIBL",
    "bsa": "BSABL",
}


def adsl(tree: xr.DataTree, study: Study) -> pd.DataFrame:
    """ADSL, the subjects of every simulated trial.

    **Arguments:**

    - `tree`: results with the groups `/subjects` and `/randomisation`; `/endpoints` where kept.
    - `study`: the study they are of.
    """
    config = study.config
    people, randomised = tree["subjects"].to_dataset(), tree["randomisation"].to_dataset()
    who = Occasions.of(tree, study)
    subjects = who.subjects
    # Out of the trial before its end; times count from the start of the first day.
    left, end = randomised["dropout_time"].values.ravel(), who.last_start + config.trial.duration
    discontinued = left < end
    columns = [
        *who.columns(subjects),
        Variable("ARM", "Description of Planned Arm", who.groups(subjects, LABEL)),
        Variable("ARMCD", "Planned Arm Code", who.groups(subjects, CODE)),
        *who.sequence(subjects),
    ]
    for period in range(who.periods):
        here, number = subjects + period, f"{period + 1:02d}"
        columns += [
            Variable(f"TRT{number}P", f"Planned Treatment for Period {number}", who.arms(here)),
            Variable(
                f"TRT{number}PN", f"Planned Treatment for Period {number} (N)", who.arm[here] + 1
            ),
            Variable(f"TRT{number}A", f"Actual Treatment for Period {number}", who.arms(here)),
            Variable(
                f"TRT{number}AN", f"Actual Treatment for Period {number} (N)", who.arm[here] + 1
            ),
        ]
    columns.append(
        Variable("ITTFL", "Intent-To-Treat Population Flag", flag(who.arm[subjects] >= 0))
    )
    if "endpoints" in tree.children:
        solved = who.given(tree["endpoints"].to_dataset()["solved"].values)
        solved = solved.reshape(-1, who.periods).all(axis=1)
        columns.append(Variable("SOLVFL", "Simulated Without Failure Flag", flag(solved)))
    columns += [
        Variable(
            "ENRLDY",
            "Day of Enrolment Since the Trial Opened",
            randomised["enrolment_time"].values.ravel(),
            "d",
        ),
        Variable(
            "EOSSTT",
            "End of Study Status",
            coded(discontinued.astype(int), ("COMPLETED", "DISCONTINUED")),
        ),
        Variable(
            "EOSDY",
            "End of Study Day",
            np.floor(np.minimum(left, end - 1)).astype(np.int32) + 1,
        ),
    ]
    columns += [
        Variable(
            "STRATARN", "Strata Used for Randomization (N)", randomised["stratum"].values.ravel()
        )
    ]
    taken = [column.name for column in columns]
    columns += _covariates(people, study.protocol.vocabulary, taken)
    flags = {
        name: f"{what}: {name.split('_', 1)[1]}"
        for prefix, what in (("factor_", "Stratum"), ("subset_", "Subset of analysis"))
        for name in map(str, randomised.data_vars)
        if name.startswith(prefix)
    }
    taken = [column.name for column in columns]
    short = short_names([name.split("_", 1)[1] for name in flags], taken, suffix="FL")
    columns += [
        Variable(code, label, flag(randomised[name].values.ravel()))
        for code, (name, label) in zip(short, flags.items(), strict=True)
    ]
    return labelled("Subject-Level Analysis Dataset", columns)


def adeff(tree: xr.DataTree, study: Study) -> pd.DataFrame:
    """ADEFF, the endpoints of every subject of every simulated trial.

    `ANL01FL` marks the rows that the trial's analyses use. `CNSR` is 0 for an event and 1 where a
    time was censored, and missing for endpoints that are no time to an event.

    **Arguments:**

    - `tree`: results with the groups `/randomisation` and `/endpoints`.
    - `study`: the study they are of.
    """
    who = Occasions.of(tree, study)
    endpoints = tree["endpoints"].to_dataset()
    solved = who.given(endpoints["solved"].values)
    specs = study.config.endpoints
    codes = short_names(list(specs), [])
    parts = []
    for name in specs:
        parts.append(
            {
                "value": who.given(endpoints[name].values).astype(float),
                "valid": who.given(endpoints[f"{name}_valid"].values) & solved & (who.arm >= 0),
                "event": who.given(endpoints[f"{name}_event"].values)
                if f"{name}_event" in endpoints
                else None,
            }
        )
    rows = who.arm.size
    censored = np.concatenate(
        [
            np.full(rows, np.nan) if part["event"] is None else (~part["event"]).astype(float)
            for part in parts
        ]
    )
    which = np.repeat(np.arange(len(specs)), rows)
    labels = [spec.label or name for name, spec in specs.items()]
    everybody = np.tile(np.arange(rows), len(specs))
    columns = [
        *who.columns(everybody),
        *who.treatment(everybody),
        Variable("PARAMCD", "Parameter Code", coded(which, codes)),
        Variable("PARAM", "Parameter", coded(which, labels)),
        Variable("AVAL", "Analysis Value", np.concatenate([part["value"] for part in parts])),
        Variable("CNSR", "Censor", pd.array(censored, dtype="Int8")),
        Variable(
            "ANL01FL", "Analysis Flag 01", flag(np.concatenate([part["valid"] for part in parts]))
        ),
    ]
    return labelled("Efficacy Analysis Dataset", columns)


def adlb(tree: xr.DataTree, study: Study, trials: int = 1) -> pd.DataFrame:
    """ADLB, the measured values at the visits that were kept.

    The baseline is the last value before the first dose.

    **Arguments:**

    - `tree`: results with the groups `/randomisation` and `/outcomes`.
    - `study`: the study they are of.
    - `trials`: how many simulated trials of each draw of the population, from the first.
    """
    visits = Visits.of(tree, study, trials)
    measured = list(study.protocol.measured)
    codes = short_names(measured, [])
    units = study.protocol.model.quantities("Outputs")
    drug = study.config.drug
    first_dose = drug.first_day - 1 + drug.time_of_day / 24.0
    limits = study.config.visits.quantified_from
    tables = [
        visits.table(
            f"{name}_measured",
            code,
            with_unit(sentence(units[name].description or name), units[name].unit),
            first_dose,
            limits.get(name, np.nan) if limits else None,
        )
        for name, code in zip(measured, codes, strict=True)
    ]
    return labelled("Laboratory Analysis Dataset", stacked(tables))


def adex(tree: xr.DataTree, study: Study, trials: int = 1) -> pd.DataFrame:
    """ADEX, the daily dose that was prescribed at each visit.

    It is what the patient takes from then on, apart from a hold, a single changed dose, or one
    that is not taken.

    Arguments as of `adlb`.
    """
    visits = Visits.of(tree, study, trials)
    label = f"Prescribed daily dose of {study.config.drug.name} (mg)"
    return labelled(
        "Exposure Analysis Dataset", visits.table("daily_dose", "DOSE", label, baseline_before=None)
    )


def datasets(tree: xr.DataTree, study: Study, trials: int = 1) -> dict[str, pd.DataFrame]:
    """The datasets that the kept results allow, by name, in a fixed order.

    Arguments as of `adlb`.
    """
    found = {"adsl": adsl(tree, study)}
    if "endpoints" in tree.children:
        found["adeff"] = adeff(tree, study)
    if "outcomes" in tree.children:
        found["adlb"] = adlb(tree, study, trials)
        found["adex"] = adex(tree, study, trials)
    return found


def _covariates(
    people: xr.Dataset, vocabulary: Mapping[str, Name], taken: Sequence[str]
) -> list[Variable]:
    known = {name: entry for name, entry in vocabulary.items() if name in people}
    standard = {**_BASELINES, **{name: code for name, (code, _) in _TERMS.items()}}
    taken = [*taken, *standard.values(), "AGEU"]
    others = [name for name in known if name not in standard]
    is_flag = {name: known[name].kind == "flag" for name in others}
    plain = short_names([name for name in others if not is_flag[name]], taken)
    flags = short_names([n for n in others if is_flag[n]], [*taken, *plain], suffix="FL")
    codes = dict(standard)
    codes.update(zip([n for n in others if not is_flag[n]], plain, strict=True))
    codes.update(zip([n for n in others if is_flag[n]], flags, strict=True))
    columns = []
    for name, entry in known.items():
        values = people[name].values.ravel()
        label = sentence(entry.description or name)
        match entry.kind:
            case "category":
                special = _TERMS.get(name)
                terms = [
                    special[1].get(text, text.upper()) if special else text
                    for text in entry.categories
                ]
                values = coded(values.astype(int), terms)
            case "flag":
                values = flag(values > 0.5)
        columns.append(Variable(codes[name], label, values, entry.unit))
        if name == "age":
            years = coded(np.zeros(len(values), int), ["YEARS"])
            columns.append(Variable("AGEU", "Age Units", years))
    return columns
