"""``pgolf-audit sweep`` from outside, on a real repository and with the real auditor, and the files it leaves."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet
import pytest

from auditor.cli import main
from auditor.sweep.index import Summary, render_index
from auditor.sweep.outcome import Outcome
from tests.auditor.sweep.stand_in import repository

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \x1b[31m ::error::x \u202e"
SUMMARY = Summary("repo", 10.0, 2, 0, "c0de" * 16)


def run(git_dir: str, folder: Path, *arguments: str) -> int:
    where = ["--output", str(folder / "out"), "--cache", str(folder / "cache"), "--jobs", "2"]
    return main(["sweep", "--repo", git_dir, *where, *arguments])


def test_a_sweep_writes_lines_a_table_and_an_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git_dir = repository(tmp_path, 2)
    assert run(git_dir, tmp_path) == 0
    told = capsys.readouterr().out
    assert told.startswith("2 audited: ")
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [line["pull_request"] for line in lines] == [1, 2]
    assert all(line["verdict"] in ("fail", "review", "pass") and line["error"] == "" for line in lines)
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "results.parquet").to_pylist()
    assert [{**row, "reasons": dict(row["reasons"])} for row in rows] == lines
    assert "2 submissions audited" in (tmp_path / "out" / "index.html").read_text()

    assert run(git_dir, tmp_path) == 0
    assert "2 of them remembered" in capsys.readouterr().out
    again = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert again == lines


def test_one_pull_request_of_a_sweep_is_what_its_audit_says(tmp_path: Path) -> None:
    git_dir = repository(tmp_path, 1)
    assert run(git_dir, tmp_path, "--only", "1") == 0
    [line] = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    report_path = tmp_path / "report.json"
    main(["--repo", git_dir, "--pr", "1", "--format", "json", "--output", str(report_path)])
    report = json.loads(report_path.read_text())
    assert line["verdict"] == report["verdict"]
    assert {rule["rule"]: rule["status"] for rule in report["rules"]}.items() <= line.items()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--refs", "refs/heads/none"], "no references"),
        (["--jobs", "0"], "--jobs 0"),
        (["--only", "x"], "--only"),
    ],
)
def test_a_sweep_that_cannot_be_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert run(repository(tmp_path, 1), tmp_path, *arguments) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def outcome(number: int | None, verdict: str, **fields: object) -> Outcome:
    statuses = {"C1": "pass", "C3": verdict}
    return Outcome(number, "c0ffee", verdict, statuses, {"C3": HOSTILE}, 1.5, 1.0, 1, **fields)  # type: ignore[arg-type]


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.contents: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.contents.setdefault(self.tags[-1][0], data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_index_runs_only_its_own_script() -> None:
    page = _Page(render_index([outcome(7, "fail"), outcome(None, "review", reference=HOSTILE)], SUMMARY))
    assert len(page.of("script")) == 1
    assert not page.of("img")
    [policy] = [item["content"] or "" for item in page.of("meta") if item.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.contents[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]


def test_the_index_shows_nothing_that_acts() -> None:
    text = render_index([outcome(7, "fail", error=HOSTILE)], SUMMARY)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "::error::" not in text


def test_rows_say_what_they_are_filtered_and_sorted_by() -> None:
    page = _Page(render_index([outcome(7, "fail", claimed_bpb=1.0625), outcome(8, "", error="lost")], SUMMARY))
    rows = [item for item in page.of("tr") if "data-verdict" in item]
    assert [(row["data-verdict"], row["data-fail"]) for row in rows] == [("fail", "C3"), ("not_audited", "")]
    keys = [item["data-key"] for item in page.of("td") if "data-key" in item]
    assert keys[:3] == ["7", "0", "1.0625"]
    offered = {item["value"] for item in page.of("option")}
    assert {"C3", "fail", "review", "not_audited"} <= offered
    assert not re.search(r"<form(?! hidden)", render_index([], SUMMARY))  # without the script it would do nothing
