"""What patient data say of a population: the joint density, and how it is explored."""

from cohorts.inference.expansions import Linearised, linearised
from cohorts.inference.importance import Importance, importance
from cohorts.inference.individuals import Individuals, individuals
from cohorts.inference.joint import Joint
from cohorts.inference.likelihood import Predicted
from cohorts.inference.marginal import Marginal, marginal, objective_function_value, scores
from cohorts.inference.maximum_likelihood import Maximum, covariance, maximise, standard_errors
from cohorts.inference.modes import Modes, ModeStatus, Search, individual_modes
from cohorts.inference.numpyro_model import model_of
from cohorts.inference.patients import Data, Patients

__all__ = [
    "Data",
    "Importance",
    "Individuals",
    "Joint",
    "Linearised",
    "Marginal",
    "Maximum",
    "ModeStatus",
    "Modes",
    "Patients",
    "Predicted",
    "Search",
    "covariance",
    "importance",
    "individual_modes",
    "individuals",
    "linearised",
    "marginal",
    "maximise",
    "model_of",
    "objective_function_value",
    "scores",
    "standard_errors",
]
