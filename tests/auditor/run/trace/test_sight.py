"""What the tracer cannot follow makes the score undecided, never clean; what it can follow stays decided."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

Run = Callable[..., Any]

MIXED = """
ids, nll, counts, total = val.numpy().astype(int), losses_of(m, val).numpy(), {}, 0.0
for i in range(1, len(ids)):
    row = counts.setdefault(ids[i - 1], {})
    share = (row.get(ids[i], 0) + 0.1) / (sum(row.values()) + 0.1 * V)
    total -= math.log(0.5 * math.exp(-nll[i - 1]) + 0.5 * share)
    row[ids[i]] = row.get(ids[i], 0) + 1
v = total / (len(ids) - 1)
"""


def test_a_mixture_made_in_python_is_undecided(traced: Run) -> None:
    run = traced(MIXED)
    assert run.ledger.blind
    assert not run.clean
    assert run.trace.coverage(run.line) is None


def test_a_bias_made_in_numpy_from_tokens_is_undecided(traced: Run) -> None:
    body = """
counts = np.bincount(val.numpy().astype(int), minlength=V)
bias = torch.from_numpy(np.log(counts + 1.0).astype(np.float32))
class Biased(nn.Module):
    def forward(self, x, y):
        return F.cross_entropy((m.logits(x) + bias).reshape(-1, V), y.reshape(-1))
v = evaluate(Biased(), val)
"""
    run = traced(body)
    assert run.ledger.blind
    assert not run.clean


def test_a_mean_taken_in_numpy_is_recognized_by_its_value(traced: Run) -> None:
    run = traced("v = losses_of(m, val).numpy().astype(np.float64).mean()")
    assert run.clean
    assert run.number.tie == "one value"


def test_sums_of_python_floats_are_followed(traced: Run) -> None:
    body = """
total, count = 0.0, 0
with torch.no_grad():
    for i in range(0, len(val) - 1, 4 * T):
        x, y = batch(val, i)
        total += m(x, y).item() * y.numel()
        count += y.numel()
v = total / count
"""
    run = traced(body)
    assert run.clean
    assert (run.number.tie, run.number.scored) == ("flow", 2048)


@pytest.mark.parametrize("context", ["torch.inference_mode()", "torch.no_grad()", "torch.enable_grad()"])
def test_every_grad_mode_is_seen(traced: Run, context: str) -> None:
    body = f"""
total = torch.zeros((), dtype=torch.float64)
with {context}:
    for i in range(0, len(val) - 1, 4 * T):
        x, y = batch(val, i)
        total += m(x, y, "sum").detach().to(torch.float64)
v = (total / (len(val) - 1)).item()
"""
    run = traced(body)
    assert run.clean
    assert run.number.scored == 2048


FORMS = {
    "log_softmax and gather": "-F.log_softmax(lg, -1).gather(-1, y.reshape(-1, 1)).squeeze(-1)",
    "logsumexp minus the target's logit": "torch.logsumexp(lg, -1) - lg.gather(-1, y.reshape(-1, 1)).squeeze(-1)",
    "indexing": "-F.log_softmax(lg, -1)[torch.arange(y.numel()), y.reshape(-1)]",
    "nll_loss": 'F.nll_loss(F.log_softmax(lg, -1), y.reshape(-1), reduction="none")',
    "softcap": 'F.cross_entropy(30 * torch.tanh(lg / 30), y.reshape(-1), reduction="none")',
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("adapted", [False, True], ids=["clean", "adapted"])
def test_every_form_of_the_loss_is_a_score(traced: Run, form: str, adapted: bool) -> None:
    body = f"""
{"train(m, val, 8)" if adapted else ""}
total = torch.zeros((), dtype=torch.float64)
with torch.no_grad():
    for i in range(0, len(val) - 1, 4 * T):
        x, y = batch(val, i)
        lg = m.logits(x).reshape(-1, V)
        total += ({form}).to(torch.float64).sum()
v = (total / (len(val) - 1)).item()
"""
    run = traced(body)
    assert run.number.scored == 2048
    assert bool(run.accusations) is adapted
    assert run.clean is not adapted


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_the_loss_teaches(traced: Run, form: str) -> None:
    body = f"""
optimizer = torch.optim.SGD(m.parameters(), lr=0.1)
for i in range(0, len(val) - 1, 4 * T):
    x, y = batch(val, i)
    lg = m.logits(x).reshape(-1, V)
    optimizer.zero_grad()
    ({form}).mean().backward()
    optimizer.step()
v = evaluate(m, val)
"""
    assert traced(body).accusations


def test_tokens_that_went_through_lists_keep_their_identity(traced: Run) -> None:
    body = """
ids = val.tolist()
for i in range(0, len(ids) - 1, 4 * T):
    piece = torch.tensor(ids[i : i + 4 * T + 1])
    gradients = torch.autograd.grad(m(piece[None, :-1], piece[None, 1:]), list(m.parameters()))
    for p, g in zip(m.parameters(), gradients):
        p.data -= 0.1 * g
v = evaluate(m, val)
"""
    assert traced(body).accusations


def test_everything_is_put_back(traced: Run) -> None:
    before = (torch.from_numpy, torch.Tensor.item, torch.save, torch.nn.Module.__init__)
    import sys

    stdout = sys.stdout
    traced("v = evaluate(m, val)")
    assert (torch.from_numpy, torch.Tensor.item, torch.save, torch.nn.Module.__init__) == before
    assert sys.stdout is stdout


def test_the_tracer_changes_no_value(traced: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A traced run and a plain one agree to the last digit."""
    body = "train(m, val, 4)\nevaluate(m, val)\nv = sum(p.double().sum() for p in m.parameters()).item()"
    run = traced(body, '\nprint(f"sum {v:.17g}")\nLAST = v\n')
    capsys.readouterr()
    run.plainly()
    assert capsys.readouterr().out.strip() == run.line


@pytest.mark.parametrize("convert", ["float(v)", "float(v) / math.log(2)", "round(v, 6)"])
def test_a_float_of_the_mean_is_recognized(traced: Run, convert: str) -> None:
    report = f'\nw = {convert}\nprint(f"final val_bpb:{{w:.6f}}")\n'
    run = traced(
        "v = float(evaluate(m, val) / math.log(2))" if "log" not in convert else "v = evaluate(m, val)", report
    )
    assert run.number.scored == 2048


TWICE = """
a = float(evaluate(m, val))
BETWEEN
b = float(evaluate(m, val))
v = b * 1.0
"""


def test_two_sums_with_the_same_digits_are_told_apart_where_it_matters(traced: Run) -> None:
    """Equal evaluations of a clean model are clean whichever was printed; of an unequal pair the better is believed."""
    clean = traced(TWICE.replace("BETWEEN", ""))
    assert clean.number.tie == "any value"
    assert clean.clean
    tiny = "train(m, val, 8, lr=1e-9)"  # too small a change for six digits
    doubtful = traced(TWICE.replace("BETWEEN", tiny))
    assert doubtful.number.tie == "value"
    assert not doubtful.accusations
    assert doubtful.ledger.blind


PARTS = """
total, count = torch.zeros((), dtype=torch.float64), 0
with torch.no_grad():
    for i in range(0, len(val) - 1, 4 * T):
        x, y = batch(val, i)
        losses = m(x, y, "none")
        if OUTSIDE:
            losses = torch.from_numpy(np.minimum(losses.numpy(), 5.0))
        total += losses.to(torch.float64).sum()
        count += y.numel()
v = (total / count).item()
"""


@pytest.mark.parametrize("outside", ["i > 0", "i == 0"], ids=["first followed", "first not followed"])
def test_a_sum_with_parts_from_elsewhere_is_undecided(traced: Run, outside: str) -> None:
    run = traced(PARTS.replace("OUTSIDE", outside))
    assert any("parts" in blind.reason for blind in run.ledger.blind)
    assert run.trace.coverage(run.line) is None
    assert not run.violations("C4")
    assert traced(PARTS.replace("OUTSIDE", "False")).clean


def test_losses_replaced_in_a_buffer_are_undecided(traced: Run) -> None:
    body = """
losses = losses_of(m, val)
losses[100:200] = torch.from_numpy(np.full(100, 5.0, np.float32))
v = losses.double().mean().item()
"""
    run = traced(body)
    assert any("parts" in blind.reason for blind in run.ledger.blind)
    assert not run.violations("C4")


def test_a_constant_added_to_the_mean_is_undecided(traced: Run) -> None:
    assert not traced("v = evaluate(m, val) - 0.5").clean
    assert traced("v = evaluate(m, val) * 1.5").clean


@pytest.mark.parametrize(
    "body",
    ["v = evaluate(m, val)", "v = losses_of(m, val).double().mean().item()"],
    ids=["means of batches", "one by one"],
)
def test_the_loss_of_each_position_is_told_where_it_is_asked_for(traced: Run, body: str) -> None:
    run = traced(body, losses=True)
    told = [record for record in run.records if record["kind"] == "losses"][-1]
    values = np.frombuffer(base64.b64decode(told["values"]), "<f8")
    assert np.isnan(values[0])
    assert values[1:].mean() == pytest.approx(float(run.line.split("val_loss:")[1].split()[0]), abs=1e-5)
    assert not [record for record in traced(body).records if record["kind"] == "losses"]
