"""What a sweep found out, as JSON lines and as a Parquet table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from auditor.sweep.outcome import NOT_AUDITED, Outcome
from rules import CODES

VERDICTS = ("fail", "review", "pass", NOT_AUDITED)


class ParquetMissingError(Exception):
    """pyarrow is not installed."""


def verdict_of(outcome: Outcome) -> str:
    """The verdict, or "not_audited"."""
    return NOT_AUDITED if outcome.error else outcome.verdict


def count_verdicts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many outcomes have each verdict, the worst first."""
    counted = Counter(map(verdict_of, outcomes))
    return {verdict: counted[verdict] for verdict in VERDICTS}


def row(outcome: Outcome) -> dict[str, Any]:
    """One outcome as flat fields; the status of each rule under the rule's code, None where nothing was audited."""
    return {
        "pull_request": outcome.pull_request,
        "reference": outcome.reference,
        "head": outcome.head,
        "verdict": verdict_of(outcome),
        "track": outcome.track,
        "folder": outcome.folder,
        "claimed_bpb": outcome.claimed_bpb,
        "recomputed_bpb": outcome.recomputed_bpb,
        "artifact_bytes": outcome.artifact_bytes,
        "log_m_nats": outcome.log_m,
        **{code: outcome.statuses.get(code) for code in CODES},
        "reasons": dict(outcome.reasons),
        "wall_seconds": round(outcome.wall_seconds, 3),
        "cpu_seconds": round(outcome.cpu_seconds, 3),
        "peak_bytes": outcome.peak_bytes,
        "tries": outcome.tries,
        "error": outcome.error,
    }


def json_line(outcome: Outcome) -> str:
    """One outcome as a line of ASCII JSON, with its line end."""
    return json.dumps(row(outcome), ensure_ascii=True) + "\n"


def write_parquet(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the table, replacing an older one whole. Raises ParquetMissingError when pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ParquetMissingError("pyarrow is not installed (pip install 'pgolf-audit[sweep]')") from error
    text, real, whole = pyarrow.string(), pyarrow.float64(), pyarrow.int64()
    kinds: Mapping[str, Any] = {
        "pull_request": whole,
        "claimed_bpb": real,
        "recomputed_bpb": real,
        "artifact_bytes": whole,
        "log_m_nats": real,
        "reasons": pyarrow.map_(text, text),
        "wall_seconds": real,
        "cpu_seconds": real,
        "peak_bytes": whole,
        "tries": whole,
    }
    rows = [{**row(outcome), "reasons": list(outcome.reasons.items())} for outcome in outcomes]
    names = row(Outcome(None, "", "", {}, {}, 0.0, 0.0, 0))
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in names])
    partial = path.with_name(path.name + ".partial")
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), partial, compression="zstd")
    partial.replace(path)
