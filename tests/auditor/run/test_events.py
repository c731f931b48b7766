"""Records of a run are hostile: what does not fit is left out, and nothing is accused by it."""

from __future__ import annotations

from typing import Any

import pytest

from auditor.run.events import MOST_RECORDS, Places, ledger_of, read_trace, region, size_of
from auditor.submission.model import Role, SourceText, StoredFile, Submission, Track

LINE = "final val_loss:6.9312 val_bpb:2.5"
SITE = ["/work/submission/train_gpt.py", 10, "evaluate"]
LEARN = {
    "kind": "learn", "id": 0, "positions": [[1, 90]], "subject": ["GPT.weight (4, 4)"], "manner": "gradient step",
    "site": ["/work/submission/train_gpt.py", 5, "adapt"], "calls": [], "backward": SITE, "order": 2, "times": 3,
}  # fmt: skip


def metric(**changes: Any) -> dict[str, Any]:
    """A printed number that came after learning."""
    part = {
        "site": SITE, "calls": [], "positions": [[1, 99]], "order": 7, "selected": False, "foreign": False,
        "after": [{"learn": 0, "proved": [[1, 90]], "possible": []}],
    }  # fmt: skip
    return {
        "kind": "metric", "line": LINE, "number": "6.9312", "tie": "flow", "coarse": False, "mixed": False,
        "scored": 99, "most": 1,
        "again": 0, "repeated": [], "missing": [], "stream": 100, "order": 9, "site": SITE, "calls": [],
        "parts": [part],
        **changes,
    }  # fmt: skip


def records(**changes: Any) -> list[dict[str, Any]]:
    return [{"kind": "stream", "length": 100}, LEARN, metric(**changes)]


def submission(path: str = "records/x/train_gpt.py", **packed: Any) -> Submission:
    text = SourceText(path, "pass\n", "0" * 64, **packed)
    return Submission("test", "records/x", Track.RECORD, (StoredFile(path, 5, Role.SCRIPT, b"pass\n"),), text)


def test_an_order_that_was_followed_is_an_accusation() -> None:
    ledger = ledger_of(read_trace(records(), Places(submission(), "/work/submission")), LINE)
    (scored,) = ledger.scored
    assert scored.definite
    assert scored.metric.reported
    assert scored.site.path == "records/x/train_gpt.py"
    assert [learned.site.function for learned in scored.after] == ["adapt"]


@pytest.mark.parametrize(
    "changes",
    [
        {"tie": "value"},
        {"coarse": True},
        {"coarse": None},
        {"mixed": True},
        {"again": 7},
        {"scored": 50},
        {"parts": [{**metric()["parts"][0], "after": [{"learn": 0, "proved": [[1, 3]], "possible": []}]}]},
        {"parts": [{**metric()["parts"][0], "after": [{"learn": 0, "proved": [], "possible": [[1, 90]]}]}]},
    ],
    ids=[
        "by value",
        "coarse",
        "coarse by a wrong type",
        "mixed",
        "repeated elsewhere",
        "missing elsewhere",
        "few positions",
        "possible only",
    ],
)
def test_less_than_that_is_a_question(changes: dict[str, Any]) -> None:
    (scored,) = ledger_of(read_trace(records(**changes)), LINE).scored
    assert scored.after
    assert not scored.definite
    assert scored.doubt


def test_a_learner_that_was_not_told_accuses_nobody() -> None:
    changed = [record for record in records() if record["kind"] != "learn"]
    (scored,) = ledger_of(read_trace(changed), LINE).scored
    assert not scored.after


def test_a_line_that_no_losses_were_tied_to_is_undecided() -> None:
    ledger = ledger_of(read_trace(records()), "final val_loss:1.0")
    assert [blind.matters_for for blind in ledger.blind] == [("C3", "C4")]
    assert not any(scored.metric.reported for scored in ledger.scored)


@pytest.mark.parametrize(
    "record",
    [
        metric(parts="all"),
        metric(parts=[7]),
        metric(scored=-1),
        metric(scored=True),
        metric(scored=1 << 60),
        metric(tie="sure"),
        metric(site=["a"]),
        metric(site=["a", "b", "c"]),
        metric(missing=[[5, 1]]),
        metric(missing=[[0, 100]]),
        metric(missing=[[0, 1, 2]]),
        {"kind": "metric"},
        {"kind": "learn", "id": {}},
        {"kind": "timeline", "line": "", "blocks": [[1, 2]]},
        {"kind": "select", "operator": 3},
        {"kind": "read", "mode": "read"},
        {"kind": "export", "positions": {}},
        {"kind": "left"},
        {"kind": "blind", "reason": 1},
        {"kind": "stream", "length": "many"},
    ],
)
def test_what_does_not_fit_is_left_out_and_said(record: dict[str, Any]) -> None:
    trace = read_trace([{"kind": "stream", "length": 100}, record])
    assert not trace.numbers
    assert trace.rejected == (0 if record.get("kind") == "stream" else 1)
    assert bool(ledger_of(trace, "").blind) is bool(trace.rejected)


def test_other_kinds_are_passed_over() -> None:
    trace = read_trace([{"kind": "standin", "name": "cuda"}, {"kind": ["metric"]}, {}])
    assert not trace.rejected


def test_the_number_of_records_is_bounded() -> None:
    flood = [{"kind": "blind", "reason": str(i), "site": SITE} for i in range(MOST_RECORDS + 5)]
    trace = read_trace(flood)
    assert len(trace.blind) == MOST_RECORDS
    assert trace.rejected


def test_the_length_cannot_be_changed_later() -> None:
    trace = read_trace([{"kind": "stream", "length": 100}, {"kind": "stream", "length": 5}])
    assert trace.length == 100


def test_control_characters_do_not_pass() -> None:
    trace = read_trace([{"kind": "blind", "reason": "\x1b[31m::error::\n", "site": ["a\x07b", 1, ""]}])
    ((reason, site),) = trace.blind
    assert reason.isprintable()
    assert site.path.isprintable()


def test_regions_in_words() -> None:
    assert region(((1, 99),), 100).text == "positions 1 to 99 (all)"
    assert region(((1, 4), (9, 9)), 100).text == "positions 1 to 4 and 9"
    assert region(tuple((i, i) for i in range(0, 50, 5)), 100).text == "10 positions between 0 and 45"
    assert size_of(((1, 4), (9, 9))) == 5


def test_code_of_a_packed_script_has_the_lines_of_the_unpacked_text() -> None:
    packed = submission(
        "records/x/train_gpt.py!unpacked",
        layers=("exec(lzma(b85))",), wrapper="import lzma\nexec(1)\n", wrapper_path="records/x/train_gpt.py",
    )  # fmt: skip
    places = Places(packed, "/work/submission")
    assert places.path("<string>", 700) == "records/x/train_gpt.py!unpacked"
    assert places.path("/work/submission/train_gpt.py", 700) == "records/x/train_gpt.py!unpacked"
    assert places.path("/work/submission/train_gpt.py", 2) == "records/x/train_gpt.py"
    assert places.wraps("records/x/train_gpt.py")
    assert Places(submission(), "/work/submission").path("<string>", 3) == "<string>"


@pytest.mark.parametrize(("operator", "in_doubt"), [("minimum", True), ("maximum", False)])
def test_where_the_smaller_loss_is_kept_the_order_of_the_kept_one_is_not_known(operator: str, in_doubt: bool) -> None:
    """A later pass may have replaced a score: that no learning came before the first one says nothing."""
    chosen = {"kind": "select", "operator": operator, "positions": [[1, 99]], "site": SITE, "calls": [], "order": 8}
    part = {**metric()["parts"][0], "selected": True, "after": []}
    ledger = ledger_of(read_trace([*records(parts=[part]), chosen]), LINE)
    assert [violation.rule for violation in ledger.violations] == (["C4"] if in_doubt else [])
    assert any(blind.matters_for == ("C1", "C3") for blind in ledger.blind) is in_doubt
