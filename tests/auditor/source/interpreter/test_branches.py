"""Branches: the side that the reported run took, or both joined where nothing tells."""

from __future__ import annotations

BRANCH = "import os\nr = 1\nif {test}:\n    r = 2\nelse:\n    r = 3\n"


def test_a_setting_of_the_run_decides(known) -> None:
    script = BRANCH.format(test="int(os.environ.get('TTT', '0'))")
    assert known(script)["r"] == 3
    assert known(script, {"TTT": "1"})["r"] == 2


def test_both_sides_are_joined_where_nothing_decides(known) -> None:
    assert known(BRANCH.format(test="unseen()"))["r"] == (2, 3)


def test_a_side_that_returns_leaves_the_other(known) -> None:
    script = "def f(x):\n    if x:\n        return 2\n    return 3\nr = f(1)\ns = f(unseen())\n"
    found = known(script)
    assert (found["r"], found["s"]) == (2, (2, 3))


def test_a_case_of_constants_is_decided(known) -> None:
    script = "match 'sliding':\n    case 'plain':\n        r = 1\n    case 'sliding' | 'both':\n        r = 2\n"
    assert known(script)["r"] == 2
