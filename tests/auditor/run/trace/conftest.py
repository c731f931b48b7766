"""A small model, data and evaluation under the tracer, in this process; what the ledger says of the last line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from auditor.ledger import Ledger, Scored, Violation
from auditor.run.events import PrintedNumber, Trace, ledger_of, read_trace

VOCABULARY = 256
TOKENS = 2049
DOCUMENT = 150

PRELUDE = """
import copy, io, math, zlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
V, T = 256, 64

def load(path):
    return torch.from_numpy(np.fromfile(path, dtype="<u2", offset=1024))

class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, 32)
        self.fc = nn.Linear(32, 32)
        self.out = nn.Linear(32, V, bias=False)

    def logits(self, x):
        h = self.emb(x)
        return self.out(h + torch.tanh(self.fc(h)))

    def forward(self, x, y, reduction="mean"):
        return F.cross_entropy(self.logits(x).float().reshape(-1, V), y.reshape(-1), reduction=reduction)

def batch(tokens, start, rows=4):
    chunk = tokens[start : start + rows * T + 1].to(torch.int64)
    return chunk[:-1].reshape(-1, T), chunk[1:].reshape(-1, T)

def train(model, tokens, steps=3, lr=1e-2):
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    for i in range(steps):
        x, y = batch(tokens, (i * 4 * T) % (len(tokens) - 4 * T - 1))
        optimizer.zero_grad(set_to_none=True)
        model(x, y).backward()
        optimizer.step()

def evaluate(model, tokens):
    total, count = torch.zeros((), dtype=torch.float64), 0
    with torch.no_grad():
        for i in range(0, len(tokens) - 1, 4 * T):
            x, y = batch(tokens, i)
            total += model(x, y).to(torch.float64) * y.numel()
            count += y.numel()
    return (total / count).item()

def losses_of(model, tokens):
    out = torch.zeros(len(tokens) - 1)
    with torch.no_grad():
        for i in range(0, len(tokens) - 1, 4 * T):
            x, y = batch(tokens, i)
            out[i : i + 4 * T] = model(x, y, "none")
    return out

val, training = load(VALIDATION), load(TRAINING)
m = GPT()
train(m, training)
"""
REPORT = '\nprint(f"final val_loss:{v:.6f} val_bpb:{v / math.log(2):.6f}")\n'


@dataclass(frozen=True)
class Traced:
    """A traced run: its records, what was read from them, and the ledger for the last printed line."""

    records: list[dict[str, object]]
    trace: Trace
    ledger: Ledger
    line: str
    plainly: Callable[[], None]  # the same script without the tracer

    @property
    def number(self) -> PrintedNumber:
        """The last line's number; fails the test when the tracer tied none."""
        number = self.trace.number_of(self.line)
        assert number is not None, f"nothing was tied to {self.line!r}"
        return number

    @property
    def scored(self) -> list[Scored]:
        return [scored for scored in self.ledger.scored if scored.metric.reported]

    @property
    def accusations(self) -> list[Scored]:
        """Scores that certainly came after learning from their tokens."""
        return [scored for scored in self.scored if scored.after and scored.definite]

    @property
    def questions(self) -> list[Scored]:
        return [scored for scored in self.scored if scored.after and not scored.definite]

    @property
    def clean(self) -> bool:
        """Everything scored was seen, and nothing of it came, or may have come, after learning."""
        return bool(self.scored) and not self.accusations and not self.questions and not self.ledger.blind

    def violations(self, rule: str) -> list[Violation]:
        return [violation for violation in self.ledger.violations if violation.rule == rule]


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Callable[..., Traced]]:
    """Run PRELUDE, a body and the line that prints `v`; `tail` comes after that line."""
    pytest.importorskip("torch").set_num_threads(1)
    yield lambda body, report=REPORT, losses=False: _run(tmp_path, PRELUDE + body + report, losses)


def _run(folder: Path, text: str, losses: bool) -> Traced:
    from auditor.run.inside import trace

    rng = np.random.default_rng(5)
    files = {"VALIDATION": folder / "fineweb_val_000000.bin", "TRAINING": folder / "fineweb_train_000000.bin"}
    validation = rng.integers(3, VOCABULARY, TOKENS)
    validation[::DOCUMENT] = 1
    for path, tokens in zip(files.values(), (validation, rng.integers(3, VOCABULARY, 4096)), strict=True):
        header = np.zeros(256, "<i4")
        header[:3] = (20240520, 1, len(tokens))
        path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())
    script = folder / "train_gpt.py"
    script.write_text(text)
    records: list[dict[str, object]] = []
    roles = {str(files["VALIDATION"]): "validation", str(files["TRAINING"]): "training"}
    tracing = trace.install({"files": roles, "losses": losses}, records.append)
    names = {"__name__": "__main__", "FOLDER": str(folder), **{name: str(path) for name, path in files.items()}}

    def plainly() -> None:
        exec(compile(text, str(script), "exec"), dict(names))

    try:
        plainly()
    finally:
        tracing.finish()
    sent = json.loads(json.dumps(records))
    read = read_trace(sent)
    lines = [str(record["line"]) for record in sent if record["kind"] == "print"]
    return Traced(sent, read, ledger_of(read, lines[-1]), lines[-1], plainly)
