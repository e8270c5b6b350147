"""Whether a fitted population can be trusted."""

from cohorts.diagnosis.convergence import Verdict, judge

__all__ = ["Verdict", "judge"]
