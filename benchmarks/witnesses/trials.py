"""One pull request audited with a run: what each witness says alone, what both say, and what the run cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from auditor.audit import AuditReport, audit
from auditor.findings import Witness
from auditor.report.run_section import standins
from auditor.run.testimony import ToyRun
from auditor.run.witness import RunOptions
from auditor.submission import LoadError, load_pull_request

COMPARED = ("C1", "C2", "C3", "C4", "TRAINDATA", "PAIDPREFIX", "EXTERNAL", "BYTES")
NO_SCRIPT = "no script"


@dataclass(frozen=True, slots=True)
class Trial:
    """One row: `alone` maps a witness to rule statuses judged on its word only, `log_m` a source of audit data to the
    evidence of the claimed metric in nats, `detectable` to the leak in nats a token that would have been proved."""

    pull_request: int
    ran: bool
    failure: str
    seconds: float
    standins: tuple[str, ...] = ()
    log_m: Mapping[str, float] = field(default_factory=dict)
    detectable: Mapping[str, float] = field(default_factory=dict)
    source: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, str] = field(default_factory=dict)
    both: Mapping[str, str] = field(default_factory=dict)
    reported: str = ""
    disagreements: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return asdict(self)


def try_pull_request(git_dir: Path, number: int, options: RunOptions) -> Trial:
    """Audit one pull request with the run witness."""
    try:
        submission = load_pull_request(git_dir, number)
    except LoadError as error:
        return Trial(number, False, f"not loaded: {error}", 0.0)
    if submission.script is None:
        return Trial(number, False, NO_SCRIPT, 0.0)
    report = audit(submission, run=options)
    statuses = {result.rule: result.status.value for result in report.verdict.rules}
    both = {code: statuses[code] for code in COMPARED}
    if report.run is None:
        why = report.heard.get(Witness.RUN, "")
        return Trial(number, False, why, 0.0, both=both)
    runs = report.run.runs
    tested = {f"{run.stream.source} {len(run.stream.tokens) - 1:,}": run.test for run in runs}
    return Trial(
        pull_request=number,
        ran=any(run.reported for run in runs),
        failure=next((run.failure for run in runs if run.failure), ""),
        seconds=round(sum(run.outcome.seconds for run in runs), 1),
        standins=tuple(sorted({name for run in runs for name in standins(run)})),
        log_m={source: round(test.log_m, 1) for source, test in tested.items() if test},
        detectable={source: round(test.detectable, 4) for source, test in tested.items() if test},
        source=_alone(report, Witness.SOURCE),
        run=_alone(report, Witness.RUN),
        both=both,
        reported=_reported(runs),
        disagreements=tuple(
            f"{item.rule}: source {item.source.value}, run {item.run.value}" for item in report.disagreements
        ),
    )


def _alone(report: AuditReport, witness: Witness) -> dict[str, str]:
    return {code: status.value for code, status in report.alone.get(witness, {}).items() if code in COMPARED}


def _reported(runs: tuple[ToyRun, ...]) -> str:
    found = next((run.reported for run in runs if run.reported), None)
    return f"{found.metric.score.raw[:120]}{'' if found.tied else ' (not tied to a log)'}" if found else ""
