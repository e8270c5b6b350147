"""How everything was computed, for what this trial uses; and the solver's settings and totals."""

from __future__ import annotations

import math

from insilico.pages.blocks import Block, Bullets, Column, Row, Section, Table, facts
from insilico.pages.numbers import plain, significant, whole
from insilico.pages.words import readable
from insilico.solve import Tolerances
from insilico.solve.methods import FIXED_STEP, STOCHASTIC
from trials.config import (
    AreaUnderCurveSpec,
    CourseSpec,
    EndpointSpec,
    TrialConfig,
)
from trials.estimators import ESTIMATORS
from trials.report.analysis_view import AnalysisView
from trials.report.design import shown
from trials.report.view import View

ENDPOINTS = {
    "time_in_range": (
        "percentage of days with the value from {low} to {high}, by linear interpolation between "
        "visits no more than {longest_gap} d apart (Rosendaal et al., Thromb Haemost "
        "1993;69:236-239)"
    ),
    "time_to_range": (
        "time to the first visit with a value {range}; censored at the last visit that was kept"
    ),
    "any_at_or_above": "whether any visit has a value of {threshold} or more",
    "last": "value at the last visit that was kept",
    "mean": "mean of the values at visits, each counting the same",
    "area_under_curve": "area under the values {to_where}, by trapezoids {trapezoids}; {below}",
    "maximum": "largest value; {below}",
    "time_of_maximum": "time after the first dose to the largest value; {below}",
}

BELOW = {
    "zero_first": "0 before the first quantified value and nothing after it",
    "zero": "0",
    "half_limit": "half the limit",
}

SIMULATION = (
    "Every subject is solved under every arm with the same random numbers (noise, missed visits, "
    "missed doses, dropout), so that its potential outcomes are known. Each trial then shows one "
    "of them for each subject: that of the arm it was randomised to.",
    "True values come from subjects of their own, each seen under both arms. For means and risks "
    "the Monte-Carlo error is that of the paired difference. For times to an event it is the "
    "estimator's own standard error, which ignores the pairing and so is on the large side.",
    "Monte-Carlo errors of power, bias, standard deviations, coverage: Morris, White & Crowther, "
    "Stat Med 2019;38:2074-2102, Table 6. The errors of bias include that of the true value. A "
    "share of none or all of the trials is given with its 95 % bound instead (Clopper & Pearson, "
    "Biometrika 1934;26:404-413).",
    "Numbers are rounded to their Monte-Carlo error: one significant digit of it, two after a 1.",
    "Curves of time to an event: Kaplan & Meier, JASA 1958;53:457-481.",
)


def section(view: View) -> Section:
    """Methods by endpoint and analysis, simulation, solver."""
    config = view.config
    endpoints = [
        Row(
            [
                spec.label or readable(name),
                _endpoint(view, spec),
                ", ".join(_analysed(config, name)),
            ]
        )
        for name, spec in config.endpoints.items()
    ]
    analyses = [
        Row(
            [
                analysis.label,
                analysis.endpoint_label,
                _estimator(view.config, analysis),
                analysis.contrast,
            ]
        )
        for analysis in view.analyses
    ]
    blocks: list[Block] = [
        Table(
            "Endpoints",
            (Column("Endpoint"), Column("How it is computed"), Column("Analyses")),
            endpoints,
            "the config",
        )
    ]
    if analyses:
        labels = ("Analysis", "Endpoint", "Estimator", "Contrast")
        columns = [Column(label) for label in labels]
        blocks.append(Table("Analyses", columns, analyses, "the config"))
    blocks += [Bullets(_simulation(view), lead="Simulation and its errors:"), _solver(view)]
    return Section("methods", "Methods", blocks)


def _simulation(view: View) -> tuple[str, ...]:
    """How patients and trials are simulated, with the noise of the model where it has some."""
    processes = view.study.protocol.model.processes()
    if not processes:
        return SIMULATION
    fluctuating = "; ".join(process.description for process in processes.values())
    own = "one" if view.config.trial.crossover is None else "one in each period"
    noise = (
        f"Among these numbers are the paths of the model's noise ({fluctuating}): each subject has "
        f"{own}, a function of time that no arm, visit or step changes, and equations are solved "
        "along it in the sense of Itô."
    )
    shared, *others = SIMULATION
    return (shared, noise, *others)


def _analysed(config: TrialConfig, endpoint: str) -> list[str]:
    names = [s.label or readable(n) for n, s in config.analyses.items() if s.endpoint == endpoint]
    return names or ["none"]


def _endpoint(view: View, spec: EndpointSpec) -> str:
    template = ENDPOINTS.get(spec.kind, readable(spec.kind))
    values = {name: _given(value) for name, value in spec.model_dump().items()}
    low, high = getattr(spec, "low", None), getattr(spec, "high", None)
    values["range"] = (
        f"from {plain(low)} to {plain(high)}"
        if low is not None and high is not None
        else f"of {plain(low)} or more"
        if low is not None
        else f"of {plain(high)} or less"
        if high is not None
        else "of any size"
    )
    if isinstance(spec, CourseSpec):
        values |= _course(view, spec)
    text = f"{view.words(spec.of)}: {template.format(**values)}"
    first, last = getattr(spec, "from_day", 1), getattr(spec, "to_day", None)
    if first != 1 or last is not None:
        text += f"; days {first} to {last or plain(view.config.trial.duration)}"
    if spec.better is not None:
        words = {"higher": "longer", "lower": "shorter"} if spec.kind == "time_to_range" else {}
        text += f"; {words.get(spec.better, spec.better)} is better"
    return text


def _course(view: View, spec: CourseSpec) -> dict[str, str]:
    """Words for how a concentration's course is evaluated."""
    limit = view.config.visits.quantified_from.get(spec.of)
    named = "not above 0" if limit is None else f"below {plain(limit)} {view.unit(spec.of)}"
    words = {"below": f"a value {named} counts as {BELOW[spec.below_limit]}"}
    if spec.from_time or spec.to_time is not None:
        end = "the end" if spec.to_time is None else f"{plain(spec.to_time)} h"
        words["below"] += f"; from {plain(spec.from_time)} h to {end}"
    if isinstance(spec, AreaUnderCurveSpec):
        rate = (
            " and from there to infinity, at the rate of a log-linear regression on as many of the "
            f"last values after the maximum as give the best adjusted R² ({spec.terminal_points} "
            "at least)"
        )
        words["to_where"] = "to the last quantified one" + (rate if spec.to == "infinity" else "")
        exponential = spec.method == "linear_up_log_down"
        words["trapezoids"] = "that fall exponentially" if exponential else "with straight sides"
    return words


def _given(value: object) -> str:
    return plain(value) if isinstance(value, (int, float)) else str(value)


def _estimator(config: TrialConfig, analysis: AnalysisView) -> str:
    spec = analysis.spec
    adjusted = spec.adjust == "strata"
    known = ESTIMATORS[spec.estimator]
    crossover = config.trial.crossover is not None
    text = known.within_subjects if crossover and known.within_subjects else known.method
    if adjusted:
        text += "; adjusted for the factors of randomisation"
    if spec.horizon is not None:
        text += f"; horizon {plain(spec.horizon)} d"
    if spec.subset is not None:
        text += f"; in patients with {shown(spec.subset.text)}"
    level = f"{100 * spec.level:g} % intervals"
    if analysis.one_sided:
        ends = " and ".join(analysis.scale.with_unit(plain(end)) for end in analysis.margins_shown)
        tests = (
            f"two one-sided tests against {ends} (Schuirmann, J Pharmacokinet Biopharm "
            f"1987;15:657-680), α = {spec.alpha:g} each"
            if spec.hypothesis == "equivalence"
            else f"{'non-inferiority' if spec.hypothesis == 'non_inferiority' else 'superiority'} "
            f"by a one-sided test against {ends}, α = {spec.alpha:g}"
        )
        if spec.estimator == "risk_difference" and not adjusted and not crossover:
            tests += "; the score test of Farrington & Manning (Stat Med 1990;9:1447-1454)"
        return f"{text}; {tests}, {level}"
    return f"{text}; α = {spec.alpha:g} two-sided, {level}"


def _method(view: View) -> list[tuple[str, str]]:
    """The method of integration and why it was taken, where the results say so."""
    counts = view.group("counts")
    told = {} if counts is None else counts.attrs
    if "method" not in told:
        return []
    return [("Method of integration", f"{told['method']} ({told['method_reason']})")]


BITS = {"double": 64, "single": 32}


def _solver(view: View) -> Table:
    solver, counts = view.config.solver, view.group("counts")
    stated = Tolerances(solver.relative_tolerance, solver.absolute_tolerance)
    least = stated.attainable(solver.precision)
    model = view.study.protocol.model
    rows = [
        *_method(view),
        ("Precision", f"{solver.precision} ({BITS[solver.precision]} bits)"),
    ]
    if (solver.method or model.method) in (*FIXED_STEP, *STOCHASTIC):
        rows.append(("Longest step (h)", significant(solver.step or model.step or math.nan, 3)))
    else:
        rows.append(("Relative tolerance", significant(least.relative, 1)))
        rows.append(("Absolute tolerance", significant(least.absolute, 1)))
    rows.append(("Steps at most", whole(solver.max_steps)))
    wanted = {
        "subjects": "Subjects in trials",
        "solves": "Solves (a subject under an arm)",
        "failed": "Failed solves",
        "truth_subjects": "Subjects for true values",
        "visits": "Visits kept",
        "steps_mean": "Steps of a solve, mean",
        "measured_error": "Largest relative error of outputs, measured in double precision",
        "measured_solves": "Solves it was measured on",
        "measured_otherwise": "Of these, decided otherwise by a rounding",
        "attempts_mean": "Candidates drawn for one eligible subject, mean",
    }
    for name, label in wanted.items():
        if counts is not None and name in counts:
            value = float(counts[name])
            rows.append((label, whole(value) if value.is_integer() else significant(value, 4)))
    return facts("Solver settings and totals", rows, "the config, /counts")
