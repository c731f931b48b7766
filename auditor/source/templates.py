"""Texts that a script prints, as templates: the constant pieces around what is filled in.

A template is a sequence of pieces in their order; the first one is "" where something filled in comes first.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from auditor.submission import syntax

MIN_PIECE = 8  # characters; shorter pieces of text occur by chance
MAX_TEMPLATES = 60  # looked up for one branch


def all_templates(tree: ast.Module) -> list[tuple[str, ...]]:
    """The templates of every call of a source; a line that several places print tells nothing about one of them."""
    found = []
    for call, _ in syntax.survey(tree).calls:
        pieces = pieces_of(call.args[0]) if call.args else []
        if pieces:
            found.append(tuple(pieces))
    return found


def templates(body: Sequence[ast.stmt]) -> list[list[str]]:
    """The templates of the texts printed under `body`, one a call; not those of functions that it defines."""
    found: list[list[str]] = []
    pending: list[ast.AST] = list(body)
    while pending and len(found) < MAX_TEMPLATES:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue  # runs when it is called, not here
        if isinstance(node, ast.Call) and node.args:
            pieces = pieces_of(node.args[0])
            if pieces:
                found.append(pieces)
        pending.extend(ast.iter_child_nodes(node))
    return found


def pieces_of(node: ast.expr) -> list[str]:
    """The pieces of a literal text; none for any other expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        pieces = [str(part.value) if isinstance(part, ast.Constant) else "" for part in node.values]
        return [pieces[0], *(piece for piece in pieces[1:] if piece)] if pieces else []
    return []


def fits(pieces: Sequence[str], line: str) -> bool:
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
