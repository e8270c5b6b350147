"""How a subject differs from itself: variability of a parameter between its occasions.

In each occasion a normal kappa is added to x of `cohorts.hierarchy.variability`: to the logarithm
of a log-normal parameter, the logit of one between two bounds. Karlsson MO, Sheiner LB. The
importance of modeling interoccasion variability in population pharmacokinetic analyses. J
Pharmacokinet Biopharm 1993; 21:735-750.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from cohorts.hierarchy.hyperparameters import Numbered
from cohorts.hierarchy.numbers import NumberSpec, Reader, Stated, UncertainNumber
from cohorts.hierarchy.variability import Variability, read_bounds
from insilico.config import Spec
from insilico.config.problems import shown
from insilico.vocabulary import Value

KINDS = ("log_normal", "logit_normal", "normal")


class BetweenOccasionSpec(Spec):
    """kappa of each occasion is normal about 0 and independent of all others."""

    sd: NumberSpec = Field(description="standard deviation of kappa, the same in all occasions")
    kind: Literal["log_normal", "logit_normal", "normal"] | None = Field(
        default=None,
        description="what kappa is added to, of a parameter that does not vary between subjects: "
        "its logarithm (log_normal, if left out), its logit or itself; else that of "
        "between_subject",
    )
    lower: Stated | None = Field(default=None, description="bound of logit_normal; 0 if left out")
    upper: Stated | None = Field(default=None, description="bound of logit_normal; 1 if left out")


@dataclasses.dataclass(frozen=True)
class BetweenOccasion(Numbered):
    """Between-occasion variability of one parameter.

    - `scale`: says what kappa is added to.
    - `numbers`: `occasion_sd_<parameter>`.
    """

    scale: Variability
    numbers: Mapping[str, UncertainNumber]

    @property
    def numeric(self) -> tuple[str, ...]:
        return ("scale",)

    @property
    def parameter(self) -> str:
        return self.scale.parameter

    @property
    def _sd(self) -> str:
        return f"occasion_sd_{self.parameter}"

    def values(self, typical: Any, value: Value, x: Value | None, occasions: int) -> Value:
        """The parameter in each occasion, occasions first, with the sites of its x there.

        `value` is the typical one, covariates included, and `x` the subject's; None where it does
        not vary between subjects.
        """
        import numpyro

        from cohorts import sites

        location = self.scale.location(value)
        usual = location if x is None else x
        sd = getattr(typical, self._sd)
        own = sites.between_occasions(self.scale.site, usual, sd, occasions)
        numpyro.deterministic(f"kappa_{self.parameter}", own - usual)
        return self.scale.value(own, location, typical)

    @property
    def words(self) -> str:
        kind = self.scale.kind.replace("_", "-")
        return f"{kind} between occasions, sd {self.numbers[self._sd].words}"


def read_between_occasion(
    spec: BetweenOccasionSpec,
    parameter: str,
    unit: str,
    between_subject: Variability | None,
    path: tuple[str | int, ...],
    reader: Reader,
) -> BetweenOccasion:
    """The variability that a config describes, and faults."""
    scale = between_subject
    if scale is None:
        kind = spec.kind or "log_normal"
        bounds = (0.0, 1.0)
        if kind == "logit_normal":
            lower = 0.0 if spec.lower is None else spec.lower
            upper = 1.0 if spec.upper is None else spec.upper
            bounds = read_bounds(lower, upper, unit, path, reader)
        scale = Variability(kind, parameter, {}, bounds)
    elif spec.kind is not None and spec.kind != scale.kind:
        reader.add(
            (*path, "kind"),
            "must be that of between_subject, to whose eta kappa is added",
            shown(spec.kind),
            scale.kind,
            "leave it out",
        )
    bounded = between_subject is None and scale.kind == "logit_normal"
    for name in ("lower", "upper"):
        if getattr(spec, name) is not None and not bounded:
            reader.add(
                (*path, name),
                "is for a parameter that varies between occasions alone, by logit_normal",
                shown(getattr(spec, name)),
                None,
                "leave it out" + ("" if between_subject is None else ": between_subject has it"),
            )
    sd_unit = unit if scale.kind == "normal" else "1"
    sd = reader.number(spec.sd, sd_unit, (*path, "sd"), positive=True)
    return BetweenOccasion(scale, {f"occasion_sd_{parameter}": sd})
