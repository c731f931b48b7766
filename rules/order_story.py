"""Tells a violation of evaluation order as a maintainer would: who adapts, where it is called, what is scored after.

The model is a reviewer's comment that names the place, the order and the step, so that a reader confirms it in a
minute: "ttt_adapt (lines 938-996) steps the optimizer on all of val_tokens; it is called at line 1417, before the
evaluation at line 1428 that gives the reported score".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from auditor.findings import Finding, Status, Step, Witness
from auditor.ledger import Learned, Manner, Metric, Scored, Site, Violation
from auditor.submission import syntax
from auditor.submission.model import Submission

_VERBS = {
    Manner.GRADIENT: "steps the optimizer on",
    Manner.ARITHMETIC: "updates parameters from",
    Manner.CACHE: "fills a cache from",
    Manner.STATISTICS: "takes statistics of",
    Manner.SELECTION: "selects by the score of",
    Manner.CALIBRATION: "calibrates on",
}

MAX_STEPS = 12  # a reader follows no more; longer call paths keep their two ends


def order_finding(
    learned: Sequence[Learned], scored: Scored, more_scored: int, submission: Submission, witness: Witness
) -> Finding:
    """The finding that `scored` came after `learned`, all of one learner, which had seen the same tokens."""
    first = learned[0]
    shared = _common_prefix(first.calls, scored.calls)
    learn_calls, score_calls = first.calls[shared:], scored.calls[shared:]
    place = Places(submission)
    message = f"{_learning(first, learn_calls, place)}, {_scoring(first, learn_calls, scored, score_calls, place)}"
    if not scored.definite:
        message = f"Possibly {message} (not proved: {scored.doubt or 'the order or the overlap is not certain'})"
    steps = [
        *_call_steps(learn_calls, first.site),
        *(Step(item.site.path, item.site.line, _learn_step(item)) for item in learned),
        *_call_steps(score_calls, scored.site),
        Step(scored.site.path, scored.site.line, _score_step(scored, more_scored)),
    ]
    if scored.metric.site.line and scored.metric.site != scored.site:
        steps += [step for step in _printer_called(scored.metric) if all(not _one_place(step, old) for old in steps)]
        steps.append(Step(scored.metric.site.path, scored.metric.site.line, _print_step(scored)))
    span = place.span(first.site)
    return Finding(
        status=Status.FAIL if scored.definite else Status.REVIEW,
        witness=witness,
        message=message,
        path=first.site.path,
        line=first.site.line,
        end_line=span[1] if span else 0,
        steps=_shortened(steps),
    )


def violation_finding(violation: Violation, witness: Witness) -> Finding:
    """The finding for something that the witness saw and described itself."""
    steps = [Step(site.path, site.line, text) for site, text in violation.sites]
    first = steps[0] if steps else Step("", 0, "")
    message = violation.message
    if not violation.definite:
        message = f"{message} (not proved: {violation.doubt or 'the witness could not make sure'})"
    return Finding(
        status=Status.FAIL if violation.definite else Status.REVIEW,
        witness=witness,
        message=message,
        path=first.path,
        line=first.line,
        steps=_shortened(steps),
    )


def learner_key(learned: Learned, scored: Scored) -> tuple[object, ...]:
    """What makes two learning events one learner to a reader: the same function, reached by the same call."""
    shared = _common_prefix(learned.calls, scored.calls)
    outer = learned.calls[shared] if shared < len(learned.calls) else None
    return (learned.site.path, outer, learned.site.function if outer else (learned.site.function, learned.manner))


class Places:
    """Names places of one submission for a reader."""

    def __init__(self, submission: Submission) -> None:
        self._texts = {source.path: source.text for source in (submission.script, *submission.helpers) if source}
        self._main = submission.script.path if submission.script else ""

    def line(self, site: Site) -> str:
        """ "line 1417", with the file's name where it is not the main script."""
        return f"line {site.line}" if site.path == self._main else f"{site.path} line {site.line}"

    def function(self, site: Site) -> str:
        """ "ttt_adapt (lines 938-996)" for the function around `site`; "the script" at module level."""
        if not site.function:
            return "the script"
        span = self.span(site)
        elsewhere = "" if site.path == self._main else f"{site.path} "
        return f"{site.function} ({elsewhere}lines {span[0]}-{span[1]})" if span else site.function

    def span(self, site: Site) -> tuple[int, int] | None:
        """First and last line of the innermost function of that name around `site`."""
        name = site.function.rsplit(".", 1)[-1]
        spans = [
            (start, end)
            for function, start, end in _functions(self._texts.get(site.path, ""))
            if function == name and start <= site.line <= end
        ]
        return max(spans, default=None)


@lru_cache(maxsize=16)
def _functions(text: str) -> tuple[tuple[str, int, int], ...]:
    """Name, first and last line of every function of a source; none if it does not parse."""
    tree = syntax.parse(text).tree
    if tree is None:
        return ()
    return tuple((node.name, node.lineno, node.end_lineno or node.lineno) for node in syntax.survey(tree).functions)


def _common_prefix(first: Sequence[Site], second: Sequence[Site]) -> int:
    """How many outermost calls two call paths share."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if (one.path, one.line) != (other.path, other.line):
            break
        count += 1
    return count


def _learning(first: Learned, calls: Sequence[Site], place: Places) -> str:
    act = f"{_VERBS[first.manner]} {first.region.text}"
    if not calls:
        return f"{place.function(first.site)}, at {place.line(first.site)}, {act}"
    entered = calls[1] if len(calls) > 1 else first.site
    inner = "" if entered.function == first.site.function else f" (in {place.function(first.site)})"
    return f"{place.function(entered)} {act}{inner}; it is called at {place.line(calls[0])}"


def _scoring(
    first: Learned, learn_calls: Sequence[Site], scored: Scored, score_calls: Sequence[Site], place: Places
) -> str:
    result = "that gives the reported score" if scored.metric.reported else f"that prints {scored.metric.label!r}"
    if score_calls:
        return f"before the evaluation at {place.line(score_calls[0])} {result}"
    here = place.line(scored.site)
    learn_line = learn_calls[0].line if learn_calls else first.site.line
    again = learn_line >= scored.site.line and first.site.path == scored.site.path
    verb = "and later scores" if again else "before it scores"
    subject = f"{scored.region.text} again" if again else scored.region.text
    return f"{verb} {subject} at {here}, {result.replace('that gives', 'which gives').replace('that prints', 'for')}"


def _call_steps(calls: Sequence[Site], target: Site) -> list[Step]:
    callees = [*(call.function for call in calls[1:]), target.function]
    return [
        Step(call.path, call.line, f"{call.function or 'the script'} calls {callee or 'it'}")
        for call, callee in zip(calls, callees, strict=False)
    ]


def _printer_called(metric: Metric) -> list[Step]:
    """The call of a function that does nothing but measure and print: what decides on it stands where it is called."""
    calls = metric.calls[-1:]
    return _call_steps(calls, metric.site) if calls and calls[0].function else []


def _one_place(first: Step, second: Step) -> bool:
    return (first.path, first.line) == (second.path, second.line)


def _learn_step(learned: Learned) -> str:
    return f"{_VERBS[learned.manner]} {learned.region.text}; {learned.subject} now depends on these tokens"


def _score_step(scored: Scored, more: int) -> str:
    others = f" (and {more} more scoring {'place' if more == 1 else 'places'} after it)" if more else ""
    has = "has" if scored.definite else "may have"
    return f"scores {scored.region.text}, which the predictor {has} learned from{others}"


def _print_step(scored: Scored) -> str:
    reported = "the reported score" if scored.metric.reported else "a score"
    why = f": {scored.metric.why}" if scored.metric.why else ""
    return f"prints {reported}, {scored.metric.label!r}{why}"


def _shortened(steps: list[Step]) -> tuple[Step, ...]:
    if len(steps) <= MAX_STEPS:
        return tuple(steps)
    half = MAX_STEPS // 2
    return (*steps[:half], *steps[-half:])
