"""What a class's forward pass keeps for the next one, read from its text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditor.source.predictor.carrying import carries
from auditor.source.predictor.one_pass import Mode
from auditor.source.values import Class, Frame, Value, external

SCORING = Mode(training=False, gradients=False)
FRAME = """
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = None

{methods}
"""


@pytest.fixture
def carried(interpret: Callable[..., dict[str, Value]]) -> Callable[..., bool]:
    """Takes the body of `forward(self, x, scale=1.0)` and other methods; whether a pass carries something over."""

    def ask(body: str, others: str = "", mode: Mode = SCORING) -> bool:
        forward = "    def forward(self, x, scale=1.0):\n" + "".join(f"        {line}\n" for line in body.splitlines())
        names = interpret(FRAME.format(methods=forward + others))
        model: Class = names["Model"].payload

        def lookup(name: str, frame: Frame) -> Value:
            return names.get(name) or external(name)

        return carries(model, "forward", lookup, mode)

    return ask


@pytest.mark.parametrize(
    "body",
    [
        "y = x + self.last\nself.last = x.mean()\nreturn y",
        "y, self.last = x + self.last, x\nreturn y",
        "if x.sum() > 0:\n    self.last = x\nreturn x + self.last",
        "last = self.last\nself.last = x\nreturn x + last",
        "self.other = self.last\nself.last = x\nreturn x * self.other",
        "for _ in range(3):\n    x = x + self.last\n    self.last = x\nreturn x",
        "self.last += x\nreturn self.last",
        "return x + self.swap(x)",
        "setattr(self, 'last', getattr(self, 'last') + x)\nreturn self.last",
        "y = [z + self.last for z in x]\nself.last = y[0]\nreturn y",
        "while self.last > 0:\n    x = x * 2\n    break\nself.last = x.max()\nreturn x",
    ],
)
def test_what_a_pass_left_is_in_the_next_ones_result(carried: Callable[..., bool], body: str) -> None:
    swap = "    def swap(self, x):\n        old = self.last\n        self.last = x\n        return old\n"
    assert carried(body, swap)


@pytest.mark.parametrize(
    "body",
    [
        "self.last = x\nreturn x + self.last",
        "self.last = x.shape[1]\nreturn x * (self.last or 1)",
        "self.last = scale\nreturn x * scale",
        "y = x * 2\nself.last = y.mean()\nreturn y",
        "if self.last is None:\n    self.last = 5\nreturn x * self.last",
        "if self.training:\n    self.last = x.mean()\nreturn x / self.last",
        "if x.sum() > 0:\n    self.last = x\nelse:\n    self.last = -x\nreturn x + self.last",
        "memory = []\nmemory.append(x)\nreturn memory[-1]",
        "y = x.clone()\ny.add_(1)\nreturn y",
        "old = self.last\nself.last = x.mean()\nself.change = x.mean() - old\nreturn x",
    ],
)
def test_what_stays_within_a_pass_is_not_carried_over(carried: Callable[..., bool], body: str) -> None:
    assert not carried(body)


def test_what_a_pass_in_training_keeps_is_carried_into_a_score(carried: Callable[..., bool]) -> None:
    body = "if self.training:\n    self.last = x.mean()\nreturn x / self.last"
    assert carried(body, mode=Mode(training=True, gradients=False))


def test_what_a_pass_with_gradients_keeps_is_carried_into_a_score(carried: Callable[..., bool]) -> None:
    body = "if torch.is_grad_enabled():\n    self.last = x.mean()\nreturn x / self.last"
    assert carried(body, mode=Mode(training=False, gradients=True))
    assert not carried(body)


def test_a_forward_pass_too_long_to_be_read_may_carry_something_over(carried: Callable[..., bool]) -> None:
    loops = "".join("    " * depth + f"for i{depth} in x:\n" for depth in range(14))
    deep = "    " * 14
    assert carried(f"self.last = x\n{loops}{deep}y = (x + 1) * (x + 2)\nreturn x")
