"""SIZE: code and compressed model together stay within 16,000,000 bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from auditor.findings import Finding, RuleResult, Status, Step, Witness, conclude
from auditor.record.claimed_line import claimed_lines, seed_of, without_rehearsals
from auditor.record.claimed_runs import claimed_runs
from auditor.record.model import Record, RunLog
from auditor.record.size_accounts import (
    COMPRESSED_CODE,
    COUNTED_CODE,
    DECLARED_CODE,
    DECLARED_PARTS,
    DECLARED_TOTAL,
    LOG_TOTAL,
    README_TABLE,
    SHIPPED_MODEL,
    SUBMITTED_CODE,
    SizeAccount,
    last_size,
    seed_name,
    size_accounts,
)
from rules.base import Evidence, Example, Precedent, Rule
from rules.example import example_folder
from rules.rescored import size_findings, with_rescored

CAP_BYTES = 16_000_000
"""Decimal: 16 MB, not 16 MiB."""
MODEL_ALONE_SLACK_BYTES = 64
"""A declared total this close to a logged model size counts no code."""
DECLARED = (DECLARED_TOTAL, DECLARED_PARTS, README_TABLE)
MEBIBYTE = 1024 * 1024
MAX_NAMED_RUNS = 12
COMPRESSED_SHARE = 0.5
"""Of a script's bytes: a count of more is not of the compressed script (20 to 35 % are usual)."""

_UNCLAIMED = ". No score is claimed, so no run is known to be the submission"
_UNTOLD = ". Other runs fit, and which run carries the claim cannot be told"
_UNDER_CAP_FLAG = re.compile(
    r"(?=.*16)(?=.*(?:under|within|below|le|lt|ok|compliant|valid)).*(?:mb|m|000)", re.IGNORECASE
)


def judge(evidence: Evidence) -> RuleResult:
    """The accounts that the evidence files make, and the artifact's own bytes where it was evaluated again."""
    return with_rescored(_judge_record(evidence), size_findings(evidence))


def _judge_record(evidence: Evidence) -> RuleResult:
    """Set every account of the size side by side: over the cap on all of them is a fail, on some a review."""
    carrying = [*claimed_lines(evidence.record), *(run.line for run in claimed_runs(evidence.record))]
    logs = without_rehearsals(evidence.record, carrying)
    record = replace(evidence.record, logs=tuple(logs))
    accounts = size_accounts(evidence.submission, record, CAP_BYTES)
    totals = [account for account in accounts if account.name != SHIPPED_MODEL]
    if not totals:
        return _judge_model_alone(record)
    findings = []
    claimed, runs = _relevant_runs(record)
    judged: set[SizeAccount] = set()
    overruns = []
    for log in runs:
        own = _accounts_of(log, totals, record)
        judged.update(own)
        if overrun := _judge_run(log, own):
            overruns.append(overrun)
    doubt = ""
    if record.statement.val_bpb is None:
        doubt = _UNCLAIMED
    elif not claimed and len(overruns) < len(runs):
        doubt = _UNTOLD
    for kind in dict.fromkeys(overrun.kind for overrun in overruns):
        findings.append(_overrun_finding([overrun for overrun in overruns if overrun.kind == kind], record, doubt))
    if not judged:
        findings += _judge_declared(totals, record)
    findings += _judge_leftovers(accounts, judged, record)
    findings += _note_model_alone(totals, runs, record)
    counted = [account for account in totals if account in judged and account.made_by_author]
    packed = any(account.over(CAP_BYTES) for account in counted)
    largest = max((account for account in counted if not account.over(CAP_BYTES)), default=totals[0], key=_size)
    by = "with the script compressed, as the log counts it" if packed else f"by every account ({largest.name})"
    return conclude("SIZE", findings, passed=f"at most {largest.size_bytes:,} bytes {by}")


def _size(account: SizeAccount) -> int:
    return account.size_bytes


def _relevant_runs(record: Record) -> tuple[bool, list[RunLog]]:
    """The runs behind the claim; failing that (False), every run that prints a compressed size."""
    claimed = [run.log for run in claimed_runs(record) if _has_size(run.log)]
    return bool(claimed), claimed or [log for log in record.logs if _has_size(log)]


def _has_size(log: RunLog) -> bool:
    return last_size(log, "total") is not None or last_size(log, "model") is not None


def _accounts_of(log: RunLog, accounts: Sequence[SizeAccount], record: Record) -> list[SizeAccount]:
    """The accounts of one run, with the total that submission.json declares for its seed or for all."""
    own = [account for account in accounts if account.run == log.path]
    seed = seed_of(log)
    declared = [account for account in accounts if seed is not None and account.run == seed_name(seed)]
    declared = [account for account in declared if not _is_model_alone(account, record)]
    if not declared:
        declared = [
            account for account in accounts if account.run == "" and not _is_of_other_run(account, log, accounts)
        ]
    return own + [account for account in declared if not _is_model_alone(account, record)]


def _is_of_other_run(declared: SizeAccount, log: RunLog, accounts: Sequence[SizeAccount]) -> bool:
    """Whether a total declared for the whole submission is what another run's log prints, and not this one's."""
    printed = {
        account.run for account in accounts if account.name == LOG_TOTAL and account.size_bytes == declared.size_bytes
    }
    return bool(printed) and log.path not in printed


def _is_model_alone(account: SizeAccount, record: Record) -> bool:
    models = {line.size_bytes for log in record.logs if (line := last_size(log, "model")) is not None}
    return any(abs(account.size_bytes - model) <= MODEL_ALONE_SLACK_BYTES for model in models)


@dataclass(frozen=True, slots=True)
class _Overrun:
    """A run that is over the cap by some account. `kind`: by which, one of `_EVERY`, `_SOME`, `_CODE`, `_PACKED`."""

    kind: str
    name: str
    accounts: tuple[SizeAccount, ...]

    @property
    def over(self) -> list[SizeAccount]:
        return [account for account in self.accounts if account.over(CAP_BYTES)]


_EVERY = "every account that the submission's own figures make"
_SOME = "some accounts"
_CODE = "accounts that count the code as it is stored"
_PACKED = "the stored script, which the log counts compressed"


def _judge_run(log: RunLog, accounts: Sequence[SizeAccount]) -> _Overrun | None:
    over = [account for account in accounts if account.over(CAP_BYTES)]
    if not over:
        return None
    under = [account for account in accounts if not account.over(CAP_BYTES)]
    stated = any(account.name != SUBMITTED_CODE for account in over) or _model_alone_is_over(log)
    if stated and not any(account.made_by_author for account in under):
        kind = _EVERY
    elif _counts_compressed(log, over, under):
        kind = _PACKED
    elif any(account.name == SUBMITTED_CODE for account in over) and all(
        account.name in (LOG_TOTAL, COUNTED_CODE, COMPRESSED_CODE, DECLARED_CODE, *DECLARED) for account in under
    ):
        kind = _CODE
    else:
        kind = _SOME
    name = f"seed {seed_of(log)}" if seed_of(log) is not None else log.path.rsplit("/", 1)[-1]
    return _Overrun(kind, name, tuple(accounts))


def _counts_compressed(log: RunLog, over: Sequence[SizeAccount], under: Sequence[SizeAccount]) -> bool:
    """Whether only the raw script goes over, while the log counts it compressed and it does compress that far."""
    fits = {account.name: account.size_bytes for account in under}
    model = last_size(log, "model")
    if {account.name for account in over} != {SUBMITTED_CODE} or not {LOG_TOTAL, COUNTED_CODE, COMPRESSED_CODE} <= set(
        fits
    ):
        return False
    return model is not None and fits[COUNTED_CODE] - model.size_bytes <= COMPRESSED_SHARE * (
        over[0].size_bytes - model.size_bytes
    )


def _overrun_finding(overruns: Sequence[_Overrun], record: Record, doubt: str) -> Finding:
    """One finding for all runs that are over by the same accounts; the largest one shows the figures."""
    largest = max(overruns, key=lambda overrun: max(account.size_bytes for account in overrun.over))
    over, figures = largest.over, _figures(largest.accounts)
    others = ", ".join(overrun.name for overrun in overruns[:MAX_NAMED_RUNS] if overrun is not largest)
    likewise = f"; likewise {others}" if others else ""
    if largest.kind == _PACKED:
        sizes = {account.name: account.size_bytes for account in largest.accounts}
        message = (
            f"{largest.name}: {sizes[SUBMITTED_CODE]:,} bytes with the script as it is stored, {sizes[COUNTED_CODE]:,} "
            f"with the compressed script that the log counts ({sizes[COMPRESSED_CODE]:,} with LZMA here); accepted "
            f"records count so since #1530{likewise}"
        )
        return _finding(Status.PASS, message, over)
    if largest.kind == _EVERY:
        status = Status.FAIL
        message = f"{largest.name}: over {CAP_BYTES:,} bytes by {_EVERY}: {figures}{likewise}"
    else:
        status = Status.REVIEW
        message = (
            f"{largest.name}: over {CAP_BYTES:,} bytes by {len(over)} of {len(largest.accounts)} accounts: "
            f"{figures}{likewise}"
        )
        if largest.kind == _CODE:
            message += ". What separates them is how the code is counted: which of them is the artifact's?"
    return _finding(Status.REVIEW if doubt else status, message + _contradicted_flag(record) + doubt, over)


def _model_alone_is_over(log: RunLog) -> bool:
    model = last_size(log, "model")
    return model is not None and model.size_bytes > CAP_BYTES


def _judge_declared(accounts: Sequence[SizeAccount], record: Record) -> list[Finding]:
    """No log prints a size: what submission.json declares is the only account."""
    over = [account for account in accounts if account.over(CAP_BYTES)]
    if not over:
        return []
    runs = {account.run for account in over}
    every = any(
        all(account.over(CAP_BYTES) for account in accounts if account.run == run)
        and any(account.name != README_TABLE for account in over if account.run == run)
        for run in runs
    )
    message = f"the submission itself declares more than {CAP_BYTES:,} bytes: {_figures(over)}"
    return [_finding(Status.FAIL if every else Status.REVIEW, message + _contradicted_flag(record), over)]


def _judge_leftovers(accounts: Sequence[SizeAccount], judged: set[SizeAccount], record: Record) -> list[Finding]:
    """Accounts of no claimed run: other seeds that submission.json declares, shipped model files."""
    if not judged:
        judged = {account for account in accounts if account.name != SHIPPED_MODEL}
    rest = [account for account in accounts if account not in judged and account.over(CAP_BYTES)]
    declared = [account for account in rest if account.name in DECLARED]
    shipped = [account for account in rest if account.name == SHIPPED_MODEL]
    findings = []
    if declared:
        sized = {seed_name(seed) for log in record.logs if _has_size(log) and (seed := seed_of(log)) is not None}
        alone = [
            account
            for account in declared
            if account.name == DECLARED_TOTAL and account.run and account.run not in sized
        ]
        message = f"the submission itself declares more than {CAP_BYTES:,} bytes: {_figures(declared)}"
        status = Status.FAIL if alone else Status.REVIEW
        findings.append(_finding(status, message + _contradicted_flag(record), alone or declared))
    if shipped:
        message = f"a model file in the folder is too large with the script: {_figures(shipped)}"
        findings.append(_finding(Status.REVIEW, message, shipped))
    return findings


def _judge_model_alone(record: Record) -> RuleResult:
    """Neither a total nor model and code: at most the model's own bytes are known."""
    model = record.statement.model_bytes
    if model is None:
        return RuleResult(
            "SIZE", Status.NOT_CHECKED, "neither a log nor submission.json says how large the artifact is"
        )
    if model > CAP_BYTES:
        mebibytes = f"; {model / MEBIBYTE:.2f} MiB is not {model / MEBIBYTE:.2f} MB" if model < 16 * MEBIBYTE else ""
        message = f"submission.json gives {model:,} bytes for the model alone, over {CAP_BYTES:,}{mebibytes}"
        place = _model_place(record)
        finding = Finding(
            Status.FAIL, Witness.RECORD, message + _contradicted_flag(record), path=place[0], line=place[1]
        )
        return conclude("SIZE", [finding], passed="")
    return RuleResult(
        "SIZE", Status.REVIEW, f"only the model's {model:,} bytes are known; the code is not counted anywhere"
    )


def _model_place(record: Record) -> tuple[str, int]:
    statement = record.statement
    for key, place in statement.places.items():
        if statement.fields.get(key) == statement.model_bytes:
            return place.path, place.line
    return "", 0


def _note_model_alone(accounts: Sequence[SizeAccount], runs: Sequence[RunLog], record: Record) -> list[Finding]:
    alone = [account for account in accounts if account.name == DECLARED_TOTAL and _is_model_alone(account, record)]
    if not alone or not runs:
        return []
    message = f"submission.json declares the model alone as the total, without code: {_figures(alone[:1])}"
    return [_finding(Status.PASS, message, alone[:1])]


def _contradicted_flag(record: Record) -> str:
    for name, value in record.statement.compliance.items():
        if value is True and _UNDER_CAP_FLAG.match(name.replace("_", "")):
            return f". submission.json says {name}: true"
    return ""


def _figures(accounts: Iterable[SizeAccount]) -> str:
    parts = []
    for account in accounts:
        mebibytes = account.size_bytes / MEBIBYTE
        hint = f" = {mebibytes:.2f} MiB" if CAP_BYTES < account.size_bytes <= 16 * MEBIBYTE else ""
        owner = f" ({account.run})" if account.run.startswith("seed ") else ""
        parts.append(f"{account.name}{owner} {account.size_bytes:,}{hint}")
    return "; ".join(dict.fromkeys(parts))


def _finding(status: Status, message: str, accounts: Sequence[SizeAccount]) -> Finding:
    place = accounts[0].place
    steps = tuple(
        Step(account.place.path, account.place.line, f"{account.name}: {account.size_bytes:,} bytes")
        for account in accounts
        if account.place.path
    )
    return Finding(status, Witness.RECORD, message, path=place.path, line=place.line, steps=steps)


def _over_cap_example() -> Example:
    files = example_folder()
    code = len(files["train_gpt.py"].encode())
    model, grown = 15_200_000, 16_100_000
    changes = {str(model): str(grown), str(model + code): str(grown + code), f"{model + code:,}": f"{grown + code:,}"}
    for old, new in changes.items():
        files = {name: text if name.endswith(".py") else text.replace(old, new) for name, text in files.items()}
    return Example(files, "The compressed model alone takes 16,100,000 bytes: 15.35 MiB, but 16.10 MB.")


RULE = Rule(
    code="SIZE",
    title="Code and compressed model within 16,000,000 bytes",
    text=(
        "The artifact is the code plus the compressed model. Together they stay within 16,000,000 bytes: decimal "
        "megabytes, not mebibytes. The code that counts lives in train_gpt.py; tokenizer files are not counted.\n\n"
        "How the code is counted differs between submissions: raw, minified, or compressed. So all accounts stand side "
        "by side: the total the log prints, the model plus the code as the log counts it, the model plus the file in "
        "the folder, and what submission.json declares. Over the cap on every account that the submission's own "
        "figures make breaks the rule; over on some and under on others is for a person to decide. A log that counts "
        "its script compressed keeps the rule when script and model fit so: fifteen accepted records from #1530 on "
        "count like this and hold the raw script, and the auditor compresses it itself to see that the figure can be. "
        "That a script which is stored and counted raw would fit if it were compressed is said beside it and does not "
        "undo the figures.\n\n"
        "The rule binds every seed of the claim, and the non-record track too."
    ),
    sources=(
        "README of the challenge: 16,000,000 bytes, code plus compressed model, decimal",
        "Issue #43: tokenizer files were not counted",
    ),
    precedents=(
        Precedent(
            date(2026, 5, 2), "#1959", "cocohearts", "15,976,086 model + 66,546 code = 16,042,632 bytes: rejected"
        ),
        Precedent(date(2026, 4, 18), "#1698", "author", "16.47 to 16.60 MB beside artifact_under_16mb: true"),
        Precedent(date(2026, 3, 26), "#861", "author", "16,265,723 bytes called 15.51 MB: MiB taken for MB"),
        Precedent(
            date(2026, 4, 11), "#1530", "merged", "the log counts a compressed script, the folder holds a raw one"
        ),
    ),
    witnesses={
        Witness.RECORD: "adds up what log, folder and submission.json say, for every seed behind the claim",
        Witness.RESCORE: "measures the artifact it evaluates",
    },
    legal=Example(example_folder(), "15.2 MB of model and the script, in every account."),
    illegal=_over_cap_example(),
    blind_spots=(
        "A log is a claim; the artifact itself is shipped by few folders.",
        "Code in helper modules that train_gpt.py imports is not added; whether it counts is for a person to decide.",
        "Which compression of the code is allowed is not ruled; #1959 was refused for a script counted raw in its log.",
    ),
    judge=judge,
)
