"""Logged lines of adaptation before the claimed score that nothing in the submitted code prints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from auditor.findings import Finding, Status, Step, Witness
from auditor.record.claimed_line import claimed_lines
from auditor.record.code_match import opaque, submitted_texts
from auditor.record.model import Place, RunLog
from auditor.record.places import RawPlaces
from auditor.record.template import may_print
from auditor.submission import syntax
from rules.base import Evidence

# ``ttt_epoch:1/10``, ``[TTT] epoch 1 of 10``, ``adapt: pass, epoch 1/3``
_EPOCH = re.compile(r"\W{0,4}(?:ttt|adapt|test.?time)[^\d\n]{0,30}?epochs?\W{0,3}\d+\s*(?:/|of)\s*\d+", re.I)
_LOSS = re.compile(r"\b\w*(?:loss|nll|bpb)\W{0,3}\d", re.I)
_MOST_LINES = 20_000


def unprinted_adaptation(evidence: Evidence) -> list[Finding]:
    """A review where the log of the claimed score shows epochs of adaptation that the submitted code cannot print."""
    submission = evidence.submission
    if submission.script is None or opaque(submission):
        return []
    claimed = {line.place.path: line.raw for line in claimed_lines(evidence.record)}
    for log in evidence.record.logs:
        lines = _epochs(log, claimed[log.path]) if log.path in claimed else []
        if lines and not any(may_print(template, lines[0][1]) for template in _templates(evidence)):
            place = RawPlaces(log).place(lines[0][0])
            return [_finding(place, lines[0][1], len(lines))]
    return []


def _epochs(log: RunLog, claimed: str) -> list[tuple[int, str]]:
    """The lines of epochs of adaptation, with a loss each, before the claimed line: their index and text."""
    found: list[tuple[int, str]] = []
    for index, text in enumerate(log.raw_lines[:_MOST_LINES]):
        if claimed in text:
            return found
        if _EPOCH.match(text) and _LOSS.search(text):
            found.append((index, text.strip()))
    return []


def _templates(evidence: Evidence) -> Iterator[tuple[str | None, ...]]:
    """Every text that the submitted code holds, with its holes: any of them may be printed."""
    for text in submitted_texts(evidence.submission):
        tree = syntax.parse(text).tree
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.JoinedStr):
                yield tuple(str(part.value) if isinstance(part, ast.Constant) else None for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"[%{]", node.value):
                yield tuple(re.split(r"%[-+ #0-9.]*[a-zA-Z]|\{[^{}]*\}", node.value))


def _finding(place: Place, line: str, count: int) -> Finding:
    message = (
        f"the log of the claimed score has {count} lines of adaptation before it, such as {line[:60]!r}, that nothing "
        "in the submitted code prints: the code that adapted, and on which tokens, is not here"
    )
    step = Step(place.path, place.line, "a line that the submitted code does not print")
    return Finding(Status.REVIEW, Witness.RECORD, message, path=place.path, line=place.line, steps=(step,))
