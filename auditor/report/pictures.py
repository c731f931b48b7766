"""Pictures for the HTML report, as SVG text: the size bar, the budget sheet, the token timeline.

Each is drawn from the same figures as the tables; a reader without pictures loses nothing but the overview.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from auditor.audit import AuditReport
from auditor.record.budget_sheet import EVALUATION, TRAINING, BudgetEntry, BudgetSheet
from auditor.record.size_accounts import size_accounts
from auditor.report.escape import visible

if TYPE_CHECKING:
    from auditor.run.events import Timeline

WIDTH = 440  # narrow enough that words can be read on a phone
ROW = 34
BAR = 9
MAX_BARS = 10
MAX_LABEL = 46


@dataclass(frozen=True, slots=True)
class Picture:
    """An SVG and the sentence that says what it shows."""

    svg: str
    caption: str


def size_picture(report: AuditReport) -> Picture | None:
    """Each way of counting the submission's bytes against the cap; None where no size is known."""
    from rules.size import CAP_BYTES

    largest: dict[str, int] = {}
    for account in size_accounts(report.submission, report.record, CAP_BYTES):
        largest[account.name] = max(largest.get(account.name, 0), account.size_bytes)
    if not largest:
        return None
    rows = sorted(largest.items(), key=lambda row: -row[1])[:MAX_BARS]
    scale = WIDTH / max(CAP_BYTES, rows[0][1])
    cap = CAP_BYTES * scale
    parts = []
    for index, (name, size) in enumerate(rows):
        top = index * ROW
        kind = "over" if size > CAP_BYTES else "bar"
        parts += _row(top, name, f"{size:,}")
        parts.append(_rect(0, top + 18, size * scale, BAR, kind))
        parts.append(_cap(cap, top))
    height = len(rows) * ROW + 16
    parts.append(_text(cap, height - 4, f"cap {CAP_BYTES:,}", anchor="end", soft=True))
    return Picture(
        _svg(parts, height, "sizes in bytes"),
        "Largest figure of each way to count, in bytes; SIZE says which one decides.",
    )


def budget_picture(report: AuditReport) -> Picture | None:
    """The timed phases of the run with most time on the clock, stacked in the budget they belong to."""
    from rules.time import EVALUATION_SECONDS, TRAINING_SECONDS, budget_sheets

    sheets = [sheet for sheet in budget_sheets(report.record) if sheet.entries]
    if not sheets:
        return None
    sheet = max(sheets, key=lambda item: sum(entry.seconds for entry in item.entries))
    lanes = [
        ("training", TRAINING_SECONDS, _of(sheet, TRAINING)),
        ("evaluation", EVALUATION_SECONDS, _of(sheet, EVALUATION)),
        ("in neither budget", None, [entry for entry in sheet.entries if entry.budget not in (TRAINING, EVALUATION)]),
    ]
    lanes = [lane for lane in lanes if lane[2]]
    longest = max([TRAINING_SECONDS, *(sum(entry.seconds for entry in entries) for _, _, entries in lanes)])
    scale = WIDTH / longest
    parts: list[str] = []
    for index, (name, cap, entries) in enumerate(lanes):
        top = index * ROW
        total = sum(entry.seconds for entry in entries)
        parts += _row(top, name, f"{total:,.0f} s{f' of {cap:.0f} s' if cap else ''}")
        parts += _stack(entries, top + 18, scale)
        if cap:
            parts.append(_cap(cap * scale, top))
    run = f"seed {sheet.seed}" if sheet.seed is not None else report.submission.relative(sheet.log)
    return Picture(
        _svg(parts, len(lanes) * ROW, "seconds of each phase"),
        f"Timed phases of {run}; the dashed lines are the budgets.",
    )


def timeline_picture(report: AuditReport) -> Picture | None:
    """When each part of the validation stream was first scored for the reported number, and first learned from.

    Positions run to the right, the run's events upwards. In a legal run every red mark stands above the blue one of
    its column, or there is none; None without a traced run.
    """
    drawn = _timeline(report)
    if drawn is None:
        return None
    timeline, length = drawn
    orders = sorted(
        {order for block in timeline.blocks for order in (block.first_scored, block.first_learned) if order}
    )
    if not orders:
        return None
    rank = {order: index / max(1, len(orders) - 1) for index, order in enumerate(orders)}
    left, height, room = 34.0, 180.0, WIDTH - 34.0
    parts = [
        _text(left, height + 16, "position 0", soft=True),
        _text(left + room, height + 16, f"{length - 1:,}", anchor="end", soft=True),
        _text(0, height - 4, "first", soft=True),
        _text(0, 12, "last", soft=True),
        f'<line class="axis" x1="{left}" x2="{left + room}" y1="{height}" y2="{height}"/>',
    ]
    before = 0
    for block in timeline.blocks:
        at = left + room * block.first / length
        width = room * (block.last - block.first + 1) / length
        before += bool(block.first_scored and 0 < block.first_learned < block.first_scored)
        for order, kind, word, side in (  # side by side: close in time they would hide one another
            (block.first_scored, "scored", "first scored", 0.0),
            (block.first_learned, "learned", "first learned from", 0.5),
        ):
            if order:
                top = (height - 12) * (1 - rank[order])
                told = f"positions {block.first:,} to {block.last:,}: {word} at event {order:,}"
                parts.append(_rect(at + side * width, top + 2, width / 2, 6, kind, told))
    parts.append(_rect(left, height + 26, 10, 8, "scored") + _text(left + 16, height + 34, "first scored"))
    parts.append(
        _rect(left + 120, height + 26, 10, 8, "learned") + _text(left + 136, height + 34, "first learned from")
    )
    caption = f"The run's events in order, for the line {timeline.line[:80]!r}. " + (
        f"In {before} of {len(timeline.blocks)} parts of the stream learning begins before scoring; tokens of one part "
        "may differ, the findings above decide."
        if before
        else "No part of the stream is learned from before it is scored."
    )
    return Picture(_svg(parts, height + 40, "when tokens were scored and learned from"), caption)


def _timeline(report: AuditReport) -> tuple[Timeline, int] | None:
    """The timeline of the reported number of the first traced run, and the stream's length."""
    if report.run is None:
        return None
    from auditor.run.printed import shape

    for run in report.run.runs:
        if run.trace is None or run.reported is None:
            continue
        wanted = shape(run.reported.metric.score.raw)
        found = [timeline for timeline in run.trace.timelines if shape(timeline.line) == wanted]
        if found:
            return found[-1], len(run.stream.tokens)
    return None


def _of(sheet: BudgetSheet, budget: str) -> list[BudgetEntry]:
    return [entry for entry in sheet.entries if entry.budget == budget]


def _stack(entries: Sequence[BudgetEntry], top: float, scale: float) -> list[str]:
    parts, left = [], 0.0
    for index, entry in enumerate(entries):
        width = entry.seconds * scale
        title = f"{entry.phase}: {entry.seconds:,.1f} s"
        parts.append(_rect(left, top, width, BAR, "bar2" if index % 2 else "bar", title))
        left += width
    return parts


def _row(top: float, name: str, figure: str) -> list[str]:
    """The words above a bar: what it is on the left, how much on the right."""
    return [_text(0, top + 12, name), _text(WIDTH, top + 12, figure, anchor="end", soft=True)]


def _cap(at: float, top: float) -> str:
    """A dashed line across the bar of the row that begins at `top`."""
    at = min(at, WIDTH - 0.5)
    return f'<line class="cap" x1="{at:.1f}" x2="{at:.1f}" y1="{top + 15:.0f}" y2="{top + 30:.0f}"/>'


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _rect(left: float, top: float, width: float, height: float, kind: str, title: str = "") -> str:
    told = f"<title>{escape(visible(title))}</title>" if title else ""
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{max(width, 1):.1f}" height="{height}">{told}</rect>'
    )


def _text(left: float, top: float, text: str, *, anchor: str = "start", soft: bool = False) -> str:
    shown = text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"
    look = ' class="soft"' if soft else ""
    return f'<text{look} x="{left:.1f}" y="{top:.1f}" text-anchor="{anchor}">{escape(visible(shown))}</text>'
