"""What a trial's config file may say: every section, its fields, their units and limits.

Field names are the file's keys. Times are stated with a unit (`28 d`); days count from 1, the day
of the first dose. What only makes sense against other sections (that an arm names a titration that
exists) is checked in `trials.building` and `trials.design`.
"""

from trials.config.analyses import (
    AnalysisSpec,
    PublishedArmSpec,
    PublishedEffectSpec,
    PublishedSpec,
    SensitivitySpec,
    SuccessSpec,
    TruthSpec,
)
from trials.config.conduct import (
    CentresSpec,
    CrossoverSpec,
    DropoutSpec,
    EnrolmentSpec,
    RandomisationSpec,
    StrataSpec,
    TrialSpec,
)
from trials.config.endpoints import (
    AnyAboveSpec,
    AreaUnderCurveSpec,
    CourseSpec,
    EndpointSpec,
    LastSpec,
    MaximumSpec,
    MeanSpec,
    TimeInRangeSpec,
    TimeOfMaximumSpec,
    TimeToRangeSpec,
)
from trials.config.treatment import (
    AdherenceSpec,
    ArmSpec,
    AvailabilitySpec,
    BandSpec,
    DrugSpec,
    FormulaSpec,
    KnownSpec,
    LoadingSpec,
    QuantitySpec,
    RevisionSpec,
    TitrationSpec,
    VisitsSpec,
)
from trials.config.trial import TrialConfig, TrialSolverSpec

__all__ = [
    "AdherenceSpec",
    "AnalysisSpec",
    "AnyAboveSpec",
    "AreaUnderCurveSpec",
    "ArmSpec",
    "AvailabilitySpec",
    "BandSpec",
    "CentresSpec",
    "CourseSpec",
    "CrossoverSpec",
    "DropoutSpec",
    "DrugSpec",
    "EndpointSpec",
    "EnrolmentSpec",
    "FormulaSpec",
    "KnownSpec",
    "LastSpec",
    "LoadingSpec",
    "MaximumSpec",
    "MeanSpec",
    "PublishedArmSpec",
    "PublishedEffectSpec",
    "PublishedSpec",
    "QuantitySpec",
    "RandomisationSpec",
    "RevisionSpec",
    "SensitivitySpec",
    "StrataSpec",
    "SuccessSpec",
    "TimeInRangeSpec",
    "TimeOfMaximumSpec",
    "TimeToRangeSpec",
    "TitrationSpec",
    "TrialConfig",
    "TrialSolverSpec",
    "TrialSpec",
    "TruthSpec",
    "VisitsSpec",
]
