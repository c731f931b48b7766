"""Fixtures of the pipeline's tests. The package needs torch and sentencepiece; without them its tests are left out."""

from __future__ import annotations

import copy
from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("torch") and find_spec("sentencepiece") else ["test_*.py"]

TINY = {
    "num_layers": 3, "model_dim": 32, "num_heads": 4, "num_kv_heads": 2, "rope_dims": 4, "bigram_buckets": 64,
    "bigram_dim": 8, "ve_dim": 8, "loop_start": 1, "loop_end": 1, "parallel_start": 2, "mlp_mult": 2.0,
    "iterations": 12, "train_batch_tokens": 256, "train_seq_len": 32, "eval_seq_len": 32, "eval_stride": 8,
    "val_batch_size": 256, "ttt_chunk_tokens": 256, "ttt_lora_chunk": 16, "gptq_calibration_batches": 2,
    "keep_float_numel": 200, "train_log_every": 100, "averaging": "ema",
}  # fmt: skip


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A very small prepared data set."""
    from reference_pipeline.prepare_data import prepare_toy_data

    return prepare_toy_data(tmp_path_factory.mktemp("data"), vocab_size=300, train_bytes=30_000, val_bytes=1_500)


@pytest.fixture
def tiny(toy, tmp_path):
    """Settings of a very small run over that data set, artifact in a fresh folder."""
    import torch

    from reference_pipeline.hyperparameters import Hyperparameters

    torch.set_num_threads(1)
    h = Hyperparameters()
    for name, value in TINY.items():
        setattr(h, name, value)
    return point_at(h, toy, tmp_path)


@pytest.fixture
def stream_of(tmp_path):
    """A function that makes validation data of `tokens`, (N + 1,), under the settings `h`."""
    from reference_pipeline.scoring import ValidationData
    from reference_pipeline.shards import write_shard

    def make(h, tokens):
        folder = tmp_path / "other_stream"
        write_shard(folder / "fineweb_val_000000.bin", tokens.numpy())
        changed = copy.copy(h)
        changed.val_files = f"{folder}/fineweb_val_*.bin"
        changed.val_bytes_files = f"{folder}/fineweb_val_bytes_*.bin"
        return ValidationData(changed)

    return make


def point_at(h, toy, folder):
    """Make `h` read the data set `toy` and write below `folder`."""
    h.data_path, h.tokenizer_path, h.vocab_size = str(toy.data_path), str(toy.tokenizer_path), toy.vocab_size
    h.train_files = f"{toy.data_path}/fineweb_train_*.bin"
    h.val_files = f"{toy.data_path}/fineweb_val_*.bin"
    h.val_bytes_files = f"{toy.data_path}/fineweb_val_bytes_*.bin"
    h.artifact_path = str(folder / "model.ptz")
    return h
