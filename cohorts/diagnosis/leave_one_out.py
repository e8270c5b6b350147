"""How well a fit predicts a subject that it has not seen: leave-one-subject-out cross-validation.

Pareto-smoothed importance sampling turns the posterior into that without a subject (Vehtari A,
Gelman A, Gabry J. Practical Bayesian model evaluation using leave-one-out cross-validation and
WAIC. Stat Comput 2017; 27:1413-1432), on the likelihood with the subject's random effects
integrated out: given its effects, a subject's data say too much for the weights to be trusted, and
what is asked is how a new subject is predicted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from arviz_stats.base.array import BaseArray
from jaxtyping import Float

ALIKE = 1e-9
"""Log densities of thousands that differ by no more than this differ by rounding."""

MOST_PARETO_K = 0.7
"""Largest Pareto k of reliable estimates, with 2,200 draws or more. Vehtari A, Simpson D, Gelman A,
Yao Y, Gabry J. Pareto smoothed importance sampling. J Mach Learn Res 2024; 25:72; the bound is
1 - 1 / log10(draws) where that is less."""


class LeaveOneOut(NamedTuple):
    """Expected log predictive density of subjects that were left out.

    - `elpd`: their sum, `standard_error`: of it, from the spread over subjects; `p_loo`: effective
      number of parameters.
    - `elpd_of`, `p_loo_of`, `pareto_k`: (subjects,), of each; k is minus infinity for a subject
      whose data say nothing, such as one without a dose.
    - `most_pareto_k`: above which the number of a subject is not reliable.
    - `draws`: that were used; those at which some subject is impossible were not.
    """

    elpd: float
    standard_error: float
    p_loo: float
    elpd_of: Float[np.ndarray, " subjects"]
    p_loo_of: Float[np.ndarray, " subjects"]
    pareto_k: Float[np.ndarray, " subjects"]
    most_pareto_k: float
    draws: int

    @property
    def unreliable(self) -> np.ndarray:
        """Numbers of the subjects whose weights cannot be trusted, the worst first."""
        # What cannot be computed is not reliable.
        order = np.argsort(-np.nan_to_num(self.pareto_k, nan=np.inf))
        return order[~(self.pareto_k[order] <= self.most_pareto_k)]


def leave_one_out(log_likelihood: Float[np.ndarray, "draws subjects"]) -> LeaveOneOut:
    """Leave-one-subject-out of the marginal log likelihood at draws of a posterior.

    As from `cohorts.inference.marginal_of_draws`, at draws that are about independent. Raises
    `ValueError` where at fewer than two draws all subjects are possible.
    """
    usable = np.all(np.isfinite(log_likelihood), axis=1)
    kept = log_likelihood[usable]
    if len(kept) < 2:
        raise ValueError(f"all subjects are possible at {len(kept)} draws only")
    # Of a subject whose data say nothing weights are all the same, but for rounding.
    elpd_of, p_loo_of = kept.mean(axis=0), np.zeros(kept.shape[1])
    pareto_k = np.full(kept.shape[1], -np.inf)
    telling = np.ptp(kept, axis=0) > ALIKE
    if np.any(telling):
        found = BaseArray().loo(kept[:, telling].T[:, None])  # one chain
        elpd_of[telling], pareto_k[telling], p_loo_of[telling] = found
    return LeaveOneOut(
        elpd=float(elpd_of.sum()),
        standard_error=math.sqrt(len(elpd_of)) * float(np.std(elpd_of)),
        p_loo=float(p_loo_of.sum()),
        elpd_of=elpd_of,
        p_loo_of=p_loo_of,
        pareto_k=pareto_k,
        most_pareto_k=min(MOST_PARETO_K, 1.0 - 1.0 / math.log10(len(kept))),
        draws=len(kept),
    )


def warnings_of(found: LeaveOneOut, subjects: Sequence[object]) -> tuple[str, ...]:
    """What is to be said of it in a verdict: which subjects are not predicted reliably."""
    worst = found.unreliable
    if not len(worst):
        return ()
    told = ", ".join(f"{subjects[i]} ({found.pareto_k[i]:.2f})" for i in worst[:5])
    more = f" and {len(worst) - 5} more" if len(worst) > 5 else ""
    return (
        f"leaving out subject {told}{more} changes the posterior by more than importance sampling "
        f"can follow (Pareto k above {found.most_pareto_k:.2f}): influential subjects, or subjects "
        "that the model does not describe",
    )
