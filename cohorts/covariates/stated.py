"""Covariates that a source does not have, as a trial states them.

They are drawn independently of everything else: a trial that knows of a dependence needs a source
that has it.
"""

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from cohorts._faults import Fault, raise_any
from cohorts.covariates.marginals import shares_array
from cohorts.covariates.model import Stated
from insilico.config import Name, Spec, Vocabulary, is_name

FLAG = ("no", "yes")


class StatedSpec(Spec):
    """One stated covariate: a constant, a flag's probability, or shares of categories."""

    value: float | None = Field(default=None, description="everybody's value, as in {value: 2.5}")
    probability: float | None = Field(
        default=None, description="probability that a flag is set, as in {probability: 0.07}"
    )
    shares: dict[str, float] | None = Field(
        default=None,
        description="shares of categories, as in {shares: {never: 0.6, ever: 0.4}}; sum 1",
    )
    unit: str = Field(default="", description="unit of a value")
    description: str = Field(default="", description="what it is, for the report")


def state_covariates(
    source: str, vocabulary: Vocabulary, stated: Mapping[str, StatedSpec]
) -> tuple[Stated, dict[str, Name]]:
    """The stated covariates ready for sampling, and their names for a vocabulary.

    `source` and `vocabulary` are the name of the source, and what it has.

    Raises `CohortError` with all faults: a name that the source has, not exactly one of value,
    probability and shares, shares that do not sum to 1.
    """
    faults: list[Fault] = []
    constants, cumulative, names = {}, {}, {}
    for name, spec in stated.items():
        given = [f for f in ("value", "probability", "shares") if getattr(spec, f) is not None]
        if name in vocabulary:
            faults.append(
                Fault(
                    (name,),
                    f"comes from the source {source} already",
                    hint="state its margin, or restrict it by eligibility",
                )
            )
        elif not is_name(name):
            faults.append(
                Fault(
                    (name,),
                    "a covariate's name is made of letters, digits and underscores, and is no word "
                    "of expressions such as `if` or `exp`",
                )
            )
        elif len(given) != 1:
            faults.append(
                Fault(
                    (name,),
                    "needs exactly one of value, probability and shares",
                    " and ".join(given) or "none of them",
                )
            )
        elif spec.value is not None:
            constants[name] = np.asarray(spec.value, float)
            names[name] = Name("number", unit=spec.unit, description=spec.description)
        elif spec.probability is not None:
            path = (name, "probability")
            if not 0.0 <= spec.probability <= 1.0:
                faults.append(
                    Fault(path, "must be a probability", f"{spec.probability:g}", "0 to 1")
                )
            cumulative[name] = np.array([1.0 - spec.probability, 1.0])
            names[name] = Name("flag", description=spec.description)
        elif spec.shares is not None:
            categories = tuple(spec.shares)
            shares = shares_array((name, "shares"), categories, spec.shares, faults)
            cumulative[name] = np.cumsum(shares)
            names[name] = Name("category", categories=categories, description=spec.description)
    raise_any(faults)
    return Stated(constants, cumulative), names
