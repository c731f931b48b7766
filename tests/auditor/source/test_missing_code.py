"""A script that is shorter than what the logs count is not all that ran: no rule of scoring passes on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.findings import Status
from auditor.record.model import Place, SizeLine
from auditor.source import witness
from auditor.submission.model import Role, StoredFile
from benchmarks.evasions.cases import FOLDER, PRELUDE, read_theme
from benchmarks.evasions.judging import configuration_of, record_of, submission_of
from rules import RULES
from rules.base import Evidence

HONEST = """# case: honest
# twin of: none
model = Model().cuda()
train(model)
val = load_tokens(VAL_FILES)
report(evaluate(model, val), val)
"""


@pytest.mark.parametrize(("more", "status"), [(12_000, Status.REVIEW), (300, Status.PASS)])
def test_logs_that_count_more_code(more: int, status: Status) -> None:
    case = read_theme("honest", HONEST, (FOLDER / PRELUDE).read_text(encoding="utf-8"))[0]
    submission, record = submission_of(case), record_of(case)
    assert submission.script is not None
    text = submission.script.text.encode()
    stored = StoredFile(submission.script.path, len(text), Role.SCRIPT, text)
    submission = replace(submission, files=(stored,))
    size = SizeLine("code", "", len(text) + more, Place(record.logs[0].path, 90))
    record = replace(record, logs=(replace(record.logs[0], sizes=(size,)),))
    evidence = Evidence(
        submission, configuration_of(case), record, source=witness(submission, configuration_of(case), record)
    )
    results = [RULES[code].judge(evidence) for code in ("C1", "C2", "C3", "C4")]
    assert [result.status for result in results] == [status] * 4
    assert ("counts more code" in results[0].reason) == (status is Status.REVIEW)
