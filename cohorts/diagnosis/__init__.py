"""Whether a fitted population can be trusted."""

from typing import TYPE_CHECKING

import lazy_loader

from cohorts.diagnosis.approximations import condition_number, judge_approximation
from cohorts.diagnosis.binning import time_bins
from cohorts.diagnosis.convergence import Verdict, judge
from cohorts.diagnosis.leave_one_out import LeaveOneOut, leave_one_out
from cohorts.diagnosis.npde import NormalityTest, PredictionErrors, normality, prediction_errors
from cohorts.diagnosis.predictive_checks import (
    INTERVAL,
    PERCENTILES,
    PredictiveCheck,
    prediction_corrected,
    visual_predictive_check,
)
from cohorts.diagnosis.prior_sensitivity import Sensitivity, overlap, power_scaling

if TYPE_CHECKING:
    from cohorts.diagnosis.individual_fits import (
        Shrinkage,
        conditional_weighted_residuals,
        individual_weighted_residuals,
        shrinkage,
    )

__all__ = [
    "INTERVAL",
    "PERCENTILES",
    "LeaveOneOut",
    "NormalityTest",
    "PredictionErrors",
    "PredictiveCheck",
    "Sensitivity",
    "Shrinkage",
    "Verdict",
    "condition_number",
    "conditional_weighted_residuals",
    "individual_weighted_residuals",
    "judge",
    "judge_approximation",
    "leave_one_out",
    "normality",
    "overlap",
    "power_scaling",
    "prediction_corrected",
    "prediction_errors",
    "shrinkage",
    "time_bins",
    "visual_predictive_check",
]

# What computes needs JAX, which a report should not wait for.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "individual_fits": [
            "Shrinkage",
            "conditional_weighted_residuals",
            "individual_weighted_residuals",
            "shrinkage",
        ],
    },
)
