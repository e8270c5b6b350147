"""What can be learned of a population from data: its joint density, and how it is explored."""

from typing import TYPE_CHECKING

import lazy_loader

from cohorts.inference.settings import TARGETS, Approximation, Sampling

if TYPE_CHECKING:
    from cohorts.inference.checkpoints import CheckpointError
    from cohorts.inference.density import ModelError
    from cohorts.inference.expansions import Linearised, linearised
    from cohorts.inference.importance_sampling import Importance, importance
    from cohorts.inference.individual_posteriors import Individuals, individuals
    from cohorts.inference.joint import Joint
    from cohorts.inference.likelihood import Predicted
    from cohorts.inference.marginal_draws import (
        coordinates_of_draws,
        log_prior_of_draws,
        marginal_of_draws,
    )
    from cohorts.inference.marginal_likelihood import (
        Marginal,
        marginal,
        objective_function_value,
        scores,
    )
    from cohorts.inference.maximum_likelihood import Maximum, covariance, maximise, standard_errors
    from cohorts.inference.modes import Modes, ModeStatus, Search, individual_modes
    from cohorts.inference.normal_approximations import (
        NormalApproximation,
        normal_approximation,
    )
    from cohorts.inference.numpyro_model import model_of, prior_of
    from cohorts.inference.parameterisation import centring
    from cohorts.inference.pareto_smoothing import Weights
    from cohorts.inference.patients import Data
    from cohorts.inference.posterior import Counts, Draws, sample
    from cohorts.inference.predictive import Predictive
    from cohorts.inference.run import Progress
    from cohorts.inference.simulation_based_calibration import (
        Ranks,
        rank_datasets,
        ranked,
        simulator,
    )
    from cohorts.inference.variational_inference import VariationalApproximation, variational

__all__ = [
    "TARGETS",
    "Approximation",
    "CheckpointError",
    "Counts",
    "Data",
    "Draws",
    "Importance",
    "Individuals",
    "Joint",
    "Linearised",
    "Marginal",
    "Maximum",
    "ModeStatus",
    "ModelError",
    "Modes",
    "NormalApproximation",
    "Predicted",
    "Predictive",
    "Progress",
    "Ranks",
    "Sampling",
    "Search",
    "VariationalApproximation",
    "Weights",
    "centring",
    "coordinates_of_draws",
    "covariance",
    "importance",
    "individual_modes",
    "individuals",
    "linearised",
    "log_prior_of_draws",
    "marginal",
    "marginal_of_draws",
    "maximise",
    "model_of",
    "normal_approximation",
    "objective_function_value",
    "prior_of",
    "rank_datasets",
    "ranked",
    "sample",
    "scores",
    "simulator",
    "standard_errors",
    "variational",
]

# What computes needs JAX and NumPyro, which reading a config should not wait for.
__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "simulation_based_calibration": ["Ranks", "rank_datasets", "ranked", "simulator"],
        "checkpoints": ["CheckpointError"],
        "density": ["ModelError"],
        "expansions": ["Linearised", "linearised"],
        "importance_sampling": ["Importance", "importance"],
        "individual_posteriors": ["Individuals", "individuals"],
        "joint": ["Joint"],
        "likelihood": ["Predicted"],
        "marginal_draws": ["coordinates_of_draws", "log_prior_of_draws", "marginal_of_draws"],
        "marginal_likelihood": ["Marginal", "marginal", "objective_function_value", "scores"],
        "maximum_likelihood": ["Maximum", "covariance", "maximise", "standard_errors"],
        "modes": ["Modes", "ModeStatus", "Search", "individual_modes"],
        "normal_approximations": ["NormalApproximation", "normal_approximation"],
        "numpyro_model": ["model_of", "prior_of"],
        "parameterisation": ["centring"],
        "pareto_smoothing": ["Weights"],
        "patients": ["Data"],
        "posterior": ["Counts", "Draws", "sample"],
        "predictive": ["Predictive"],
        "run": ["Progress"],
        "variational_inference": ["VariationalApproximation", "variational"],
    },
)
