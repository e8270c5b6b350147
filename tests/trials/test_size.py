"""What a run takes is told beforehand, and what no machine holds is refused."""

import pytest

from insilico.config import ConfigError
from trials import read
from trials.size import CEILING, parts, shown, sizes


def first(study):
    protocol = study.protocol
    doses = len(protocol.dosing_times)
    shape = sizes(study.config, protocol.cohort, protocol.model, protocol.most_visits, doses)
    return next(iter(parts(study.config, shape)))


def test_it_is_what_the_results_take(coag_study, coag_tree):
    """Some columns are kept in another precision than they are computed in."""
    groups = ("subjects", "randomisation", "outcomes", "doses", "endpoints")
    kept = sum(coag_tree[group].to_dataset().nbytes for group in groups)
    assert 0.7 < first(coag_study).bytes / kept < 1.3


def test_without_visits_each_takes_less(coag, small):
    whole, without = (
        first(read(coag, [*small, f"keep={keep}"])) for keep in ("outcomes", "estimates")
    )
    assert without.each < 0.5 * whole.each
    assert whole.subjects == without.subjects == 4 * 150


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("trial.subjects=1000000000", "trial.subjects"),
        ("trial.replicates=1000000000", "trial.replicates"),
        ("truth.subjects=100000000000", "truth.subjects"),
        ("sensitivity.spreads_as_variances.subjects=100000000000", "sensitivity."),
        ("trial.centres.count=1000000000", "trial.centres.count"),
        ("trial.randomisation.block_sizes=[4, 100000000]", "trial.randomisation.block_sizes"),
    ],
)
def test_what_no_machine_holds_is_refused_in_one_message(coag, override, field):
    with pytest.raises(ConfigError) as caught:
        read(coag, override)
    (said,) = map(str, caught.value.problems)
    assert said.startswith(f"--set {field}") and "a run may have 256 GiB" in said


def test_the_message_says_how_many_may_be_asked_for(coag):
    with pytest.raises(ConfigError) as caught:
        read(coag, "trial.subjects=1000000000")
    (said,) = caught.value.problems
    assert "200,000,000,000 subjects over all trials (subjects × replicates)" in said.message
    most = CEILING // first(read(coag)).each
    assert said.allowed == f"up to {most:,} subjects over all trials"
    replicates = most // 1000
    assert read(
        coag, ["trial.subjects=1000", f"trial.replicates={replicates}", "truth.subjects=1000"]
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [(5, "5 bytes"), (2**20, "1 MiB"), (1000 * 2**20, "1,000 MiB"), (3 * 2**39, "1.5 TiB")],
)
def test_bytes_are_said_as_people_do(number, text):
    assert shown(number) == text
