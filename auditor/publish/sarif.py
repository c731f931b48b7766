"""A received report as a SARIF 2.1.0 log, written from the checked fields alone."""

from __future__ import annotations

import hashlib
import json
import re
from urllib.parse import quote

from auditor import __version__
from auditor.findings import Finding, Status, Step
from auditor.publish.received import Received
from auditor.report.escape import markdown, terminal
from auditor.report.json import clean
from auditor.report.sarif import SCHEMA_URI
from rules import CODES, RULES

MESSAGE_LENGTH = 1_000
FINGERPRINT = "pgolfAuditReceived/v1"
_LEVELS = {Status.FAIL: "error", Status.REVIEW: "warning"}
_FIGURES = re.compile(r"\d[\d,.]*")


def render_received_sarif(received: Received) -> str:
    """The log as ASCII JSON text, ending with a newline."""
    results = [
        _result(rule.rule, finding)
        for rule in received.rules
        for finding in rule.findings
        if finding.status in _LEVELS and finding.status is rule.status
    ]
    driver = {
        "name": "pgolf-audit",
        "semanticVersion": __version__,
        "rules": [{"id": code, "shortDescription": {"text": rule.title}} for code, rule in RULES.items()],
    }
    log = {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(clean(log), ensure_ascii=True, allow_nan=False) + "\n"


def _result(code: str, finding: Finding) -> dict[str, object]:
    where = Step(finding.path, finding.line, "") if finding.path else next(iter(finding.steps), Step("", 0, ""))
    parts = [code, finding.witness.value, _FIGURES.sub("0", finding.message), _stored(finding.path)]
    result: dict[str, object] = {
        "ruleId": code,
        "ruleIndex": CODES.index(code),
        "level": _LEVELS[finding.status],
        "message": {
            "text": terminal(finding.message, limit=MESSAGE_LENGTH) or code,
            "markdown": markdown(finding.message, limit=MESSAGE_LENGTH),
        },
        "locations": [_location(where)],
        "partialFingerprints": {
            FINGERPRINT: hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        },
    }
    if finding.steps:
        result["codeFlows"] = [{"threadFlows": [{"locations": [{"location": _location(s)} for s in finding.steps]}]}]
    return result


def _stored(path: str) -> str:
    """The path in the repository: what stands behind "!" is inside a packed file."""
    return path.partition("!")[0]


def _location(step: Step) -> dict[str, object]:
    """A place; its path is relative and cannot be read as anything else."""
    stored = "/".join(part for part in _stored(step.path).split("/") if part not in ("", ".", ".."))
    uri = quote(stored.encode("utf-8", "surrogatepass"), safe="/-._~") or "."
    physical: dict[str, object] = {"artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"}}
    if step.line:
        physical["region"] = {"startLine": 1 if "!" in step.path else step.line}
    location: dict[str, object] = {"physicalLocation": physical}
    if step.message:
        location["message"] = {"text": terminal(step.message, limit=MESSAGE_LENGTH)}
    return location
