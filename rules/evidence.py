"""EVIDENCE: a log for every seed, and seeds enough to show that the record is beaten."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import combinations

from auditor.findings import Finding, RuleResult, Status, Witness, conclude
from auditor.record.after_claim import switched_on, works_after
from auditor.record.claimed_line import scored_logs, written_tolerance
from auditor.record.claimed_runs import ClaimedRun, claimed_runs
from auditor.record.model import Record, RunLog, SeedClaim
from auditor.submission.model import Role, Submission, Track
from rules.base import Evidence, Example, Precedent, Rule
from rules.evidence_gain import judge_gain
from rules.example import example_folder

LARGE_LOG_BYTES = 4 * 1024 * 1024
MAX_COMPARED_RUNS = 12
MAX_SHOWN_SETTINGS = 5

_NO_LOGS = (Role.SCRIPT, Role.HELPER, Role.README, Role.METADATA, Role.SHELL, Role.NATIVE, Role.TOKENIZER)
_LOG_NAME = re.compile(r"\.(?:log|out|err)$|log[^/]{0,80}\.txt$|seed[^/]{0,80}\.txt$", re.IGNORECASE)
_RUN_IDENTITY = (
    "seed",
    "run_id",
    "path",
    "dir",
    "file",
    "log",
    "rank",
    "main_process",
    "artifact",
    "manifest",
    "test_",
)


def judge(evidence: Evidence) -> RuleResult:
    """Logs, then seeds, then significance against the record to beat when the submission was made."""
    record = evidence.record
    binding = evidence.submission.track is Track.RECORD
    missing = _judge_logs(evidence.submission, record, binding)
    if missing is not None:
        return conclude("EVIDENCE", [missing], passed="")
    runs = claimed_runs(record)
    findings = _judge_seeds(record)
    if not binding:
        note = "significance is not asked of non-record submissions"
        return conclude("EVIDENCE", findings, passed=f"{_count(len(scored_logs(record)), 'log')} with a score; {note}")
    findings += _judge_settings(runs)
    gain, passed = judge_gain(evidence)
    return conclude("EVIDENCE", [*findings, *gain], passed=passed)


def _judge_logs(submission: Submission, record: Record, binding: bool) -> Finding | None:
    """A finding when no log prints a validation score, else None.

    A score that a record submission claims without any log is refused; without a claim, or off the record track
    (where studies were accepted without logs), there is something to ask for.
    """
    if scored_logs(record):
        return None
    hidden = _possible_logs(submission, record)
    if hidden:
        message = f"no log that can be read prints a validation score; {hidden} may hold one"
        return Finding(Status.REVIEW, Witness.RECORD, message)
    logs = submission.by_role(Role.LOG)
    what = f"none of the {_count(len(logs), 'log')} prints a validation score" if logs else "the folder holds no log"
    claim = record.statement.val_bpb
    if claim is None:
        return Finding(Status.REVIEW, Witness.RECORD, f"{what}, and no score is claimed", path=submission.folder)
    message = f"{what}: the claim of {claim:g} bpb rests on nothing that was submitted"
    return Finding(Status.FAIL if binding else Status.REVIEW, Witness.RECORD, message, path=submission.folder)


def _possible_logs(submission: Submission, record: Record) -> str:
    """The first file that may hold a score although no log was read from it, "" when there is none."""
    for item in submission.by_role(Role.LOG):
        if item.data is None or item.size > LARGE_LOG_BYTES:  # not read, or not read to its end
            return item.path
    for log in record.logs:
        if log.truncated or any("bpb" in text.lower() for text in log.raw_lines):
            return log.path
    for item in submission.files:
        if (
            item.role not in _NO_LOGS
            and item.data is not None
            and (b"val_bpb" in item.data or b"val_loss" in item.data)
        ):
            return item.path
    outside = [path for path in submission.changed_outside_records if _LOG_NAME.search(path)]
    return outside[0] if outside else next(iter(submission.other_folders), "")


def _judge_seeds(record: Record) -> list[Finding]:
    """Seeds that the claim names and no log covers, under whatever name."""
    logs, seeds = scored_logs(record), record.statement.seeds
    missing = [seed for seed in seeds if not any(_covers(log, seed) for log in logs)]
    if not missing:
        return []
    covered = [seed for seed in seeds if seed not in missing]
    named = ", ".join(str(seed.seed) for seed in missing[:8])
    place = missing[0].place
    message = (
        f"no log for {_count(len(missing), 'seed')} ({named}) of {len(seeds)}, with {_count(len(logs), 'log')} in all"
    )
    if covered and _mean_is_claim(covered, record):
        message += "; the claim is the mean of the others, so it was chosen among more runs than it counts"
        return [Finding(Status.REVIEW, Witness.RECORD, message, path=place.path, line=place.line)]
    needed = _mean_is_claim(seeds, record) and len(logs) < len(seeds)
    status = Status.FAIL if needed else Status.REVIEW
    message += "; the claim is the mean of all of them" if needed else ""
    return [Finding(status, Witness.RECORD, message, path=place.path, line=place.line)]


def _mean_is_claim(seeds: Sequence[SeedClaim], record: Record) -> bool:
    """Whether all `seeds` have a claimed score and the claim is its mean, to the digits the claim is written with."""
    claim = record.statement.val_bpb
    values = [seed.val_bpb for seed in seeds if seed.val_bpb is not None]
    if claim is None or not values or len(values) < len(seeds):
        return False
    tolerance = written_tolerance(record.statement.val_bpb_text or repr(claim))
    return abs(math.fsum(values) / len(values) - claim) <= max(tolerance, 1e-5)


def _covers(log: RunLog, seed: SeedClaim) -> bool:
    """Whether `log` can be the evidence of `seed`: by the seed it prints, by its name, or by the seed's own score."""
    if seed.seed in (log.seed, log.seed_in_name):
        return True
    if seed.val_bpb is None:
        return False
    tolerance = max(written_tolerance(repr(seed.val_bpb)), 1e-4)
    return any(line.val_bpb is not None and abs(line.val_bpb - seed.val_bpb) <= tolerance for line in log.metrics)


def _judge_settings(runs: Sequence[ClaimedRun]) -> list[Finding]:
    """Claimed seeds that ran with different hyperparameters are not seeds of one submission."""
    differing: dict[str, set[str]] = {}
    for first, second in combinations(runs[:MAX_COMPARED_RUNS], 2):
        for name, value in _block_settings(first.log).items():
            other = second.log.hyperparameters.get(name)
            if other is not None and other != value and not _only_after_the_score(name, (first, second)):
                differing.setdefault(name, set()).update((value, other))
    if not differing:
        return []
    listed = list(differing.items())[:MAX_SHOWN_SETTINGS]
    shown = "; ".join(f"{name} {' / '.join(sorted(values))}" for name, values in listed)
    more = f" and {len(differing) - MAX_SHOWN_SETTINGS} more" if len(differing) > MAX_SHOWN_SETTINGS else ""
    message = f"the claimed seeds ran with different settings: {shown}{more}"
    return [Finding(Status.REVIEW, Witness.RECORD, message, path=runs[0].log.path)]


def _only_after_the_score(name: str, runs: Sequence[ClaimedRun]) -> bool:
    """Whether a switch is on in some of `runs`, and there works only behind the claimed line."""
    on = [run for run in runs if switched_on(run.log.hyperparameters.get(name, ""))]
    return bool(on) and all(works_after(run.log, run.line, name) for run in on)


def _block_settings(log: RunLog) -> Mapping[str, str]:
    """Short settings of the hyperparameter block that do not name the run itself."""
    return {
        name: value
        for name, value in log.hyperparameters.items()
        if name not in log.inline_hyperparameters
        and len(value) <= 40
        and not any(word in name for word in _RUN_IDENTITY)
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _missing_seed_example() -> Example:
    files = example_folder(val_losses=_BEATING)
    document = files["submission.json"].replace(
        '"seeds": [\n    42,\n    314,\n    999\n  ]',
        '"seeds": {"42": {"val_bpb": 1.03645}, "314": {"val_bpb": 1.0368}, "999": {"val_bpb": 1.03627}}',
    )
    files = {**files, "submission.json": document}
    del files["train_seed314.log"]
    del files["train_seed999.log"]
    return Example(files, "Results of three seeds are claimed; there is a log of one.")


_BEATING = {42: 1.7500, 314: 1.7506, 999: 1.7497}  # nats per token: 1.0365 bpb, below every accepted row

RULE = Rule(
    code="EVIDENCE",
    title="Logs for every seed, and a gain that the seeds show",
    text=(
        "A submission comes with the logs of its runs. Each claimed seed has one, printed by the script, and the seeds "
        "differ in nothing but the seed. Whether two logs are one run is CLAIM's question.\n\n"
        "A record beats the one before it by at least 0.005 nats per token, shown with p < 0.01 over enough seeds. The "
        "record to beat is the best accepted one whose pull request was there first. As written the test is strict: "
        "six of forty accepted records pass it so. Up to 2026-04-09 the organizers held submissions against the rows "
        "that the leaderboard showed; from April on they used a one-sided Welch test against the previous record's "
        "seeds at p < 0.25. What was enough for them passes here, and the figures say by which of the three tests. To "
        "fall short of all is for the organizers to weigh, and no fail.\n\n"
        "One or two runs cannot be tested. They pass when the gain stands out of the largest spread that seeds of an "
        "accepted record had, and is no larger than any step that one made: a leap is worth a second run.\n\n"
        "Non-record submissions need logs, but no significance."
    ),
    sources=(
        "README of the challenge: a record must beat the previous one by 0.005 nats at p < 0.01, with logs",
        "Threads of #8 and #15: no submission without a log, the non-record track included",
        "#1902: progression of the leaderboard at p < 0.25",
    ),
    precedents=(
        Precedent(date(2026, 3, 18), "#15", "0hq", "no training log; to be submitted again"),
        Precedent(date(2026, 3, 24), "#473", "valerio-oai", "looks valid, but is not 0.005 nats better"),
        Precedent(date(2026, 4, 26), "#1148", "cocohearts", "removed from the record track: not a record"),
        Precedent(date(2026, 5, 2), "#2121", "cocohearts", "a headline of one seed"),
        Precedent(date(2026, 5, 2), "#2124", "cocohearts", "the third seed comes from another configuration"),
    ),
    witnesses={Witness.RECORD: "matches seeds with logs and compares the seeds with the accepted record of the day"},
    legal=Example(
        example_folder(val_losses=_BEATING), "Three seeds, three logs, a clear gain over every accepted row."
    ),
    illegal=_missing_seed_example(),
    blind_spots=(
        "A log is a claim; that it comes from the script, and from that seed, is not proved.",
        "Seeds run and not reported do not show.",
        "A pull request's creation is taken from its first own commit, which can be older than the pull request.",
        "The previous record's spread is known from its logs only where it has several.",
    ),
    judge=judge,
)
