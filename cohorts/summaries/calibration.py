"""A calibration's config read and checked: who, under which arms, and what was published."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from cohorts._faults import Faults, raise_any
from cohorts.cohort import Cohort, CohortSpec
from cohorts.fits.fit import structural_model
from cohorts.hierarchy import HierarchySpec
from cohorts.hierarchy.numbers import Reader
from cohorts.summaries.arms import Arm, read_arms
from cohorts.summaries.config import CalibrationConfig
from cohorts.summaries.targets import Target, read_targets
from insilico.config import Document, load
from insilico.model import Model


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """One calibration, as its config describes it.

    - `cohort`: the plausible population, and whose covariates its patients have.
    - `arms`, `targets`: in the order of the config.
    """

    document: Document
    config: CalibrationConfig
    model: Model
    cohort: Cohort
    arms: list[Arm]
    targets: list[Target]
    overrides: tuple[str, ...] = ()


def read(path: str | os.PathLike[str], overrides: str | Sequence[str] = ()) -> Calibration:
    """Read a calibration's config. Does not import JAX.

    **Arguments:**

    - `path`: the YAML file.
    - `overrides`: changes as `key=value`, such as `sampling.draws=1000`; one or several.

    Raises `ConfigError` with every problem of the config.
    """
    changes = (overrides,) if isinstance(overrides, str) else tuple(overrides)
    return load(path, changes).checked(
        CalibrationConfig, lambda document, config: _checked(document, config, changes)
    )


def _checked(
    document: Document, config: CalibrationConfig, changes: tuple[str, ...]
) -> Calibration:
    """The calibration of a config, if it is what it says. Raises as `read`."""
    faults = Faults(document, ())
    model = structural_model(config, document, faults)
    if model is None:
        faults.raise_if_any()
    assert model is not None
    cohort = None
    with faults.at():
        described = HierarchySpec(**{n: getattr(config, n) for n in HierarchySpec.model_fields})
        spec = CohortSpec(
            described=described,
            covariates=config.cohort.covariates,
            eligibility=config.cohort.eligibility,
        )
        cohort = Cohort.from_spec(spec, document, model=model, described_at=())
    reader = Reader()
    if model.dosing is not None:
        reader.add(
            ("model",),
            "has bioavailability or lags of its own, which doses of arms do not have",
        )
    if model.diffusion is not None:
        reader.add(
            ("model",), "is stochastic, so that its patients are not functions of parameters"
        )
    arms = read_arms(config.arms, model, reader)
    residual = {} if cohort is None else dict(cohort.population.residual)
    # Which outputs have a residual error is not known where the population is wrong.
    if cohort is not None or not config.residual:
        targets = read_targets(config.targets, arms, model, residual, reader)
    else:
        targets = []
    with faults.at():
        raise_any(reader.faults)
    faults.raise_if_any()
    assert cohort is not None
    with faults.at():
        cohort.check(document)
    faults.raise_if_any()
    return Calibration(document, config, model, cohort, arms, targets, changes)
