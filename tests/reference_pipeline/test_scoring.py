"""Scores against brute force: each token once, its context as promised, the same digits on any number of ranks."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from reference_pipeline.errors import PipelineError
from reference_pipeline.model import GPT
from reference_pipeline.scoring import (
    ValidationData,
    document_spans,
    eval_val,
    eval_val_documents,
    eval_val_sliding,
    sliding_windows,
)
from reference_pipeline.shards import write_shard

CPU = torch.device("cpu")


@pytest.fixture
def scored(tiny):
    torch.manual_seed(3)
    model = GPT(tiny)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return tiny, ValidationData(tiny, CPU), model


def brute_force(model, tokens, contexts):
    """One forward pass a token: -log p(tokens[t + 1] | tokens[context..t])."""
    total = 0.0
    with torch.no_grad():
        for t, context in enumerate(contexts):
            logits = model.forward_logits(tokens[None, context : t + 1])[0, -1]
            total += F.cross_entropy(logits.double(), tokens[t + 1]).item()
    return total


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
    nats = brute_force(model, data.val_tokens, contexts)
    val_loss, val_bpb = eval_val_sliding(h, CPU, data, model)
    assert val_loss == pytest.approx(nats / data.targets, rel=1e-5)
    assert val_bpb == pytest.approx(nats / math.log(2) / int(data.target_bytes.sum()), rel=1e-5)


def test_full_score_equals_brute_force(scored):
    h, data, model = scored
    contexts = [t // h.eval_seq_len * h.eval_seq_len for t in range(data.targets)]
    assert eval_val(h, CPU, data, model)[0] == pytest.approx(
        brute_force(model, data.val_tokens, contexts) / data.targets, rel=1e-5
    )


def test_document_score_never_sees_another_document(scored):
    h, data, model = scored
    h.eval_stride, h.eval_seq_len = 1000, 1000  # whole documents
    spans = document_spans(data.val_tokens, h.bos_id)
    contexts = [first for first, last in spans for _ in range(first, last)]
    assert eval_val_documents(h, CPU, data, model)[0] == pytest.approx(
        brute_force(model, data.val_tokens, contexts) / data.targets, rel=1e-5
    )


def test_bytes_are_those_of_the_text(scored, toy):
    _, data, _ = scored
    assert int(data.target_bytes.sum()) == toy.text_bytes


def test_two_ranks_print_the_same_digits(scored, tmp_path):
    """Sharded evaluation in two gloo processes against one process, to the last bit."""
    h, data, model = scored
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    settings = {name: value for name, value in vars(h).items() if isinstance(value, str | int | float)}
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import sys, torch\n"
        f"sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})\n"
        "from reference_pipeline.distributed import start_distributed, stop_distributed\n"
        "from reference_pipeline.hyperparameters import Hyperparameters\n"
        "from reference_pipeline.model import GPT\n"
        "from reference_pipeline.scoring import ValidationData, eval_val_sliding\n"
        "torch.set_num_threads(1)\n"
        "h = Hyperparameters()\n"
        f"for name, value in {settings!r}.items(): setattr(h, name, value)\n"
        "rank, world, device = start_distributed()\n"
        "model = GPT(h)\n"
        f"model.load_state_dict(torch.load({str(tmp_path / 'weights.pt')!r}, weights_only=True))\n"
        "print('score', *(value.hex() for value in eval_val_sliding(h, device, ValidationData(h, device), model)))\n"
        "stop_distributed()\n"
    )
    environment = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29517",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen([sys.executable, str(worker)], env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                         stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]  # fmt: skip
    answers = [process.communicate(timeout=120)[0].split() for process in processes]
    alone = ["score", *(value.hex() for value in eval_val_sliding(h, CPU, data, model))]
    assert answers == [alone, alone]


def test_sidecar_of_another_data_set_is_refused(tiny, tmp_path):
    write_shard(tmp_path / "fineweb_val_bytes_000000.bin", np.arange(5))
    tiny.val_bytes_files = str(tmp_path / "fineweb_val_bytes_*.bin")
    with pytest.raises(PipelineError, match="5 byte counts"):
        ValidationData(tiny, CPU)


def test_missing_tokenizer_is_named(tiny):
    tiny.tokenizer_path = "/nowhere/x.model"
    with pytest.raises(PipelineError, match=r"/nowhere/x.model.*TOKENIZER_PATH"):
        ValidationData(tiny, CPU)
