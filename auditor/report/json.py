"""The JSON report, schema "pgolf-audit/1".

Additions to the schema are fields, never changes of meaning. Numbers that JSON cannot hold (NaN, infinity) are null;
lone surrogates are visible escapes; everything else of the submission's text is kept as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from auditor.audit import AuditReport
from auditor.findings import Claim, Finding, RuleResult
from auditor.report.escape import json_text
from auditor.report.outline import headline
from auditor.report.rescore_section import rescore_document
from auditor.report.run_section import run_document
from auditor.submission.model import Submission

SCHEMA = "pgolf-audit/1"
MAX_TEXT_LENGTH = 4_000  # characters of any one string


def render_json(report: AuditReport) -> str:
    """The report as ASCII JSON text, ending with a newline."""
    return json.dumps(clean(document(report)), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def document(report: AuditReport) -> dict[str, object]:
    """The report as plain data, before cleaning."""
    return {
        "schema": SCHEMA,
        "submission": _submission(report.submission),
        "verdict": report.verdict.status.value,
        "summary": headline(report),
        "rules": [_rule(rule) for rule in report.verdict.rules],
        "claim": _claim(report.verdict.claim),
        "as_of": report.as_of.isoformat() if report.as_of else None,
        "validation_text": {"name": report.text.name, "text_bytes": report.text.text_bytes},
        "witnesses": {witness.value: why or "heard" for witness, why in report.heard.items()},
        "configuration": {
            name: {
                "value": setting.value,
                "source": setting.source,
                "path": setting.place.path,
                "line": setting.place.line,
            }
            for name, setting in report.configuration.environment.items()
        },
        "run": run_document(report),
        "rescore": rescore_document(report),
        "internal_errors": [{"during": item.during, "error": item.error} for item in report.incidents],
        "problems": [
            *({"path": item.path, "message": item.message} for item in report.submission.problems),
            *({"path": "", "message": message} for message in report.record.problems),
        ],
    }


def clean(value: object) -> object:
    """`value` with every string and number made fit for any JSON parser."""
    if isinstance(value, str):
        return json_text(value if len(value) <= MAX_TEXT_LENGTH else value[: MAX_TEXT_LENGTH - 1] + "…")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {json_text(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def _submission(submission: Submission) -> dict[str, object]:
    script = submission.script
    return {
        "path": submission.folder or submission.origin,
        "origin": submission.origin,
        "track": submission.track.value,
        "script": script.path.split("!")[0] if script else None,
        "script_sha256": script.sha256 if script else None,
        "packed": script.packed if script else False,
        "layers": list(script.layers) if script else [],
        "pull_request": submission.pull_request,
        "head": submission.head or None,
        "created": submission.created.isoformat() if submission.created else None,
    }


def _rule(rule: RuleResult) -> dict[str, object]:
    return {
        "rule": rule.rule,
        "status": rule.status.value,
        "reason": rule.reason,
        "findings": [_finding(finding) for finding in rule.findings],
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "status": finding.status.value,
        "witness": finding.witness.value,
        "message": finding.message,
        "path": finding.path,
        "line": finding.line,
        "end_line": finding.end_line,
        "steps": [{"path": step.path, "line": step.line, "message": step.message} for step in finding.steps],
    }


def _claim(claim: Claim) -> dict[str, object]:
    return {
        "val_bpb": claim.val_bpb,
        "val_loss": claim.val_loss,
        "recomputed_bpb": claim.recomputed_bpb,
        "recomputed_from": claim.recomputed_from,
        "artifact_bytes": claim.artifact_bytes,
        "seeds": list(claim.seeds),
    }
