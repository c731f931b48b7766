"""The page of a rule, generated from its module: `pgolf-audit rules C3` prints it."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable, Mapping

from rules.base import Rule

WIDTH = 100
MAX_DIFF_LINES = 70


def index(rules: Mapping[str, Rule]) -> str:
    """One line a rule: code and title."""
    return "".join(f"{code:<12}{rule.title}\n" for code, rule in rules.items())


def page(rule: Rule) -> str:
    """The rule as Markdown that also reads well in a terminal."""
    parts = [f"# {rule.code}: {rule.title}", *map(_wrapped, rule.text.strip().split("\n\n"))]
    if rule.in_force:
        parts.append(f"Stated first on {rule.in_force.isoformat()}.")
    parts += ["## Sources", _items(rule.sources)]
    if rule.precedents:
        rulings = sorted(rule.precedents, key=lambda item: item.day)
        parts += [
            "## Precedents",
            _items(f"{item.day.isoformat()} {item.reference} ({item.ruled_by}): {item.decision}" for item in rulings),
        ]
    parts += [
        "## What each witness can say",
        _items(f"{witness.value}: {text}" for witness, text in rule.witnesses.items()),
        "## Known blind spots",
        _items(rule.blind_spots),
        "## Examples",
        _wrapped(f"Legal: {rule.legal.explanation}"),
        _wrapped(f"Illegal: {rule.illegal.explanation}"),
        "From the legal example to the illegal one:",
        _difference(rule),
    ]
    return "\n\n".join(parts) + "\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def _items(texts: Iterable[str]) -> str:
    return "\n".join(
        textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ", break_on_hyphens=False) for text in texts
    )


def _difference(rule: Rule) -> str:
    """What differs between the two examples, file by file, as a unified diff without the sizes that follow from it."""
    legal, illegal = rule.legal.files, rule.illegal.files
    names = sorted({*legal, *illegal}, key=lambda name: (name != "train_gpt.py", name))
    if legal.get("train_gpt.py") != illegal.get("train_gpt.py"):
        names = ["train_gpt.py"]
    lines: list[str] = []
    for name in names:
        before, after = legal.get(name, "").splitlines(), illegal.get(name, "").splitlines()
        lines += difflib.unified_diff(before, after, f"legal/{name}", f"illegal/{name}", n=1, lineterm="")
    if len(lines) > MAX_DIFF_LINES:
        lines = [*lines[:MAX_DIFF_LINES], f"... {len(lines) - MAX_DIFF_LINES} more lines"]
    return "\n".join(("```diff", *lines, "```"))
