"""Whether a fitted population can be trusted."""

from cohorts.diagnosis.binning import time_bins
from cohorts.diagnosis.npde import NormalityTest, PredictionErrors, normality, prediction_errors
from cohorts.diagnosis.predictive_checks import (
    PredictiveCheck,
    prediction_corrected,
    visual_predictive_check,
)

__all__ = [
    "NormalityTest",
    "PredictionErrors",
    "PredictiveCheck",
    "normality",
    "prediction_corrected",
    "prediction_errors",
    "time_bins",
    "visual_predictive_check",
]
