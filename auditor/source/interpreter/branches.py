"""``if``, ``match`` and conditional expressions: which side the reported run takes, or both."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from auditor.ledger import BRANCH_NOT_TAKEN
from auditor.source.interpreter import limits
from auditor.source.interpreter.flow import NORMAL, varying
from auditor.source.library import shard_paths
from auditor.source.scan import captured, named
from auditor.source.values import CONST, Atoms, Frame, Value, const, data, join, kinds, with_atoms

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


_RANK: Atoms = frozenset((("rank",),))
_SETTING: Atoms = frozenset((("setting",),))
_KEPT: Atoms = frozenset((("picked",), ("model",)))  # of what a choice by loss keeps: a loss, or weights
_TELLING = frozenset(
    "val loop model state under clash picked ranked measure array pos index train hashed target par blend "
    "choice told hint".split()
)


def if_statement(run: Interpreter, node: ast.If, frame: Frame) -> int:
    test = run.value(node.test, frame)
    decided = run.truth(test)
    if (decided is None and run.left_open(test)) or (decided is not None and not test.atoms):
        skipped = _skipped(run, node, decided)
        if skipped:
            if decided is not None and _learns(run, skipped):
                run.skipped.setdefault(run.site(node.lineno), BRANCH_NOT_TAKEN)
            _switch_off(run, node, skipped, frame)
            return run.block(node.orelse if skipped is node.body else node.body, frame)
    if decided is not None:
        shown = run.logged and test.atoms <= _RANK and _logged_otherwise(run, node, decided)
        if ("rank",) in test.atoms and (shown or _learns(run, node.orelse if decided else node.body)):
            return _on_other_ranks(run, node, decided, frame)
        if shown:
            _leave_open(run, node.test, frame)
            decided = not decided
        if decided and isinstance(node.body[-1], ast.Raise):
            if run.pending_raises:
                return run.either(lambda: run.block(node.body, frame), lambda: NORMAL, told=True)
            decided = False  # the reported run did not end here
        return run.block(node.body if decided else node.orelse, frame)
    ranked = next((atom for atom in test.atoms if atom[0] == "ranked"), None)
    if ranked is not None:
        return _choose(run, node, ("choice", ranked[1], True, ranked[2], "branch"), frame)
    left, scored = limits.left_at(run, node, test, frame), run.predictors.scorings
    unset = run.left_open(test)
    negated = isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)

    def branch(body: list[ast.stmt], asked: bool) -> int:
        if asked:
            _narrow(run, node.test, frame)
        return run.block(body, frame)

    run.open_settings += unset
    outer, run.chosen = run.chosen, run.chosen | _iterations_asked(run, test)
    flow = run.either(lambda: branch(node.body, not negated), lambda: branch(node.orelse, negated), told=not unset)
    if left is not None and run.predictors.scorings == scored:  # else what is left may have been scored on the way out
        run.line = node.lineno
        run.cut_short.setdefault(left, run.predictors.site_number())
    if not _left_early(node):
        run.chosen = outer  # else what follows in this iteration depends on the test, too
    run.open_settings -= unset
    return flow


def _leave_open(run: Interpreter, test: ast.expr, frame: Frame) -> None:
    """The log shows that a switch was not what the settings say: what else asks for it may have gone either way."""
    while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test = test.operand
    if isinstance(test, ast.Name | ast.Attribute) and isinstance(run.value(test, frame).payload, bool):
        run.assign(test, data(_SETTING), frame)


def _skipped(run: Interpreter, node: ast.If, decided: bool | None) -> list[ast.stmt]:
    """The side that the log shows was not taken, of those that the settings leave; empty where it shows nothing."""
    sides = [node.body, node.orelse] if decided is None else [node.body if decided else node.orelse]
    return next((side for side in sides if run.logged.skips(node, side)), [])


def _switch_off(run: Interpreter, node: ast.If, skipped: list[ast.stmt], frame: Frame) -> None:
    """What a branch that was not taken says about its switch, for whatever else asks for it."""
    test, on = node.test, skipped is not node.body
    while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, on = test.operand, not on
    if not isinstance(test, ast.Name | ast.Attribute):
        return
    switch = run.value(test, frame).payload
    if isinstance(switch, bool):
        run.assign(test, const(on), frame)
    elif isinstance(switch, int) and not on:
        run.assign(test, const(0), frame)


def _iterations_asked(run: Interpreter, test: Value) -> frozenset[int]:
    """The loops under way of which a condition asks for the iteration: ``if epoch == epochs - 1``."""
    return frozenset(atom[1] for atom in test.atoms if atom[0] in ("loop", "index") and atom[1] in run.live)


def _left_early(node: ast.If) -> bool:
    """True when one side goes on with the next iteration, or leaves."""
    return any(
        side and isinstance(side[-1], ast.Continue | ast.Break | ast.Return) for side in (node.body, node.orelse)
    )


def _narrow(run: Interpreter, test: ast.expr, frame: Frame) -> None:
    """Behind a test of a file's name the name is known to be of one split."""
    for name in named(test):
        old = run.lookup(name, frame)
        if ("doubt",) in old.atoms:
            run.bind(frame, name, shard_paths.narrowed(old, [test]))


def _learns(run: Interpreter, body: Sequence[ast.stmt]) -> bool:
    return any(run.may_learn(statement) for statement in body)


def _on_other_ranks(run: Interpreter, node: ast.If, decided: bool, frame: Frame) -> int:
    """A branch that only other ranks take, and that learns or is logged: they may hand on what they learned."""

    def elsewhere() -> int:
        run.open_settings += 1
        run.block(node.orelse if decided else node.body, frame)
        run.open_settings -= 1
        return NORMAL

    run.either(elsewhere, lambda: NORMAL)
    return run.block(node.body if decided else node.orelse, frame)


def left_open(run: Interpreter, test: Value) -> bool:
    """True for an undecided condition that a setting may decide which nothing tells.

    A condition on tokens, on a model, on a loop's position, on a size or on the clock takes both ways in one run.
    Nothing of that kind is known of the others: they may be false throughout the reported run.
    """
    found = kinds(run.atoms_of(test))
    if "setting" in found or ("file" in found and "array" not in found):
        return True
    return found.isdisjoint(_TELLING)


def _logged_otherwise(run: Interpreter, node: ast.If, decided: bool) -> bool:
    """True when the log has a line of the branch that the settings rule out, and none of the other."""
    taken, other = (node.body, node.orelse) if decided else (node.orelse, node.body)
    return run.logged.shows(other) and not run.logged.shows(taken)


def _choose(run: Interpreter, node: ast.If, mark: tuple[Any, ...], frame: Frame) -> int:
    """A branch on which of two losses is smaller: losses and weights that it assigns were chosen by them."""

    def branch(body: list[ast.stmt]) -> int:
        outer = run.state.begin()
        selecting, run.selecting = run.selecting, run.selecting | {mark}
        flow = run.block(body, frame)
        run.selecting = selecting
        for cells, key, _ in list(run.state.journal or ()):
            value = cells.get(key)
            if isinstance(value, Value) and (value.kind == CONST or _KEPT & run.atoms_of(value)):
                cells[key] = Value(value.kind, value.payload, value.atoms | {mark}, value.base, value.attr)
        run.state.keep(outer)
        return flow

    return run.either(lambda: branch(node.body), lambda: branch(node.orelse))


def match_statement(run: Interpreter, node: ast.Match, frame: Frame) -> int:
    subject = run.value(node.subject, frame)
    flow = NORMAL
    unset = run.left_open(subject)
    for case in node.cases:
        matched = _matches(case, subject)
        if matched is False:
            continue
        for name in captured(case.pattern):
            whole = isinstance(case.pattern, ast.MatchAs) and case.pattern.name == name
            run.bind(frame, name, subject if whole else data(run.atoms_of(subject)))
        if case.guard is not None:
            met = run.truth(run.value(case.guard, frame))
            if met is False:
                continue
            matched = matched and met
        if matched:
            return run.block(case.body, frame)
        run.open_settings += unset
        flow = run.either(lambda case=case: run.block(case.body, frame), lambda: NORMAL)  # type: ignore[misc]
        run.open_settings -= unset
        if flow != NORMAL:
            return flow
    return flow


def conditional_expression(run: Interpreter, node: ast.IfExp, frame: Frame) -> Value:
    test = run.value(node.test, frame)
    decided = run.truth(test)
    if decided is not None:
        return run.value(node.body if decided else node.orelse, frame)
    unset = run.left_open(test)
    run.open_settings += unset
    one, two = run.value(node.body, frame), run.value(node.orelse, frame)
    ranked = frozenset(("choice", atom[1], True, False) for atom in test.atoms if atom[0] == "ranked")
    one, two = with_atoms(one, ranked), with_atoms(two, ranked)
    run.open_settings -= unset
    result = join(one, two)
    return result if unset else varying(result, one, two)


def _matches(case: ast.match_case, subject: Value) -> bool | None:
    """Whether a known subject meets a case of constants, its guard aside; None where it cannot be told."""
    if isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None:
        return True
    patterns = case.pattern.patterns if isinstance(case.pattern, ast.MatchOr) else [case.pattern]
    if subject.kind != CONST:
        return None
    constants = [
        item.value.value
        for item in patterns
        if isinstance(item, ast.MatchValue) and isinstance(item.value, ast.Constant)
    ]
    if len(constants) != len(patterns):
        return None
    return subject.payload in constants
