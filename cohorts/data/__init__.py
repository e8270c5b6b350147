"""Patient data in: tables of doses and measurements, with every mistake told at once."""

from cohorts.data.config import DataSpec
from cohorts.data.mistakes import DataError, Mistake, gathered
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
    "gathered",
    "read_patients",
]
