"""Speed of the pipeline's optimized paths against plain ones: ``python -m benchmarks.pipeline``.

With ``--baseline train_gpt.py`` it is compared with the challenge's own baseline script instead (see `baseline`).

Ratios are taken within one run, fast and plain alternating, because machines differ and other work may share them; the
median of the pairs is printed. Every pair is checked to agree before it is timed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.pipeline.baseline import ROUNDS, compare
from reference_pipeline.attention import sdpa_attention
from reference_pipeline.byte_table import build_sentencepiece_luts, token_bytes
from reference_pipeline.hyperparameters import Hyperparameters
from reference_pipeline.model import GPT
from reference_pipeline.optimizers import orthogonalize
from reference_pipeline.prepare_data import prepare_toy_data
from reference_pipeline.quantization import gptq_quantize
from reference_pipeline.scoring import ValidationData, score_windows, sliding_windows
from reference_pipeline.tokenizers import SentencePieceTokenizer

PAIRS = 7


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def attention_pair() -> tuple[Callable[[], object], Callable[[], object]]:
    """SDPA against the softmax written out."""
    q, k, v = torch.randn(4, 256, 4, 32), torch.randn(4, 256, 2, 32), torch.randn(4, 256, 2, 32)
    mask = torch.full((256, 256), float("-inf")).triu(1)

    def plain() -> torch.Tensor:
        shared_k, shared_v = k.repeat_interleave(2, 2), v.repeat_interleave(2, 2)
        scores = torch.einsum("bthd,bshd->bhts", q, shared_k) * 32**-0.5 + mask
        return torch.einsum("bhts,bshd->bthd", scores.softmax(-1), shared_v)

    assert torch.allclose(plain(), sdpa_attention(q, k, v), atol=1e-4)
    return lambda: sdpa_attention(q, k, v), plain


def orthogonalize_pair() -> tuple[Callable[[], object], Callable[[], object]]:
    """Polar Express against the SVD."""
    matrix = torch.randn(256, 512)

    def plain() -> torch.Tensor:
        u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
        return u @ vh

    assert (plain() - orthogonalize(matrix, "polar_express", 9)).abs().max() < 0.02
    return lambda: orthogonalize(matrix, "polar_express", 5), plain


def gptq_pair() -> tuple[Callable[[], object], Callable[[], object]]:
    """Error feedback in blocks of 128 columns against column by column over the whole matrix."""
    weight, x = torch.randn(512, 512), torch.randn(2048, 512)
    hessian = x.T @ x
    blocked = gptq_quantize(weight, hessian, 6, 6.0).dequantize()
    whole = gptq_quantize(weight, hessian, 6, 6.0, block_size=512).dequantize()
    assert ((blocked - whole).abs() < 1e-5).float().mean() > 0.99  # ties may round apart
    return (
        lambda: gptq_quantize(weight, hessian, 6, 6.0),
        lambda: gptq_quantize(weight, hessian, 6, 6.0, block_size=512),
    )


def scoring_pair(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Sliding windows in batches against one at a time."""
    toy = prepare_toy_data(folder, vocab_size=320, train_bytes=30_000, val_bytes=8_000)
    h = Hyperparameters()
    h.vocab_size, h.tokenizer_path, h.num_layers, h.model_dim = toy.vocab_size, str(toy.tokenizer_path), 2, 64
    h.loop_start = h.loop_end = h.parallel_start = 1
    h.val_files, h.val_bytes_files = f"{toy.data_path}/fineweb_val_*.bin", f"{toy.data_path}/fineweb_val_bytes_*.bin"
    device = torch.device("cpu")
    data, model = ValidationData(h), GPT(h)
    windows = sliding_windows(0, data.targets, h.eval_seq_len, h.eval_stride)

    def score(batch_tokens: int) -> float:
        h.val_batch_size = batch_tokens
        return score_windows(h, device, data, model, windows)[0].item()

    assert abs(score(4096) - score(1)) < 1e-3
    return lambda: score(4096), lambda: score(1)


def bytes_pair(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """The byte table against decoding every token."""
    toy = prepare_toy_data(folder, vocab_size=320, train_bytes=30_000, val_bytes=8_000)
    tokenizer = SentencePieceTokenizer(toy.tokenizer_path)
    luts = build_sentencepiece_luts(tokenizer.sp, toy.vocab_size, torch.device("cpu"))
    h = Hyperparameters()
    h.vocab_size, h.tokenizer_path = toy.vocab_size, str(toy.tokenizer_path)
    h.val_files, h.val_bytes_files = f"{toy.data_path}/fineweb_val_*.bin", f"{toy.data_path}/fineweb_val_bytes_*.bin"
    data = ValidationData(h)
    tokens = data.read(0, data.targets + 1)

    def plain() -> int:
        total, document = 0, []
        for token in [*tokens[1:].tolist(), tokenizer.bos_id]:
            if token == tokenizer.bos_id:
                total += sum(len(piece) for piece in tokenizer.token_bytes(document))
                document = []
            else:
                document.append(token)
        return total

    assert plain() == int(token_bytes(luts, tokens[:-1], tokens[1:]).sum())
    return lambda: token_bytes(luts, tokens[:-1], tokens[1:]).sum(), plain


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description="Speed of the pipeline.")
    parser.add_argument("--baseline", type=Path, help="train_gpt.py of the challenge's main branch")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of that comparison (default: {ROUNDS})")
    parser.add_argument("--table", type=Path, help="where its table goes (default: standard output)")
    arguments = parser.parse_args()
    if arguments.baseline is None:
        compare_paths()
        return
    if not arguments.baseline.is_file():
        parser.error(f"{arguments.baseline}: no such file; take train_gpt.py from the challenge's main branch")
    with tempfile.TemporaryDirectory() as name:
        table = compare(arguments.baseline, Path(name), arguments.rounds)
    if arguments.table:
        arguments.table.write_text(table, encoding="utf-8")
    else:
        print(table, end="")


def compare_paths() -> None:
    """Print one line a pair."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table = Table(title=f"plain time / optimized time, median of {PAIRS} alternating pairs, one thread")
    for column in ("path", "optimized ms", "ratio"):
        table.add_column(column, justify="left" if column == "path" else "right")
    with tempfile.TemporaryDirectory() as name:
        pairs = {
            "SDPA against written-out softmax": attention_pair(),
            "Polar Express against SVD": orthogonalize_pair(),
            "GPTQ in blocks against whole rows": gptq_pair(),
            "windows in batches against one at a time": scoring_pair(Path(name)),
            "byte table against decoding": bytes_pair(Path(name)),
        }
        for label, (fast, plain) in pairs.items():
            times = [(seconds(fast), seconds(plain)) for _ in range(PAIRS)]
            ratio = statistics.median(slow / quick for quick, slow in times)
            table.add_row(label, f"{1000 * statistics.median(quick for quick, _ in times):.2f}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
