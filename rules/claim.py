"""CLAIM: the claimed score is what the logs print, and logs, README, submission.json and script belong together."""

from __future__ import annotations

import re
from datetime import date

from auditor.findings import RuleResult, Status, Witness, conclude
from rules.base import Evidence, Example, Precedent, Rule
from rules.claim_case import case_of
from rules.claim_code import (
    code_size_findings,
    copied_run_findings,
    foreign_code_findings,
    note_findings,
    seed_name_findings,
    source_findings,
)
from rules.claim_score import cell_findings, digit_findings, equals, score_findings
from rules.claim_statements import compliance_findings, readme_findings, setting_findings, total_findings, unit_findings
from rules.example import example_folder
from rules.rescored import claim_findings, with_rescored


def judge(evidence: Evidence) -> RuleResult:
    """What the evidence files say of each other, and what evaluating the artifact again says of them."""
    return with_rescored(_judge_record(evidence), claim_findings(evidence))


def _judge_record(evidence: Evidence) -> RuleResult:
    """Compare the claim with every logged line, then logs, tables, settings and script with each other."""
    case = case_of(evidence)
    findings = [
        *score_findings(case),
        *copied_run_findings(case),
        *readme_findings(case),
        *cell_findings(case),
        *source_findings(case),
        *code_size_findings(case),
        *foreign_code_findings(case),
        *digit_findings(case),
        *seed_name_findings(case),
        *note_findings(case),
        *setting_findings(case),
        *compliance_findings(case),
        *total_findings(case),
        *unit_findings(case),
    ]
    if case.match is None and not any(item.status in (Status.FAIL, Status.REVIEW) for item in findings):
        reason = "no log prints a score" if case.record.statement.val_bpb is not None else "no score is claimed"
        return RuleResult("CLAIM", Status.NOT_CHECKED, f"{reason}, so there is nothing to compare", tuple(findings))
    passed = f"the claim equals {equals(case.match)}; nothing contradicts" if case.match else "nothing contradicts"
    return conclude("CLAIM", findings, passed=passed)


def _other_score_example() -> Example:
    files = example_folder()
    claim = re.search(r'"val_bpb": (\d\.\d+)', files["submission.json"])
    assert claim is not None
    files["submission.json"] = files["submission.json"].replace(claim[1], "1.19000000")
    files["README.md"] = re.sub(r"val_bpb: \d\.\d+", "val_bpb: 1.1900", files["README.md"])
    return Example(files, "1.19 is claimed; the logs print 1.2139 to 1.2145 and nothing else.")


RULE = Rule(
    code="CLAIM",
    title="The claimed score is what the logs print, and everything belongs together",
    text=(
        "The score that a submission claims is the one that its logs print: the mean of one labelled line over its "
        "seeds. README, submission.json, logs and script speak of the same runs of the same code.\n\n"
        "The claim is compared with every labelled line of every log, because labels prove nothing: the baseline's "
        "final_int8_zlib_roundtrip_exact often prints a sliding-window or an adapted score. What the claim equals is "
        "named: the mean, the best seed, the mean of a subset, a validation during training. A claim that no line and "
        "no mean is within 0.001 of breaks the rule, if every log that could show it is there. So do logs of different "
        "seeds that share more than a quarter of their measured lines, times included: one run is no two seeds.\n\n"
        "All else is for a person to look at: a log that embeds another source than the submitted script, counts other "
        "code, prints settings or labels that the script does not have; tables whose cells no log prints; a README "
        "whose command is not the logged run; numbers with other digits than the format prints; declared booleans that "
        "the figures beside them contradict; bpb called nats. Much of this is carelessness, and accepted records hold "
        "nearly all of it somewhere."
    ),
    sources=(
        "README of the challenge: a submission holds README, submission.json, logs and the script that produced them",
        "Issues and reviews ask for logs of the very script (#8, #15)",
    ),
    precedents=(
        Precedent(date(2026, 3, 18), "#8", "0hq", "a submission needs a training log and a val_bpb, record or not"),
        Precedent(date(2026, 3, 18), "#15", "0hq", "no training log: to be submitted again"),
        Precedent(date(2026, 3, 19), "#61", "0hq", "asked why the title says 1.1574 and the README 1.2154; merged"),
        Precedent(date(2026, 5, 2), "#2124", "cocohearts", "the third seed comes from another configuration"),
        Precedent(
            date(2026, 4, 18), "#1698", "author", "artifact_under_16mb: true beside 16.47 to 16.60 million bytes"
        ),
    ),
    witnesses={
        Witness.RECORD: "compares claim, tables, settings, sizes and sources of all evidence files with each other",
        Witness.RESCORE: "evaluates the folder's artifact again and sets every logged score beside the one it gives",
    },
    legal=Example(
        example_folder(), "The claim is the mean of 'final' over three seeds, and the table repeats the logs."
    ),
    illegal=_other_score_example(),
    blind_spots=(
        "A log is a claim: one that was edited throughout and consistently agrees with itself.",
        "Logs without embedded source and with compressed code sizes do not say which code wrote them.",
        "Whether the script can print the label is judged by its words, not by running it.",
        "A script that prints figures instead of computing them repeats them when it is evaluated again.",
    ),
    judge=judge,
)
