"""A fit's own calibration: data sets simulated from its priors, each fitted as its data would."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int
from numpyro import handlers

from cohorts._faults import Faults
from cohorts.diagnosis.convergence import varying
from cohorts.fits.fit import Fit
from cohorts.fits.report.view import FACTOR
from cohorts.fits.results import axes
from cohorts.fits.running import centring_of, tolerances_of
from cohorts.hierarchy.imported import SITE as ESTIMATES
from cohorts.inference.density import Density, Position
from cohorts.inference.joint import Joint
from cohorts.inference.numpyro_model import as_sampled, model_of, prior_of
from cohorts.inference.patients import Data, check_patients
from cohorts.inference.simulation_based_calibration import Ranks, ranked
from cohorts.sbc.simulating import Simulated, check_simulated, simulated
from insilico.programs import quickly

OF_SUBJECTS = ("eta_", "kappa_")
"""How sites of random effects begin; those of the first and the last subject are ranked."""

Progress = Callable[[str, int, int], None]


class Ranked(NamedTuple):
    """What simulated data sets come to.

    - `parameters`: names of the scalars ranked, the population's first; a subject's effects have
      its ID, and the number of the occasion.
    - `of_subjects`: which of them are random effects.
    - `ranks`, `truth`: of each data set, (data sets, parameters).
    - `effective`: effective sample size of the draws it is ranked among.
    - `numbers`: of the data sets among all drawn. `impossible`: of those to which the density
      gives no value at what made them, and that are left out.
    - `simulated`: the data sets, and those that were left out since a solve failed.
    - `calibration`: how they were sampled.
    """

    parameters: tuple[str, ...]
    of_subjects: np.ndarray
    ranks: Int[np.ndarray, "datasets parameters"]
    truth: Float[np.ndarray, "datasets parameters"]
    effective: Float[np.ndarray, "datasets parameters"]
    numbers: Int[np.ndarray, " datasets"]
    impossible: tuple[int, ...]
    simulated: Simulated
    calibration: Ranks


def of_first_subjects(fit: Fit) -> Fit:
    """The fit of the first so many subjects that its config wants data sets to have."""
    count = fit.config.sbc.subjects
    subjects = fit.patients.subjects
    if count is None or count >= len(subjects):
        return fit
    return dataclasses.replace(fit, patients=fit.patients.selected(subjects[:count]))


def rank(fit: Fit, *, simulated_by: Fit | None = None, progress: Progress | None = None) -> Ranked:
    """Simulate data sets by a fit's priors, fit each, and rank what made it among its draws.

    All data sets are chains of one compiled program.

    **Arguments:**

    - `fit`: as `cohorts.fits.read` gives it; `config.sbc` says how many data sets, and the rest.
    - `simulated_by`: a fit to the same data, with the same parameters, by whose population they are
      simulated: the calibration is then that of a fit that is wrong.
    - `progress`: called as work goes on, with a stage, and how much of how much of it is done.

    Raises `ConfigError` where so few subjects do not fit the population, or their data cannot be
    simulated, and `ModelError` where too few data sets can be solved.
    """
    tell = progress or (lambda stage, done, total: None)
    tell("simulated data sets", 0, 1)
    prepared = prepare(fit)
    made = simulate(simulated_by or fit)
    tell("simulated data sets", 1, 1)
    return prepared.rank(made, lambda done, total: tell("iterations", done, total))


def simulate(fit: Fit) -> Simulated:
    """The data sets of `rank`."""
    fit = of_first_subjects(fit)
    check(fit)
    joint, data = _joint(fit)
    return simulated(
        joint,
        data,
        fit.patients.measured.limit,
        seed=fit.config.seed,
        datasets=fit.config.sbc.datasets,
    )


def prepare(fit: Fit) -> Prepared:
    """What is the same for all data that a fit is calibrated on."""
    fit = of_first_subjects(fit)
    check(fit)
    joint, data = _joint(fit)
    shares = centring_of(fit, joint, data)
    return Prepared(fit, joint, data, shares, model_of(joint))


class Prepared(NamedTuple):
    """A fit that may be calibrated by any data sets of its design, with one compiled program.

    - `shares`: how much each random effect is sampled as itself; `model`: sampled that way.
    """

    fit: Fit
    joint: Joint
    data: Data
    shares: dict[str, np.ndarray]
    model: Callable[..., None]

    def rank(self, made: Simulated, progress: Callable[[int, int], None] | None = None) -> Ranked:
        """Fit each data set, and rank what made it among its draws."""
        settings, joint = self.fit.config.sbc, self.joint
        # The fit's own numbers, whatever the data were simulated by.
        own = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (len(made.number), *np.shape(leaf))),
            {"numbers": self.data.hyperparameters, "centred": self.shares},
        )
        given = {
            "data": made.data._replace(hyperparameters=own["numbers"]),
            "centred": own["centred"],
        }
        first = jax.tree.map(lambda leaf: leaf[0], given)
        prior = Density.of(prior_of(joint), first)

        def start(sites: dict[str, Array], given: dict[str, Any]) -> Position:
            values = as_sampled(joint, sites, **given)
            return prior.unconstrained(values, given)

        position = quickly(jax.vmap(start))(_of_joint(joint, made.sites), given)
        found = ranked(
            Density.of(self.model, first),
            position,
            given,
            seed=self.fit.config.seed,
            warmup=settings.warmup,
            draws=settings.draws,
            thin=settings.thin,
            max_tree_depth=settings.max_tree_depth,
            quantities=_quantities(joint, prior),
            progress=progress,
        )
        return _scalars(self.fit, joint, made, found)


def check(fit: Fit) -> None:
    """Raise `ConfigError` with everything by which data of a fit's first subjects cannot be
    simulated and fitted."""
    faults = Faults(fit.document, ())
    with faults.at():
        check_patients(fit.population, fit.patients)
    with faults.at():
        check_simulated(fit.population, fit.patients)
    faults.raise_if_any()


def _joint(fit: Fit) -> tuple[Joint, Data]:
    solver = fit.config.solver
    return Joint.of(
        fit.population, fit.patients, method=solver.method, tolerances=tolerances_of(solver)
    )


def _of_joint(joint: Joint, sites: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of all that was drawn what the density has sites for, which mixtures' components are not."""
    wanted = {*joint.sites, *joint.effect_sites}
    if missing := wanted - set(sites):
        raise ValueError(f"what data are simulated by has no {', '.join(sorted(missing))}")
    return {name: of for name, of in sites.items() if name in wanted}


def _quantities(joint: Joint, prior: Density) -> Callable[[Position, Any], dict[str, Array]]:
    """What is ranked, by a chain's position: what `Ranked` has, in the shapes of the sites."""
    found: dict[str, Any] = {}

    def look() -> None:
        with handlers.block(), handlers.trace() as sites, handlers.seed(rng_seed=0):
            joint.population.typical_values(joint.options, joint.population.hyperparameters)
        found.update(sites)

    # Names are all that is looked for: nothing need be computed.
    jax.eval_shape(look)
    of_population = {
        name
        for name, site in found.items()
        if "value" in site and name != ESTIMATES and not name.startswith(FACTOR)
    }
    ends = sorted({0, joint.subjects - 1})

    def quantities(position: Position, data: Any) -> dict[str, Array]:
        found = prior.sites(position, data).values
        own = {name: found[name] for name in found if name.startswith(OF_SUBJECTS)}
        return {
            **{name: found[name] for name in found if name in of_population},
            **{name: of[..., np.array(ends)] for name, of in own.items()},
        }

    return quantities


def _scalars(fit: Fit, joint: Joint, made: Simulated, found: Ranks) -> Ranked:
    """Every number that varies, by a name of its own."""
    told = axes(fit, joint)
    subjects = fit.patients.subjects
    ends = [subjects[at] for at in sorted({0, joint.subjects - 1})]
    coords = {**told["coords"], "subject": [str(subject) for subject in ends]}
    own = {name for name in found.kept if name.startswith(OF_SUBJECTS)}
    variables = {}
    for name, of in found.kept.items():
        dims = told["dims"].get(name, ["subject"] if name in own else None)
        dims = dims or [f"{name}_{number}" for number in range(of.ndim - 2)]
        variables[name] = (("chain", "draw", *dims), of)
    kept = xr.Dataset(variables, coords=coords)
    # The population's first, whatever the order in which sites are found.
    scalars = sorted(varying(kept), key=lambda scalar: scalar[1] in own)

    def columns(values: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.stack([values[name][:, *index] for _, name, index in scalars], axis=1)

    usable = np.flatnonzero(found.possible)
    return Ranked(
        parameters=tuple(label for label, _, _ in scalars),
        of_subjects=np.array([name in own for _, name, _ in scalars]),
        ranks=columns(found.ranks),
        truth=columns(found.truth),
        effective=np.stack(
            [_effective(found.kept[name][:, :, *index]) for _, name, index in scalars], axis=1
        ),
        numbers=made.number[usable],
        impossible=tuple(int(at) for at in made.number[~found.possible]),
        simulated=made,
        calibration=found,
    )


def _effective(draws: Float[np.ndarray, "datasets draws"]) -> Float[np.ndarray, " datasets"]:
    from arviz_stats.base.array import array_stats

    found: Any = array_stats.ess(draws[:, None, :], method="bulk", chain_axis=1, draw_axis=2)
    # Draws of a chain that stood still count as independent to ArviZ.
    return np.where(np.ptp(draws, axis=1) == 0.0, 1.0, found)
