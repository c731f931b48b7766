"""The command line: read arguments, audit, write one report, say the verdict by the exit code.

Only this module prints. Everything is imported where it is needed, so that ``--help`` and ``--version`` are instant.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from datetime import date

    from auditor.audit import AuditReport
    from auditor.rescore.witness import RescoreOptions
    from auditor.run.witness import RunOptions
    from auditor.submission.model import Submission
    from rules.base import ValidationText

EXIT_PASS = 0  # every checked rule passes
EXIT_FAIL = 1  # at least one rule fails
EXIT_NOT_DONE = 2  # the audit could not be done: bad arguments, bad input, an internal error, an interrupt
EXIT_REVIEW = 3  # no rule fails, at least one needs a person

FORMATS = ("text", "json", "markdown", "html", "sarif", "github")
DEFAULT_WIDTH = 100  # columns where no terminal says
MOST_RANKS = 8
MAX_VALIDATION_TEXT_FILE_BYTES = 1 << 20

DESCRIPTION = "Audit a Parameter Golf submission: which rules it keeps, which it breaks, and the evidence for it."
EPILOG = """\
Nothing of the submission is executed, except with --run and --rescore, in a sandbox. Exit codes: 0 every checked rule
passes; 1 at least one rule fails; 2 the audit could not be done; 3 no rule fails, at least one needs a person.

pgolf-audit rules          lists the rules
pgolf-audit explain C3     explains one: text, sources, rulings, examples, blind spots
pgolf-audit diff A B       says what changed between two JSON reports
pgolf-audit unpack ...     writes the script as it was read, unpacked if it was packed: findings give its lines
pgolf-audit sweep ...      audits every pull request of a repository
pgolf-audit publish ...    writes a comment and SARIF from a report that an untrusted job made
pgolf-audit fix ...        proposes a patch for a submission that learns before it scores
"""
UNPACK_DESCRIPTION = (
    "Write the submission's script as the audit reads it, unpacked if it is packed; nothing is executed."
)


class CannotAuditError(Exception):
    """The audit cannot be done; the message is the one line the user sees."""


class _Parser(argparse.ArgumentParser):
    """Reports a bad command line in one line."""

    def error(self, message: str) -> NoReturn:
        raise CannotAuditError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        _tolerate_any_text(sys.stdout, sys.stderr)
        if arguments[:1] in (["rules"], ["explain"]):
            return _show_rules(arguments[1:], arguments[0])
        if arguments[:1] == ["diff"]:
            return _show_difference(arguments[1:])
        if arguments[:1] == ["unpack"]:
            return _show_script(arguments[1:])
        if arguments[:1] == ["sweep"]:
            return _sweep(arguments[1:])
        if arguments[:1] == ["publish"]:
            return _publish(arguments[1:])
        if arguments[:1] == ["fix"]:
            return _fix(arguments[1:])
        return _audit(_parser().parse_args(arguments))
    except CannotAuditError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _complain("interrupted")
    except BrokenPipeError:
        _abandon_stdout()
        return EXIT_NOT_DONE
    except Exception as error:
        from auditor.audit import describe

        return _complain(f"internal error: {describe(error)}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pgolf-audit",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_submission(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--run", action="store_true", help="also run the script at toy size in a sandbox")
    parser.add_argument("--seed", metavar="N", type=int, help="repeat the random numbers of another audit")
    parser.add_argument(
        "--run-seconds",
        metavar="S",
        type=float,
        help="wall clock of all runs of the script, or of a rescoring (default: 300 with --run, 600 with --rescore)",
    )
    parser.add_argument(
        "--run-python",
        metavar="FILE",
        help="an interpreter that has torch, for --run and --rescore (default: this one)",
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="with --run: cuda runs on this machine's graphics card, which nobody has tried yet (default: cpu)",
    )
    parser.add_argument(
        "--ranks", metavar="N", type=int, help="with --run: processes of the last run; 1: no such run (default: 2)"
    )
    parser.add_argument(
        "--rescore", action="store_true", help="also evaluate the folder's artifact again, in a sandbox"
    )
    parser.add_argument(
        "--data", metavar="DIR", help="with --rescore: the validation text (DIR/datasets/NAME, DIR/tokenizers)"
    )
    parser.add_argument(
        "--retrain", action="store_true", help="with --rescore: train the seeds without an artifact, or at toy size"
    )
    parser.add_argument(
        "--report", metavar="FORMAT=FILE", action="append", default=[], help="also write the report in another format"
    )
    parser.add_argument(
        "--keep-logs",
        metavar="DIR",
        help="with --retrain: an existing folder for each run's log and for retrain.sh, the launches at full size",
    )
    parser.add_argument("--attest", metavar="FILE", help="also write an in-toto statement about the audited bytes")
    parser.add_argument("--as-of", metavar="DATE", help="judge by what was known on this day (YYYY-MM-DD)")
    parser.add_argument(
        "--validation-text",
        metavar="FILE",
        help='JSON {"name": ..., "text_bytes": N} of a validation text other than the official one',
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


def _add_submission(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which submission is read and where the result goes."""
    parser.add_argument(
        "folder",
        metavar="PR-FOLDER",
        nargs="?",
        help="a record folder, or a checkout in which a pull request added one",
    )
    parser.add_argument("--repo", metavar="GIT-DIR", help="read from the objects of this git repository instead")
    parser.add_argument("--pr", metavar="N", type=int, help="with --repo: pull request N (refs/pull/N/head)")
    parser.add_argument("--ref", metavar="REF", help="with --repo: the commit to audit")
    parser.add_argument(
        "--base", metavar="REF", help="with --ref: the commit it is compared with (default: main branch)"
    )
    parser.add_argument("--output", metavar="FILE", help="write to FILE instead of standard output")


def _audit(options: argparse.Namespace) -> int:
    if options.version:
        from auditor import __version__

        _write(f"pgolf-audit {__version__}\n", None)
        return EXIT_PASS
    _check_submission(options)
    further = _further_reports(options.report)
    as_of = _day(options.as_of)
    text = _validation_text(options.validation_text)

    run_options, rescore_options = _run_options(options), _rescore_options(options)

    from auditor.audit import audit

    report = audit(_load(options), as_of=as_of, text=text, run=run_options, rescore=rescore_options)
    _write(_render(report, options.format, to_file=options.output is not None), options.output)
    for form, target in further:
        _write(_render(report, form, to_file=True), target)
    if options.keep_logs is not None:
        _keep_logs(report, options.keep_logs)
    if options.attest is not None:
        from auditor.report.attestation import render_attestation

        _write(render_attestation(report), options.attest)
    return _exit_code(report)


def _run_options(options: argparse.Namespace) -> RunOptions | None:
    """How to run the script, or None when only what is written is read."""
    given = (options.seed, options.run_seconds, options.run_python)
    if not options.run and not options.rescore and any(value is not None for value in given):
        raise CannotAuditError("--seed, --run-seconds and --run-python need --run or --rescore")
    if options.run_seconds is not None and options.run_seconds <= 0:
        raise CannotAuditError(f"--run-seconds {options.run_seconds}: a positive number of seconds")
    for option, value in (("--ranks", options.ranks), ("--device", options.device)):
        if value is not None and not options.run:
            raise CannotAuditError(f"{option} needs --run")
    if options.ranks is not None and not 1 <= options.ranks <= MOST_RANKS:
        raise CannotAuditError(f"--ranks {options.ranks}: between 1 and {MOST_RANKS}")
    if not options.run:
        return None
    from auditor.run.witness import RunOptions

    return RunOptions(
        seed=options.seed,
        python=options.run_python or "",
        seconds=options.run_seconds or RunOptions().seconds,
        ranks=options.ranks or RunOptions().ranks,
        device=options.device or RunOptions().device,
        progress=_tell if sys.stderr is not None and sys.stderr.isatty() else None,
    )


def _rescore_options(options: argparse.Namespace) -> RescoreOptions | None:
    """How to evaluate the artifact again, or None when that is not asked for."""
    if not options.rescore:
        if options.data is not None or options.retrain or options.keep_logs is not None:
            raise CannotAuditError("--data, --retrain and --keep-logs need --rescore")
        return None
    from pathlib import Path

    from auditor.rescore.witness import RescoreOptions

    for option, folder in (("--data", options.data), ("--keep-logs", options.keep_logs)):
        if folder is not None and not Path(folder).is_dir():
            raise CannotAuditError(f"{option} {folder}: no such folder")
    return RescoreOptions(
        data=Path(options.data) if options.data is not None else None,
        python=options.run_python or "",
        seconds=options.run_seconds or RescoreOptions().seconds,
        retrain=options.retrain,
        seed=options.seed,
        progress=_tell if sys.stderr is not None and sys.stderr.isatty() else None,
    )


def _keep_logs(report: AuditReport, folder: str) -> None:
    """The whole output of each training run, and what would train at full size, as files of a folder."""
    from pathlib import Path

    from auditor.rescore.training import kept_files

    for name, content in (kept_files(report.rescore) if report.rescore else {}).items():
        try:
            (Path(folder) / name).write_bytes(content)
        except OSError as error:
            raise CannotAuditError(f"--keep-logs {folder}: {error.strerror or error}") from error


def _tell(text: str) -> None:
    print(f"pgolf-audit: {text}", file=sys.stderr, flush=True)


def _check_submission(options: argparse.Namespace) -> None:
    """Refuse combinations that mean nothing, before any work is done."""
    if (options.folder is None) == (options.repo is None):
        raise CannotAuditError(
            "give either PR-FOLDER or --repo GIT-DIR with --pr N or --ref REF (see pgolf-audit --help)"
        )
    if options.repo is None and (options.pr is not None or options.ref is not None or options.base is not None):
        raise CannotAuditError("--pr, --ref and --base need --repo GIT-DIR")
    if options.repo is not None and (options.pr is None) == (options.ref is None):
        raise CannotAuditError("--repo needs either --pr N or --ref REF")
    if options.base is not None and options.ref is None:
        raise CannotAuditError("--base needs --ref REF")
    if options.pr is not None and options.pr <= 0:
        raise CannotAuditError(f"--pr {options.pr}: pull requests are numbered from 1")
    for option, target in (("--output", options.output), ("--attest", getattr(options, "attest", None))):
        _check_target(option, target)


def _check_target(option: str, target: str | None) -> None:
    from pathlib import Path

    if target is not None and (Path(target).is_dir() or not Path(target).absolute().parent.is_dir()):
        raise CannotAuditError(f"{option} {target}: not a file that can be written (does its folder exist?)")


def _further_reports(wanted: Sequence[str]) -> list[tuple[str, str]]:
    """The formats and files that --report names."""
    reports = []
    for item in wanted:
        form, given, target = item.partition("=")
        if form not in FORMATS or not given or not target:
            raise CannotAuditError(f"--report {item}: needs FORMAT=FILE with FORMAT one of {', '.join(FORMATS)}")
        _check_target("--report", target)
        reports.append((form, target))
    return reports


def _load(options: argparse.Namespace) -> Submission:
    from auditor.submission import LoadError, load_folder, load_pull_request, load_ref

    try:
        if options.folder is not None:
            return load_folder(options.folder)
        if options.pr is not None:
            return load_pull_request(options.repo, options.pr)
        return load_ref(options.repo, options.ref, options.base)
    except LoadError as error:
        raise CannotAuditError(str(error)) from error


def _day(text: str | None) -> date | None:
    from datetime import date

    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CannotAuditError(f"--as-of {text}: not a day of the form YYYY-MM-DD") from None


def _validation_text(path: str | None) -> ValidationText:
    from rules.base import FINEWEB_50K, ValidationText

    if path is None:
        return FINEWEB_50K
    import json
    from pathlib import Path

    try:
        with Path(path).open("rb") as file:
            content = json.loads(file.read(MAX_VALIDATION_TEXT_FILE_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise CannotAuditError(f"--validation-text {path}: {error}") from error
    name = content.get("name") if isinstance(content, dict) else None
    text_bytes = content.get("text_bytes") if isinstance(content, dict) else None
    if not isinstance(name, str) or type(text_bytes) is not int or text_bytes <= 0:
        raise CannotAuditError(
            f'--validation-text {path}: needs {{"name": "...", "text_bytes": N}} with N a positive integer'
        )
    return ValidationText(name, text_bytes, official=False)


def _render(report: AuditReport, form: str, *, to_file: bool) -> str:
    if form == "json":
        from auditor.report.json import render_json

        return render_json(report)
    if form == "markdown":
        from auditor.report.markdown import render_markdown

        return render_markdown(report)
    if form == "sarif":
        from auditor.report.sarif import render_sarif

        return render_sarif(report)
    if form == "html":
        from auditor.report.html import render_html

        return render_html(report)
    if form == "github":
        return _render_github(report)
    from auditor.report.text import render_text

    if to_file:
        return render_text(report, width=DEFAULT_WIDTH)
    return render_text(report, width=_width(), color=_wants_color(sys.stdout), unicode=_speaks_unicode(sys.stdout))


def _render_github(report: AuditReport) -> str:
    """Annotations for the job's log; the job summary goes where the runner says (GITHUB_STEP_SUMMARY)."""
    from auditor.report.github import render_github, render_summary

    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with open(summary, "a", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123
                file.write(render_summary(report))
        except OSError as error:
            raise CannotAuditError(f"GITHUB_STEP_SUMMARY {summary}: {error.strerror or error}") from error
    return render_github(report)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns


def _wants_color(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream` (https://no-color.org)."""
    return bool(stream and stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _speaks_unicode(stream: TextIO) -> bool:
    try:
        "│…".encode((stream and stream.encoding) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _exit_code(report: AuditReport) -> int:
    from auditor.findings import Status

    return {Status.FAIL: EXIT_FAIL, Status.REVIEW: EXIT_REVIEW}.get(report.verdict.status, EXIT_PASS)


def _show_difference(arguments: Sequence[str]) -> int:
    """What changed between two JSON reports; exit code 1 when something got worse."""
    parser = _Parser(
        prog="pgolf-audit diff",
        description="Compare two reports made with --format json. Exit code 1: a rule got worse; 0: none did.",
        allow_abbrev=False,
    )
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    options = parser.parse_args(arguments)
    from auditor.report.difference import ReportError, compare, read_report, render_difference

    try:
        difference = compare(read_report(options.old), read_report(options.new))
    except ReportError as error:
        raise CannotAuditError(str(error)) from error
    _write(render_difference(difference), None)
    return EXIT_FAIL if difference.worse else EXIT_PASS


def _show_rules(arguments: Sequence[str], name: str) -> int:
    parser = _Parser(prog=f"pgolf-audit {name}", description="List the rules, or explain one.", allow_abbrev=False)
    parser.add_argument("code", metavar="CODE", nargs="?", help="a rule's code, such as C3")
    code = parser.parse_args(arguments).code

    from rules import RULES
    from rules.page import index, page

    if code is None:
        _write(index(RULES), None)
    elif code.upper() in RULES:
        _write(page(RULES[code.upper()]), None)
    else:
        raise CannotAuditError(f"there is no rule {code}; the rules are {', '.join(RULES)}")
    return EXIT_PASS


def _show_script(arguments: Sequence[str]) -> int:
    parser = _Parser(prog="pgolf-audit unpack", description=UNPACK_DESCRIPTION, allow_abbrev=False)
    _add_submission(parser)
    options = parser.parse_args(arguments)
    _check_submission(options)
    submission = _load(options)
    if submission.script is None:
        raise CannotAuditError(f"{submission.origin}: there is no script to read")
    text = submission.script.text
    if options.output is None and sys.stdout is not None and sys.stdout.isatty():
        from auditor.report.escape import visible

        text = "\n".join(map(visible, text.split("\n")))
    _write(text if text.endswith("\n") else text + "\n", options.output)
    return EXIT_PASS


def _sweep(arguments: Sequence[str]) -> int:
    """Audit many pull requests; exit code 0 when the sweep was made, whatever it found."""
    from auditor.submission.model import LoadError
    from auditor.sweep import command
    from auditor.sweep.ray_engine import RayMissingError
    from auditor.sweep.sweeping import AuditorError
    from auditor.sweep.targets import TargetError

    parser = _Parser(
        prog="pgolf-audit sweep",
        description=command.DESCRIPTION,
        epilog=command.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    try:
        _write(command.run_sweep(parser.parse_args(arguments)) + "\n", None)
    except command.InterruptedSweepError as error:
        _write(f"{error}\n", None)
        return _complain("interrupted; the same command goes on from here")
    except (TargetError, AuditorError, LoadError, RayMissingError, OSError) as error:
        raise CannotAuditError(str(error)) from error
    return EXIT_PASS


def _publish(arguments: Sequence[str]) -> int:
    """Write what a trusted job may publish of an untrusted job's report; exit code 2 when it is no usable report."""
    parser = _Parser(
        prog="pgolf-audit publish",
        description="Check a JSON report (or an artifact that holds report.json) and write it anew, as data.",
        allow_abbrev=False,
    )
    parser.add_argument("report", metavar="REPORT", help="report.json, or the zip archive of an artifact")
    parser.add_argument("--head", metavar="SHA", required=True, help="the commit that it must be about")
    parser.add_argument("--comment", metavar="FILE", help="write a Markdown comment here (default: standard output)")
    parser.add_argument("--sarif", metavar="FILE", help="write a SARIF log here")
    options = parser.parse_args(arguments)
    from pathlib import Path

    from auditor.publish.comment import render_comment
    from auditor.publish.received import ReceivedError, read_received

    _check_target("--comment", options.comment)
    _check_target("--sarif", options.sarif)
    try:
        received = read_received(Path(options.report), options.head)
    except ReceivedError as error:
        raise CannotAuditError(str(error)) from error
    _write(render_comment(received), options.comment)
    if options.sarif is not None:
        from auditor.publish.sarif import render_received_sarif

        _write(render_received_sarif(received), options.sarif)
    return EXIT_PASS


def _fix(arguments: Sequence[str]) -> int:
    """Write a patch that mends what a rule fails for; exit code 1 when there is none to offer."""
    from auditor.fix.command import FIXABLE

    parser = _Parser(
        prog="pgolf-audit fix",
        description="Propose a patch that the source witness passes. Exit codes: 0 there is one; 1 there is none.",
        allow_abbrev=False,
    )
    _add_submission(parser)
    parser.add_argument("--rule", choices=FIXABLE, default=FIXABLE[0], help="default: %(default)s")
    parser.add_argument("--run", action="store_true", help="also run the script before and after, at toy size")
    parser.add_argument("--seed", metavar="N", type=int, help="with --run: repeat the random numbers of another audit")
    parser.add_argument(
        "--run-seconds", metavar="S", type=float, help="with --run: wall clock of the toy runs of one script"
    )
    parser.add_argument("--run-python", metavar="FILE", help="with --run: an interpreter that has torch")
    parser.set_defaults(rescore=False, ranks=None, device=None)
    options = parser.parse_args(arguments)
    _check_submission(options)
    from auditor.fix.command import describe_fix
    from auditor.fix.proposing import NotFixedError
    from auditor.report.escape import visible

    try:
        patch, told = describe_fix(_load(options), options.rule, _run_options(options))
    except NotFixedError as error:
        _write("\n".join(map(visible, str(error).split("\n"))) + "\n", None)
        return EXIT_FAIL
    if options.output is None:
        patch = "\n".join(map(visible, patch.split("\n")))  # a file gets it as it is
    _write(patch, options.output)
    print("\n".join(map(visible, told.split("\n"))), file=sys.stderr, end="")
    return EXIT_PASS


def _write(text: str, output: str | None) -> None:
    """Write the whole report: to standard output, or to a file that holds either the old content or the new."""
    if output is None and sys.stdout is None:  # closed by the caller, who wants the exit code alone
        return
    if output is None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has seen enough; the verdict stands
            _abandon_stdout()
        except OSError as error:
            _abandon_stdout()
            raise CannotAuditError(f"standard output: {error.strerror or error}") from error
        return
    try:
        _replace_file(output, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise CannotAuditError(f"--output {output}: {error.strerror or error}") from error


def _replace_file(path: str, data: bytes) -> None:
    """Write `data` beside `path`, then rename; what is no regular file (a pipe, /dev/stdout) is written to directly."""
    import stat
    import tempfile
    from pathlib import Path

    target = Path(path).resolve()
    mode = target.stat().st_mode if target.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        with Path(path).open("wb") as device:
            device.write(data)
        return
    handle, name = tempfile.mkstemp(prefix=".pgolf-audit-", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(stat.S_IMODE(mode) if mode is not None else 0o666 & ~_umask())
        temporary.replace(target)
    except BaseException:
        temporary.unlink()
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _complain(message: str) -> int:
    """One line on standard error; returns the exit code for an audit that could not be done."""
    from auditor.report.escape import terminal

    print(f"pgolf-audit: {terminal(' '.join(message.split()))}", file=sys.stderr)
    return EXIT_NOT_DONE


def _tolerate_any_text(*streams: TextIO) -> None:
    """Characters that a stream's encoding lacks are written as escapes, never an error."""
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _abandon_stdout() -> None:
    """Point standard output at nothing, so that the interpreter's own flush at exit does not fail again."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
