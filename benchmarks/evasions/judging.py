"""What the rules say of a case: the source witness follows its script under its settings, nothing is executed."""

from __future__ import annotations

import hashlib

from auditor.configuration import RunConfiguration, Setting
from auditor.findings import RuleResult
from auditor.record.model import MetricLine, Place, ReadmeCommand, Record, RunLog, Statement
from auditor.source import witness
from auditor.submission.model import SourceText, Submission, Track
from benchmarks.evasions.cases import SOURCE_RULES, Case
from rules import RULES
from rules.base import Evidence

_FOLDER = "records/track_10min_16mb/case"
_LOG = f"{_FOLDER}/train.log"
_TRAINING = (
    "seed:42",
    "world_size:8 grad_accum_steps:1",
    "step:1000/20000 train_loss:2.4312 train_time:46012ms step_avg:46.01ms",
    "step:13000/20000 train_loss:2.0871 train_time:598130ms step_avg:46.01ms",
)


def submission_of(case: Case) -> Submission:
    """The case as a loaded submission."""
    script = _source("train_gpt.py", case.script)
    helpers = tuple(_source(name, text) for name, text in case.helpers.items())
    return Submission(f"case {case.name}", _FOLDER, Track.RECORD, files=(), script=script, helpers=helpers)


def record_of(case: Case) -> Record:
    """One log, whose last line carries the claim."""
    label = case.log_line.partition(" ")[0]
    bpb = case.claimed_bpb
    place = Place(_LOG, 100)
    line = MetricLine(label, None, bpb, "", str(bpb), None, place, case.log_line)
    raw_lines = (*_TRAINING, *case.logged, case.log_line)
    log = RunLog(_LOG, 42, 42, metrics=(line,), world_size=8, lines=len(raw_lines), raw_lines=raw_lines)
    return Record(Statement(val_bpb=bpb, val_bpb_text=str(bpb)), (log,), commands=(_command(case),))


def configuration_of(case: Case) -> RunConfiguration:
    """The settings of the case, as the README's command would give them."""
    command = _command(case)
    settings = {name: Setting(name, value, "readme", command.place) for name, value in case.settings.items()}
    return RunConfiguration(settings, command=command, log=_LOG)


def _command(case: Case) -> ReadmeCommand:
    text = "torchrun --standalone --nproc_per_node=8 train_gpt.py"
    return ReadmeCommand(dict(case.settings), text, "train_gpt.py", Place(f"{_FOLDER}/README.md", 1))


def judge(case: Case) -> dict[str, RuleResult]:
    """Rule -> result, for every rule that the source witness speaks to."""
    submission, record, configuration = submission_of(case), record_of(case), configuration_of(case)
    ledger = witness(submission, configuration, record)
    evidence = Evidence(submission, configuration, record, source=ledger)
    return {code: RULES[code].judge(evidence) for code in SOURCE_RULES}


def _source(name: str, text: str) -> SourceText:
    return SourceText(f"{_FOLDER}/{name}", text, hashlib.sha256(text.encode()).hexdigest())
