"""Patches: what they change, that the source witness passes them, and that what is not understood is said to be so."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.audit import audit
from auditor.cli import main
from auditor.findings import Status
from auditor.fix.command import patched_folder, run_line
from auditor.fix.proposing import NotFixedError, Proposal, propose_fix
from auditor.submission import load_folder
from auditor.submission.model import Submission
from rules import RULES

PRELUDE = """\
import math
import os
import torch
import torch.nn.functional as F

tokens_path = "fineweb_val_000000.bin"


class GPT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = torch.nn.Embedding(1024, 64)

    def forward_logits(self, x):
        return self.emb(x) @ self.emb.weight.T

    def forward(self, x, y):
        return F.cross_entropy(self.forward_logits(x).flatten(0, 1), y.flatten())


def load_validation_tokens():
    return torch.from_file(tokens_path, dtype=torch.int64, size=1_000_000)


def eval_val(model, val_tokens,   byte_lut):  # the author's spacing
    total, count, size = 0.0, 0, 0.0
    with torch.no_grad():
        for start in range(0, val_tokens.numel() - 1, 1024):
            x, y = val_tokens[start:start + 1024], val_tokens[start + 1:start + 1025]
            total += F.cross_entropy(model.forward_logits(x[None])[0], y, reduction="sum").item()
            count += y.numel()
            size += byte_lut[y].sum().item()
    return total / count, total / math.log(2.0) / size


def adapt(model, val_tokens, epochs):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for epoch in range(epochs):
        for start in range(0, val_tokens.numel() - 1, 1024):
            x, y = val_tokens[start:start + 1024], val_tokens[start + 1:start + 1025]
            optimizer.zero_grad()
            model(x[None], y[None]).backward()
            optimizer.step()
    return model


"""
BEFORE_SCORING = (
    PRELUDE
    + """\
def main():
    model, val_tokens, byte_lut = GPT(), load_validation_tokens(), torch.ones(1024)
    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "1")))
    if ttt_enabled:
        adapt(model, val_tokens, epochs=3)
    val_loss, val_bpb = eval_val(model, val_tokens, byte_lut)
    print(f"final val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")


main()
"""
)
GIVEN_BACK = (
    PRELUDE
    + """\
def main():
    model, val_tokens, byte_lut = GPT(), load_validation_tokens(), torch.ones(1024)
    model=adapt(model, val_tokens, epochs=3);torch.manual_seed(0)
    result = eval_val(model, val_tokens, byte_lut)
    print(f"final val_loss:{result[0]:.8f} val_bpb:{result[1]:.8f}")


main()
"""
)
LAST_PASS = (
    PRELUDE
    + """\
def main():
    model, val_tokens, byte_lut = GPT(), load_validation_tokens(), torch.ones(1024)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    epochs = int(os.environ.get("TTT_EPOCHS", "3"))
    total, count, size = 0.0, 0, 0.0
    for epoch in range(epochs):
        for start in range(0, val_tokens.numel() - 1, 1024):
            x, y = val_tokens[start:start + 1024], val_tokens[start + 1:start + 1025]
            loss = model(x[None], y[None])
            if epoch == epochs - 1:
                total += loss.item() * y.numel()
                count += y.numel()
                size += byte_lut[y].sum().item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    val_loss, val_bpb = total / count, total / math.log(2.0) / size
    print(f"final val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")


main()
"""
)
INLINE = (
    PRELUDE
    + """\
def main():
    model, val_tokens, byte_lut = GPT(), load_validation_tokens(), torch.ones(1024)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for start in range(0, val_tokens.numel() - 1, 1024):
        x, y = val_tokens[start:start + 1024], val_tokens[start + 1:start + 1025]
        model(x[None], y[None]).backward()
        optimizer.step()
    val_loss, val_bpb = eval_val(model, val_tokens, byte_lut)
    print(f"final val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")


main()
"""
)
BY_HAND = (
    PRELUDE
    + """\
def main():
    model, val_tokens, byte_lut = GPT(), load_validation_tokens(), torch.ones(1024)
    for start in range(0, val_tokens.numel() - 1, 1024):
        x, y = val_tokens[start:start + 1024], val_tokens[start + 1:start + 1025]
        model(x[None], y[None]).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 1e-4 * parameter.grad
    val_loss, val_bpb = eval_val(model, val_tokens, byte_lut)
    print(f"final val_loss:{val_loss:.8f} val_bpb:{val_bpb:.8f}")


main()
"""
)


def submission(folder: Path, script: str) -> Submission:
    folder.mkdir()
    for name, content in RULES["C3"].illegal.files.items():
        if name in ("README.md", "submission.json"):
            (folder / name).write_text(content)
    (folder / "train_gpt.py").write_text(script)
    return load_folder(folder)


def c3(given: Submission) -> Status:
    return {result.rule: result.status for result in audit(given).verdict.rules}["C3"]


def fixed(tmp_path: Path, script: str) -> Proposal:
    """The proposal for a script that fails C3; the patched folder passes a whole audit of C3."""
    given = submission(tmp_path / "record", script)
    assert c3(given) is Status.FAIL
    proposal = propose_fix(given, "C3")
    ast.parse(proposal.after)
    with patched_folder(given, proposal) as folder:
        assert (folder / "train_gpt.py").read_text() == proposal.after
        assert c3(load_folder(folder)) is Status.PASS
    return proposal


def changed(proposal: Proposal) -> tuple[list[str], list[str]]:
    """Lines that are taken out, and lines that are put in."""
    lines = proposal.patch().splitlines()[2:]
    return [line[1:] for line in lines if line[0] == "-"], [line[1:] for line in lines if line[0] == "+"]


def test_adaptation_before_scoring_becomes_score_first(tmp_path: Path) -> None:
    proposal = fixed(tmp_path, BEFORE_SCORING)
    gone, new = changed(proposal)
    assert [line.strip() for line in gone] == [
        "adapt(model, val_tokens, epochs=3)",
        "val_loss, val_bpb = eval_val(model, val_tokens, byte_lut)",
    ]
    text = "\n".join(new)
    assert text.index("eval_val(model, ttt_chunk, byte_lut)") < text.index("adapt(model, ttt_chunk, epochs=3)")
    assert "if ttt_enabled:" in text  # what switched the adaptation on still does
    assert "def eval_val(model, val_tokens,   byte_lut):  # the author's spacing" in proposal.after


def test_the_score_of_chunks_is_the_score_of_the_whole_where_nothing_is_learned(tmp_path: Path) -> None:
    """The patch sums nats and bytes over chunks: with adaptation off the printed figures stay."""
    proposal = fixed(tmp_path, BEFORE_SCORING)
    body = proposal.after[proposal.after.index("def main():") :]
    stand_ins = (
        "import math, os\nclass Text(list):\n    def numel(self): return len(self)\n"
        "    def __getitem__(self, at):\n        got = list.__getitem__(self, at)\n"
        "        return Text(got) if isinstance(at, slice) else got\n"
        "def eval_val(model, text, lut):\n    count = len(text) - 1\n    nats = sum(text[1:]) / 7\n"
        "    return nats / count, nats / math.log(2.0) / (3 * count)\n"
        "def GPT(): return None\ndef load_validation_tokens(): return Text(range(1, 100_001))\n"
        "class torch:\n    def ones(count): return None\n"
        "said = []\ndef print(text): said.append(text)\nos.environ['TTT_ENABLED'] = '0'\n"
    )
    outcomes = []
    for text in (BEFORE_SCORING[BEFORE_SCORING.index("def main():") :], body):
        done = subprocess.run(
            [sys.executable, "-I", "-c", stand_ins + text + "\nimport sys; sys.stdout.write(said[0])"],
            capture_output=True,
            text=True,
            check=True,
        )
        outcomes.append(done.stdout)
    assert outcomes[0] == outcomes[1] != ""


def test_a_call_that_gives_the_model_back_is_taken_out(tmp_path: Path) -> None:
    gone, new = changed(fixed(tmp_path, GIVEN_BACK))
    assert gone == ["    model=adapt(model, val_tokens, epochs=3);torch.manual_seed(0)"]
    assert new == ["    torch.manual_seed(0)"]


def test_several_passes_become_one(tmp_path: Path) -> None:
    gone, new = changed(fixed(tmp_path, LAST_PASS))
    assert (gone, [line.split("  #")[0] for line in new]) == ([], ["    epochs = 1"])


def test_an_adaptation_in_the_middle_of_a_function_no_longer_steps(tmp_path: Path) -> None:
    gone, new = changed(fixed(tmp_path, INLINE))
    assert [line.strip() for line in gone] == ["optimizer.step()"]
    assert [line.strip().split("  #")[0] for line in new] == ["pass"]


def test_what_is_not_understood_is_said_with_what_would_be_legal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = submission(tmp_path / "record", BY_HAND)
    assert c3(given) is Status.FAIL
    with pytest.raises(NotFixedError, match="not understood"):
        propose_fix(given, "C3")
    assert main(["fix", str(tmp_path / "record"), "--rule", "C3"]) == 1
    assert "score a chunk" in capsys.readouterr().out


def test_a_legal_submission_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "record"
    folder.mkdir()
    for name, content in RULES["C3"].legal.files.items():
        (folder / name).write_text(content)
    assert main(["fix", str(folder)]) == 1
    assert "nothing to patch" in capsys.readouterr().out


def test_the_patch_applies(tmp_path: Path) -> None:
    submission(tmp_path / "record", BEFORE_SCORING)
    patch = tmp_path / "fix.patch"
    assert main(["fix", str(tmp_path / "record"), "--output", str(patch)]) == 0
    subprocess.run(["git", "apply", str(patch)], cwd=tmp_path / "record", check=True, capture_output=True)
    assert c3(load_folder(tmp_path / "record")) is Status.PASS


def test_without_a_run_the_account_says_so(tmp_path: Path) -> None:
    assert run_line(audit(submission(tmp_path / "record", BEFORE_SCORING)), "C3") == "nothing was run: not asked"


def test_what_no_patch_of_the_script_would_mend_is_said(tmp_path: Path) -> None:
    """A script in order, and a command that has it train on the validation shard: C3 fails, the script is not why."""
    folder = tmp_path / "record"
    folder.mkdir()
    for name, content in RULES["C3"].legal.files.items():
        trained = "train_loader:dataset:sp1024_valonly train_shards:1\n" if name.endswith(".log") else ""
        (folder / name).write_text(trained + content)
    link = "ln -s /data/sp1024/fineweb_val_000000.bin /data/sp1024_valonly/fineweb_train_000000.bin"
    readme = f"# Try\n\n```bash\n{link}\n```\n"
    (folder / "README.md").write_text(readme)
    given = load_folder(folder)
    assert c3(given) is Status.FAIL
    with pytest.raises(NotFixedError, match=r"no order of learning and scoring within the script\.\nWhat fails: .*lay"):
        propose_fix(given, "C3")
