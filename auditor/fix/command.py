"""``pgolf-audit fix``: the patch, what it changes, and what the witnesses say before and after it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from auditor.audit import AuditReport, audit
from auditor.findings import Witness
from auditor.fix.proposing import Proposal, propose_fix
from auditor.run.incompressibility import in_words
from auditor.run.testimony import ToyRun
from auditor.run.witness import RunOptions
from auditor.submission.load import load_folder
from auditor.submission.model import Submission

FIXABLE = ("C3",)


def describe_fix(submission: Submission, rule: str, run: RunOptions | None) -> tuple[str, str]:
    """The patch, and the account of it. Raises NotFixedError."""
    proposal = propose_fix(submission, rule)
    lines = [f"{rule}: a patch of {proposal.path}"]
    lines += [f"- line {edit.line}: {edit.told}" for edit in proposal.edits]
    if submission.script is not None and submission.script.packed:
        lines.append("- the script is packed: the patch is of the unpacked text, which has to be packed again")
    told = [
        f"{code} {before.value} -> {proposal.statuses_after[code].value}"
        for code, before in proposal.statuses_before.items()
        if before is not proposal.statuses_after[code]
    ]
    lines.append(f"source witness: {', '.join(told)}; no other rule of its got worse")
    if run is not None:
        run = replace(run, trace=False, swap=False, ranks=1)  # the incompressibility test alone: one run each
        lines.append(f"run witness before: {run_line(audit(submission, run=run), rule)}")
        with patched_folder(submission, proposal) as folder:
            lines.append(f"run witness after: {run_line(audit(load_folder(folder), run=run), rule)}")
    lines.append("The patched script has no score yet: run it for every seed, and replace the logs.")
    return proposal.patch(), "\n".join(lines) + "\n"


@contextmanager
def patched_folder(submission: Submission, proposal: Proposal) -> Iterator[Path]:
    """The record folder as it would be with the patch, for as long as the context lasts."""
    assert submission.script is not None
    stored = submission.script.path.partition("!")[0]
    with tempfile.TemporaryDirectory(prefix="pgolf-fix-") as scratch:
        root = Path(scratch) / "record"
        for item in submission.files:
            if not item.complete or item.data is None:
                continue
            target = root / submission.relative(item.path)
            if not target.resolve().is_relative_to(root.resolve()):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(proposal.after.encode() if item.path == stored else item.data)
        yield root


def run_line(report: AuditReport, rule: str) -> str:
    """What a run testified: the rule's status, and of each toy run the reported score with its log M."""
    if report.run is None:
        return f"nothing was run: {report.heard.get(Witness.RUN) or 'no reason known'}"
    status = {result.rule: result.status for result in report.verdict.rules}[rule]
    return "; ".join([f"{rule} {status.value}", *map(_evidence, report.run.runs)])


def _evidence(run: ToyRun) -> str:
    test = run.test
    if run.reported is None or test is None:
        return f"no reported score was printed ({run.failure or 'the run printed none'})"
    score = run.reported.metric.score
    printed = f"{run.stream.source} tokens, prints {score.loss_text or score.bpb_text + ' bpb'}"
    chance = f", a chance {in_words(test.evidence)} for a rule-abiding scorer" if test.evidence > 0 else ""
    return f"{printed}: log M {test.log_m:+,.0f} nats{chance}"
