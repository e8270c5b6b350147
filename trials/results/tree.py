"""All groups of a run's results in one tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import xarray as xr

from trials.analyses import Estimates
from trials.conduct import Conduct
from trials.estimation import Truth
from trials.failures import Tallies
from trials.operating_characteristics import OperatingCharacteristics, Simulated
from trials.results import analyses, solves, subjects
from trials.results.layout import Layout
from trials.study import Study

if TYPE_CHECKING:
    from insilico.solve import MethodChoice
    from trials.precision import Measured
    from trials.simulation import Patients


class Pieces(NamedTuple):
    """What a run computed, before it is labelled."""

    patients: Patients
    conduct: Conduct
    estimates: Mapping[str, Estimates]
    truth: Mapping[str, Truth]
    characteristics: Mapping[str, OperatingCharacteristics]
    success: Simulated
    sensitivity: Mapping[str, Mapping[str, Truth]]
    tallies: Tallies
    method: MethodChoice
    inexact: Measured | None = None
    """What single precision did, where the config asks for it."""


def tree(study: Study, pieces: Pieces) -> xr.DataTree:
    """All groups of a run's results; see `trials.results`."""
    config, layout = study.config, Layout(study)
    groups = {
        "population": subjects.population(study, layout),
        "subjects": subjects.subjects(study, pieces, layout),
        "randomisation": subjects.randomisation(study, pieces, layout),
    }
    if config.keep == "outcomes":
        groups["outcomes"] = subjects.outcomes(study, pieces, layout)
        groups["doses"] = subjects.doses(study, pieces, layout)
    if config.keep != "estimates":
        groups["endpoints"] = subjects.endpoints(study, pieces, layout)
    groups |= {
        "estimates": analyses.estimates(study, pieces, layout),
        "truth": analyses.truth(study, pieces, layout),
        "operating_characteristics": analyses.characteristics(study, pieces, layout),
        "sensitivity": analyses.sensitivity(study, pieces, layout),
        "published": analyses.published(study),
        "failures": solves.failures(study, pieces, layout),
        "counts": solves.counts(study, pieces),
    }
    root = xr.Dataset(attrs={"title": config.title, "model": config.model, "seed": config.seed})
    return xr.DataTree.from_dict({"/": root, **groups})
