"""What every estimator returns, and how an estimate with its standard error becomes it."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from trials.analyses._margins import Margins, p_against
from trials.analyses._student_t import normal_quantile, student_quantile, two_sided_p


class Status(IntEnum):
    """Whether a trial could be analysed; everything but `OK` is a counted failure."""

    OK = 0
    TOO_FEW = 1
    """Fewer than two analysed subjects in an arm, or no residual degrees of freedom left."""
    SINGULAR = 2
    """The contrast is not estimable: the arm is confounded with strata or covariates."""
    NO_VARIATION = 3
    """The standard error is zero, so neither a test nor an interval exists."""
    NO_EVENTS = 4
    """An arm, or every stratum that has both arms, is without an event."""
    NOT_CONVERGED = 5
    """The iterations ended without a finite maximum."""
    SHORT_FOLLOW_UP = 6
    """Follow-up of an arm ends, censored, before the horizon of the estimand."""


class Estimates(NamedTuple):
    """One analysis of every trial. Where `status` is not `OK` only `n` and `mean` are numbers."""

    estimate: Float[Array, " trial"]
    """The contrast treatment minus reference, on the scale the estimator names."""
    standard_error: Float[Array, " trial"]
    degrees_of_freedom: Float[Array, " trial"]
    """Of the t distribution that the test and interval refer to; infinite: the normal."""
    lower: Float[Array, " trial"]
    upper: Float[Array, " trial"]
    p_value: Float[Array, " trial"]
    """Two-sided, for the contrast being zero; with margins one-sided, of two such tests the
    larger."""
    n: Int[Array, "trial arm"]
    """Analysed subjects of each arm."""
    mean: Float[Array, "trial arm"]
    """Unadjusted summary of each arm in the analysed subjects (each estimator names it)."""
    status: Int[Array, " trial"]
    """A `Status` code."""


def arm_summaries(
    value: Float[Array, "trial subject"],
    arm: Int[Array, "trial subject"],
    used: Bool[Array, "trial subject"],
    arms: int,
) -> tuple[Int[Array, "trial arm"], Float[Array, "trial arm"]]:
    """Number of analysed subjects and mean of `value` in each arm (NaN in an empty arm)."""
    belongs = used[..., None] & (arm[..., None] == jnp.arange(arms))
    n = jnp.sum(belongs, axis=-2)
    total = jnp.sum(jnp.where(belongs, value[..., None], 0.0), axis=-2)
    return n, jnp.where(n > 0, total / jnp.maximum(n, 1), jnp.nan)


def too_few(
    n: Int[Array, "trial arm"], treatment: int | Int[Array, ""], reference: int | Int[Array, ""]
) -> Bool[Array, " trial"]:
    """Whether either arm of the contrast has fewer than two analysed subjects."""
    return (n[..., treatment] < 2) | (n[..., reference] < 2)


def first_failure(*failures: tuple[Bool[Array, "*trial"], Status]) -> Int[Array, "*trial"]:
    """The code of the first condition that holds, `OK` where none does."""
    conditions, codes = zip(*failures, strict=True)
    return jnp.select(conditions, [jnp.int32(code) for code in codes], jnp.int32(Status.OK))


def wald(
    estimate: Float[Array, " trial"],
    variance: Float[Array, " trial"],
    level: float | Float[Array, ""],
    n: Int[Array, "trial arm"],
    mean: Float[Array, "trial arm"],
    status: Int[Array, " trial"],
    degrees_of_freedom: Float[Array, " trial"] | None = None,
    margins: Margins | None = None,
) -> Estimates:
    """Test and interval from an estimate and its variance, by t or (by default) by z."""
    usable = status == Status.OK
    error = jnp.sqrt(jnp.where(usable, variance, 1.0))
    centre = jnp.where(usable, estimate, 0.0)
    freedom = None
    if degrees_of_freedom is None:
        margin = normal_quantile(level) * error
    else:
        freedom = jnp.where(usable, degrees_of_freedom, 1.0)
        margin = student_quantile(level, freedom) * error
    if margins is None:
        p_value = two_sided_p(centre / error, freedom)
    else:
        p_value = p_against((centre - margins[0]) / error, (margins[1] - centre) / error, freedom)
    freedom = jnp.full_like(centre, jnp.inf) if freedom is None else freedom
    return blank_failures(
        Estimates(
            centre, error, freedom, centre - margin, centre + margin, p_value, n, mean, status
        )
    )


def of_contrast(
    estimate: Float[Array, " trial"],
    variance: Float[Array, " trial"],
    freedom: Float[Array, " trial"],
    estimable: Bool[Array, " trial"],
    exact: Bool[Array, " trial"],
    level: float | Float[Array, ""],
    n: Int[Array, "trial arm"],
    mean: Float[Array, "trial arm"],
    treatment: int | Int[Array, ""],
    reference: int | Int[Array, ""],
    margins: Margins | None,
) -> Estimates:
    """Those of a contrast of least squares, by t with its residual degrees of freedom.

    `estimable`: whether the design tells it; `exact`: whether the fit leaves nothing over.
    """
    status = first_failure(
        (too_few(n, treatment, reference) | (freedom < 1), Status.TOO_FEW),
        (~estimable, Status.SINGULAR),
        (exact | ~(variance > 0), Status.NO_VARIATION),
    )
    return wald(estimate, variance, level, n, mean, status, freedom, margins)


def blank_failures(estimates: Estimates) -> Estimates:
    """The same with NaN in every number that a failed trial does not have."""
    usable = estimates.status == Status.OK
    kept = {"n", "mean", "status"}
    blanked = {
        name: jnp.where(usable, value, jnp.nan)
        for name, value in estimates._asdict().items()
        if name not in kept
    }
    return estimates._replace(**blanked)


def in_batches(
    estimator: Callable[..., Estimates],
    *arrays: Array | np.ndarray | None,
    width: int = 256,
    **options: object,
) -> Estimates:
    """Apply `estimator` to trials in blocks of one fixed width, the last one padded.

    So any number of trials runs on one compiled program, in bounded memory, and a trial's result
    does not depend on how many others there are. `arrays` are the estimator's positional
    arguments, each with the trial axis first (`None` passes through); `options` go to it as they
    are. Padding is zeros, which every estimator reads as trials without analysed subjects.
    """
    # Cut and joined by numpy: every slice of its own would be a program of its own to XLA.
    whole = [None if array is None else np.asarray(array) for array in arrays]
    sizes = {array.shape[0] for array in whole if array is not None}
    if len(sizes) != 1:
        shapes = [array.shape for array in whole if array is not None]
        raise ValueError(f"arrays must share their first (trial) axis; found shapes {shapes}")
    trials = sizes.pop()
    blocks = []
    for start in range(0, max(trials, 1), width):
        block = [None if array is None else _block(array, start, width) for array in whole]
        blocks.append(estimator(*block, **options))
    return jax.tree.map(lambda *parts: jnp.asarray(np.concatenate(parts)[:trials]), *blocks)


def _block(array: np.ndarray, start: int, width: int) -> Array:
    rows = array[start : start + width]
    missing = width - rows.shape[0]
    return jnp.asarray(np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1)))
