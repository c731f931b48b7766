"""Calls of the script's own functions: arguments are bound as Python binds them."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("signature", "arguments", "result"),
    [
        ("a, b=2", "1", (1, 2)),
        ("a, b=2", "1, b=3", (1, 3)),
        ("a, *, b", "1, b=3", (1, 3)),
        ("b, a", "*[3, 1]", (1, 3)),
        ("a, b", "**{'a': 1, 'b': 3}", (1, 3)),
    ],
)
def test_arguments(known, signature: str, arguments: str, result: tuple[int, int]) -> None:
    found = known(f"def f({signature}):\n    return a, b\nx, y = f({arguments})\n")
    assert (found["x"], found["y"]) == result


def test_methods_and_inherited_methods(known) -> None:
    script = (
        "class A:\n    def __init__(self, n):\n        self.n = n\n    def twice(self):\n        return 2 * self.n\n"
        "class B(A):\n    def twice(self):\n        return super().twice() + 1\n"
        "r = B(4).twice()\n"
    )
    assert known(script)["r"] == 9


def test_recursion_ends(known) -> None:
    assert known("def f(n):\n    return f(n + 1)\nr = f(0)\n")["r"] is ...
