"""What is done to patients and what is learned: designs, dosing, endpoints, analyses, reports."""

from trials.config import TrialConfig
from trials.simulate import TooManyFailures, simulate
from trials.study import Study, read

__all__ = ["Study", "TooManyFailures", "TrialConfig", "read", "simulate"]
