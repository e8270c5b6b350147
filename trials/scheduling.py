"""When patients are dosed and seen, in which periods, and what is impossible of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from cohorts import Cohort
from insilico.model import Model
from insilico.occasions import PREFIX
from insilico.solve import Dose, Events, Input, Pattern, schedule
from trials.dosing import HOURS_A_DAY, MINUTE, DoseSizes, Schedule, Titration, VisitDays, VisitTimes
from trials.naming import Naming
from trials.protocol import varying_model


class Scheduling(Naming):
    """Problems of a config's times, noted as they are found; see `trials.building`."""

    def schedule(self) -> Schedule:
        """When visits may be, of a config without mistakes in that."""
        visits = self.config.visits
        if visits.times is not None:
            return VisitTimes(tuple(visits.times), self.config.drug.first_dose)
        return VisitDays(
            tuple(visits.days or ()), visits.time_of_day, int(visits.retry_after), self.last_day
        )

    def visits(self, model: Model | None) -> list[str]:
        spec = self.config.visits
        outputs = list(model.quantities("Outputs")) if model else []
        measured = list(spec.measure)
        for index, name in enumerate(spec.measure):
            if model and not self.known(
                ("visits", "measure", index), name, outputs, "output to measure"
            ):
                # What was meant may be any of them; its other uses are not to blame.
                measured = outputs
            if name in spec.measure[:index]:
                self.note(("visits", "measure", index), "is listed twice")
        for name in spec.quantified_from:
            self.known(("visits", "quantified_from", name), name, measured, "measured output")
        if (spec.days is None) == (spec.times is None):
            self.note(("visits",), "needs one of `days` and `times`", key=True)
        elif spec.times is not None:
            self.visit_times(spec.times)
        else:
            self.visit_days(spec.days or [])
        return measured

    def visit_times(self, times: Sequence[float]) -> None:
        for index, (earlier, later) in enumerate(itertools.pairwise(times), 1):
            if later < earlier + MINUTE * (1 - 1e-6):
                self.note(
                    ("visits", "times", index),
                    f"must come at least a minute after the time before, {earlier:g} h",
                )
        until = HOURS_A_DAY * self.config.trial.duration
        for index, time in enumerate(times):
            if time > until * (1 + 1e-9):
                self.note(
                    ("visits", "times", index),
                    f"is after the trial's end, {until:g} h after the first dose",
                    hint="make trial.duration longer",
                )
        for key in ("time_of_day", "retry_after"):
            if key in self.config.visits.model_fields_set:
                self.note(("visits", key), "means nothing to visits at `times`", found="")
        for name, arm in self.config.arms.items():
            for key in ("titration", "revision"):
                if getattr(arm, key) is not None:
                    self.note(
                        ("arms", name, key),
                        "goes with visits on days, and not with visits at times",
                        found="",
                        hint="state visits.days in place of visits.times",
                    )

    def visit_days(self, days: Sequence[int]) -> None:
        spec = self.config.visits
        if list(days) != sorted(set(days)):
            self.note(("visits", "days"), "days must increase", found=str(list(days)))
        for index, day in enumerate(days):
            if day > self.last_day:
                self.note(
                    ("visits", "days", index),
                    f"is after the trial's end on day {self.last_day}",
                    allowed=f"1 to {self.last_day}",
                )
        if spec.retry_after % 1:
            self.note(("visits", "retry_after"), "must be whole days")

    def crossover(self, model: Model | None) -> None:
        """Note sequences that are none, arms that nobody is under, effects of no period."""
        spec = self.config.trial.crossover
        if spec is None:
            return
        path = ("trial", "crossover")
        periods = len(spec.sequences[0])
        for index, sequence in enumerate(spec.sequences):
            place = (*path, "sequences", index)
            for period, name in enumerate(sequence):
                self.known((*place, period), name, list(self.config.arms), "arm")
            if len(sequence) != periods:
                message = f"has {len(sequence)} periods, and the first sequence {periods}"
                self.note(place, message, found="")
            if sequence in spec.sequences[:index]:
                self.note(place, "is listed twice", found="")
        for name in self.config.arms:
            if not any(name in sequence for sequence in spec.sequences):
                self.note(("arms", name), "is in none of trial.crossover.sequences", key=True)
        if self.config.trial.randomisation.allocation is not None:
            self.note(
                ("trial", "randomisation", "allocation"),
                "means nothing to a crossover, in which every subject is randomised to a sequence",
                found="",
            )
        for name, effects in spec.period_effects.items():
            place = (*path, "period_effects", name)
            if model is not None:
                self.parameter(place, name, model)
            if len(effects) != periods:
                self.note(place, f"needs a factor for each of {periods} periods")

    def parameter(self, path: Sequence[str | int], name: str, model: Model) -> None:
        self.known(path, name, model.Parameters._fields, "parameter of the model")

    def doses_on(self, day: int) -> bool:
        drug = self.config.drug
        last = drug.last_day or self.last_day
        if drug.every % 1:
            return True  # nobody knows, and that is said elsewhere
        return drug.first_day <= day <= last and (day - drug.first_day) % drug.every == 0

    def doses_end(self) -> float:
        """Day of the last dose where dosing ends before the trial; infinite where it does not."""
        drug = self.config.drug
        if drug.last_day is None or drug.last_day >= self.last_day:
            return math.inf
        return drug.last_day - (drug.last_day - drug.first_day) % drug.every

    def shortest_recheck(self, titrations: Mapping[str, Titration]) -> float:
        """Fewest days between two visits of a patient, over all courses that there may be.

        That may be fewer than any table or schedule states: a scheduled visit follows the day after
        a recheck.
        """
        scheduled, until = sorted(self.config.visits.days or [1]), self.last_day
        used = {spec.titration for spec in self.config.arms.values()}
        waits = {max(1, int(self.config.visits.retry_after))}
        for name, table in titrations.items():
            if name in used:
                waits |= {max(1, int(band.recheck)) for band in table.bands if band.recheck}
        shortest, seen, pending = until, {scheduled[0]}, [scheduled[0]]
        while pending:
            day = pending.pop()
            planned = next((other for other in scheduled if other > day), until + 1)
            following = {min(planned, day + wait) for wait in (*waits, until)}
            following = {other for other in following if other <= until}
            shortest = min([shortest, *(other - day for other in following)])
            pending += following - seen
            seen |= following
        return float(max(1, shortest))

    def doses(self) -> None:
        """Which doses there are and when they may be given."""
        drug = self.config.drug
        if drug.every % 1:
            self.note(("drug", "every"), "must be whole days")
        last = drug.last_day or self.last_day
        if last > self.last_day:
            self.note(("drug", "last_day"), f"is after the trial's end on day {self.last_day}")
        elif drug.first_day > last:
            self.note(("drug", "first_day"), f"is after the last day of dosing, day {last}")
        if drug.adherence is not None:
            mean, spread = drug.adherence.mean, drug.adherence.spread
            widest = math.sqrt(mean * (1.0 - mean))
            if spread > 0.0 and spread >= widest:
                self.note(
                    ("drug", "adherence", "spread"),
                    f"is more than shares around {mean:g} can be spread",
                    allowed=f"below {widest:.3g}, the root of mean·(1 − mean)" if widest else "0",
                )
        if drug.rounding is not None and drug.weekly_rounding is not None:
            self.note(("drug", "weekly_rounding"), "does not go with `rounding`; state one of them")
        if drug.lowest is not None and drug.highest is not None:
            sizes = DoseSizes(
                drug.rounding, drug.weekly_rounding, drug.lowest, drug.highest, drug.every
            )
            if drug.lowest > drug.highest:
                self.note(("drug", "lowest"), f"is above `highest` ({drug.highest:g} mg)")
            elif sizes.limits[0] > (sizes.limits[1] or 0.0):
                self.note(("drug", "rounding"), "leaves no dose between `lowest` and `highest`")

    def occasions(self, cohort: Cohort | None) -> tuple[float, ...]:
        """When occasions after the first begin, in h since day 1 began, and what is wrong there."""
        trial, path = self.config.trial, ("trial", "occasions")
        times = trial.occasions or []
        if trial.occasions is None:
            return ()
        if trial.crossover is not None:
            message = "means nothing to a crossover, of which every period is an occasion"
            self.note(path, message, found="")
            return ()
        for index, (earlier, later) in enumerate(itertools.pairwise(times), 1):
            if later < earlier + MINUTE / HOURS_A_DAY:
                message = f"must come at least a minute after the one before, {earlier:g} d"
                self.note((*path, index), message)
        for index, time in enumerate(times):
            if time >= trial.duration:
                self.note(
                    (*path, index),
                    "is not before the trial's end",
                    allowed=f"less than {trial.duration:g} d",
                )
        if cohort is not None and not cohort.population.between_occasion:
            self.note(
                path,
                "means nothing: no parameter of the population varies between occasions",
                found="",
                hint="state `between_occasion` of one, or leave it out",
            )
            return ()
        first = self.config.drug.first_dose
        return tuple(first + HOURS_A_DAY * time for time in times if time > 0)

    def events(
        self, model: Model | None, cohort: Cohort | None, recheck: float, occasions: Sequence[float]
    ) -> tuple[Events, Pattern] | None:
        drug = self.config.drug
        self.doses()
        if model is None or not self.known(
            ("drug", "compartment"), drug.compartment, model.components(), "compartment"
        ):
            return None
        last = drug.last_day or self.last_day
        if drug.every % 1 or last > self.last_day or drug.first_day > last:
            return None
        doses = [
            Dose((day - 1) * HOURS_A_DAY + drug.time_of_day, drug.compartment, drug.fraction, 0)
            for day in range(drug.first_day, last + 1, int(drug.every))
        ]
        visits = self.schedule()
        changes = []
        if occasions and cohort is not None:
            if self.problems:
                return None  # the times may be among them
            model = varying_model(model, cohort, occasions)
            # Their values are each patient's own.
            names = [PREFIX + name for name in model.varying]
            changes = [Input(time, name, 0.0) for time in occasions for name in names]
        if isinstance(visits, VisitTimes):
            if self.problems:
                return None  # the times may be among them
            actions = [each for each in (*changes, *doses) if each.time <= visits.clock[-1]]
            return schedule(model, actions, visits_at=visits.clock)
        until = visits.time(self.last_day)
        return schedule(
            model,
            [each for each in (*changes, *doses) if each.time <= until],
            visits_until=until,
            shortest_recheck=recheck * HOURS_A_DAY,
        )
