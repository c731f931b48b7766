"""How often each token is in the printed score, and whether the better of several losses was kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

Run = Callable[..., Any]

SLIDING = """
def sliding(stride):
    total, count = torch.zeros((), dtype=torch.float64), 0
    with torch.no_grad():
        for w in range(0, len(val) - T, stride):
            x, y = val[w : w + T].long()[None], val[w + 1 : w + T + 1].long()[None]
            losses = m(x, y, "none")
            begin = 0 if w == 0 else T - stride
            total += losses[begin:].to(torch.float64).sum()
            count += T - begin
    return (total / count).item()
"""


def test_each_token_once(traced: Run) -> None:
    run = traced("v = evaluate(m, val)")
    assert (run.number.scored, run.number.most) == (2048, 1)
    assert run.trace.coverage(run.line) == (2048, 1)
    assert not run.violations("C4")


def test_sliding_windows_count_what_they_score(traced: Run) -> None:
    run = traced(SLIDING + "v = sliding(32)")
    assert (run.number.scored, run.number.most) == (2048, 1)


def test_a_token_scored_by_every_window_is_counted_as_often(traced: Run) -> None:
    run = traced(SLIDING.replace("0 if w == 0 else T - stride", "0") + "v = sliding(32)")
    assert run.number.most == 2
    assert run.violations("C4")
    assert not any(violation.definite for violation in run.violations("C4"))


def test_a_part_of_the_stream_is_a_question(traced: Run) -> None:
    run = traced("v = evaluate(m, val[:1025])")
    assert run.number.scored == 1024
    (violation,) = run.violations("C4")
    assert not violation.definite
    assert "1,025 to 2,048" in violation.message


BEST = """
best = losses_of(m, val)
for _ in range(2):
    train(m, training, 2)
    other = losses_of(m, val)
    best = KEEP
v = best.double().mean().item()
"""


def test_the_smaller_loss_of_two_passes_is_proved(traced: Run) -> None:
    run = traced(BEST.replace("KEEP", "torch.minimum(best, other)"))
    (violation,) = run.violations("C4")
    assert violation.definite


def test_the_smallest_along_a_stack_is_proved(traced: Run) -> None:
    body = """
passes = [losses_of(m, val)]
train(m, training, 2)
passes.append(losses_of(m, val))
v = torch.stack(passes).min(dim=0).values.double().mean().item()
"""
    assert [violation.definite for violation in traced(body).violations("C4")] == [True]


@pytest.mark.parametrize("keep", ["other", "best * 1.0", "torch.maximum(best, other)"])
def test_another_pass_that_is_not_chosen_by_its_loss_is_none(traced: Run, keep: str) -> None:
    assert not traced(BEST.replace("KEEP", keep)).violations("C4")


def test_a_minimum_that_is_not_reported_is_none(traced: Run) -> None:
    run = traced(BEST.replace("KEEP", "torch.minimum(best, other)") + "v = evaluate(m, val)")
    assert not run.violations("C4")


BEST_PASS = """
v = float("inf")
for scale in (0.5, 1.0, 2.0):
    with torch.no_grad():
        m.scale = scale
    v = min(v, evaluate(m, val))
"""


def test_the_best_of_several_passes_is_a_question(traced: Run) -> None:
    run = traced(BEST_PASS)
    (violation,) = run.violations("C4")
    assert not violation.definite and "2 more passes" in violation.message


@pytest.mark.parametrize("compared", ["evaluate(m, val[:1025])", "7.0", "evaluate(m, val) if first > 1e9 else 7.0"])
def test_a_score_that_is_compared_with_no_other_pass_over_the_text_is_none(traced: Run, compared: str) -> None:
    run = traced(f"first = evaluate(m, val)\nworse = first > {compared}\nv = evaluate(m, val)")
    assert not run.violations("C4")


def test_masked_losses_are_not_counted(traced: Run) -> None:
    body = """
losses = losses_of(m, val)
mask = torch.ones(len(losses))
mask[:100] = 0
v = ((losses * mask).double().sum() / mask.sum()).item()
"""
    assert traced(body).number.scored == 1948


def test_the_timeline_tells_blocks_apart(traced: Run) -> None:
    run = traced("train(m, val[:1025], 4)\nv = evaluate(m, val)")
    blocks = [timeline for timeline in run.trace.timelines if timeline.line.startswith("final")][-1].blocks
    assert blocks[0].first == 0
    assert blocks[-1].last == 2048
    assert 0 < blocks[0].first_learned < blocks[0].first_scored
    assert blocks[-1].first_learned == 0
