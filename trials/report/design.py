"""The trial as it was simulated: size, conduct, arms and how patients are dosed."""

from __future__ import annotations

from collections.abc import Callable

from insilico.pages.blocks import Block, Cell, Column, Details, Row, Section, Table, Text, facts
from insilico.pages.numbers import plain
from insilico.pages.words import inline, readable
from trials.allocation import allocation_of
from trials.config import ArmSpec, TitrationSpec, TrialConfig, VisitsSpec
from trials.dosing import library
from trials.report.view import View


def section(view: View) -> Section:
    """Design, arms and titration tables."""
    blocks: list[Block] = []
    if view.config.description:
        blocks.append(Text(view.config.description))
    blocks += [facts("The simulated design", _design(view), "the config"), _arms(view)]
    used = dict.fromkeys(arm.titration for arm in view.config.arms.values() if arm.titration)
    tables = [_titration(view, name, view.config.titrations[name]) for name in used]
    if tables:
        names = ", ".join(view.words(name) for name in used)
        blocks.append(Details(f"Titration by measured value ({names})", tables))
    return Section("design", "The trial as simulated", blocks)


def shown(expression: str) -> str:
    """An expression with the signs that are read more easily."""
    text = " ".join(expression.split())
    for typed, read in ((">=", "≥"), ("<=", "≤"), ("!=", "≠"), ("==", "=")):
        text = text.replace(typed, read)
    return text


def _design(view: View) -> list[tuple[str, str]]:
    config = view.config
    trial, drug, visits = config.trial, config.drug, config.visits
    rows = [
        ("Patients", f"{view.subjects:,} randomised in each trial"),
        ("Simulated trials", _replicates(config)),
        (
            "Eligibility",
            "; ".join(shown(rule.text) for rule in config.cohort.eligibility) or "everybody",
        ),
        ("Randomisation", _randomisation(view)),
        ("Centres", f"{trial.centres.count}, {_sizes(trial.centres.spread)}"),
        ("Enrolment", f"evenly over {plain(trial.enrolment.period)} d"),
        (
            "Treatment" if trial.crossover is None else "Each period",
            f"{plain(trial.duration)} d from the first dose to the last visit",
        ),
        *_crossover(view),
        ("Drug", _drug(config)),
        (
            "Visits",
            f"{_when(visits)}; "
            f"{', '.join(inline(view.output_short(output)) for output in visits.measure)} measured"
            + (
                f"; each kept with probability {plain(visits.attendance)}, {_missed(visits)}"
                if visits.attendance < 1
                else ""
            ),
        ),
        *_limits(view),
        (
            "Dropout",
            "none"
            if trial.dropout is None
            else f"{plain(100 * trial.dropout.share)} % by day {plain(trial.dropout.by)}, "
            "at a constant hazard",
        ),
    ]
    if drug.adherence is not None:
        share = f"{plain(100 * drug.adherence.mean)} % of doses taken on average"
        spread = f"standard deviation between patients {plain(100 * drug.adherence.spread)} %"
        rows.append(("Adherence", f"{share}, {spread}"))
    for name, group in config.availability.items():
        known = ", ".join(f"{plain(100 * k.share)} % before day {k.day}" for k in group.known)
        what = ", ".join(group.covariates)
        rows.append((f"{readable(name)} known", f"{what}: {known}"))
    if config.success is not None:
        names = config.success.any_of or config.success.all_of or []
        rule = "any of" if config.success.any_of else "all of"
        labels = ", ".join(f"“{config.analyses[n].label or readable(n)}”" for n in names)
        rows.append(("Success", f"{rule} {labels} {view.wanted}"))
    return rows


def _when(visits: VisitsSpec) -> str:
    if visits.times is not None:
        return f"{', '.join(map(plain, visits.times))} h after the first dose"
    return f"days {', '.join(map(str, visits.days or ()))} at {plain(visits.time_of_day)} h"


def _missed(visits: VisitsSpec) -> str:
    return "else lost" if visits.times else f"made up {plain(visits.retry_after)} d later"


def _limits(view: View) -> list[tuple[str, str]]:
    limits = [
        f"{inline(view.output_short(name))} {plain(limit)} {view.unit(name)}"
        for name, limit in view.config.visits.quantified_from.items()
    ]
    return [("Quantified from", "; ".join(limits))] if limits else []


def _crossover(view: View) -> list[tuple[str, str]]:
    spec = view.config.trial.crossover
    if spec is None:
        return []
    periods = f"{len(spec.sequences[0])}, {plain(spec.washout)} d from one to the next"
    rows = [("Periods", periods)]
    for name, effects in spec.period_effects.items():
        factors = ", ".join(map(plain, effects))
        rows.append(("Period effects", f"{view.words(name)} times {factors}"))
    return rows


def _replicates(config: TrialConfig) -> str:
    trial = config.trial
    text = f"{trial.replicates:,}"
    if trial.population_draws > 1:
        text += (
            f", {trial.per_draw:,} of each of {trial.population_draws:,} draws of the population's"
        )
        text += " parameters"
    return text


def _sizes(spread: float) -> str:
    return "equal in size" if spread == 0 else f"sizes varying by {plain(100 * spread)} %"


def _randomisation(view: View) -> str:
    config, spec = view.config, view.config.trial.randomisation
    shares, crossover = allocation_of(config), config.trial.crossover
    groups = [arm.label for arm in view.arms]
    if crossover is not None:
        groups = [f"“{view.sequence(sequence)}”" for sequence in crossover.sequences]
    ratio = " : ".join(f"{group} {share}" for group, share in zip(groups, shares, strict=True))
    if len(groups) == 1:
        return "none, a single arm"
    how = "simple"
    if spec.method == "permuted_blocks":
        how = f"permuted blocks of {' or '.join(map(str, spec.block_sizes))}"
    by = ["centre"] if spec.strata.centre else []
    by += [f"{readable(name)} ({shown(rule.text)})" for name, rule in spec.strata.by.items()]
    within = f", within strata of {' and '.join(by)}" if by else ""
    return f"{ratio}; {how}{within}"


def _drug(config: TrialConfig) -> str:
    drug = config.drug
    every = "every day" if drug.every == 1 else f"every {plain(drug.every)} d"
    days = f"from day {drug.first_day}" if drug.first_day > 1 else ""
    if drug.last_day is not None:
        days = f"from day {drug.first_day} to day {drug.last_day}"
    when = f"{every} {days}".strip()
    if drug.last_day == drug.first_day:
        when = f"once, on day {drug.first_day}"
    parts = [f"{drug.name}, {when} at {plain(drug.time_of_day)} h"]
    if drug.fraction != 1:
        parts.append(f"{plain(100 * drug.fraction)} % of the dose enters “{drug.compartment}”")
    if drug.rounding is not None:
        parts.append(f"doses are multiples of {plain(drug.rounding)} mg")
    if drug.weekly_rounding is not None:
        parts.append(f"weekly doses are multiples of {plain(drug.weekly_rounding)} mg")
    if drug.lowest is not None:
        parts.append(f"at least {plain(drug.lowest)} mg")
    if drug.highest is not None:
        parts.append(f"at most {plain(drug.highest)} mg")
    return "; ".join(parts)


def _arms(view: View) -> Table:
    what: dict[str, Callable[[ArmSpec], str]] = {
        "First dose": lambda spec: _start(view, spec),
        "Revision": lambda spec: _revision(view, spec),
        "Titration": lambda spec: view.words(spec.titration or "–"),
    }
    arms = view.config.arms.values()
    if any(_changed(view, spec) for spec in arms):
        what["In the patient"] = lambda spec: _changed(view, spec) or "–"
    rows = [Row([spec.label, *(told(spec) for told in what.values())]) for spec in arms]
    columns = [Column(name) for name in ("Arm", *what)]
    return Table("What each arm receives", columns, rows, "the config")


def _changed(view: View, spec: ArmSpec) -> str:
    """What an arm does to a patient's parameters; empty where it does nothing."""
    factors = {view.words(name): factor for name, factor in spec.parameters.items()}
    if spec.bioavailability != 1:
        factors["Bioavailability"] = spec.bioavailability
    return "; ".join(f"{name} times {plain(factor)}" for name, factor in factors.items())


def _named(view: View, formula: str) -> str:
    found = library().get(formula)
    if formula in view.config.formulas or found is None:
        return readable(formula)
    return found.title


def _start(view: View, spec: ArmSpec) -> str:
    text = ", else ".join(_named(view, name) for name in spec.start)
    loading = ", ".join(f"day {entry.day}: {entry.dose.text}" for entry in spec.loading)
    return f"{text}; loading (mg) {loading}" if loading else text


def _revision(view: View, spec: ArmSpec) -> str:
    if spec.revision is None:
        return "–"
    names = ", else ".join(_named(view, name) for name in spec.revision.formulas)
    days = " or ".join(map(str, spec.revision.days))
    return f"at every visit on day {days}: {names}"


def _titration(view: View, name: str, spec: TitrationSpec) -> Table:
    rows = []
    below = None
    for band in spec.bands:
        low = "–" if below is None else plain(below)
        high = "–" if band.below is None else plain(band.below)
        change = f"{band.change:+g} %".replace("-", "\N{MINUS SIGN}") if band.change else "none"
        if band.again is not None:
            change += f" ({band.again:+g} % if again)".replace("-", "\N{MINUS SIGN}")
        following = "held until the next visit" if band.hold else _next_dose(band.next_dose)
        recheck = "–" if band.recheck is None else plain(band.recheck)
        cells: list[Cell] = [low, high, change, following, recheck]
        rows.append(Row(cells))
        below = band.below
    unit = view.unit(spec.of)
    return Table(
        f"{view.words(name)}: from a measured {view.output_short(spec.of)} to a change of dose",
        (
            Column("From", unit, number=True),
            Column("Below", unit, number=True),
            Column("Change of dose"),
            Column("Next dose"),
            Column("Recheck within", "d", number=True),
        ),
        rows,
        "the config",
    )


def _next_dose(factor: float) -> str:
    return "as ordered" if factor == 1 else "omitted" if factor == 0 else f"times {plain(factor)}"
