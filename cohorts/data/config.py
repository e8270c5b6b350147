"""What the section `data` of a fit's config may say: the file, and what its columns mean."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from insilico.config import Spec, quantity

Cell = int | float | str
"""What a cell of a table may have, as a config states it."""

Column = str | None
"""A column's name; null says that the table has none, or that one of NONMEM's name is no such."""


class EventSpec(Spec):
    """A column of events in another code than NONMEM's."""

    column: str
    coding: Literal["nonmem", "nlmixr"] = Field(
        default="nonmem",
        description="nlmixr: 0 an observation, 101 a dose into compartment 1, 201 into 2, …",
    )
    doses: tuple[Cell, ...] = Field(
        default=(), description="instead of a code, what the column has for a dose: [DOSE]"
    )


class FlagSpec(Spec):
    """A column that sets a flag by other cells than 1 or Y."""

    column: str
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)] = Field(
        description="what the column has where the flag is set"
    )


class ColumnsSpec(Spec):
    """The columns of a table by what they mean."""

    subject: Column = Field(default=None, description="whose record it is (ID)")
    time: Column = Field(default=None, description="when it was (TIME)")
    measured: Column = Field(default=None, description="the measured value (DV)")
    amount: Column = Field(default=None, description="amount of a dose (AMT)")
    event: str | EventSpec | None = Field(
        default=None,
        description="what happened (EVID); without it, records with an amount are doses",
    )
    compartment: Column = Field(
        default=None, description="into which a dose goes, by number from 1 or by name (CMT)"
    )
    rate: Column = Field(default=None, description="of an infusion (RATE)")
    missing: str | FlagSpec | None = Field(
        default=None, description="1 or Y where nothing was measured (MDV)"
    )
    additional: Column = Field(default=None, description="number of further doses (ADDL)")
    interval: Column = Field(default=None, description="time between them (II)")
    steady: Column = Field(default=None, description="1 or 2 at steady state (SS)")
    output: Column = Field(default=None, description="which output was measured (DVID)")
    occasion: Column = Field(
        default=None, description="which occasion of its subject a record belongs to (OCC)"
    )
    censored: str | FlagSpec | None = Field(
        default=None, description="1 or Y where a value is below its limit (CENS, BLQ)"
    )
    limit: Column = Field(
        default=None,
        description="lower limit of quantification (LLOQ); the column of measured values, where "
        "censored ones have it there",
    )
    time_unit: Column = Field(default=None, description="the unit of times, in each row")
    amount_unit: Column = Field(default=None, description="the unit of doses, in each row")
    measured_unit: Column = Field(default=None, description="the unit of values, in each row")

    def name(self, meaning: str) -> str | None:
        """The column of that meaning."""
        stated = getattr(self, meaning)
        return stated.column if isinstance(stated, EventSpec | FlagSpec) else stated


class UnitsSpec(Spec):
    """The units of a table; its numbers are turned into the model's.

    One that is left out is what the table's own column says.
    """

    time: str = Field(default="", description="of times and dosing intervals")
    amount: str = Field(default="", description="of doses")
    rate: str = Field(
        default="", description="of infusions; left out: amount over time, in their units"
    )


class OutputSpec(Spec):
    """A measured output of the model."""

    where: Cell | None = Field(
        default=None,
        description="what its records have in the column `output`, or else `compartment`; "
        "needed where several outputs are measured",
    )
    unit: str = Field(default="", description="of its values and limits in the table")
    limit: str | float | None = Field(
        default=None,
        description="lower limit of quantification, as in `0.5 mg/L`, unless a column has it",
    )


class CovariateSpec(Spec):
    """A covariate: a number with its unit, or a category."""

    column: str
    unit: str = Field(default="", description="of a number")
    categories: tuple[str, ...] | dict[str, Cell] | None = Field(
        default=None,
        description="the texts in the column, in order; or names with what the column has for them",
    )
    changes: Literal["locf", "nocb", "linear"] | None = Field(
        default=None,
        description="how it goes on between records; left out: constant for each subject",
    )
    input: str | None = Field(
        default=None,
        description="the input of the model that follows it; left out: it acts on parameters, from "
        "each record on to the next (locf)",
    )


class IgnoreSpec(Spec):
    """Records that are left out; how many is told."""

    comments: str | None = Field(
        default=None, description="rows whose first cell begins with this, as in `#`"
    )
    rows: dict[str, tuple[Cell, ...]] = Field(
        default_factory=dict, description="by column, the cells whose rows are left out"
    )
    filled: tuple[str, ...] = Field(
        default=(), description="columns in which only rows that are left out have something"
    )
    subjects: tuple[Cell, ...] = Field(default=(), description="IDs of subjects left out")


class DoseColumnsSpec(Spec):
    """The columns of a companion dataset of doses; those left out are CDISC's."""

    subject: str | None = Field(default=None, description="whose dose it is (USUBJID)")
    start: str | None = Field(default=None, description="when it began (ASTDTM, EXSTDTC, ASTDT)")
    end: str | None = Field(default=None, description="when it ended (AENDTM, EXENDTC, AENDT)")
    amount: str | None = Field(default=None, description="of each dose (EXDOSE, AVAL)")
    unit: str | None = Field(default=None, description="of the amount (EXDOSU, DOSEU, AVALU)")
    frequency: str | None = Field(
        default=None, description="how often from start to end (EXDOSFRQ): QD, BID, Q8H, …"
    )
    route: str | None = Field(default=None, description="of administration (EXROUTE)")


class DosesSpec(Spec):
    """A companion dataset with the doses of an ADPC file: CDISC's EX (SDTM) or ADEX (ADaM)."""

    file: str = Field(description="csv or parquet, relative to the config's folder")
    columns: DoseColumnsSpec = DoseColumnsSpec()
    only: dict[str, tuple[Cell, ...]] = Field(
        default_factory=dict,
        description="by column, the cells of the records that count, as in {EXTRT: [XANOMELINE]}; "
        "of a dataset with PARAMCD left out: those of DOSE",
    )
    routes: dict[str, str] = Field(
        default_factory=dict,
        description="by route the compartment it goes into, as in {ORAL: depot, INTRAVENOUS: "
        "central}; where all doses have one route: as `doses_into` says",
    )
    frequencies: dict[str, Annotated[float, quantity("h", gt=0)]] = Field(
        default_factory=dict,
        description="by frequency the time between two doses, for those that are none of CDISC's",
    )
    ongoing: bool = Field(
        default=False,
        description="whether a record of repeated doses without an end goes on until the subject's "
        "last record in the table",
    )
    time_of_day: Annotated[float, quantity("h", ge=0, lt=24)] | None = Field(
        default=None, description="clock time of doses of which the records have a date alone"
    )


class DataSpec(Spec):
    """Patient data: a table of doses and measurements, in NONMEM's manner."""

    file: str = Field(description="csv or parquet, relative to the config's folder")
    format: Literal["nonmem", "adppk", "adpc"] = Field(
        default="nonmem",
        description="adppk, adpc: columns that are left out are those of CDISC's ADPPK or ADPC",
    )
    separator: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        default=",", description="between the cells of a csv file"
    )
    decimal: Literal[".", ","] = Field(default=".", description="the decimal mark of its numbers")
    missing: tuple[str, ...] = Field(
        default=(), description="texts for a missing value, besides an empty cell, . and NA"
    )
    columns: ColumnsSpec = ColumnsSpec()
    units: UnitsSpec = UnitsSpec()
    doses: DosesSpec | None = Field(
        default=None,
        description="of format adpc: the dataset that has the doses, where its own records do not",
    )
    doses_into: str | None = Field(
        default=None,
        description="compartment of doses where no column says it; left out: the model's first",
    )
    occasions: Literal["doses"] | tuple[str | float, ...] | None = Field(
        default=None,
        description="in place of a column `occasion`: doses, each of which begins one, or the "
        "times at which a new one begins, as in [168 h]",
    )
    outputs: Annotated[dict[str, OutputSpec], Field(min_length=1)]
    covariates: dict[str, CovariateSpec] = Field(default_factory=dict)
    only: dict[str, Annotated[tuple[Cell, ...], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="by column, the cells of the rows that count, as in {ANL01FL: [Y]}; others are "
        "left out, and how many is told",
    )
    ignore: IgnoreSpec = IgnoreSpec()
    negative_times: bool = Field(default=False, description="whether records may lie before time 0")
    repeats: bool = Field(
        default=False,
        description="whether records may repeat another one in everything, as replicates do",
    )

    def columns_used(self) -> tuple[str, ...]:
        """The columns that have a meaning here, each once."""
        named = [self.columns.name(meaning) for meaning in ColumnsSpec.model_fields]
        covariates = [covariate.column for covariate in self.covariates.values()]
        used = [*named, *covariates, *self.only, *self.ignore.rows, *self.ignore.filled]
        return tuple(dict.fromkeys(name for name in used if name is not None))
