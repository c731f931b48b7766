"""Weights that go out through a file and come back are the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

Run = Callable[..., Any]

PICKLED = """
def write():
    buffer = io.BytesIO()
    torch.save({k: t.half() for k, t in m.state_dict().items()}, buffer)
    with open(FOLDER + "/model.ptz", "wb") as file:
        file.write(zlib.compress(buffer.getvalue()))

def read(other):
    with open(FOLDER + "/model.ptz", "rb") as file:
        state = torch.load(io.BytesIO(zlib.decompress(file.read())))
    other.load_state_dict({k: t.float() for k, t in state.items()})
    return other
"""
NUMPY = """
def write():
    parts = [t.detach().half().numpy().tobytes() for t in m.state_dict().values()]
    with open(FOLDER + "/model.bin", "wb") as file:
        file.write(zlib.compress(b"".join(parts)))

def read(other):
    with open(FOLDER + "/model.bin", "rb") as file:
        raw = zlib.decompress(file.read())
    state, at = {}, 0
    for k, t in other.state_dict().items():
        values = np.frombuffer(raw[at : at + 2 * t.numel()], dtype=np.float16).copy()
        state[k] = torch.from_numpy(values).reshape(t.shape).float()
        at += 2 * t.numel()
    other.load_state_dict(state)
    return other
"""
INT8 = PICKLED.replace("t.half()", "(t * 64).round().clamp(-127, 127).to(torch.int8)").replace(
    "t.float()", "t.float() / 64"
)


@pytest.mark.parametrize("means", [PICKLED, NUMPY, INT8], ids=["pickled", "numpy", "int8"])
def test_weights_adapted_before_they_are_written(traced: Run, means: str) -> None:
    run = traced(means + "train(m, val, 8)\nwrite()\nv = evaluate(read(GPT()), val)")
    assert run.accusations
    assert run.trace.exports


@pytest.mark.parametrize("means", [PICKLED, NUMPY, INT8], ids=["pickled", "numpy", "int8"])
def test_weights_written_before_the_model_is_adapted(traced: Run, means: str) -> None:
    run = traced(means + "write()\ntrain(m, val, 8)\nv = evaluate(read(GPT()), val)")
    assert run.clean
    assert not run.violations("PAIDPREFIX")


def test_training_data_opened_after_the_artifact_came_back(traced: Run) -> None:
    late = traced(PICKLED + "write()\nread(m)\nload(TRAINING)\nv = evaluate(m, val)")
    assert [violation.definite for violation in late.violations("TRAINDATA")] == [False]
    assert not traced(PICKLED + "load(TRAINING)\nwrite()\nread(m)\nv = evaluate(m, val)").violations("TRAINDATA")


def test_validation_data_opened_again_is_no_training_data(traced: Run) -> None:
    assert not traced(PICKLED + "write()\nread(m)\nload(VALIDATION)\nv = evaluate(m, val)").violations("TRAINDATA")


def test_weights_that_come_back_in_a_form_of_their_own_are_a_question(traced: Run) -> None:
    """Two values packed into one: no tensor comes back as it left, so the order is not proved."""
    packed = NUMPY.replace("tobytes()", "astype(np.float32).tobytes()").replace("2 *", "4 *")
    packed = packed.replace("dtype=np.float16", "dtype=np.float32") + "\nbefore = m.fc.weight.detach().clone()\n"
    run = traced(packed + "train(m, val, 8)\nwrite()\nv = evaluate(read(GPT()), val)")
    assert not run.accusations
    assert [violation.definite for violation in run.violations("PAIDPREFIX")] == [False]
    assert not traced(packed + "write()\nv = evaluate(read(GPT()), val)").violations("PAIDPREFIX")


def test_bytes_that_clean_weights_had_too_prove_nothing(traced: Run) -> None:
    """Steps too small for half precision leave the bytes as they were: what comes back is no other model."""
    body = PICKLED + "write()\ntrain(m, val, 2, lr=1e-9)\n"
    body += "torch.save({k: t.half() for k, t in m.state_dict().items()}, io.BytesIO())\n"
    assert not traced(body + "v = evaluate(read(GPT()), val)").accusations
