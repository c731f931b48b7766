"""Lists and dicts: members are known one by one until a loop whose length is not known changes them."""

from __future__ import annotations


def test_members_are_known(known) -> None:
    found = known("a = [1, 2]\na.append(5)\nd = {'k': 7}\nd.update(m=8)\nr, s, n = a[-1], d['m'], len(a)\n")
    assert (found["r"], found["s"], found["n"]) == (5, 8, 3)


def test_a_loop_of_unknown_length_leaves_the_length_open(known) -> None:
    assert known("a = []\nfor x in unseen():\n    a.append(x)\nn = len(a)\n")["n"] == (0, None)


def test_a_missing_key_gives_the_default(known) -> None:
    assert known("d = {'k': 7}\nr = d.get('m', 3)\n")["r"] == 3
