"""What the log of the claimed score says of the scoring itself: how much text, and what came before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from auditor.findings import Status, Witness
from auditor.ledger import PART_OF_THE_TEXT, Ledger, Metric, Region, Scored, Site, Violation
from auditor.submission.model import Track
from rules import RULES
from rules.base import Evidence

EvidenceOf = Callable[..., Evidence]

TRAINING = "".join(f"step:{step}/5000 train_loss:{5 - step / 2000:.4f}\n" for step in range(0, 5001, 250))
SITE = Site("train_gpt.py", 3, "evaluate")
METRIC = Metric("mix_bpb:{}", SITE, reported=True, tied=True)
PART = Violation("C4", "a part is scored", ((SITE, "here"),), False, "how much is open", kind=PART_OF_THE_TEXT)
SCRIPT = """\
def adapt(epochs):
    for epoch in range(epochs):
        print(%s)
    print("filler so that this is a script of some length", epochs)
"""


def folder(line: str, script: str = "print(1)\n", before: str = "") -> dict[str, str]:
    return {
        "submission.json": '{"val_bpb": 1.1, "name": "n"}',
        "train_seed42.log": f"{TRAINING}{before}{line}\n",
        "train_gpt.py": script,
    }


def ledger(*violations: Violation) -> Ledger:
    return Ledger(metrics=(METRIC,), scored=(Scored(Region("text"), METRIC, SITE),), violations=violations)


@pytest.mark.parametrize(
    ("stated", "status"),
    [("27,048,621", Status.REVIEW), ("27048621", Status.REVIEW), ("151080891", Status.PASS), ("15983342", Status.PASS)],
)
def test_the_claimed_line_states_by_how_many_bytes_it_divides(
    evidence_of: EvidenceOf, stated: str, status: Status
) -> None:
    evidence = evidence_of(folder(f"mix bytes={stated} mix_bpb=1.100000"))
    assert RULES["C4"].judge(replace(evidence, source=ledger())).status is status


def test_a_line_of_progress_states_nothing_of_the_claimed_score(evidence_of: EvidenceOf) -> None:
    before = "progress bytes=1884087 mix_bpb=1.310000\n"
    evidence = evidence_of(folder("final val_loss:1.8573 val_bpb:1.1000", before=before))
    assert RULES["C4"].judge(replace(evidence, source=ledger())).status is Status.PASS


@pytest.mark.parametrize(("stated", "status"), [(151080891, Status.PASS), (140000000, Status.REVIEW)])
def test_the_bytes_of_the_whole_text_answer_a_question_about_a_part(
    evidence_of: EvidenceOf, stated: int, status: Status
) -> None:
    evidence = evidence_of(folder(f"mix bytes={stated} mix_bpb=1.100000"), track=Track.RECORD)
    assert RULES["C4"].judge(replace(evidence, source=ledger(PART))).status is status


def test_a_proof_of_a_part_is_not_answered_by_a_log(evidence_of: EvidenceOf) -> None:
    evidence = evidence_of(folder("mix bytes=151080891 mix_bpb=1.100000"), track=Track.RECORD)
    proved = replace(PART, definite=True, doubt="")
    assert RULES["C4"].judge(replace(evidence, source=ledger(proved))).status is Status.FAIL


EPOCHS = "".join(f"ttt_epoch:{epoch}/10 loss:1.{98 - epoch}\n" for epoch in range(1, 11))
CLAIMED = "final val_loss:1.8573 val_bpb:1.1000"


def test_epochs_of_adaptation_that_no_code_prints_are_a_question(evidence_of: EvidenceOf) -> None:
    evidence = evidence_of(folder(CLAIMED, SCRIPT % 'f"epoch {epoch} of {epochs}"', EPOCHS))
    result = RULES["C3"].judge(replace(evidence, source=ledger()))
    assert result.status is Status.REVIEW
    assert "10 lines of adaptation" in result.reason
    assert result.findings[0].witness is Witness.RECORD


@pytest.mark.parametrize(
    "text",
    [
        'f"ttt_epoch:{epoch + 1}/{epochs} loss:{1.0:.4f}"',
        '"ttt_epoch:%d/%d loss:%.4f" % (epoch + 1, epochs, 1.0)',
        '"ttt_epoch:{}/{} loss:{:.4f}".format(epoch + 1, epochs, 1.0)',
        'f"{name}_epoch:{epoch + 1}/{epochs} loss:{1.0:.4f}"',
    ],
)
def test_epochs_of_adaptation_that_the_code_prints_are_none(evidence_of: EvidenceOf, text: str) -> None:
    evidence = evidence_of(folder(CLAIMED, SCRIPT % text, EPOCHS))
    assert RULES["C3"].judge(replace(evidence, source=ledger())).status is Status.PASS


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("epoch:1/10 loss:1.98\nttt chunk 5/300 loss:1.9\nttt:done epochs:3\n", CLAIMED),
        ("", f"{CLAIMED}\n{EPOCHS}"),
    ],
)
def test_epochs_of_training_chunks_and_later_lines_are_none(evidence_of: EvidenceOf, before: str, line: str) -> None:
    evidence = evidence_of(folder(line, before=before))
    assert RULES["C3"].judge(replace(evidence, source=ledger())).status is Status.PASS


def progress(last: int, whole: int = 39591, every: int = 500, label: str = "mix seq") -> str:
    return "".join(f"{label}:{count}/{whole} tokens:{count} mix_bpb:1.1\n" for count in range(every, last + 1, every))


@pytest.mark.parametrize(
    ("before", "status"),
    [
        (progress(7500), Status.REVIEW),
        (progress(39500), Status.PASS),
        (progress(7500) + "a\nb\nc\nd\n", Status.PASS),  # of something that was over before
        (progress(10, every=1), Status.PASS),  # only the first pieces are logged
        (progress(7500, label="step train"), Status.PASS),
        (progress(1000), Status.PASS),  # too few to know how often they come
        (progress(7500).replace("2000/", "2100/"), Status.PASS),  # by the clock, perhaps
    ],
)
def test_progress_that_ends_long_before_the_text(evidence_of: EvidenceOf, before: str, status: Status) -> None:
    evidence = evidence_of(folder(CLAIMED, before=before))
    assert RULES["C4"].judge(replace(evidence, source=ledger())).status is status
