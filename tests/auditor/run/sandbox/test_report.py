"""The chain of the report channel, from both ends, without a sandbox."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable

import pytest

from auditor.run.inside.channel import Reporter
from auditor.run.sandbox.report import read_report

KEY = bytes(range(32))


def sent(actions: Callable[[Reporter], None], key: bytes = KEY) -> bytes:
    """What a reporter writes to its pipe; here a file, which takes everything at once."""
    with tempfile.TemporaryFile() as stream:
        actions(Reporter(stream.fileno(), key))
        stream.seek(0)
        return stream.read()


def three(reporter: Reporter) -> None:
    for number in range(3):
        reporter.report({"kind": "note", "number": number})
    reporter.end()


def test_whole_report_is_read_in_order() -> None:
    report = read_report(sent(three), KEY)
    assert report.broken == ""
    assert [record.get("number") for record in report.records] == [0, 1, 2, None]
    assert report.records[-1]["kind"] == "end"


def test_long_records_travel_in_lines_that_a_pipe_takes_whole() -> None:
    text = '"\\é\u2028' * 3000

    def long(reporter: Reporter) -> None:
        reporter.report({"kind": "note", "text": text})
        reporter.end()

    stream = sent(long)
    assert max(map(len, stream.splitlines(keepends=True))) <= 4096
    report = read_report(stream, KEY)
    assert report.broken == ""
    assert report.records[0]["text"] == text


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda lines: [lines[0], *lines[2:]], "a gap"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], "one sent twice"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "a gap"),
        (lambda lines: lines[:-1], "no end message"),
        (lambda lines: [], "no report was made"),
        (lambda lines: [*lines, lines[-1]], "report line 5"),
        (lambda lines: [lines[0].replace(b"note", b"nota"), *lines[1:]], "not sealed"),
        (lambda lines: [lines[0], b"x" * 64 + lines[1][64:], *lines[2:]], "not sealed"),
        (lambda lines: [lines[0], b"\xff\xfe{}", *lines[1:]], "not a message"),
        (lambda lines: [lines[0], b"0" * 64 + b" " + b"[" * 100_000, *lines[1:]], "not a message"),
    ],
)
def test_every_change_of_the_stream_breaks_the_chain(change: Callable[[list[bytes]], list[bytes]], broken: str) -> None:
    lines = sent(three).splitlines()
    report = read_report(b"".join(line + b"\n" for line in change(lines)), KEY)
    assert broken in report.broken
    assert all(record["kind"] in ("note", "end") for record in report.records)


def test_records_before_a_break_are_kept() -> None:
    lines = sent(three).splitlines()
    report = read_report(b"\n".join([lines[0], lines[1], b"nonsense", lines[2], lines[3], b""]), KEY)
    assert [record["number"] for record in report.records] == [0, 1]


def test_another_key_opens_nothing() -> None:
    report = read_report(sent(three), bytes(32))
    assert report.records == ()
    assert "not sealed" in report.broken


def test_a_reporter_cannot_seal_what_came_before() -> None:
    """Forbidden: whoever holds the reporter after message 1 seals another message 1."""
    forged: list[bytes] = []

    def steal(reporter: Reporter) -> None:
        reporter.report({"kind": "note", "number": 0})
        stolen = bytes(reporter._key)
        forged.extend(sent(lambda thief: thief.report({"kind": "note", "number": 9}), stolen).splitlines())
        reporter.end()

    lines = sent(steal).splitlines()
    report = read_report(b"\n".join([forged[0], *lines[1:], b""]), KEY)
    assert report.records == ()
    assert report.broken


def test_nothing_is_sent_after_the_end() -> None:
    def late(reporter: Reporter) -> None:
        three(reporter)
        reporter.report({"kind": "note", "number": 3})

    assert read_report(sent(late), KEY).broken == ""


def test_forked_process_has_a_chain_of_its_own() -> None:
    def fork(reporter: Reporter) -> None:
        child = os.fork()
        if child == 0:
            reporter.report({"kind": "note", "number": 1})
            reporter.end()
            os._exit(0)
        os.waitpid(child, 0)
        reporter.report({"kind": "note", "number": 2})
        reporter.end()

    report = read_report(sent(fork), KEY)
    assert report.broken == ""
    assert [(record.get("number"), record.get("process")) for record in report.records] == [
        (1, "0.1"),
        (2, None),
        (None, None),
    ]


def test_truncated_stream_is_said_to_be() -> None:
    assert "its end was dropped" in read_report(sent(three), KEY, truncated=True).broken


def test_records_are_objects() -> None:
    lines = sent(lambda reporter: reporter._send(json.dumps([1, 2])))
    assert "no JSON object" in read_report(lines, KEY).broken
