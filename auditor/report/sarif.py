"""The SARIF 2.1.0 report (OASIS), which GitHub code scanning and editors read.

A failing finding is an ``error``, one for a person a ``warning``; the steps of a finding are a code flow. Lines of a
packed script's unpacked text exist in no stored file, so such a result is placed on the stored file as a whole and
its text names the unpacked line. Fingerprints are made of what was found, not of line numbers, so that a result keeps
its identity when lines move.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from auditor import __version__
from auditor.audit import AuditReport
from auditor.findings import Finding, Status, Step, Witness
from auditor.report.escape import markdown, terminal
from auditor.report.excerpt import Excerpts
from auditor.report.json import clean
from auditor.report.outline import place, told_once, without_figures
from rules.base import Rule

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
CHALLENGE_URI = "https://github.com/openai/parameter-golf"
FINGERPRINT = "pgolfAudit/v1"
MAX_RESULTS = 5_000  # GitHub refuses runs with more than 25,000
MAX_STEPS = 100
MESSAGE_LENGTH = 1_000

_LEVELS = {Status.FAIL: "error", Status.REVIEW: "warning"}


def render_sarif(report: AuditReport) -> str:
    """The report as a SARIF log, ASCII JSON, ending with a newline."""
    return json.dumps(clean(sarif_log(report)), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def sarif_log(report: AuditReport) -> dict[str, object]:
    """The report as plain data in SARIF's shape."""
    from rules import RULES

    excerpts = Excerpts(report.submission, report.configuration, report.record)
    order = {code: index for index, code in enumerate(RULES)}
    results = [
        _result(report, excerpts, rule.rule, order[rule.rule], finding)
        for rule in report.verdict.rules
        for finding in told_once(rule.findings) or (Finding(rule.status, Witness.RECORD, rule.reason),)
        if finding.status in _LEVELS
    ]
    run = {
        "tool": {
            "driver": {
                "name": "pgolf-audit",
                "semanticVersion": __version__,
                "informationUri": CHALLENGE_URI,
                "rules": [_descriptor(rule) for rule in RULES.values()],
            }
        },
        "invocations": [_invocation(report)],
        "columnKind": "unicodeCodePoints",
        "results": results[:MAX_RESULTS],
        "properties": {"verdict": report.verdict.status.value, "resultsLeftOut": max(0, len(results) - MAX_RESULTS)},
    }
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}


def _descriptor(rule: Rule) -> dict[str, object]:
    rulings = "".join(
        f"\n- {item.day}: {item.reference} ({item.ruled_by}): {item.decision}" for item in rule.precedents
    )
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", rule.title)),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.text.partition("\n\n")[0].replace("\n", " ")},
        "help": {
            "text": rule.text,
            "markdown": rule.text + (f"\n\nRulings:\n{rulings}" if rulings else ""),
        },
        "defaultConfiguration": {"level": "error"},
    }


def _invocation(report: AuditReport) -> dict[str, object]:
    notices = [f"internal error while {item.during}: {item.error}" for item in report.incidents]
    notices += [f"{item.path}: {item.message}" for item in report.submission.problems]
    return {
        "executionSuccessful": not report.incidents,
        "toolExecutionNotifications": [
            {"level": "warning", "message": {"text": terminal(text, limit=MESSAGE_LENGTH)}} for text in notices
        ],
    }


def _result(report: AuditReport, excerpts: Excerpts, code: str, index: int, finding: Finding) -> dict[str, object]:
    where = Step(finding.path, finding.line, "") if finding.path else next(iter(finding.steps), Step("", 0, ""))
    message = terminal(finding.message, limit=MESSAGE_LENGTH)
    result: dict[str, object] = {
        "ruleId": code,
        "ruleIndex": index,
        "level": _LEVELS[finding.status],
        "message": {"text": message, "markdown": markdown(finding.message, limit=MESSAGE_LENGTH)},
        "locations": [_location(report, where.path or _fallback(report), where.line, finding.end_line)],
        "partialFingerprints": {FINGERPRINT: _fingerprint(excerpts, code, finding)},
        "properties": {"witness": finding.witness.value, "status": finding.status.value},
    }
    if finding.steps:
        result["codeFlows"] = [{"threadFlows": [{"locations": _flow(report, finding.steps)}]}]
    return result


def _fallback(report: AuditReport) -> str:
    """GitHub shows no result without a place: the script, else the first file."""
    if report.submission.script:
        return report.submission.script.path
    return report.submission.files[0].path if report.submission.files else "."


def _flow(report: AuditReport, steps: Sequence[Step]) -> list[dict[str, object]]:
    return [
        {"location": _location(report, step.path or _fallback(report), step.line, 0, step.message)}
        for step in steps[:MAX_STEPS]
    ]


def _location(report: AuditReport, path: str, line: int, end_line: int, message: str = "") -> dict[str, object]:
    stored, _, hidden = path.partition("!")
    physical: dict[str, object] = {"artifactLocation": {"uri": _uri(stored), "uriBaseId": "%SRCROOT%"}}
    if line and not hidden:
        physical["region"] = {"startLine": line, **({"endLine": end_line} if end_line >= line else {})}
    elif hidden:
        physical["region"] = {"startLine": 1}
        message = f"{place(report, path, line)} {message}".strip()
    location: dict[str, object] = {"physicalLocation": physical}
    if message:
        location["message"] = {"text": terminal(message, limit=MESSAGE_LENGTH)}
    return location


def _uri(path: str) -> str:
    """A relative URI reference that no file name can turn into another one."""
    from urllib.parse import quote

    return quote(path.encode("utf-8", "surrogatepass"), safe="/-._~") or "."


def _fingerprint(excerpts: Excerpts, code: str, finding: Finding) -> str:
    """SHA-256 over the rule, the witness, the message without figures and the lines of code it points at."""
    lines = [line.text.strip() for passage in excerpts.passages(finding) for line in passage.lines if line.step]
    parts = [code, finding.witness.value, without_figures(finding.message), finding.path.partition("!")[0], *lines]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
