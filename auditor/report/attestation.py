"""An in-toto statement (https://in-toto.io/Statement/v1) about an audit: which bytes were judged, by which rulebook.

The subjects are the SHA-256 digests of every file that was read whole; what was too large to read is named in the
predicate, so that a verdict is never attested for bytes nobody saw. Signing is left to the tools that hold keys.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from auditor import __version__
from auditor.audit import AuditReport
from auditor.report.json import clean

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://github.com/openai/parameter-golf/pgolf-audit/v1"


def render_attestation(report: AuditReport) -> str:
    """The statement as ASCII JSON text, ending with a newline."""
    return json.dumps(clean(statement(report)), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def statement(report: AuditReport) -> dict[str, object]:
    """The statement as plain data. Subjects are sorted by name."""
    submission = report.submission
    whole = [item for item in submission.files if item.complete and item.data is not None]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": item.path, "digest": {"sha256": hashlib.sha256(item.data or b"").hexdigest()}}
            for item in sorted(whole, key=lambda item: item.path)
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "auditor": {"name": "pgolf-audit", "version": __version__},
            "rulebook": {"sha256": rulebook_digest()},
            "verdict": report.verdict.status.value,
            "rules": {rule.rule: rule.status.value for rule in report.verdict.rules},
            "witnesses": {witness.value: why or "heard" for witness, why in report.heard.items()},
            "run": {"seed": report.run.seed} if report.run else None,
            "asOf": report.as_of.isoformat() if report.as_of else None,
            "commit": submission.head or None,
            "folder": submission.folder,
            "notReadWhole": sorted(item.path for item in submission.files if not item.complete),
            "internalErrors": len(report.incidents),
        },
    }


@cache
def rulebook_digest() -> str:
    """SHA-256 over names and contents of the rulebook's modules and data: its version."""
    digest = hashlib.sha256()
    for name, content in sorted(_contents(files("rules"), "")):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _contents(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for item in folder.iterdir():
        if item.is_dir() and item.name != "__pycache__":
            found += _contents(item, f"{prefix}{item.name}/")
        elif item.is_file():
            found.append((prefix + item.name, item.read_bytes()))
    return found
