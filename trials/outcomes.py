"""The heavy half of a trial: subjects drawn, and each treated under every arm.

Nothing here knows of randomisation. Subjects are addressed by number; every random number that
acts inside a patient (measurement noise, missed visits, doses not taken, dropout, the day a
genotype arrives) is drawn beforehand by key and handed to the solver as a table by nominal time, so
that it is part of the subject's potential outcomes and the same under every arm. Of the paths of a
model's own noise it is the keys that are handed on: a path is a function of key and time. In a
crossover each period has its own; an arm in a period is a condition (`trials.periods`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from cohorts import Numbers, ResidualNumbers
from cohorts.residual import autocorrelated
from insilico.occasions import PREFIX
from insilico.randomness import address, name_hash, purpose_key, subject_keys
from insilico.solve import (
    BLOCK,
    Events,
    MethodChoice,
    Precision,
    TolerancesAsNumbers,
    choose_method,
    methods,
    over_devices,
    solve_block,
)
from insilico.solve.brownian import words_of
from insilico.solve.events import Kind
from insilico.solve.precision import tighter
from trials.config import AvailabilitySpec, TrialConfig
from trials.dispatching import Addresses, blocks_a_dispatch, dispatches
from trials.dosing import HOURS_A_DAY, Formula, Person, preferred_dose
from trials.enrolment import adherence, attendance, dropout_times
from trials.evaluation import endpoints_of
from trials.periods import DAYS_APART
from trials.protocol import Arm, Protocol

MINUTES_A_DAY = 1440

Column = Any
"""An array: on the device or, once fetched, on the host."""


class Drawn(NamedTuple):
    """A block of subjects before treatment; every array ends in the subjects' axis.

    - `covariates`: by name, as drawn. `quantities`: the config's named numbers. `factors`: yes/no
      factors of randomisation and analysis subsets, by name.
    - `attempts`: candidates it took to find an eligible one; 0 where there was none.
    - `parameters`: the model's; those that vary between occasions (occasion, …). `person`: what
      dosing needs, (period, …) each, with starting doses (period, arm, days, …).
    - `noise`: the words of the key that addresses a subject's paths of the model's noise in each
      period, (period, 2, subjects); None for a model without.
    """

    covariates: dict[str, Array]
    quantities: dict[str, Array]
    strata: dict[str, Array]
    subsets: dict[str, Array]
    attempts: Array
    parameters: Any
    person: Person
    noise: Array | None


class Treated(NamedTuple):
    """A block of subjects under every condition, (conditions, subjects) or (conditions, subjects,
    visits); a parallel trial's conditions are its arms.

    - `time` (days since the first day's start), `attended`, and `values` by name at each visit in
      order; `used` says which slots hold a visit that was due.
    - `doses`: what of the drug entered at each dosing time, (conditions, subjects, doses).
    - `endpoints`: by name, a dict of value, valid and, for a time to an event, event.
    - `status`, `stopped` (h), `steps` of the solver; `state`: the model's where the solve ended, by
      component. `overflow`: visits beyond the room for them.
    """

    time: Column
    used: Column
    attended: Column
    values: dict[str, Column]
    doses: Column
    endpoints: dict[str, dict[str, Column]]
    status: Column
    stopped: Column
    steps: Column
    state: dict[str, Column]
    overflow: Column


def subsets_of(config: TrialConfig) -> dict[str, Any]:
    """The criterion of each analysis that has one."""
    return {name: spec.subset for name, spec in config.analyses.items() if spec.subset is not None}


def make_draw(config: TrialConfig, protocol: Protocol) -> Callable[[Addresses], Drawn]:
    """A compiled program that draws the blocks of subjects at some addresses.

    Studies that differ in the numbers of their cohorts, or its options, make the same program.
    """

    def block(numbers: Numbers, seed: Array, addresses: Addresses) -> Drawn:
        return _draw(config, protocol, numbers, seed, addresses)

    numbers = protocol.cohort.numbers(config.seed, config.trial.population_draws)
    program = over_devices(block, shared=2)
    return lambda addresses: program(numbers, jnp.asarray(config.seed), addresses)


def make_treat(
    config: TrialConfig,
    protocol: Protocol,
    method: str | None = None,
    *,
    reference: bool = False,
) -> Callable[[Drawn], Treated]:
    """A compiled program that treats blocks of drawn subjects in every condition of the trial.

    `method` as `method_of` finds it; the model's own if left out. `reference`: in double precision
    and to a tighter tolerance, for what single precision did.
    """
    precision = "double" if reference else config.solver.precision
    tolerances = tighter(protocol.tolerances) if reference else protocol.tolerances

    def block(tolerances: TolerancesAsNumbers, drawn: Drawn) -> Treated:
        return _treat(config, protocol, method, tolerances, drawn, precision)

    program = over_devices(block, shared=1)
    return lambda drawn: program(tolerances.numbers(), drawn)


def method_of(
    config: TrialConfig, protocol: Protocol, draw: Callable[[Addresses], Drawn], first: Addresses
) -> MethodChoice:
    """The method that solves a study's patients, and why.

    For `auto` a sample of the `first` subjects is solved under each arm; stiff for one is for all.
    """
    asked = config.solver.method
    if asked is None:
        return MethodChoice(protocol.model.method, "it is the model's own")
    if asked != methods.AUTO:
        return MethodChoice(asked, "the config names it")
    batch, real = next(dispatches(first, blocks_a_dispatch(first.subject.size)))
    drawn = jax.tree.map(lambda leaf: np.asarray(leaf)[0], draw(batch))
    count = min(real, BLOCK)
    some = jax.tree.map(lambda leaf: leaf[..., :count], drawn)
    found = []
    for arm in range(len(protocol.arms)):
        parameters, subject, events = _under(protocol, some, arm)
        choice = choose_method(
            protocol.solved_model,
            parameters,
            events,
            protocol.pattern,
            protocol.tolerances,
            rule=protocol.rule(arm),
            subject=subject,
        )
        if choice.name in methods.STIFF:
            return choice
        found.append(choice)
    return found[0]


def _draw(
    config: TrialConfig, protocol: Protocol, numbers: Numbers, seed: Array, addresses: Addresses
) -> Drawn:
    subjects, attempts = protocol.cohort.sample(
        numbers, seed, *addresses, occasions=protocol.number_of_occasions
    )
    values: dict[str, Array] = {name: jnp.asarray(v) for name, v in subjects.covariates.items()}
    quantities = {}
    for name, quantity in protocol.quantities.items():
        known = {**values, **quantities}
        if isinstance(quantity, Formula):
            drawn = quantity.dose(known, protocol.vocabulary)
        else:
            drawn = jnp.asarray(quantity.evaluate(known, protocol.vocabulary))
        quantities[name] = jnp.broadcast_to(drawn, attempts.shape).astype(float)
    known = {**values, **quantities}

    def condition(expression: Any) -> Array:
        holds = jnp.asarray(expression.evaluate(known, protocol.vocabulary))
        return jnp.broadcast_to(holds.astype(bool), attempts.shape)

    def keys(purpose: str) -> Array:
        return subject_keys(purpose_key(seed, purpose), *addresses)

    persons = [
        _person(config, protocol, known, subjects.residual, keys, period)
        for period in range(protocol.periods.number)
    ]
    return Drawn(
        covariates=values,
        quantities=quantities,
        strata={name: condition(rule) for name, rule in protocol.strata.items()},
        subsets={name: condition(rule) for name, rule in subsets_of(config).items()},
        attempts=attempts,
        parameters=subjects.parameters,
        person=jax.tree.map(lambda *periods: jnp.stack(periods), *persons),
        noise=None if protocol.model.diffusion is None else _paths(protocol, keys("noise")),
    )


def _paths(protocol: Protocol, keys: Array) -> Array:
    """The words of a key for each subject's paths in each period, (period, 2, subjects)."""
    own = jax.vmap(address, (0, None))
    return jnp.stack([words_of(own(keys, period)) for period in range(protocol.periods.number)])


def _person(
    config: TrialConfig,
    protocol: Protocol,
    values: dict[str, Array],
    residual: Mapping[str, ResidualNumbers],
    keys: Callable[[str], Array],
    period: int,
) -> Person:
    """Every random table a subject's treatment needs in a period, and its starting doses under
    every arm.

    What happens in a period is addressed by a nominal time of its own; when a patient leaves and
    what is known late go on from the trial's first dose.
    """
    trial, visits, drug = config.trial, config.visits, config.drug
    nominal = DAYS_APART * period
    seen_at = nominal + jnp.asarray(protocol.visits.nominal)
    taken_at = nominal + jnp.arange(protocol.days, dtype=float) + drug.time_of_day / 24.0
    start = protocol.periods.starts[period]
    shape = keys("dropout").shape
    noise = {
        name: _noise_at(keys("residual error"), name, seen_at, residual.get(name))
        for name in protocol.measured
    }
    takes = jnp.ones((protocol.days, *shape))
    if drug.adherence is not None:
        mean, spread = drug.adherence.mean, drug.adherence.spread
        alike = spread**2 / (mean * (1.0 - mean)) if mean < 1 else 0.0
        takes = jnp.moveaxis(adherence(keys("adherence"), taken_at, mean, alike), -1, 0)
    leaves = jnp.full(shape, jnp.inf)
    if trial.dropout is not None:
        leaves = 1.0 + dropout_times(keys("dropout"), trial.dropout.share, trial.dropout.by)
        leaves = leaves - start
    unknown_until = {
        name: arrival
        for group, spec in config.availability.items()
        for arrival in [_arrival_day(keys("availability"), group, spec) - start]
        for name in spec.covariates
    }
    attends = attendance(keys("attendance"), seen_at, visits.attendance)
    return Person(
        values=values,
        start_dose=jnp.stack(
            [_starting_doses(protocol, arm, values, unknown_until, shape) for arm in protocol.arms]
        ),
        unknown_until=unknown_until,
        noise=noise,
        residual={name: residual[name] for name in protocol.measured if name in residual},
        attends=jnp.moveaxis(attends, -1, 0).astype(float),
        takes=takes.astype(float),
        leaves=leaves,
    )


def _noise_at(keys: Array, name: str, days: Array, residual: ResidualNumbers | None) -> Array:
    """Standard normal draws of an output's residual error, (times, subjects)."""
    draws = _normal_at(keys, name, days)
    if residual is None or residual.autocorrelation is None:
        return draws
    return autocorrelated(draws, HOURS_A_DAY * days, residual.autocorrelation)


def _normal_at(keys: Array, name: str, days: Array) -> Array:
    """Standard normal draws addressed by output and nominal time, (times, subjects)."""
    minutes = jnp.round(days * MINUTES_A_DAY).astype(jnp.int32)

    def one(key: Array) -> Array:
        own = address(key, name_hash(name))
        return jax.vmap(lambda minute: jax.random.normal(address(own, minute)))(minutes)

    return jnp.moveaxis(jax.vmap(one)(keys), -1, 0)


def _arrival_day(keys: Array, group: str, spec: AvailabilitySpec) -> Array:
    """First day on which each subject's late covariates are known; infinite where never."""
    drawn = jax.vmap(lambda key: jax.random.uniform(address(key, name_hash(group))))(keys)
    day = jnp.full_like(drawn, jnp.inf)
    for known in reversed(spec.known):
        day = jnp.where(drawn < known.share, float(known.day), day)
    return day


def _starting_doses(
    protocol: Protocol,
    arm: Arm,
    values: Mapping[str, Array],
    unknown_until: Mapping[str, Array],
    subjects: tuple[int, ...],
) -> Array:
    """The dose of each day while no visit has changed it, (days, subjects), in mg."""
    day = jnp.arange(1, protocol.days + 1)[:, None]
    unknown = {name: day < until for name, until in unknown_until.items()}
    daily = preferred_dose(arm.start, values, protocol.vocabulary, protocol.late, unknown)
    dose = daily * protocol.sizes.every
    known = {**protocol.late.masked(values, unknown), "maintenance": dose}
    for number, expression in arm.loading.items():
        loaded = jnp.asarray(expression.evaluate(known, protocol.vocabulary), float)
        dose = jnp.where(day == number, loaded, dose)
    return protocol.sizes.fit(jnp.broadcast_to(dose, (protocol.days, *subjects)))


def _treat(
    config: TrialConfig,
    protocol: Protocol,
    method: str | None,
    tolerances: TolerancesAsNumbers,
    drawn: Drawn,
    precision: Precision = "double",
) -> Treated:
    def one_condition(condition: Array) -> Treated:
        parameters, person, events = _under(protocol, drawn, condition)
        walked = solve_block(
            protocol.solved_model,
            parameters,
            events,
            protocol.pattern,
            tolerances,
            method=method,
            rule=protocol.rule(condition % len(protocol.arms)),
            subject=person,
            noise=None if drawn.noise is None else drawn.noise[condition // len(protocol.arms)],
            precision=precision,
        )
        visits, used, overflow = _compact(walked.visit_time, walked.records, protocol.most_visits)
        time = (visits.pop("time") / HOURS_A_DAY).astype(jnp.float32)
        attended = visits.pop("attended") & used
        values = {name: value.astype(jnp.float32) for name, value in visits.items()}
        # Endpoints are computed from what is stored, so that deriving them again gives the same.
        return Treated(
            time=time,
            used=used,
            attended=attended,
            values=values,
            doses=walked.administered.T.astype(jnp.float32),
            endpoints=endpoints_of(config, time, attended, values),
            status=walked.status,
            stopped=walked.stopped,
            steps=walked.steps,
            state=dict(
                zip(protocol.model.components(), jax.tree.leaves(walked.state), strict=True)
            ),
            overflow=overflow,
        )

    return jax.lax.map(one_condition, jnp.arange(protocol.periods.conditions))


def _under(protocol: Protocol, drawn: Drawn, condition: Array | int) -> tuple[Any, Person, Events]:
    """The parameters of a block of subjects in a condition, what dosing needs of them, and their
    schedule.

    The condition's number may be traced. Parameters that vary between occasions are the same under
    every arm. A period is an occasion; where a parallel trial has several they are those of the
    first, and the others are in the schedule.
    """
    arms = len(protocol.arms)
    person = jax.tree.map(lambda leaf: leaf[condition // arms], drawn.person)
    parameters = drawn.parameters._replace(
        **{
            name: getattr(drawn.parameters, name)[... if protocol.occasions else condition // arms]
            for name in protocol.cohort.population.between_occasion
        }
    )
    absorbed = jnp.asarray([arm.bioavailability for arm in protocol.arms])[condition % arms]
    changed = {
        name: getattr(parameters, name) * jnp.asarray(factors)[condition]
        for name, factors in protocol.factors.items()
    }
    person = person._replace(
        start_dose=person.start_dose[condition % arms], takes=person.takes * absorbed
    )
    parameters, events = _in_occasions(protocol, parameters._replace(**changed))
    return parameters, person, events


def _in_occasions(protocol: Protocol, parameters: Any) -> tuple[Any, Events]:
    """Parameters of the first occasion, and the schedule with those of the others.

    Those that vary are (occasions, subjects) where the trial states occasions.
    """
    if not protocol.occasions:
        return parameters, protocol.events
    model, events = protocol.solved_model, protocol.events
    first, changes = {}, {}
    for name in model.varying:
        values = getattr(parameters, name)
        target = model.Inputs._fields.index(PREFIX + name)
        rows = np.flatnonzero((events.kind == Kind.INPUT) & (events.target == target))
        # An occasion that begins after the last visit has no row.
        changes |= dict(zip(rows.tolist(), values[1:], strict=False))
        first[name] = values[0]
    subjects = next(iter(first.values())).shape
    amount = jnp.broadcast_to(jnp.asarray(events.amount)[:, None], (len(events.amount), *subjects))
    amount = amount.at[np.array(list(changes), int)].set(jnp.stack(list(changes.values())))
    return parameters._replace(**first), events._replace(amount=amount)


def _compact(
    time: Array, records: dict[str, Array], most: int
) -> tuple[dict[str, Array], Array, Array]:
    """Visits moved to the front of the slots: (subjects, most), and how many found no room."""
    used = jnp.isfinite(time)
    so_far = jnp.cumsum(used, axis=0)
    count = so_far[-1]
    # The k-th visit stands behind all slots up to which fewer than k were used.
    place = jnp.stack([jnp.sum(so_far <= k, axis=0) for k in range(most)])
    place = jnp.minimum(place, time.shape[0] - 1)
    held = jnp.arange(most)[:, None] < count
    visits = {
        name: jnp.where(held, jnp.take_along_axis(column, place, axis=0), 0).T
        for name, column in {"time": time, **records}.items()
    }
    visits = {
        name: column.astype(records["attended"].dtype) if name == "attended" else column
        for name, column in visits.items()
    }
    return visits, held.T, jnp.maximum(count - most, 0)
