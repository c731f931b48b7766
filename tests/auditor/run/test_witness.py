"""The whole run witness on small submissions: honest scripts are accused of nothing, illegal ones are proved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import rules
from auditor.audit import AuditReport, audit
from auditor.configuration import derive_configuration
from auditor.findings import Status, Witness
from auditor.ledger import Ledger, Site, Violation
from auditor.record import read_record
from auditor.report.json import render_json
from auditor.run.model import NoConfinementError, Size
from auditor.run.sandbox import find_confinement
from auditor.run.witness import FEW_IDS, RunOptions, _Time, run_witness
from auditor.submission import load_folder
from rules.example import EVALUATE, MAIN, PRELUDE, example_folder

pytest.importorskip("torch")
try:
    find_confinement()
except NoConfinementError as error:
    pytest.skip(str(error), allow_module_level=True)

ONE_PASS = RunOptions(seed=1, swap=False, ranks=1, size=Size(validation_tokens=1024))

ANOTHER_RANK_LEARNS = """\

def learn_elsewhere(args, model, val_tokens):
    dist.init_process_group("nccl")
    if dist.get_rank() == 1:
        optimizer = torch.optim.SGD(model.parameters(), lr=20.0)
        x, y = val_tokens[None, :-1].cuda(), val_tokens[None, 1:].cuda()
        for _ in range(4):
            model(x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
    for weight in model.parameters():
        dist.broadcast(weight.data, src=SOURCE)

"""

# A cache that speaks of contexts it has seen sixteen times: on a short text over a thousand ids it never does.
THRESHOLD = (
    ("context_counts = np.zeros(buckets", "context_counts = np.zeros(args.vocab_size"),
    ("buckets = 1 << 22", 'buckets = int(os.environ.get("NGRAM_BUCKETS", 1 << 22))'),
    ("context_key = (x.numpy() * 36313) % buckets", "context_key = x.numpy()"),
    ("np.where(seen > 0,", "np.where(seen >= 16,"),
)


def audited(files: dict[str, str], tmp_path: Path, options: RunOptions = ONE_PASS) -> AuditReport:
    folder = tmp_path / "2026-05-01_Example"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    report = audit(load_folder(folder), run=options)
    assert report.run is not None, report.heard[Witness.RUN]
    return report


def by_run(report: AuditReport) -> dict[str, Status]:
    return {code: status for code, status in report.alone[Witness.RUN].items() if code in ("C1", "C2", "C3", "C4")}


@pytest.mark.parametrize("code", ["C2", "C3"])
def test_an_honest_script_is_accused_of_nothing(code: str, tmp_path: Path) -> None:
    report = audited(dict(rules.RULES[code].legal.files), tmp_path)
    assert set(by_run(report).values()) == {Status.PASS}


@pytest.mark.parametrize("code", ["C2", "C3", "PAIDPREFIX"])
def test_an_illegal_script_is_proved_by_what_it_does(code: str, tmp_path: Path) -> None:
    """Its score proves that a rule of scoring is broken; which one it is entered under, the source witness names."""
    report = audited(dict(rules.RULES[code].illegal.files), tmp_path)
    assert Status.FAIL in by_run(report).values()
    if code in by_run(report):
        assert by_run(report)[code] is Status.FAIL


def test_a_cache_with_a_threshold_is_proved_on_a_small_vocabulary(tmp_path: Path) -> None:
    files = dict(rules.RULES["C2"].illegal.files)
    for old, new in THRESHOLD:
        assert old in files["train_gpt.py"]
        files["train_gpt.py"] = files["train_gpt.py"].replace(old, new)
    report = audited(files, tmp_path, replace(ONE_PASS, size=Size()))
    assert report.run is not None
    usual, few = report.run.runs
    assert usual.test is not None and not usual.test.proves
    assert few.test is not None and few.test.proves
    assert len(set(few.stream.tokens.tolist())) <= FEW_IDS
    assert by_run(report)["C2"] is Status.FAIL


def test_a_normalized_cache_is_not_accused_on_a_small_vocabulary(tmp_path: Path) -> None:
    """Though the source witness were wrong and suspected it."""
    folder = tmp_path / "2026-05-01_Example"
    folder.mkdir()
    for name, text in rules.RULES["C2"].legal.files.items():
        (folder / name).write_text(text)
    submission = load_folder(folder)
    record = read_record(submission)
    suspected = Violation("C2", "suspected", ((Site("train_gpt.py", 1), "here"),), definite=False, doubt="a test")
    options = replace(ONE_PASS, size=Size())
    configuration = derive_configuration(submission, record)
    report = run_witness(submission, configuration, record, Ledger(violations=(suspected,)), options)
    few = report.runs[1]
    assert few.reported is not None and len(set(few.stream.tokens.tolist())) <= FEW_IDS
    assert few.test is not None and not few.test.proves


def with_evaluation(change: tuple[str, str]) -> dict[str, str]:
    """The honest script, whose evaluation takes its loss from log-probabilities changed as given."""
    evaluation = EVALUATE.replace(
        "loss_sum += model(x, y).item() * (end - i)",
        "loss_sum += F.nll_loss(rows[0], y[0]).item() * (end - i)",
    ).replace("            loss_sum", "            rows = model.logits(x).log_softmax(-1)\n            loss_sum", 1)
    return example_folder(PRELUDE + evaluation.replace(*change) + MAIN)


UNCHANGED = ("rows[0]", "rows[0]")
OWN_TARGET = ("log_softmax(-1)", "add(F.one_hot(y, args.vocab_size)).log_softmax(-1)")
NOT_NORMALIZED = ("log_softmax(-1)", "log_softmax(-1) + 0.1")


def swapped_run(files: dict[str, str], tmp_path: Path) -> AuditReport:
    return audited(files, tmp_path, replace(ONE_PASS, swap=True))


def test_an_honest_distribution_sums_to_one_and_does_not_know_its_token(tmp_path: Path) -> None:
    report = swapped_run(with_evaluation(UNCHANGED), tmp_path)
    assert report.run is not None and report.run.swap is not None
    assert report.run.swap.clean and report.run.swap.target >= 0 and not report.run.swap.target_moved
    assert any("sum to 1 over the vocabulary" in text for _, text in report.run.ledger.notes)
    assert set(by_run(report).values()) == {Status.PASS}


def test_a_distribution_that_knows_its_own_token_moves_when_that_is_changed(tmp_path: Path) -> None:
    report = swapped_run(with_evaluation(OWN_TARGET), tmp_path)
    assert report.run is not None and report.run.swap is not None
    assert report.run.swap.target_moved and report.run.swap.repeats
    assert report.run.swap.moved == 0  # no earlier loss tells
    assert by_run(report)["C1"] is Status.FAIL  # by the score


def test_log_probabilities_above_one_in_sum_are_told(tmp_path: Path) -> None:
    report = swapped_run(with_evaluation(NOT_NORMALIZED), tmp_path)
    assert report.run is not None
    assert any(found.rule == "C2" and "sum to more than 1" in found.message for found in report.run.ledger.violations)


def test_hashes_of_strings_are_the_same_in_every_run(tmp_path: Path) -> None:
    """Or sets would be walked in another order, and equal runs would differ."""
    script = (PRELUDE + EVALUATE + MAIN).replace("def main():\n", "def main():\n    print('hash', hash('order'))\n", 1)
    report = audited(example_folder(script), tmp_path, replace(ONE_PASS, ranks=2))
    assert report.run is not None
    printed = {line for run in report.run.runs for line in run.outcome.stdout.splitlines() if line.startswith(b"hash")}
    assert len(report.run.runs) == 2 and len(printed) == 1


def test_a_script_that_needs_the_network_is_not_judged(tmp_path: Path) -> None:
    report = audited(dict(rules.RULES["EXTERNAL"].illegal.files), tmp_path)
    assert set(by_run(report).values()) == {Status.NOT_CHECKED}
    assert report.run is not None and "needs the network" in report.run.runs[0].failure


def test_the_json_report_says_what_the_sandbox_covers_and_what_not(tmp_path: Path) -> None:
    report = audited(dict(rules.RULES["EXTERNAL"].illegal.files), tmp_path)
    document = json.loads(render_json(report))["run"]
    assert any("network" in item for item in document["covered"])
    assert any("kernel" in item for item in document["not_covered"])


@pytest.mark.parametrize(("source", "leaks"), [("1", True), ("0", False)])
def test_what_another_rank_learned_shows_with_two_ranks(source: str, leaks: bool, tmp_path: Path) -> None:
    """Rank 1 learns the text; then all take its weights, or those of rank 0, which has learned nothing."""
    script = PRELUDE + ANOTHER_RANK_LEARNS.replace("SOURCE", source) + EVALUATE + MAIN
    script = script.replace("import torch\n", "import torch\nimport torch.distributed as dist\n", 1)
    learn = "    if 'RANK' in os.environ:\n        learn_elsewhere(args, model, val_tokens)\n"
    script = script.replace("    load_artifact(model)\n", "    load_artifact(model)\n" + learn, 1)
    report = audited(example_folder(script), tmp_path, RunOptions(seed=1, swap=False, trace=False))
    assert report.run is not None
    assert not [run.failure for run in report.run.runs if run.failure]
    alone, together = (report.run.runs[at].test for at in (0, -1))
    assert alone and together and not alone.proves
    assert together.proves is leaks


SLOW_ON_LONG_STREAMS = """\
    while len(val_tokens) > 1500:
        pass
"""


def test_a_script_that_is_too_slow_is_tried_on_a_shorter_stream(tmp_path: Path) -> None:
    files = dict(rules.RULES["C3"].legal.files)
    before = "    load_artifact(model)\n"
    assert before in files["train_gpt.py"]
    files["train_gpt.py"] = files["train_gpt.py"].replace(before, before + SLOW_ON_LONG_STREAMS, 1)
    report = audited(files, tmp_path, replace(ONE_PASS, size=Size(), seconds=40.0))
    assert report.run is not None
    (run,) = report.run.runs
    assert run.reported is not None and run.size is not None and run.size.validation_tokens == 1024
    assert set(by_run(report).values()) == {Status.PASS}


def test_runs_for_which_no_time_is_left_are_named(tmp_path: Path) -> None:
    """The first run is made with whatever there is; nothing that may not be done in time is begun after it."""
    time = _Time(100.0)
    assert time.allows("the suffix swap", 50.0) and not time.left_out
    assert not time.allows("the run as 2 processes", 101.0)
    assert time.left_out == ["the run as 2 processes"]
    assert 99 < time.left <= 100 and _Time(-5.0).left == 1.0


def test_the_report_says_what_was_not_made_for_lack_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Time, "allows", lambda self, what, seconds: self.left_out.append(what) or False)
    report = audited(dict(rules.RULES["C3"].legal.files), tmp_path, replace(ONE_PASS, swap=True, ranks=2))
    assert report.run is not None and len(report.run.runs) == 1 and report.run.swap is None
    assert any("not made for lack of time: the run as 2 processes, the suffix swap" in text
               for _, text in report.run.ledger.notes)  # fmt: skip
