"""Prepare the toy data set: documents from the known source, tokenizer, shards, sidecar, and what is known of them.

Layout, as in the challenge: DATA/datasets/NAME/fineweb_{train,val}_NNNNNN.bin and DATA/tokenizers/NAME.model. A
`known.json` beside the shards holds text bytes and entropy floor of the validation text.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from reference_pipeline.caseops import caseops_encode
from reference_pipeline.shards import write_atomically, write_shard
from reference_pipeline.source import DocumentSource, SourceDocument, entropy_floor
from reference_pipeline.tokenizers import (
    CASEOPS_MARKERS,
    ByteTokenizer,
    CaseOpsTokenizer,
    SentencePieceTokenizer,
    train_sentencepiece,
)


@dataclass(frozen=True)
class ToyData:
    """Where a prepared data set lies and what is known about its validation text."""

    name: str
    data_path: Path
    tokenizer_path: Path
    vocab_size: int
    bos_id: int
    text_bytes: int  # UTF-8 bytes of the validation text
    entropy_floor_bpb: float  # ideal code length of exactly this text
    unigram_bpb: float  # code length under the training tokens' frequencies
    val_tokens: int

    def environment(self) -> dict[str, str]:
        """Settings that make a script read this data set."""
        return {
            "DATA_PATH": str(self.data_path),
            "TOKENIZER_PATH": str(self.tokenizer_path),
            "VOCAB_SIZE": str(self.vocab_size),
        }


def encode_documents(
    documents: list[SourceDocument], tokenizer: SentencePieceTokenizer | ByteTokenizer
) -> tuple[np.ndarray, np.ndarray]:
    """(tokens (N,), raw bytes of each (N,)) of the documents in order, each beginning with BOS (zero bytes)."""
    tokens: list[int] = []
    sizes: list[int] = []
    for document in documents:
        ids = tokenizer.encode(document.text)
        if isinstance(tokenizer, CaseOpsTokenizer):
            raw = tokenizer.raw_bytes(ids).tolist()
        elif isinstance(tokenizer, ByteTokenizer):
            raw = [1] * len(ids)
        else:
            raw = [len(piece) for piece in tokenizer.token_bytes(ids)]
        tokens += [tokenizer.bos_id, *ids]
        sizes += [0, *raw]
    return np.asarray(tokens, dtype=np.uint16), np.asarray(sizes, dtype=np.uint16)


def prepare_toy_data(
    folder: Path,
    kind: str = "sp",
    vocab_size: int = 512,
    train_bytes: int = 800_000,
    val_bytes: int = 40_000,
    seed: int = 0,
) -> ToyData:
    """Write the toy data set under `folder`, or take the one that is there. kind: "sp", "caseops", "byte"."""
    vocab_size = ByteTokenizer.vocab_size if kind == "byte" else vocab_size
    name = f"toy_{kind}{vocab_size}_{train_bytes // 1000}k_{val_bytes // 1000}k_seed{seed}"
    data_path = folder / "datasets" / name
    tokenizer_path = folder / "tokenizers" / f"{name}.model"
    known = data_path / "known.json"
    if known.is_file():
        facts = json.loads(known.read_text())
        return ToyData(name, data_path, tokenizer_path if kind != "byte" else Path("bytes"), **facts)
    train = DocumentSource(seed).draw(seed * 1000 + 1, text_bytes=train_bytes)
    validation = DocumentSource(seed, era=1).draw(seed * 1000 + 2, text_bytes=val_bytes)
    tokenizer: SentencePieceTokenizer | ByteTokenizer
    if kind == "byte":
        tokenizer, tokenizer_path = ByteTokenizer(), Path("bytes")
    else:
        markers = CASEOPS_MARKERS if kind == "caseops" else ""
        texts = [document.text for document in train]
        if kind == "caseops":
            texts = [caseops_encode(text) for text in texts]
        train_sentencepiece(texts, vocab_size, tokenizer_path, markers)
        tokenizer = CaseOpsTokenizer(tokenizer_path) if kind == "caseops" else SentencePieceTokenizer(tokenizer_path)
    train_tokens, _ = encode_documents(train, tokenizer)
    val_tokens, val_sizes = encode_documents(validation, tokenizer)
    half = len(train_tokens) // 2
    write_shard(data_path / "fineweb_train_000000.bin", train_tokens[:half])
    write_shard(data_path / "fineweb_train_000001.bin", train_tokens[half:])
    write_shard(data_path / "fineweb_val_000000.bin", val_tokens)
    if kind == "caseops":
        write_shard(data_path / "fineweb_val_bytes_000000.bin", val_sizes)
    text_bytes = sum(len(document.text.encode()) for document in validation)
    facts = {
        "vocab_size": vocab_size,
        "bos_id": tokenizer.bos_id,
        "text_bytes": text_bytes,
        "entropy_floor_bpb": entropy_floor(validation),
        "unigram_bpb": unigram_bits(train_tokens, val_tokens, vocab_size) / text_bytes,
        "val_tokens": len(val_tokens) - 1,
    }
    data = ToyData(name, data_path, tokenizer_path, **facts)
    write_atomically(known, json.dumps(facts, indent=1).encode())
    return data


def unigram_bits(train: np.ndarray, validation: np.ndarray, vocab_size: int) -> float:
    """Code length in bits of the validation tokens under add-one frequencies of the training tokens."""
    counts = np.bincount(train, minlength=vocab_size) + 1.0
    return float(-np.log(counts / counts.sum())[validation[1:]].sum() / math.log(2))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=Path("data"))
    parser.add_argument("--kind", choices=("sp", "caseops", "byte"), default="sp")
    parser.add_argument("--vocab-size", type=int, default=512)
    parser.add_argument("--train-bytes", type=int, default=800_000)
    parser.add_argument("--val-bytes", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = prepare_toy_data(**vars(arguments))
    print(json.dumps(asdict(data), indent=1, default=str))


if __name__ == "__main__":
    main()
