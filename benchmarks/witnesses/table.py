"""The table of trials, and the confusion matrices of the run witness alone and of both witnesses together."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.accuracy.labels import Expectations
from benchmarks.witnesses.trials import NO_SCRIPT

SCORING = ("C1", "C2", "C3", "C4")
_SHORT = {"fail": "FAIL", "review": "rev", "pass": "ok", "not_checked": "-", "not_applicable": "n/a"}

Row = Mapping[str, object]


def table(rows: Sequence[Row], expected: Expectations, accepted: frozenset[int]) -> str:
    """Markdown: figures first, then one row a pull request."""
    tried = [row for row in rows if row["failure"] != NO_SCRIPT]
    parts = ["# Source and run witness, side by side", "", *_totals(tried), "", *_confusion(tried, expected), ""]
    parts += [*_accused_accepted(tried, accepted), "", *_disagreements(tried), "", *_rows(tried, expected, accepted)]
    return "\n".join(parts) + "\n"


def _totals(rows: Sequence[Row]) -> list[str]:
    ran = [row for row in rows if row["ran"]]
    seconds = sorted(_number(row["seconds"]) for row in ran)
    lines = [f"{len(ran)} of {len(rows)} submissions ran to a final metric."]
    if seconds:
        lines.append(f"Seconds: median {statistics.median(seconds):.1f}, longest {seconds[-1]:.1f}.")
    classes = Counter(str(row["failure"]).partition(":")[0] for row in rows if not row["ran"])
    lines += [f"- {count} {name or 'printed no score'}" for name, count in classes.most_common()]
    return lines


def _confusion(rows: Sequence[Row], expected: Expectations) -> list[str]:
    """Statuses by what people ruled, for the run alone and for both witnesses, over the submissions that ran."""
    lines = [
        "| rule | ruled | by | n | run: fail | review | pass | not checked | both: fail | review | pass |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    known = {int(str(row["pull_request"])): row for row in rows if row["ran"]}
    groups = [("illegal", expected.illegal), ("legal", expected.legal)]
    for rule in (*SCORING, "any of C1-C4"):
        for verdict, statements in groups:
            for group in ("organizer", "community"):
                numbers = sorted(
                    {
                        item.pull_request
                        for item in statements
                        if item.group == group and (item.rule == rule or (rule not in SCORING and item.rule in SCORING))
                    }
                    & known.keys()
                )
                if not numbers:
                    continue
                alone = Counter(_status(known[number]["run"], rule) for number in numbers)
                both = Counter(_status(known[number]["both"], rule) for number in numbers)
                figures = [alone[s] for s in ("fail", "review", "pass", "not_checked")]
                figures += [both[s] for s in ("fail", "review", "pass")]
                lines.append(f"| {rule} | {verdict} | {group} | {len(numbers)} | {' | '.join(map(str, figures))} |")
    return lines


def _status(statuses: object, rule: str) -> str:
    assert isinstance(statuses, Mapping)
    if rule in SCORING:
        return str(statuses.get(rule, "not_checked"))
    found = {str(statuses.get(code, "not_checked")) for code in SCORING}
    return next((status for status in ("fail", "review", "not_checked") if status in found), "pass")


def _accused_accepted(rows: Sequence[Row], accepted: frozenset[int]) -> list[str]:
    own = [row for row in rows if int(str(row["pull_request"])) in accepted and row["ran"]]
    accused = [row for row in own if "fail" in _values(row["run"])]
    named = ", ".join(f"#{row['pull_request']}" for row in accused) or "none"
    return [f"Accepted records that ran: {len(own)}; accused by the run witness: {len(accused)} ({named})."]


def _values(statuses: object) -> list[str]:
    return [str(value) for value in statuses.values()] if isinstance(statuses, Mapping) else []


def _disagreements(rows: Sequence[Row]) -> list[str]:
    found = [(row["pull_request"], text) for row in rows for text in _texts(row["disagreements"])]
    return [f"Disagreements between the witnesses (one fails what the other passes): {len(found)}.", ""] + [
        f"- #{number} {text}" for number, text in found
    ]


def _texts(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list | tuple) else []


def _rows(rows: Sequence[Row], expected: Expectations, accepted: frozenset[int]) -> list[str]:
    lines = [
        "| PR | ruled | ran | s | log M by source, nats | smallest provable leak, nats a token | run C1-C4 "
        "| source C1-C4 | both C1-C4 | stand-ins |",
        "|--:|---|---|--:|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda item: int(str(item["pull_request"]))):
        number = int(str(row["pull_request"]))
        cells = [
            str(number),
            _ruled(number, expected, accepted),
            "yes" if row["ran"] else str(row["failure"])[:60].replace("|", "/") or "no score",
            f"{_number(row['seconds']):.0f}",
            _figures(row["log_m"], "{:+,.0f}"),
            _figures(row["detectable"], "{:.3f}"),
            *(_four(row[witness]) for witness in ("run", "source", "both")),
            ", ".join(_texts(row["standins"])),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _ruled(number: int, expected: Expectations, accepted: frozenset[int]) -> str:
    illegal = [item for item in expected.illegal if item.pull_request == number and item.rule in SCORING]
    words = [f"{item.rule} ({item.group})" for item in illegal]
    if number in accepted:
        words.append("accepted")
    elif not words and any(item.pull_request == number and item.rule in SCORING for item in expected.legal):
        words.append("legal")
    return ", ".join(words)


def _figures(values: object, form: str) -> str:
    if not isinstance(values, Mapping):
        return ""
    return "; ".join(f"{source} {form.format(_number(value))}" for source, value in values.items())


def _four(statuses: object) -> str:
    if not isinstance(statuses, Mapping) or not statuses:
        return ""
    return " ".join(_SHORT.get(str(statuses.get(code)), "?") for code in SCORING)


def _number(value: object) -> float:
    return float(str(value))
