"""Estimators over many trials at once: arrays (trial, subject) in, one `Estimates` out.

Those of a crossover take (trial, subject, period).

One estimator a file. All of them take (outcome…, arm, used, …) with the trial axis first, compare
the arm `treatment` with the arm `reference`, and count what could not be analysed in a `Status`
per trial; `in_batches` runs any of them over any number of trials with one compiled program.
"""

from insilico import devices as _devices  # noqa: F401  (float64)
from trials.analyses._estimates import Estimates, Status, in_batches
from trials.analyses._least_squares import indicator_columns
from trials.analyses.crossover_geometric_mean_ratio import crossover_geometric_mean_ratio
from trials.analyses.crossover_mean_difference import crossover_mean_difference
from trials.analyses.crossover_risk_difference import crossover_risk_difference
from trials.analyses.geometric_mean_ratio import geometric_mean_ratio
from trials.analyses.hazard_ratio import hazard_ratio
from trials.analyses.kaplan_meier import KaplanMeier, kaplan_meier
from trials.analyses.log_rank import log_rank
from trials.analyses.mean_difference import mean_difference
from trials.analyses.restricted_mean import restricted_mean_difference
from trials.analyses.risk_difference_mantel_haenszel import risk_difference_mantel_haenszel
from trials.analyses.risk_difference_miettinen_nurminen import risk_difference_miettinen_nurminen
from trials.analyses.risk_difference_newcombe import risk_difference_newcombe

__all__ = [
    "Estimates",
    "KaplanMeier",
    "Status",
    "crossover_geometric_mean_ratio",
    "crossover_mean_difference",
    "crossover_risk_difference",
    "geometric_mean_ratio",
    "hazard_ratio",
    "in_batches",
    "indicator_columns",
    "kaplan_meier",
    "log_rank",
    "mean_difference",
    "restricted_mean_difference",
    "risk_difference_mantel_haenszel",
    "risk_difference_miettinen_nurminen",
    "risk_difference_newcombe",
]
