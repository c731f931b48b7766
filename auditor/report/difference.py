"""What changed between two audits of one submission, from their JSON reports.

Findings have no numbers of their own; two are the same when rule, witness and message agree but for figures, so that
moved lines and new seeds do not look like new accusations. A report may come from an untrusted job: it is data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor.report.escape import terminal
from auditor.report.json import SCHEMA
from auditor.report.outline import without_figures

MAX_REPORT_BYTES = 64 << 20
MESSAGE_LENGTH = 300
_ORDER = ("not_applicable", "not_checked", "pass", "review", "fail")  # from harmless to worst
_ACCUSING = ("fail", "review")


class ReportError(Exception):
    """A file is no usable report; the message is the one line the user sees."""


@dataclass(frozen=True, slots=True)
class Found:
    """One finding of a report, as far as a comparison needs it."""

    rule: str
    status: str
    witness: str
    message: str

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return self.rule, self.status, self.witness, without_figures(self.message)


@dataclass(frozen=True, slots=True)
class ReadReport:
    """A JSON report, checked."""

    verdict: str
    statuses: Mapping[str, str]
    found: tuple[Found, ...]
    claimed_bpb: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Old and new report, compared. `worse` says whether any rule or the verdict got worse."""

    lines: tuple[str, ...]
    worse: bool


def read_report(path: str) -> ReadReport:
    """The report in `path`. Raises ReportError."""
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_REPORT_BYTES + 1)
        content = json.loads(text) if len(text) <= MAX_REPORT_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(f"{path}: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ReportError(f"{path}: not a report of schema {SCHEMA} (made with --format json)")
    rules = [rule for rule in _list(content.get("rules")) if isinstance(rule, dict)]
    claim = content.get("claim")
    bpb = claim.get("val_bpb") if isinstance(claim, dict) else None
    return ReadReport(
        verdict=str(content.get("verdict")),
        statuses={str(rule.get("rule")): str(rule.get("status")) for rule in rules},
        found=tuple(
            Found(
                str(rule.get("rule")),
                str(item.get("status")),
                str(item.get("witness")),
                str(item.get("message")),
            )
            for rule in rules
            for item in _list(rule.get("findings"))
            if isinstance(item, dict) and item.get("status") in _ACCUSING
        ),
        claimed_bpb=float(bpb) if isinstance(bpb, int | float) and not isinstance(bpb, bool) else None,
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def compare(old: ReadReport, new: ReadReport) -> Difference:
    """Every change, a line each: the verdict, the claim, statuses of rules, findings that came and went."""
    lines = []
    if old.verdict != new.verdict:
        lines.append(f"verdict: {old.verdict} -> {new.verdict}")
    if old.claimed_bpb != new.claimed_bpb:
        lines.append(f"claimed bpb: {_bpb(old)} -> {_bpb(new)}")
    worse = _rank(new.verdict) > _rank(old.verdict)
    for rule in dict.fromkeys((*old.statuses, *new.statuses)):
        before, after = old.statuses.get(rule, "not_checked"), new.statuses.get(rule, "not_checked")
        if before != after:
            lines.append(f"{rule}: {before} -> {after}")
            worse = worse or (_rank(after) > _rank(before) and after in _ACCUSING)
    known, still = {item.identity for item in old.found}, {item.identity for item in new.found}
    lines += [_line("+", item) for item in new.found if item.identity not in known]
    lines += [_line("-", item) for item in old.found if item.identity not in still]
    return Difference(tuple(lines), worse)


def render_difference(difference: Difference) -> str:
    """The changes as text, or that there are none."""
    shown = [terminal(line, limit=MESSAGE_LENGTH) for line in difference.lines]
    return "\n".join(shown or ["nothing changed"]) + "\n"


def _line(sign: str, item: Found) -> str:
    return f"{sign} {item.rule} {item.status} [{item.witness}]: {item.message}"


def _bpb(report: ReadReport) -> str:
    return "none" if report.claimed_bpb is None else f"{report.claimed_bpb:.5f}"


def _rank(status: str) -> int:
    return _ORDER.index(status) if status in _ORDER else 1
