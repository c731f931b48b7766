"""The ladder: which failures another size may help, and when there is nothing left to try."""

from __future__ import annotations

import pytest

from auditor.run.model import Outcome, Size
from auditor.run.stage.ladder import Failure, classify, next_step


def outcome(stderr: str = "", *, exit_code: int | None = 1, stopped_by: str = "", signal: int | None = None) -> Outcome:
    return Outcome(exit_code, signal, stopped_by, 1.0, 1.0, 0, b"", stderr.encode())


def traceback(error: str) -> str:
    return f'Traceback (most recent call last):\n  File "train_gpt.py", line 3, in main\n    x()\n{error}\n'


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ("AssertionError: model_dim must be divisible by num_heads", Failure.SIZE),
        ("ValueError: VAL_BATCH_SIZE must provide at least one sequence per rank", Failure.SIZE),
        ("RuntimeError: shape '[2, 3]' is invalid for input of size 7", Failure.SIZE),
        ("ModuleNotFoundError: No module named 'mamba_ssm'", Failure.MODULE),
        ("NameError: name 'foo' is not defined", Failure.SCRIPT),
        ("UnboundLocalError: cannot access local variable 'x'", Failure.SCRIPT),
        ("FileNotFoundError: No files found for pattern: ./x/*.bin", Failure.FILE),
        ("OSError: We couldn't connect to the hub to load this file", Failure.NETWORK),
        ("RuntimeError: No CUDA GPUs are available", Failure.STAND_IN),
        ("torch.linalg.LinAlgError: linalg.cholesky: not positive-definite", Failure.SIZE),
    ],
)
def test_failures_are_classed_by_the_last_error(error: str, failure: Failure) -> None:
    text = traceback("KeyError: 'first'") + "During handling of the above exception:\n" + traceback(error)
    assert classify(outcome(text))[0] is failure


def test_a_run_that_ended_well_needs_no_step() -> None:
    assert next_step(outcome(exit_code=0), Size()) is None


def test_an_error_after_the_final_metric_needs_no_step() -> None:
    failed = outcome(traceback("FileNotFoundError: submission.json"))
    assert next_step(failed, Size(), printed_metric=True) is None
    assert next_step(failed, Size(), printed_metric=False) is not None


def test_a_run_cut_off_after_a_metric_is_still_cut_off() -> None:
    step = next_step(outcome(exit_code=None, stopped_by="300 s wall clock"), Size(), printed_metric=True)
    assert step is not None
    assert step.failure is Failure.TIME
    assert step.next_size is not None
    assert step.next_size.validation_tokens < Size().validation_tokens


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("AssertionError: num_heads must equal num_kv_heads", "kv_heads"),
        ("ValueError: batch too small for accumulation", "batch_sequences"),
        ("AssertionError: window exceeds sequence", "sequence"),
        ("ValueError: NGRAM_BUCKETS must be at least 1024, got 256", "smallest_table"),
        ("ZeroDivisionError: integer modulo by zero", "every"),
        ("TypeError: unsupported operand type(s) for -: 'NoneType' and 'float'", "wallclock_seconds"),
    ],
)
def test_what_the_message_names_is_changed_first(message: str, field: str) -> None:
    step = next_step(outcome(traceback(message)), Size())
    assert step is not None
    assert step.next_size is not None
    assert getattr(step.next_size, field) > getattr(Size(), field)


def test_the_ladder_ends() -> None:
    size, seen = Size(), 0
    while (step := next_step(outcome(traceback("AssertionError")), size)) and step.next_size:
        size, seen = step.next_size, seen + 1
        assert seen < 10
    assert seen >= 3


@pytest.mark.parametrize("error", ["UnboundLocalError: cannot access local variable 'loss'", "KeyError: 'LOCAL_RANK'"])
def test_a_branch_for_distributed_runs_is_tried_once(error: str) -> None:
    step = next_step(outcome(traceback(error)), Size())
    assert step is not None
    assert step.next_size is not None
    assert step.next_size.launched
    broken = traceback("NameError: name 'x' is not defined")
    warmed = next_step(outcome(broken), step.next_size)
    assert warmed is not None and warmed.next_size is not None
    assert warmed.next_size.launched and warmed.next_size.warmup_steps == 1
    again = next_step(outcome(broken), warmed.next_size)
    assert again is not None
    assert again.next_size is None


def test_a_missing_module_is_not_tried_at_another_size() -> None:
    step = next_step(outcome(traceback("ModuleNotFoundError: No module named 'x.y'")), Size())
    assert step is not None
    assert (step.failure, step.detail, step.next_size) == (Failure.MODULE, "x.y", None)


def test_a_huge_hostile_error_is_read_within_bounds() -> None:
    failure, detail = classify(outcome("E" * 5_000_000 + "\nRuntimeError: " + "x" * 100_000))
    assert failure in (Failure.SIZE, Failure.OTHER)
    assert len(detail) < 1000
