"""Without a log the submission may name the line of its score; where it does not, rival scores make a question."""

from __future__ import annotations

import pytest

from auditor.configuration import RunConfiguration
from auditor.findings import Status
from auditor.record.model import Place, Record, Statement
from auditor.source import witness
from auditor.source.stated_score import is_final, stated_label
from benchmarks.evasions.cases import FOLDER, PRELUDE, read_theme
from benchmarks.evasions.judging import submission_of
from rules import RULES
from rules.base import Evidence

SCRIPT = """# case: two_scores
# twin of: none
def score(label, loss, tokens):
    print(f"{label} val_loss:{loss:.8f} val_bpb:{loss / math.log(2.0) / 2.4359:.8f}")


model = Model().cuda()
val = load_tokens(VAL_FILES)
train(model)
score("diagnostic post_ema", evaluate(model, val), val)
BEFORE
score("final_plain_exact", evaluate(model, val), val)
optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
for start in range(0, val.numel() - 1, SEQ_LEN):
    model(*window(val, start)).backward()
    optimizer.step()
score("final_adapted_exact", evaluate(model, val), val)
"""
ADAPT = """
early = torch.optim.SGD(model.parameters(), lr=0.005)
for start in range(0, val.numel() - 1, SEQ_LEN):
    model(*window(val, start)).backward()
    early.step()
"""
README = "# A score\n\nAdapted: `final_adapted_exact` is **1.2100**.\n"


def status(fields: dict[str, object], readme: str = "", before: str = "", last: str = "final_adapted_exact") -> Status:
    prelude = (FOLDER / PRELUDE).read_text(encoding="utf-8")
    submission = submission_of(
        read_theme("scores", SCRIPT.replace("BEFORE", before).replace("final_adapted_exact", last), prelude)[0]
    )
    places = {key: Place("submission.json", 2) for key in fields}
    statement = Statement(1.21, val_bpb_text="1.2100", fields=fields, places=places)
    record, configuration = Record(statement, (), readme_text=readme, readme_path="README.md"), RunConfiguration()
    evidence = Evidence(submission, configuration, record, source=witness(submission, configuration, record))
    return RULES["C3"].judge(evidence).status


def test_the_line_that_the_submission_names_is_judged() -> None:
    assert status({"evaluation": "final_plain_exact"}) is Status.PASS
    assert status({"evaluation": "final_adapted_exact"}) is Status.FAIL
    assert status({"evaluation": "sliding window"}) is Status.REVIEW
    assert status({}, readme=README) is Status.FAIL
    assert status({}, readme=README.replace("is **", "beats `final_plain_exact` with **")) is Status.REVIEW


def test_what_only_some_final_scores_have_is_a_question() -> None:
    assert status({}) is Status.REVIEW


def test_a_submission_that_is_called_after_the_last_score_claims_it() -> None:
    assert status({}, readme="# Small model + adapted weights\n") is Status.FAIL
    assert status({}, readme="# Small model, no adapted weights\n") is Status.REVIEW


def test_the_usual_line_is_that_of_the_score() -> None:
    assert status({}, last="final_int8_zlib_roundtrip_exact") is Status.FAIL


def test_what_all_final_scores_have_is_proved() -> None:
    assert status({}, before=ADAPT) is Status.FAIL


@pytest.mark.parametrize(
    ("template", "final"),
    [
        (("final_int6_exact val_loss:", None, " val_bpb:", None), True),
        (("step:", None, "/", None, " val_loss:", None, " val_bpb:", None, " train_time:", None, "ms"), False),
        (("DIAGNOSTIC post_ema val_loss:", None, " val_bpb:", None), False),
        (("final pre-quant val_loss:", None, " val_bpb:", None), False),
        (("final_int6_roundtrip_exact val_loss:", None, " val_bpb:", None), False),
        (("final_int8_zlib_roundtrip_exact val_loss:", None, " val_bpb:", None), True),
        (("Code size: ", None, " bytes"), False),
    ],
)
def test_final_scores(template: tuple[str | None, ...], final: bool) -> None:
    assert is_final(template) is final


def test_short_words_are_no_labels() -> None:
    record = Record(Statement(fields={"lane": "final"}), ())
    assert stated_label(record, ["final"]) is None
