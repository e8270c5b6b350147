"""A data set simulated by others, fitted by NUTS: the parameters that made it are found.

Schoemaker R, Fidler M, Laveille C, et al. Performance of the SAEM and FOCEI algorithms in the open-
source, nonlinear mixed effect modeling tool nlmixr. CPT Pharmacometrics Syst Pharmacol. 2019;8:923:
120 subjects at four doses; each row holds its subject's own true parameters. Every third subject is
fitted, or every sixth, where a fit takes longer: of all four doses. The truth is what these
subjects' own parameters give: a fit cannot know that others were meant.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cohorts.data import DataSpec, read_patients
from cohorts.diagnosis import judge
from cohorts.hierarchy import HierarchySpec, population_of
from cohorts.inference import Joint, Sampling, sample
from cohorts.inference.numpyro_model import model_of
from cohorts.inference.parameterisation import centring
from insilico import models

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "pkpd"
RESIDUAL = 0.2
"""Standard deviation of the proportional error, which the paper states."""

ORAL = {
    "absorption_rate": ("KA", "1 1/h"),
    "clearance": ("CL", "4 L/h"),
    "central_volume": ("V", "70 L"),
}
BOLUS = {
    "clearance": ("CL", "4 L/h"),
    "central_volume": ("V1", "70 L"),
    "intercompartmental_clearance": ("Q", "4 L/h"),
    "peripheral_volume": ("V2", "40 L"),
}
# SS and II are no data items of the simulation, and CMT says where the model's output was.
TABLE = {
    "columns": {
        "subject": "ID",
        "time": "TIME",
        "event": "EVID",
        "amount": "AMT",
        "measured": "DV",
        "missing": "MDV",
        "compartment": None,
        "steady": None,
        "interval": None,
    },
    "units": {"time": "h", "amount": "ug"},
    "outputs": {"concentration": {"unit": "ug/L"}},
}


def population(columns: dict[str, tuple[str, str]]) -> HierarchySpec:
    """Priors a factor of 2.7 wide either way, which know little of the truth."""
    parameters: dict[str, Any] = {
        name: {
            "typical": {"kind": "log_normal", "median": median, "sd": 1.0},
            "between_subject": {"kind": "log_normal", "sd": {"kind": "half_normal", "scale": 0.5}},
        }
        for name, (_, median) in columns.items()
    }
    # Nothing is ever in the depot of who is given boluses.
    parameters = {"absorption_rate": {"typical": "1 1/h"}} | parameters
    residual = {"kind": "proportional", "sd": {"kind": "half_normal", "scale": 0.5}}
    content = {"population": parameters, "residual": {"concentration": residual}}
    return HierarchySpec.model_validate_json(json.dumps(content))


def truth(frame: pd.DataFrame, columns: dict[str, tuple[str, str]]) -> dict[str, float]:
    """Geometric mean, and standard deviation of the logarithm, of the subjects' own parameters."""
    own = frame.groupby("ID").first()
    found = {"residual_sd_concentration": RESIDUAL}
    for name, (column, _) in columns.items():
        logarithm = np.log(own[column])
        found[f"typical_{name}"] = float(np.exp(logarithm.mean()))
        found[f"sd_{name}"] = float(logarithm.std())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "model", "into", "columns", "every"),
    [
        ("Oral_1CPT_sim.csv", "one_compartment", "depot", ORAL, 3),
        ("Bolus_2CPT_sim.csv", "two_compartment", "central", BOLUS, 6),
    ],
)
def test_what_made_a_simulated_set_is_recovered(
    file: str, model: str, into: str, columns: dict[str, tuple[str, str]], every: int
) -> None:
    if not (FOLDER / file).exists():
        pytest.skip(f"the simulated data are not there: {file} in ../shared/data/pkpd")
    frame = pd.read_csv(FOLDER / file).query(f"ID % {every} == 1")
    assert frame.ID.nunique() == 120 // every and frame.DOSE.nunique() == 4
    spec = DataSpec.model_validate_json(json.dumps({"file": file, "doses_into": into, **TABLE}))
    structural = models.get(model)
    patients = read_patients(structural, spec, frame)
    joint, data = Joint.of(population_of(population(columns), structural, {}), patients)
    shares = centring(joint, data, seed=1)
    draws = sample(
        model_of(joint), {"data": data, "centred": shares}, Sampling(warmup=300, draws=300), seed=1
    )
    # So few draws are enough for the population; of some subjects R-hat is above 1.01 yet.
    assert int(judge(draws.tree).table["divergences"].sum()) == 0
    found = draws.tree["posterior"].to_dataset()
    for name, value in truth(frame, columns).items():
        values = found[name].to_numpy()
        assert abs(values.mean() - value) <= 3.5 * values.std(), name
