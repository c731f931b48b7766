"""Makes text from a submission safe to show, for each medium.

Everything that a pull request wrote (file names, README, logs, source lines, and messages that quote them) passes
through one of these functions on its way out. What could act instead of being read becomes visible: a control
character as ``\\x1b``, a bidirectional override as ``\\u202e``. Nothing is dropped silently.

What acts depends on the medium: a terminal obeys escape sequences, a CI runner obeys lines such as ``::error::``,
GitHub's Markdown obeys HTML, mentions and links, a strict JSON parser rejects lone surrogates.
"""

from __future__ import annotations

import re
import unicodedata

# Formats and separators that reorder, hide or split what a reader sees; "Cc", "Cs", "Co" and the tags block besides.
_ACTING_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")  # letters that show as nothing
_VARIATION_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_SUSPECT = re.compile(r"[^\x20-\x7e\xa1-\xac\xae-\u02ff\u0370-\u0373]")
_MAX_MARKS = 2  # combining marks on one letter; more of them draw over neighbouring lines

# "::error file=x::" and "##[group]" at the beginning of a line are commands to CI runners; wrapping can bring the
# middle of a word there. "a::b" of C++ stays as it is.
_RUNNER_COMMAND = re.compile(
    r"(?<!\S)::(?=[A-Za-z])"
    r"|::(?=(?:error|warning|notice|debug|group|endgroup|echo|stop-commands|(?:add|remove|save|set)-[a-z]+)\b)"
    r"|##(?=\[|vso\[)",
    re.IGNORECASE,
)

_MARKDOWN_ACTIVE = re.compile(r"[\\`*\[\]<>&|~$]")
_LOOSE_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_MENTION = re.compile(r"@(?=\w)")
_REFERENCE = re.compile(r"#(?=\d)|(?<=\bGH)-(?=\d)", re.IGNORECASE)
_BARE_LINK = re.compile(r"(?<=:)//|\bwww(?=\.)|\bmailto(?=:)|\bxmpp(?=:)", re.IGNORECASE)
_COMMIT = re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])([0-9a-f]{7})(?=[0-9a-f]{0,33}\b)")
_BREAK = "\u200b"  # a zero-width space: with it GitHub sees no mention, reference or link; written as an entity


def terminal(text: str, *, limit: int = 0) -> str:
    """One line of `text` for a terminal or a CI log; `limit` > 0 bounds its length, the cut being marked."""
    cut = _cut(text, limit)
    return _cut(_RUNNER_COMMAND.sub(_disarm, visible(cut)), limit)


def visible(text: str) -> str:
    """`text` with every character that acts or hides shown as an escape; a tab becomes spaces."""
    text = text.replace("\t", "    ")
    shown = _SUSPECT.sub(_escape, text) if not text.isascii() or not text.isprintable() else text
    return shown if shown.isascii() else _tamed_marks(shown)


def markdown(text: str, *, limit: int = 0) -> str:
    """One line of `text` as literal Markdown text, outside code: no HTML, link, image, mention or reference."""
    shown = terminal(text, limit=limit)
    shown = _MARKDOWN_ACTIVE.sub(_markdown_literal, shown)
    shown = _LOOSE_UNDERSCORE.sub(r"\_", shown)
    shown = _BARE_LINK.sub(lambda found: _BREAK + found[0] if found[0] == "//" else found[0] + _BREAK, shown)
    for pattern in (_MENTION, _REFERENCE, _COMMIT):
        shown = pattern.sub(lambda found: found[0] + _BREAK, shown)
    return shown.replace(_BREAK, "&#8203;")


def markdown_code(text: str, *, limit: int = 0) -> str:
    """One line of `text` as a Markdown code span, whatever backticks it holds; not for table cells."""
    shown = terminal(text, limit=limit) or " "
    fence = "`" * (_longest_run(shown) + 1)
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def markdown_block(lines: list[str], language: str = "") -> str:
    """Lines as a fenced code block that they cannot close."""
    shown = [terminal(line) for line in lines]
    fence = "`" * max(3, max((_longest_run(line) for line in shown), default=0) + 1)
    return "\n".join((f"{fence}{language}", *shown, fence))


def json_text(text: str) -> str:
    """`text` as a string every JSON parser accepts: lone surrogates become visible escapes, the rest stays."""
    return re.sub(r"[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    hidden = (
        unicodedata.category(character) in _ACTING_CATEGORIES
        or character in _BLANK_LETTERS
        or any(code in selectors for selectors in _VARIATION_SELECTORS)
    )
    if not hidden:
        return " " if character == "\xa0" else character
    if character == "\n":
        return "\\n"
    if character == "\r":
        return "\\r"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _tamed_marks(text: str) -> str:
    """`text` with runs of combining marks cut to what a script needs."""
    shown: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        shown.append(character if marks <= _MAX_MARKS else f"\\u{ord(character):04x}")
    return "".join(shown)


def _disarm(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0][0]):02x}{found[0][1:]}"


def _markdown_literal(found: re.Match[str]) -> str:
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(found[0], "\\" + found[0])


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def _cut(text: str, limit: int) -> str:
    return text if limit <= 0 or len(text) <= limit else text[: max(limit - 1, 0)] + "…"
