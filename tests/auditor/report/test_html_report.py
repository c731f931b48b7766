"""The HTML report is whole, needs nothing else, tells the steps, and nothing of a submission becomes markup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from auditor.audit import AuditReport
from auditor.findings import Finding, RuleResult, Status, Step, Witness
from auditor.ledger import Ledger
from auditor.report.html import render_html
from auditor.run.events import Block, Timeline, Trace
from auditor.run.incompressibility import PrintedScore
from auditor.run.model import Confinement, Job, Outcome, Stage
from auditor.run.printed import PrintedMetric, Reported
from auditor.run.sources import Stream
from auditor.run.testimony import ToyRun
from auditor.run.witness import RunReport

ReportOf = Callable[..., AuditReport]
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_verdict_comes_first_then_the_proof(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    text = Page(render_html(report_of(*results))).text
    assert text.index("1 rule is broken: C3") < text.index("the script calls adapt") < text.index("calls a C library")
    assert text.index("optimizer.step()") > text.index("gradient step on all of val_tokens")
    assert "one log was cut" in text


def test_the_page_needs_nothing_else_and_runs_nothing(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    page = Page(render_html(report_of(*results)))
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "a", "base"}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    policy = [value for name, value in page.attributes if name == "content" and "default-src" in value]
    assert policy and "default-src 'none'" in policy[0] and "script" not in policy[0]


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "</style><img src=x onerror=alert(1)>",
        '" onmouseover="x',
        "&#60;b&#62;",
        "\x1b[31m",
    ],
)
def test_text_of_a_submission_is_text(report_of: ReportOf, hostile: str) -> None:
    finding = Finding(Status.FAIL, Witness.SOURCE, hostile, path=hostile, line=1, steps=(Step(hostile, 1, hostile),))
    report = report_of(
        RuleResult("C3", Status.FAIL, hostile, (finding,)), source=hostile + "\n", origin=hostile, problems=(hostile,)
    )
    page = Page(render_html(report))
    assert page.tags <= {
        *("html head meta title style body main header h1 h2 h3 p span strong br table tbody thead tr th td".split()),
        *("ol ul li code div details summary footer figure figcaption svg rect line text".split()),
    }
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert hostile.replace("\x1b", "\\x1b") in page.text


def test_source_lines_keep_their_indentation(report_of: ReportOf, results: tuple[RuleResult, ...]) -> None:
    page = render_html(report_of(*results))
    assert "<td>            optimizer.step()</td>" in page


def timeline_report(report_of: ReportOf, *, learned_first: bool) -> AuditReport:
    """A report with one traced run of 100 tokens in two blocks."""
    scored, learned = (5, 3) if learned_first else (3, 5)
    blocks = (Block(0, 49, scored, learned, 1, 49), Block(50, 99, 9, 0, 1, 50))
    line = "final <b> val_loss:1.0"
    run = ToyRun(
        Stage(Path(), Job(("x",), "/", {}, ()), "train_gpt.py", {}),
        Stream(np.zeros(100, np.uint16), np.zeros(100), np.zeros(100, bool), "uniform"),
        Outcome(0, None, "", 1.0, 1.0, 0, b"", b""),
        (),
        Reported(PrintedMetric(PrintedScore("final", "1.0", "", line), 1, False, False), "", True),
        trace=Trace(100, timelines=(Timeline(line, blocks),)),
    )
    return replace(report_of(), run=RunReport((run,), Ledger(), 1, Confinement("none", (), ())))


def test_the_timeline_tells_which_came_first(report_of: ReportOf) -> None:
    honest = Page(render_html(timeline_report(report_of, learned_first=False))).text
    assert "No part of the stream is learned from before it is scored" in honest
    guilty = Page(render_html(timeline_report(report_of, learned_first=True))).text
    assert "In 1 of 2 parts of the stream learning begins before scoring" in guilty
    assert "positions 0 to 49: first learned from at event 3" in guilty
    assert "Token timeline" not in Page(render_html(report_of())).text
