"""Edits of a script's concrete syntax tree. The author's formatting stays as it is wherever nothing is changed.

An edit is found from the steps of a finding: the call that adapts, the place that learns, the call that scores. None
of them is trusted to be right: the source witness judges the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider

from auditor.findings import Finding

CHUNK_TOKENS = 32_768  # what accepted score-first submissions take (#549, #1493)
_CALLS = re.compile(r" calls (\w+)")
_NAMES = (
    "ttt_chunk_start",
    "ttt_chunk",
    "ttt_chunk_loss",
    "ttt_chunk_bpb",
    "ttt_nats",
    "ttt_bytes",
    "ttt_chunk_tokens",
)


@dataclass(frozen=True, slots=True)
class Edit:
    """A changed script, and what was changed, in a sentence."""

    text: str
    told: str
    line: int  # of the script before the change


def propose(text: str, finding: Finding) -> Iterator[Edit]:
    """Edits that may mend what `finding` proves, the one that keeps most of the adaptation first."""
    steps = [(step.line, _called(step.message)) for step in finding.steps if step.line]
    if not steps:
        return
    try:
        script = _Script(text)
        yield from _score_first(script, steps)
        yield from _single_pass(script, [line for line, _ in steps])
        yield from _without_call(script, steps[0])
        yield from _without_update(script, [line for line, _ in steps[:3]])
    except (cst.ParserSyntaxError, cst.CSTValidationError, RecursionError, UnicodeError):
        return  # nesting or syntax beyond what libcst reads: there is no edit to offer


def _called(message: str) -> str:
    found = _CALLS.search(message)
    return found[1] if found else ""


class _Script:
    def __init__(self, text: str) -> None:
        self.text = text
        self._wrapper = MetadataWrapper(cst.parse_module(text))
        self.module = self._wrapper.module
        self._positions = self._wrapper.resolve(PositionProvider)
        self._parents = self._wrapper.resolve(ParentNodeProvider)
        self.functions = {node.name.value: node for node in self.module.body if isinstance(node, cst.FunctionDef)}

    def statements(self, line: int) -> list[cst.BaseSmallStatement]:
        """The small statements that `line` is a part of, innermost lines first."""
        return [
            node
            for node, place in self._positions.items()
            if isinstance(node, cst.BaseSmallStatement) and place.start.line <= line <= place.end.line
        ]

    def loops(self, line: int) -> list[cst.For]:
        """The for loops around `line`, the outermost first."""
        found = [
            (place.start.line, node)
            for node, place in self._positions.items()
            if isinstance(node, cst.For) and place.start.line <= line <= place.end.line
        ]
        return [node for _, node in sorted(found, key=lambda item: item[0])]

    def line_of(self, node: cst.CSTNode) -> int:
        return int(self._positions[node].start.line)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        return self._parents[node]

    def replaced(self, old: cst.CSTNode, new: cst.CSTNode) -> str:
        """The script's text with one node replaced."""
        changed = self.module.deep_replace(old, new)
        assert isinstance(changed, cst.Module)
        return changed.code

    def code(self, node: cst.CSTNode) -> str:
        return self.module.code_for_node(node)


def _call_of(statement: cst.BaseSmallStatement, name: str = "") -> cst.Call | None:
    """The call that a statement consists of, or assigns; of the function `name` if one is given."""
    value = statement.value if isinstance(statement, cst.Expr | cst.Assign) else None
    if not isinstance(value, cst.Call):
        return None
    return value if not name or _function(value) == name else None


def _function(call: cst.Call) -> str:
    return call.func.value if isinstance(call.func, cst.Name) else ""


def _score_first(script: _Script, steps: Sequence[tuple[int, str]]) -> Iterator[Edit]:
    """Score a chunk, then let the author's own adaptation learn from that chunk, then the next one."""
    line, name = steps[0]
    adapting = next((item for item in script.statements(line) if name and _call_of(item, name)), None)
    adapted = _call_of(adapting, name) if adapting is not None else None
    if not isinstance(adapting, cst.Expr) or adapted is None:
        return
    if any(re.search(rf"\b{taken}\b", script.text) for taken in _NAMES):
        return
    for later, evaluator in steps[1:]:
        for scoring in script.statements(later):
            scored = _call_of(scoring, evaluator) if evaluator else None
            pair = _pair(scoring)
            if scored is None or pair is None:
                continue
            for tokens in _shared_tokens(adapted, scored):
                text = _score_first_text(script, adapting, adapted, scoring, scored, pair, tokens)
                if text is not None:
                    yield Edit(
                        text,
                        f"{name} now learns from each chunk of {CHUNK_TOKENS:,} tokens after {evaluator} has scored it "
                        "(TTT_CHUNK_TOKENS); its call before the evaluation is gone",
                        line,
                    )


def _pair(statement: cst.BaseSmallStatement) -> tuple[str, str] | None:
    """The names of a statement ``loss, bpb = ...``."""
    if not isinstance(statement, cst.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0].target
    if not isinstance(target, cst.Tuple):
        return None
    names = [item.value.value for item in target.elements if isinstance(item.value, cst.Name)]
    return (names[0], names[1]) if len(names) == 2 and "loss" in names[0] and "bpb" in names[1] else None


def _shared_tokens(adapted: cst.Call, scored: cst.Call) -> list[str]:
    """Names that both calls are given and that may be the validation tokens."""
    given = [{item.value.value for item in call.args if isinstance(item.value, cst.Name)} for call in (adapted, scored)]
    return sorted((name for name in given[0] & given[1] if "tok" in name), key=len)


def _score_first_text(
    script: _Script,
    adapting: cst.Expr,
    adapted: cst.Call,
    scoring: cst.BaseSmallStatement,
    scored: cst.Call,
    pair: tuple[str, str],
    tokens: str,
) -> str | None:
    line = script.parent(scoring)
    if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1:
        return None
    learns = adapted.with_changes(args=_renamed(_with_arguments_of(script, adapted, scored), tokens, "ttt_chunk"))
    scores = scored.with_changes(args=_renamed(scored.args, tokens, "ttt_chunk"))
    loss, bpb = pair
    template = (
        "# Each chunk is scored before the model learns from it, and no chunk is scored again.\n"
        f'ttt_chunk_tokens = int(os.environ.get("TTT_CHUNK_TOKENS", "{CHUNK_TOKENS}"))\n'
        "ttt_nats = ttt_bytes = 0.0\n"
        f"for ttt_chunk_start in range(0, {tokens}.numel() - 1, ttt_chunk_tokens):\n"
        f"    ttt_chunk = {tokens}[ttt_chunk_start : ttt_chunk_start + ttt_chunk_tokens + 1]\n"
        "    ttt_chunk_loss, ttt_chunk_bpb = SCORES\n"
        "    ttt_nats += ttt_chunk_loss * (ttt_chunk.numel() - 1)\n"
        "    ttt_bytes += ttt_chunk_loss * (ttt_chunk.numel() - 1) / (math.log(2.0) * ttt_chunk_bpb)\n"
        f"{_guarded('LEARNS', _conditions(script, adapting))}"
        f"{loss} = ttt_nats / ({tokens}.numel() - 1)\n"
        f"{bpb} = ttt_nats / (math.log(2.0) * ttt_bytes)\n"
    )
    block = cst.parse_module(template).visit(_Fill({"SCORES": scores, "LEARNS": learns}))
    comment, *rest = block.body
    placed = comment.with_changes(leading_lines=(*line.leading_lines, *block.header))
    outer = script.parent(line)
    if not isinstance(outer, cst.IndentedBlock | cst.Module):
        return None
    at = next(index for index, item in enumerate(outer.body) if item is line)
    body = [*outer.body[:at], placed, *rest, *outer.body[at + 1 :]]
    text = script.replaced(outer, outer.with_changes(body=body))
    return _text_without(text, script.line_of(adapting), _function(adapted))


def _conditions(script: _Script, statement: cst.CSTNode) -> list[str]:
    """The tests of the ifs that a statement stands in, the innermost last; else branches are left out."""
    found: list[str] = []
    node = statement
    while not isinstance(node, cst.FunctionDef | cst.Module):
        outer = script.parent(node)
        if isinstance(outer, cst.If) and outer.body is node:
            found.insert(0, script.code(outer.test))
        node = outer
    return found


def _guarded(statement: str, conditions: Sequence[str]) -> str:
    """`statement` as a line of the loop, under `conditions` where there are any."""
    if not conditions:
        return f"    {statement}\n"
    together = conditions[0] if len(conditions) == 1 else " and ".join(f"({test})" for test in conditions)
    return f"    if {together}:\n        {statement}\n"


def _text_without(text: str, line: int, name: str) -> str | None:
    """`text` without the first call of `name` at `line`; the scoring stands behind it, so lines before are the same."""
    edited = _Script(text)
    for item in edited.statements(line):
        if _call_of(item, name):
            return _removed(edited, item, f"{name} learns after the scoring, below")
    return None


def _with_arguments_of(script: _Script, adapted: cst.Call, scored: cst.Call) -> list[cst.Arg]:
    """The adaptation's arguments, with what the evaluation is given for a parameter of the same name: its model."""
    theirs = _bound(script, scored)
    names = _parameters(script, adapted)
    arguments = []
    for position, item in enumerate(adapted.args):
        name = item.keyword.value if item.keyword else (names[position] if position < len(names) else "")
        arguments.append(item.with_changes(value=theirs.get(name, item.value)))
    return arguments


def _parameters(script: _Script, call: cst.Call) -> list[str]:
    function = script.functions.get(_function(call))
    return [item.name.value for item in function.params.params] if function else []


def _bound(script: _Script, call: cst.Call) -> dict[str, cst.BaseExpression]:
    names = _parameters(script, call)
    bound = {}
    for position, item in enumerate(call.args):
        name = item.keyword.value if item.keyword else (names[position] if position < len(names) else "")
        if name and not item.star:
            bound[name] = item.value
    return bound


def _renamed(arguments: Sequence[cst.Arg], old: str, new: str) -> list[cst.Arg]:
    return [
        item.with_changes(value=cst.Name(new)) if isinstance(item.value, cst.Name) and item.value.value == old else item
        for item in arguments
    ]


class _Fill(cst.CSTTransformer):
    def __init__(self, values: dict[str, cst.BaseExpression]) -> None:
        super().__init__()
        self._values = values

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:  # noqa: N802
        return self._values.get(updated_node.value, updated_node)


def _single_pass(script: _Script, lines: Sequence[int]) -> Iterator[Edit]:
    """One pass where there were several: the count of a loop around both the learning and the scoring is set to one.

    The count itself is set, not the loop's range: what else depends on it (which pass is reported, a schedule) follows.
    """
    seen: set[int] = set()
    for line in lines:
        for loop in script.loops(line):
            count = _repetitions(loop)
            block, at = script.parent(loop), script.line_of(loop)
            if count is None or at in seen or not isinstance(block, cst.IndentedBlock | cst.Module):
                continue
            seen.add(at)
            assign = cst.Assign([cst.AssignTarget(count)], cst.Integer("1"))
            comment = cst.TrailingWhitespace(
                cst.SimpleWhitespace("  "), cst.Comment("# a second pass would score what was learned from")
            )
            one = cst.SimpleStatementLine([assign], leading_lines=loop.leading_lines, trailing_whitespace=comment)
            where = next(index for index, item in enumerate(block.body) if item is loop)
            body = [*block.body[:where], one, loop.with_changes(leading_lines=[]), *block.body[where + 1 :]]
            yield Edit(
                script.replaced(block, block.with_changes(body=body)),
                f"the loop over {script.code(loop.target)} makes one pass: {script.code(count)} is set to 1",
                at,
            )


def _repetitions(loop: cst.For) -> cst.Name | cst.Attribute | None:
    """What a loop ``for ... in range(count)`` counts up to, where that is a variable or a setting."""
    if not isinstance(loop.iter, cst.Call) or _function(loop.iter) != "range" or len(loop.iter.args) != 1:
        return None
    count = loop.iter.args[0].value
    return count if isinstance(count, cst.Name | cst.Attribute) else None


def _without_call(script: _Script, step: tuple[int, str]) -> Iterator[Edit]:
    """The call that adapts is taken out, where nothing but the model it was given is taken from it."""
    line, name = step
    for statement in script.statements(line):
        call = _call_of(statement, name) if name else None
        if call is None or not (isinstance(statement, cst.Expr) or _gives_back(statement, call)):
            continue
        text = _removed(script, statement, f"{name} learned from validation tokens before they were scored")
        yield Edit(text, f"the call of {name} is taken out: the score is that of the model without it", line)


def _gives_back(statement: cst.BaseSmallStatement, call: cst.Call) -> bool:
    """Whether a statement is ``model = adapt(..., model, ...)``."""
    if not isinstance(statement, cst.Assign) or len(statement.targets) != 1:
        return False
    target = statement.targets[0].target
    return isinstance(target, cst.Name) and any(
        isinstance(item.value, cst.Name) and item.value.value == target.value for item in call.args
    )


def _without_update(script: _Script, lines: Sequence[int]) -> Iterator[Edit]:
    """The optimizer's step is taken out where the adaptation is part of a longer function."""
    for line in lines:
        for statement in script.statements(line):
            call = _call_of(statement)
            if call is not None and isinstance(call.func, cst.Attribute) and call.func.attr.value == "step":
                text = _removed(script, statement, "stepped on validation tokens before they were scored")
                told = f"{script.code(call.func)}() at line {line} is taken out: nothing learns there any more"
                yield Edit(text, told, line)


def _removed(script: _Script, statement: cst.BaseSmallStatement, why: str) -> str:
    """The script's text without a small statement; ``pass`` with the reason where nothing else is left on its line."""
    line = script.parent(statement)
    assert isinstance(line, cst.SimpleStatementLine | cst.SimpleStatementSuite)
    rest = [item for item in line.body if item is not statement]
    if rest:
        rest[-1] = rest[-1].with_changes(semicolon=line.body[-1].semicolon)
        return script.replaced(line, line.with_changes(body=rest))
    comment = cst.TrailingWhitespace(cst.SimpleWhitespace("  "), cst.Comment(f"# {why}"))
    return script.replaced(line, line.with_changes(body=[cst.Pass()], trailing_whitespace=comment))
