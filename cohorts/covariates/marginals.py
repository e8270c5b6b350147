"""A trial's own margins, put on an estimated covariate model.

Ancestry, sex and age are raked into their joint table. The categories of a regression (indication,
diabetes, ...) get one number each added to their scores, so that their shares over the trial's
people are the stated ones; odds ratios are kept there too.
"""

import hashlib
import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float
from pydantic import ConfigDict, Field

from cohorts._faults import CohortError, Fault, raise_any, unknown
from cohorts.covariates.draws import Sampled
from cohorts.covariates.model import CovariateModel, Marginals
from cohorts.covariates.raking import ImpossibleMargins, rake
from insilico.config import Spec, quantity

PEOPLE = 65_536
"""Virtual people over whom a regression's offsets are solved. Their number leaves a standard error
of at most 0.5 / sqrt(65536) = 0.2 percentage points in a stated share."""

NEVER = -1e9
"""Offset of a category that is not to occur; finite, so that differences of scores stay numbers."""

EXTRA_EDGES = 5
"""Edges of age beyond the source's own: two limits and three quartiles."""

Years = Annotated[float, quantity("yr")]
Shares = Mapping[str, float] | float


class AgeMargin(Spec):
    """Distribution of age in a trial: limits, and quartiles or shares of the source's age bins."""

    minimum: Years | None = Field(default=None, description="nobody is younger")
    maximum: Years | None = Field(default=None, description="nobody is older")
    median: Years | None = Field(
        default=None, description="half are younger; alone, or between quartiles"
    )
    quartiles: tuple[Years, Years] | None = Field(
        default=None,
        description="a quarter are younger than the first, a quarter older than the second",
    )
    shares: dict[str, float] | None = Field(
        default=None,
        description='share of each age bin of the source, as in {"60-69": 0.3, ...}; sum 1',
    )


class MarginalsSpec(Spec):
    """Margins that a trial states, each of one covariate; what is not stated follows the source.

    Beside `age`, any of the source's categories or flags: shares by category that sum to 1, or for
    a flag its probability.
    """

    model_config = ConfigDict(extra="allow")
    age: AgeMargin | None = None

    @property
    def shares(self) -> dict[str, Any]:
        """Everything stated beside `age`, as read."""
        return dict(self.model_extra or {})


def age_bins(model: CovariateModel) -> tuple[str, ...]:
    """Names of the source's age bins, as a margin may state them: `18-19`, `20-29`, ..., `90+`."""
    *closed, last = itertools.pairwise(model.age_edges)
    return (*(f"{low:.0f}-{high - 1:.0f}" for low, high in closed), f"{last[0]:.0f}+")


def state_marginals(
    model: CovariateModel, age: AgeMargin | None = None, shares: Mapping[str, Shares] | None = None
) -> Marginals:
    """The model's margins, with the stated ones in the place of the source's.

    **Arguments:**

    - `age`: limits and either quartiles or shares of age bins; quartiles are met exactly, because
      they become edges of the raked table.
    - `shares`: by covariate, shares by category (missing categories have none) or, for a flag, its
      probability.

    Margins hold for the people drawn, before any eligibility criterion.

    Raises `CohortError` with all faults: unknown covariate or category, shares that do not sum to
    1, quartiles out of order, margins that the source's support cannot meet.
    """
    shares = dict(shares or {})
    faults: list[Fault] = []
    stated = {
        name: _shares_of(model, name, value, faults)
        for name, value in shares.items()
        if _may_be_stated(model, name, faults)
    }
    edges, age_margin = _age_edges(model, age or AgeMargin(), faults)
    raise_any(faults)

    margins = {
        name: (axis, np.arange(len(stated[name])), stated[name])
        for axis, name in enumerate(("ancestry", "sex"))
        if name in stated
    }
    if age_margin is not None:
        margins["age"] = (2, *age_margin)
    try:
        table = rake(_rebin(model, edges), margins)
    except ImpossibleMargins as error:
        raise CohortError(
            [
                Fault(
                    (error.margin,),
                    f"no one of {model.name} can have this together with the other margins",
                    hint="check the age limits and categories with a share of 0",
                )
            ]
        ) from error
    offsets = {name: np.zeros(len(model.categories[name])) for name in model.regressed}
    marginals = _cumulate(model, table, edges)._replace(offsets=offsets)
    for name in model.regressed:
        if name in stated:
            solved = _solve_offsets(model, marginals, name, stated[name])
            marginals = marginals._replace(offsets={**marginals.offsets, name: solved})
    return marginals


def _may_be_stated(model: CovariateModel, name: str, faults: list[Fault]) -> bool:
    allowed = ("ancestry", "sex", *model.regressed)
    if name in allowed:
        return True
    if name in model.vocabulary:
        faults.append(
            Fault(
                (name,),
                "has no margin of its own; it follows from ancestry, sex and age",
                allowed=", ".join(("age", *allowed)),
            )
        )
    else:
        faults.append(unknown((name,), "covariate", name, ("age", *allowed)))
    return False


def _shares_of(
    model: CovariateModel, name: str, value: Any, faults: list[Fault]
) -> Float[np.ndarray, " categories"]:
    categories = model.categories[name]
    if categories == ("no", "yes") and _is_number(value):
        value = {"no": 1.0 - value, "yes": value}
    return shares_array((name,), categories, value, faults)


def shares_array(
    path: tuple[str | int, ...], categories: tuple[str, ...], value: Any, faults: list[Fault]
) -> Float[np.ndarray, " categories"]:
    """Shares in the order of `categories`; faults are appended, with zeros for shares."""
    shares = np.zeros(len(categories))
    if not isinstance(value, Mapping):
        example = ", ".join(f"{c}: ..." for c in categories[:2])
        faults.append(Fault(path, "must be shares by category", repr(value), f"{{{example}}}"))
        return shares
    before = len(faults)
    for category, share in value.items():
        if category not in categories:
            faults.append(unknown((*path, category), "category", str(category), categories))
        elif not _is_number(share) or not 0.0 <= share <= 1.0:
            percent = _is_number(share) and 1.0 < share <= 100.0
            hint = f"write {share / 100:g} for {share:g} %" if percent else None
            place = (*path, category)
            faults.append(Fault(place, "must be a share", repr(share), "0 to 1", hint))
        else:
            shares[categories.index(category)] = share
    total = math.fsum(shares)
    if len(faults) == before and abs(total - 1.0) > 1e-6:
        faults.append(Fault(path, "shares must sum to 1", f"a sum of {total:.6g}"))
    return shares


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _age_edges(model: CovariateModel, age: AgeMargin, faults: list[Fault]):
    """Edges of the finer table, and the age margin as (group of each bin, share of each group)."""
    source = model.age_edges
    lowest = source[0] if age.minimum is None else age.minimum
    highest = source[-1] if age.maximum is None else age.maximum
    before = len(faults)
    if not source[0] <= lowest < highest <= source[-1]:
        faults.append(
            Fault(
                ("age",),
                "limits must lie within the source's ages, the minimum below the maximum",
                f"{lowest:g} to {highest:g} yr",
                f"{source[0]:g} to {source[-1]:g} yr",
            )
        )
    inner = source[(source > lowest) & (source < highest)]
    cuts: tuple[float, ...] = ()
    group_shares = None
    if age.shares is not None and (age.median is not None or age.quartiles is not None):
        faults.append(Fault(("age",), "state either quartiles with the median or shares, not both"))
    elif age.shares is not None:
        group_shares = shares_array(("age", "shares"), age_bins(model), age.shares, faults)
    elif age.median is not None and age.quartiles is not None:
        cuts = (age.quartiles[0], age.median, age.quartiles[1])
        group_shares = np.full(4, 0.25)
        if not lowest < cuts[0] < cuts[1] < cuts[2] < highest:
            faults.append(
                Fault(
                    ("age",),
                    "limits, quartiles and median must rise",
                    " < ".join(f"{value:g}" for value in (lowest, *cuts, highest)),
                )
            )
    elif age.median is not None:
        cuts, group_shares = (age.median,), np.full(2, 0.5)
        if not lowest < cuts[0] < highest:
            faults.append(
                Fault(("age", "median"), "must lie between the limits", f"{age.median:g} yr")
            )
    elif age.quartiles is not None:
        faults.append(Fault(("age", "median"), "is needed beside the quartiles"))
    if len(faults) > before:
        return source, None
    edges = np.unique([lowest, *inner, *cuts, highest])
    if group_shares is None:
        return edges, None
    boundaries = np.asarray(cuts) if cuts else source[1:-1]
    group = np.searchsorted(boundaries, edges[:-1], side="right")
    return edges, (group, group_shares)


def _rebin(model: CovariateModel, edges: Float[np.ndarray, " edges"]) -> np.ndarray:
    """The source's table on finer age bins; ages are spread evenly within a bin of the source."""
    source = model.age_edges
    bin_of = np.searchsorted(source, edges[:-1], side="right") - 1
    return model.table[..., bin_of] * (np.diff(edges) / np.diff(source)[bin_of])


def _cumulate(model: CovariateModel, table: np.ndarray, edges: np.ndarray) -> Marginals:
    def cumulative(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=-1, keepdims=True)
        return np.cumsum(weights / np.where(total > 0.0, total, 1.0), axis=-1)

    fixed = len(model.age_edges) + EXTRA_EDGES
    distribution = np.concatenate([np.zeros((*table.shape[:2], 1)), cumulative(table)], axis=-1)
    padding = fixed - len(edges)
    return Marginals(
        ancestry=cumulative(table.sum(axis=(1, 2))),
        sex=cumulative(table.sum(axis=2)),
        age=np.pad(distribution, ((0, 0), (0, 0), (0, padding)), mode="edge"),
        age_edges=np.pad(edges, (0, padding), mode="edge"),
        offsets={},
    )


def _solve_offsets(
    model: CovariateModel, marginals: Marginals, name: str, shares: Float[np.ndarray, " categories"]
) -> Float[np.ndarray, " categories"]:
    """Offsets that give `name`'s categories these shares over the people of `marginals`.

    Kept: scenarios of one config mostly share their margins.
    """
    *tables, offsets = marginals
    asked = b"".join(np.asarray(leaf).tobytes() for leaf in (*tables, *offsets.values(), shares))
    address = (model.name, name, hashlib.sha256(asked).hexdigest())
    if address not in _SOLVED:
        _SOLVED[address] = _solved_offsets(model, marginals, name, shares)
    return _SOLVED[address]


_SOLVED: dict[tuple[str, str, str], np.ndarray] = {}


def _solved_offsets(
    model: CovariateModel, marginals: Marginals, name: str, shares: Float[np.ndarray, " categories"]
) -> Float[np.ndarray, " categories"]:
    people = model.draw(Sampled(0, PEOPLE), marginals)
    scores = [np.broadcast_to(s, (PEOPLE,)) for s in model.predictors[name](people)]
    columns = np.stack(scores if len(scores) > 1 else [np.zeros(PEOPLE), *scores], axis=1)
    asked = shares > 0.0
    target, columns = np.log(shares[asked]), columns[:, asked]
    offsets = np.zeros(len(target))
    for _ in range(1000):
        log_shares = columns + offsets
        log_shares -= np.logaddexp.reduce(log_shares, axis=1)[:, None]
        step = target - (np.logaddexp.reduce(log_shares, axis=0) - math.log(PEOPLE))
        offsets = offsets + step
        if np.abs(step).max() < 1e-9:
            break
    solved = np.full(len(shares), NEVER)
    solved[asked] = offsets
    return solved
