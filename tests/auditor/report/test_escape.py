"""Hostile text: nothing a pull request wrote may act on a terminal, a CI runner, a Markdown page or a JSON parser."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.report.escape import json_text, markdown, markdown_block, markdown_code, terminal


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\rb", "a\\rb"),
        ("a\nb", "a\\nb"),
        ("\x9b31m", "\\x9b31m"),
        ("pass\u202eliaf", "pass\\u202eliaf"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\U000e0041tag", "\\U000e0041tag"),
        ("lone \ud800", "lone \\ud800"),
        ("line\u2028sep", "line\\u2028sep"),
        ("hangul\u3164filler", "hangul\\u3164filler"),
        ("::error file=a::no", "\\x3a:error file=a::no"),
        ("  ::set-output name=x::y", "  \\x3a:set-output name=x::y"),
        ("word::warning::", "word\\x3a:warning::"),
        ("##[error]no", "\\x23#[error]no"),
        ("##vso[task.complete]", "\\x23#vso[task.complete]"),
    ],
)
def test_what_acts_on_a_terminal_becomes_visible(hostile: str, shown: str) -> None:
    assert terminal(hostile) == shown


@pytest.mark.parametrize("honest", ["x = tokens[::2]", "std::vector<int>", "café 漢字 ±0.5 → ok", "C:\\x1b", "a # b"])
def test_honest_text_stays_as_it_is(honest: str) -> None:
    assert terminal(honest) == honest


def test_long_text_is_cut_and_the_cut_is_marked() -> None:
    assert terminal("x" * 50, limit=10) == "x" * 9 + "…"
    assert len(terminal("\x1b" * 50, limit=10)) <= 10


@given(st.text(st.characters()))
def test_a_terminal_line_holds_no_character_that_acts(text: str) -> None:
    shown = terminal(text)
    assert not [
        character for character in shown if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    ]
    assert not re.search(r"(?<!\S)::[A-Za-z]", shown)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("</details>", "&lt;/details&gt;"),
        ("![x](http://evil)", "!\\[x\\](http:&#8203;//evil)"),
        ("see www.evil.com", "see www&#8203;.evil.com"),
        ("@openai/team", "@&#8203;openai/team"),
        ("fixes #12 and GH-7", "fixes #&#8203;12 and GH-&#8203;7"),
        ("a`b", "a\\`b"),
        ("**bold** _it_", "\\*\\*bold\\*\\* \\_it\\_"),
        ("cell | cell", "cell \\| cell"),
        ("&lt;", "&amp;lt;"),
        ("\x1b[1m", "\\\\x1b\\[1m"),
    ],
)
def test_what_acts_in_markdown_becomes_literal(hostile: str, shown: str) -> None:
    assert markdown(hostile) == shown


def test_function_names_stay_readable_in_markdown() -> None:
    assert markdown("ttt_adapt (lines 938-996) steps the optimizer") == "ttt_adapt (lines 938-996) steps the optimizer"


@given(st.text(st.sampled_from("`a |\n\\")))
def test_a_code_span_is_closed_by_its_own_fence_only(text: str) -> None:
    span = markdown_code(text)
    opening = re.match(r"`+", span)
    assert opening is not None
    fence = opening[0]
    assert span.endswith(fence)
    inside = span[len(fence) : -len(fence)]
    assert fence not in re.findall(r"`+", inside)
    assert not inside.startswith("`")
    assert not inside.endswith("`")


def test_a_code_block_cannot_be_closed_from_inside() -> None:
    block = markdown_block(["x = 1", "```", "````", "<script>"], "python")
    lines = block.split("\n")
    assert lines[0] == "`````python"
    assert lines[-1] == "`````"
    assert lines.count("`````") == 1


@given(st.text(st.characters()))
def test_json_text_is_valid_unicode(text: str) -> None:
    json_text(text).encode("utf-8")


def test_json_text_shows_lone_surrogates_and_keeps_the_rest() -> None:
    assert json_text("a\udc80\x1bé") == "a\\udc80\x1bé"
    assert json.loads(json.dumps(json_text("\ud83d\ude00 \U0001f600"))) == "\\ud83d\\ude00 \U0001f600"
