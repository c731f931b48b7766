"""FORMAT: one pull request adds one record folder with README, submission.json, script and logs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from auditor.findings import Finding, RuleResult, Status, Step, Witness, conclude
from auditor.record.imports import missing_modules
from auditor.record.model import Record
from auditor.submission.model import Role, StoredFile, Submission, Track
from rules.base import Evidence, Example, Precedent, Rule
from rules.example import example_folder

SCRIPT_NAME = "train_gpt.py"
EXPECTED_FIELDS = ("name", "author", "github_id", "val_bpb")
"""What the challenge's README asks of submission.json, beside "related metadata"."""

_TRACK_FOLDER = re.compile(r"records/track_(?:10min_16mb|non_record_16mb)/[^/]+")
_DATED_NAME = re.compile(r"20\d\d-[01]\d-[0-3]\d[_-]\S+")
_HARMLESS_OUTSIDE = re.compile(r"(?:^|/)(?:\.gitignore|\.DS_Store|requirements[\w.-]*\.txt)$")
_LEFTOVER = re.compile(r"(?:^|/)(?:\.DS_Store|__pycache__/.*|.*\.pyc|\.ipynb_checkpoints/.*|Thumbs\.db)$")
_FIELD_SPELLINGS = {
    "author": ("author", "authors", "submitted_by", "contributor", "team", "github", "github_id"),
    "github_id": ("github_id", "github", "github_user", "github_username", "github_handle", "gh", "author", "authors"),
    "name": ("name", "submission_name", "title", "run_name", "model_name", "description"),
}


def judge(evidence: Evidence) -> RuleResult:
    """What the folder lacks, what the pull request touches besides, and what cannot be read."""
    submission, record = evidence.submission, evidence.record
    findings = [
        *_script(submission, record),
        *_readme(submission),
        *_metadata(submission, record),
        *_logs(submission),
        *_place(submission),
        *_other_changes(submission),
        *_files(submission),
    ]
    return conclude("FORMAT", findings, passed="README, submission.json, script and logs are in one record folder")


def _finding(status: Status, message: str, path: str = "", line: int = 0, steps: Sequence[Step] = ()) -> Finding:
    return Finding(status, Witness.RECORD, message, path, line, steps=tuple(steps))


def _script(submission: Submission, record: Record) -> list[Finding]:
    """A record submission without any Python source cannot be run by anybody."""
    folder = submission.folder
    usual = f"{folder}/{SCRIPT_NAME}" if folder else SCRIPT_NAME
    paths = {item.path for item in submission.files}
    if usual in paths:
        return [*_unreadable_script(submission), *_missing_modules(submission)]
    sources = [item for item in submission.files if item.role in (Role.SCRIPT, Role.HELPER)]
    if sources:
        shown = ", ".join(submission.relative(item.path) for item in sources[:3])
        message = f"there is no {SCRIPT_NAME} at the top of the record folder; Python sources: {shown}"
        return [_finding(Status.REVIEW, message, sources[0].path)]
    message = f"the record folder holds no Python source, so there is no {SCRIPT_NAME} to run"
    return [_finding(Status.FAIL if _certain(submission, record) else Status.REVIEW, message, folder)]


def _certain(submission: Submission, record: Record) -> bool:
    """Whether nothing else can be meant: a score is claimed for the record track, and no source stands anywhere.

    Write-ups of negative results and additions to another pull request claim no score of their own.
    """
    elsewhere = submission.changed_outside_records or submission.other_folders or submission.foreign_folders
    source = any(item.path.endswith((".py", ".ipynb")) for item in submission.files)
    in_track = submission.track is Track.RECORD and (not submission.folder or "track_10min" in submission.folder)
    return in_track and _has_field(record, "val_bpb") and not elsewhere and not source


def _unreadable_script(submission: Submission) -> list[Finding]:
    broken = [problem for problem in submission.problems if "does not parse" in problem.message]
    return [_finding(Status.REVIEW, f"{problem.path} {problem.message}", problem.path) for problem in broken[:3]]


def _missing_modules(submission: Submission) -> list[Finding]:
    """Imports that fail wherever the folder alone is run."""
    missing = missing_modules(submission)
    if not missing or submission.script is None:
        return []
    path = submission.script.path
    names = ", ".join(module.name for module in missing[:5])
    message = (
        f"the script imports {names}: not in the folder, not in a requirements.txt and no package that records use; it "
        "has to run within its folder"
    )
    steps = [Step(path, module.line, f"imports {module.name}") for module in missing[:5]]
    return [_finding(Status.REVIEW, message, path, missing[0].line, steps)]


def _readme(submission: Submission) -> list[Finding]:
    readmes = submission.by_role(Role.README)
    if not readmes:
        return [_finding(Status.REVIEW, "the record folder has no README", submission.folder)]
    if all(item.size < 40 for item in readmes):
        return [_finding(Status.REVIEW, f"the README is empty ({readmes[0].size} bytes)", readmes[0].path)]
    return []


def _metadata(submission: Submission, record: Record) -> list[Finding]:
    """submission.json: there, readable, with the fields that the challenge asks for."""
    files = submission.by_role(Role.METADATA)
    if not files:
        return [_finding(Status.REVIEW, "the record folder has no submission.json", submission.folder)]
    path = min((item.path for item in files), key=lambda each: (each.count("/"), each))
    complaints = [problem for problem in record.problems if problem.startswith(path)]
    findings = []
    if complaints:
        shown = "; ".join(problem.removeprefix(path).strip(": ") for problem in complaints[:3])
        findings.append(_finding(Status.REVIEW, f"submission.json is not JSON: {shown}", path, _line_in(shown)))
    elif not record.statement.fields:
        findings.append(_finding(Status.REVIEW, "submission.json holds nothing", path))
    missing = [name for name in EXPECTED_FIELDS if not _has_field(record, name)]
    if record.statement.fields and missing:
        status = Status.REVIEW if "val_bpb" in missing and submission.track is Track.RECORD else Status.PASS
        findings.append(_finding(status, f"submission.json says nothing about {', '.join(missing)}", path))
    return findings


def _line_in(text: str) -> int:
    match = re.search(r"on line (\d{1,9})", text)
    return int(match[1]) if match else 0


def _has_field(record: Record, name: str) -> bool:
    if name == "val_bpb":
        return bool(record.statement.fields) and record.statement.val_bpb_key not in ("", "README")
    tops = {key.partition(".")[0].lower() for key in record.statement.fields}
    return any(spelling in tops for spelling in _FIELD_SPELLINGS[name])


def _logs(submission: Submission) -> list[Finding]:
    logs = submission.by_role(Role.LOG)
    if not logs:
        return [_finding(Status.PASS, "the record folder has no log (EVIDENCE judges that)", submission.folder)]
    return []


def _place(submission: Submission) -> list[Finding]:
    """Where the folder stands and what it is called. A folder that was given by itself says neither."""
    folder = submission.folder
    if not folder:
        return []
    findings = []
    if not _TRACK_FOLDER.fullmatch(folder):
        message = (
            f"the record folder is {folder}, not one level below records/track_10min_16mb or track_non_record_16mb"
        )
        findings.append(_finding(Status.REVIEW, message, folder))
    name = folder.rpartition("/")[2]
    if not _DATED_NAME.fullmatch(name):
        message = f"the folder's name {name!r} does not begin with a date (YYYY-MM-DD_Name)"
        findings.append(_finding(Status.PASS, message, folder))
    in_record_folder = "track_10min" in folder
    if in_record_folder and submission.track is Track.NON_RECORD:
        message = "submission.json declares a non-record submission, the folder stands in the record track"
        findings.append(_finding(Status.REVIEW, message, folder))
    return findings


def _other_changes(submission: Submission) -> list[Finding]:
    """What the pull request adds or changes beside its folder."""
    findings = []
    if submission.other_folders:
        shown = ", ".join(path.rpartition("/")[2] for path in submission.other_folders[:4])
        message = f"the pull request adds {len(submission.other_folders) + 1} record folders of its own, also: {shown}"
        findings.append(_finding(Status.REVIEW, message, submission.other_folders[0]))
    if submission.foreign_folders:
        count = len(submission.foreign_folders)
        shown = ", ".join(path.rpartition("/")[2] for path in submission.foreign_folders[:3])
        message = (
            f"the pull request carries {count} record folder{'s' if count > 1 else ''} of other submissions, to be "
            f"taken out before it is merged: {shown}"
        )
        findings.append(_finding(Status.REVIEW, message, submission.foreign_folders[0]))
    outside = [path for path in submission.changed_outside_records if not _HARMLESS_OUTSIDE.search(path)]
    if outside:
        message = f"the pull request changes {len(outside)} files outside records/: {', '.join(outside[:5])}"
        steps = [Step(path, 0, "outside records/") for path in outside[:10]]
        findings.append(_finding(Status.REVIEW, message, outside[0], steps=steps))
    return findings


def _files(submission: Submission) -> list[Finding]:
    """Files that are not what they seem, or do not belong into a record folder."""
    findings = []
    empty = [
        item for item in submission.files if item.size == 0 and item.role in (Role.ARTIFACT, Role.LOG, Role.SCRIPT)
    ]
    if empty:
        shown = ", ".join(submission.relative(item.path) for item in empty[:5])
        findings.append(_finding(Status.PASS, f"empty: {shown}", empty[0].path))
    unread = [item for item in submission.files if item.data is None and item.role is not Role.ARTIFACT]
    if unread:
        findings.append(_finding(Status.PASS, f"not read: {_named(submission, unread)}", unread[0].path))
    leftovers = [item for item in submission.files if _LEFTOVER.search(item.path)]
    if leftovers:
        findings.append(_finding(Status.PASS, f"leftovers: {_named(submission, leftovers)}", leftovers[0].path))
    return findings


def _named(submission: Submission, items: Sequence[StoredFile]) -> str:
    named = ", ".join(f"{submission.relative(item.path)} ({item.note or f'{item.size:,} bytes'})" for item in items[:4])
    return named + (f" and {len(items) - 4} more" if len(items) > 4 else "")


def _without_script() -> Example:
    files = example_folder()
    del files[SCRIPT_NAME]
    return Example(files, "No Python source is in the folder: nobody can run the submission.")


RULE = Rule(
    code="FORMAT",
    title="One record folder with README, submission.json, script and logs",
    text=(
        "A pull request adds one folder below records/track_10min_16mb or records/track_non_record_16mb and nothing "
        "else. In it stand a README, a submission.json (name, author, GitHub id, val_bpb), the training script "
        "train_gpt.py and the logs of the runs.\n\n"
        "Most of what is amiss here is repaired in a minute: a comma in the JSON, a second folder, a file outside "
        "records/. Only a record submission without any Python source breaks the rule for certain, because there is "
        "nothing to run. A missing log is for EVIDENCE to judge."
    ),
    sources=(
        "README of the challenge: what a submission folder holds; a pull request adds only that folder",
        "Undated requests of cocohearts: changes outside the record folder are taken out (#545, #1031, #1120)",
    ),
    precedents=(
        Precedent(date(2026, 3, 18), "#8", "0hq", "a training log and a val_bpb are needed, even off the record track"),
        Precedent(date(2026, 3, 18), "#15", "0hq", "no training log: submit again"),
        Precedent(date(2026, 3, 19), "#63", "0hq", "a new submission comes in a new pull request, not as an edit"),
        Precedent(date(2026, 3, 24), "#529", "valerio-oai", "no submission.json"),
        Precedent(date(2026, 4, 23), "#1143", "cocohearts", "a second, unrelated record folder"),
    ),
    witnesses={Witness.RECORD: "lists what the folder holds and lacks, and what the pull request changes besides"},
    legal=Example(example_folder(), "README, submission.json, train_gpt.py and three logs."),
    illegal=_without_script(),
    blind_spots=(
        "A folder audited by itself does not show what its pull request changes elsewhere.",
        "Whether the README explains the method is not judged.",
        "Imports inside functions and of packed scripts are not looked up; a package new to records looks missing.",
    ),
    judge=judge,
)
