"""A status that depends on a name must show up as a difference, one that depends on data flow must not."""

from textwrap import dedent

import pytest

from auditor.configuration import RunConfiguration, Setting
from auditor.ledger import Ledger, Site, Violation
from auditor.record.model import Place, Record, Statement
from auditor.submission.model import Role, SourceText, StoredFile, Submission, Track
from benchmarks.renaming import comparison
from benchmarks.renaming.__main__ import report
from benchmarks.renaming.comparison import Comparison, Difference, parsable, read, rewritten, shape_of
from benchmarks.renaming.renamer import rename

PATH = "records/x/train_gpt.py"
SCRIPT = dedent("""
    import glob, os
    import numpy as np
    import torch
    import torch.nn.functional as F

    class Hyperparameters:
        prequant_ttt = bool(int(os.environ.get("PREQUANT_TTT", "0")))
        data_path = os.environ.get("DATA_PATH", "data")

    def load_val(pattern):
        return torch.from_numpy(np.fromfile(sorted(glob.glob(pattern))[0], dtype=np.uint16).astype(np.int64))

    def ttt_adapt(model, val_tokens):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for start in range(0, val_tokens.numel() - 1, 1024):
            chunk = val_tokens[start : start + 1025]
            loss = F.cross_entropy(model(chunk[:-1]), chunk[1:])
            loss.backward()
            optimizer.step()

    def eval_val(model, val_tokens):
        loss_sum = 0.0
        with torch.no_grad():
            for start in range(0, val_tokens.numel() - 1, 1024):
                chunk = val_tokens[start : start + 1025]
                loss_sum += F.cross_entropy(model(chunk[:-1]), chunk[1:], reduction="sum").item()
        return loss_sum / val_tokens.numel()

    def main():
        args = Hyperparameters()
        model = torch.nn.Sequential(torch.nn.Embedding(1024, 64), torch.nn.Linear(64, 1024))
        val_tokens = load_val(os.path.join(args.data_path, "fineweb_val_*.bin"))
        if args.prequant_ttt:
            ttt_adapt(model, val_tokens)
        val_loss = eval_val(model, val_tokens)
        print(f"final val_loss:{val_loss:.4f} val_bpb:{val_loss / 2.4:.4f}")

    main()
""")


def submission(text: str = SCRIPT, path: str = PATH) -> Submission:
    stored = StoredFile(PATH, len(text), Role.SCRIPT, text.encode())
    return Submission("test", "records/x", Track.RECORD, (stored,), SourceText(path, text, "0" * 64))


def run_with(value: str) -> RunConfiguration:
    """The reported run's switch, as a log's block of attributes gives it: by a name that renaming takes away."""
    setting = Setting("prequant_ttt", value, "log", Place("train.log", 3))
    return RunConfiguration(logged={"prequant_ttt": setting})


RECORD = Record(statement=Statement(), logs=())


@pytest.mark.parametrize(("value", "status"), [("1", "fail"), ("0", "pass")])
def test_statuses_and_ledger_stay_under_the_same_configuration(value: str, status: str) -> None:
    own = submission()
    disguised = rewritten(own, rename(parsable(own)).sources)
    assert disguised.script is not None
    assert "ttt_adapt" not in disguised.script.text
    before, after = read(own, run_with(value), RECORD), read(disguised, run_with(value), RECORD)
    assert before.statuses["C3"] == status
    assert (after.statuses, after.shape) == (before.statuses, before.shape)


def test_rewriting_reaches_the_stored_file_but_not_a_packed_one() -> None:
    plain = rewritten(submission(), {PATH: "pass\n"})
    assert [item.data for item in plain.files] == [b"pass\n"]
    packed = rewritten(submission(path=f"{PATH}!unpacked"), {f"{PATH}!unpacked": "pass\n"})
    assert packed.script is not None
    assert packed.script.text == "pass\n"
    assert [item.data for item in packed.files] == [SCRIPT.encode()]


def test_sources_that_do_not_parse_are_left_out() -> None:
    assert parsable(submission("def broken(:\n")) == {}


def test_a_witness_that_goes_by_names_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_name(item: Submission, _configuration: RunConfiguration, _record: Record) -> Ledger:
        assert item.script is not None
        sites = ((Site(PATH, 1), "here"),)
        found = (
            (Violation("C3", "there is a function ttt_adapt", sites, True),) if "ttt_adapt" in item.script.text else ()
        )
        return Ledger(violations=found)

    monkeypatch.setattr(comparison, "witness", by_name)
    monkeypatch.setattr(comparison, "load_pull_request", lambda *_: submission())
    monkeypatch.setattr(comparison, "read_record", lambda _: RECORD)
    result = comparison.compare(comparison.Path("git"), 7, comparison.Disguise.PLAIN)
    assert result.error == ""
    assert [(item.rule, item.before, item.layout) for item in result.differences] == [("C3", "fail", False)]
    assert result.shape_before != result.shape_after
    text = "\n".join(report([result]))
    assert "PR 7 C3: fail -> " in text
    assert "1 pull requests compared: 1 with another status, 1 with another ledger" in text


def test_the_shape_counts_violations_by_rule() -> None:
    violations = (Violation("C1", "", (), True), Violation("C1", "", (), False), Violation("C4", "", (), True))
    shape = shape_of(Ledger(violations=violations))
    assert (shape["violations C1"], shape["violations C4"], shape["finished"]) == (2, 1, 1)


def test_the_report_shows_no_control_characters_of_a_submission() -> None:
    difference = Difference("C1", "fail", "pass", "evil\x1b[2J", "", True)
    lines = report(
        [Comparison(7, differences=(difference,)), Comparison(8, error="no script"), Comparison(9, error="x")]
    )
    assert not any("\x1b" in line for line in lines)
    assert "PR 7 C1: fail -> pass (by layout)" in lines
    assert "PR 9 not compared: x" in lines
    assert lines[-1] == "without a script: 1"
