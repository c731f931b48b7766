"""Members of collections: all of them where they are known, one that stands for any where they are not."""

from __future__ import annotations


def test_a_short_known_list_is_walked_member_by_member(known) -> None:
    assert known("r = 0\nfor x in [1, 2, 4]:\n    r += x\n")["r"] == 7


def test_what_a_long_loop_leaves_is_not_taken_for_a_constant(known) -> None:
    assert known("r = 0\nfor x in range(1000):\n    r += 2\n")["r"] is ...


def test_the_first_value_of_a_range_is_known_and_a_later_one_is_larger(interpret) -> None:
    seen = interpret("seen = []\nfor x in range(3, unseen()):\n    seen.append(x)\n")["seen"]
    assert seen.payload.cells[".rest"].payload == (3, None)


def test_generators_are_run_where_they_are_read(known) -> None:
    script = "log = []\ndef g():\n    log.append(1)\n    yield 5\ng()\nbefore = len(log)\nfor x in g():\n    r = x\n"
    found = known(script + "after = len(log)\n")
    assert (found["before"], found["r"], found["after"]) == (0, 5, 1)
