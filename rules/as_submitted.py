"""What is said where nothing is reported: no score is claimed, and no log prints one.

Then nothing tells which of the scores that a script prints its author would have reported. What all of them share is a
fact about the code as submitted; what only some have is for a person to weigh.
"""

from __future__ import annotations

from dataclasses import replace

from auditor.findings import Finding, Status, Witness
from auditor.ledger import Ledger
from auditor.record.claimed_line import nothing_reported
from auditor.record.model import Record

_REPORTED = "the reported score"
_NOTE = " (no score is reported: this is what the code as submitted would do)"


def share_doubt(code: str, record: Record, ledger: Ledger) -> str:
    """Why a violation of rule `code` need not be one of the score that would be reported; "" where it would be."""
    if not nothing_reported(record):
        return ""
    final = [metric for metric in ledger.metrics if metric.breaks is not None]
    having = [metric for metric in final if metric.breaks and code in metric.breaks]
    if not having or len(having) == len(final):
        return ""
    return f"no score is claimed; {len(having)} of the {len(final)} scores that the script prints have it"


def as_submitted(finding: Finding) -> Finding:
    """A finding of the source witness in words that claim no more than the code: nothing is reported."""
    if finding.witness is not Witness.SOURCE or finding.status is Status.NOT_CHECKED:
        return finding
    note = _NOTE if finding.status is Status.FAIL else ""
    message = finding.message.replace(_REPORTED, "the last printed score") + note
    steps = tuple(
        replace(
            step,
            message=step.message.replace(f"prints {_REPORTED}", "prints the last score").replace(
                _REPORTED, "the last printed score"
            ),
        )
        for step in finding.steps
    )
    return replace(finding, message=message, steps=steps)
