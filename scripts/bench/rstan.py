"""Fits of the same posteriors by rstan, where R has it: `stan/*.stan` by `stan/fit.R`."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from arviz_stats.base.array import array_stats

from cohorts.inference import Sampling

STAN = Path(__file__).parent / "stan"


class StanFit(NamedTuple):
    """What one fit gave.

    - `seconds`: of sampling, compilation left out; `processor_seconds`: of all chains.
    - `steps`: leapfrog steps, warmup included; `diverged`: trajectories.
    - `bulk`: least bulk effective sample size of the population's parameters.
    - `draws`: of these, by name, (chains, draws).
    """

    seconds: float
    processor_seconds: float
    steps: int
    diverged: int
    version: str
    bulk: float
    draws: dict[str, np.ndarray]


def missing() -> str | None:
    """Why there can be no such fit here; None if there can."""
    if shutil.which("Rscript") is None:
        return "there is no Rscript on the path"
    program = 'quit(status = !all(c("rstan", "jsonlite") %in% rownames(installed.packages())))'
    if subprocess.run(["Rscript", "-e", program], check=False).returncode:
        return "R has no rstan, or no jsonlite"
    return None


def fit(
    name: str, data: Mapping[str, Any], settings: Sampling, seed: int, cores: int, folder: Path
) -> StanFit:
    """Fit `stan/<name>.stan`; the compiled model is kept in the folder."""
    assert settings.target_acceptance != "auto"
    file = folder / "data.json"
    file.write_text(json.dumps({**data, "seed": seed}))
    numbers = (settings.chains, settings.warmup, settings.draws, settings.target_acceptance, cores)
    subprocess.run(
        [
            "Rscript",
            str(STAN / "fit.R"),
            str(STAN / f"{name}.stan"),
            str(file),
            str(folder),
            *map(str, numbers),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    cost = json.loads((folder / "cost.json").read_text())
    table = pd.read_csv(folder / "draws.csv")
    shape = (settings.chains, settings.draws)
    draws = {column: table[column].to_numpy().reshape(shape) for column in table}
    return StanFit(**cost, bulk=least_ess(draws), draws=draws)


def standard_error(draws: np.ndarray) -> float:
    """Of the mean of draws (chains, draws)."""
    error: Any = array_stats.mcse(draws)
    return float(error)


def least_ess(draws: Mapping[str, np.ndarray]) -> float:
    """The least bulk effective sample size of draws (chains, draws) by name."""
    found: list[Any] = [array_stats.ess(x) for x in draws.values()]
    return float(min(found))
