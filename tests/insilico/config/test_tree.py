"""YAML is read within strict limits, and every mistake in it has its place."""

import json
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from insilico.config import ConfigError, Document, load
from insilico.config.tree import DEEPEST, MOST_VALUES, plain, read, resolve


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("007", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-6", 1e-6),
        (".5", 0.5),
        ("5.", 5.0),
        ("true", True),
        ("FALSE", False),
        ("", None),
        ("~", None),
        ("null", None),
        # Text in YAML 1.2, and traps of YAML 1.1.
        ("yes", "yes"),
        ("NO", "NO"),
        ("12:30", "12:30"),
        ("2024-01-31", "2024-01-31"),
        ("1_000", "1_000"),
        ("nan", "nan"),
        ("5 mg", "5 mg"),
    ],
)
def test_unquoted_values_follow_the_core_schema(written: str, value: object) -> None:
    assert resolve(written) == (value, None)
    assert type(resolve(written)[0]) is type(value)


@pytest.mark.parametrize(
    "written", [".inf", "-.Inf", ".nan", "1e999", "-1e999", "9223372036854775808", "9" * 5000]
)
def test_numbers_without_a_finite_machine_value_are_refused(written: str) -> None:
    value, message = resolve(written)
    assert value is None
    assert message is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.yaml:1:1: the file is empty"),
        ("# nothing\n", "x.yaml:1:1: the file is empty"),
        ("- 1\n", 'x.yaml:1:1: a config is made of "key: value" lines; found a list of 1'),
        ("a:\n\tb: 1\n", "x.yaml:2:1: a tab indents this line; indent with spaces"),
        ("a: b: c\n", 'x.yaml:1:5: a ":" cannot stand here'),
        ("a: 1\nb: [1, 2\nc: 3\n", "x.yaml:2:4: the [list] that begins here is not closed"),
        ('a: 1\nb: "x\n', "x.yaml:2:4: a quotation mark is opened here and never closed"),
        ("a: 'x' y\n", "x.yaml:1:8: nothing can follow the value here; put all of it in quotes"),
        ("a: @x\n", "x.yaml:1:4: a value cannot begin with this character; put the value in qu"),
        ("a: 1\nb\n", 'x.yaml:2:1: this line is neither "key: value" nor part of the value'),
        ("a:\n  - 1\n b: 2\n", "x.yaml:3:2: this line does not fit the section it stands in"),
        ('a: "\\q"\n', 'x.yaml:1:6: a backslash in "double quotes" begins an escape sequence'),
        ("a: x\x07\n", 'x.yaml:1:5: the character "\\u0007" is not allowed in YAML; remove it'),
        ("a: 1\n---\nb: 2\n", "x.yaml:2:1: a config is one YAML document"),
        ("%YAML 1.1\n---\na: 1\n", "x.yaml:1:1: YAML directives (%) are not allowed"),
        ("a: !!python/object:os.system x\n", "x.yaml:1:4: a: YAML tags are not allowed"),
        ("a: *1/*2\n", "x.yaml:1:4: a: the alias *1/*2 is not defined; if it is meant as text"),
        ("a: &a [*a]\n", "x.yaml:1:8: a.0: the alias *a stands inside its own value"),
        ("1: 2\n", 'x.yaml:1:1: a key must be text; found 1; put it in quotes: "1"'),
        ("true: 2\n", "x.yaml:1:1: a key must be text; found true"),
        ("? [1]\n: 2\n", "x.yaml:1:3: a key must be text, not a list or a section"),
        ("a: {<<: 3}\n", "x.yaml:1:5: a: merge keys (<<) are not allowed"),
        ('a: "\\ud800"\n', "x.yaml:1:4: a: holds half a character (a lone surrogate)"),
        ("a: .nan\n", "x.yaml:1:4: a: must be a finite number; found .nan"),
    ],
)
def test_a_malformed_text_is_one_problem_at_its_place(messages, text: str, message: str) -> None:
    found = messages(text)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_bytes_that_are_no_utf8_are_located(messages) -> None:
    (message,) = messages("title: é\nname: ".encode() + b"\xff\n")
    assert message.startswith("x.yaml:2:7: the byte 0xff is not UTF-8 text")


def test_utf16_is_named(messages) -> None:
    assert messages("a: 1".encode("utf-16")) == [
        "x.yaml:1:1: the file is UTF-16 text; save it as UTF-8"
    ]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(read) -> None:
    document = read(b"\xef\xbb\xbfa:\r\n  b: 1\r\n")
    assert document.data == {"a": {"b": 1}}
    assert document.where(("a", "b")) == (2, 6, None)


def test_too_large_a_file_is_refused(messages) -> None:
    assert messages("a: " + "x" * 2**20) == [
        "x.yaml:1:1: the file is larger than 1 MiB, the most a config may have"
    ]


def test_a_key_given_twice_names_both_lines(messages) -> None:
    assert messages("a:\n  b: 1\n  c: 2\n  b: 3\n") == [
        'x.yaml:4:3: a.b: the key "b" is given twice (first on line 2); remove one of the two'
    ]


def test_mistakes_that_leave_the_rest_readable_are_all_found(messages) -> None:
    found = messages("a: .inf\nb: !x 1\na: 3\n2: 4\nc: *d\n")
    assert [message.split(":")[1] for message in found] == ["1", "2", "3", "4", "5"]


def test_aliases_are_expanded(read) -> None:
    document = read("a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]\n")
    shared = {"b": [1, 2]}
    assert document.data == {"a": shared, "c": shared, "d": [shared, shared]}
    assert document.data["a"] is not document.data["c"]


def test_an_alias_stands_where_it_is_used_and_its_inside_where_it_is_written(read) -> None:
    document = read("a: &x {b: 1}\nc: *x\ns: &s text\nt: *s\n")
    assert document.where(("t",)) == (4, 4, None)
    assert document.where(("c", "b")) == (1, 11, None)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        inner = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{inner}]")
    return "\n".join(lines)


def test_an_alias_bomb_is_refused_before_it_expands(messages) -> None:
    start = time.process_time()
    (message,) = messages(bomb(20))  # 10^20 values
    # Refused at the fifth line, after about 50 aliases; expanding 10^9 values would take minutes.
    assert time.process_time() - start < 1
    assert "the config holds more than 20,000 values, aliases expanded" in message
    assert message.startswith("x.yaml:5:")


def test_just_as_many_values_as_allowed_are_read(messages) -> None:
    inside = MOST_VALUES - 3  # the top, the key and the list count as well
    assert messages("a: [" + "1," * inside + "]") == []
    assert len(messages("a: [" + "1," * (inside + 1) + "]")) == 1


@pytest.mark.parametrize("text", ["[" * 50_000, "{a: " * 50_000, "- " * 50_000])
def test_deep_nesting_is_refused(messages, text: str) -> None:
    (message,) = messages("a:\n " + text)
    assert f"is nested more than {DEEPEST} levels deep" in message


def test_aliases_cannot_nest_deeper_than_the_limit(messages) -> None:
    lines = ["a0: &a0 [1]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, DEEPEST + 2)]
    (message,) = messages("\n".join(lines))
    assert f"is nested more than {DEEPEST} levels deep" in message


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12),
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcxyz", min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(tree=trees)
def test_what_another_library_writes_is_read_back(tree: object) -> None:
    # JSON is YAML, so Python's own writer is an outside answer.
    reading = read(json.dumps({"top": tree}), "x.yaml")
    assert reading.problems == ()
    assert reading.root is not None
    assert plain(reading.root) == {"top": tree}


YAML_PIECES = st.sampled_from(
    [
        *"abc:-?[]{},&*!|>'\"%@`#\\ \n\t0.~=<",
        "a: ",
        "- ",
        "\n  ",
        "---\n",
        "...",
        "<<: *a",
        "&a ",
        "*a",
        "!!str ",
        '"\\x',
        "|2\n",
        "\r",
        "\ufeff",
        "\x85",
        "\u2028",
        "é",
        "%YAML 1.1\n",
        "%TAG ! x\n",
        "? ",
        "1e5",
        ".inf",
        "\ud800",
    ]
)


@settings(max_examples=400, deadline=None, suppress_health_check=[*HealthCheck])  # pyright: ignore[reportArgumentType]
@given(pieces=st.lists(YAML_PIECES, max_size=30))
@example(pieces=["%YAML 1.1\n", "---\n"])
@example(pieces=["%TAG ! x\n", "a: "])
@example(pieces=["a: ", "|2\n"])
def test_no_text_raises(pieces: list[str]) -> None:
    reading = read("".join(pieces), "x.yaml")
    for problem in reading.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert "\n" not in str(problem)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    content=st.binary(max_size=60)
    | st.lists(YAML_PIECES).map(lambda p: "".join(p).encode("utf-8", "surrogatepass"))
)
def test_no_bytes_raise_anything_but_a_config_error(tmp_path, content: bytes) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    try:
        document = load(file)
    except ConfigError as error:
        assert error.problems
    else:
        assert isinstance(document, Document)
        assert isinstance(document.data, dict)
