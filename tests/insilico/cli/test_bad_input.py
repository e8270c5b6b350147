"""A mistake gives exit code 2, one clear message a mistake with its place, and writes nothing."""

import re
from pathlib import Path

import pytest

MISTAKES = {
    "unknown key": (
        "  subjects: 1015", "  subjekts: 1015", "trial.subjekts", 'did you mean "subjects"'
    ),
    "misspelt model": (
        "model: warfarin_hamberg2010", "model: warfarin_hamburg2010", "model",
        'did you mean "warfarin_hamberg2010"',
    ),
    "misspelt population": (
        "population: warfarin_hamberg2010", "population: warfarin_hamberg201", "cohort.population",
        'did you mean "warfarin_hamberg2010"',
    ),
    "misspelt arm": (
        "contrast: [genotype_guided, clinically_guided]",
        "contrast: [genotype_guidd, clinically_guided]",
        "analyses.primary.contrast.0", 'did you mean "genotype_guided"',
    ),
    "misspelt covariate": ("- age >= 18", "- agee >= 18", "cohort.eligibility.0", '"age"'),
    "misspelt endpoint": (
        "endpoint: ttr", "endpoint: tttr", "analyses.primary.endpoint", 'did you mean "ttr"'
    ),
    "misspelt titration": (
        "titration: by_inr", "titration: by_imr", "arms.genotype_guided.titration", '"by_inr"'
    ),
    "missing unit": ("duration: 28 d", "duration: 28", "trial.duration", "unit"),
    "wrong dimension": ("duration: 28 d", "duration: 28 mg", "trial.duration", "time"),
    "visit after the end": (
        "days: [1, 4, 7, 10, 14, 21, 28]", "days: [1, 4, 7, 10, 14, 21, 280]", "visits.days", "280"
    ),
    "negative size": ("subjects: 1015", "subjects: -1015", "trial.subjects", "-1015"),
    "nobody eligible": ("- age >= 18", "- age >= 180", "cohort.eligibility", "age >= 180"),
    "wrong category": (
        'subset: ancestry == "black"', 'subset: ancestry == "blak"', "analyses.black.subset",
        '"black"',
    ),
    "duplicate key": ("seed: 20131119", "seed: 1\nseed: 2", "seed", "line"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_with_its_place(cli, edited, command, mistake):
    old, new, field, says = MISTAKES[mistake]
    # Scenarios would tell the mistake once more, as theirs.
    answer = cli(command, edited((old, new)), "--set", "sensitivity={}")
    assert answer.code == 2
    assert answer.output == ""
    (line,) = [text for text in answer.errors.splitlines() if says in text] or [answer.errors]
    assert says in line
    place = re.match(r"trial\.yaml:(\d+):(\d+): ", line)
    assert place, line
    assert field in line
    marked = Path("trial.yaml").read_text(encoding="utf-8").splitlines()[int(place[1]) - 1]
    assert any(part in marked for part in new.splitlines()), f"points at {marked!r}"
    assert [path.name for path in Path().iterdir()] == ["trial.yaml"]


def test_all_mistakes_are_told_at_once(cli, edited):
    exchanges = [MISTAKES[name][:2] for name in ("unknown key", "misspelt arm", "missing unit")]
    errors = cli("check", edited(*exchanges)).errors
    # What only makes sense in a config of the right shape is looked at once that is mended.
    assert "trial.subjekts" in errors
    assert "trial.duration" in errors
    assert "problems found; nothing was written" in errors


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"title: caf\xe9\n", "trial.yaml:1:11: the byte 0xe9 is not UTF-8 text"),
        (b"", "trial.yaml:1:1: the file is empty"),
        (b"title: [\n", "trial.yaml:"),
        (
            b"a: &a [x, x, x, x, x, x, x, x, x]\n"
            + b"".join(
                b"%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n" % ((c, c) + (c - 1,) * 9)
                for c in range(ord("b"), ord("k"))
            ),
            "trial.yaml:",
        ),
        (b"title: !!python/object/apply:os.system ['touch pwned']\n", "trial.yaml:1:"),
        (b"title: " + b"x" * 2**20, "larger than 1 MiB"),
    ],
    ids=["not UTF-8", "empty", "not YAML", "alias bomb", "tag", "huge"],
)
def test_files_that_are_no_config_are_refused(cli, content, says):
    Path("trial.yaml").write_bytes(content)
    answer = cli("run", "trial.yaml")
    assert answer.code == 2
    assert says in answer.errors
    assert "Traceback" not in answer.errors
    assert [path.name for path in Path().iterdir()] == ["trial.yaml"]


def test_a_missing_file_names_its_neighbour(cli, edited):
    edited()
    answer = cli("check", "trail.yaml")
    assert answer.code == 2
    expected = 'trail.yaml:1:1: there is no such file; did you mean "trial.yaml"?'
    assert answer.errors.strip() == expected


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--set", "trial.subjekts=3"], "--set trial.subjekts: "),
        (["--set", "trail.subjects=3"], 'did you mean "trial"?'),
        (["--set", "trial.subjects"], "an override is written path=value"),
        (["--set", "trial.duration=3"], "--set trial.duration: "),
        (["--replicates", "-3"], "--set trial.replicates: "),
        (["--size", "1"], "--set trial.subjects: "),
        (["--seed", "-1"], "--set seed: "),
        (
            ["--set", "seed=3", "--set", "trial.subjects=30", "--size", "20"],
            "trial.subjects is given twice on the command line, as 30 and as 20; leave one out",
        ),
        (["--out", ""], "--out must name a folder"),
    ],
)
def test_options_are_reported_like_the_file(cli, coag, options, says):
    answer = cli("run", coag, *options)
    assert answer.code == 2
    assert says in answer.errors
    assert list(Path().iterdir()) == []


@pytest.fixture
def bare(edited):
    """The COAG config without its optional sections, some of which the scenarios change."""
    path = edited()
    text = path.read_text(encoding="utf-8")
    for section in (r"  options:\n(?:    .*\n)+", r"solver: .*\n", r"truth: .*\n"):
        text, removed = re.subn(f"^{section}", "", text, flags=re.MULTILINE)
        assert removed == 1
    path.write_text(text, encoding="utf-8")
    return path


def test_overrides_and_scenarios_reach_sections_that_the_file_lacks(cli, bare):
    changes = ("cohort.options.spread=variance", "truth.subjects=2000", "solver.max_steps=5000")
    answer = cli("check", bare, *(word for change in changes for word in ("--set", change)))
    assert (answer.code, answer.errors) == (0, "")


def test_a_misspelt_key_of_a_scenario_is_told_with_the_nearest(cli, bare):
    text = bare.read_text(encoding="utf-8")
    bare.write_text(text.replace("{cohort.options.spread: variance}", "{cohort.optins.spread: 1}"))
    answer = cli("check", bare)
    assert answer.code == 2
    (line,) = answer.errors.splitlines()
    assert "set.cohort.optins.spread: makes the config wrong: cohort.optins:" in line
    assert 'options, covariates, eligibility; did you mean "options"?' in line


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["run", "--replicates", "many"], ["walk"], ["run", "x.yaml", "--fast"]],
)
def test_wrong_use_of_a_command_is_exit_code_2(cli, arguments):
    answer = cli(*arguments)
    assert answer.code == 2
    assert "Usage:" in answer.errors


def test_a_right_config_is_told_to_be_so(cli, coag):
    answer = cli("check", coag)
    assert (answer.code, answer.errors) == (0, "")
    assert "ok: 200 trials of 1,015 subjects under 2 arms" in answer.output
    assert list(Path().iterdir()) == []
