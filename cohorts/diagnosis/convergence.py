"""Whether the draws of several chains can stand for the posterior: numbers and a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from arviz_stats.base.array import array_stats

MOST_R_HAT = 1.01
"""Largest rank-normalised split R-hat. Vehtari A, Gelman A, Simpson D, Carpenter B, Bürkner PC.
Rank-normalization, folding, and localization. Bayesian Anal. 2021;16:667-718, section 4."""

LEAST_ESS_A_CHAIN = 100
"""Smallest effective sample size a chain, in the bulk and in the tails (5 % and 95 % quantiles):
with fewer, R-hat and Monte-Carlo errors are unreliable themselves. Vehtari et al., section 4."""

LEAST_E_BFMI = 0.3
"""Smallest energy Bayesian fraction of missing information: below it, momenta drawn anew hardly
change the energy. Betancourt M. arXiv:1604.00695; the bound is CmdStan's."""

MOST_SATURATED = 0.01
"""Largest share of trajectories that end because their tree may not grow. It is a matter of
efficiency: they turn into a random walk when many do."""

SLOW_TAIL = 0.5
"""Share of the effective sample size in the bulk below which that in the tails asks for shorter
steps. Of the posteriors held against references, well sampled ones have 0.55 or more; a heavy tail
that a target of 0.8 did not reach the end of had 0.44."""

TAILS = (0.05, 0.95)


class Verdict(NamedTuple):
    """What the numbers come to.

    - `passed`: whether there is no reason against the draws.
    - `reasons`: every reason, worst parameters first, in words.
    - `table`: of a sampled posterior along `parameter`, mean, sd, `mcse_mean`, `mcse_sd`, `r_hat`,
      `ess_bulk`, `ess_tail`; along `chain`, `divergences`, `e_bfmi` and `saturated`, a share. Of an
      approximated one see `cohorts.diagnosis.approximations`.
    - `warnings`: what is worth knowing and no reason against the draws.
    """

    passed: bool
    reasons: tuple[str, ...]
    table: xr.Dataset
    warnings: tuple[str, ...] = ()


def judge(tree: xr.DataTree) -> Verdict:
    """The verdict on a posterior; all variables that vary are looked at.

    **Arguments:**

    - `tree`: groups `posterior` and `sample_stats` with `diverging`, `energy` and
      `reached_max_treedepth`, dims (chain, draw, …).
    """
    table = xr.merge([_of_parameters(tree), _of_chains(tree)])
    reasons = tuple(_reasons(table, draws=tree["posterior"].sizes["draw"]))
    return Verdict(not reasons, reasons, table)


def steps_too_long(table: xr.Dataset) -> str | None:
    """What in a verdict's table shorter steps might cure, in words; None where nothing does.

    Too long a step diverges, or misses narrow regions and far tails without saying so: then the
    energy, or the tails, are explored more slowly than the bulk. Where all is slow alike, more
    draws are the cure.
    """
    diverged = int(table["divergences"].sum().item())
    if diverged:
        return f"{diverged} trajectories diverged"
    least_e_bfmi = float(table["e_bfmi"].min())
    if least_e_bfmi < LEAST_E_BFMI:
        return f"E-BFMI was {least_e_bfmi:.2f}"
    tail, bulk = table["ess_tail"].to_numpy(), table["ess_bulk"].to_numpy()
    slow = (tail < LEAST_ESS_A_CHAIN * table.sizes["chain"]) & (tail < SLOW_TAIL * bulk)
    if slow.any():
        worst = np.argmin(np.where(slow, tail, np.inf))
        return (
            f"the effective sample size of {table['parameter'][worst].item()} was "
            f"{tail[worst]:.0f} in the tails and {bulk[worst]:.0f} in the bulk"
        )
    return None


def _of_parameters(tree: xr.DataTree) -> xr.Dataset:
    names, draws = _scalars(tree["posterior"].to_dataset())
    rows = {
        "mean": draws.mean((1, 2)),
        "sd": draws.std((1, 2), ddof=1),
        "mcse_mean": array_stats.mcse(draws, method="mean"),
        "mcse_sd": array_stats.mcse(draws, method="sd"),
        "r_hat": array_stats.rhat(draws, method="rank"),
        "ess_bulk": array_stats.ess(draws, method="bulk"),
        "ess_tail": array_stats.ess(draws, method="tail", prob=TAILS),
    }
    columns = {name: ("parameter", np.asarray(found)) for name, found in rows.items()}
    return xr.Dataset(columns, coords={"parameter": names})


def _scalars(posterior: xr.Dataset) -> tuple[list[str], np.ndarray]:
    """All numbers that vary: their names, and (parameter, chain, draw)."""
    names, columns = [], []
    for label, name, index in varying(posterior):
        column = by_draw(posterior[name])[:, :, *index]
        # Infinite draws have ranks, but are no better than those that are no number.
        names.append(label)
        columns.append(np.where(np.isfinite(column), column, np.nan))
    return names, np.stack(columns)


def varying(posterior: xr.Dataset) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Every number of a posterior that varies: its label, its variable, its index in that.

    Codes and counts are left out: they are functions of the others, and their jumps from one draw
    to the next are no sign of how well these are explored.
    """
    for name, values in posterior.items():
        array = by_draw(values)
        if array.dtype.kind in "iub":
            continue
        inner = [dim for dim in values.dims if dim not in ("chain", "draw")]
        for index in np.ndindex(array.shape[2:]):
            if np.ptp(array[:, :, *index]) == 0:
                continue
            labels = [
                str(posterior[dim].to_numpy()[i]) if dim in posterior.coords else str(i)
                for dim, i in zip(inner, index, strict=True)
            ]
            yield f"{name}[{', '.join(labels)}]" if labels else str(name), str(name), index


def by_draw(values: xr.DataArray) -> np.ndarray:
    """A variable's draws, (chain, draw, …)."""
    inner = [dim for dim in values.dims if dim not in ("chain", "draw")]
    return values.transpose("chain", "draw", *inner).to_numpy()


def _of_chains(tree: xr.DataTree) -> xr.Dataset:
    stats = tree["sample_stats"].to_dataset()
    return xr.Dataset(
        {
            "divergences": ("chain", stats["diverging"].sum("draw").to_numpy()),
            "e_bfmi": ("chain", array_stats.bfmi(stats["energy"].to_numpy())),
            "saturated": ("chain", stats["reached_max_treedepth"].mean("draw").to_numpy()),
        }
    )


def _reasons(table: xr.Dataset, draws: int) -> Iterator[str]:
    chains = table.sizes["chain"]
    least = LEAST_ESS_A_CHAIN * chains
    yield from _beyond(
        table,
        "r_hat",
        "R-hat",
        MOST_R_HAT,
        "3f",
        "the chains have not come to the same distribution",
    )
    yield from _beyond(
        table,
        "ess_bulk",
        "effective sample size",
        least,
        "0f",
        "means and standard deviations are uncertain; draw more",
    )
    yield from _beyond(
        table,
        "ess_tail",
        "effective sample size in the tails",
        least,
        "0f",
        "intervals are uncertain; draw more",
    )
    diverged = int(table["divergences"].sum().item())
    if diverged:
        yield (
            f"{diverged} of {chains * draws} trajectories diverged (none may): narrow regions may "
            "be missed; raise the target acceptance or reparameterise"
        )
    low = table["e_bfmi"].to_numpy()
    if np.any(low < LEAST_E_BFMI):
        yield (
            f"E-BFMI is {low.min():.2f} in chain {int(low.argmin())} (at least {LEAST_E_BFMI}): "
            "tails are explored slowly; reparameterise"
        )
    saturated = float(table["saturated"].max())
    if saturated > MOST_SATURATED:
        yield (
            f"{saturated:.0%} of a chain's trajectories ended at the largest tree depth "
            f"(at most {MOST_SATURATED:.0%}): raise max_tree_depth or reparameterise"
        )


def _beyond(
    table: xr.Dataset, column: str, words: str, bound: float, digits: str, meaning: str
) -> Iterator[str]:
    """The parameters on the wrong side of a bound, the three worst by name."""
    values = table[column].to_numpy()
    at_most = column == "r_hat"
    # What cannot be computed is no reason for trust.
    wrong = ~(values <= bound if at_most else values >= bound)
    if not wrong.any():
        return
    order = np.argsort(-values if at_most else values)
    worst = [i for i in order if wrong[i]][:3]
    told = ", ".join(f"{table['parameter'][i].item()} {values[i]:.{digits}}" for i in worst)
    more = f" and {wrong.sum() - len(worst)} more" if wrong.sum() > len(worst) else ""
    yield f"{words}: {told}{more} (at {'most' if at_most else 'least'} {bound:g}): {meaning}"
