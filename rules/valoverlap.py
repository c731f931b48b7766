"""VALOVERLAP: the training shards hold no validation document."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from auditor.findings import Finding, RuleResult, Status, Step, Witness, conclude
from auditor.record.claimed_runs import claimed_runs
from auditor.record.data_preparation import (
    SplitCall,
    SplitScript,
    split_calls,
    split_scripts,
    split_statements,
)
from auditor.record.model import Place, RunLog
from rules.base import Evidence, Example, Precedent, Rule
from rules.example import example_folder

VALIDATION_DOCUMENTS = 50_000
DEFAULT_VALIDATION_DOCUMENTS = 10_000
FULL_CASEOPS_VAL_TOKENS = 47_851_520
SHORT_CASEOPS_VAL_TOKENS = 9_662_464
FEWEST_FULL_VAL_TOKENS = 30_000_000
"""No tokenizer in use reads the 50,000 documents in fewer tokens; 10,000 documents take at most 15 million."""
SHARD_TOKENS = 10_000_000
SHARDS_OF_A_BUILD = {DEFAULT_VALIDATION_DOCUMENTS: 1502, VALIDATION_DOCUMENTS: 1499}
"""Training shards of a whole CaseOps build, by its number of validation documents: #1854 and #1881 logged both. The
40,000 documents between the two splits are 38.2 million tokens, 3.8 shards."""
PUBLISHED_SHARDS = 80


def judge(evidence: Evidence) -> RuleResult:
    """Compare the split that the training shards come from with the validation documents that were scored."""
    record, submission = evidence.record, evidence.submission
    logs = [run.log for run in claimed_runs(record)] or [log for log in record.logs if log.val_tokens]
    full = next((log for log in logs if (log.val_tokens or 0) >= FEWEST_FULL_VAL_TOKENS), None)
    scripts = split_scripts(submission)
    leaky = [script for script in scripts if script.default_val_docs < VALIDATION_DOCUMENTS]
    findings: list[Finding] = []
    if full is not None:
        findings += _judge_statements(evidence, full)
        findings += _judge_shards(full)
    findings += _judge_preparation(
        leaky, split_calls(submission, record), full, logs, _shards(logs) or _shards(record.logs)
    )
    if not findings and not scripts and not any(log.train_shards for log in logs):
        return RuleResult("VALOVERLAP", Status.NOT_CHECKED, "nothing says which shards the runs trained on")
    return conclude("VALOVERLAP", findings, passed=_passed(logs))


def _judge_statements(evidence: Evidence, full: RunLog) -> list[Finding]:
    """The submission itself says that its training shards begin after document 10,000, and scores all 50,000."""
    statements = split_statements(evidence.submission, evidence.record)
    if not statements:
        return []
    first = statements[0]
    message = (
        f'the submission says of its training shards "{first.text}": they begin after document '
        f"{DEFAULT_VALIDATION_DOCUMENTS:,}, while {full.val_tokens:,} validation tokens are all "
        f"{VALIDATION_DOCUMENTS:,} documents; documents {DEFAULT_VALIDATION_DOCUMENTS:,} to "
        f"{VALIDATION_DOCUMENTS - 1:,} are in both"
    )
    steps = (
        Step(first.place.path, first.place.line, "training shards from a build with 10,000 validation documents"),
        Step(full.path, 0, f"{full.val_tokens:,} validation tokens"),
    )
    return [Finding(Status.FAIL, Witness.RECORD, message, path=first.place.path, line=first.place.line, steps=steps)]


def _judge_shards(full: RunLog) -> list[Finding]:
    """Shard counts of whole local CaseOps builds. A count is a hint: shards of an older build may be left in a "
    "folder."""
    if full.val_tokens != FULL_CASEOPS_VAL_TOKENS or full.train_shards is None:
        return []
    short, whole = SHARDS_OF_A_BUILD[DEFAULT_VALIDATION_DOCUMENTS], SHARDS_OF_A_BUILD[VALIDATION_DOCUMENTS]
    if full.train_shards == short:
        message = (
            f"{short:,} training shards are what a build with {DEFAULT_VALIDATION_DOCUMENTS:,} validation documents "
            f"gives, but {full.val_tokens:,} validation tokens are {VALIDATION_DOCUMENTS:,} documents: unless the last "
            "shards are left over from another build, 80% of the validation documents were trained on"
        )
    elif full.train_shards == whole:
        message = (
            f"{whole:,} training shards come from a local build. #2130 was excluded for this count; but a build with "
            f"{VALIDATION_DOCUMENTS:,} validation documents gives it ({short:,} minus the 3.8 shards of 40,000 "
            "documents), so it proves nothing by itself: ask for the command"
        )
    else:
        return []
    return [Finding(Status.REVIEW, Witness.RECORD, message, path=full.path)]


def _judge_preparation(
    leaky: list[SplitScript], calls: tuple[SplitCall, ...], full: RunLog | None, logs: list[RunLog], shards: set[int]
) -> list[Finding]:
    """A shipped preparation script whose default split is smaller than the validation set that was scored."""
    if not leaky:
        return []
    script = leaky[0]
    plain = [call for call in calls if call.val_docs is None]
    split = f"--val-docs={script.default_val_docs:,}".replace(",", "_")
    if any(call.val_docs is not None and call.val_docs >= VALIDATION_DOCUMENTS for call in calls) and not plain:
        message = f"the shipped {_name(script.place)} defaults to {split}; every shipped call overrides it"
        return [_at(Status.PASS, message, script.place)]
    if full is None and any(log.val_tokens for log in logs):
        tokens = max(log.val_tokens or 0 for log in logs)
        message = f"the shipped {_name(script.place)} defaults to {split}, and {tokens:,} validation tokens fit that"
        return [_at(Status.PASS, message, script.place)]
    scored = "no log says what was scored"
    if full is not None:
        scored = f"{full.val_tokens:,} validation tokens are {VALIDATION_DOCUMENTS:,} documents"
    message = (
        f"the shipped {_name(script.place)} defaults to {split}"
        f"{' and is called without an override' if plain else ''}; {scored}. A rebuild with it would train on "
        "validation documents; its own validation file would be smaller than the one scored, so the scored runs used "
        "another split or another build"
    )
    published = shards == {PUBLISHED_SHARDS}
    if published:
        message += f". The {PUBLISHED_SHARDS} training shards of the logs are as many as the published set has"
    else:
        message += ". Ask which build the training shards come from"
    place = plain[0].place if plain else script.place
    return [_at(Status.PASS if published else Status.REVIEW, message, place)]


def _shards(logs: Iterable[RunLog]) -> set[int]:
    """Numbers of training shards that logs print; a log of an evaluation alone prints 0."""
    return {log.train_shards for log in logs if log.train_shards}


def _at(status: Status, message: str, place: Place) -> Finding:
    return Finding(status, Witness.RECORD, message, path=place.path, line=place.line)


def _name(place: Place) -> str:
    return place.path.rsplit("/", 1)[-1]


def _passed(logs: list[RunLog]) -> str:
    counts = sorted({log.train_shards for log in logs if log.train_shards})
    if not counts:
        return "nothing points to training shards that hold validation documents"
    shown = ", ".join(f"{count:,}" for count in counts[:4])
    return f"{shown} training shards; nothing points to a split that overlaps the validation documents"


_PREPARATION = (
    "import argparse\n\nparser = argparse.ArgumentParser()\n"
    'parser.add_argument("--val-docs", type=int, default=10_000)\nprint(parser.parse_args().val_docs)\n'
)


def _overlap_example() -> Example:
    files = example_folder(extra_files={"prepare_data.py": _PREPARATION})
    note = "\nThe 80 training shards match the `val_docs=10000` output of prepare_data.py; all documents are scored.\n"
    return Example(
        {**files, "README.md": files["README.md"] + note},
        "By its own README the training shards begin after document 10,000; the full validation set was scored.",
    )


def _override_example() -> Example:
    files = example_folder(extra_files={"prepare_data.py": _PREPARATION})
    note = "\n```bash\npython prepare_data.py --val-docs 50000\n```\n"
    return Example(
        {**files, "README.md": files["README.md"] + note},
        "The shipped split defaults to 10,000, the command to 50,000.",
    )


RULE = Rule(
    code="VALOVERLAP",
    title="Training shards hold no validation document",
    text=(
        "The validation set is the first 50,000 documents of the stream; training begins after them. Whoever builds "
        "shards anew chooses the split. A build with 10,000 validation documents puts documents 10,000 to 49,999 into "
        "the training shards; scored on the full validation set, the model has seen 80 % of it.\n\n"
        "An overlap is proved by the submission's own account of its training shards beside the number of validation "
        "tokens it scored. The number of shards is a hint: a whole CaseOps build with 10,000 validation documents has "
        "1,502 training shards, one with 50,000 has 1,499, and the published set 80. A preparation script that "
        "defaults to 10,000 is one too: with it the validation file itself would hold 9.66 million tokens."
    ),
    sources=(
        "README of the challenge: no validation data in training",
        "Issue #2127: the default of prepare_caseops_data.py; contested by the author of #1967",
    ),
    precedents=(
        Precedent(date(2026, 5, 1), "#2127", "community", "34 submissions examined, 15 said to overlap; contested"),
        Precedent(date(2026, 5, 2), "#2018", "cocohearts", "shards of a 10,000-document split, scored on 50,000"),
        Precedent(date(2026, 5, 2), "#2130", "cocohearts", "1,499 shards and a doubled path: a local build"),
    ),
    witnesses={
        Witness.RECORD: "reads splits of shipped preparation scripts, shard and token counts, and what is said",
    },
    legal=_override_example(),
    illegal=_overlap_example(),
    blind_spots=(
        "Which documents are in a shard is not visible without the shards.",
        "Eighty shards of a leaking local build look like the eighty published ones.",
        "Logs outside the record folder are not read.",
        "A sentence may describe a build that was not used; what is quoted is for the reader to check.",
    ),
    judge=judge,
)
