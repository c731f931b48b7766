"""The artifact: exact round trip, exact account, no pickles, no half-written file, clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reference_pipeline.artifact import (
    COMPRESSORS,
    byte_shuffle,
    byte_unshuffle,
    deserialize,
    named_tensors,
    pack_tensors,
    read_artifact,
    serialize,
    unpack_tensors,
    wrap_code,
)
from reference_pipeline.errors import PipelineError
from reference_pipeline.logs import open_log
from reference_pipeline.model import GPT
from reference_pipeline.quantization import QuantizedMatrix, gptq_phase
from reference_pipeline.scoring import ValidationData
from reference_pipeline.training import train_model

CPU = torch.device("cpu")


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "train_gpt.py"
    path.write_text("print('x')\n")
    return path


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_tensors_come_back_bit_for_bit(compressor):
    tensors = {"a": torch.randint(-128, 128, (3, 5), dtype=torch.int8), "b": torch.randn(4).to(torch.float16),
               "empty": torch.zeros(0, 2, dtype=torch.float16)}  # fmt: skip
    back = unpack_tensors(pack_tensors(tensors, compressor), "x")
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_byte_shuffle_groups_bytes_by_place():
    assert byte_shuffle(b"aAbBcC", 2) == b"abcABC"
    assert byte_unshuffle(b"abcABC", 2) == b"aAbBcC"


def test_model_scored_is_the_dequantized_one(tiny, code):
    torch.manual_seed(0)
    model = GPT(tiny)
    quantized, kept = gptq_phase(tiny, CPU, model)
    total = serialize(tiny, quantized, kept, code)
    assert total == Path(tiny.artifact_path).stat().st_size + code.stat().st_size
    state = deserialize(tiny, CPU).state_dict()
    for name, matrix in quantized.items():
        assert torch.equal(state[name], matrix.dequantize())
    for name, tensor in kept.items():
        assert torch.equal(state[name], tensor.float())


def test_artifact_holds_no_pickle(tiny, code):
    quantized, kept = gptq_phase(tiny, CPU, GPT(tiny))
    serialize(tiny, quantized, kept, code)
    raw = Path(tiny.artifact_path).read_bytes()
    assert raw.startswith(b"PGOLF1")
    assert b"torch" not in raw


@pytest.mark.parametrize("keep", [3, 8, 40, -1])
def test_truncated_artifact_is_named(tiny, code, keep):
    quantized, kept = gptq_phase(tiny, CPU, GPT(tiny))
    serialize(tiny, quantized, kept, code)
    path = Path(tiny.artifact_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PipelineError, match=r"truncated or damaged|not an artifact") as error:
        deserialize(tiny, CPU)
    assert str(path) in str(error.value)


def test_artifact_of_another_version_and_of_another_program_are_told_apart(tiny):
    path = Path(tiny.artifact_path)
    path.write_bytes(b"PGOLF2" + bytes(40))
    with pytest.raises(PipelineError, match="container version b'2' instead of b'1'"):
        deserialize(tiny, CPU)
    path.write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(PipelineError, match="not an artifact of this pipeline"):
        deserialize(tiny, CPU)


def test_other_settings_and_missing_file_name_the_remedy(tiny, code):
    with pytest.raises(PipelineError, match="ARTIFACT_PATH"):
        deserialize(tiny, CPU)
    quantized, kept = gptq_phase(tiny, CPU, GPT(tiny))
    serialize(tiny, quantized, kept, code)
    tiny.model_dim = 64
    with pytest.raises(PipelineError, match="environment it was trained with"):
        deserialize(tiny, CPU)


def test_one_byte_over_the_cap_is_refused_and_nothing_written(tiny, code, monkeypatch):
    quantized, kept = {"w": QuantizedMatrix(torch.zeros(2, 2, dtype=torch.int8), torch.ones(2).half(), 6)}, {}
    exact = serialize(tiny, quantized, kept, code)
    Path(tiny.artifact_path).unlink()
    monkeypatch.setattr("reference_pipeline.artifact.MAX_SUBMISSION_BYTES", exact)
    assert serialize(tiny, quantized, kept, code) == exact
    Path(tiny.artifact_path).unlink()
    monkeypatch.setattr("reference_pipeline.artifact.MAX_SUBMISSION_BYTES", exact - 1)
    with pytest.raises(PipelineError, match="lower MODEL_DIM"):
        serialize(tiny, quantized, kept, code)
    assert not Path(tiny.artifact_path).exists()


def test_pruning_fits_the_cap_with_the_smallest_steps_first(tiny, code, monkeypatch):
    h, (quantized, kept) = tiny, gptq_phase(tiny, CPU, GPT(tiny))
    h.prune_to_fit = True
    before = {name: matrix.integers.clone() for name, matrix in quantized.items()}
    code_bytes = code.stat().st_size
    cap = len(pack_tensors(named_tensors(quantized, kept), h.compressor)) + code_bytes - 200
    monkeypatch.setattr("reference_pipeline.artifact.MAX_SUBMISSION_BYTES", cap)
    assert serialize(h, quantized, kept, code) == Path(h.artifact_path).stat().st_size + code_bytes <= cap
    pruned, spared = [], []
    for name, matrix in quantized.items():
        gone = matrix.integers != before[name]
        step = matrix.scale[:, None].expand_as(gone)
        assert (before[name][gone].abs() == 1).all()
        assert (matrix.integers[gone] == 0).all()
        if matrix.bits == h.matrix_bits:
            pruned.append(step[gone])
            spared.append(step[matrix.integers.abs() == 1])
    assert torch.cat(pruned).numel() > 0
    assert torch.cat(pruned).max() <= torch.cat(spared).min()


def test_what_no_pruning_fits_is_refused(tiny, code, monkeypatch):
    tiny.prune_to_fit = True
    monkeypatch.setattr("reference_pipeline.artifact.MAX_SUBMISSION_BYTES", 1000)
    with pytest.raises(PipelineError, match="lower MODEL_DIM"):
        serialize(tiny, *gptq_phase(tiny, CPU, GPT(tiny)), code)
    assert not Path(tiny.artifact_path).exists()


def test_wrapped_code_runs_the_same_and_is_smaller(tmp_path, capsys):
    source = "value = 40 + 2\nprint(value)\n" + "# filler\n" * 500
    wrapped = wrap_code(source)
    assert len(wrapped) < len(source)
    exec(wrapped, {})
    assert capsys.readouterr().out == "42\n"


def test_auto_takes_the_smaller_of_rans_and_brotli_and_the_log_says_which(tiny, code, tmp_path):
    torch.manual_seed(0)
    noise = torch.randn(200, 200).mul(2.4).round().to(torch.int8)  # neighbours tell nothing: rANS
    text = torch.arange(100, dtype=torch.int8).repeat(400)  # a pattern: brotli
    for tensor, expected in ((noise, "rans"), (text, "brotli")):
        sizes = {name: len(pack_tensors({"t": tensor}, name)) for name in ("rans", "brotli")}
        blob = pack_tensors({"t": tensor}, "auto")
        assert min(sizes, key=sizes.__getitem__) == expected
        assert len(blob) == sizes[expected]
        assert blob[6] == COMPRESSORS.index(expected)
        assert torch.equal(unpack_tensors(blob, "x")["t"], tensor)
    tiny.compressor = "auto"
    open_log(tmp_path / "log.txt", console=False)
    serialize(tiny, {}, {"t": noise}, code)
    open_log(None)
    assert "Serialized model quantized+rans: " in (tmp_path / "log.txt").read_text()


def test_a_model_with_every_option_comes_back_and_aux_heads_do_not_go_in(tiny, code):
    tiny.gated_attention = tiny.value_residual = tiny.dtg_enabled = tiny.trigram = True
    tiny.tie_embeddings, tiny.embedding_dim, tiny.parallel_start_layer, tiny.compressor = False, 24, 2, "rans"
    tiny.mtp_num_heads, tiny.iterations = 2, 3
    torch.manual_seed(0)
    model = train_model(tiny, CPU, ValidationData(tiny))
    quantized, kept = gptq_phase(tiny, CPU, model)
    serialize(tiny, quantized, kept, code)
    assert not any("mtp" in name for name in read_artifact(tiny))
    assert quantized["lm_head.weight"].bits == 8
    assert "blocks.0.attn.gate.reading" in kept
    again, tokens = deserialize(tiny, CPU), torch.randint(3, 300, (1, 20))
    assert again.mtp_heads is None
    model.load_state_dict(again.state_dict())
    assert torch.equal(again.forward_logits(tokens), model.forward_logits(tokens))
