"""Results as an ArviZ-style `DataTree`, on the axes population, trial, arm, subject, visit.

In a crossover there is an axis `period` before that of the arm.

Groups (each with its own coordinates):

- `/population`: the population's parameters at each draw.
- `/subjects`: covariates, quantities, individual parameters, how many candidates each took.
- `/randomisation`: arm (in a crossover the sequence, and the arm of each period), centre, stratum,
  enrolment and dropout of each subject in its trial.
- `/outcomes`: potential outcomes at each visit under every arm (with `keep: outcomes`).
- `/doses`: what was taken at each dosing time under every arm (with `keep: outcomes`).
- `/endpoints`: potential endpoints, their validity, and the solver's status, under every arm.
- `/estimates`: every analysis of every trial.
- `/truth`, `/operating_characteristics`: by analysis, each number with its Monte-Carlo error.
- `/sensitivity`: true values by scenario, and how many of its solves failed.
- `/published`: what the trial itself reported.
- `/failures`: the patients that could not be solved, with the time and the state at which each
  stopped, and their parameters. `/counts`: totals.

Effects are on their estimator's scale, which the coordinate `scale` names for each analysis; `unit`
is their unit there, empty for a pure number (risks are fractions, hazard ratios logarithms).
"""

from trials.results.tree import Pieces, tree

__all__ = ["Pieces", "tree"]
