"""Tokenizers: sentencepiece BPE with byte fallback, and plain bytes. Both give back exactly the text they were given.

A tokenizer has `vocab_size`, `bos_id`, `encode(text) -> ids`, `decode(ids) -> text` for one document, without BOS.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import sentencepiece as spm

from reference_pipeline.byte_table import SPACE
from reference_pipeline.caseops import MARKERS, caseops_decode, caseops_encode, raw_byte_weights
from reference_pipeline.errors import PipelineError
from reference_pipeline.shards import write_atomically

# sentencepiece uses U+2581 for the space, so a literal one would come back as a space. It is exchanged with a
# private-use character of the same three UTF-8 bytes' length; texts that hold that one too are refused.
LITERAL_SPACE_MARK = "\uf581"


def train_sentencepiece(texts: list[str], vocab_size: int, path: Path, markers: str = "") -> None:
    """Train a BPE model with byte fallback on `texts` and write it to `path`. `markers` become pieces of their own."""
    if not 256 < vocab_size <= 8192:
        raise PipelineError(
            f"VOCAB_SIZE={vocab_size}: choose 260..8192 (256 byte pieces, three control pieces, merges)"
        )
    for coverage in (0.9995, 0.98, 0.9):  # a small vocabulary leaves rare characters to the byte pieces
        model = io.BytesIO()
        try:
            spm.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                model_type="bpe",
                vocab_size=vocab_size,
                byte_fallback=True,
                character_coverage=coverage,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                split_digits=True,
                user_defined_symbols=list(markers),
                max_sentence_length=1 << 20,
                num_threads=1,
                minloglevel=2,
            )
            break
        except RuntimeError as error:
            refusal = str(error)
    else:
        raise PipelineError(f"{path}: sentencepiece refused VOCAB_SIZE={vocab_size} ({refusal}); use another size")
    write_atomically(path, model.getvalue())


class SentencePieceTokenizer:
    """A trained sentencepiece model that round-trips every text."""

    def __init__(self, path: Path):
        if not path.is_file():
            raise PipelineError(f"{path}: no such tokenizer; prepare the data or set TOKENIZER_PATH")
        self.sp = spm.SentencePieceProcessor(model_file=str(path))
        self.vocab_size, self.bos_id = int(self.sp.vocab_size()), int(self.sp.bos_id())
        if self.sp.piece_to_id(SPACE) == self.sp.unk_id():
            raise PipelineError(
                f"{path}: no piece for the space alone, so spaces would cost three byte pieces; train anew"
            )

    def encode(self, text: str) -> list[int]:
        """Ids of one document."""
        if LITERAL_SPACE_MARK in text:
            raise PipelineError("a document contains U+F581, which this tokenizer needs itself; remove the character")
        return list(self.sp.encode(text.replace(SPACE, LITERAL_SPACE_MARK), out_type=int)) if text else []

    def token_bytes(self, ids: list[int]) -> list[bytes]:
        """The bytes of text each token stands for; the dummy prefix of the first one is dropped."""
        pieces = []
        for place, token in enumerate(ids):
            if self.sp.is_byte(token):
                pieces.append(bytes([int(self.sp.id_to_piece(token)[3:5], 16)]))
                continue
            piece = self.sp.id_to_piece(token)
            if place == 0 and piece.startswith(SPACE):
                piece = piece[1:]
            pieces.append(piece.replace(SPACE, " ").encode())
        return pieces

    def decode(self, ids: list[int]) -> str:
        """The text of one document."""
        return b"".join(self.token_bytes(ids)).decode().replace(LITERAL_SPACE_MARK, SPACE)


class CaseOpsTokenizer(SentencePieceTokenizer):
    """The sentencepiece model over CaseOps-transformed text; `raw_bytes` fills the sidecar."""

    def encode(self, text: str) -> list[int]:
        """Ids of the transformed document."""
        return super().encode(caseops_encode(text))

    def decode(self, ids: list[int]) -> str:
        """The raw text."""
        return caseops_decode(super().decode(ids))

    def raw_bytes(self, ids: list[int]) -> np.ndarray:
        """Raw bytes each token stands for, (len(ids),) uint16; their sum is the raw text's length in bytes."""
        pieces = self.token_bytes(ids)
        transformed = b"".join(pieces).decode()
        running = np.concatenate([[0], np.cumsum(raw_byte_weights(transformed), dtype=np.int64)])
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        return np.diff(running[np.concatenate([[0], ends])]).astype(np.uint16)


class ByteTokenizer:
    """Ids 4..259 are the bytes; 0 is padding, 1 BOS, 2 end, 3 unknown. Needs no file."""

    vocab_size, bos_id, first_byte = 260, 1, 4

    def encode(self, text: str) -> list[int]:
        """UTF-8 bytes shifted by four."""
        return [byte + self.first_byte for byte in text.encode()]

    def decode(self, ids: list[int]) -> str:
        """The text; control ids are an error."""
        if ids and min(ids) < self.first_byte:
            raise PipelineError(f"byte tokenizer: id {min(ids)} is a control id, not a byte")
        return bytes(token - self.first_byte for token in ids).decode()


CASEOPS_MARKERS = MARKERS
