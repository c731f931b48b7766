"""Runs one case in one confinement and says what came of it."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import auditor.run.inside
from auditor.run.model import MIB, Bind, Confinement, Job, Limits, Outcome
from auditor.run.sandbox import remove_tree, run_job
from auditor.run.stage.places import SUBMISSION
from benchmarks.escapes.world import BAIT, World

STARTER = Path(__file__).with_name("starter.py")
LIMITS = Limits(
    seconds=20.0,
    memory_bytes=256 * MIB,
    address_space_bytes=4096 * MIB,
    processes=40,
    file_bytes=24 * MIB,
    scratch_bytes=32 * MIB,
    files=2000,
    output_bytes=MIB,
)
PREAMBLE = """\
import os, sys
if os.getpid() > 100:
    sys.exit("ESCAPED: not in a pid namespace of its own; nothing is tried")
def escaped(what):
    print("ESCAPED:", what, flush=True)
def attempt(function, *arguments, **more):
    try:
        result = function(*arguments, **more)
    except BaseException as error:
        print("refused:", type(error).__name__, error, flush=True)
        return None
    escaped(f"{getattr(function, '__name__', function)}{arguments!r} gave {result!r:.80}")
    return result
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile script. `forbidden` is the outcome that must not happen, in one sentence.

    The script prints a line with "ESCAPED" where it got what it wanted; what it did to the machine is looked at, too.
    `by` says what stops it. Where it must leave a trace, the other fields hold a part of the text: `stopped` of
    `Outcome.stopped_by`, `seen` of a line of `Outcome.seen`, `broken` of `Outcome.broken_chain`, `record` of a record,
    `truncated` the name of a stream. `exact` is a further check of the outcome. With `or_refused`, a script that was
    refused what it wanted, and says so, need not be stopped: a limit can strike from either side.
    """

    name: str
    forbidden: str
    script: str
    by: str
    stopped: str = ""
    seen: str = ""
    broken: str = ""
    record: str = ""
    truncated: str = ""
    or_refused: bool = False
    limits: Limits = LIMITS
    exact: Callable[[Outcome], bool] = field(default=lambda outcome: True)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`got_out` is what the case achieved, `left_behind` what was there afterwards, `untraced` what it should have left
    in the outcome and did not; all empty is as it should be. `noticed` says where its traces are."""

    case: Case
    outcome: Outcome
    got_out: tuple[str, ...]
    left_behind: tuple[str, ...]
    untraced: tuple[str, ...]
    noticed: tuple[str, ...]

    @property
    def held(self) -> bool:
        """Whether the sandbox held and everything that must be noticed was."""
        return not (self.got_out or self.left_behind or self.untraced)


def judge(case: Case, way: Confinement, world: World) -> Verdict:
    """Run the case as a submission's script and look at the outcome and at the machine."""
    token = uuid.uuid4().hex
    before = _machine()
    folder = Path(tempfile.mkdtemp(prefix="escapes-submission-"))
    try:
        (folder / "train_gpt.py").write_text(PREAMBLE + case.script)
        (folder / "README.md").write_text("an honest submission\n")
        outcome = run_job(_job(case, folder, world, token), way)
        if case.limits.seconds < LIMITS.seconds and not outcome.records:  # a busy machine: it had not yet begun
            patient = replace(case, limits=replace(case.limits, seconds=6 * case.limits.seconds))
            outcome = run_job(_job(patient, folder, world, token), way)
        cores = [str(path) for path in folder.glob("core*")]
    finally:
        remove_tree(str(folder))
    output = (outcome.stdout + outcome.stderr).decode(errors="replace")
    got_out = [line for line in output.splitlines() if "ESCAPED" in line][:5]
    got_out += ["read the bait"] if BAIT in output else []
    left = [*cores, *_processes_with(token), *sorted(_machine() - before)]
    return Verdict(
        case, outcome, (*got_out, *world.harm()), tuple(left), tuple(untraced(case, outcome)), _noticed(case, outcome)
    )


def _job(case: Case, folder: Path, world: World, token: str) -> Job:
    inside = Path(auditor.run.inside.__file__).parent
    binds = (
        Bind(inside, "/audit/inside"),
        Bind(STARTER, "/audit/starter.py"),
        Bind(world.data, "/audit/data"),
        Bind(folder, SUBMISSION, writable=True),
    )
    command = (sys.executable, "-I", "-B", "/audit/starter.py", f"{SUBMISSION}/train_gpt.py", token)
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp/home", **world.directions()}
    return Job(command, SUBMISSION, environment, binds, case.limits)


def untraced(case: Case, outcome: Outcome) -> list[str]:
    """What the case should have left in the outcome and did not, a sentence each."""
    missing = []
    refused = case.or_refused and b"refused" in outcome.stdout + outcome.stderr
    if refused:  # it may have ended by itself, or have been counted and stopped before it had
        case = replace(case, stopped=outcome.stopped_by and case.stopped, broken=outcome.broken_chain and case.broken)
    if bool(case.stopped) != bool(outcome.stopped_by) or case.stopped not in outcome.stopped_by:
        missing.append(f"stopped by {outcome.stopped_by!r}, not {case.stopped!r}")
    if bool(case.broken) != bool(outcome.broken_chain) or case.broken not in outcome.broken_chain:
        missing.append(f"chain {outcome.broken_chain!r}, not {case.broken!r}")
    if case.seen and not any(case.seen in line for line in outcome.seen):
        missing.append(f"seen {outcome.seen!r} without {case.seen!r}")
    if case.record and not any(case.record in str(record) for record in outcome.records):
        missing.append(f"no record has {case.record!r}")
    if case.truncated and case.truncated not in outcome.truncated:
        missing.append(f"{case.truncated} was not cut")
    if not any(record.get("kind") == "before" and record.get("seven") == 7 for record in outcome.records):
        missing.append("what was reported before is gone")
    if any(not line.isprintable() for line in (*outcome.seen, outcome.broken_chain, outcome.stopped_by)):
        missing.append("control characters in what is shown")
    if not case.exact(outcome):
        missing.append("the outcome is not the one expected")
    return missing


def _noticed(case: Case, outcome: Outcome) -> tuple[str, ...]:
    places = []
    if outcome.stopped_by:
        places.append(f"stopped: {outcome.stopped_by}")
    if outcome.broken_chain:
        places.append(f"chain: {outcome.broken_chain}")
    places += [f"seen: {line}" for line in outcome.seen[:1]]
    if case.record:
        places.append("record")
    places += [f"cut: {name}" for name in outcome.truncated]
    return tuple(places)


def _processes_with(token: str) -> list[str]:
    """Processes of the machine whose command line has the token of this run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if token.encode() in line:
            found.append(f"process {path.parent.name}")
    return found


def _machine() -> frozenset[str]:
    """Mounts, shared memory and temporary folders of the machine that a run could leave behind."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    shared = [f"/dev/shm/{name}" for name in _listed("/dev/shm")]
    table = Path("/proc/sysvipc/shm")
    segments = table.read_text().splitlines()[1:] if table.exists() else []
    scaffolds = [path for path in _listed(tempfile.gettempdir()) if path.startswith(f"audit-sandbox-{os.getpid()}-")]
    return frozenset([f"mount {place}" for place in mounts] + shared + segments + scaffolds)


def _listed(folder: str) -> list[str]:
    try:
        return [path.name for path in Path(folder).iterdir()]
    except OSError:
        return []
