"""Syntactic questions: answers are kept while a script is read, and let go before the next one."""

from __future__ import annotations

import ast

from auditor.source import scan


def test_nothing_of_a_script_is_kept_when_the_next_is_read() -> None:
    loop = ast.parse("for i in range(3):\n    total += f(i)\n").body[0]
    assert isinstance(loop, ast.For)
    assert scan.assigned_by_update(loop) == {"total"}
    assert scan.calls_something(loop)
    scan.forget()
    kept = {
        name: answers.cache_info().currsize for name, answers in vars(scan).items() if hasattr(answers, "cache_info")
    }
    assert len(kept) >= 10
    assert not any(kept.values()), kept


def test_what_is_deferred_is_read_later_and_nothing_else() -> None:
    lazy = ("(f(x) for x in y)", "map(f, y)", "filter(f, y)", "enumerate(map(f, y))", "itertools.chain(map(f, y), z())")
    eager = ("[f(x) for x in y]", "list(map(f, y))", "(x for x in y)", "enumerate(y)", "f(y, z)")
    assert all(scan.deferred(ast.parse(text, mode="eval").body) for text in lazy)
    assert not any(scan.deferred(ast.parse(text, mode="eval").body) for text in eager)
