"""EVIDENCE: a log for every seed, and seeds enough to show that the record is beaten."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations

from auditor.findings import Finding, RuleResult, Status, Step, Witness, conclude
from auditor.record.claimed_line import claimed_lines, scored_logs, written_tolerance
from auditor.record.claimed_runs import ClaimedRun, claimed_runs, run_of
from auditor.record.model import MetricLine, Record, RunLog, SeedClaim
from auditor.record.significance import Comparison, SeedScore, accepted_rows, compare, record_to_beat
from auditor.submission.model import Role, Submission, Track
from rules.base import Evidence, Example, Precedent, Rule
from rules.example import example_folder

MARGIN_NATS_PER_TOKEN = 0.005
MAX_P_MARGIN = 0.01
"""For an improvement of at least the margin, as the README states it."""
MAX_P_ANY = 0.25
"""For any improvement over the previous record's seeds: what the organizers used from April on."""
ENOUGH_SEEDS = 3
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
    significance, passed = _judge_significance(evidence)
    return conclude("EVIDENCE", [*findings, *significance], passed=passed)


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
            if other is not None and other != value:
                differing.setdefault(name, set()).update((value, other))
    if not differing:
        return []
    listed = list(differing.items())[:MAX_SHOWN_SETTINGS]
    shown = "; ".join(f"{name} {' / '.join(sorted(values))}" for name, values in listed)
    more = f" and {len(differing) - MAX_SHOWN_SETTINGS} more" if len(differing) > MAX_SHOWN_SETTINGS else ""
    message = f"the claimed seeds ran with different settings: {shown}{more}"
    return [Finding(Status.REVIEW, Witness.RECORD, message, path=runs[0].log.path)]


def _block_settings(log: RunLog) -> Mapping[str, str]:
    """Short settings of the hyperparameter block that do not name the run itself."""
    return {
        name: value
        for name, value in log.hyperparameters.items()
        if name not in log.inline_hyperparameters
        and len(value) <= 40
        and not any(word in name for word in _RUN_IDENTITY)
    }


@dataclass(frozen=True, slots=True)
class _Scores:
    """The seeds' scores, and the line each was read from."""

    values: tuple[SeedScore, ...]
    lines: tuple[MetricLine, ...]


def comparison(evidence: Evidence) -> Comparison | None:
    """The submission's seeds against the record to beat; None without a claimed line that prints loss and bpb."""
    return _compare(evidence, _scores(evidence.record))


def _compare(evidence: Evidence, scores: _Scores) -> Comparison | None:
    submission = evidence.submission
    row = record_to_beat(accepted_rows(), submission.created, evidence.as_of, submission.pull_request)
    return compare(scores.values, row, MARGIN_NATS_PER_TOKEN) if scores.values and row is not None else None


def _scores(record: Record) -> _Scores:
    """Loss and bpb of every seed behind the claim, each seed once."""
    runs = list(claimed_runs(record))
    known = {run.seed for run in runs}
    further = [run for line in claimed_lines(record) if (run := run_of(line, record)) is not None]
    runs += [run for run in further if run.seed not in known]  # the claim may be the best of several seeds
    values: list[SeedScore] = []
    kept: list[MetricLine] = []
    for run in runs:
        line = _with_loss(run)
        if line is None or line.val_loss is None or line.val_bpb is None or line.val_loss <= 0 or line.val_bpb <= 0:
            continue
        score = SeedScore(run.seed, line.val_loss, line.val_bpb)
        if score not in values:
            values.append(score)
            kept.append(line)
    return _Scores(tuple(values), tuple(kept))


def _with_loss(run: ClaimedRun) -> MetricLine | None:
    """The claimed line itself, or one of the same log that prints the same bpb beside a loss."""
    if run.line.val_loss is not None:
        return run.line
    claimed, tolerance = run.line.val_bpb, written_tolerance(run.line.bpb_text)
    with_loss = [line for line in run.log.final_metrics if line.val_loss is not None and line.val_bpb is not None]
    return next(
        (line for line in with_loss if claimed is not None and abs((line.val_bpb or 0.0) - claimed) <= tolerance), None
    )


def _judge_significance(evidence: Evidence) -> tuple[list[Finding], str]:
    """Findings, and the sentence to give when there are none."""
    scores = _scores(evidence.record)
    result, lines = _compare(evidence, scores), scores.lines
    if result is None:
        message = (
            "no claimed line prints loss and bpb, so the gain over the record cannot be computed in nats per token"
        )
        return [Finding(Status.REVIEW, Witness.RECORD, message)], ""
    summary = _summary(result)
    if result.delta_nats_per_token <= 0.0:
        return [_finding(f"does not beat the record: {summary}", lines)], ""
    if result.seeds < ENOUGH_SEEDS:
        return [_finding(f"{_count(result.seeds, 'seed')}, too few for a test: {summary}", lines)], ""
    if result.p_margin is not None and result.p_margin < MAX_P_MARGIN:
        return [], summary
    short = result.delta_nats_per_token < MARGIN_NATS_PER_TOKEN
    opening = (
        f"gains less than {MARGIN_NATS_PER_TOKEN} nats per token" if short else "the gain is not shown at p < 0.01"
    )
    practice = ""
    if result.p_any is not None:
        side = "below" if result.p_any < MAX_P_ANY else "not below"
        practice = f"; Welch's p is {side} the {MAX_P_ANY} used from April on"
    return [_finding(f"{opening}: {summary}{practice}", lines)], ""


def _summary(result: Comparison) -> str:
    row = result.record
    name = f"#{row.pull_request}" if row.pull_request is not None else row.name
    p_margin = "" if result.p_margin is None else f", p = {result.p_margin:.2g} for at least {MARGIN_NATS_PER_TOKEN}"
    p_any = "" if result.p_any is None else f", Welch p = {result.p_any:.2g} for any gain over its seeds"
    return (
        f"mean {result.mean_bpb:.5f} bpb of {_count(result.seeds, 'seed')} against {row.score:.4f} ({name}): "
        f"{result.delta_bpb:+.5f} bpb, {result.delta_nats_per_token:+.5f} nats per token{p_margin}{p_any}"
    )


def _finding(message: str, lines: Sequence[MetricLine]) -> Finding:
    steps = tuple(Step(line.place.path, line.place.line, f"val_bpb {line.bpb_text}") for line in lines[:8])
    place = lines[0].place
    return Finding(Status.REVIEW, Witness.RECORD, message, path=place.path, line=place.line, steps=steps)


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
        "six of forty accepted records pass it. From April on the organizers used a one-sided Welch test against the "
        "previous record's seeds at p < 0.25. Both figures are given; to fall short of them is for the organizers to "
        "weigh, and no fail.\n\n"
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
