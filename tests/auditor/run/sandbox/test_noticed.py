"""What is shown of the guard's records, which are hostile text."""

from __future__ import annotations

from auditor.run.sandbox.noticed import MAX_SEEN, noticed_in


def test_place_and_number_are_named() -> None:
    first = {"kind": "guard", "what": "adds an audit hook", "count": 1, "site": ["train_gpt.py", 7]}
    assert noticed_in([first]) == ("adds an audit hook at train_gpt.py:7",)


def test_later_counts_join_what_was_said_first() -> None:
    first = {"kind": "guard", "what": "kills", "count": 1, "site": None}
    assert noticed_in([first, {**first, "count": 9}]) == ("kills (9 times)",)


def test_only_the_guard_accuses() -> None:
    kinds = ("note", "file", "process", "native", "replaced", "standin", "end", None, 3)
    assert noticed_in([{"kind": kind, "what": "x"} for kind in kinds]) == ()


def test_nothing_unprintable_and_nothing_endless_is_shown() -> None:
    """Forbidden: a script's text acts on the reader's terminal or fills the screen."""
    hostile = {"kind": "guard", "what": "\x1b[2J\u202e" * 10_000, "site": ["\x07\n::error::", "1\r"], "count": "many"}
    (line,) = noticed_in([hostile])
    assert line.isprintable()
    assert len(line) < 1000


def test_number_of_lines_is_bounded() -> None:
    records = [{"kind": "guard", "what": f"attempt {number}"} for number in range(10_000)]
    assert len(noticed_in(records)) == MAX_SEEN


def test_odd_records_are_no_error() -> None:
    odd = [{"kind": "guard"}, {"kind": "guard", "what": None, "site": 5, "count": -1}, {"kind": "guard", "site": [1]}]
    assert len(noticed_in(odd)) >= 1
