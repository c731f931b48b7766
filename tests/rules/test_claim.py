"""CLAIM: each accusation and each question beside the honest folder that must not get it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from auditor.configuration import derive_configuration
from auditor.findings import RuleResult, Status
from auditor.submission.model import Track
from rules.base import Evidence
from rules.claim import judge
from rules.example import HONEST_SCRIPT, SP1024_BPB_PER_NAT, example_folder

EvidenceOf = Callable[..., Evidence]
Files = dict[str, str]
SEEDS = (42, 314, 999)


def judged(evidence: Evidence) -> RuleResult:
    configuration = derive_configuration(evidence.submission, evidence.record)
    return judge(replace(evidence, configuration=configuration))


def with_metadata(files: Files, **fields: object) -> Files:
    return {**files, "submission.json": json.dumps({**json.loads(files["submission.json"]), **fields}, indent=1)}


def claiming(files: Files, bpb: float) -> Files:
    """`files` with another claim, in submission.json and in the README."""
    readme = re.sub(r"val_bpb: \d\S+", f"val_bpb: {bpb:.4f}", files["README.md"])
    return {**with_metadata(files, val_bpb=bpb), "README.md": readme}


def log_of(seed: int) -> str:
    return next(name for name in example_folder() if name.endswith((".log", ".txt")) and str(seed) in name)


def edited(files: Files, seed: int, pattern: str, replacement: str) -> Files:
    name = log_of(seed)
    text, count = re.subn(pattern, replacement, files[name])
    assert count
    return {**files, name: text}


def messages(result: RuleResult, status: Status) -> str:
    return "\n".join(finding.message for finding in result.findings if finding.status is status)


def test_an_honest_folder_passes_and_says_what_the_claim_equals(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of(example_folder()))
    assert result.status is Status.PASS, result.reason
    assert "the mean of 'final' over 3 logs" in result.reason


def test_a_claim_that_no_line_and_no_mean_carries(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of(claiming(example_folder(), 1.19)))
    assert result.status is Status.FAIL
    assert "no logged line" in result.reason


def test_a_slip_in_submission_json_alone_is_a_question(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of(with_metadata(example_folder(), val_bpb=1.19)))
    assert result.status is Status.REVIEW
    assert "the README claims 1.2142, which the logs support" in messages(result, Status.REVIEW)


def test_a_claim_worse_than_what_the_logs_print_is_a_question(evidence_of: EvidenceOf) -> None:
    assert judged(evidence_of(claiming(example_folder(), 1.23))).status is Status.REVIEW


def test_logs_that_end_before_a_final_score_prove_nothing(evidence_of: EvidenceOf) -> None:
    files = claiming(example_folder(), 1.19)
    for seed in SEEDS:
        files = edited(files, seed, r"final val_loss", "step:13041/20000 val_loss")
    result = judged(evidence_of(files))
    assert result.status is Status.REVIEW
    assert "no log of a whole training run with a final score" in messages(result, Status.REVIEW)


@pytest.mark.parametrize(("code", "status"), [('print(f"val_bpb:{x}")\n', Status.REVIEW), ("x = 1\n", Status.FAIL)])
def test_a_scorer_whose_log_is_missing(evidence_of: EvidenceOf, code: str, status: Status) -> None:
    files = claiming(example_folder(), 1.19)
    assert judged(evidence_of({**files, "eval_ngram.py": code})).status is status


def test_without_the_logs_of_its_seeds_the_same_claim_is_a_question(evidence_of: EvidenceOf) -> None:
    files = claiming(example_folder(), 1.19)
    del files[log_of(314)]
    result = judged(evidence_of(files))
    assert result.status is Status.REVIEW
    assert "no log of seed 314" in messages(result, Status.REVIEW)


def test_a_claim_recomputed_from_a_logged_loss_is_a_question(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    for seed in SEEDS:
        files = edited(
            files, seed, r"(final val_loss:(\d\.\d+).*)", r"\1\nmixed val_loss:1.90000000 val_bpb:1.19000000"
        )
    result = judged(evidence_of(claiming(files, 1.9 * 0.592256327)))
    assert "follows from a logged val_loss" in messages(result, Status.REVIEW)
    assert not messages(result, Status.FAIL)


def test_a_claim_found_in_another_file_is_a_question(evidence_of: EvidenceOf) -> None:
    files = claiming(example_folder(), 1.1907)
    result = judged(evidence_of({**files, "results.csv": "seed,bpb\n42,1.1907\n"}))
    assert result.status is Status.REVIEW


def best_of(files: Files) -> float:
    return min(
        float(match[1]) for seed in SEEDS for match in re.finditer(r"final .*val_bpb:(\d\.\d+)", files[log_of(seed)])
    )


def test_the_best_seed_is_named_as_such(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    files = with_metadata(files, val_bpb=best_of(files))
    stated = judged(evidence_of(files))  # the README's table gives every seed
    assert stated.status is Status.PASS
    assert "best seed of 'final' among 3 logs" in messages(stated, Status.PASS)
    files["README.md"] = f"Scores {best_of(files):.4f}.\n"
    hidden = judged(evidence_of(files))
    assert hidden.status is Status.REVIEW
    assert "which neither README nor submission.json states" in hidden.reason


def test_off_the_record_track_the_best_seed_is_no_question(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    files = with_metadata(files, val_bpb=best_of(files))
    files["README.md"] = re.sub(r"val_bpb: \S+ .*", "", files["README.md"])
    assert judged(evidence_of(files, track=Track.NON_RECORD)).status is Status.PASS


def test_a_validation_during_training_is_no_final_score(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    for seed in SEEDS:
        files = edited(
            files, seed, r"(stopping_early)", r"step:13041/20000 val_loss:2.0261 val_bpb:1.2000 train_time:1ms\n\1"
        )
    result = judged(evidence_of(with_metadata(files, val_bpb=1.2)))
    assert "validation during training only" in messages(result, Status.REVIEW)


def test_a_score_printed_before_the_artifact_was_made(evidence_of: EvidenceOf) -> None:
    files = example_folder(log_lines=("DIAGNOSTIC post_ema val_loss:1.95839890 val_bpb:1.15987420",))
    result = judged(evidence_of(with_metadata(files, val_bpb=1.1598742)))
    assert "before the artifact was made" in messages(result, Status.REVIEW)


def test_a_cell_that_its_log_does_not_print(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    files["README.md"] = re.sub(r"(\| 314 \| \S+ \| )\S+", r"\g<1>1.2050", files["README.md"])
    result = judged(evidence_of(files))
    assert "seed 314" in messages(result, Status.REVIEW) and "1.205" in messages(result, Status.REVIEW)


def with_columns(files: Files, changed: Mapping[int, str]) -> Files:
    """The README's table with a column of another score, which every log prints; `changed` cells are not logged."""
    extra = {seed: f"1.3{seed:03d}" for seed in SEEDS}
    for seed in SEEDS:
        loss = float(extra[seed]) / SP1024_BPB_PER_NAT
        files = edited(files, seed, r"(final val_loss)", rf"roundtrip val_loss:{loss:.8f} val_bpb:{extra[seed]}\n\1")
    lines = []
    for line in files["README.md"].split("\n"):
        seed = next((seed for seed in SEEDS if line.startswith(f"| {seed} ")), None)
        if line.startswith("| seed"):
            line += " roundtrip bpb |"
        elif line.startswith("|---"):
            line += "---|"
        elif seed is not None:
            line += f" {changed.get(seed, extra[seed])} |"
        lines.append(line)
    return {**files, "README.md": "\n".join(lines)}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, Status.PASS),
        ({314: "1.4000"}, Status.PASS),  # a slip in a column that the claim does not rest on
        ({42: "1.4000", 314: "1.4100"}, Status.REVIEW),  # a column of other runs
    ],
)
def test_figures_that_the_claim_does_not_rest_on(
    evidence_of: EvidenceOf, changed: Mapping[int, str], status: Status
) -> None:
    result = judged(evidence_of(with_columns(example_folder(), changed)))
    assert result.status is status, result.reason
    assert ("roundtrip bpb 1.4" in messages(result, status)) is bool(changed)


@pytest.mark.parametrize(("stated", "status"), [("15,202,187", Status.PASS), ("16,202,187", Status.REVIEW)])
def test_a_size_that_no_log_prints_matters_at_the_cap(evidence_of: EvidenceOf, stated: str, status: Status) -> None:
    files = example_folder()
    files["README.md"] = re.sub(r"(\| 314 \| \S+ \| \S+ \| )\S+", rf"\g<1>{stated}", files["README.md"])
    result = judged(evidence_of(files))
    assert f"artifact bytes {stated}" in messages(result, status)
    assert result.status is status


@pytest.mark.parametrize(("difference", "status"), [(3e-5, Status.PASS), (8e-4, Status.REVIEW)])
def test_a_claim_beside_the_logged_mean(evidence_of: EvidenceOf, difference: float, status: Status) -> None:
    """3e-5 is lost in the four decimals of the leaderboard; 8e-4 is not."""
    files = example_folder()
    claim = round(json.loads(files["submission.json"])["val_bpb"] - difference, 8)
    result = judged(evidence_of(with_metadata(files, val_bpb=claim)))
    assert "which differs by 0.000" in messages(result, status)
    assert result.status is status


def test_a_further_seed_that_the_claim_leaves_out(evidence_of: EvidenceOf) -> None:
    losses = {42: 2.0500, 314: 2.0506, 999: 2.0497}
    files = example_folder(val_losses=losses)
    more = example_folder(val_losses={**losses, 7: 2.0700})
    result = judged(evidence_of({**files, "train_seed7.log": more["train_seed7.log"]}))
    assert result.status is Status.REVIEW
    assert "leaves out 1 further seed" in result.reason
    assert "train_seed7.log 1.2259" in result.reason


def test_a_switch_that_works_behind_the_score_alone(evidence_of: EvidenceOf) -> None:
    """One log trains on at test time and prints a further score; the claim is the one before."""
    script = HONEST_SCRIPT.replace(
        "    seed = int", '    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "0")))\n    seed = int'
    )
    files = example_folder(script, environment={"TTT_ENABLED": "0"})
    files["README.md"] = files["README.md"].replace("TTT_ENABLED=0 ", "")
    files = edited(files, 999, "ttt_enabled:0", "ttt_enabled:1")
    used = {**files, log_of(999): files[log_of(999)].replace("final val_loss", "ttt:start chunks=7\nfinal val_loss")}
    assert "ttt_enabled" in messages(judged(evidence_of(used)), Status.REVIEW).lower()
    later = {**files, log_of(999): files[log_of(999)] + "ttt:start chunks=7\nafter val_loss:2.3 val_bpb:1.3622\n"}
    result = judged(evidence_of(later))
    assert "ttt_enabled" not in messages(result, Status.REVIEW).lower()
    assert "at work behind the claimed score alone" in messages(result, Status.PASS)


def test_a_few_bytes_of_other_code_are_a_note(evidence_of: EvidenceOf) -> None:
    count = len(HONEST_SCRIPT.encode())
    result = judged(evidence_of(edited(example_folder(), 42, rf"Code size: {count}", f"Code size: {count + 12}")))
    assert result.status is Status.PASS
    assert "says nothing about what changed" in messages(result, Status.PASS)


def test_one_other_line_of_source_is_a_note_unless_it_speaks_of_the_score(evidence_of: EvidenceOf) -> None:
    plain = judged(evidence_of(embedding(example_folder(), HONEST_SCRIPT + "print('done')\n")))
    assert plain.status is Status.PASS
    assert "1 lines stand only in the source printed" in messages(plain, Status.PASS)
    scoring = judged(evidence_of(embedding(example_folder(), HONEST_SCRIPT + "val_loss = 2.0\n")))
    assert scoring.status is Status.REVIEW
    assert "speak of validation" in scoring.reason


def embedding(files: Files, script: str) -> Files:
    head = script + "\n" + "=" * 100 + "\nRunning Python 3.12.3\n" + "=" * 100 + "\n"
    return {name: head + text if name in map(log_of, SEEDS) else text for name, text in files.items()}


def test_the_source_in_the_logs_is_the_submitted_script(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of(embedding(example_folder(), HONEST_SCRIPT)))
    assert result.status is Status.PASS
    assert "is the submitted script" in messages(result, Status.PASS)


def test_comments_and_blank_lines_are_no_other_code(evidence_of: EvidenceOf) -> None:
    commented = HONEST_SCRIPT.replace("import math\n", "import math\n\n# a comment\n")
    assert judged(evidence_of(embedding(example_folder(), commented))).status is Status.PASS


def test_a_log_of_another_byte_table(evidence_of: EvidenceOf) -> None:
    other = HONEST_SCRIPT.replace(
        'leading_space[i] = piece.startswith("\\u2581")', 'leading_space[i] = piece.startswith("?")'
    )
    assert other != HONEST_SCRIPT
    result = judged(evidence_of(embedding(example_folder(), other)))
    assert "another script" in messages(result, Status.REVIEW) and "the byte table" in messages(result, Status.REVIEW)


def test_code_that_one_seed_counts_differently(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of(edited(example_folder(), 42, r"Code size: (\d+)", "Code size: 6789")))
    text = messages(result, Status.REVIEW)
    assert "1 of 3 logs count other code" in text and "seeds of the claim ran different code" in text


def test_settings_that_the_script_does_not_have(evidence_of: EvidenceOf) -> None:
    known = "".join(
        f"  {name}: 1\n" for name in ("data_path", "train_files", "val_files", "tokenizer_path", "vocab_size")
    )
    known += "".join(
        f"  {name}: 1\n" for name in ("seq_len", "model_dim", "learning_rate", "max_wallclock_seconds", "seed")
    )
    block = f"Hyperparameters:\n{known}"
    files = {name: block + text if name in map(log_of, SEEDS) else text for name, text in example_folder().items()}
    assert "does not have" not in messages(judged(evidence_of(files)), Status.REVIEW)
    files = {name: text.replace("  seq_len: 1\n", "  seq_len: 1\n  hash_embed: 1\n") for name, text in files.items()}
    assert "hash_embed" in messages(judged(evidence_of(files)), Status.REVIEW)


def test_a_label_that_the_script_cannot_print(evidence_of: EvidenceOf) -> None:
    files = {
        name: text.replace("final val_loss", "slot_window val_loss")
        for name, text in example_folder().items()
        if name != "train_gpt.py"
    }
    result = judged(evidence_of({**files, "train_gpt.py": HONEST_SCRIPT}))
    assert "printed nowhere in the submitted code" in messages(result, Status.REVIEW)


def test_a_number_with_other_digits_than_the_format_prints(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of(edited(example_folder(), 42, r"(val_bpb:\d\.\d{4})\d+", r"\1")))
    assert "no one format string prints both" in messages(result, Status.REVIEW)


def test_one_run_given_as_two_seeds(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    copied = files[log_of(42)].replace("seed:42", "seed:314")
    copied = re.sub(r"final val_loss.*", re.search(r"final val_loss.*", files[log_of(314)])[0], copied)  # type: ignore[index]
    extra = "".join(
        f"step:{step}/20000 train_loss:2.{step} train_time:{step * 46}ms step_avg:46.00ms\n"
        for step in range(10_100, 12_100, 100)
    )
    files[log_of(42)] += extra
    result = judged(evidence_of({**files, log_of(314): copied + extra}))
    assert result.status is Status.FAIL
    assert "not separate runs" in result.reason


def test_first_steps_in_common_are_no_copy(evidence_of: EvidenceOf) -> None:
    shared = "".join(
        f"step:{step}/20000 train_loss:6.9 train_time:{step * 46}ms step_avg:46.00ms\n" for step in range(1, 11)
    )
    files = {
        name: text.replace("step:1000/", shared + "step:1000/", 1) if name in map(log_of, SEEDS) else text
        for name, text in example_folder().items()
    }
    assert judged(evidence_of(files)).status is Status.PASS


def test_a_log_named_for_another_seed(evidence_of: EvidenceOf) -> None:
    result = judged(evidence_of(edited(example_folder(), 42, r"seed:42", "seed:43")))
    assert "named for seed 42, but the run inside printed seed 43" in messages(result, Status.REVIEW)


def test_a_line_that_somebody_added(evidence_of: EvidenceOf) -> None:
    note = "# NOTE: sliding window lines appended from the dashboard"
    result = judged(evidence_of(edited(example_folder(), 42, r"\n(final)", rf"\n{note}\n\1")))
    assert "no program printed" in messages(result, Status.REVIEW)


def test_an_injected_score_is_seen_as_a_second_one(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    for seed in SEEDS:
        files = edited(files, seed, r"(final val_loss.*)", r"\1\nfinal val_loss:1.68845273 val_bpb:1.00000000")
    result = judged(evidence_of(with_metadata(files, val_bpb=1.0)))
    assert "with different scores" in messages(result, Status.REVIEW)


def test_a_score_above_the_training_it_belongs_to(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    for seed in SEEDS:
        final = re.search(r"final val_loss.*", files[log_of(seed)])
        assert final is not None
        files = edited(files, seed, r"final val_loss.*\n", "")
        files[log_of(seed)] = final[0] + "\n" + files[log_of(seed)]
    assert "above the last training step" in messages(judged(evidence_of(files)), Status.REVIEW)


def test_a_command_that_is_not_the_run(evidence_of: EvidenceOf) -> None:
    files = example_folder(environment={"MODEL_DIM": "512"})
    assert judged(evidence_of(files)).status is Status.PASS
    files["README.md"] = files["README.md"].replace("MODEL_DIM=512", "MODEL_DIM=256")
    assert "README's command is not the logged run: MODEL_DIM 512 against 256" in messages(
        judged(evidence_of(files)), Status.REVIEW
    )


@pytest.mark.parametrize(
    ("name", "line", "contradicted"),
    [
        ("artifact_under_16mb", "Total submission size int8+zlib: 16400000 bytes", True),
        ("artifact_under_16mb", "Total submission size int8+zlib: 15400000 bytes", False),
        ("eval_under_600s", "sliding val_loss:2.0 val_bpb:1.1845 eval_time:700000ms", True),
        ("eval_under_600s", "sliding val_loss:2.0 val_bpb:1.1845 eval_time:500000ms", False),
    ],
)
def test_declared_booleans(evidence_of: EvidenceOf, name: str, line: str, contradicted: bool) -> None:
    files = with_metadata(example_folder(log_lines=(line,)), compliance={name: True})
    assert (f"declares {name}" in messages(judged(evidence_of(files)), Status.REVIEW)) is contradicted


def test_a_boolean_declared_false_contradicts_nothing(evidence_of: EvidenceOf) -> None:
    files = example_folder(log_lines=("Total submission size int8+zlib: 16400000 bytes",))
    result = judged(evidence_of(with_metadata(files, compliance={"artifact_under_16mb": False})))
    assert "declares" not in messages(result, Status.REVIEW)


@pytest.mark.parametrize(("total", "named"), [(16_046_548, True), (15_990_000, False)])
def test_two_declared_totals(evidence_of: EvidenceOf, total: int, named: bool) -> None:
    """The model is called the artifact; the total with the code stands beside it."""
    files = with_metadata(example_folder(), artifact_bytes_max=15_973_790, total_submission_bytes_max=total)
    assert ("the artifact is one of them" in messages(judged(evidence_of(files)), Status.REVIEW)) is named


@pytest.mark.parametrize(
    ("sentence", "named"),
    [
        ("Better than #1 (1.2242) by 0.0100 nats.", True),
        ("Delta = 1.22420 - 1.21420 = **0.01000 nats** (0.005 needed).", True),
        ("Better than #1 (1.2242) by 0.0100 BPB = 0.0169 nats.", False),
        ("It clears 0.005 nats.", False),
    ],
)
def test_bpb_called_nats(evidence_of: EvidenceOf, sentence: str, named: bool) -> None:
    files = example_folder()
    files = with_metadata(files, val_bpb=round(json.loads(files["submission.json"])["val_bpb"], 4))
    files["README.md"] += f"\n{sentence}\n"
    assert ("difference of bpb" in messages(judged(evidence_of(files)), Status.PASS)) is named


def test_readme_and_submission_json_that_claim_different_scores(evidence_of: EvidenceOf) -> None:
    files = example_folder()
    files["README.md"] = re.sub(r"val_bpb: \S+", "val_bpb: 1.1574", files["README.md"])
    assert "the README 1.1574" in messages(judged(evidence_of(files)), Status.REVIEW)


def test_without_logs_nothing_is_compared(evidence_of: EvidenceOf) -> None:
    files = {name: text for name, text in example_folder().items() if name not in map(log_of, SEEDS)}
    assert judged(evidence_of(files)).status is Status.NOT_CHECKED
