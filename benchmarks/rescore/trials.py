"""One example audited with its artifact evaluated again, on data made from the source that its name tells."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor.audit import audit
from auditor.findings import Status, Witness
from auditor.rescore.witness import RescoreOptions
from auditor.run.model import Confinement, Job, Outcome
from auditor.run.sandbox import run_job
from auditor.submission import load_folder
from rules.base import ValidationText

_DATA_SET = re.compile(r"toy_(sp|caseops|byte)(\d+)_(\d+)k_(\d+)k_seed(\d+)")


@dataclass(frozen=True)
class Trial:
    """What came of one folder."""

    name: str
    claimed: str
    replayed: str
    independent: str
    way: str
    seconds: float  # by the clock; on a busy machine much more than
    cpu_seconds: float  # of the audit and the confined run together
    verdict: str
    rules: Mapping[str, str]  # rule -> status, of those that fail or ask
    by_rescoring: Mapping[str, str]  # rule -> what the rescore witness says of it, its worst finding
    confirmed: bool  # every logged score of the artifact's run repeats to the last digit


def make_data(folder: Path, example: Path) -> None:
    """Draw the data set that an example's README names, from the known source and the seed in its name."""
    from reference_pipeline.prepare_data import prepare_toy_data

    match = _DATA_SET.search((example / "README.md").read_text(encoding="utf-8"))
    if match is None:
        raise ValueError(f"{example}: its README names no toy data set")
    kind, vocabulary, train, validation, seed = match.groups()
    prepare_toy_data(folder, kind, int(vocabulary), int(train) * 1000, int(validation) * 1000, int(seed))


def try_folder(folder: Path, text: ValidationText, options: RescoreOptions | None) -> Trial:
    """Audit one folder, with rescoring where `options` are given."""
    began, busy = time.perf_counter(), time.process_time()
    report = audit(load_folder(str(folder)), text=text, rescore=options)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - busy
    rescored = report.rescore
    replay = rescored.replay if rescored else None
    cpu_seconds += replay.outcome.cpu_seconds if replay else 0.0
    pair = replay.claimed if replay else None
    reported = replay.reported if replay else None
    independent = rescored.independent if rescored else None
    shown = pair.logged.bpb_text if pair else ""
    statuses = {result.rule: result.status for result in report.verdict.rules}
    worst: dict[str, str] = {}
    for result in report.verdict.rules:
        own = [item for item in result.findings if item.witness is Witness.RESCORE]
        bad = [item for item in own if item.status in (Status.FAIL, Status.REVIEW)]
        if bad:
            worst[result.rule] = f"{bad[0].status.value}: {bad[0].message}"
    nearest = ""
    if independent and independent.scores and reported and reported.score.val_bpb is not None:
        bpb = reported.score.val_bpb
        score = min(independent.scores, key=lambda item: abs(item.val_bpb - bpb))
        nearest = f"{score.val_bpb:.8f} ({score.name})"
    return Trial(
        name=folder.name,
        claimed=shown,
        replayed=reported.score.bpb_text if reported else "",
        independent=nearest,
        way=replay.way.value if replay and not replay.failure else (replay.failure if replay else ""),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        verdict=report.verdict.status.value,
        rules={rule: status.value for rule, status in statuses.items() if status in (Status.FAIL, Status.REVIEW)},
        by_rescoring=worst,
        confirmed=bool(replay and replay.pairs and not replay.missing and all(pair.exact for pair in replay.pairs)),
    )


class EqualRuns:
    """Runs jobs in the sandbox, and equal ones once: the same script, artifact, settings and command.

    A doctored copy often differs from the honest folder in words alone; what its evaluation prints is then the same.
    """

    def __init__(self) -> None:
        self._known: dict[str, Outcome] = {}

    def __call__(self, job: Job, confinement: Confinement | None = None) -> Outcome:
        """What the job did, now or when an equal one was run."""
        key = self._key(job)
        if key not in self._known:
            self._known[key] = run_job(job, confinement)
        return self._known[key]

    @staticmethod
    def _key(job: Job) -> str:
        digest = hashlib.sha256(repr((job.command, job.folder, sorted(job.environment.items()))).encode())
        for bind in job.binds:
            files = sorted(bind.source.rglob("*")) if bind.writable else [bind.source]
            for path in files:
                if path.is_file():
                    digest.update(repr((bind.target, path.name)).encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()
