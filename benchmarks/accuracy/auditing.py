"""Audits of many pull requests: each in a process of its own, bounded in time, remembered.

Each audit is the command that users run (``pgolf-audit --repo GIT_DIR --pr N --format json``), so start-up counts and
one that hangs can be killed. Outcomes are kept in a cache outside the repository, under a digest of the auditor's and
the rules' sources: an interrupted run goes on where it stopped, a changed auditor starts afresh.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = ("auditor", "rules")  # all that an audit's outcome depends on
VERDICT_OF_EXIT_CODE = {0: "pass", 1: "fail", 3: "review"}
GIVE_UP_AFTER = 8  # audits that end without a report, for the same reason, before any that has one
KEPT_CACHES = 4  # one for each of the last states of the auditor

_COMMAND = "import sys; from auditor.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one audit said. `statuses` maps rule codes to statuses; `error`: why there is no report ("" if there is)."""

    pull_request: int
    head: str  # commit that was audited
    verdict: str
    statuses: Mapping[str, str]
    reasons: Mapping[str, str]
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int  # resident memory; never less than what the benchmark itself held when it started the audit
    error: str = ""

    def status(self, rule: str) -> str:
        """Status of `rule`; "not_audited" when the audit failed, "not_checked" when the report leaves the rule out."""
        return "not_audited" if self.error else self.statuses.get(rule, "not_checked")


class RepositoryError(Exception):
    """The repository of pull requests cannot be used."""


class AuditorError(Exception):
    """The auditor itself does not work, so that there is nothing to measure."""


def pull_request_heads(git_dir: Path) -> dict[int, str]:
    """Commit of refs/pull/N/head for every N that `git_dir` has."""
    command = ["git", "--git-dir", str(git_dir), "for-each-ref", "--format=%(objectname) %(refname)", "refs/pull/"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    if listing.returncode:
        raise RepositoryError(f"{git_dir}: {listing.stderr.strip() or 'git could not list its references'}")
    heads = {}
    for line in listing.stdout.splitlines():
        commit, reference = line.split()
        if reference.endswith("/head"):
            heads[int(reference.split("/")[2])] = commit
    if not heads:
        raise RepositoryError(f"{git_dir} has no references of the form refs/pull/N/head")
    return heads


@contextmanager
def snapshot(root: Path = ROOT, *, committed: bool = False) -> Iterator[Path]:
    """A copy of the auditor and the rules that stays the same while somebody goes on editing.

    Of the working tree, or with `committed` of the last commit.
    """
    with tempfile.TemporaryDirectory(prefix="pgolf-benchmark-") as scratch:
        if committed:
            command = ["git", "-C", str(root), "archive", "--format=tar", "HEAD", *PACKAGES]
            archive = subprocess.run(command, capture_output=True, check=True).stdout
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(scratch, filter="data")
        else:
            for package in PACKAGES:
                shutil.copytree(root / package, Path(scratch) / package, ignore=shutil.ignore_patterns("__pycache__"))
        yield Path(scratch)


def auditor_digest(root: Path) -> str:
    """SHA-256 over every source and data file of the auditor and the rules, and the Python version."""
    digest = hashlib.sha256(sys.version.encode())
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


class Cache:
    """Outcomes of one state of the auditor, one JSON file each."""

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder = folder / digest[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        os.utime(self._folder)
        self._forget_old(folder)

    @staticmethod
    def default_folder() -> Path:
        """The user's cache folder for these outcomes."""
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "pgolf-audit" / "accuracy"

    def get(self, pull_request: int, head: str) -> Outcome | None:
        """The remembered outcome, or None."""
        try:
            return Outcome(**json.loads(self._path(pull_request, head).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, outcome: Outcome) -> None:
        """Remember `outcome`; a half-written file never counts."""
        path = self._path(outcome.pull_request, outcome.head)
        partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        partial.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        partial.replace(path)

    def _path(self, pull_request: int, head: str) -> Path:
        return self._folder / f"{pull_request}-{head}.json"

    @staticmethod
    def _forget_old(folder: Path) -> None:
        states = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for state in states[:-KEPT_CACHES]:
            shutil.rmtree(state, ignore_errors=True)


def audit(git_dir: Path, pull_request: int, head: str, *, limit_seconds: float, root: Path) -> Outcome:
    """Audit one pull request in a process of its own, killed with its children after `limit_seconds`.

    `root` is the folder that holds the packages auditor and rules.
    """
    with tempfile.TemporaryDirectory(prefix="pgolf-benchmark-") as scratch:
        report_path, error_path = Path(scratch) / "report.json", Path(scratch) / "stderr"
        command = [sys.executable, "-c", _COMMAND, "--repo", str(git_dir.resolve()), "--pr", str(pull_request)]
        command += ["--format", "json", "--output", str(report_path)]
        began = time.monotonic()
        with error_path.open("wb") as errors:
            process = subprocess.Popen(
                command, cwd=root, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
            )
            killed = threading.Event()
            timer = threading.Timer(limit_seconds, _kill, (process.pid, killed))
            timer.start()
            _, wait_status, usage = os.wait4(process.pid, 0)
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(wait_status)
        fields: dict[str, Any] = {}
        if killed.is_set():
            error = f"killed after {limit_seconds:g} s"
        elif process.returncode in VERDICT_OF_EXIT_CODE:
            fields, error = _read_report(report_path)
            if error and (words := _last_line(error_path)):
                error = f"{error}: {words}"
            if not error and fields["verdict"] != VERDICT_OF_EXIT_CODE[process.returncode]:
                error = f"exit code {process.returncode} contradicts the report's verdict {fields['verdict']}"
        else:
            error = _last_line(error_path) or f"exit code {process.returncode}"
    return Outcome(
        pull_request=pull_request,
        head=head,
        verdict=str(fields.get("verdict", "")),
        statuses={rule["rule"]: rule["status"] for rule in fields.get("rules", ())},
        reasons={rule["rule"]: rule.get("reason", "") for rule in fields.get("rules", ())},
        wall_seconds=time.monotonic() - began,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        error=error.replace(str(git_dir.resolve()), "the repository").replace(str(root), "."),
    )


def _kill(group: int, killed: threading.Event) -> None:
    killed.set()
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _read_report(path: Path) -> tuple[dict[str, Any], str]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["schema"] != "pgolf-audit/1":
            return {}, f"unknown report schema {report['schema']!r}"
        return {"verdict": report["verdict"], "rules": report["rules"]}, ""
    except (OSError, ValueError, KeyError) as error:
        return {}, f"no usable JSON report ({type(error).__name__})"


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


def audit_all(
    git_dir: Path,
    pull_requests: Iterable[int],
    heads: Mapping[int, str],
    *,
    jobs: int,
    limit_seconds: float,
    cache: Cache,
    root: Path,
    done: Callable[[Outcome, bool], None] = lambda outcome, cached: None,
) -> dict[int, Outcome]:
    """Outcomes of all `pull_requests`, by number. `done` hears of each one and whether it came from the cache.

    Raises AuditorError when the auditor turns out not to work at all.
    """
    outcomes: dict[int, Outcome] = {}
    missing = []
    for pull_request in pull_requests:
        head = heads.get(pull_request)
        if head is None:
            remembered: Outcome | None = _absent(pull_request)
        else:
            remembered = cache.get(pull_request, head)
        if remembered is None:
            missing.append(pull_request)
        else:
            outcomes[pull_request] = remembered
            done(remembered, True)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        running = [
            pool.submit(audit, git_dir, pull_request, heads[pull_request], limit_seconds=limit_seconds, root=root)
            for pull_request in missing
        ]
        errors: list[str] = []
        try:
            for future in as_completed(running):
                outcome = future.result()
                errors.append(outcome.error)
                if len(errors) == GIVE_UP_AFTER and outcome.error and len(set(errors)) == 1:
                    raise AuditorError(f"the first {len(errors)} audits all ended like this: {outcome.error}")
                outcomes[outcome.pull_request] = outcome
                if not outcome.error.startswith("killed"):  # a slow machine must not be remembered
                    cache.put(outcome)
                done(outcome, False)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return dict(sorted(outcomes.items()))


def _absent(pull_request: int) -> Outcome:
    return Outcome(pull_request, "", "", {}, {}, 0.0, 0.0, 0, error=f"refs/pull/{pull_request}/head is not there")
