"""All of a run's time belongs to a stage."""

from insilico.runs import Stages


def test_time_counts_for_the_stage_that_is_reported_next():
    times = iter([0.0, 1.0, 4.0, 4.5, 9.0, 10.0])
    seen = []
    stages = Stages(lambda *call: seen.append(call), clock=lambda: next(times))
    calls = [("patients", 0, 2), ("patients", 2, 2), ("trials", 0, 1), ("trials", 1, 1)]
    for call in calls:
        stages(*call)
    assert stages.seconds == {"patients": 4.0, "trials": 5.0}
    assert list(stages.seconds) == ["patients", "trials"]
    assert stages.total == 10.0
    assert seen == calls


def test_the_stages_of_a_trial_s_run(coag_tree, coag_stages):
    assert list(coag_stages.seconds) == ["patients", "trials", "truth"]
    assert all(seconds > 0 for seconds in coag_stages.seconds.values())
