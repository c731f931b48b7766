"""Learning and scoring in the wrong order is seen; the same means in the right order are not accused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

Run = Callable[..., Any]

CHUNKS = """
def ttt(first, epochs=2):
    total, count = torch.zeros((), dtype=torch.float64), 0
    optimizer = torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
    for start in range(0, len(val) - 1, 4 * T):
        x, y = batch(val, start)
        for step in (("score", "learn") if first == "score" else ("learn", "score")):
            if step == "score":
                with torch.no_grad():
                    losses = m(x, y, "none")
                    total += losses.to(torch.float64).sum()
                    count += losses.numel()
            else:
                for _ in range(epochs):
                    optimizer.zero_grad()
                    m(x, y).backward()
                    torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
                    optimizer.step()
    return (total / count).item()
"""

WINDOWS = """
def slot(fitted, rows=4, stride=32, functional=False):
    total, count = torch.zeros((), dtype=torch.float64), 0
    starts = list(range(0, len(val) - T, stride))
    for at in range(0, len(starts), rows):
        windows = starts[at : at + rows]
        x = torch.stack([val[w : w + T].long() for w in windows])
        y = torch.stack([val[w + 1 : w + T + 1].long() for w in windows])
        with torch.no_grad():
            h = m.emb(x)
        own = [0 if w == 0 else T - stride for w in windows]
        mask = torch.zeros(len(windows), T)
        for i, begin in enumerate(own):
            mask[i, begin:] = float(fitted == "scored")
            mask[i, :begin] = float(fitted == "context")
        delta = torch.zeros(len(windows), 1, 32, requires_grad=True)
        optimizer = torch.optim.AdamW([delta], lr=0.1)
        for _ in range(3):
            losses = F.cross_entropy(m.out(h + delta).reshape(-1, V), y.reshape(-1), reduction="none")
            loss = (losses.reshape(len(windows), T) * mask).sum() / mask.sum().clamp(min=1)
            if functional:
                (gradient,) = torch.autograd.grad(loss, delta)
                delta = (delta - 0.1 * gradient).detach().requires_grad_(True)
            else:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            losses = F.cross_entropy(m.out(h + delta).reshape(-1, V), y.reshape(-1), reduction="none")
            losses = losses.reshape(len(windows), T)
            for i, begin in enumerate(own):
                total += losses[i, begin:].to(torch.float64).sum()
                count += T - begin
    return (total / count).item()
"""

DOCUMENTS = """
def documents(epochs=1, reset=True, collected=False):
    starts = (val == 1).nonzero().flatten().tolist()
    pairs = list(zip(starts[:-1], starts[1:]))[:12]
    rows, piece, done = 4, 16, []
    total, count = torch.zeros((), dtype=torch.float64), 0
    down, up = nn.Parameter(torch.zeros(rows, 32, 4)), nn.Parameter(torch.zeros(rows, 4, V))
    optimizer = torch.optim.Adam([down, up], lr=0.01)
    for at in range(0, len(pairs), rows):
        if reset:
            with torch.no_grad():
                nn.init.normal_(down)
                up.zero_()
            for state in optimizer.state.values():
                state["exp_avg"].zero_()
                state["exp_avg_sq"].zero_()
        length = min(b - a for a, b in pairs[at : at + rows])
        for epoch in range(epochs):
            for c in range(0, length, piece):
                size = min(piece, length - c)
                x = torch.stack([val[a + c : a + c + size].long() for a, _ in pairs[at : at + rows]])
                y = torch.stack([val[a + c + 1 : a + c + size + 1].long() for a, _ in pairs[at : at + rows]])
                h = m.emb(x).detach()
                logits = m.out(h) + torch.bmm(torch.bmm(h, down), up)
                losses = F.cross_entropy(logits.reshape(-1, V), y.reshape(-1), reduction="none")
                if epoch == epochs - 1:
                    total += losses.detach().to(torch.float64).sum()
                    count += losses.numel()
                optimizer.zero_grad()
                losses.mean().backward()
                optimizer.step()
        done += pairs[at : at + rows]
        if collected:  # phased: all documents scored so far, for the shared weights
            shared = torch.optim.SGD(m.parameters(), lr=0.01)
            for a, b in done[-rows:]:
                shared.zero_grad()
                m(val[a:b].long()[None], val[a + 1 : b + 1].long()[None]).backward()
                shared.step()
    return (total / count).item()
"""

HAND = """
def by_hand():
    for i in range(8):
        x, y = batch(val, i * 4 * T)
        gradients = torch.autograd.grad(m(x, y), list(m.parameters()))
        for p, g in zip(m.parameters(), gradients):
            p.data -= 0.1 * g
"""

AVERAGE = """
def average(tokens):
    mean = copy.deepcopy(m)
    for _ in range(4):
        train(m, tokens, 2)
        with torch.no_grad():
            for a, b in zip(mean.parameters(), m.parameters()):
                a.mul_(0.9).add_(b, alpha=0.1)
    return mean
"""

COUNTS = """
def counts(first):
    table, total = torch.zeros(V, V), torch.zeros((), dtype=torch.float64)
    for start in range(0, len(val) - 1, 4 * T):
        x, y = (part.reshape(-1) for part in batch(val, start))
        for step in (("score", "learn") if first == "score" else ("learn", "score")):
            with torch.no_grad():
                if step == "score":
                    rows = table[x] + 0.1
                    mixed = 0.5 * F.softmax(m.logits(x), -1) + 0.5 * rows / rows.sum(-1, keepdim=True)
                    total += -torch.log(mixed.gather(-1, y[:, None]).squeeze(-1)).double().sum()
                else:
                    table.index_put_((x, y), torch.ones(len(x)), accumulate=True)
    return (total / (len(val) - 1)).item()
"""

THREAD = """
import threading
def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""

SAVED = "saved = {k: t.clone() for k, t in m.state_dict().items()}\n"

ILLEGAL = {
    "training on validation before the evaluation": "train(m, val, 8)\nv = evaluate(m, val)",
    "the same in a thread": THREAD + "in_thread(lambda: train(m, val, 8))\nv = evaluate(m, val)",
    "each chunk adapted to before its score": CHUNKS + 'v = ttt("learn")',
    "a second evaluation of the adapted model": CHUNKS + 'ttt("score")\nv = evaluate(m, val)',
    "a delta fitted on the scored positions": WINDOWS + 'v = slot("scored")',
    "the same by hand": WINDOWS + 'v = slot("scored", functional=True)',
    "several epochs a document, the last one reported": DOCUMENTS + "v = documents(epochs=3)",
    "an update of p.data": HAND + "by_hand()\nv = evaluate(m, val)",
    "a running average of adapted weights": AVERAGE + "v = evaluate(average(val), val)",
    "counts taken before the score": COUNTS + 'v = counts("learn")',
}
LEGAL = {
    "no adaptation": "v = evaluate(m, val)",
    "training on more training data": "train(m, training, 8)\nv = evaluate(m, val)",
    "the same in a thread": THREAD + "in_thread(lambda: train(m, training, 8))\nv = evaluate(m, val)",
    "each chunk scored before it is adapted to": CHUNKS + 'v = ttt("score")',
    "a second evaluation after going back to the saved weights": CHUNKS
    + SAVED
    + 'ttt("score")\nm.load_state_dict(saved)\nv = evaluate(m, val)',
    "a delta that nothing was fitted for": WINDOWS + 'v = slot("nothing")',
    "a delta fitted on the context, one window at a time": WINDOWS + 'v = slot("context", rows=1)',
    "one epoch a document": DOCUMENTS + "v = documents()",
    "one epoch a document without reset": DOCUMENTS + "v = documents(reset=False)",
    "documents, and the shared weights after their score": DOCUMENTS + "v = documents(collected=True)",
    "an update of p.data after the evaluation": HAND + "v = evaluate(m, val)\nby_hand()",
    "a running average of trained weights": AVERAGE + "v = evaluate(average(training), val)",
    "counts taken after the score": COUNTS + 'v = counts("score")',
    "steps of size zero": "train(m, val, 8, lr=0.0)\nv = evaluate(m, val)",
    "a copy adapted and thrown away": "other = copy.deepcopy(m)\ntrain(other, val, 8)\nv = evaluate(m, val)",
    "weights drawn anew": "train(m, val, 8)\n[nn.init.normal_(p) for p in m.parameters()]\nv = evaluate(m, val)",
}


@pytest.mark.parametrize("body", ILLEGAL.values(), ids=ILLEGAL)
def test_a_score_after_learning_from_its_tokens_is_proved(traced: Run, body: str) -> None:
    run = traced(body)
    assert run.accusations
    assert sum(learned.region.text != "no position" for scored in run.accusations for learned in scored.after)


@pytest.mark.parametrize("body", LEGAL.values(), ids=LEGAL)
def test_the_right_order_is_clean(traced: Run, body: str) -> None:
    run = traced(body)
    assert run.clean
    assert not run.violations("PAIDPREFIX")


def test_a_shared_batch_of_context_windows_is_a_question(traced: Run) -> None:
    """Row j's context holds row i's scored tokens; whether the rows touch each other is not proved."""
    run = traced(WINDOWS + 'v = slot("context")')
    assert run.questions
    assert not run.accusations


def test_statistics_of_the_inputs_are_a_question(traced: Run) -> None:
    body = """
class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.m = m
        self.register_buffer("mean", torch.zeros(V))

    def forward(self, x, y):
        logits = self.m.logits(x) - self.mean
        if self.training:
            self.mean.lerp_(logits.detach().mean((0, 1)), 0.5)
        return F.cross_entropy(logits.reshape(-1, V), y.reshape(-1))

c = Centred()
with torch.no_grad():
    for i in range(4):
        c(*batch(TOKENS, i * 4 * T))
c.eval()
v = evaluate(c, val)
"""
    questioned = traced(body.replace("TOKENS", "val"))
    assert [learned.manner.value for scored in questioned.questions for learned in scored.after] == ["statistics"]
    assert traced(body.replace("TOKENS", "training")).clean


def test_the_places_are_those_of_the_script(traced: Run) -> None:
    run = traced("train(m, val, 8)\nv = evaluate(m, val)")
    (scored,) = run.accusations
    (learned,) = scored.after
    assert learned.site.function == "train"
    assert learned.manner.value == "gradient step"
    assert "Embedding.weight (256, 32)" in learned.subject
    assert "evaluate" in [site.function for site in scored.calls]
    assert scored.region.text == "positions 1 to 2,048 (all)"


def test_starts_of_documents_accuse_nobody(traced: Run) -> None:
    """A BOS is shared by the document before it, as its last target, and is known to all."""
    body = """
starts = (val == 1).nonzero().flatten()
for s in starts[1:].tolist():
    gradients = torch.autograd.grad(m(val[s - 1 : s].long()[None], val[s : s + 1].long()[None]), list(m.parameters()))
    for p, g in zip(m.parameters(), gradients):
        p.data -= 0.1 * g
v = evaluate(m, val)
"""
    assert not traced(body).accusations
