"""The record witness: what README, submission.json and logs say, parsed but not judged."""

from __future__ import annotations

from auditor.garbage import seldom_collected
from auditor.record.logs import read_logs
from auditor.record.metadata import read_statement
from auditor.record.model import Record
from auditor.record.readme import read_readme
from auditor.submission.model import Role, Submission

__all__ = ["read_record"]


@seldom_collected()
def read_record(submission: Submission) -> Record:
    """Everything the evidence files of `submission` say. Never raises for what they contain."""
    logs = read_logs(submission.by_role(Role.LOG))
    readme = read_readme(submission.by_role(Role.README), submission.folder)
    statement, problems = read_statement(submission.by_role(Role.METADATA), readme)
    claims = statement.val_bpb is not None or readme.val_bpb_named  # else a number in passing is no claim of the README
    unread = [f"{item.path}: {item.note or 'not read'}" for item in submission.by_role(Role.LOG) if item.data is None]
    return Record(
        statement=statement,
        logs=tuple(logs),
        tables=readme.tables,
        commands=readme.commands,
        readme_bpb=readme.val_bpb if claims else None,
        readme_bpb_place=readme.val_bpb_place if claims else None,
        readme_text=readme.text,
        readme_path=readme.path,
        problems=(*problems, *unread),
    )
