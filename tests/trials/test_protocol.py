"""Configs resolved: what only makes sense between sections is checked, all at once, in place."""

import dataclasses
from pathlib import Path
from typing import get_args

import jax
import numpy as np
import pytest

from cohorts import Residual, ResidualNumbers
from cohorts.populations.warfarin_hamberg2010 import Options
from insilico import models
from insilico.config import ConfigError
from insilico.solve import Kind
from trials import read, run, simulate
from trials.study import changes_of

CONFIGS = Path(__file__).parents[2] / "configs"
COAG = CONFIGS / "warfarin_coag.yaml"


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(COAG, overrides)
    return [str(problem) for problem in caught.value.problems]


TRIALS = sorted(CONFIGS.glob("warfarin_*.yaml"))
"""Those that need nothing but themselves."""


@pytest.mark.parametrize("path", TRIALS, ids=lambda path: path.stem)
def test_every_shipped_config_is_right(path):
    study = read(path)
    assert study.protocol.arms
    study.check()


def test_a_stated_step_is_the_solver_s():
    protocol = read(COAG, ["solver.method=rk4", "solver.step=6 min"]).protocol
    assert protocol.tolerances.step == 0.1
    assert read(COAG).protocol.tolerances.step is None


def test_coag_is_what_its_config_says():
    protocol = read(COAG).protocol
    assert [arm.name for arm in protocol.arms] == ["genotype_guided", "clinically_guided"]
    assert [formula.name for formula in protocol.arms[0].start] == [
        "gage2008_pharmacogenetic",
        "gage2008_clinical",
    ]
    doses = protocol.events.kind == Kind.DOSE
    # One dose every evening from day 1; that of day 28 comes after the last visit and is left out.
    assert doses.sum() == 27
    assert protocol.events.amount[doses].tolist() == [0.5] * 27
    assert protocol.days == 28
    assert set(protocol.late.codes) == {"vkorc1", "cyp2c9"}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=warfarin_hamberg", 'there is no model "warfarin_hamberg"'),
        ("solver.method=milstein", "is for models with noise, and warfarin_hamberg2010 has none"),
        ("solver.method=rk4", "rk4 needs a step; state solver.step, for example 0.01 h"),
        ("solver.method=rush_larsen", "is for models with gates, and warfarin_hamberg2010 names"),
        ("solver.method=milsten", 'found "milsten"; allowed: "auto", "tsit5"'),
        ("solver.step=0.1 mg", "solver.step: must be a time (in h)"),
        ("model=warfarin_hamberg", 'did you mean "warfarin_hamberg2010"'),
        ("cohort.population=hamberg2010", 'found "hamberg2010"'),
        ("drug.compartment=guts", 'did you mean "gut"'),
        ("visits.measure=[inrr]", 'did you mean "inr"'),
        ("visits.days=[1, 4, 35]", "visits.days.2: is after the trial's end on day 28"),
        ("visits.days=[4, 1]", "days must increase"),
        ("arms.genotype_guided.start=[gage2008_pharmacogenetics]", "gage2008_pharmacogenetic"),
        (
            "arms.genotype_guided.start=[lenzini2010_clinical]",
            "nobody has measured before the first",
        ),
        ("arms.genotype_guided.titration=by_int", 'did you mean "by_inr"'),
        ("arms.genotype_guided.revision.days=[40]", "is after the trial's end"),
        ("titrations.by_inr.of=concentration", "there is no measured output"),
        ("titrations.by_inr.bands.0.below=5", "must increase from band to band"),
        ("trial.randomisation.allocation={genotype_guided: 1}", "says nothing of the arm"),
        ("trial.randomisation.block_sizes=[3]", "multiples of 2"),
        ('trial.randomisation.strata.by={black: ancestri == "black"}', 'did you mean "ancestry"'),
        ('trial.randomisation.strata.by={black: ancestry == "blak"}', 'did you mean "black"'),
        ("analyses.primary.endpoint=ttrr", 'did you mean "ttr"'),
        ("analyses.primary.contrast=[genotype_guided, genotype_guided]", "an arm with itself"),
        ("analyses.primary.contrast=[genotype_guided, clinical_guided]", "clinically_guided"),
        ("analyses.primary.estimator=hazard_ratio", "does not fit the endpoint ttr"),
        ("analyses.first_in_range.horizon=28 d", "after the last scheduled visit"),
        ("analyses.black.subset=inr > 2", "inr"),
        ("endpoints.ttr.high=1", "must be above `low`"),
        ("endpoints.ttr.to_day=30", "is after the trial's end"),
        ("success.any_of=[primary, secondary]", 'there is no analysis "secondary"'),
        ("availability.genotype.covariates=[age]", "must be a covariate with categories"),
        ("availability.genotype.known=[{day: 2, share: 0.9}, {day: 4, share: 0.5}]", "not fall"),
        ("cohort.eligibility=[ages >= 18]", 'did you mean "age"'),
        ("quantities.predicted_dose_clinical={}", "needs one of `expression` and `formula`"),
        (
            "sensitivity.spreads_as_standard_deviations.set={cohort.options.spread: sd}",
            "makes the config wrong",
        ),
        ("trial.subjects=-5", "trial.subjects"),
        ("trial.duration=28", "the unit is missing"),
        ("trial.duration=28 mg", "must be a time"),
        ("trial.subject=10", 'did you mean "subjects"'),
        ("endpoints={Zeit im Bereich: {kind: mean, of: inr}}", "write zeit_im_bereich"),
        ("endpoints={géant: {kind: mean, of: inr}}", 'digits and _; found "géant"; write geant'),
    ],
)
def test_one_mistake_gives_a_message_that_says_where_and_how_to_mend_it(override, said):
    found = problems(override)
    assert any(said in message for message in found), found
    assert all(message.startswith(("--set", str(COAG))) for message in found)


def test_a_missing_covariate_is_named_with_the_formula_that_needs_it():
    found = problems("cohort.covariates.stated={target_inr: {value: 2.5}}")
    assert any("lenzini2010_clinical reads stroke" in message for message in found), found


def test_all_mistakes_come_at_once_in_the_order_of_the_file():
    found = problems("model=x", "drug.compartment=y", "analyses.primary.endpoint=z")
    for said in ("no model", "no endpoint"):
        assert any(said in message for message in found)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("cohort.eligibility=[age >= 18, age > 150]", "lets none of 4096 candidates pass"),
        (
            "quantities.predicted_dose_clinical={expression: 1 / amiodarone}",
            "divides by zero for some subjects: amiodarone is 0",
        ),
        (
            "formulas={odd: {expression: 5 / (inr - 2), unit: mg/d}}",
            "divides by zero for some subjects: inr - 2 is 0",
        ),
        (
            "quantities.predicted_dose_clinical={expression: log(smoker)}",
            "has no finite value for some subjects",
        ),
        (
            "formulas={odd: {expression: sqrt(inr - 1.2), unit: mg/d}}",
            "has no finite value for some subjects",
        ),
        (
            "arms.genotype_guided.loading=[{day: 1, dose: maintenance - 9}]",
            "is a negative dose for some subjects",
        ),
        ("analyses.black.subset=age < 18", "holds for none of 4,096 eligible candidates"),
        (
            "sensitivity.spreads_as_variances.set={cohort.eligibility: [age > 200]}",
            "set.cohort.eligibility: makes the config wrong: cohort.eligibility.0",
        ),
    ],
)
def test_what_only_candidates_show_is_found_before_the_run(override, said):
    assert any(said in message for message in problems(override))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trial.duration=1000000 d", "must be at most 3653 d"),
        ("drug.lowest=30 mg", "drug.lowest: is above `highest` (20 mg)"),
        ("drug.first_day=20", None),
        ("drug.first_day=400", "drug.first_day: is after the last day of dosing, day 28"),
        ("visits.measure=[inr, inr]", "visits.measure.1: is listed twice"),
        ("visits.measure=[inrr]", 'there is no output to measure "inrr"'),
        ("arms.genotype_guided.label=Clinically guided", "is the label of the arm"),
        ("arms.genotype_guided.revision.days=[5, 4]", "days must increase"),
        ("arms.genotype_guided.titration_from_day=400", "is after the trial's end on day 28"),
        (
            "arms.genotype_guided.loading=[{day: 1, dose: 9}, {day: 1, dose: 8}]",
            "loading.1.day: is listed twice",
        ),
        (
            "arms.genotype_guided.loading=[{day: 4, dose: 9}]",
            "comes after the revision of day 4, which sets the dose",
        ),
        ("endpoints.first_therapeutic_inr={kind: time_to_range, of: inr}", "needs `low`, `high`"),
        ("analyses.first_in_range.adjust=strata", "is not available for restricted_mean"),
        ("analyses.primary.horizon=5 d", "means nothing to mean_difference"),
        ("drug.rounding=0.5 mg", "does not go with `rounding`"),
        ("availability.genotype.known=[{day: 99, share: 0.4}]", "is after the trial's end"),
        ("quantities.maintenance={expression: age}", "has the name of what is known at a visit"),
        (
            "arms.genotype_guided.loading=[{day: 1, dose: predicted_dose_genotype}]",
            "reads the quantity predicted_dose_genotype, which depends on a covariate that is",
        ),
        (
            "sensitivity.spreads_as_variances.set={analyses.primary.alpha: 0.05}",
            "changes the analyses, so that its effects would be of other estimands",
        ),
    ],
)
def test_what_can_never_take_effect_is_refused(override, said):
    if said is None:
        assert read(COAG, [override]).protocol.events.kind.tolist().count(Kind.DOSE) == 8
        return
    found = problems(override)
    assert len(found) == 1 and said in found[0]


def test_titration_waits_for_the_end_of_loading():
    """A dose of loading is none to adjust: the patient would keep it."""
    none = "arms.genotype_guided.revision=null"
    loading = "arms.genotype_guided.loading=[{day: 1, dose: 10}, {day: 5, dose: 9}]"
    (first, _) = read(COAG, [none, loading]).protocol.arms
    assert first.rule.titration_from == 6
    early = "arms.genotype_guided.titration_from_day=5"
    (said,) = problems(none, loading, early)
    assert "comes while loading goes on, until day 5; found 5; allowed: from 6" in said


def test_a_name_with_a_mistake_of_its_own_is_still_offered():
    found = problems("arms.genotype_guided.label=[1]", "analyses.primary.contrast.0=genotype_guide")
    (told,) = [each for each in found if "contrast" in each]
    assert 'there is no arm "genotype_guide"' in told
    assert "allowed: clinically_guided, genotype_guided" in told
    assert 'did you mean "genotype_guided"' in told


@pytest.mark.parametrize(
    "change",
    [
        "{drug.adherence: {mean: 0.5}}",
        "{drug: {adherence: {mean: 0.5}}}",
        "{drug.adherence.mean: 0.5}",
    ],
)
def test_a_section_in_a_scenario_changes_only_what_it_names(change):
    study = read(
        COAG, ["drug.adherence.spread=0.1", f"sensitivity.spreads_as_variances.set={change}"]
    )
    scenario = study.config.sensitivity["spreads_as_variances"]
    drug = study.changed(changes_of(scenario.set)).config.drug
    assert drug.adherence is not None and study.config.drug.adherence is not None
    assert drug.adherence.spread == study.config.drug.adherence.spread == 0.1
    assert drug.adherence.mean == 0.5
    assert drug.name == study.config.drug.name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("{drug: {fraction: 0.4}, drug.fraction: 0.6}", 'the key "drug.fraction" is given twice'),
        ("{drug: {}, drug.fraction: 0.6}", 'the key "drug" is given twice'),
        ("{}", "changes nothing that a true effect depends on"),
        ("{seed: 4, title: z}", "changes nothing that a true effect depends on"),
        ("{sensitivity.spreads_as_variances.label: y}", "changes nothing that a true effect"),
        ("{drug..fraction: 0.4}", '"drug..fraction" is no place: it is written section.key'),
        ("{visits.days.9: 5}", "set.visits.days.9: makes the config wrong: visits.days is a list"),
        ("{drug: {adherence: {spread: 0.4}}}", "set.drug.adherence.spread: makes the config wrong"),
    ],
)
def test_what_a_scenario_misstates_is_told_at_its_key(change, said):
    found = problems(
        "sensitivity.spreads_as_variances.label=other",
        "drug.adherence={mean: 0.9}",
        f"sensitivity.spreads_as_variances.set={change}",
    )
    assert all(said in each for each in found), found


@pytest.mark.parametrize(
    ("adherence", "allowed"),
    [("{mean: 0.95, spread: 0.3}", "below 0.218"), ("{mean: 1, spread: 0.1}", "allowed: 0")],
)
def test_shares_taken_spread_no_wider_than_shares_can(adherence, allowed):
    (told,) = problems(f"drug.adherence={adherence}", "sensitivity={}")
    assert "drug.adherence.spread" in told and allowed in told
    assert read(COAG, ["drug.adherence={mean: 0.95, spread: 0.2}", "sensitivity={}"])


def test_formulas_that_look_days_back_need_daily_doses():
    found = problems("drug.every=2 d", "sensitivity={}")
    assert all("reads dose_" in each and "every 2 d" in each for each in found)
    assert len(found) >= 2


def test_nothing_is_revised_after_the_last_dose():
    found = problems("drug.last_day=4", "sensitivity={}")
    assert all(
        "revision.days.1" in each and "after the last dose, on day 4" in each for each in found
    )


def test_a_starting_formula_that_gives_negative_doses_is_refused():
    found = problems(
        "formulas={less: {expression: 'age - 60'}}",
        "arms.clinically_guided.start=[less]",
        "sensitivity={}",
    )
    assert any("formulas.less.expression: is a negative dose for some subjects" in f for f in found)


def test_one_change_needs_no_list():
    assert read(COAG, "trial.replicates=7").config.trial.replicates == 7


@pytest.mark.parametrize("wrong", [None, 5, [5], {"trial.replicates": 20}])
def test_changes_that_are_no_texts_are_refused(wrong):
    with pytest.raises(TypeError, match="must be texts such as 'trial.replicates=20'"):
        read(COAG, wrong)


@pytest.mark.parametrize("given", [str(COAG), None])
@pytest.mark.parametrize("does", [run, simulate])
def test_what_is_no_study_is_refused(does, given):
    with pytest.raises(TypeError, match=r"a study is needed, as `trials.read\(path\)` gives it"):
        does(given)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("visits.attendance=95 %", "write 0.95 for 95 %"),
        ("visits.attendance=95", "write 0.95 for 95 %"),
        ("visits.attendance=950", "from 0 to 1; found 950"),
        ("trial.dropout={share: 6, by: 28 d}", "write 0.06 for 6 %"),
        ("trial.dropout=6 %", 'must be a section; found "6 %"; its keys: share, by'),
        ("analyses.primary.alpha=0.95", "more than 0 and less than 0.5; found 0.95"),
        ("seed=-1", "at least 0 and less than 2147483648; found -1"),
        ("cohort.covariates.marginals.smoker={no: 0.5, yes: 50}", "write 0.5 for 50 %"),
        ("success.any_of=[primary, primary]", "success.any_of.1: is listed twice"),
        ("arms.genotype_guided.start=[5 mg]", "add formulas: {fixed: {expression: 5}}"),
        ("arms.genotype_guided.loading=[{day: 1, dose: 10mg}]", "a number is followed by a word"),
        (
            "sensitivity.x={label: Between-subject spreads read as variances, "
            "set: {drug.fraction: 1}}",
            "is the label of the scenario spreads_as_variances too",
        ),
        ("solver.relative_tolerance=1e-20", "at least 1e-13"),
    ],
)
def test_what_is_often_written_is_told_with_what_was_meant(override, said):
    (found,) = problems(override)
    assert said in found


def test_a_method_without_a_rule_for_the_model_s_equations_is_told(monkeypatch):
    model = models.get("warfarin_hamberg2010")

    def derivative(time, state, parameters, inputs):
        rates = model.derivative(time, state, parameters, inputs)
        return rates._replace(gut=-jax.lax.erf(state.gut))

    changed = dataclasses.replace(model, derivative=derivative)
    monkeypatch.setattr(models, "get", lambda name: changed)
    (found,) = problems("solver.method=taylor")
    assert "solver.method: has no rule for erf, which warfarin_hamberg2010 uses" in found
    assert 'found "taylor"; allowed: "tsit5", "dopri8", "rodas4", "rodas5p"' in found
    assert read(COAG, ["solver.method=auto"]).protocol.model is changed


def test_titration_waits_for_the_first_dose():
    """Before it a value says nothing of the dose, and changes of it would be of none taken."""
    changes = ["drug.first_day=10", "visits.days=[1, 4, 7, 10, 14, 21, 28]"]
    changes += [f"arms.{arm}.revision=null" for arm in ("genotype_guided", "clinically_guided")]
    assert [arm.rule.titration_from for arm in read(COAG, changes).protocol.arms] == [11, 11]
    (said,) = problems(*changes, "arms.genotype_guided.titration_from_day=4", "sensitivity={}")
    assert "comes before the first dose, on day 10; found 4; allowed: from 10" in said


def test_a_level_that_is_left_out_is_not_blamed_for_what_else_is_wrong():
    """Its default looks at the margins, and so at nothing where anything is wrong."""
    (said,) = problems("analyses.other={endpoint: ttr, estimator: mean, contrast: [a, b]}")
    assert "analyses.other.estimator" in said


def test_blocks_that_are_left_out_are_told_as_such_where_they_do_not_fit():
    three = "arms.other={label: Other, start: [gage2008_clinical]}"
    randomised = "trial.randomisation={method: permuted_blocks, strata: {centre: true}}"
    (said,) = problems(three, randomised, "sensitivity={}")
    assert "multiples of 3 (the sum of the allocation ratio); found [4], which they are" in said
    assert said.endswith("write for example block_sizes: [6]")


def test_there_is_nothing_to_adjust_for_without_strata():
    found = problems("trial.randomisation.strata={}")
    assert all(
        "has nothing to adjust for: randomisation is not stratified" in said for said in found
    )
    assert "analyses.primary.adjust" in found[0]


def test_visits_have_no_more_room_than_there_are_slots():
    asked = read(COAG, ["visits.most=100000000", "sensitivity={}"]).protocol
    assert asked.most_visits == sum(asked.pattern.slots)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=warfarin_hamburg2010", "there is no model"),
        ("cohort={posterior: runs/none, eligibility: [weight > 50]}", "there is no such folder"),
    ],
)
def test_what_is_missing_is_told_and_not_blamed_on_the_names_that_it_has(override, said):
    """Which of a formula's names are wrong cannot be told without what would have them."""
    (found,) = problems(override, "sensitivity={}")
    assert said in found


def test_a_misspelt_covariate_in_a_criterion_hides_no_other_mistake():
    found = problems("cohort.eligibility=[agee >= 18]", "analyses.black.subset=ancestri == 3")
    assert ["agee" in found[0], "ancestri" in found[1]] == [True, True]


def test_mistakes_of_every_kind_are_told_at_once(tmp_path):
    """What a spec refuses does not hide what only makes sense between sections, or candidates."""
    text = COAG.read_text(encoding="utf-8")
    for right, wrong in (
        ("  highest: 20 mg", "  highest: 20 kgs"),
        ("  attendance:", "  atendance:"),
        ("start: [gage2008_pharmacogenetic,", "start: [gage2008_pharmacogentic,"),
        ("  days: [1, 4, 7,", "  dayz: [1, 4, 7,"),
        ("    - age >= 18", "    - age >= 180"),
        ("any_of: [primary,", "any_of: [primry,"),
    ):
        assert right in text
        text = text.replace(right, wrong, 1)
    file = tmp_path / "trial.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(file)
    said = [(problem.field, problem.message) for problem in caught.value.problems]
    assert said == [
        ("cohort.eligibility.0", "lets none of 4096 candidates pass"),
        ("drug.highest", 'there is no unit "kgs"'),
        ("visits.dayz", "unknown key"),
        ("visits.atendance", "unknown key"),
        ("arms.genotype_guided.start.0", 'there is no formula "gage2008_pharmacogentic"'),
        ("success.any_of.0", 'there is no analysis "primry"'),
    ]


def test_what_a_mistake_takes_with_it_is_not_missed_elsewhere():
    # Without its bands there is no table `by_inr`, but nobody misspelt it.
    (said,) = problems("titrations.by_inr.bands=7")
    assert "must be a list; found 7" in said
    # A number counts in the unit that it probably lacks.
    said = problems("trial.duration=28", "visits.days=[1, 4, 35]", "titrations.by_inr.of=inrr")
    assert ["unit" in each for each in said] == [True, False, False]
    assert any("is after the trial's end on day 28" in each for each in said)
    said = problems("seed=7.5", "trial.duration=28 kg", "cohort.eligibility=[age > 200]")
    assert [each.split(":")[0] for each in said] == [
        "--set seed",
        "--set trial.duration",
        "--set cohort.eligibility",
    ]
    # Without what it compares, an analysis has nothing else that could be wrong.
    assert len(problems("analyses.primary.contrast=5", "success.any_of=[primary, secnd]")) == 2


@pytest.mark.parametrize(
    "override",
    [
        "cohort.covariates.stated.target_inr.value=.inf",
        "cohort.covariates.stated.target_inr.value=high",
        "endpoints.ttr.low=.nan",
        "published.effects.0.lower=.nan",
        "titrations.by_inr.bands.0.next_dose=-.inf",
        "sensitivity.spreads_as_variances.set={drug: {fraction: .nan}}",
    ],
)
def test_what_is_no_finite_number_is_told_once(override):
    (said,) = problems(override)
    assert "must be a" in said and "number" in said


@pytest.mark.parametrize("duration", ["28", "28 mg", "4 w", "28 dys", "1e400 d"])
def test_a_duration_in_a_wrong_unit_takes_no_visit_with_it(duration):
    (said,) = problems(f"trial.duration={duration}")
    assert said.startswith("--set trial.duration: ")


def test_what_the_drug_cannot_be_is_told_together():
    said = problems(
        "drug.compartment=gutt", "drug.every=1.5 d", "drug.lowest=30 mg", "drug.last_day=99"
    )
    fields = ("compartment", "every", "lowest", "last_day")
    assert sorted(each.split(":")[0] for each in said) == sorted(f"--set drug.{f}" for f in fields)


def test_a_mistake_in_a_formula_is_told_once():
    formula = "formulas={flat: {expression: agee / 10, unit: mg/d}}"
    (said,) = problems(formula, "arms.genotype_guided.start=[flat]")
    assert "agee" in said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("cohort.covariates.stated.inr={value: 2.5}", "has the name of what is known at a visit"),
        ("cohort.covariates.stated.dose_1={value: 2.5}", "has the name of what is known at a"),
        ("cohort.covariates.stated.maintenance={value: 5}", "or of a dose; choose another name"),
        ("cohort.covariates.stated.exp={value: 2.5}", "is no word of expressions"),
        ("quantities.exp={expression: age}", "has the name of a word of expressions"),
        (
            "formulas={gage2008_clinical: {expression: '5'}}",
            "formulas.gage2008_clinical: has the name of a published formula (Gage 2008, clinical)",
        ),
    ],
)
def test_no_name_stands_for_two_things(override, said):
    (found,) = problems(override)
    assert said in found


@pytest.mark.parametrize(
    "allocation",
    ["{genotype_guided: 0, clinically_guided: 1}", "{genotype_guided: 1, clinicaly_guided: 1}"],
)
def test_a_wrong_share_of_an_arm_is_not_missed_as_well(allocation):
    assert len(problems(f"trial.randomisation.allocation={allocation}")) == 1


def test_a_formula_with_a_mistake_of_its_own_is_still_offered():
    found = problems(
        "formulas={flat: {expression: '5', unit: kg}}", "arms.genotype_guided.start=[flatt]"
    )
    assert any('there is no formula "flatt"' in f and 'did you mean "flat"' in f for f in found)


HAZARD = (
    "analyses.first_in_range={endpoint: first_therapeutic_inr, estimator: hazard_ratio, "
    "contrast: [genotype_guided, clinically_guided]}"
)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("effects.0.lower=5", "effects.0.lower: is above `upper` (3.1)"),
        ("effects.0.value=4", "effects.0.value: lies outside its interval; found 4; allowed: -3.4"),
        ("effects.0.upper=null", "needs both ends of the interval, or neither"),
        ("effects.1.analysis=primary", "is given twice"),
        ("effects.0={analysis: high_inr, value: -5}", "is no fraction of patients; found -5"),
        ("effects.0={analysis: primary, value: 120}", "is no percentage of time"),
        ("effects.0={analysis: first_in_range, value: -0.2}", "must be a hazard ratio"),
        (
            "effects.0={analysis: first_in_range, value: 1.1, lower: 0, upper: 2}",
            "effects.0.lower: must be a hazard ratio",
        ),
        ("arms.0.value=-3", "arms.0.value: is no percentage of time; found -3; allowed: 0 to 100"),
        ("arms.1.arm=genotype_guided", "is given twice"),
    ],
)
def test_published_numbers_can_be_what_they_say(override, said):
    (found,) = problems(HAZARD, f"published.{override}")
    assert said in found


def test_a_dose_may_be_divided_by_what_is_never_0_and_by_nothing_else():
    """No INR is 0; a concentration is, before the first dose."""
    measured = "visits.measure=[inr, concentration]"
    by_inr = "formulas={odd: {expression: dose * 2.5 / inr, unit: mg/d}}"
    assert read(COAG, [measured, by_inr, "sensitivity={}"]).config.formulas["odd"].unit == "mg/d"
    (found,) = problems(measured, by_inr.replace("inr", "concentration"))
    assert "divides by zero for some subjects: concentration is 0" in found


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("endpoints.status={kind: last, of: inr}", "endpoints.status"),
        ("endpoints.ttr_valid={kind: last, of: inr}", "endpoints.ttr_valid"),
        ("endpoints.arm={kind: last, of: inr}", "endpoints.arm"),
        ("quantities.subject={expression: age}", "quantities.subject"),
        ("quantities.attempts={expression: age}", "quantities.attempts"),
        ("cohort.covariates.stated.trial={value: 1}", "cohort.covariates.stated.trial"),
        ("quantities.parameter_volume={expression: age}", "quantities.parameter_volume"),
    ],
)
def test_names_that_the_results_have_already_are_taken(override, field):
    (found,) = problems(override)
    assert f"{field}: has the name of something else in the results" in found


def test_a_scheduled_visit_may_follow_the_day_after_a_recheck():
    """Of rechecks after 2 days and 3 days for a missed visit, every day may become a visit's."""
    changes = ["drug.every=2 d", "visits.retry_after=3 d", "visits.days=[1, 4, 7, 28]"]
    changes += [f"arms.{arm}.revision=null" for arm in ("genotype_guided", "clinically_guided")]
    assert sum(read(COAG, changes).protocol.pattern.slots) >= 28
    rare = "titrations.by_inr.bands=[{below: 2, change: 10 %, recheck: 6 d}, {change: 0 %}]"
    assert sum(read(COAG, [*changes, rare]).protocol.pattern.slots) < 28


def test_there_is_room_for_as_many_visits_as_the_rules_allow():
    protocol = read(COAG).protocol
    assert protocol.most_visits == sum(protocol.pattern.slots) >= protocol.days
    assert read(COAG, ["visits.most=5"]).protocol.most_visits == 5
    assert read(COAG, ["trial.duration=365 d"]).protocol.most_visits == 128


def test_coag_tries_every_other_reading_of_the_published_spreads():
    config = read(COAG).config
    tried = {
        (key, value) for spec in config.sensitivity.values() for key, value in spec.set.items()
    }
    readings = {
        (f"cohort.options.{field}", reading)
        for field in ("spread", "residual")
        for reading in get_args(Options.model_fields[field].annotation)
    }
    base = {
        (f"cohort.options.{field}", config.cohort.options[field])
        for field in ("spread", "residual")
    }
    assert tried == readings - base
    assert config.truth.subjects > 100_000


def test_values_are_measured_with_whatever_error_the_population_has():
    protocol = read(COAG).protocol
    population = dataclasses.replace(
        protocol.cohort.population,
        residual={"inr": Residual("combined", "residual_sd_inr", proportional="hill")},
    )
    cohort = dataclasses.replace(protocol.cohort, population=population)
    protocol = dataclasses.replace(protocol, cohort=cohort)
    true = protocol.model.Outputs(*(np.full(2, 2.0) for _ in protocol.model.Outputs._fields))
    noise, numbers = {"inr": np.array([-1.0, 2.0])}, {"inr": ResidualNumbers(0.3, 0.2)}
    measured = protocol.measure(true, noise, numbers)
    assert list(measured["inr"]) == pytest.approx([1.5, 3.0])
