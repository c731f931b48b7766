"""A report made by hand: an accusation, a question for two rules, a pass and a rule that was not checked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditor.audit import AuditReport, Incident
from auditor.configuration import RunConfiguration
from auditor.findings import Claim, Finding, RuleResult, Status, Step, Verdict, Witness, verdict_status
from auditor.ledger import Ledger
from auditor.record.model import Record, Statement
from auditor.submission.model import Role, SourceText, StoredFile, Submission, Track

FOLDER = "records/track_10min_16mb/example"
SCRIPT = f"{FOLDER}/train_gpt.py"
LOG = f"{FOLDER}/train.log"

SOURCE = """\
def adapt(model, val_tokens):
    for epoch in range(3):
        for chunk in val_tokens:
            model(chunk).backward()
            optimizer.step()


adapt(model, val_tokens)
print(evaluate(model, val_tokens))
"""

ReportOf = Callable[..., AuditReport]


@pytest.fixture
def report_of() -> ReportOf:
    """Builds a report; every text that a submission could choose can be given."""

    def build(
        *results: RuleResult,
        source: str = SOURCE,
        log: str = "seed:42\nfinal val_loss:2.05 val_bpb:1.21\n",
        origin: str = "PR 1 in repo",
        incidents: tuple[Incident, ...] = (),
        problems: tuple[str, ...] = (),
        claim: Claim | None = None,
        layers: tuple[str, ...] = (),
    ) -> AuditReport:
        path = SCRIPT + "!unpacked" * len(layers)
        submission = Submission(
            origin,
            FOLDER,
            Track.RECORD,
            files=(StoredFile(LOG, len(log), Role.LOG, log.encode("utf-8", "surrogatepass")),),
            script=SourceText(path, source, "0" * 64, layers=layers),
        )
        claim = claim or Claim(val_bpb=1.21)
        verdict = Verdict(verdict_status(results), results, claim)
        return AuditReport(
            submission,
            RunConfiguration(),
            Record(Statement(), (), problems=problems),
            verdict,
            source=Ledger(),
            heard={Witness.SOURCE: "", Witness.RECORD: "", Witness.RUN: "not asked"},
            incidents=incidents,
        )

    return build


@pytest.fixture
def accusation() -> Finding:
    return Finding(
        Status.FAIL,
        Witness.SOURCE,
        "adapt (lines 1-5) steps the optimizer on all of val_tokens; it is called at line 8, before line 9",
        path=SCRIPT,
        line=5,
        steps=(
            Step(SCRIPT, 8, "the script calls adapt"),
            Step(SCRIPT, 5, "gradient step on all of val_tokens"),
            Step(SCRIPT, 9, "prints the reported score"),
        ),
    )


@pytest.fixture
def results(accusation: Finding) -> tuple[RuleResult, ...]:
    question = Finding(Status.REVIEW, Witness.SOURCE, "calls a C library", path=SCRIPT, line=9)
    note = Finding(Status.PASS, Witness.RECORD, "one log was cut", path=LOG, line=1)
    return (
        RuleResult("C1", Status.REVIEW, question.message, (question,)),
        RuleResult("C2", Status.REVIEW, question.message, (question,)),
        RuleResult("C3", Status.FAIL, accusation.message, (accusation,)),
        RuleResult("BYTES", Status.PASS, "all lines divide by the right bytes", (note,)),
        RuleResult("EVIDENCE", Status.NOT_CHECKED, "no log"),
    )
