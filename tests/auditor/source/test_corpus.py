"""How files of cases are read, what a corpus must not contain, and what the table says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.findings import Status
from benchmarks.evasions.__main__ import main
from benchmarks.evasions.cases import FOLDER, PRELUDE, CorpusError, read_corpus, read_theme
from benchmarks.evasions.judging import configuration_of, judge, record_of

EVASION = """\
# case: learns_first
# expect: C3 fail
val = load_tokens(VAL_FILES)
model = Model().cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for start in range(0, val.numel() - 1, SEQ_LEN):
    model(*window(val, start)).backward()
    optimizer.step()
report(evaluate(model, val), val)
"""
TWIN = """\
# case: only_scores
# expect: C3 pass
# twin of: learns_first
val = load_tokens(VAL_FILES)
model = Model().cuda()
report(evaluate(model, val), val)
"""


def corpus(folder: Path, *cases: str) -> Path:
    (folder / PRELUDE).write_text((FOLDER / PRELUDE).read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "theme.py").write_text("\n".join(cases), encoding="utf-8")
    return folder


def test_a_case_continues_the_common_part_and_may_hold_other_files() -> None:
    first = "# case: one\n# expect: C3 fail\n# file: other.py\nx = 2\n"
    text = "shared = 1\n" + first + "# case: two\n# expect: C3 fail\ny = 3\n"
    one, two = read_theme("theme", text, prelude="start = 0")
    assert one.script.split() == ["start", "=", "0", "shared", "=", "1"]
    assert one.helpers == {"other.py": "x = 2\n"}
    assert two.script.split() == ["start", "=", "0", "shared", "=", "1", "y", "=", "3"]
    assert (one.line, two.line) == (2, 6)


def test_a_header_says_how_the_script_was_run_and_what_it_logged() -> None:
    header = (
        "# setting: TTT_ENABLED=1\n# logged: adapting\n# log: ttt val_loss:1.5 val_bpb:0.9\n# xfail: C3 not seen yet\n"
    )
    (case,) = read_theme("theme", f"# case: one\n# expect: C3 fail|review\n{header}pass\n")
    assert case.expected == {"C3": frozenset({Status.FAIL, Status.REVIEW})}
    assert case.known_failures == {"C3": "not seen yet"}
    found = configuration_of(case).lookup("TTT_ENABLED")
    assert found is not None
    assert found.value == "1"
    record = record_of(case)
    assert record.statement.val_bpb == 0.9
    assert record.logs[0].raw_lines[-2:] == ("adapting", "ttt val_loss:1.5 val_bpb:0.9")


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("# expect: C9 fail", "no such rule"),
        ("# expect: C3 perhaps", "perhaps"),
        ("# setting: TTT_ENABLED", "NAME=VALUE"),
        ("# log: done", "holds no score"),
        ("# xfail: C3", "a rule and a reason"),
    ],
)
def test_a_header_that_cannot_be_read_is_an_error(header: str, complaint: str) -> None:
    with pytest.raises(CorpusError, match=f"theme.py line 2: .*{complaint}"):
        read_theme("theme", f"# case: one\n{header}\npass\n")


def test_a_script_that_is_not_python_is_an_error() -> None:
    with pytest.raises(CorpusError, match="case one is not Python"):
        read_theme("theme", "# case: one\n# expect: C3 fail\nif:\n")


@pytest.mark.parametrize(
    ("cases", "complaint"),
    [
        ((EVASION,), "has no honest twin"),
        ((TWIN,), "learns_first, which does not exist"),
        ((EVASION, TWIN, TWIN), "the name of another case"),
        ((EVASION.replace("C3 fail", "C3 fail|pass"), TWIN), "may not end in pass"),
        ((EVASION, TWIN.replace("C3 pass", "C3 pass|fail")), "may not end in fail"),
        ((EVASION, TWIN.replace("# expect: C3 pass\n", "")), "expects nothing"),
    ],
)
def test_a_corpus_that_breaks_its_promises_is_an_error(cases: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=complaint):
        read_corpus(corpus(tmp_path, *cases))


def test_the_verdict_follows_the_script(tmp_path: Path) -> None:
    evasion, twin = read_corpus(corpus(tmp_path, EVASION, TWIN))
    assert judge(evasion)["C3"].status is Status.FAIL
    assert judge(twin)["C3"].status is Status.PASS


def test_the_table_lists_every_case_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["evasions", "--folder", str(corpus(tmp_path, EVASION, TWIN))])
    assert main() == 0
    printed = capsys.readouterr().out
    assert "1 evasions, 1 verdicts: 1 fail; 0 not as they should be" in printed
    assert "1 honest twins, 1 verdicts: 1 pass; 0 not as they should be" in printed
    assert [line.split()[1] for line in printed.splitlines()[:2]] == ["learns_first", "only_scores"]


def test_a_wrong_verdict_stands_in_the_table_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = corpus(tmp_path, EVASION.replace("C3 fail", "C3 review"), TWIN)
    monkeypatch.setattr("sys.argv", ["evasions", "--folder", str(folder), "--wrong"])
    assert main() == 1
    first, reason, *_ = capsys.readouterr().out.splitlines()
    assert "learns_first" in first
    assert "steps the optimizer" in reason


def test_a_broken_corpus_is_one_line_and_exit_code_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["evasions", "--folder", str(corpus(tmp_path, EVASION))])
    assert main() == 2
    assert "learns_first has no honest twin" in capsys.readouterr().err
