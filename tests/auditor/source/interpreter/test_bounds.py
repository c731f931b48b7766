"""No script keeps the interpreter busy without end: at a bound it stops and says so."""

from __future__ import annotations

import ast

import pytest

from auditor.source.interpreter import Interpreter
from auditor.source.interpreter.machine import BudgetSpentError

LEARNS_AND_SCORES = """
import torch
val = torch.load("data/fineweb_val_000000.bin")
model = torch.nn.Linear(8, 8)
opt = torch.optim.SGD(model.parameters())
for a in range(0, 1000, 10):
    for b in range(0, 1000, 10):
        loss = model(val[a:a + 10] + val[b:b + 10]).sum()
        loss.backward()
        opt.step()
"""


def interpreter(source: str, budget: int) -> Interpreter:
    return Interpreter("main.py", ast.parse(source), {}.get, budget=budget)


def test_a_script_within_the_bound_is_finished() -> None:
    run = interpreter(LEARNS_AND_SCORES, 1_000_000)
    run.run()
    assert run.finished


def test_a_script_beyond_the_bound_is_not_finished_and_says_why() -> None:
    run = interpreter(LEARNS_AND_SCORES, 60)
    run.run()
    assert (run.finished, run.why_unfinished) == (False, "the bound on analysed operations was reached")


def test_regions_that_are_compared_count_against_the_bound() -> None:
    seen = interpreter(LEARNS_AND_SCORES, 1_000_000)
    spent: list[int] = []
    plain = seen.spend

    def spend(operations: int) -> None:
        spent.append(operations)
        plain(operations)

    seen.spend = spend  # type: ignore[method-assign]
    seen.run()
    assert sum(spent) > 0
    with pytest.raises(BudgetSpentError):
        plain(seen.budget + 1)
