"""The answer in plain words, written from the numbers."""

from __future__ import annotations

import math

from insilico.pages.blocks import Tile
from insilico.pages.numbers import Measured, counted, interval, share, whole
from insilico.pages.words import inline
from trials.report.analysis_view import AnalysisView
from trials.report.estimates import directions
from trials.report.failures import never_analysed, stages
from trials.report.published import distance, in_words
from trials.report.view import View

NOUNS = {
    "non_inferiority": "non-inferiority",
    "superiority": "superiority by more than the margin",
    "equivalence": "equivalence",
}

FEWEST_TO_JUDGE = 20
"""Trials below which the standard error of a probability near a half is above 10 points."""


def paragraph(view: View) -> str:
    """The whole answer in one paragraph."""
    if not view.decisive:
        return "This run holds no analysis, so it answers no question about an effect."
    primary, *others = view.decisive
    sentences = [_finding(view, primary)]
    if primary.available:
        sentences.append(
            f"A typical trial's {primary.percent} confidence interval ran from "
            f"{_range(primary, *primary.typical_interval())}."
        )
    sentences += [_truth(primary), _power(primary)]
    for other in others:
        sentences.append(f"In the co-primary analysis, {_about(other)}: {_short(other)}.")
    sentences += [_success(view), _published(primary)]
    sentences += [_published(other) for other in others if other.published is not None]
    return " ".join(sentence for sentence in sentences if sentence)


def lead(view: View) -> str:
    """The answer in one line: how likely this design is to succeed."""
    value, error = view.success
    if not math.isfinite(value):
        return "The probability of success is not available."
    chance = (
        "would rarely succeed"
        if value < 0.2
        else "would fail more often than succeed"
        if value < 0.5
        else "would succeed more often than fail"
        if value < 0.8
        else "would probably succeed"
    )
    percent = share(value, error, view.trials).percent
    if view.trials < FEWEST_TO_JUDGE:
        trials = counted(view.trials, "simulated trial")
        return f"Too few trials to judge this design by: {percent} of {trials} succeeded."
    return f"As designed, this trial {chance}: {percent} of simulated trials succeeded."


def tiles(view: View) -> list[Tile]:
    """The numbers that are seen first."""
    found = []
    if view.decisive:
        primary = view.decisive[0]
        effect = primary.scale.effect(primary.truth, primary.truth_mcse)
        unit = primary.scale.unit or primary.effect_unit
        found.append(Tile("True effect", effect, unit, f"{primary.label}: {primary.contrast}"))
    for position, analysis in enumerate(view.decisive[:3]):
        power = _power_of(analysis)
        role = "primary" if position == 0 else "co-primary"
        note = f"{analysis.label}, {analysis.within or f'α = {analysis.spec.alpha:g}'}"
        found.append(Tile(f"Power, {role}", power, "%", note))
    value, error = view.success
    if math.isfinite(value) and (len(view.decisive) > 1 or view.wanted != "significant"):
        which = f"{_rule(view)} of {len(view.decisive)} " if len(view.decisive) > 1 else ""
        note = f"{which}{view.wanted}"
        found.append(Tile("Success", share(value, error, view.trials), "%", note))
    if view.decisive and view.decisive[0].published is not None:
        primary, entry = view.decisive[0], view.decisive[0].published
        unit = primary.scale.unit or primary.effect_unit
        number = Measured(f"{float(primary.scale.shown(entry.value)):.3g}".replace("-", "\u2212"))
        limits = primary.scale.interval(entry.lower, entry.upper)
        note = f"interval {limits}" if math.isfinite(entry.lower) else "no interval given"
        found.append(Tile("Published effect", number, unit, note))
    return found


def warnings(view: View) -> list[str]:
    """What a reader has to know before anything else; empty for a run without trouble."""
    found = []
    counts = view.group("counts")
    failed = 0 if counts is None or "failed" not in counts else int(counts["failed"])
    if counts is not None and failed:
        solves = int(counts["solves"])
        text = (
            f"{failed:,} of {solves:,} solves of a subject under an arm failed "
            f"({100 * failed / solves:.3g} %). Each is listed under “Failures” and left out of "
            "every analysis."
        )
        if failed > view.config.largest_failed_share * solves:
            text = f"{_failed_run(view)} {text} Its numbers should not be used."
        found.append(text)
    for stage in stages(view):
        if not stage.failed:
            continue
        text = f"{stage.told} What failed is left out of its true effects."
        if stage.failed > view.config.largest_failed_share * stage.solves:
            text = f"{_failed_run(view)} {text} These true effects should not be used."
        found.append(text)
    found += never_analysed(view)
    found += [f"Worth knowing: {note}." for note in view.study.notes]
    for analysis in view.analyses:
        missing = int((~analysis.usable).sum())
        if analysis.available and missing:
            found.append(
                f"“{analysis.label}” has no estimate in {missing:,} of {len(analysis.usable):,} "
                "trials, which counts against its power."
            )
        if not math.isfinite(analysis.truth):
            found.append(f"The true value of “{analysis.label}” is not available.")
    if 0 < view.trials < 100 and view.analyses:
        few = f"{counted(view.trials, 'trial')} {'was' if view.trials == 1 else 'were'} simulated"
        found.append(f"Only {few}: power and coverage are rough, as their Monte-Carlo errors say.")
    return found


def _failed_run(view: View) -> str:
    allowed = 100 * view.config.largest_failed_share
    return f"THIS RUN FAILED: the config allows at most {allowed:g} % of failed solves."


def difference_in_words(analysis: AnalysisView, stored: float, error: float) -> str:
    """A difference with its direction: `3.2 ± 0.1 percentage points higher in … than in …`."""
    shown = analysis.scale.effect(stored, error)
    than = f"in {analysis.treatment.mention} than in {analysis.reference.mention}"
    size = Measured(shown.value.lstrip("\N{MINUS SIGN}"), shown.error)
    if not any(digit in "123456789" for digit in size.value):
        both = than.replace(" than in ", " and in ")
        return f"the same {both} to within {shown.error or 'rounding'}"
    direction = analysis.scale.more if stored > 0 else analysis.scale.less
    return f"{analysis.scale.with_unit(str(size))} {direction} {than}"


def _finding(view: View, analysis: AnalysisView) -> str:
    trials = counted(view.trials, "simulated trial")
    subjects = counted(view.subjects, "patient")
    draws = view.sizes["population"]
    over = f", over {draws:,} draws of the population's parameters" if draws > 1 else ""
    among = "" if analysis.spec.subset is None else f" (analysis “{analysis.label}”)"
    start = f"In {trials} of {subjects} each{over}, "
    if not analysis.available:
        return f"{start}no trial gave an estimate of {inline(analysis.endpoint_label)}{among}."
    found = analysis.characteristics
    mean = found["mean_estimate"], found.get("mean_estimate_mcse", float("nan"))
    what = f"{inline(analysis.endpoint_label)}{among}"
    if analysis.scale.ratio:
        arms = f"{analysis.treatment.mention} against {analysis.reference.mention}"
        ratio = analysis.scale.with_unit(str(analysis.scale.effect(*mean)))
        name, joined = analysis.scale.ratio, "of" if _of_means(analysis) else "for"
        reading = "" if _of_means(analysis) else " (above 1: sooner)"
        return f"{start}the {name} {joined} {what} was on average {ratio}, {arms}{reading}."
    return f"{start}{what} was on average {difference_in_words(analysis, *mean)}."


def _range(analysis: AnalysisView, lower: float, upper: float) -> str:
    return analysis.scale.with_unit(analysis.scale.interval(lower, upper))


def _truth(analysis: AnalysisView) -> str:
    if not math.isfinite(analysis.truth):
        return "The true effect is not available."
    effect = analysis.scale.effect(analysis.truth, analysis.truth_mcse)
    none = abs(analysis.truth) < 2 * analysis.truth_mcse and not analysis.one_sided
    size = effect._replace(value=effect.value.lstrip("\N{MINUS SIGN}"))
    direction = analysis.scale.more if analysis.truth > 0 else analysis.scale.less
    words = (
        f"{analysis.scale.with_unit(str(effect))}, which cannot be told from no effect"
        if none
        else f"a {analysis.scale.ratio} of {analysis.scale.with_unit(str(effect))}"
        if analysis.scale.ratio
        else f"{analysis.scale.with_unit(str(size))} {direction}"
    )
    return (
        f"The true effect, from {whole(analysis.truth_subjects)} virtual patients treated under "
        f"both arms, is {words}."
    )


def _power_of(analysis: AnalysisView) -> Measured:
    found, nan = analysis.characteristics, float("nan")
    return share(found.get("power", nan), found.get("power_mcse", nan), found.get("trials", nan))


def _power(analysis: AnalysisView) -> str:
    power = _power_of(analysis)
    if power.value == "n/a":
        return "Its power is not available."
    up, down = directions(analysis)
    both = (
        f" ({100 * up:.2g} % {analysis.scale.more}, {100 * down:.2g} % {analysis.scale.less})"
        if up > 0 and down > 0 and not analysis.scale.ratio
        else ""
    )
    if analysis.one_sided:
        what = (
            "that is the type I error, as the true effect lies beyond the margin"
            if analysis.beyond
            else "that is the power"
        )
        return (
            f"Of the trials, {power.percent} showed {NOUNS[analysis.spec.hypothesis]}: a "
            f"{analysis.percent} interval {analysis.within}; {what}.{_superior_too(analysis)}"
        )
    return (
        f"Of the trials, {power.percent} found a significant difference at "
        f"α = {analysis.spec.alpha:g}{both}; that is the power."
    )


def _superior_too(analysis: AnalysisView) -> str:
    """How many of the trials that show non-inferiority exclude no effect as well."""
    if analysis.spec.hypothesis != "non_inferiority" or analysis.margins is None:
        return ""
    upwards = math.isfinite(analysis.margins[0])
    limit = analysis.lower if upwards else -analysis.upper
    superior = analysis.significant & (limit > 0)
    trials = len(superior)
    value = float(superior.mean())
    number = share(value, math.sqrt(value * (1 - value) / trials), trials)
    return f" In {number.percent} the interval excluded no effect, too: superiority."


def _of_means(analysis: AnalysisView) -> bool:
    return analysis.spec.estimator == "geometric_mean_ratio"


def _about(analysis: AnalysisView) -> str:
    return f"{inline(analysis.endpoint_label)} in “{analysis.label}”"


def _short(analysis: AnalysisView) -> str:
    if not analysis.available:
        return "no trial gave an estimate"
    found = analysis.characteristics
    mean = analysis.scale.effect(found["mean_estimate"], found.get("mean_estimate_mcse", math.nan))
    effect = analysis.scale.with_unit(str(mean))
    true = analysis.scale.effect(analysis.truth, analysis.truth_mcse)
    what = analysis.scale.ratio or "effect"
    return (
        f"mean estimated {what} {effect}, true {what} {true}, power {_power_of(analysis).percent}"
    )


def _rule(view: View) -> str:
    spec = view.config.success
    return "all" if spec is not None and spec.all_of else "any"


def _success(view: View) -> str:
    value, error = view.success
    if not math.isfinite(value):
        return "The probability of success is not available."
    number = share(value, error, view.trials)
    if len(view.decisive) == 1:
        only = "" if view.wanted == "significant" else f", {view.wanted},"
        chance = number.percent
        return (
            f"With that{only} as its only criterion, the trial succeeds with probability {chance}."
        )
    names = ", ".join(f"“{analysis.label}”" for analysis in view.decisive)
    rule = "any" if _rule(view) == "any" else "each"
    return (
        f"The trial counts as a success when {rule} of {names} is {view.wanted}: probability "
        f"{number.percent}."
    )


def _published(analysis: AnalysisView) -> str:
    entry = analysis.published
    if entry is None:
        return ""
    value = float(analysis.scale.shown(entry.value))
    text = analysis.scale.with_unit(f"{value:.3g}".replace("-", "\N{MINUS SIGN}"))
    if math.isfinite(entry.lower):
        shown = (float(analysis.scale.shown(limit)) for limit in (entry.lower, entry.upper))
        text = f"{text} ({interval(*shown)})"
    found = distance(analysis)
    judged = found is not None and math.isfinite(found.in_errors)
    words = f"; the simulated mean is {in_words(found)}" if found and judged else ""
    return f"For “{analysis.label}” the trial itself reported {text}{words}."
