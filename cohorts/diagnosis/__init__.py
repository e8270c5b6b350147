"""Whether a fitted population can be trusted."""

from cohorts.diagnosis.binning import time_bins
from cohorts.diagnosis.convergence import Verdict, judge
from cohorts.diagnosis.npde import NormalityTest, PredictionErrors, normality, prediction_errors
from cohorts.diagnosis.predictive_checks import (
    INTERVAL,
    PERCENTILES,
    PredictiveCheck,
    prediction_corrected,
    visual_predictive_check,
)

__all__ = [
    "INTERVAL",
    "PERCENTILES",
    "NormalityTest",
    "PredictionErrors",
    "PredictiveCheck",
    "Verdict",
    "judge",
    "normality",
    "prediction_corrected",
    "prediction_errors",
    "time_bins",
    "visual_predictive_check",
]
