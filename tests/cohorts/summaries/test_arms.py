"""Arms are rows of one schedule, and gradients of what patients come to under all are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cohorts import summaries
from cohorts.fits.running import tolerances_of
from cohorts.inference.density import Density
from cohorts.summaries import mcmc
from cohorts.summaries.arms import Arm, course_times, timetable
from cohorts.summaries.comparing import Comparison, Published
from cohorts.summaries.exposures import exposure
from cohorts.summaries.virtual import VirtualCohort
from insilico.solve import Dose

RESPONSE = """
title: Quantiles of a response in two arms
seed: 7
model: indirect_response
population:
  absorption_rate: {typical: 0.8 1/h}
  clearance:
    typical: {kind: log_normal, median: 4 L/h, sd: 0.5}
    between_subject: {kind: log_normal, sd: {kind: half_normal, scale: 0.5}}
  central_volume: {typical: 30 L, between_subject: {kind: log_normal, sd: 20 %}}
  intercompartmental_clearance: {typical: 6 L/h}
  peripheral_volume: {typical: 60 L}
  production: {typical: 5 1/h, between_subject: {kind: log_normal, sd: 20 %}}
  loss: {typical: 0.05 1/h}
  maximal_inhibition:
    typical: {kind: beta, a: 9, b: 1}
    between_subject: {kind: logit_normal, sd: 0.3}
  half_inhibition_concentration:
    typical: {kind: log_normal, median: 0.7 mg/L, sd: 0.5}
    between_subject: {kind: log_normal, sd: 40 %}
residual:
  response: {kind: proportional, sd: {kind: half_normal, scale: 0.2}}
arms:
  low: {doses: [{amount: 50 mg, every: 24 h, number: 3}], subjects: 40}
  high: {doses: [{amount: 200 mg, every: 24 h, number: 2}], subjects: 40}
targets:
  - {arm: low, output: response, time: 72 h, statistic: median, value: 60}
  - {arm: low, output: response, time: 72 h, statistic: quantile, probability: 0.9, value: 85, standard_error: 5}
  - {arm: high, output: response, time: 48 h, statistic: median, value: 40}
  - {arm: high, output: response, time: 48 h, change: ratio, statistic: fraction, below: 0.5, value: 0.6}
  - {arm: high, output: response, time: 48 h, statistic: geometric_cv, value: 35 %}
  - {arm: high, output: response, time: 24 h, statistic: correlation, other: {output: response, time: 48 h}, value: 0.7}
  - {arm: high, output: central, exposure: auc, between: [0 h, 24 h], statistic: geometric_mean, value: 1200 mg*h}
  - {arm: high, output: central, exposure: tmax, samples: [1 h, 2 h, 4 h, 8 h], statistic: mean, value: 2.4 h}
virtual_patients: 64
"""  # noqa: E501


@pytest.fixture(scope="module")
def response(tmp_path_factory):
    path = tmp_path_factory.mktemp("arms") / "response.yaml"
    path.write_text(RESPONSE)
    return summaries.read(path)


def test_arms_share_rows_and_differ_in_amounts(response):
    plan = timetable(response.model, response.arms, [0.0, 24.0, 72.0])
    low, high = (np.asarray(plan.events.amount)[arm] for arm in (0, 1))
    assert low[low > 0].tolist() == [50.0, 50.0, 50.0]
    assert high[high > 0].tolist() == [200.0, 200.0]
    for name in ("time", "kind", "target"):
        column = np.asarray(getattr(plan.events, name))
        np.testing.assert_array_equal(column[0], column[1])


def test_courses_are_dense_after_each_dose(response):
    times = course_times(response.arms, 0.0, 48.0, 48)
    assert np.all(np.diff(times) > 0)
    for dose in (0.0, 24.0):
        after = times[(times > dose) & (times <= dose + 24.0)]
        assert after[0] == pytest.approx(dose + 24e-6)
        assert np.all(np.diff(np.diff(after)[1:]) > 0)  # wider and wider apart


def test_an_area_by_a_course_s_points_is_that_of_the_model(response):
    """Dose over clearance after an intravenous dose, to infinity."""
    arm = Arm("one", "one", (Dose(0.0, "central", 100.0),), None, True)
    times = course_times([arm], 0.0, 200.0, 48)
    course = 100.0 / 30.0 * np.exp(-3.0 / 30.0 * times)
    area = exposure("auc", times, jnp.asarray(course[:, None]), smooth=False)
    # Between its points, the course is exponential; a millionth of the time is missing.
    assert float(area[0]) == pytest.approx(100 / 3, rel=1e-4)


@pytest.mark.slow
def test_gradients_of_every_statistic_are_exact(response):
    """Through an ODE in two arms, against differences of the density itself."""
    cohort, events = VirtualCohort.of(
        response.cohort.population,
        response.cohort.options,
        response.model,
        response.arms,
        response.targets,
        64,
        tolerances=tolerances_of(response.config.solver),
    )
    comparison = Comparison(cohort, tuple(response.targets), smooth=True)
    patients = cohort.draw({}, 1, "virtual patients", response.arms)
    given = mcmc.Given(patients, events, Published.of(response.targets))
    model = mcmc.model_of(comparison)
    density = Density.of(model, {"given": given})

    def both(z, given):
        value, slope = jax.value_and_grad(lambda z: density.potential(z, {"given": given}))(z)
        return value, slope

    program = jax.jit(jax.vmap(both, in_axes=(0, None)))
    centre = {
        "typical_clearance": np.log(4.2),
        "sd_clearance": np.log(0.4),
        "typical_maximal_inhibition": 2.0,
        "typical_half_inhibition_concentration": np.log(0.6),
        "residual_sd_response": np.log(0.1),
    }
    assert set(centre) == set(density.shapes)
    step = 1e-4
    names = list(centre)
    points = {
        name: centre[name]
        + step * np.array([0.0] + [s * (n == name) for n in names for s in (1, -1)])
        for name in names
    }
    value, slope = program(points, given)
    assert np.all(np.isfinite(value))
    for place, name in enumerate(names):
        difference = (value[1 + 2 * place] - value[2 + 2 * place]) / (2 * step)
        # Differences are of solves to 1e-6, and cross kinks of the highest value of a few.
        assert float(slope[name][0]) == pytest.approx(float(difference), rel=2e-3, abs=2e-2), name
