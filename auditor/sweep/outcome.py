"""What one audit of a sweep said, in figures and words that fit on a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_AUDITED = "not_audited"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one audit said. `statuses` maps rule codes to statuses; `error`: why there is no report ("" if there is)."""

    pull_request: int | None  # None: a reference that is no pull request
    head: str  # commit that was audited
    verdict: str
    statuses: Mapping[str, str]
    reasons: Mapping[str, str]
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int  # resident memory; never less than what the sweep itself held when it started the audit
    error: str = ""
    reference: str = ""
    track: str = ""
    folder: str = ""
    claimed_bpb: float | None = None
    recomputed_bpb: float | None = None  # from the submission's own logs, or by the rescore witness
    artifact_bytes: int | None = None
    log_m: float | None = None  # nats; the run witness's strongest evidence, None when nothing was run
    lost: bool = False  # there is no report because of the machine, not of the submission: worth another try
    tries: int = 1

    def status(self, rule: str) -> str:
        """Status of `rule`; "not_audited" when the audit failed, "not_checked" when the report leaves the rule out."""
        return NOT_AUDITED if self.error else self.statuses.get(rule, "not_checked")

    def rules_with(self, status: str) -> tuple[str, ...]:
        """The rules that have `status`, in the report's order."""
        return tuple(rule for rule, found in self.statuses.items() if found == status)


def report_fields(report: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Outcome` that a JSON report gives. Raises KeyError, TypeError where it is not one."""
    claim, submission = report["claim"], report["submission"]
    return {
        "verdict": str(report["verdict"]),
        "statuses": {str(rule["rule"]): str(rule["status"]) for rule in report["rules"]},
        "reasons": {str(rule["rule"]): str(rule.get("reason", "")) for rule in report["rules"]},
        "track": str(submission.get("track", "")),
        "folder": str(submission.get("path", "")),
        "claimed_bpb": claim.get("val_bpb"),
        "recomputed_bpb": claim.get("recomputed_bpb"),
        "artifact_bytes": claim.get("artifact_bytes"),
        "log_m": _strongest(report.get("run")),
    }


def _strongest(run: object) -> float | None:
    """The largest log M, in nats, of a reported metric of any toy run."""
    if not isinstance(run, Mapping):
        return None
    metrics = (metric for toy in run.get("runs", ()) for metric in toy.get("metrics", ()))
    found = [metric["log_m"] for metric in metrics if metric.get("reported") and metric.get("log_m") is not None]
    return max(found, default=None)
