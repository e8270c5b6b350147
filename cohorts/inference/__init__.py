"""What patient data say of a population: the joint density, and how it is explored."""

from cohorts.inference.joint import Joint
from cohorts.inference.likelihood import Predicted
from cohorts.inference.numpyro_model import model_of
from cohorts.inference.patients import Data, Patients

__all__ = ["Data", "Joint", "Patients", "Predicted", "model_of"]
