"""Any number of patients: checked, filled up to whole blocks and solved on all devices."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from insilico.model import Model
from insilico.solve import groups, loops, methods
from insilico.solve import precision as precision_
from insilico.solve.aligned import refuse_parameters
from insilico.solve.blocks import (
    LANES,
)
from insilico.solve.brownian import words_of
from insilico.solve.choosing import MethodChoice, choose_method
from insilico.solve.courses import Rule
from insilico.solve.drivers import Choice, Driver, Launch, choose_driver
from insilico.solve.events import Events, Pattern
from insilico.solve.jobs import Blocks, columns_of, prepare, program_of, put_together
from insilico.solve.records import Records
from insilico.solve.records.parting import apart
from insilico.solve.status import Status
from insilico.solve.tolerances import Precision, Tolerances
from insilico.solve.walks import Walk


class Solution(NamedTuple):
    """What came of each patient; arrays have the patients' axis first.

    - `outputs`: the model's outputs NamedTuple, (patients, times).
    - `visit_time`: (patients, slots), NaN where unused; `records`, the rule's, alike.
    - `administered`: what a rule gave at each event that asks for an order, (patients, orders); NaN
      where a patient failed before. `()` without a rule.
    - `status`, `stopped`, `steps`: (patients,), see `insilico.solve.Walk`.
    - `triggered`: the model's `Triggers`, of each `first`, the time of its first event or NaN, and
      `count`, how many there were, (patients,). `()` for a model without triggers.
    - `measured_error`: of a solve in single precision, the largest relative difference of outputs
      from those of a sample of the patients in double precision and to a tighter tolerance. None in
      double precision.
    """

    outputs: Any
    visit_time: np.ndarray
    records: Any
    administered: Any
    status: np.ndarray
    stopped: np.ndarray
    steps: np.ndarray
    state: Any
    triggered: Any = ()
    measured_error: float | None = None


@dataclasses.dataclass(frozen=True)
class Pending:
    """Patients that the devices are at work on, or done with.

    - `walk`: what comes of them, on the devices: arrays (blocks, …, patients of a block), of which
      the last block's last patients may be padding.
    - `choice`: the driver that solves them, `method`: the method of integration, and why.
    """

    walk: Walk
    blocks: Blocks
    choice: Choice
    method: MethodChoice
    sample: Sample | None = None

    def wait(self) -> Pending:
        """Return once every patient is solved."""
        jax.block_until_ready(self.walk)
        return self

    def solution(self) -> Solution:
        """Wait for the patients and bring what came of them to the host."""
        found = Solution(**jax.tree.map(self.blocks.joined, self.walk)._asdict())
        if self.sample is None:
            return found
        return found._replace(measured_error=self.sample.error_of(found))


class Sample(NamedTuple):
    """Some of the patients of a solve, at work in double precision: their numbers and walks."""

    patients: np.ndarray
    walk: Walk
    blocks: Blocks

    def error_of(self, found: Solution) -> float:
        """The largest relative error of the outputs of these patients; NaN if none was solved."""
        outputs, status = jax.tree.map(self.blocks.joined, (self.walk.outputs, self.walk.status))
        ours = jax.tree.map(lambda leaf: leaf[self.patients], (found.outputs, found.status))
        usable = (status == Status.OK) & (ours[1] == Status.OK)
        return precision_.largest_error(ours[0], outputs, usable)


def solve(
    model: Model,
    parameters: Any,
    events: Events | Records,
    pattern: Pattern | None = None,
    *,
    tolerances: Tolerances | None = None,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
    noise: Array | None = None,
    driver: Driver = "auto",
    launch: Launch | None = None,
    precision: Precision = "double",
) -> Solution:
    """Solve any number of patients through a schedule, or through their event table.

    **Arguments:**

    - `parameters`: the model's `Parameters`, each a number or an array (patients,); numbers are
      those of every patient.
    - `events`, `pattern`: from `insilico.solve.schedule`; arrays (rows,) or (rows, patients). Or an
      event table from `insilico.solve.read_records` alone: then outputs are (patients, records),
      NaN beyond a patient's last record, and `Records.frame` puts them beside the table.
    - `tolerances`: default 1e-6 relative.
    - `method`: one of `insilico.solve.methods.NAMES`, or `"auto"`, for which a sample of the
      patients is solved by an explicit and a stiff one (`insilico.solve.choose_method`); default:
      the model's.
    - `rule`, `subject`: decisions at visits and what they need; arrays of `subject` have the
      patients' axis last.
    - `noise`: for a model with noise, one random key a patient, which addresses its paths: the same
      key gives the same paths, whatever the step and the schedule.
    - `driver`: `"auto"`, `"xla"` or `"kernel"`; `launch`: how the kernel is laid over a GPU. See
      `insilico.solve.choose_driver`, which says what would be taken and why.
    - `precision`: `"double"` or `"single"`, numbers of 64 or 32 bits. Single precision raises
      relative tolerances below 1e-5 to that, and says in `measured_error` how far off it was.

    Patients that fail keep their place and say so in `status`. Raises `ValueError` for parameters
    that are not the model's or not one number a patient, for arrays of different lengths, for no
    patients at all, for events that ask for orders without a rule, that are not of the pattern,
    whose times fall or that name a compartment or an input the model does not have, for an event
    table with a rule, for a method that does not go with the model or its noise, and for a driver
    that cannot do what is asked. Raises `DerivativeError` for numbers that are traced, which are
    for `insilico.solve.solve_traced`.
    """
    ask = functools.partial(
        submit,
        model,
        tolerances=tolerances,
        method=method,
        rule=rule,
        driver=driver,
        launch=launch,
        precision=precision,
    )
    parted = _parted(model, parameters, events)
    if parted is None:
        return ask(parameters, events, pattern, subject=subject, noise=noise).solution()
    parameters, records, parts = parted
    pending = [
        ask(own, table, pattern, subject=known, noise=keys)
        for own, table, (known, keys) in groups.cut(parts, parameters, records, (subject, noise))
    ]
    return groups.joined(parts, [each.solution() for each in pending])


def _parted(
    model: Model, parameters: Any, events: Events | Records
) -> tuple[Any, Records, list[np.ndarray]] | None:
    """Parameters as arrays, the event table and the numbers of the patients of its groups; None
    for what is one batch, or is not one number a patient, which `prepare` refuses."""
    if not isinstance(events, Records) or len(parts := apart(events)) == 1:
        return None
    parameters = columns_of(model, parameters)
    sizes = {leaf.shape for leaf in jax.tree.leaves(parameters)}
    return (parameters, events, parts) if sizes <= {(), (len(events.patients),)} else None


def submit(
    model: Model,
    parameters: Any,
    events: Events | Records,
    pattern: Pattern | None = None,
    *,
    tolerances: Tolerances | None = None,
    method: str | None = None,
    rule: Rule | None = None,
    subject: Any = None,
    noise: Array | None = None,
    driver: Driver | Choice = "auto",
    launch: Launch | None = None,
    precision: Precision = "double",
) -> Pending:
    """As `solve`, but return as soon as the devices are at work, on one batch in any case."""
    refuse_parameters(model, parameters)
    tolerances = tolerances or Tolerances()
    if method == methods.AUTO:
        found = choose_method(
            model,
            parameters,
            events,
            pattern,
            tolerances,
            rule=rule,
            subject=subject,
            noise=noise,
        )
    else:
        asked = "it was asked for" if method else "it is the model's own"
        found = MethodChoice(methods.known(method or model.method), asked)
    chosen = found.name
    loops.check(model, chosen, noisy=noise is not None, tolerances=tolerances)
    precision_.check(precision, chosen)
    tolerances = tolerances.attainable(precision)
    words = None if noise is None else words_of(noise)
    unit = LANES if launch is None else max(LANES, launch.lanes)
    job = prepare(model, parameters, events, pattern, rule, subject, words, unit=unit)
    common, *own = job.blocks.arguments
    first, columns, (known, _) = jax.tree.map(lambda leaf: leaf[0], tuple(own))
    schedule = put_together(job.layout, common, columns)
    first, schedule, known = precision_.in_precision(precision, (first, schedule, known))
    choice = choose_driver(
        model,
        first,
        schedule,
        job.pattern,
        method=chosen,
        rule=rule,
        subject=known,
        driver=driver,
        launch=launch,
    )
    walked = program_of(model, job.pattern, chosen, rule, job.layout, choice, precision)(
        tolerances.numbers(), *job.blocks.arguments
    )
    if precision == "double":
        return Pending(walked, job.blocks, choice, found)
    precision_.check_times(job.whole[1].time)
    numbers = precision_.sample_of(job.blocks.patients)
    blocks = job.some(numbers)
    again = program_of(
        model, job.pattern, chosen, rule, job.layout, Choice("xla", "a sample"), "double"
    )(precision_.tighter(_with_step(model, tolerances)).numbers(), *blocks.arguments)
    return Pending(walked, job.blocks, choice, found, Sample(numbers, again, blocks))


def _with_step(model: Model, tolerances: Tolerances) -> Tolerances:
    return dataclasses.replace(tolerances, step=tolerances.step or model.step)
