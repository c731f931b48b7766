"""The index of a sweep: one HTML file with a table that can be sorted and filtered by verdict, rule and words.

The table is in the page itself, so it can be read without the script. The content security policy names the one
script and the one style by their digests: whatever a submission's text might smuggle in, no browser runs it. All text
is escaped like that of a report.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from auditor import __version__
from auditor.report.escape import terminal
from auditor.sweep.outcome import Outcome
from auditor.sweep.tables import VERDICTS, count_verdicts, verdict_of
from rules import CODES

REASON_LENGTH = 300
PULL_REQUEST_URL = "https://github.com/openai/parameter-golf/pull/"
_VERDICT_WORDS = {"fail": "FAIL", "review": "REVIEW", "pass": "PASS", "not_audited": "not audited"}
_COLUMNS = (  # title, kind that it is sorted as
    ("PR", "number"),
    ("Verdict", "number"),
    ("Fails", "text"),
    ("To review", "text"),
    ("Claimed", "number"),
    ("Recomputed", "number"),
    ("log M", "number"),
    ("Seconds", "number"),
    ("Why", "text"),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What the whole sweep took. `cores` is how many audits were made at a time."""

    repository: str
    wall_seconds: float
    cores: int
    remembered: int  # outcomes that came from an earlier sweep
    auditor_sha256: str
    finished: bool = True


def render_index(outcomes: Sequence[Outcome], summary: Summary) -> str:
    """The index as one HTML document, UTF-8 text."""
    style, script = _data("index.css"), _data("index.js")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>Sweep of {len(outcomes)} submissions</title>\n<style>{style}</style></head>\n<body><main>\n"
        f"{_heading(outcomes, summary)}\n{_form()}\n{_table(outcomes)}\n"
        f"<footer>Made by pgolf-audit {__version__}, code {_text(summary.auditor_sha256[:16])}.</footer>\n"
        f"</main><script>{script}</script></body></html>\n"
    )


def describe_sweep(outcomes: Sequence[Outcome], summary: Summary) -> str:
    """The sweep in one sentence: counts, time, cores."""
    counted = ", ".join(
        f"{count:,} {_VERDICT_WORDS[verdict].lower()}" for verdict, count in count_verdicts(outcomes).items()
    )
    cpu_seconds = sum(outcome.cpu_seconds for outcome in outcomes)
    remembered = f", {summary.remembered:,} of them remembered from an earlier sweep" if summary.remembered else ""
    unfinished = "" if summary.finished else " (interrupted)"
    return (
        f"{len(outcomes):,} audited{unfinished}: {counted}; {summary.wall_seconds:,.0f} s with {summary.cores} at a "
        f"time, {cpu_seconds:,.0f} s of CPU{remembered}"
    )


def _data(name: str) -> str:
    return files("auditor.sweep").joinpath("data").joinpath(name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _text(text: str, limit: int = REASON_LENGTH) -> str:
    return escape(terminal(text, limit=limit))


def _heading(outcomes: Sequence[Outcome], summary: Summary) -> str:
    return (
        f"<h1>{len(outcomes):,} submissions audited</h1>"
        f"<p>{_text(describe_sweep(outcomes, summary), 1_000)}.</p>"
        f'<p class="aside">Repository: {_text(summary.repository)}. A fail is an accusation with proof; a review needs '
        "a person. <code>pgolf-audit --repo GIT-DIR --pr N</code> shows the evidence.</p>"
    )


def _form() -> str:
    def choice(name: str, title: str, options: Sequence[tuple[str, str]]) -> str:
        items = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in options)
        return f'<label>{title}<select name="{name}"><option value="">any</option>{items}</select></label>'

    return (
        "<form hidden>"
        + choice("verdict", "Verdict", [(name, _VERDICT_WORDS[name]) for name in VERDICTS])
        + choice("rule", "Rule", [(code, code) for code in CODES])
        + choice("status", "which", [("fail", "fails"), ("review", "is left to review")])
        + '<label>Words<input name="text" type="search"></label><output></output></form>'
    )


def _table(outcomes: Sequence[Outcome]) -> str:
    head = "".join(f'<th data-kind="{kind}"><button type="button">{title}</button></th>' for title, kind in _COLUMNS)
    body = "\n".join(map(_row, outcomes))
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _row(outcome: Outcome) -> str:
    verdict = verdict_of(outcome)
    fails, reviews = " ".join(outcome.rules_with("fail")), " ".join(outcome.rules_with("review"))
    cells = (
        f'<td data-key="{outcome.pull_request or ""}">{_subject(outcome)}</td>',
        f'<td data-key="{VERDICTS.index(verdict)}" class="verdict {verdict}">{_VERDICT_WORDS[verdict]}</td>',
        f'<td class="fail">{_text(fails)}</td>',
        f'<td class="review">{_text(reviews)}</td>',
        _figure(outcome.claimed_bpb, "{:.5f}", "claims"),
        _figure(outcome.recomputed_bpb, "{:.5f}", "logs say"),
        _figure(outcome.log_m, "{:+,.0f}", "log M"),
        _figure(outcome.wall_seconds or None, "{:.1f}", "seconds"),
        f'<td class="why">{"".join(_why(outcome))}</td>',
    )
    return (
        f'<tr data-verdict="{verdict}" data-fail="{_text(fails)}" data-review="{_text(reviews)}">{"".join(cells)}</tr>'
    )


def _subject(outcome: Outcome) -> str:
    if outcome.pull_request is None:
        return _text(outcome.reference)
    number = outcome.pull_request
    return f'<a href="{PULL_REQUEST_URL}{number}" rel="noreferrer">{number}</a>'


def _figure(value: float | None, form: str, label: str) -> str:
    if value is None:
        return '<td class="figure"></td>'
    return f'<td class="figure" data-label="{label}" data-key="{value!r}">{form.format(value)}</td>'


def _why(outcome: Outcome) -> Iterator[str]:
    """The reasons that decide, the first of them open to view."""
    if outcome.error:
        yield _text(outcome.error)
        return
    told = [*outcome.rules_with("fail"), *outcome.rules_with("review")]
    if not told:
        return
    first, *rest = (f"{_text(code)}: {_text(outcome.reasons.get(code, ''))}" for code in told)
    yield first
    if rest:
        items = "".join(f"<li>{item}</li>" for item in rest)
        yield f"<details><summary>{len(rest)} more</summary><ul>{items}</ul></details>"
