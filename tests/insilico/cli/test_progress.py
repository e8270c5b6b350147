"""Progress in a log is short."""

from insilico.cli._progress import lines, spoken


def logged(capsys, calls):
    """What is said about calls of (seconds, stage, done, total)."""
    now = [0.0]
    watch = lines(lambda: now[0])
    for now[0], stage, done, total in calls:
        watch(stage, done, total)
    return capsys.readouterr().err.splitlines()


def test_a_stage_has_a_line_at_its_start_and_its_end(capsys):
    calls = [(0, "patients", 0, 2000), (5, "patients", 1000, 2000), (12.34, "patients", 2000, 2000)]
    assert logged(capsys, calls) == ["patients: 2,000 to do", "patients: done in 12.3 s"]


def test_a_long_stage_has_at_most_a_line_a_minute(capsys):
    calls = [(second, "patients", second, 600) for second in range(0, 600, 7)]
    said = logged(capsys, [*calls, (600, "patients", 600, 600)])
    assert said[1] == "patients: 63 of 600, about 537 s left"
    assert 8 <= len(said) <= 2 + 10


def test_a_stage_of_one_piece_is_not_counted(capsys):
    said = logged(capsys, [(0, "report", 0, 1), (1, "report", 1, 1)])
    assert said == ["report: begun", "report: done in 1.0 s"]


def test_where_a_search_stands_is_said_at_most_once_a_second_and_at_its_end(capsys):
    now = [0.0]
    speak = spoken(lambda: now[0])
    for number in range(25):
        now[0] = 0.1 * number
        speak("search", f"iteration {number}", False)
    speak("search", "came to rest", True)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "search: iteration 0" and said[-1] == "search: came to rest"
    assert 4 <= len(said) <= 5
