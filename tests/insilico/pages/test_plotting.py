"""Labels of figures, which somebody else chooses, keep to the room that there is."""

from insilico.pages import plotting

LONG = "An arm with a label that is much longer than any figure of a report has room"


def test_labels_beside_a_figure_have_few_lines_and_the_room_for_them():
    lines = plotting.wrapped(f"{LONG}: {LONG}").split("<br>")
    assert len(lines) == plotting.MOST_LINES and lines[-1].endswith("…")
    assert max(map(len, lines)) <= 26
    assert plotting.wrapped("Women & men") == "Women &amp; men"
    assert plotting.height_of(["<br>".join(lines)]) > plotting.MOST_LINES * plotting.LINE_HEIGHT
    assert plotting.height_of(["short"]) < plotting.height_of(["short", "of two<br>lines"])


def test_titles_of_panels_are_cut_before_they_meet():
    told = plotting.title(LONG, 0, 1, most=30)["text"]
    assert told == "<b>An arm with a label that is m…</b>"
    assert plotting.title("a < b", 0, 1)["text"] == "<b>a &lt; b</b>"
    assert plotting.title("<i>kept</i>" + LONG, 0, 1, markup=True)["text"].endswith(LONG)
