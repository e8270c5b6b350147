"""Laplace posteriors of thousands of individuals: seconds, failures, and how good they are.

Problem P1 of the ensemble benchmark (two compartments and an indirect response, 28 daily doses),
ten measurements a subject, random effects of clearance, central volume, production and IC50:

    uv run python scripts/bench/individuals.py --subjects 10000
"""

import argparse
import json
import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cohorts.data import Kind, Measured, PatientData
from cohorts.hierarchy import HierarchySpec, population_of
from cohorts.inference import Joint, individuals
from cohorts.inference.subject_blocks import for_block, in_blocks
from insilico.models.indirect_response import MODEL
from insilico.solve import read_records

TIMES = (1.0, 4.0, 12.0, 24.0, 100.0, 170.0, 340.0, 500.0, 650.0, 668.0)
OUTPUTS = ("central", "response")
"""Measured in turn."""
VARYING = ("clearance", "central_volume", "production", "half_inhibition_concentration")


def problem(subjects: int) -> tuple[Joint, Any, np.ndarray, np.ndarray]:
    """The joint density, data drawn from it, and the population and individuals behind them."""
    joint, data = Joint.of(_population(), _patients(subjects))
    theta = jnp.asarray(joint.unconstrained(_published(), data))
    rng = np.random.default_rng(20261128)
    centre = np.log([getattr(MODEL.typical, name) for name in _varying(joint)])
    x = centre[:, None] + 0.3 * rng.normal(size=(len(centre), subjects))
    block = for_block(joint)
    predicted = in_blocks(lambda theta, own: block.predicted(theta, own[0], own[1], None)[:2])
    mean, sd = predicted(theta, (x, data))
    value = np.where(data.kind == Kind.VALUE, mean + sd * rng.normal(size=mean.shape), 0.0)
    return joint, data._replace(value=jnp.asarray(value)), np.asarray(theta), x


def _varying(joint: Joint) -> list[str]:
    return [name.removeprefix("log_") for name in joint.effects]


def _published() -> dict[str, float]:
    return {f"typical_{name}": float(getattr(MODEL.typical, name)) for name in VARYING}


def _population() -> Any:
    parameters: dict[str, Any] = {}
    for name, quantity in MODEL.quantities("Parameters").items():
        number = float(getattr(MODEL.typical, name))
        value = number if quantity.unit == "1" else f"{number} {quantity.unit}"
        parameters[name] = {"typical": value}
        if name in VARYING:
            parameters[name] = {
                "typical": {"kind": "log_normal", "median": value, "sd": 0.5},
                "between_subject": {"kind": "log_normal", "sd": 0.3},
            }
    residual = {output: {"kind": "proportional", "sd": 0.15} for output in OUTPUTS}
    content = json.dumps({"population": parameters, "residual": residual})
    return population_of(HierarchySpec.model_validate_json(content), MODEL, {})


def _patients(subjects: int) -> PatientData:
    """A record with all doses, and then one a measurement, whose values are still to be drawn."""
    records = 1 + len(TIMES)
    first = np.arange(records) == 0
    frame = pd.DataFrame(
        {
            "ID": np.repeat(np.arange(subjects), records),
            "TIME": np.tile([0.0, *TIMES], subjects),
            "EVID": np.tile(np.where(first, 1, 0), subjects),
            "AMT": np.tile(np.where(first, 100.0, 0.0), subjects),
            "ADDL": np.tile(np.where(first, 27, 0), subjects),
            "II": np.tile(np.where(first, 24.0, 0.0), subjects),
            "CMT": 1,
        }
    )

    def of_records(column: np.ndarray) -> np.ndarray:
        return np.broadcast_to(column[:, None], (records, subjects))

    measured = Measured(
        value=of_records(np.where(first, 0.0, 1.0)),
        output=of_records(np.arange(records) % len(OUTPUTS)),
        kind=of_records(np.where(first, Kind.NOTHING, Kind.VALUE)),
        limit=of_records(np.zeros(records)),
    )
    records_of_all = read_records(MODEL, frame)
    return PatientData(
        MODEL, records_of_all, tuple(range(subjects)), OUTPUTS, measured, {}, {}, frame
    )


def main() -> None:
    """Measure, and print a line or JSON."""
    parser = argparse.ArgumentParser(description="Laplace posteriors of individuals")
    parser.add_argument("--subjects", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=100, help="of each subject's posterior")
    parser.add_argument("--method", choices=("laplace", "focei"), default="laplace")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    joint, data, theta, truth = problem(arguments.subjects)
    seconds, of_cores = [], []
    for number in range(2):
        begun, used = time.perf_counter(), time.process_time()
        found = individuals(
            joint,
            theta,
            data,
            key=jax.random.key(number),
            draws=arguments.draws,
            method=arguments.method,
        )
        seconds.append(time.perf_counter() - begun)
        of_cores.append(time.process_time() - used)
    assert found.covariance is not None
    away = (truth - found.x) / np.sqrt(np.einsum("kks->ks", found.covariance))
    result = {
        "subjects": arguments.subjects,
        "information": "exact" if arguments.method == "laplace" else "expected",
        "first_seconds": round(seconds[0], 1),
        "seconds": round(seconds[1], 1),
        # On a machine that others use, what it would take alone: of all its cores together.
        "core_seconds": round(of_cores[1], 1),
        "failed": int(np.sum(found.status != 0)),
        "truth_within_two_sd": round(float(np.mean(np.abs(away) < 2.0)), 3),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result) if arguments.json else result)


if __name__ == "__main__":
    main()
