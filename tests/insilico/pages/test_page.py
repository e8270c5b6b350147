"""What the templates make of texts."""

from insilico.pages.page import with_code


def test_what_stands_between_backticks_is_code_and_all_is_escaped():
    found = with_code("by `method: <nuts>` & others; a lone ` stays")
    code = '<span class="code">method: &lt;nuts&gt;</span>'
    assert found == f"by {code} &amp; others; a lone ` stays"
