"""What a hostile submission must not achieve, end to end: the command line as a process of its own.

Forbidden outcomes, whatever the folder holds: a traceback; a hang; memory out of proportion; a verdict of "pass" on
what could not be read; a file left behind or changed; text of the submission that acts on a terminal or a CI runner.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import subprocess
import sys
from base64 import b85encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auditor.cli import FORMATS
from rules.example import HONEST_SCRIPT, example_folder

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20
KILL_SECONDS = 100  # a hang, not a slow machine
PEAK_BYTES = 768 * MIB

ORDER_RULES = ("C1", "C2", "C3", "C4")
# The command line, and the peak of its memory written to the first argument. The peak that a parent learns from the
# system (ru_maxrss) will not do: it is never below what the parent itself held when it started the child.
COMMAND = """
import pathlib, sys
peak = pathlib.Path(sys.argv.pop(1))
from auditor.cli import main
code = main()
status = pathlib.Path("/proc/self/status")
if status.exists():
    peak.write_text(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:")).split()[1])
sys.exit(code)
"""


@dataclass(frozen=True)
class Result:
    """One finished audit."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.out)
        return fields

    def status(self, rule: str) -> str:
        return next(str(item["status"]) for item in self.report["rules"] if item["rule"] == rule)


class Auditor:
    """Runs the command line with a home, a temporary folder and a working folder of its own, all checked afterwards."""

    def __init__(self, scratch: Path) -> None:
        self._places = {name: scratch / name for name in ("home", "tmp", "cwd")}
        for place in self._places.values():
            place.mkdir()
        self._output = scratch / "output"

    def __call__(self, *arguments: str | Path, folder: Path | None = None) -> Result:
        before = _listing(folder) if folder else None
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"HOME": str(self._places["home"]), "TMPDIR": str(self._places["tmp"])}
        out, err, peak = (self._output.with_suffix(suffix) for suffix in (".out", ".err", ".peak"))
        peak.write_text("0")
        with out.open("wb") as out_stream, err.open("wb") as err_stream, suppress(subprocess.TimeoutExpired):
            code = -1
            code = subprocess.run(
                [sys.executable, "-c", COMMAND, str(peak), *map(str, arguments)],
                cwd=self._places["cwd"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out_stream,
                stderr=err_stream,
                timeout=KILL_SECONDS,
                check=False,
            ).returncode
        result = Result(code, out.read_text(), err.read_text())
        assert result.code in (0, 1, 2, 3), f"ended with {result.code}: {result.err[-2000:]}"
        assert "Traceback" not in result.err + result.out
        assert "Warning" not in result.err
        assert int(peak.read_text()) * 1024 < PEAK_BYTES
        for name, place in self._places.items():
            assert not list(place.iterdir()), f"left behind in {name}: {list(place.iterdir())}"
        if folder:
            assert _listing(folder) == before, "the audited folder was changed"
        return result


def _listing(folder: Path) -> list[tuple[str, int, int, int]]:
    paths = sorted(folder.rglob("*"))
    stats = [path.lstat() for path in paths]
    return [(str(path), stat.st_size, stat.st_mtime_ns, stat.st_mode) for path, stat in zip(paths, stats, strict=True)]


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    scratch = tmp_path / "around"
    scratch.mkdir()
    return Auditor(scratch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An honest submission, for a test to spoil."""
    path = tmp_path / "submission"
    path.mkdir()
    for name, text in example_folder().items():
        (path / name).write_text(text, encoding="utf-8")
    return path


def assert_one_clear_line(result: Result, *words: str) -> None:
    """The audit could not be done, and one line on stderr says why."""
    assert result.code == 2
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    for word in words:
        assert word in lines[0]


def assert_one_line_each(result: Result) -> None:
    """Every reason and message of a report is one line without control characters."""
    for rule in result.report["rules"]:
        for text in (rule["reason"], *(finding["message"] for finding in rule["findings"])):
            assert "\n" not in text
            assert text.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f]", text), text


def test_the_honest_folder_is_not_accused(auditor: Auditor, folder: Path) -> None:
    result = auditor(folder, "--format", "json", folder=folder)
    assert result.code in (0, 3)
    assert result.report["verdict"] != "fail"


# --- nothing that could be audited: exit code 2


def test_an_empty_folder(auditor: Auditor, tmp_path: Path) -> None:
    empty = tmp_path / "nothing-here"
    empty.mkdir()
    assert_one_clear_line(auditor(empty, folder=empty), "nothing-here")


def test_a_folder_that_does_not_exist(auditor: Auditor, tmp_path: Path) -> None:
    assert_one_clear_line(auditor(tmp_path / "missing"), "missing")


def test_a_file_in_place_of_a_folder(auditor: Auditor, folder: Path) -> None:
    assert_one_clear_line(auditor(folder / "README.md"), "README.md")


def test_no_arguments_at_all(auditor: Auditor) -> None:
    result = auditor()
    assert result.code == 2
    assert result.out == ""
    assert result.err.strip()


def test_a_folder_whose_name_acts(auditor: Auditor, tmp_path: Path) -> None:
    empty = tmp_path / "x\x1b]0;owned\x07\n::error::y"
    empty.mkdir()
    result = auditor(empty, folder=empty)
    assert_one_clear_line(result)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", result.err)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git directory with a base commit and pull request 3, which adds nothing under records/."""
    path = tmp_path / "repository"
    path.mkdir()

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "init.defaultBranch=main")
        command = ["git", "-C", str(path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (path / "README.md").write_text("base\n")
    git("add", ".")
    git("commit", "-q", "-m", "base")
    git("checkout", "-q", "-b", "change")
    (path / "notes.txt").write_text("nothing to audit\n")
    git("add", ".")
    git("commit", "-q", "-m", "notes")
    git("update-ref", "refs/pull/3/head", "HEAD")
    git("checkout", "-q", "main")
    return path / ".git"


def test_a_pull_request_that_does_not_exist(auditor: Auditor, repository: Path) -> None:
    assert_one_clear_line(auditor("--repo", repository, "--pr", "99999"), "99999")


@pytest.mark.parametrize("number", ["-1", "0", "1e3", "3; touch owned", "--help=x", "9" * 400])
def test_a_pull_request_number_that_is_none(auditor: Auditor, repository: Path, number: str) -> None:
    result = auditor("--repo", repository, "--pr", number)
    assert result.code == 2
    assert result.err.strip()


def test_a_pull_request_without_a_record_folder_does_not_pass(auditor: Auditor, repository: Path) -> None:
    result = auditor("--repo", repository, "--pr", "3", "--format", "json")
    assert result.code == 3
    for rule in ORDER_RULES:
        assert result.status(rule) in ("review", "not_checked"), rule


def test_a_reference_that_is_an_option(auditor: Auditor, repository: Path) -> None:
    result = auditor("--repo", repository, "--ref=--output=owned", "--base", "main")
    assert result.code == 2
    assert len(result.err.splitlines()) == 1


def test_a_repository_that_is_none(auditor: Auditor, tmp_path: Path) -> None:
    assert_one_clear_line(auditor("--repo", tmp_path, "--pr", "3"), str(tmp_path))


# --- a part that cannot be read: the rest of the audit goes on, and what was not seen does not pass


def spoiled(auditor: Auditor, folder: Path, spoil: Callable[[Path], None]) -> Result:
    spoil(folder)
    result = auditor(folder, "--format", "json", folder=folder)
    assert result.code in (0, 1, 3), result.err
    assert_one_line_each(result)
    return result


def script_of(data: bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / "train_gpt.py").write_bytes(data)

    return spoil


def wrapped(payload: bytes) -> bytes:
    """The commonest packing of the challenge: raw LZMA2 in base 85."""
    return (
        b"import lzma as L,base64 as B\n"
        b'exec(L.decompress(B.b85decode("' + b85encode(payload) + b'"),format=L.FORMAT_RAW,'
        b'filters=[{"id":L.FILTER_LZMA2}]))\n'
    )


def lzma2(text: bytes) -> bytes:
    return lzma.compress(text, format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 1}])


def two_gigabytes() -> bytes:
    """A raw LZMA2 stream of 2 GiB of "#": its chunks stand for themselves, so one of 2 MiB can be repeated."""
    return lzma2(b"#" * (2 * MIB))[:-1] * 1024 + b"\0"


UNREADABLE_SCRIPTS = {
    "syntax error": HONEST_SCRIPT.encode() + b"\ndef broken(:\n",
    "binary garbage": bytes(range(256)) * 4096,
    "null bytes": HONEST_SCRIPT.encode().replace(b"import math", b"import math\0"),
    "not utf-8": HONEST_SCRIPT.encode() + b'\nx = "\xff\xfe"\n',
    "unknown encoding": b"# -*- coding: klingon -*-\n" + HONEST_SCRIPT.encode(),
    "nested parentheses": HONEST_SCRIPT.encode() + b"\nx = " + b"(" * 10_000 + b"1" + b")" * 10_000 + b"\n",
    "nested lists": HONEST_SCRIPT.encode() + b"\nx = " + b"[" * 150 + b"]" * 150 + b"\n" + b"-" * 100_000 + b"1\n",
    "empty": b"",
    "wrapper that expands to 2 GB": wrapped(two_gigabytes()),
    "wrapper of garbage": wrapped(b"\xff" * 1000),
    "wrapper of a syntax error": wrapped(lzma2(b"def broken(:\n")),
    "six megabytes of code": HONEST_SCRIPT.encode() + b"x = 1\n" * MIB,
}


@pytest.mark.parametrize("script", UNREADABLE_SCRIPTS.values(), ids=UNREADABLE_SCRIPTS.keys())
def test_a_script_that_cannot_be_read_is_never_passed(auditor: Auditor, folder: Path, script: bytes) -> None:
    result = spoiled(auditor, folder, script_of(script))
    assert result.code in (1, 3)
    for rule in ORDER_RULES:
        assert result.status(rule) in ("review", "not_checked"), rule
    assert "train_gpt.py" in result.out
    assert result.status("BYTES") != "not_checked" or result.status("CLAIM") != "not_checked"  # the logs were read


READABLE_SCRIPTS = {
    "100,000 lines": HONEST_SCRIPT.encode() + b"x = 1\n" * 100_000,
    "huge integers": HONEST_SCRIPT.encode() + b"x = " + b"9" * 4000 + b"\ny = 0x" + b"f" * 100_000 + b"\n",
    "huge power": HONEST_SCRIPT.encode() + b"\nx = 9 ** 9 ** 9 ** 9\ny = 1 << (1 << 40)\nz = 'a' * (1 << 40)\n",
    "invalid escapes": HONEST_SCRIPT.encode() + b'\nx = "\\d\\w" + "\\c"\n',
    "a long sum": HONEST_SCRIPT.encode() + b"\nx = " + b" + ".join([b"1"] * 900) + b"\n",
    "endless loops": HONEST_SCRIPT.encode() + b"\ndef f():\n    while True:\n        f()\n",
    "deep calls": HONEST_SCRIPT.encode()
    + b"".join(b"def f%d(x):\n    return f%d(f%d(x))\n" % (i, i + 1, i + 1) for i in range(300))
    + b"def f300(x):\n    return x\n\nf0(1)\n",
}


@pytest.mark.parametrize("script", READABLE_SCRIPTS.values(), ids=READABLE_SCRIPTS.keys())
def test_a_costly_script_ends_in_bounds(auditor: Auditor, folder: Path, script: bytes) -> None:
    spoiled(auditor, folder, script_of(script))


def test_a_folder_without_a_script(auditor: Auditor, folder: Path) -> None:
    result = spoiled(auditor, folder, lambda path: (path / "train_gpt.py").unlink())
    assert result.code in (1, 3)
    for rule in ORDER_RULES:
        assert result.status(rule) in ("review", "not_checked"), rule
    assert result.status("FORMAT") in ("fail", "review")


METADATA = {
    "not JSON": b"val_bpb = 1.2\n",
    "truncated": b'{"val_bpb": 1.2, "name": ',
    "a list": b"[1, 2, 3]",
    "a string": b'"1.2"',
    "empty": b"",
    "binary": bytes(range(256)),
    "a million brackets": b"[" * 10**6,
    "a million nested objects": b'{"a":' * 10**6,
    "a huge number": b'{"val_bpb": ' + b"9" * 100_000 + b"}",
    "infinite": b'{"val_bpb": Infinity, "bytes_total": -1e999, "seeds": [NaN]}',
}


@pytest.mark.parametrize("data", METADATA.values(), ids=METADATA.keys())
def test_a_submission_json_that_cannot_be_used_is_named(auditor: Auditor, folder: Path, data: bytes) -> None:
    def spoil(path: Path) -> None:
        (path / "submission.json").write_bytes(data)

    result = spoiled(auditor, folder, spoil)
    assert result.code in (1, 3)
    assert "submission.json" in result.out


def test_a_log_of_20_megabytes(auditor: Auditor, folder: Path) -> None:
    def spoil(path: Path) -> None:
        with (path / "train_seed42.log").open("r+b") as stream:
            stream.truncate(20 * MIB)

    spoiled(auditor, folder, spoil)


def test_a_log_of_one_long_line(auditor: Auditor, folder: Path) -> None:
    def spoil(path: Path) -> None:
        line = "step:1/20000 train_loss:" + "1" * (5 * MIB) + " val_loss:" * (MIB // 2) + "\n"
        with (path / "train_seed42.log").open("a") as stream:
            stream.write(line)

    spoiled(auditor, folder, spoil)


def test_a_readme_of_one_long_table_row(auditor: Auditor, folder: Path) -> None:
    def spoil(path: Path) -> None:
        (path / "README.md").write_text("| a " * MIB + "\n|---" * 2 + "\n" + "`" * MIB + "\n")

    spoiled(auditor, folder, spoil)


def test_a_link_out_of_the_folder_is_not_followed(auditor: Auditor, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text("SECRET_TEXT = 1\n" + HONEST_SCRIPT)

    def spoil(path: Path) -> None:
        (path / "train_gpt.py").unlink()
        (path / "train_gpt.py").symlink_to(secret)
        (path / "home").symlink_to("/")
        (path / "self").symlink_to(path)

    result = spoiled(auditor, folder, spoil)
    assert "SECRET_TEXT" not in result.out + result.err
    assert result.status("C3") in ("review", "not_checked")


def test_a_device_and_a_pipe_are_not_opened(auditor: Auditor, folder: Path) -> None:
    def spoil(path: Path) -> None:
        os.mkfifo(path / "train_seed1.log")
        (path / "train_seed2.log").symlink_to("/dev/zero")

    spoiled(auditor, folder, spoil)


# --- text that would act: no format lets it through

ACTING = (
    "\x1b[2J\x1b]0;owned\x07 \u202e \r\n::error file=x::owned\n##[group]x\n<script>alert(1)</script> [x](javascript:1)"
)


def acting(folder: Path) -> None:
    for name in ("README.md", "train_seed42.log", "train_gpt.py"):
        path = folder / name
        comment = "".join(f"# {line}\n" for line in ACTING.splitlines()) if name.endswith(".py") else ACTING
        path.write_text(comment + "\n" + path.read_text())
    metadata = json.loads((folder / "submission.json").read_text())
    metadata |= {"name": ACTING, "author": ACTING, ACTING: "1.0", "val_bpb": ACTING}
    (folder / "submission.json").write_text(json.dumps(metadata))
    (folder / "x\x1b[31m\n::error::y.log").write_text("step:1/2 train_loss:1.0 train_time:1ms\n")


@pytest.mark.parametrize("form", FORMATS)
def test_text_of_a_submission_does_not_act(auditor: Auditor, folder: Path, form: str) -> None:
    acting(folder)
    result = auditor(folder, "--format", form, folder=folder)
    assert result.code in (1, 3)
    shown = result.out + result.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    if form not in ("json", "sarif"):
        assert "<script>alert" not in shown
    if form == "github":
        assert not re.search(r"^::error file=x::owned", shown, re.MULTILINE)
    else:
        assert not re.search(r"^(::|##\[)", shown, re.MULTILINE)


def test_the_report_goes_to_the_file_that_was_asked_for(auditor: Auditor, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    result = auditor(folder, "--format", "json", "--output", target, folder=folder)
    assert json.loads(target.read_text())["schema"] == "pgolf-audit/1"
    assert result.out == ""


def test_an_output_that_cannot_be_written_is_one_line(auditor: Auditor, folder: Path, tmp_path: Path) -> None:
    assert_one_clear_line(auditor(folder, "--output", tmp_path / "no" / "such" / "folder" / "report"), "report")
