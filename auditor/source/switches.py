"""Which branch the reported run took, where its settings do not say: the lines it logged tell.

A script's default may leave a feature off that the run had on. When a branch that the settings rule out prints a line
that the log contains, the run went there.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence

from auditor.submission import syntax

MIN_PIECE = 8  # characters; shorter pieces of text occur by chance
MAX_TEMPLATES = 60  # looked up for one branch


class LoggedLines:
    """The lines of the logs of the reported runs, ready for many look-ups."""

    def __init__(self, lines: Sequence[str], trees: Sequence[ast.Module] = ()) -> None:
        self._lines = [line.strip() for line in lines if line.strip()]
        self._text = "\n".join(self._lines)
        self._answers: dict[int, bool] = {}
        self._trees = tuple(trees)
        self._reaching: frozenset[str] | None = None
        self._printed = (
            Counter(pieces for tree in trees for pieces in _all_templates(tree)) if self._lines else Counter()
        )

    def __bool__(self) -> bool:
        return bool(self._lines)

    def shows(self, body: Sequence[ast.stmt]) -> bool:
        """True when a line printed under `body` (not in a function it defines) is in the log."""
        if not body or not self._lines:
            return False
        key = id(body[0])
        if key not in self._answers:
            here = Counter(map(tuple, _templates(body)))
            self._answers[key] = any(
                count >= self._printed.get(pieces, 0) and self._contains(list(pieces)) for pieces, count in here.items()
            )
        return self._answers[key]

    def silent_on(self, body: Sequence[ast.stmt]) -> bool:
        """True when a statement of `body` itself logs a line that could be known by its text, and no log has it.

        Only what is logged in a way that is seen to reach the logs elsewhere: a line for another file is missed anyway.
        """
        if not self._lines:
            return False
        for node in body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.value.args:
                pieces = _pieces(node.value.args[0])
                telling = any(len(piece.strip()) >= MIN_PIECE for piece in pieces)
                if telling and ast.dump(node.value.func) in self._heard() and not self._contains(pieces):
                    return True
        return False

    def _heard(self) -> frozenset[str]:
        """The functions, as they are written, whose lines the logs have."""
        if self._reaching is None:
            self._reaching = frozenset(
                ast.dump(call.func)
                for tree in self._trees
                for call, _ in syntax.survey(tree).calls
                if call.args and (pieces := _pieces(call.args[0])) and self._contains(pieces)
            )
        return self._reaching

    def _contains(self, pieces: list[str]) -> bool:
        longest = max((piece.strip() for piece in pieces), key=len, default="")  # the lines are stripped, too
        if len(longest) < MIN_PIECE:
            return False
        position = self._text.find(longest)
        while position >= 0:
            start = self._text.rfind("\n", 0, position) + 1
            end = self._text.find("\n", position)
            line = self._text[start : end if end >= 0 else len(self._text)]
            if _fits(pieces, line):
                return True
            position = self._text.find(longest, position + len(longest) + 1)
        return False


def _fits(pieces: list[str], line: str) -> bool:
    """True when the line starts with the template's first piece and has the others in their order."""
    if pieces[0] and not line.startswith(pieces[0].lstrip()):
        return False
    position = 0
    for piece in pieces:
        found = line.find(piece.strip(), position)
        if found < 0:
            return False
        position = found + len(piece.strip())
    return True


def _all_templates(tree: ast.Module) -> list[tuple[str, ...]]:
    """The templates of every call of a source; a line that several places print tells nothing about one of them."""
    found = []
    for call, _ in syntax.survey(tree).calls:
        pieces = _pieces(call.args[0]) if call.args else []
        if pieces:
            found.append(tuple(pieces))
    return found


def _templates(body: Sequence[ast.stmt]) -> list[list[str]]:
    """Constant pieces of the texts printed under `body`, one list a call; the first is "" where a hole comes first."""
    found: list[list[str]] = []
    pending: list[ast.AST] = list(body)
    while pending and len(found) < MAX_TEMPLATES:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue  # runs when it is called, not here
        if isinstance(node, ast.Call) and node.args:
            pieces = _pieces(node.args[0])
            if pieces:
                found.append(pieces)
        pending.extend(ast.iter_child_nodes(node))
    return found


def _pieces(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        pieces = [str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values]
        return [pieces[0], *(piece for piece in pieces[1:] if piece)] if pieces else []
    return []
