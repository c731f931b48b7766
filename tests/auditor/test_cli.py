"""The command line: exit codes, one-line errors, whole files or none, and safe output from hostile folders."""

from __future__ import annotations

import base64
import json
import lzma
import os
import pty
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from auditor import cli
from auditor.audit import AuditReport
from auditor.findings import RuleResult, Status
from rules import CODES, RULES
from rules.example import HONEST_SCRIPT, example_folder

ReportOf = Callable[..., AuditReport]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "submission", example_folder())


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return root


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error; nothing on standard output."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pgolf-audit: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("status", "code"),
    [(Status.PASS, cli.EXIT_PASS), (Status.FAIL, cli.EXIT_FAIL), (Status.REVIEW, cli.EXIT_REVIEW)],
)
def test_the_exit_code_is_the_verdict(
    monkeypatch: pytest.MonkeyPatch, folder: Path, report_of: ReportOf, status: Status, code: int
) -> None:
    report = report_of(RuleResult("C1", status, "reason"))
    monkeypatch.setattr("auditor.audit.audit", lambda *_, **__: report)
    assert cli.main([str(folder)]) == code


def test_exit_codes_are_the_contract() -> None:
    assert (cli.EXIT_PASS, cli.EXIT_FAIL, cli.EXIT_NOT_DONE, cli.EXIT_REVIEW) == (0, 1, 2, 3)


def test_a_folder_is_audited_for_all_rules(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main([str(folder), "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert [rule["rule"] for rule in report["rules"]] == list(CODES)
    assert code == {"pass": 0, "fail": 1, "review": 3}[report["verdict"]]
    assert report["internal_errors"] == []


def test_an_illegal_folder_fails_and_its_honest_twin_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = RULES["C3"]
    assert cli.main([str(write(tmp_path / "illegal", rule.illegal.files))]) == cli.EXIT_FAIL
    assert "C3 (Score before update)" in capsys.readouterr().out.split("\n")[0]
    assert cli.main([str(write(tmp_path / "legal", rule.legal.files))]) in (cli.EXIT_PASS, cli.EXIT_REVIEW)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "PR-FOLDER or --repo"),
        (["/nonexistent/folder"], "/nonexistent/folder"),
        (["x", "--repo", "y", "--pr", "1"], "either PR-FOLDER or --repo"),
        (["x", "--pr", "1"], "need --repo"),
        (["--repo", "x"], "--pr N or --ref REF"),
        (["--repo", "x", "--pr", "1", "--ref", "HEAD"], "--pr N or --ref REF"),
        (["--repo", "x", "--pr", "1", "--base", "HEAD"], "--base needs --ref"),
        (["--repo", "/nonexistent", "--pr", "1"], "/nonexistent"),
        (["--repo", "x", "--pr", "0"], "numbered from 1"),
        (["--repo", "x", "--pr", "many"], "invalid int value"),
        (["x", "--format", "yaml"], "invalid choice"),
        (["x", "--no-such-option"], "--no-such-option"),
        (["x", "--as-of", "yesterday"], "YYYY-MM-DD"),
        (["x", "--report", "yaml=y"], "FORMAT=FILE"),
        (["x", "--report", "json=/nonexistent/y"], "/nonexistent/y"),
        (["x", "--validation-text", "/nonexistent.json"], "/nonexistent.json"),
        (["x", "--output", "/nonexistent/report.txt"], "/nonexistent/report.txt"),
        (["x\x1b[31m\n::error::y"], "\\x1b[31m"),
        (["rules", "C9"], "there is no rule C9"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == cli.EXIT_NOT_DONE
    line = complaint(capsys)
    assert told in line
    assert "\x1b" not in line


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"name": "toy"}', '{"name": "toy", "text_bytes": 0}', '{"name": 1, "text_bytes": 5}']
)
def test_a_validation_text_needs_a_name_and_a_size(
    content: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.json"
    path.write_text(content)
    assert cli.main([str(folder), "--validation-text", str(path)]) == cli.EXIT_NOT_DONE
    assert "text.json" in complaint(capsys)


def test_another_validation_text_reaches_the_report(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.json"
    path.write_text('{"name": "toy", "text_bytes": 5000}')
    cli.main([str(folder), "--validation-text", str(path), "--format", "json"])
    assert json.loads(capsys.readouterr().out)["validation_text"] == {"name": "toy", "text_bytes": 5000}


@pytest.mark.parametrize(("error", "told"), [(KeyboardInterrupt(), "interrupted"), (KeyError("x"), "internal error")])
def test_interrupts_and_internal_errors_are_one_line(
    error: BaseException,
    told: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("auditor.audit.audit", fail)
    assert cli.main([str(folder)]) == cli.EXIT_NOT_DONE
    assert told in complaint(capsys)


# --output


def test_output_goes_to_the_file_alone(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    cli.main([str(folder), "--format", "json", "--output", str(path)])
    assert capsys.readouterr().out == ""
    assert json.loads(path.read_text())["schema"] == "pgolf-audit/1"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["report.json", "submission"]


def test_an_existing_file_keeps_its_mode_and_a_link_stays_a_link(folder: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    cli.main([str(folder), "--output", str(link)])
    assert link.is_symlink()
    assert target.read_text() != "old"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.txt"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert cli.main([str(folder), "--output", str(path)]) == cli.EXIT_NOT_DONE
    assert "No space left on device" in complaint(capsys)
    assert path.read_text() == "old"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["report.txt", "submission"]


def test_a_pipe_is_written_to_and_not_replaced(folder: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    cli.main([str(folder), "--format", "json", "--output", str(pipe)])
    reader.join(timeout=60)
    assert json.loads(received[0])["schema"] == "pgolf-audit/1"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


# The process as a whole


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "auditor", *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_reader_who_leaves_early_does_not_disturb_the_verdict(folder: Path) -> None:
    whole = run(str(folder), "--format", "json")
    process = subprocess.Popen(
        [sys.executable, "-m", "auditor", str(folder), "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == whole.returncode


def test_a_full_disk_behind_standard_output_is_one_line(folder: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "auditor", str(folder)]
        finished = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert finished.returncode == cli.EXIT_NOT_DONE
    assert finished.stderr == b"pgolf-audit: standard output: No space left on device\n"


@pytest.mark.parametrize("form", cli.FORMATS)
def test_terminals_without_unicode_get_a_report(folder: Path, form: str) -> None:
    (folder / "README.md").write_text("# é 漢字 \u202e\n", encoding="utf-8")
    finished = run(str(folder), "--format", form, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert finished.stderr == b""
    assert finished.stdout.isascii()
    assert finished.returncode in (cli.EXIT_PASS, cli.EXIT_FAIL, cli.EXIT_REVIEW)


@pytest.mark.parametrize(
    ("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colour_is_for_terminals_that_want_it(folder: Path, environment: dict[str, str], colored: bool) -> None:
    master, slave = pty.openpty()
    variables = {**os.environ, "TERM": "xterm", **environment}
    if "NO_COLOR" not in environment:
        variables.pop("NO_COLOR", None)
    chunks: list[bytes] = []

    def drain() -> None:
        try:
            while chunk := os.read(master, 65536):
                chunks.append(chunk)
        except OSError:  # the other end is closed
            pass

    process = subprocess.Popen([sys.executable, "-m", "auditor", str(folder)], stdout=slave, env=variables)
    os.close(slave)
    reader = threading.Thread(target=drain)
    reader.start()
    process.wait()
    reader.join(timeout=60)
    os.close(master)
    assert (b"\x1b[" in b"".join(chunks)) is colored


def test_a_report_into_a_pipe_has_no_colour(folder: Path) -> None:
    assert b"\x1b[" not in run(str(folder)).stdout


def test_version_and_help_need_no_rules() -> None:
    code = (
        "import sys; from auditor.cli import main\n"
        "try: main([{!r}])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('rules', 'rich', 'numpy', 'scipy', 'libcst')])"
    )
    for option in ("--help", "--version"):
        finished = subprocess.run(
            [sys.executable, "-c", code.format(option)], capture_output=True, text=True, check=True
        )
        assert finished.stdout.endswith("\n[]\n")


ONLY_FOR_RUNS = ("numpy", "scipy", "torch", "libcst", "auditor.run")


@pytest.mark.parametrize("form", cli.FORMATS)
def test_an_audit_that_runs_nothing_loads_nothing_for_runs(folder: Path, form: str) -> None:
    """A slow start would be paid by every audit for what only --run needs."""
    program = (
        "import sys; from auditor.cli import main; code = main(sys.argv[1:]);"
        f"loaded = [name for name in sys.modules if name.startswith({ONLY_FOR_RUNS!r})];"
        "print(code, *loaded, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, str(folder), "--format", form]
    environment = {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=120)
    assert done.stderr.split() in ([str(cli.EXIT_PASS)], [str(cli.EXIT_REVIEW)])


# Hostile folders


HOSTILE = "\x1b]0;owned\x07\x1b[31m [bold]x[/bold] \u202e <img src=x> @openai #1 ![i](http://evil) `` \n::error::no\r\n"


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    files = example_folder()
    files["README.md"] = f"# {HOSTILE}\n{HOSTILE}" + files["README.md"]
    files["train_seed42.log"] = files["train_seed42.log"].replace(
        "final val_loss", f"{HOSTILE}final{HOSTILE[:20]} val_loss"
    )
    files["train_gpt.py"] = HONEST_SCRIPT + f"\nx = '''{HOSTILE}'''\nexec(x)\n"
    files["submission.json"] = json.dumps({**json.loads(files["submission.json"]), "name": HOSTILE, HOSTILE: True})
    name = re.sub(r"[/\x00]", "", HOSTILE)
    files[f"train_{name}.log"] = files["train_seed42.log"]
    files[f"helper_{name}.py"] = f"# {HOSTILE}\n"
    return write(tmp_path / "submission", files)


@pytest.mark.parametrize("form", cli.FORMATS)
@pytest.mark.parametrize("options", [[], ["--run", "--rescore"]])
def test_hostile_folders_get_a_report_that_does_not_act(hostile_folder: Path, form: str, options: list[str]) -> None:
    finished = run(str(hostile_folder), "--format", form, *options)
    text = finished.stdout.decode("utf-8")
    assert finished.returncode in (cli.EXIT_FAIL, cli.EXIT_REVIEW)
    assert finished.stderr == b""
    assert not [character for character in text if character != "\n" and not character.isprintable()]
    commands = [line for line in text.split("\n") if line.strip().startswith(("::", "##["))]
    if form == "github":  # its own annotations are commands, the submission's text in them is not
        commands = [
            line for line in commands if not line.startswith(("::error title=", "::warning title=", "::notice "))
        ]
    assert not commands
    if form == "markdown":
        assert "<img" not in re.sub(r"(?s)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)


# The script as it is read


def test_unpack_writes_the_script_that_findings_point_into(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payload = base64.b85encode(lzma.compress(HONEST_SCRIPT.encode())).decode()
    packed = f"import base64, lzma\nexec(lzma.decompress(base64.b85decode({payload!r})))\n"
    (folder / "train_gpt.py").write_text(packed)
    assert cli.main(["unpack", str(folder)]) == cli.EXIT_PASS
    assert capsys.readouterr().out == HONEST_SCRIPT
    assert cli.main(["unpack", str(folder), "--output", str(tmp_path / "script.py")]) == cli.EXIT_PASS
    assert (tmp_path / "script.py").read_text() == HONEST_SCRIPT


def test_unpack_without_a_script_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "submission", {"README.md": "nothing here\n"})
    assert cli.main(["unpack", str(folder)]) == cli.EXIT_NOT_DONE
    complaint(capsys)


# The rulebook


def test_the_rulebook_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules"]) == cli.EXIT_PASS
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CODES)


@pytest.mark.parametrize("code", CODES)
def test_each_rule_has_a_page(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules", code.lower()]) == cli.EXIT_PASS
    shown = capsys.readouterr().out
    assert shown.startswith(f"# {code}: {RULES[code].title}\n")
    for heading in ("## Sources", "## What each witness can say", "## Known blind spots", "## Examples"):
        assert heading in shown
