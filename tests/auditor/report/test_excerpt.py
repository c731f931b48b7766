"""Excerpts: the line, the blocks around it, what follows of its statement, and the settings that switch it."""

from __future__ import annotations

from auditor.configuration import RunConfiguration, Setting
from auditor.findings import Finding, Status, Step, Witness
from auditor.record.model import Place, Record, RunLog, Statement
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


def passages(
    *steps: Step, configuration: RunConfiguration | None = None, text: str = SCRIPT, logged: tuple[str, ...] = ()
) -> list[list[str]]:
    log = b"seed:42\r\nfinal val_loss:2.0\n"
    submission = Submission(
        "folder",
        "records/mine",
        Track.RECORD,
        files=(StoredFile("records/mine/train.log", len(log), Role.LOG, log),),
        script=SourceText("records/mine/train_gpt.py", text, "0" * 64),
    )
    finding = Finding(Status.FAIL, Witness.SOURCE, "message", steps=steps)
    run = RunLog(
        "records/mine/train.log", 42, None, raw_lines=logged, raw_line_numbers=tuple(range(1, len(logged) + 1))
    )
    cut = Excerpts(submission, configuration or RunConfiguration(), Record(Statement(), (run,))).passages(finding)
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


GUARDED = """\
def main():
    if size != vocabulary:
        raise ValueError(
"no such vocabulary")
    if args.ttt_enabled:
        log("adapting on 3 shards")
        adapt(
            args,
            val_tokens)
    elif on:
        log(f"scoring once more: {name}")
        again(val_tokens)
"""
OFF = RunConfiguration(defaults={"TTT_ENABLED": "0"})


def test_a_logged_line_is_the_reason_where_a_default_contradicts_it() -> None:
    (lines,) = passages(step(7), configuration=OFF, text=GUARDED, logged=("seed:42", "adapting on 3 shards"))
    assert lines[1] == "5 if args.ttt_enabled: the log has its line, train.log:2"
    (lines,) = passages(step(7), configuration=OFF, text=GUARDED, logged=("seed:42", "scoring once more: x"))
    assert lines[1] == "5 if args.ttt_enabled: TTT_ENABLED=0 (the script's default)"


def test_a_logged_line_is_the_reason_where_no_setting_is_known() -> None:
    (lines,) = passages(step(12), configuration=OFF, text=GUARDED, logged=("seed:42", "scoring once more: x"))
    assert lines[1:3] == [
        "5 if args.ttt_enabled: TTT_ENABLED=0 (the script's default)",
        "10 elif on: the log has its line, train.log:2",
    ]


def test_what_the_log_prints_as_a_setting_stays() -> None:
    setting = Setting("TTT_ENABLED", "1", "log", Place("records/mine/train.log", 1))
    configuration = RunConfiguration(environment={"TTT_ENABLED": setting})
    (lines,) = passages(step(7), configuration=configuration, text=GUARDED, logged=("x", "adapting on 3 shards"))
    assert lines[1] == "5 if args.ttt_enabled: TTT_ENABLED=1 (train.log:1)"


def test_a_guard_that_ended_before_is_not_shown() -> None:
    (lines,) = passages(step(9), text=GUARDED)
    assert lines == ["1 def main():", "5 if args.ttt_enabled:", "9 val_tokens)"]


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
