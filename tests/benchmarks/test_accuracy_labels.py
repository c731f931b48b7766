"""Labels say little each; what they say about a rule must be neither widened nor lost."""

import json
from pathlib import Path

import pytest

from benchmarks.accuracy.labels import EVALUATION_ORDER_RULES, RULES, Label, LabelError, expectations, read_labels


def label(number: int, verdict: str, *rules: str, tier: str = "organizer", head_may_differ: bool = False) -> Label:
    return Label(number, "c0ffee", verdict, rules, tier, head_may_differ)


def spoken(*labels: Label) -> dict[str, set[tuple[int, str, str]]]:
    expected = expectations(labels)
    return {
        verdict: {(item.pull_request, item.rule, item.group) for item in getattr(expected, verdict)}
        for verdict in ("illegal", "legal", "disputed", "incomplete")
    }


def test_an_illegal_label_speaks_only_about_its_own_rules() -> None:
    said = spoken(label(1, "illegal", "C3"))
    assert said["illegal"] == {(1, "C3", "organizer")}
    assert not said["legal"]


def test_an_acceptance_covers_every_rule_a_limited_one_only_its_own() -> None:
    said = spoken(label(1, "legal", tier="merged"), label(2, "legal", "C4"))
    assert {rule for number, rule, _ in said["legal"] if number == 1} == set(RULES)
    assert {rule for number, rule, _ in said["legal"] if number == 2} == {"C4"}


@pytest.mark.parametrize("tier", ["community", "self"])
def test_a_clean_review_covers_only_the_order_of_evaluation(tier: str) -> None:
    said = spoken(label(1, "legal", tier=tier))
    assert {rule for _, rule, _ in said["legal"]} == set(EVALUATION_ORDER_RULES)
    assert "SIZE" not in EVALUATION_ORDER_RULES


def test_the_more_trusted_group_overrules() -> None:
    said = spoken(
        label(1, "illegal", "C1", tier="ruling-list"),
        label(1, "legal", tier="community"),
        label(2, "legal", tier="merged"),
        label(2, "illegal", "C3", tier="community"),
    )
    assert (1, "C1", "organizer") in said["illegal"]
    assert not any(rule == "C1" for number, rule, _ in said["legal"] if number == 1)
    assert (1, "C2", "community") in said["legal"]
    assert (2, "C3", "organizer") in said["legal"]
    assert not any(number == 2 for number, _, _ in said["illegal"])


def test_within_a_group_a_doubt_outweighs_a_clearance() -> None:
    said = spoken(
        label(1, "legal", tier="community"),
        label(1, "disputed", "C3", tier="community"),
        label(2, "disputed", "C3", tier="self"),
        label(2, "illegal", "C3", tier="self"),
    )
    assert said["disputed"] == {(1, "C3", "community")}
    assert (1, "C3", "community") not in said["legal"]
    assert said["illegal"] == {(2, "C3", "self")}


def test_incomplete_evidence_does_not_take_an_acceptance_away() -> None:
    said = spoken(label(1, "incomplete", "FORMAT"), label(1, "legal", tier="merged"))
    assert said["incomplete"] == {(1, "FORMAT", "organizer")}
    assert (1, "FORMAT", "organizer") in said["legal"]


def test_two_verdicts_of_one_group_count_once() -> None:
    expected = expectations([label(1, "illegal", "C4"), label(1, "illegal", "C4", "C1", tier="ruling-list")])
    assert [(item.pull_request, item.rule) for item in expected.illegal] == [(1, "C1"), (1, "C4")]


def test_a_changed_head_is_remembered() -> None:
    expected = expectations([label(1, "illegal", "C3", head_may_differ=True)])
    assert expected.illegal[0].head_may_differ


LINE = {"pr": 7, "head": "c0ffee", "verdict": "illegal", "rules": ["C3"], "tier": "self", "note": "not needed"}


def test_labels_are_read_from_lines(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps(LINE) + "\n\n" + json.dumps({**LINE, "pr": 8, "head_may_differ": True}) + "\n")
    assert read_labels(path) == (
        label(7, "illegal", "C3", tier="self"),
        label(8, "illegal", "C3", tier="self", head_may_differ=True),
    )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"verdict": "guilty"}, "guilty"),
        ({"tier": "rumour"}, "rumour"),
        ({"rules": ["C9"]}, "C9"),
        ({"rules": "C3"}, "C3"),
        ({"pr": "seven"}, "seven"),
    ],
)
def test_an_unusable_line_is_named(tmp_path: Path, fields: dict[str, object], named: str) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps(LINE) + "\n" + json.dumps({**LINE, **fields}) + "\n")
    with pytest.raises(LabelError, match=rf"line 2: .*{named}"):
        read_labels(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text("\n")
    with pytest.raises(LabelError, match="holds no labels"):
        read_labels(path)
