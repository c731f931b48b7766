"""Excerpts: the line, the blocks around it, what follows of its statement, and the settings that switch it."""

from __future__ import annotations

from auditor.configuration import RunConfiguration, Setting
from auditor.findings import Finding, Status, Step, Witness
from auditor.record.model import Place
from auditor.report.excerpt import MAX_CONTINUED, Excerpts
from auditor.submission.model import Role, SourceText, StoredFile, Submission, Track

SCRIPT = """\
def main():
    # a comment at the left
    if args.ttt_enabled:
        for epoch in range(args.ttt_epochs):
            adapt(
                args,
                val_tokens,
            )

        else:
            pass
    elif args.other:
        skip()
    else:
        evaluate(val_tokens)
packed = "([{" + "x" * 500
""".replace('"x" * 500', '"' + "x" * 500 + '"')


def passages(*steps: Step, configuration: RunConfiguration | None = None) -> list[list[str]]:
    log = b"seed:42\r\nfinal val_loss:2.0\n"
    submission = Submission(
        "folder",
        "records/mine",
        Track.RECORD,
        files=(StoredFile("records/mine/train.log", len(log), Role.LOG, log),),
        script=SourceText("records/mine/train_gpt.py", SCRIPT, "0" * 64),
    )
    finding = Finding(Status.FAIL, Witness.SOURCE, "message", steps=steps)
    cut = Excerpts(submission, configuration or RunConfiguration()).passages(finding)
    return [[f"{line.number} {line.text.strip()} {line.settings}".strip() for line in item.lines] for item in cut]


def step(line: int, path: str = "records/mine/train_gpt.py") -> Step:
    return Step(path, line, "here")


def test_a_line_stands_under_its_blocks_and_keeps_its_arguments() -> None:
    assert passages(step(5)) == [
        [
            "1 def main():",
            "3 if args.ttt_enabled:",
            "4 for epoch in range(args.ttt_epochs):",
            "5 adapt(",
            "6 args,",
            "7 val_tokens,",
            "8 )",
        ]
    ]


def test_a_branch_shows_what_it_is_an_alternative_to() -> None:
    assert passages(step(15)) == [
        ["1 def main():", "3 if args.ttt_enabled:", "12 elif args.other:", "14 else:", "15 evaluate(val_tokens)"]
    ]


def test_blocks_are_shown_once_for_one_finding() -> None:
    first, second = passages(step(5), step(13))
    assert first[:2] == ["1 def main():", "3 if args.ttt_enabled:"]
    assert second == ["12 elif args.other:", "13 skip()"]


def test_settings_of_the_reported_run_stand_beside_the_blocks_they_switch() -> None:
    setting = Setting("TTT_ENABLED", "1", "readme", Place("records/mine/README.md", 7))
    configuration = RunConfiguration(environment={"TTT_ENABLED": setting}, defaults={"TTT_EPOCHS": "3"})
    (lines,) = passages(step(5), configuration=configuration)
    assert lines[1] == "3 if args.ttt_enabled: TTT_ENABLED=1 (README.md:7)"
    assert lines[2] == "4 for epoch in range(args.ttt_epochs): TTT_EPOCHS=3 (the script's default)"


def test_brackets_in_packed_data_do_not_drag_in_what_follows() -> None:
    (lines,) = passages(step(16))
    assert len(lines) == 1


def test_an_endless_statement_is_cut() -> None:
    submission = Submission(
        "folder", "", Track.RECORD, (), SourceText("train_gpt.py", "call(\n" + "x,\n" * 100, "0" * 64)
    )
    finding = Finding(Status.FAIL, Witness.SOURCE, "message", path="train_gpt.py", line=1)
    (passage,) = Excerpts(submission, RunConfiguration()).passages(finding)
    assert len(passage.lines) == 1 + MAX_CONTINUED


def test_log_lines_are_shown_alone() -> None:
    assert passages(step(2, "records/mine/train.log")) == [["2 final val_loss:2.0"]]


def test_places_that_do_not_exist_show_nothing() -> None:
    assert passages(step(0), step(99), step(1, "records/other/train_gpt.py")) == [[], [], []]
