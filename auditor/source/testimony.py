"""From an abstract run to a ledger: which printed metric carries the claim, and what it had already learned.

A clash (see `auditor.source.predictor`) that is part of the reported number becomes a `Scored` entry with the learning
events before it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from auditor.ledger import (
    LOOKS_AHEAD,
    PART_OF_THE_TEXT,
    RULES_OF_SCORING,
    Blind,
    LateRead,
    Learned,
    Ledger,
    Manner,
    Metric,
    Region,
    Scored,
    Site,
    Violation,
)
from auditor.record.lines import Line
from auditor.record.metrics import metric_lines
from auditor.record.model import MetricLine, Record
from auditor.record.template import may_print
from auditor.source.interpreter import Interpreter
from auditor.source.predictor import mixing
from auditor.source.predictor.model import PART, SLICES, Learning, Printed
from auditor.source.scaling import is_no_unit
from auditor.source.scan import key_line
from auditor.source.scoring import MARKS
from auditor.source.stated_score import is_called_after, is_final, is_usual, metric_of, stated_label
from auditor.source.values import Atoms, Tags


@dataclass(slots=True)
class _Pass:
    """Everything printed under one template by one call: one metric."""

    template: tuple[str | None, ...]
    site: Site
    calls: tuple[Site, ...]
    order: int
    sure: bool = True
    open: bool = False  # printed only where a setting that nothing tells has some value
    atoms: set[tuple[object, ...]] = field(default_factory=set)
    possible: set[tuple[object, ...]] = field(default_factory=set)  # from prints that may not happen

    @property
    def text(self) -> str:
        return "".join("{}" if part is None else part for part in self.template)


def testify(
    run: Interpreter,
    claimed: Sequence[MetricLine],
    logged: Sequence[MetricLine],
    near: Sequence[MetricLine] = (),
    record: Record | None = None,
    *,
    nothing_reported: bool = False,
) -> Ledger:
    """The ledger of an abstract run. `claimed` are the logged lines that carry the claim, `near` those nearest to it
    where none does, `logged` all metric lines; `record` is asked for the name of the claimed line where none tells.
    Where `nothing_reported` says that there is neither a claim nor a logged score, each printed score is asked what
    rules it breaks."""
    passes = _passes(run.predictors.printed, logged)
    untold = record if not (claimed or logged or nothing_reported) else None
    named = _named(passes, untold) if untold else None
    reported, why = named or _reported(passes, claimed, near)
    why = "no score is claimed, and no log prints one; this is the last one it prints" if nothing_reported else why
    _doubt_alternatives(reported)
    metrics = tuple(
        Metric(
            item.text.strip()[:120],
            item.site,
            item.calls,
            item in reported,
            why if item in reported else "",
            tied=any(may_print(item.template, line.raw) for line in (claimed or logged))
            or (item in reported and _seen_at_work(run, item)),
        )
        for item in passes
    )
    scored = tuple(
        entry
        for item, metric in zip(passes, metrics, strict=True)
        if metric.reported
        for entry in _scored(run, item, metric)
    )
    violations = [found for item in reported for found in _violations(run, item)]
    rivals = _rivals(run, passes, reported, untold) if untold and not named else []
    spared = _spared(run, [*reported, *rivals]) if named or rivals else set()
    scored = tuple(_in_question(entry) if "C3" in spared and entry.after else entry for entry in scored)
    violations = [_in_question(found) if found.rule in spared else found for found in violations]
    if nothing_reported:
        metrics = tuple(
            replace(metric, breaks=tuple(sorted(_broken(run, item)))) if _is_result(item) else metric
            for item, metric in zip(passes, metrics, strict=True)
        )
    blind = [*run.blind, *_unseen(run, passes, reported, claimed)]
    return Ledger(
        metrics=metrics,
        scored=scored,
        learned=tuple(dict.fromkeys(_learned(run, event) for event in run.predictors.events)),
        violations=tuple(dict.fromkeys([*violations, *_elsewhere(run)])),
        blind=tuple(dict.fromkeys(blind)),
        late_reads=_late_reads(run),
        finished=run.finished,
        why_unfinished=run.why_unfinished,
    )


def _passes(printed: Sequence[Printed], logged: Sequence[MetricLine]) -> list[_Pass]:
    """Printed lines that are metrics, one entry for all printers (console, log file) that one call's line reaches."""
    labels = [line.raw for line in logged[-400:]]
    found: dict[tuple[object, ...], _Pass] = {}
    for item in printed:
        lowered = "".join(part or "" for part in item.template).lower()
        if "bpb" not in lowered and not (
            any(word in lowered for word in ("loss", "bits", "score"))
            and any(may_print(item.template, raw) for raw in labels)
        ):
            continue
        where = item.calls[-1] if item.calls else item.site
        key = (item.template, item.calls[:-1], where)
        entry = found.get(key)
        if entry is None:
            entry = found[key] = _Pass(item.template, where, item.calls[:-1], item.order, item.sure, item.open)
        entry.open = entry.open and item.open
        entry.order = max(entry.order, item.order)
        entry.sure = entry.sure or item.sure
        (entry.atoms if item.sure else entry.possible).update(item.atoms)
    return sorted(found.values(), key=lambda entry: entry.order)


def _reported(
    passes: list[_Pass], claimed: Sequence[MetricLine], near: Sequence[MetricLine]
) -> tuple[list[_Pass], str]:
    """The passes that print the claimed line; failing that, the last metric the script prints, and what prints the
    lines nearest to the claim."""
    best = _printing(passes, claimed)
    if best:
        line = next(line for line in claimed if may_print(best[0].template, line.raw))
        return best, f"its line is the one with the claimed score ({line.place.path}, line {line.place.line})"
    if not passes:
        return [], ""
    found = [item for item in _printing(passes, near) if item is not passes[-1]]
    why = "no logged line with the claimed score matches a line the script prints; this is the last one it prints"
    return [*found, passes[-1]], f"{why}, or the nearest to the claim" if found else why


def _named(passes: list[_Pass], record: Record) -> tuple[list[_Pass], str] | None:
    """The passes that print the line which submission.json or the README names as that of the score."""
    labels = {id(item): metric.label for item in passes if (metric := metric_of(item.template)) is not None}
    stated = stated_label(record, labels.values())
    if stated is None:
        return None
    label, place = stated
    why = f"the submission names its line ({place.path.rpartition('/')[2]}, line {place.line})"
    return [item for item in passes if labels.get(id(item)) == label], why


def _rivals(run: Interpreter, passes: list[_Pass], reported: list[_Pass], record: Record) -> list[_Pass]:
    """Other final scores that the script prints and that may be the claimed one."""
    labels = [metric.label for item in reported if (metric := metric_of(item.template)) is not None]
    if any(is_usual(label) or is_called_after(record, run.path.rpartition("/")[0], label) for label in labels):
        return []
    return [item for item in passes if item not in reported and item.sure and is_final(item.template)]


def _spared(run: Interpreter, passes: list[_Pass]) -> set[str]:
    """Rules that some of the scores break for certain and others do not."""
    broken = [_broken(run, item) for item in passes]
    return {rule for rules in broken for rule in rules if not all(rule in other for other in broken)}


def _broken(run: Interpreter, item: _Pass) -> set[str]:
    rules = {found.rule for found in _violations(run, item) if found.definite}
    return rules | {"C3"} if _learned_first(run, item) else rules


def _learned_first(run: Interpreter, item: _Pass) -> bool:
    """True when a score was certainly made after learning from its tokens."""
    clashes = (atom for atom in item.atoms if atom[0] == "clash")
    return any(not _doubt(run, item, int(str(atom[2])), [int(str(atom[1]))]) for atom in clashes)


def _in_question[Event: (Scored, Violation)](event: Event) -> Event:
    doubt = "the script prints final scores without this, too, and nothing tells which one is claimed"
    return replace(event, definite=False, doubt=doubt) if event.definite else event


def _printing(passes: list[_Pass], lines: Sequence[MetricLine]) -> list[_Pass]:
    """The passes whose template is the longest that may have printed one of `lines`."""
    best: list[_Pass] = []
    strength = 0
    for item in passes:
        if not any(may_print(item.template, line.raw) for line in lines):
            continue
        weight = sum(len(part) for part in item.template if part is not None)
        if weight > strength:
            best, strength = [item], weight
        elif weight == strength:
            best.append(item)
    return best


def _doubt_alternatives(reported: list[_Pass]) -> None:
    """Of several places that may print the claimed line, one that an unknown setting opens may not have been it."""
    for item in reported:
        if item.open and len(reported) > 1:
            item.sure = False
            item.possible |= item.atoms
            item.atoms = set()


def _seen_at_work(run: Interpreter, item: _Pass) -> bool:
    """True when the log has lines that only the function prints where the metric's predictions are made or changed.

    Then that function made the reported score, whatever the line with the score was called when it was logged. The
    functions that print the metric, and those that call them, run in every case.
    """
    around = {item.site.function, *(call.function for call in item.calls)}
    numbers = {atom[2] if atom[0] == "clash" else atom[1] for atom in item.atoms if atom[0] in _PLACED | {"clash"}}
    places = [run.predictors.sites[int(str(number))][0] for number in numbers]
    sites = [site for site in places if site.function not in around]
    return any(
        isinstance(node, ast.FunctionDef)
        and any(site.function == node.name and node.lineno <= site.line <= (node.end_lineno or 0) for site in sites)
        and run.logged.shows(node.body)
        for node in run.entered
    )


def _is_result(item: _Pass) -> bool:
    """Whether a printed line is a result, as far as its words tell: no validation during training, no running value."""
    line = Line(0, "".join("1" if part is None else part for part in item.template).strip())
    return not any(found.during_training or found.running for found in metric_lines(line, ""))


def _scored(run: Interpreter, item: _Pass, metric: Metric) -> list[Scored]:
    """One entry for each place where the metric's predictions were made, with what had been learned before."""
    by_site: dict[int, set[int]] = {}
    for atom in item.atoms | item.possible:
        if atom[0] == "clash":
            by_site.setdefault(int(str(atom[2])), set()).add(int(str(atom[1])))
    entries = []
    for number, events in sorted(by_site.items()):
        site, calls = run.predictors.sites[number]
        sure = {event for event in events if not _doubt(run, item, number, [event])}
        for some in (sorted(sure), sorted(events - sure)):  # what is proved of one learner is not of another
            if some:
                doubt = _doubt(run, item, number, some)
                learnings = tuple(dict.fromkeys(_learned(run, run.predictors.events[event]) for event in some))
                region = Region("validation tokens")
                entries.append(Scored(region, metric, site, calls, learnings, not doubt, doubt))
    if not entries:
        entries.append(Scored(Region("validation tokens"), metric, metric.site, metric.calls))
    return entries


def _doubt(run: Interpreter, item: _Pass, site: int, events: list[int]) -> str:
    """Why the overlap is only possible; empty when one of the events is certain."""
    if not any(("clash", number, site) in item.atoms for number in events):
        return "the score is printed on a condition that may not be met"
    if any((number, site) in run.predictors.certain for number in events):
        return ""
    return "that the tokens it learned from are those scored afterwards could not be settled"


def _violations(run: Interpreter, item: _Pass) -> list[Violation]:
    """What the reported number was computed with that C1, C2, C4, TRAINDATA or PAIDPREFIX forbid."""
    found: list[Violation] = []
    for atom in sorted(item.atoms | item.possible, key=str):
        judge = _VERDICTS.get(str(atom[0]))
        if judge is not None:
            found.extend(_as_sure_as(run, item, atom, judge(run, item, atom)))
    found.extend(_selected(run, item))
    found.extend(_fitted(run, item))
    found.extend(_beyond_what_is_scored(run, item))
    found.extend(_in_the_artifact(run, item))
    again = _scored_again(run, item)
    return found if again is None else [*found, again]


def _selected(run: Interpreter, item: _Pass) -> list[Violation]:
    """What was scored had been chosen by its score on the same tokens: C4 asks for one pass."""
    for atom in sorted((atom for atom in item.atoms | item.possible if atom[0] == "clash"), key=str):
        event = run.predictors.events[int(str(atom[1]))]
        if event.manner is Manner.SELECTION:
            sites = ((event.site, "a choice by validation score changes the predictor here"), _printed_at(item))
            what = "the tokens of the reported score were scored before, to choose what is scored now"
            return [Violation("C4", what, sites, False, "what the choice was between could not be followed")]
    return []


def _fitted(run: Interpreter, item: _Pass) -> list[Violation]:
    """A prediction made by what was fitted, just before, on the very tokens that it predicts: C1 as well as C3."""
    in_part: list[tuple[int, int]] = []
    for _, number, place in sorted(atom for atom in item.atoms if atom[0] == "clash"):
        if (number, place) in run.predictors.fitted and place not in run.predictors.epochs:
            event, site = run.predictors.events[int(str(number))], run.predictors.sites[int(str(place))][0]
            sites = ((event.site, "the predictor is fitted to the tokens here"), (site, "they are predicted here"))
            what = "the prediction for a token is made by what was fitted to that very token just before"
            return [Violation("C1", what, (*sites, _printed_at(item)), True)]
        if (number, place) in run.predictors.partly_fitted and place not in run.predictors.epochs:
            in_part.append((int(str(number)), int(str(place))))
    for number, place in in_part[:1]:
        learned, predicted = run.predictors.events[number].site, run.predictors.sites[place][0]
        sites = (
            (learned, "the predictor is fitted to a slice of the window here"),
            (predicted, "it is predicted here"),
        )
        what = "predictions for a window are made by what was fitted to a slice of that window just before"
        doubt = "whether tokens of that slice count in the score could not be followed"
        return [Violation("C1", what, (*sites, _printed_at(item)), False, doubt)]
    return []


def _as_sure_as(run: Interpreter, item: _Pass, atom: tuple[object, ...], found: list[Violation]) -> list[Violation]:
    """What was seen where the reported run may not have been is only possible."""
    doubt = ""
    if atom not in item.atoms:
        doubt = "the score is printed on a condition that may not be met"
    elif atom[0] in _PLACED and int(str(atom[1])) not in run.predictors.reached:
        doubt = "a setting that nothing tells decides whether this happens"
    if not doubt:
        return found
    return [replace(entry, definite=False, doubt=doubt) if entry.definite else entry for entry in found]


def _printed_at(item: _Pass) -> tuple[Site, str]:
    return item.site, "the reported score is printed"


def _place(run: Interpreter, atom: tuple[object, ...]) -> Site:
    return run.predictors.sites[int(str(atom[1]))][0]


def _blend(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    """The realised token's probability mixed with a number looked up for that token alone: C2, and C1 by its key."""
    sites = (*_looked_up(run, int(str(atom[1]))), (_place(run, atom), _MIXED_HERE), _printed_at(item))
    if atom[2] == mixing.OPEN:
        doubt = "whether the realised token is one of those they were looked up under could not be followed"
        return [Violation(rule, _SOME_COUNTS, sites, False, doubt) for rule in ("C1", "C2")]
    if atom[2] == mixing.KEY:
        return [Violation("C2", _TOKEN_ALONE, sites, True), Violation("C1", _IN_THE_KEY, sites, True)]
    doubt = "exact counts may be normalized all the same; a hashed or backed-off count is not"
    own_count = Violation("C1", _OWN_COUNT, sites, False, doubt)
    if atom[2] == mixing.BYTES:
        return [Violation("C2", _OVER_BYTES, (*_spread(run, item), *sites), True), own_count]
    hashed = _in_hashed_table(run, atom)
    if atom[2] == mixing.WHOLE and not (hashed and any(other[0] == "entropy" for other in item.atoms)):
        doubt = "the counts may be those of a distribution, and the mixture with them may sum to one"
        return [Violation("C2", _TOKEN_ALONE, sites, False, doubt), own_count]
    unnormal = [Violation("C2", _TOKEN_ALONE, sites, True)] if atom[2] == mixing.COUNT else []
    return [*unnormal, Violation("C1", _SHARE_OF_NO_DISTRIBUTION, sites, True) if hashed else own_count]


_MIXED_HERE = "the probability of the realised token is mixed here"
_SOME_COUNTS = "counts that were looked up under tokens are mixed into the realised token's probability"
_OWN_COUNT = "a count is looked up for the realised token itself before its probability is mixed"
_TOKEN_ALONE = (
    "the model's probability of the realised token is mixed with a count looked up for that token alone; "
    "no distribution over the vocabulary is computed or normalised"
)
_IN_THE_KEY = (
    "the realised token is part of the hash key under which its own probability is looked up, "
    "before it is mixed into the model's prediction for that token"
)
_OVER_BYTES = (
    "the probability of the realised token is spread over its bytes and mixed with counts: "
    "what is scored is no distribution over the tokens, nor over the bytes"
)
_SHARE_OF_NO_DISTRIBUTION = (
    "a count is looked up in a hashed table for the realised token alone and mixed into that token's own probability, "
    "and the mixture is no distribution over the vocabulary"
)


def _spread(run: Interpreter, item: _Pass) -> tuple[tuple[Site, str], ...]:
    places = sorted(int(str(atom[1])) for atom in item.atoms if atom[0] == "spread")[:1]
    return tuple((run.predictors.sites[place][0], "a token's probability is spread over its bytes") for place in places)


def _in_hashed_table(run: Interpreter, blend: tuple[object, ...]) -> bool:
    """True where what is mixed in was looked up for the realised token in a table under hashes."""
    found = run.predictors.blended.get(int(str(blend[1])), ())
    hashed = {number for look_up, number in run.predictors.look_ups.items() if look_up.hashed}
    return any(known and number in hashed for _, number, known, _ in found)


def _entropy(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    what = (
        "the entropy of the model's prediction is mixed as if it were a loss of the realised token: "
        "it is the same number for every token, so that the mixture sums to more than one"
    )
    return [Violation("C2", what, ((_place(run, atom), _MIXED_HERE), _printed_at(item)), True)]


def _looked_up(run: Interpreter, mixed: int) -> Iterator[tuple[Site, str]]:
    """Where what is mixed in was looked up, each after the line that makes its key: for the token, if that is known."""
    found: dict[int, tuple[bool, bool]] = {}
    for _, number, known, keyed in run.predictors.blended.get(mixed, ()):
        found[number] = max(found.get(number, (False, False)), (keyed, known))
    best = max(found.values(), default=(False, False))
    shown = sorted(number for number, what in found.items() if what == best)[: 1 if any(best) else 2]
    for look_up in [look_up for look_up, number in run.predictors.look_ups.items() if number in shown]:
        site = run.predictors.sites[look_up.place][0]
        if line := key_line(look_up.scope, site.line, look_up.key):
            yield replace(site, line=line), "the key is made here"
        yield site, "a count is looked up for the realised token here" if any(best) else "a count is looked up here"


def _mixed(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    """Something looked up under a hash of tokens, the realised one perhaps, mixed into its probability."""
    what = "something looked up under a hash of tokens is mixed with the realised token's probability or loss"
    sites = ((_place(run, atom), "they are mixed here"), _printed_at(item))
    doubt = "what the table holds, and whether the hash contains the realised token, could not be followed"
    return [Violation("C1", what, sites, False, doubt), Violation("C2", what, sites, False, doubt)]


def _peeked(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    sites = ((_place(run, atom), "what is scored here was made of the tokens it is scored on"), _printed_at(item))
    what = "a prediction is scored on tokens that it was made of"
    doubt = "whether each token's own prediction, or only a later one, depends on it could not be followed"
    found = [Violation("C1", what, sites, False, doubt)]
    if atom[2:] == ("whole",):
        found.append(Violation("C3", "a prediction is made of numbers taken from the whole text", sites, False, doubt))
    if atom[2:] == ("answers",):
        what = "a prediction is made of an average over the tokens that it is scored on"
        found.append(Violation("C3", what, sites, False, doubt))
    return found


def _ahead(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    """The model's own code has something that no causal model needs."""
    sites = ((_place(run, atom), str(atom[2])), _printed_at(item))
    what = f"the scored predictions come from a model with {atom[2]}"
    doubt = "whether it is the text's places that it goes over could not be followed"
    return [Violation("C1", what, sites, False, doubt, kind=LOOKS_AHEAD)]


def _told(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    """What native code proposes for a token, knowing that token, changes its score."""
    if not atom[2] and ("told", atom[1], True) in item.atoms:
        return []  # said with certainty
    called, known = _place(run, atom), run.native.told.get(int(str(atom[1])))
    what = "a hint that changes the scored probability is made with knowledge of the very token that is predicted"
    inner = ((known[0], known[1]),) if known is not None else ()
    sites = (*inner, (called, "native code makes hints for validation tokens here"), _printed_at(item))
    doubt = "" if atom[2] else "whether what knows the token decides a score could not be followed"
    return [Violation("C1", what, sites, bool(atom[2]), doubt)]


def _beyond_what_is_scored(run: Interpreter, item: _Pass) -> list[Violation]:
    """Windows of which a constant first part is scored, and learned from as a whole before the next one is scored."""
    regions = [atom[1] for atom in item.atoms if atom[0] == "val" and isinstance(atom[1], frozenset)]
    prefixes = {number for text, number in run.parts.items() if _FIRST_PART.search(text)}
    acts = {act for region in regions for act, _ in region if act >= 0}
    for number in sorted(int(str(atom[1])) for atom in item.atoms if atom[0] == "under"):
        event = run.predictors.events[number]
        shared = {act for act, _ in event.tags if act in acts}
        if event.manner is not Manner.GRADIENT or not shared or any(act in SLICES for act, _ in event.tags):
            continue
        taken = [region for region in regions if any(act in shared for act, _ in region)]
        if all(any(act == PART and part in prefixes for act, part in region) for region in taken):
            sites = ((event.site, "the predictor learns from the whole window here"), _printed_at(item))
            what = "of each window only a first part is scored, and all of it is learned from before the next is scored"
            doubt = "whether the next window scores the rest could not be followed"
            return [Violation("C3", what, sites, False, doubt)]
    return []


def _in_the_artifact(run: Interpreter, item: _Pass) -> list[Violation]:
    """What surely learned from the tokens that it is scored on, and stood in a file in between."""
    for _, number, place in sorted(atom for atom in item.atoms if atom[0] == "clash"):
        event = run.predictors.events[int(str(number))]
        if (number, place) not in run.predictors.certain or number not in run.predictors.read_back:
            continue
        written = run.predictors.sites[run.predictors.serialised[int(str(number))]][0]
        sites = (
            (event.site, "the model learns from validation tokens here"),
            (written, "it is written to a file here"),
        )
        what = "what was learned from validation tokens is written into the file that the reported score is made from"
        doubt = "whether that file is the artifact is for a person to see"
        return [Violation("PAIDPREFIX", what, (*sites, _printed_at(item)), False, doubt)]
    return []


def _unnormal(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    sites = ((_place(run, atom), "probabilities or losses are changed here"), _printed_at(item))
    what = "probabilities are changed, and not normalised again, before they are scored"
    return [Violation("C2", what, sites, False, "whether they sum to one all the same could not be followed")]


def _scaled(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    by = float(str(atom[2]))
    if not is_no_unit(by):
        return []
    done = f"multiplied by {by:g}" if by > 0 else f"made smaller by {-by:g}"
    sites = ((_place(run, atom), f"losses are {done} here"), _printed_at(item))
    what = f"the losses of the realised tokens are {done} on their way to the reported score"
    doubt = "what the constant stands for is for a person to see"
    return [Violation("C2", what, sites, False, doubt)]


_FIRST_PART = re.compile(r"\((?:None|0), [1-9]\d*\)$")  # ``[:512]``, as the text of a slice
_SURELY_PART = (1_000_000, 15_000_000)  # tokens: more than any batch or chunk, and 10 bytes of the full text for each


def _subset(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    size = run.predictors.part_sizes.get(int(str(atom[1])))
    sites = ((_place(run, atom), "only a part of the validation tokens is taken here"), _printed_at(item))
    if size is not None and _SURELY_PART[0] <= size <= _SURELY_PART[1]:
        what = f"the reported score is computed on the first {size:,} validation tokens at most"
        return [Violation("C4", what, sites, True, kind=PART_OF_THE_TEXT)]
    what = "the reported score is computed on a part of the validation tokens"
    doubt = "how many tokens the full set has is not in the script"
    return [Violation("C4", what, sites, False, doubt, kind=PART_OF_THE_TEXT)]


def _share(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    """One process's part of the text; nothing to say where the processes put their sums together."""
    if run.reduced:
        return []
    sites = ((_place(run, atom), "one process's part of the validation tokens is taken here"), _printed_at(item))
    what = "the reported score is computed by one of several processes on its part of the validation tokens"
    return [Violation("C4", what, sites, False, "how the parts are put together could not be followed")]


def _stored(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    sites = ((_place(run, atom), "validation tokens are written to a file here"), _printed_at(item))
    what = "validation tokens are stored in a file that is read again for the reported score"
    return [Violation("PAIDPREFIX", what, sites, False, "whether the file is part of the artifact is open")]


def _answers(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    sites = (
        (_place(run, atom), "the tokens to be predicted are compared with the contents of a file here"),
        _printed_at(item),
    )
    what = "the reported score uses a file that holds the answers for some validation tokens"
    return [Violation("PAIDPREFIX", what, sites, True)]


def _retrained(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    sites = (
        (_place(run, atom), "the model read back from the artifact learns from training tokens"),
        _printed_at(item),
    )
    what = "the model that is scored learned from training tokens after it was read back from the artifact"
    return [Violation("TRAINDATA", what, sites, True)]


def _training_tokens(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    what = "the reported score is computed with training tokens that did not pass through the artifact"
    return [Violation("TRAINDATA", what, (_printed_at(item),), False, "when they were read is not established")]


def _scored_again(run: Interpreter, item: _Pass) -> Violation | None:
    """The tokens of the reported score were scored more than once: C4."""
    clashes = sorted((atom for atom in item.atoms | item.possible if atom[0] == "clash"), key=str)
    for sure in (True, False):
        known = run.predictors.certain if sure else run.predictors.likely
        for atom in clashes:
            if (atom[1], atom[2]) in known and (atom in item.atoms or not sure):
                found = _second_pass(run, item, int(str(atom[1])), int(str(atom[2])))
                if found is not None:
                    what, sites = found
                    doubt = "" if sure else "a setting that nothing tells decides whether this happens"
                    return Violation("C4", what, sites, sure, doubt)
    return None


def _second_pass(
    run: Interpreter, item: _Pass, number: int, place: int
) -> tuple[str, tuple[tuple[Site, str], ...]] | None:
    """Why scoring at `place` after learning event `number` scores tokens again, and where to look; None if it may not.

    Learning from tokens and scoring them then is C3; it is C4 as well where they had been scored before the learning.
    """
    event = run.predictors.events[number]
    site, _ = run.predictors.sites[place]
    printed = _printed_at(item)
    act = run.predictors.epochs.get(place, -1)
    if place in run.predictors.rescored and item.sure and not _sums_once(run, act):
        name, line = run.loops[act]
        loop = (Site(site.path, line, site.function), "each iteration of this loop takes the same tokens")
        what = f"the same tokens are scored in more than one iteration of the loop over {name or 'while'} (line {line})"
        return what, (loop, (site, "they are scored here, again after learning from them"), printed)
    if event.manner in (Manner.CACHE, Manner.STATISTICS):
        counted = (event.site, "counts of the validation tokens are collected here")
        what = "the tokens are scored again after a cache was filled from all of them: a second pass"
        return what, (counted, (site, "the same tokens are scored with these counts here"), printed)
    if number in run.predictors.after_scoring and not any(_sums_once(run, live) for live in event.live):
        first = (event.site, "a pass that scores the validation tokens learns from them here")
        what = "the tokens are scored again by weights that a pass which had scored them has adapted: a second pass"
        return what, (first, (site, "the same tokens are scored again here"), printed)
    return None


def _sums_once(run: Interpreter, act: int) -> bool:
    """True for a loop that adds losses to a sum in an iteration of its choice alone: the others score nothing."""
    return run.predictors.sums.get(act) == {True}


def _choice(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    """Keeping the smaller of several losses: C4 where passes over the same tokens compete, else C1."""
    site, _ = run.predictors.sites[int(str(atom[1]))]
    sure = bool(atom[3])
    doubt = "" if sure else "it may be a choice between whole runs"
    sites = ((site, "the smaller of several losses is kept here"), (item.site, "the reported score is printed"))
    if atom[2]:
        what = "the reported score keeps the better of several scores of the same tokens"
        found = [Violation("C4", what, sites, sure, doubt)]
        if atom[4:] == ("branch",):
            what = "which of several predictions counts is decided by their losses on the realised tokens"
            found.append(Violation("C1", what, sites, sure, doubt))
        return found
    what = "which prediction counts is chosen by its loss on the realised token"
    scores = "the better of several scores of the same tokens counts"
    return [
        Violation("C1", what, sites, sure, doubt),
        Violation("C4", scores, sites, False, "they may be of one pass, which is C1 alone"),
    ]


def _reopened(run: Interpreter, item: _Pass, atom: tuple[object, ...]) -> list[Violation]:
    """A token's reported loss may be that of a later pass: it was not settled when the token was learned from."""
    event = run.predictors.events[int(str(atom[2]))]
    what = "tokens are learned from before their reported score is settled: a later pass over them may replace it"
    sites = (
        (event.site, "a pass over the validation tokens learns from them here"),
        (_place(run, atom), "the smaller of the losses of several passes is kept here"),
        _printed_at(item),
    )
    return [Violation("C3", what, sites, True)]


_VERDICTS: dict[str, Callable[[Interpreter, _Pass, tuple[object, ...]], list[Violation]]] = {
    "blend": _blend,
    "entropy": _entropy,
    "choice": _choice,
    "reopened": _reopened,
    "mixed": _mixed,
    "peeked": _peeked,
    "ahead": _ahead,
    "told": _told,
    "unnormal": _unnormal,
    "scaled": _scaled,
    "share": _share,
    "subset": _subset,
    "stored": _stored,
    "answers": _answers,
    "train": _training_tokens,
    "retrained": _retrained,
}
_PLACED = MARKS | {"stored", "answers", "retrained", "reopened"}  # atoms whose second item is a place


def _elsewhere(run: Interpreter) -> list[Violation]:
    """What the run does apart from the reported metric: mixed training, network access."""
    found = _mixed_training(run)
    for numbers, rule, what, doubt in (
        (run.predictors.answered, "PAIDPREFIX", "tokens to be predicted are compared with what a file holds",
         "whether the answer decides what is scored could not be followed"),
        (run.predictors.kept_text, "PAIDPREFIX", "validation tokens, or a number read with them, reach the model",
         "whether they get into the artifact could not be followed"),
        (run.predictors.late_training, "TRAINDATA", "a model that was loaded from a file learns from training tokens",
         "it may be training that is taken up again"),
    ):  # fmt: skip
        for number in dict.fromkeys(numbers):
            site, _ = run.predictors.sites[number]
            found.append(Violation(rule, what, ((site, "here"),), False, doubt))
    for number, text in dict.fromkeys(run.predictors.outside):
        site, _ = run.predictors.sites[number]
        what = f"{text} while the script runs"
        doubt = "whether it happens within training or evaluation is for a person to see"
        found.append(Violation("EXTERNAL", what, ((site, text),), False, doubt))
    return found


def _mixed_training(run: Interpreter) -> list[Violation]:
    """Steps on training and validation tokens together whose weights get into what is stored; a question where nothing
    reads the file again, or where no model is stored at all and training went on from them."""
    predictors = run.predictors
    asked = predictors.mixed_stored if predictors.stored_a_model else predictors.mixed_continued
    found: dict[int, bool] = {}
    for number, place in predictors.mixed_steps.items():
        if number in predictors.mixed_reloaded:
            found[place] = True
        elif number in asked:
            found.setdefault(place, False)
    named = tuple(
        (predictors.sites[place][0], "the files of both splits are named here")
        for place in sorted(predictors.both_splits)[:2]
    )
    what = "the model is trained on validation tokens together with training tokens"
    doubt = "whether these weights are the submitted ones could not be followed"
    return [
        Violation(
            "PAIDPREFIX", what, (*named, (predictors.sites[place][0], "a step on both")), sure, "" if sure else doubt
        )
        for place, sure in found.items()
    ]


_STOP_SECONDS = (60.0, 3600.0)  # what a training loop's clock is compared with is its stop if it is of this size


def _late_reads(run: Interpreter) -> tuple[LateRead, ...]:
    """Training tokens read after the last training step, and when that step was made at the latest.

    Where the clock is compared with something unknown too, the time of the stop is not known. Of several stops the
    earliest counts: the later ones may be a reserve's.
    """
    predictors = run.predictors
    stops, steps = [], [0]
    told = True
    for act in predictors.training_loops:
        limits = predictors.time_limits.get(act, set())
        found = [seconds for number in limits if number and (seconds := _as_seconds(number))]
        told = told and None not in limits
        if found:
            stops.extend(found)
            steps.extend(predictors.step_limits.get(act, ()))
    stop = min(stops) if stops and told else None
    places = dict.fromkeys(predictors.sites[number] for number in predictors.late_reads)
    unique = dict(reversed(places))
    return tuple(LateRead(site, calls, stop, max(steps) or None) for site, calls in unique.items())


def _as_seconds(number: float) -> float | None:
    """The seconds of a time limit in seconds or milliseconds; None for a number that is no such limit."""
    shortest, longest = _STOP_SECONDS
    seconds = number / 1000 if number >= 1000 * shortest else number
    return seconds if shortest <= seconds <= longest else None


def _learned(run: Interpreter, event: Learning) -> Learned:
    name = event.subject.name
    return Learned(Region(region_text(run, event.tags)), name, event.manner, event.site, event.calls)


def region_text(run: Interpreter, tags: Tags) -> str:
    """A region for a reader."""
    loops = sorted({run.loops[act] for act, _ in tags if act in run.loops}, key=lambda loop: loop[1])
    if not loops:
        return "validation tokens"
    named = " and ".join(f"{name or 'while'} (line {line})" for name, line in loops[:3])
    return f"the validation tokens that the loop over {named} walks through"


def _unseen(run: Interpreter, passes: list[_Pass], reported: list[_Pass], claimed: Sequence[MetricLine]) -> list[Blind]:
    """What keeps this ledger from acquitting the script."""
    place = Site(run.path, 0)
    if not passes:
        return [
            Blind(
                "no printed validation score was found that is computed from validation tokens", place, RULES_OF_SCORING
            )
        ]
    if claimed and reported and not any(may_print(item.template, line.raw) for item in reported for line in claimed):
        label = claimed[0].label or claimed[0].raw[:40]
        text = (
            f"the script prints no line like the one with the claimed score ({label!r}): "
            "other code produced it, or it is printed in a way that could not be followed"
        )
        return [Blind(text, place, RULES_OF_SCORING)]
    if reported and not any(_predicted(item.atoms | item.possible) for item in reported):
        return [Blind("how the reported score is computed from a model could not be followed", place, RULES_OF_SCORING)]
    return []


def _predicted(atoms: set[tuple[object, ...]] | Atoms) -> bool:
    return any(atom[0] in ("model", "under", "clash", "state") for atom in atoms)
