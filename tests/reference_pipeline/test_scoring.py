"""Scores against brute force: each token once, its context as promised, the same digits on any number of ranks."""

from __future__ import annotations

import gc
import math
import os
import socket
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from reference_pipeline import scoring
from reference_pipeline.errors import PipelineError
from reference_pipeline.lora import eval_val_document_lora
from reference_pipeline.model import GPT
from reference_pipeline.optimizers import Muon
from reference_pipeline.scoring import (
    ValidationData,
    document_spans,
    eval_val,
    eval_val_documents,
    eval_val_sliding,
    sliding_windows,
    window_nll,
)
from reference_pipeline.shards import write_shard
from reference_pipeline.slot import eval_val_slot_causal

CPU = torch.device("cpu")


@pytest.fixture
def scored(tiny):
    torch.manual_seed(3)
    model = GPT(tiny)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return tiny, ValidationData(tiny), model


def brute_force(model, tokens, contexts):
    """One forward pass a token: -log p(tokens[t + 1] | tokens[context..t])."""
    total = 0.0
    with torch.no_grad():
        for t, context in enumerate(contexts):
            logits = model.forward_logits(tokens[None, context : t + 1])[0, -1]
            total += F.cross_entropy(logits.double(), tokens[t + 1]).item()
    return total


def everything(data):
    """The whole stream, (N + 1,)."""
    return data.read(0, data.targets + 1)


@pytest.mark.parametrize("targets", [1, 31, 32, 33, 40, 41, 100])
@pytest.mark.parametrize("stride", [1, 8, 32])
def test_windows_score_each_target_once_with_enough_context(targets, stride):
    counts = np.zeros(targets, dtype=int)
    for start, first, end in sliding_windows(0, targets, 32, stride):
        counts[first:end] += 1
        assert end - start <= 32
        assert first - start >= min(32 - stride, first)
    assert (counts == 1).all()


def test_sliding_score_equals_brute_force(scored):
    h, data, model = scored
    contexts = []
    for start, first, end in sliding_windows(0, data.targets, h.eval_seq_len, h.eval_stride):
        contexts += [start] * (end - first)
    nats = brute_force(model, everything(data), contexts)
    val_loss, val_bpb = eval_val_sliding(h, CPU, data, model)
    assert val_loss == pytest.approx(nats / data.targets, rel=1e-5)
    assert val_bpb == pytest.approx(nats / math.log(2) / int(data.target_bytes(0, data.targets).sum()), rel=1e-5)


def test_full_score_equals_brute_force(scored):
    h, data, model = scored
    contexts = [t // h.eval_seq_len * h.eval_seq_len for t in range(data.targets)]
    assert eval_val(h, CPU, data, model)[0] == pytest.approx(
        brute_force(model, everything(data), contexts) / data.targets, rel=1e-5
    )


def test_document_score_never_sees_another_document(scored):
    h, data, model = scored
    h.eval_stride, h.eval_seq_len = 1000, 1000  # whole documents
    spans = document_spans(data, h.bos_id)
    contexts = [first for first, last in spans for _ in range(first, last)]
    assert eval_val_documents(h, CPU, data, model)[0] == pytest.approx(
        brute_force(model, everything(data), contexts) / data.targets, rel=1e-5
    )


def test_bytes_are_those_of_the_text(scored, toy):
    _, data, _ = scored
    assert int(data.target_bytes(0, data.targets).sum()) == toy.text_bytes


EVALUATIONS = (eval_val, eval_val_sliding, eval_val_documents, eval_val_document_lora, eval_val_slot_causal)
WORKER = """
import sys, torch
sys.path.insert(0, {root!r})
from reference_pipeline.distributed import average_parameters, start_distributed, stop_distributed
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.lora import eval_val_document_lora
from reference_pipeline.model import GPT
from reference_pipeline.optimizers import Muon
from reference_pipeline.scoring import ValidationData, eval_val, eval_val_documents, eval_val_sliding
from reference_pipeline.slot import eval_val_slot_causal
torch.set_num_threads(1)
h = Hyperparameters()
for name, value in {settings!r}.items():
    setattr(h, name, value)
rank, world, device = start_distributed()
model = GPT(h)
model.load_state_dict(torch.load({weights!r}, weights_only=True))
for evaluation in (eval_val, eval_val_sliding, eval_val_documents, eval_val_document_lora, eval_val_slot_causal):
    print(*(value.hex() for value in evaluation(h, device, ValidationData(h), model)))
model.smear.gate.data.fill_(rank)
average_parameters(model)
print(model.smear.gate[0].item())
torch.manual_seed(5)
weights = [torch.nn.Parameter(torch.randn(6, 9)) for _ in range(4)]
for weight in weights:
    weight.grad = torch.randn_like(weight)
Muon(weights, 0.1, 0.9, "newton_schulz", 5, 0.0, True, banks=True).step()
print(f"{{sum(weight.abs().sum().item() for weight in weights):.3f}}")
stop_distributed()
"""


def test_three_ranks_print_the_same_digits(scored, tmp_path):
    """Sharded evaluation in three gloo processes against one process, to the last bit."""
    h, data, model = scored
    h.ttt_doc_batch, h.val_batch_size, h.slot_segment_tokens, h.slot_lbfgs_max_iter = 2, 64, 200, 3
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    settings = {name: value for name, value in vars(h).items() if isinstance(value, str | int | float)}
    root, weights = str(Path(__file__).resolve().parents[2]), str(tmp_path / "weights.pt")
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER.format(root=root, settings=settings, weights=weights))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    processes = [
        subprocess.Popen([sys.executable, str(worker)], env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                         stdout=subprocess.PIPE, text=True)
        for rank in range(3)
    ]  # fmt: skip
    answers = [process.communicate(timeout=180)[0].splitlines() for process in processes]
    alone = [" ".join(value.hex() for value in evaluation(h, CPU, data, model)) for evaluation in EVALUATIONS]
    alone.append("1.0")  # the mean of parameters 0, 1 and 2
    torch.manual_seed(5)
    weights = [torch.nn.Parameter(torch.randn(6, 9)) for _ in range(4)]
    for weight in weights:
        weight.grad = torch.randn_like(weight)
    Muon(weights, 0.1, 0.9, "newton_schulz", 5, 0.0, True).step()  # one by one, not in banks
    alone.append(f"{sum(weight.abs().sum().item() for weight in weights):.3f}")
    assert answers == [alone, alone, alone]


def test_sums_are_exact_in_float64(scored):
    """The printed loss is the correctly rounded mean of the tokens' float32 losses, up to the last bits of float64."""
    h, data, model = scored
    losses: list[float] = []
    model.eval()
    with torch.inference_mode():
        for window in sliding_windows(0, data.targets, h.eval_seq_len, h.eval_stride):
            losses += window_nll(model, data, [window], CPU).tolist()
    h.val_batch_size = h.eval_seq_len  # one window a batch, as above
    assert eval_val_sliding(h, CPU, data, model)[0] == pytest.approx(math.fsum(losses) / data.targets, rel=1e-14)


class NoPredictor(torch.nn.Module):
    """Equal logits for eight tokens; notes what the process holds at every eighth call.

    Held: the storages of all living tensors and what numpy and Python allocated. The resident memory of the process
    would not do: allocators return it, or not, as the tests run before this one left them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.largest_bytes = 0

    def forward_logits(self, x, places):
        if self.calls % 8 == 0:
            self.largest_bytes = max(self.largest_bytes, held_bytes())
        self.calls += 1
        return torch.zeros(len(places), 8)


def held_bytes() -> int:
    tensors = (held for held in gc.get_objects() if type(held) is torch.Tensor)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values()) + tracemalloc.get_traced_memory()[0]


def growth_with_the_stream(evaluation, tiny, stream_of) -> int:
    """Bytes that `evaluation` holds more on 2^20 tokens than on 2^16."""
    largest = []
    tracemalloc.start()
    try:
        for targets in (1 << 16, 1 << 20):
            tokens = torch.randint(2, 8, (targets + 1,), dtype=torch.int32)
            tokens[::1000] = tiny.bos_id
            data = stream_of(tiny, tokens)
            del tokens
            model = NoPredictor()
            assert evaluation(tiny, CPU, data, model)[0] == pytest.approx(math.log(8))
            largest.append(model.largest_bytes)
    finally:
        tracemalloc.stop()
    return largest[1] - largest[0]


def small_windows(tiny, monkeypatch):
    monkeypatch.setattr(scoring, "BLOCK_TOKENS", 1 << 14)
    tiny.vocab_size, tiny.tokenizer_path, tiny.eval_seq_len, tiny.eval_stride = 8, "bytes", 512, 512
    tiny.val_batch_size = 8192


@pytest.mark.parametrize("evaluation", [eval_val, eval_val_sliding, eval_val_documents])
def test_memory_does_not_grow_with_the_stream(tiny, stream_of, monkeypatch, evaluation):
    """Sixteen times the tokens: what is held besides is far below one byte for each token more."""
    small_windows(tiny, monkeypatch)
    assert growth_with_the_stream(evaluation, tiny, stream_of) < (1 << 20) // 4


@pytest.mark.parametrize("keep", [torch.Tensor.clone, lambda tokens: tokens.numpy().copy()])
def test_memory_that_grows_with_the_stream_is_seen(tiny, stream_of, monkeypatch, keep):
    """A scorer that keeps a copy of the whole stream, as a tensor or as an array, is told from one that does not."""
    small_windows(tiny, monkeypatch)

    def hoarding(h, device, data, model):
        kept = keep(torch.zeros(data.targets, dtype=torch.uint8))
        score = eval_val(h, device, data, model)
        del kept
        return score

    assert growth_with_the_stream(hoarding, tiny, stream_of) > (1 << 20) // 2


def test_sidecar_of_another_data_set_is_refused(tiny, tmp_path):
    write_shard(tmp_path / "fineweb_val_bytes_000000.bin", np.arange(5))
    tiny.val_bytes_files = str(tmp_path / "fineweb_val_bytes_*.bin")
    with pytest.raises(PipelineError, match="5 byte counts"):
        ValidationData(tiny)


def test_a_file_that_is_no_tokenizer_is_named(tiny, tmp_path):
    (tmp_path / "x.model").write_bytes(b"no model" * 20)
    tiny.tokenizer_path = str(tmp_path / "x.model")
    with pytest.raises(PipelineError, match=r"x\.model: not a sentencepiece model; set TOKENIZER_PATH"):
        ValidationData(tiny)


def test_missing_tokenizer_is_named(tiny):
    tiny.tokenizer_path = "/nowhere/x.model"
    with pytest.raises(PipelineError, match=r"/nowhere/x.model.*TOKENIZER_PATH"):
        ValidationData(tiny)
