"""The report channel, outside: checks the chain that `auditor/run/inside/channel.py` describes, piece by piece."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

MAIN_CHAIN = "0"
MAX_CHAINS = 100_000  # processes that a run may fork


@dataclass(slots=True)
class Chain:
    """What is known of one process's chain: the key of its next message, and the record under way."""

    key: bytes
    number: int = 0
    pieces: list[str] = field(default_factory=list)
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Records whose chain is whole, in order of arrival; `broken` is "" or what was wrong first, in words."""

    records: tuple[Mapping[str, object], ...]
    broken: str


def read_report(stream: bytes, key: bytes, truncated: bool = False) -> Report:
    """Check a whole report stream. Records of a forked process carry its chain as "process" ("0.1").

    Reading stops at the first line that does not fit: everything before it was sealed by the auditor's own code.
    """
    chains = {MAIN_CHAIN: Chain(key)}
    records: list[Mapping[str, object]] = []
    lines = stream.split(b"\n")
    rest = lines.pop()
    for place, line in enumerate(lines, 1):
        broken = _take(line, chains, records)
        if broken:
            return Report(tuple(records), f"report line {place}: {broken}")
    if truncated:
        return Report(tuple(records), "the report is longer than its limit; its end was dropped")
    if rest:
        return Report(tuple(records), "the report ends in the middle of a line")
    main = chains[MAIN_CHAIN]
    if not main.ended:
        missing = "no report was made" if main.number == 0 else "no end message: the process ended before its report"
        return Report(tuple(records), missing)
    return Report(tuple(records), "")


def _take(line: bytes, chains: dict[str, Chain], records: list[Mapping[str, object]]) -> str:
    """Check one line and keep its record if it completes one. The answer is "" or what is wrong."""
    seal, _, body = line.partition(b" ")
    parsed = _parsed(body)
    if not isinstance(parsed, list) or len(parsed) != 4 or not isinstance(parsed[3], str):
        return "not a message of the channel"
    name, number, more, piece = parsed
    chain = chains.get(name) if isinstance(name, str) else None
    if chain is None:
        return "a message of an unknown process"
    if number != chain.number:
        return f"message {number!r:.20} where {chain.number} was due (a gap, or one sent twice)"
    expected = hmac.digest(chain.key, body, "sha256").hex().encode()
    if not hmac.compare_digest(seal, expected):
        return f"message {chain.number} is not sealed with its key"
    if chain.ended:
        return "a message after the end message"
    fork_key = chain.key
    chain.key = hashlib.sha256(chain.key).digest()
    chain.number += 1
    chain.pieces.append(piece)
    if more:
        return ""
    text, chain.pieces = "".join(chain.pieces), []
    return _keep(text, name, chain, fork_key, chains, records)


def _keep(
    text: str, name: str, chain: Chain, fork_key: bytes, chains: dict[str, Chain], records: list[Mapping[str, object]]
) -> str:
    record = _parsed(text.encode())
    if not isinstance(record, dict):
        return "a record that is no JSON object"
    if record.get("kind") == "end":
        chain.ended = True
    if record.get("kind") == "fork":
        child = record.get("chain")
        if not isinstance(child, str) or child in chains or len(chains) >= MAX_CHAINS:
            return "a fork that cannot be"
        count = child.rpartition(".")[2]
        chains[child] = Chain(hashlib.sha256(b"fork " + count.encode() + b" " + fork_key).digest())
        return ""
    records.append(record if name == MAIN_CHAIN else {**record, "process": name})
    return ""


def _parsed(text: bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
