"""Operators: constants are folded within bounds, of other whole numbers the limits are known."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("7 // 2 + 2 ** 5", 35),
        ("'val' + '_' * 2", "val__"),
        ("1 << 20", 1 << 20),
        ("len(unseen) + 3", (3, None)),
        ("2 * len(unseen)", (0, None)),
        ("1 / 0", ...),
    ],
)
def test_what_is_known_of_a_result(known, expression: str, result: object) -> None:
    assert known(f"r = {expression}")["r"] == result


@pytest.mark.parametrize("hostile", ["'x' * 10**9", "9 ** 9 ** 9", "1 << 10**9", "(1,) * 10**9"])
def test_no_constant_is_built_that_would_fill_the_memory(known, hostile: str) -> None:
    assert known(f"r = {hostile}")["r"] is ...
