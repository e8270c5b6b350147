"""A run's config can be run again as it is."""

import pytest

from insilico.config import load
from insilico.runs import resolved_text

TEXT = """\
# The trial.
title: "a trial: with a colon"
trial:
  subjects: 100   # patients
  visits: [1, 4]
arms:
  - name: a      # ASSUMED
    dose: 5 mg
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "trial.yaml"
    path.write_text(TEXT)
    return path


def resolve(config, *overrides: str) -> str:
    return resolved_text(load(config, overrides), overrides)


def test_without_overrides_it_is_the_file_itself(config):
    assert resolve(config) == TEXT


@pytest.mark.parametrize(
    "overrides",
    [
        ["trial.subjects=7"],
        ["trial.visits.1=9", "arms.0.dose=2 mg"],
        ["trial={subjects: 3, centre: {count: 2}}", "trial.subjects=4"],
        ["trial.centre={count: 2}", "trial.centre.count=5"],
        ["trial.subjects=5", "trial={visits: []}"],
        ["title=yes: no"],
        ["title=true"],
        ["arms.0.dose="],
        ["truth.subjects=9", "truth.draws.most=2"],
        ["trial.centre.count=5"],
        ["trial.centre=", "trial.centre.count=5"],
    ],
)
def test_overrides_are_written_into_it(config, tmp_path, overrides):
    (tmp_path / "again.yaml").write_text(resolve(config, *overrides))
    assert load(tmp_path / "again.yaml").data == load(config, overrides).data


def test_comments_stay(config):
    text = resolve(config, "trial.subjects=7")
    assert text == TEXT.replace("100 ", "7   ")


def test_comments_stay_beside_a_section_that_an_override_made(config):
    assert resolve(config, "truth.subjects=9") == TEXT + "truth:\n  subjects: 9\n"


def test_shared_parts_keep_their_values(tmp_path):
    path = tmp_path / "trial.yaml"
    path.write_text("first: &part {a: 1}\nsecond: *part\n")
    (tmp_path / "again.yaml").write_text(resolve(path, "first.a=2"))
    assert load(tmp_path / "again.yaml").data == {"first": {"a": 2}, "second": {"a": 1}}


def test_a_file_that_changed_since_it_was_read_does_not_matter(config, tmp_path):
    document = load(config)
    for text in ("title: another", "{", None):
        config.unlink() if text is None else config.write_text(text)
        (tmp_path / "again.yaml").write_text(resolved_text(document))
        assert load(tmp_path / "again.yaml").data == document.data
