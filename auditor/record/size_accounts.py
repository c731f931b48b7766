"""The size of a submission, by every way of counting it that its own figures allow.

artifact = code + compressed model. The log, the submitted file and submission.json often count different code: raw,
minified, compressed, or none. All accounts are set side by side; rules/size.py holds the cap and judges.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from auditor.record.model import Place, Record, RunLog, SizeLine, Statement
from auditor.submission.model import Role, StoredFile, Submission

LOG_TOTAL = "total that the log prints"
COUNTED_CODE = "model + code as the log counts it"
SUBMITTED_CODE = "model + submitted script as it is stored"
COMPRESSED_CODE = "model + submitted script, compressed (LZMA)"
DECLARED_TOTAL = "total that the submission declares"
README_TABLE = "size that a table of the README gives"
DECLARED_CODE = "model + code as submission.json declares it"
DECLARED_PARTS = "model + code that submission.json declares"
SHIPPED_MODEL = "shipped model file + submitted script as it is stored"

COMPRESSED_SUFFIXES = (".ptz", ".br", ".xz", ".lzma", ".zst", ".brotli", ".zlib", ".gz", ".rans")
UNEXPLAINED_BYTES = 4_096  # by which a logged total may exceed model + code without holding a further part
MAX_SCRIPT_BYTES = 4 * 1024 * 1024  # larger ones are not compressed here


MAX_TABLE_ROWS = 100
_SIZE_HEADER = re.compile(r"artifact|bytes|total size|submission size|\bsize\b", re.IGNORECASE)
_BYTES_CELL = re.compile(r"(?<![\d.,])\d{1,2}[,_]?\d{3}[,_]?\d{3}(?![\d.,])")


@dataclass(frozen=True, slots=True)
class SizeAccount:
    """One way of counting. `run` says whose: a log's path, "seed 42", or "" for the submission as a whole.

    `made_by_author` is False for an account that only the auditor makes (a script compressed that is stored raw).
    """

    name: str
    size_bytes: int
    run: str
    place: Place
    made_by_author: bool = True

    def over(self, cap_bytes: int) -> bool:
        return self.size_bytes > cap_bytes


def size_accounts(submission: Submission, record: Record, compress_above: int) -> tuple[SizeAccount, ...]:
    """Every account that can be made, run by run, then the declared totals, then shipped model files.

    Compressing the script takes a moment; it is done only where the raw script makes more than `compress_above` bytes.
    """
    script = script_file(submission)
    smaller = None
    models = [line.size_bytes for log in record.logs if (line := last_size(log, "model")) is not None]
    if script is not None and models and max(models) + script.size > compress_above:
        smaller = compressed_script_bytes(script)
    accounts: list[SizeAccount] = []
    for log in record.logs:
        accounts += log_accounts(log, script, smaller, record.statement.code_bytes)
    accounts += declared_accounts(record)
    accounts += readme_accounts(record)
    accounts += shipped_accounts(submission, script)
    return tuple(accounts)


def script_file(submission: Submission) -> StoredFile | None:
    """The stored file (the outermost one, when packed) of the script that produced the score."""
    if submission.script is None:
        return None
    path = submission.script.path.partition("!")[0]
    return next((item for item in submission.files if item.path == path), None)


def compressed_script_bytes(script: StoredFile) -> int | None:
    """Bytes of the script after LZMA; None when its content was not read or is too large.

    LZMA with a small dictionary is within 3 % of brotli at its slowest here, and takes a quarter of its time.
    """
    if script.data is None or len(script.data) > MAX_SCRIPT_BYTES:
        return None
    return _compressed_bytes(script.data)


@lru_cache(maxsize=4)
def _compressed_bytes(data: bytes) -> int:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]
    return len(lzma.compress(data, lzma.FORMAT_RAW, filters=filters))


def log_accounts(
    log: RunLog, script: StoredFile | None, compressed_script: int | None, declared_code: int | None = None
) -> Iterator[SizeAccount]:
    """The accounts of one run: the last size of each kind that its log prints, the script, the code as declared."""
    total, model = last_size(log, "total"), last_size(log, "model")
    if total is not None:
        yield SizeAccount(LOG_TOTAL, total.size_bytes, log.path, total.place)
    if model is None:
        return
    code = _counted_code(log, total, model)
    parts = _further_parts(total, model, last_size(log, "code") or code)
    if code is not None and not parts:
        yield SizeAccount(COUNTED_CODE, model.size_bytes + code.size_bytes, log.path, model.place)
    if declared_code is not None and declared_code > 0:
        yield SizeAccount(DECLARED_CODE, model.size_bytes + parts + declared_code, log.path, model.place)
    if script is not None:
        size_bytes = model.size_bytes + parts + script.size
        yield SizeAccount(SUBMITTED_CODE, size_bytes, log.path, model.place)
        if compressed_script is not None and compressed_script < script.size:
            smaller = size_bytes - script.size + compressed_script
            yield SizeAccount(COMPRESSED_CODE, smaller, log.path, model.place, made_by_author=False)


def _counted_code(log: RunLog, total: SizeLine | None, model: SizeLine) -> SizeLine | None:
    """Of the code sizes a log prints, the one its total counts; else the compressed one, else the last."""
    printed = [item for item in log.sizes if item.kind in ("code", "code_compressed")]
    if total is not None:
        for item in reversed(printed):
            if model.size_bytes + item.size_bytes == total.size_bytes:
                return item
    return last_size(log, "code_compressed") or last_size(log, "code")


def _further_parts(total: SizeLine | None, model: SizeLine, code: SizeLine | None) -> int:
    """Bytes of the logged total that neither model nor code explain: a cache or a prefix stored beside the model."""
    if total is None or code is None:
        return 0
    rest = total.size_bytes - model.size_bytes - code.size_bytes
    return rest if rest > UNEXPLAINED_BYTES else 0


def last_size(log: RunLog, kind: str) -> SizeLine | None:
    """The last size of a kind that a log prints; a line that states the total states nothing else."""
    totals = {item.place for item in log.sizes if item.kind == "total"} if kind == "model" else set()
    return next((item for item in reversed(log.sizes) if item.kind == kind and item.place not in totals), None)


def declared_accounts(record: Record) -> Iterator[SizeAccount]:
    """Totals of submission.json: each seed's, then the submission's, then the sum of its model and code."""
    statement = record.statement
    for seed in statement.seeds:
        if seed.artifact_bytes is not None:
            yield SizeAccount(DECLARED_TOTAL, seed.artifact_bytes, seed_name(seed.seed), seed.place)
    if statement.artifact_bytes is not None:
        yield SizeAccount(
            DECLARED_TOTAL, statement.artifact_bytes, "", _declared_place(statement, statement.artifact_bytes)
        )
    if statement.model_bytes is not None and statement.code_bytes is not None:
        size_bytes = statement.model_bytes + statement.code_bytes
        yield SizeAccount(DECLARED_PARTS, size_bytes, "", _declared_place(statement, statement.model_bytes))


def _declared_place(statement: Statement, value: int) -> Place:
    return next((place for key, place in statement.places.items() if statement.fields.get(key) == value), Place(""))


def readme_accounts(record: Record) -> Iterator[SizeAccount]:
    """Exact byte counts of the README's tables: a row for each seed, a column for the artifact."""
    for table in record.tables:
        columns = [index for index, cell in enumerate(table.header) if _SIZE_HEADER.search(cell)]
        seed_column = next((index for index, cell in enumerate(table.header) if "seed" in cell.lower()), None)
        if not columns or seed_column is None:
            continue
        for index, row in enumerate(table.rows[:MAX_TABLE_ROWS]):
            seed = re.search(r"\d{1,6}", row[seed_column]) if seed_column < len(row) else None
            count = next(
                (found for column in columns if column < len(row) and (found := _BYTES_CELL.search(row[column]))), None
            )
            if seed and count:
                line = table.lines[index] if index < len(table.lines) else table.place.line
                size_bytes = int(count[0].replace(",", "").replace("_", ""))
                yield SizeAccount(README_TABLE, size_bytes, seed_name(int(seed[0])), Place(table.place.path, line))


def shipped_accounts(submission: Submission, script: StoredFile | None) -> Iterator[SizeAccount]:
    """Compressed model files that stand in the folder, each with the submitted script."""
    for item in submission.by_role(Role.ARTIFACT):
        if item.path.endswith(COMPRESSED_SUFFIXES):
            yield SizeAccount(SHIPPED_MODEL, item.size + (script.size if script else 0), "", Place(item.path))


def seed_name(seed: int) -> str:
    """How an account names the run of a seed that only submission.json tells."""
    return f"seed {seed}"
