"""Where neither a log nor a command says how a script was run, what its switches would do is asked about."""

from __future__ import annotations

import pytest

from auditor.configuration import RunConfiguration
from auditor.findings import Status
from auditor.record.model import Record, Statement
from auditor.source import witness
from benchmarks.evasions.cases import FOLDER, PRELUDE, read_theme
from benchmarks.evasions.judging import submission_of
from rules import RULES
from rules.base import Evidence

SCRIPT = """# case: off_by_default
# twin of: none
class Attention(Model):
    def hidden(self, x):
        h = self.embed(x)
        return F.scaled_dot_product_attention(h, h, h, is_causal=CAUSAL)


model = Attention().cuda()
train(model)
val = load_tokens(VAL_FILES)
if os.environ.get("TTT_ENABLED", "0") == "1":
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
    for start in range(0, val.numel() - 1, SEQ_LEN):
        model(*window(val, start)).backward()
        optimizer.step()
report(evaluate(model, val), val)
"""


@pytest.mark.parametrize(("causal", "of_the_model"), [("True", Status.PASS), ("False", Status.REVIEW)])
def test_a_question_about_the_model_hides_none_about_the_evaluation(causal: str, of_the_model: Status) -> None:
    prelude = (FOLDER / PRELUDE).read_text(encoding="utf-8")
    submission = submission_of(read_theme("off", SCRIPT.replace("CAUSAL", causal), prelude)[0])
    configuration, record = RunConfiguration(), Record(Statement(), ())
    evidence = Evidence(submission, configuration, record, source=witness(submission, configuration, record))
    assert RULES["C1"].judge(evidence).status is of_the_model
    result = RULES["C3"].judge(evidence)
    assert result.status is Status.REVIEW and "off by default" in result.findings[0].message
