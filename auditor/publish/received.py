"""A JSON report from an untrusted job, read within bounds and checked field by field."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from auditor.findings import Finding, RuleResult, Status, Step, Witness, verdict_status
from auditor.report.json import SCHEMA
from rules import CODES

MAX_ARCHIVE_BYTES = 64 << 20
MAX_REPORT_BYTES = 16 << 20
MAX_FINDINGS = 40  # of one rule
MAX_STEPS = 40  # of one finding
MAX_TEXT_LENGTH = 2_000
MAX_PATH_LENGTH = 500
MAX_LINE = 10_000_000
REPORT_NAME = "report.json"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class ReceivedError(Exception):
    """What was received is no usable report; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Received:
    """A checked report: nothing is longer than its bound or of another kind than expected; all text is hostile."""

    verdict: Status
    rules: tuple[RuleResult, ...]
    head: str  # the commit that it says was audited
    folder: str = ""
    claimed_bpb: float | None = None
    recomputed_bpb: float | None = None
    left_out: int = field(default=0)  # findings beyond the bound


def read_received(path: Path, head: str) -> Received:
    """The report in a JSON file, or in the zip archive of an artifact, about the commit `head`.

    Raises ReceivedError when it is too large, malformed, contradicts itself, or is about another commit.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ARCHIVE_BYTES + 1)
    except OSError as error:
        raise ReceivedError(f"{path}: {error.strerror or error}") from error
    if len(data) > MAX_ARCHIVE_BYTES:
        raise ReceivedError(f"{path}: larger than {MAX_ARCHIVE_BYTES:,} bytes")
    if data.startswith(b"PK"):
        data = _member(data)
    if len(data) > MAX_REPORT_BYTES:
        raise ReceivedError(f"the report is larger than {MAX_REPORT_BYTES:,} bytes")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ReceivedError(f"the report is not JSON ({type(error).__name__})") from error
    received = _checked(content)
    if received.head != head:
        raise ReceivedError(f"the report is about another commit than {head}")
    return received


def _member(archive: bytes) -> bytes:
    """The report in an archive. Only the one member is inflated, no further than its bound; nothing is written."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened, opened.open(REPORT_NAME) as member:
            return member.read(MAX_REPORT_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ReceivedError(f"the archive has no readable {REPORT_NAME} ({type(error).__name__})") from error


def _checked(content: object) -> Received:
    report = _mapping(content, "the report")
    if report.get("schema") != SCHEMA:
        raise ReceivedError(f"the report's schema is not {SCHEMA}")
    submission, claim = _mapping(report.get("submission"), "submission"), _mapping(report.get("claim"), "claim")
    rules = report.get("rules")
    if not isinstance(rules, list) or len(rules) > len(CODES):
        raise ReceivedError(f"rules: not a list of at most {len(CODES)}")
    results = tuple(map(_rule, rules))
    if len({result.rule for result in results}) != len(results):
        raise ReceivedError("rules: a rule is there twice")
    verdict = _status(report.get("verdict"), "verdict")
    # With internal errors a report is "review" though every rule passes; nothing else may differ.
    if verdict not in {verdict_status(results), Status.REVIEW} or (
        verdict is Status.REVIEW and verdict_status(results) is Status.FAIL
    ):
        raise ReceivedError(f"verdict {verdict.value} contradicts the rules")
    head = submission.get("head")
    if not isinstance(head, str) or not _COMMIT.fullmatch(head):
        raise ReceivedError("submission.head: not a commit")
    found = [len(item["findings"]) for item in rules if isinstance(item.get("findings"), list)]
    return Received(
        verdict=verdict,
        rules=results,
        head=head,
        folder=_text(submission.get("path"), MAX_PATH_LENGTH),
        claimed_bpb=_number(claim.get("val_bpb")),
        recomputed_bpb=_number(claim.get("recomputed_bpb")),
        left_out=sum(max(0, count - MAX_FINDINGS) for count in found),
    )


def _rule(item: object) -> RuleResult:
    rule = _mapping(item, "a rule")
    code = rule.get("rule")
    if code not in CODES:
        raise ReceivedError("rules: there is one that the rulebook does not have")
    findings = rule.get("findings")
    if not isinstance(findings, list):
        raise ReceivedError(f"{code}: findings is not a list")
    return RuleResult(
        rule=code,
        status=_status(rule.get("status"), str(code)),
        reason=_text(rule.get("reason")),
        findings=tuple(_finding(found, code) for found in findings[:MAX_FINDINGS]),
    )


def _finding(item: object, code: str) -> Finding:
    finding = _mapping(item, f"a finding of {code}")
    steps = finding.get("steps")
    if not isinstance(steps, list):
        raise ReceivedError(f"{code}: steps of a finding is not a list")
    try:
        witness = Witness(str(finding.get("witness")))
    except ValueError:
        raise ReceivedError(f"{code}: a finding has no known witness") from None
    return Finding(
        status=_status(finding.get("status"), code),
        witness=witness,
        message=_text(finding.get("message")),
        path=_text(finding.get("path"), MAX_PATH_LENGTH),
        line=_line(finding.get("line")),
        end_line=_line(finding.get("end_line")),
        steps=tuple(_step(step, code) for step in steps[:MAX_STEPS]),
    )


def _step(item: object, code: str) -> Step:
    step = _mapping(item, f"a step of {code}")
    return Step(_text(step.get("path"), MAX_PATH_LENGTH), _line(step.get("line")), _text(step.get("message")))


def _mapping(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ReceivedError(f"{what}: not an object")
    return value


def _status(value: object, what: str) -> Status:
    try:
        return Status(str(value))
    except ValueError:
        raise ReceivedError(f"{what}: no known status") from None


def _text(value: object, limit: int = MAX_TEXT_LENGTH) -> str:
    text = value if isinstance(value, str) else ""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _line(value: object) -> int:
    return value if type(value) is int and 0 <= value <= MAX_LINE else 0


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
