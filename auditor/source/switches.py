"""Which branch the reported run took, where its settings do not say: the lines it logged tell.

A script's default may leave a feature off that the run had on. When a branch that the settings rule out prints a line
that the log contains, the run went there. Where a branch's line is missing among lines that the log has, the run did
not go there (`auditor.source.silent_branches`).
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from auditor.record.claimed_line import carrying_logs, claimed_lines, without_rehearsals
from auditor.record.model import Place, Record, RunLog
from auditor.source.silent_branches import SilentBranches
from auditor.source.templates import MIN_PIECE, all_templates, fits, pieces_of, templates
from auditor.submission import syntax


class LoggedLines:
    """The lines of the logs of the reported runs, ready for many look-ups.

    `carriers` are those of the logs that carry the claimed score, `tree` is the script's.
    """

    def __init__(
        self, logs: Sequence[RunLog] = (), tree: ast.Module | None = None, carriers: Sequence[RunLog] = ()
    ) -> None:
        first = [log for log in logs if any(log is carrier for carrier in carriers)]
        numbered = [
            (line.strip(), Place(log.path, number))
            for log in (*first, *(log for log in logs if not any(log is one for one in first)))
            for line, number in _numbered(log)
            if line.strip()
        ]
        self._text = "\n".join(line for line, _ in numbered)
        self._places = [place for _, place in numbered]
        self._starts = list(accumulate((len(line) + 1 for line, _ in numbered), initial=0))
        self._answers: dict[int, Place | None] = {}
        self._tree = tree
        self._reaching: frozenset[str] | None = None
        self._printed = Counter(all_templates(tree) if tree and numbered else ())
        self._silent = SilentBranches(tree, carriers) if tree and carriers else None

    def __bool__(self) -> bool:
        return bool(self._places)

    def shows(self, body: Sequence[ast.stmt]) -> bool:
        """True when a line printed under `body` (not in a function it defines) is in the log."""
        return self.place_of(body) is not None

    def place_of(self, body: Sequence[ast.stmt]) -> Place | None:
        """Where the log has a line that only `body` prints; None where it has none."""
        if not body or not self._places:
            return None
        key = id(body[0])
        if key not in self._answers:
            here = Counter(map(tuple, templates(body)))
            alone = (pieces for pieces, count in here.items() if count >= self._printed.get(pieces, 0))
            places = (self._place(list(pieces)) for pieces in alone)
            self._answers[key] = next((place for place in places if place is not None), None)
        return self._answers[key]

    def skips(self, node: ast.If, body: Sequence[ast.stmt]) -> bool:
        """True when the logs that carry the claim show that no run took `body`, a side of `node`."""
        return self._silent is not None and self._silent.skipped(node, body)

    def silent_on(self, body: Sequence[ast.stmt]) -> bool:
        """True when a statement of `body` itself logs a line that could be known by its text, and no log has it.

        Only what is logged in a way that is seen to reach the logs elsewhere: a line for another file is missed anyway.
        """
        if not self._places:
            return False
        for node in body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.value.args:
                pieces = pieces_of(node.value.args[0])
                telling = any(len(piece.strip()) >= MIN_PIECE for piece in pieces)
                if telling and ast.dump(node.value.func) in self._heard() and self._place(pieces) is None:
                    return True
        return False

    def _heard(self) -> frozenset[str]:
        """The functions, as they are written, whose lines the logs have."""
        if self._reaching is None:
            calls = syntax.survey(self._tree).calls if self._tree else ()
            self._reaching = frozenset(
                ast.dump(call.func)
                for call, _ in calls
                if call.args and (pieces := pieces_of(call.args[0])) and self._place(pieces) is not None
            )
        return self._reaching

    def _place(self, pieces: Sequence[str]) -> Place | None:
        longest = max((piece.strip() for piece in pieces), key=len, default="")  # the lines are stripped, too
        if len(longest) < MIN_PIECE:
            return None
        position = self._text.find(longest)
        while position >= 0:
            start = self._text.rfind("\n", 0, position) + 1
            end = self._text.find("\n", position)
            line = self._text[start : end if end >= 0 else len(self._text)]
            if fits(pieces, line):
                return self._places[bisect_right(self._starts, start) - 1]
            position = self._text.find(longest, position + len(longest) + 1)
        return None


def _numbered(log: RunLog) -> list[tuple[str, int]]:
    """The lines of a log with their numbers in its file, 0 where these are not known."""
    numbers = log.raw_line_numbers or (0,) * len(log.raw_lines)
    return list(zip(log.raw_lines, numbers, strict=False))


def logged_lines(tree: ast.Module, record: Record) -> LoggedLines:
    """The logged lines of a submission whose script is `tree`; rehearsals at the head of a file are left out."""
    claimed = claimed_lines(record)
    return LoggedLines(without_rehearsals(record, claimed), tree, carrying_logs(record, claimed))
