"""A ruling must not rub off on functions that it was not about."""

import ast
from textwrap import dedent

from auditor.ledger import Learned, Ledger, Manner, Metric, Region, Scored, Site, Violation
from auditor.source.lineage import Precedent, fingerprint, functions_around
from auditor.submission.model import SourceText
from benchmarks.accuracy.labels import Label
from benchmarks.lineage.building import Occurrence, Ruling, build, fingerprints, occurrences, rulings, stored


def label(number: int, verdict: str, *rules: str, tier: str = "organizer", head_may_differ: bool = False) -> Label:
    return Label(number, "c0ffee", verdict, rules, tier, head_may_differ)


def test_only_full_acceptances_and_violations_of_order_are_rulings() -> None:
    labels = [
        label(1, "illegal", "C3", "SIZE"),
        label(2, "illegal", "SIZE"),
        label(3, "legal", tier="merged"),
        label(4, "legal", "C4"),
        label(5, "illegal", "C3", head_may_differ=True),
        label(6, "incomplete", "EVIDENCE"),
        label(7, "legal", tier="community"),
        label(8, "legal", tier="community"),
        label(8, "illegal", "C1", tier="ruling-list"),
    ]
    days = {(1, "illegal"): "2026-03-20", (8, "legal"): "2026-01-01"}
    assert rulings(labels, days) == [
        Ruling(1, False, "ruling", ("C3",), "2026-03-20"),
        Ruling(3, True, "ruling", (), ""),
        Ruling(7, True, "opinion", (), ""),
        Ruling(8, False, "ruling", ("C1",), ""),
    ]


def item(mark: str, *causes: str, scores: bool = False) -> Occurrence:
    return Occurrence(mark, scores, frozenset(causes))


def ruling(number: int, *rules: str, weight: str = "ruling", day: str = "2026-03-20") -> Ruling:
    return Ruling(number, not rules, weight, rules, day)


def test_only_functions_that_break_the_rule_that_was_named_are_ruled_out() -> None:
    table = build([ruling(1, "C1")], {1: [item("cause", "C1", "C2"), item("other", "C3"), item("innocent")]})
    assert table == {"cause": Precedent(1, "2026-03-20", ("C1",), legal=False, scores=False)}


def test_a_function_on_both_sides_is_left_out() -> None:
    rulings = [ruling(1, "C3"), ruling(2)]
    assert build(rulings, {1: [item("shared", "C3")], 2: [item("shared"), item("own", scores=True)]}) == {
        "own": Precedent(2, "2026-03-20", (), legal=True, scores=True)
    }


def test_an_opinion_keeps_a_function_out_and_gives_no_entry() -> None:
    ruled_out = [ruling(1, "C3"), ruling(2, weight="opinion")]
    assert build(
        ruled_out, {1: [item("shared", "C3"), item("bad", "C3")], 2: [item("shared"), item("good")]}
    ).keys() == {"bad"}
    accepted = [ruling(1), ruling(2, "C3", weight="opinion")]
    assert build(accepted, {1: [item("shared"), item("good")], 2: [item("shared", "C3")]}).keys() == {"good"}


def test_a_function_that_stands_anywhere_in_an_accepted_script_is_not_ruled_out() -> None:
    found = {1: [item("plain sliding windows", "C4", scores=True), item("bad", "C4")]}
    assert build([ruling(1, "C4")], found, innocent={"plain sliding windows"}).keys() == {"bad"}


def test_all_functions_of_a_script_are_fingerprinted() -> None:
    functions = [node for node in ast.walk(ast.parse(SCRIPT)) if isinstance(node, ast.FunctionDef)]
    marks = {fingerprint(node) for node in functions} - {""}
    assert len(marks) == 2
    broken = SourceText("old.py", "def broken(:", "0" * 64)
    assert fingerprints((SourceText("train_gpt.py", SCRIPT, "0" * 64), broken)) == marks


def test_a_rejected_submission_does_not_spoil_what_it_copied() -> None:
    rulings = [ruling(1, "C1"), ruling(2)]
    table = build(rulings, {1: [item("copied"), item("bad", "C1")], 2: [item("copied")]})
    assert {mark: entry.legal for mark, entry in table.items()} == {"copied": True, "bad": False}


def test_the_earliest_ruling_counts() -> None:
    rulings = [ruling(3, "C3", day=""), ruling(5, "C3", day="2026-03-24"), ruling(9, "C3", day="2026-03-20")]
    assert build(rulings, {number: [item("f", "C3")] for number in (3, 5, 9)})["f"].pull_request == 9


def test_an_accepted_function_that_the_witness_accuses_gives_no_entry() -> None:
    assert build([ruling(1)], {1: [item("accused", "C3")]}) == {}


SCRIPT = dedent("""
    def adapt(model, tokens, optimizer):
        a = tokens[0]
        b = tokens[1]
        for loss in model(a, b):
            loss.backward()
            optimizer.step()
        return loss
    def evaluate(model, tokens):
        a = tokens[0]
        b = tokens[1]
        total = 0.0
        for _ in range(2):
            total += model(a, b)
        total /= 2
        return total
    def main(model, tokens, optimizer):
        x = 1
        y = 2
        z = 3
        adapt(model, tokens, optimizer)
        value = evaluate(model, tokens)
        print(value)
    main(make(), read(), optimize())
""")


def test_functions_of_a_submission_and_the_rules_broken_through_them() -> None:
    path = "train_gpt.py"
    source = SourceText(path, SCRIPT, "0" * 64)
    entry = Site(path, 23)
    learned = Learned(Region("all"), "model", Manner.GRADIENT, Site(path, 7, "adapt"), (entry, Site(path, 20, "main")))
    calls = (entry, Site(path, 21, "main"))
    scored = Scored(Region("all"), Metric("", entry, reported=True), Site(path, 13, "evaluate"), calls, (learned,))
    lookup = Violation("C1", "", ((Site(path, 13, "evaluate"), "reads the target"),), True)
    marks = {node.name: fingerprint(node) for node in functions_around(ast.parse(SCRIPT), [learned.site, scored.site])}
    found = occurrences(source, Ledger((), (scored,), (learned,), (lookup,)))
    assert sorted(found, key=lambda one: one.scores) == [
        Occurrence(marks["adapt"], False, frozenset(("C3", "C4"))),
        Occurrence(marks["evaluate"], True, frozenset(("C1",))),
    ]
    assert occurrences(SourceText(path, "def broken(:", "0" * 64), Ledger()) == []


def test_the_table_is_stored_without_anybodys_text() -> None:
    table = {"ab": Precedent(152, "2026-03-20", ("C1", "C2"), legal=False, scores=True)}
    assert stored(table)["functions"] == {"ab": [152, "2026-03-20", "C1 C2", 0, 1]}
