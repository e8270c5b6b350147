"""Patient data in: tables of doses and measurements, with every mistake told at once.

`read_patients` turns a table into `PatientData`, `to_nonmem` the other way; `exposures` sums up
what subjects were exposed to.
"""

from cohorts.data.characteristics import stated_vocabulary
from cohorts.data.config import DataSpec
from cohorts.data.exporting import nonmem_spec, to_nonmem
from cohorts.data.exposure import exposures, time_after_dose
from cohorts.data.mistakes import DataError, Mistake
from cohorts.data.patients import Kind, Measured, PatientData, Summary
from cohorts.data.reading import read_patients

__all__ = [
    "DataError",
    "DataSpec",
    "Kind",
    "Measured",
    "Mistake",
    "PatientData",
    "Summary",
    "exposures",
    "nonmem_spec",
    "read_patients",
    "stated_vocabulary",
    "time_after_dose",
    "to_nonmem",
]
