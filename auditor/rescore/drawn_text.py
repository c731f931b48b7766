"""Text made for the audit, where no validation text is given: random tokens in the challenge's format.

It says nothing about a claim. It shows whether an artifact loads, and whether the submission's own evaluation and the
reference agree on the score and the bytes of one and the same model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from auditor.rescore.text_data import TextData, find_text
from auditor.run.model import Size
from auditor.run.sources import Uniform
from auditor.run.stage.audit_data import draw_data
from auditor.run.stage.sentencepiece_model import byte_tables, model_bytes
from auditor.run.stage.shards import write_shard

NAME = "audit_data"
SIZE = Size(validation_tokens=8_192, training_tokens=32_768)


def draw_text(folder: Path, vocabulary: int, seed: int, *, sidecar: bool = False) -> TextData:
    """Write shards and tokenizer below `folder`; the text, marked as drawn."""
    drawn = draw_data(Uniform(), vocabulary, SIZE, seed)
    data_set = folder / "datasets" / NAME
    data_set.mkdir(parents=True)
    write_shard(data_set / "fineweb_val_000000.bin", drawn.validation.tokens)
    for number, tokens in enumerate(drawn.training):
        write_shard(data_set / f"fineweb_train_{number:06d}.bin", tokens)
    if sidecar:
        counted = byte_tables(vocabulary).token_bytes(drawn.validation.tokens)
        write_shard(data_set / "fineweb_val_bytes_000000.bin", counted.astype(np.uint16))
    (folder / "tokenizers").mkdir()
    tokenizer = f"{NAME}.model"
    (folder / "tokenizers" / tokenizer).write_bytes(model_bytes(vocabulary))
    return find_text(folder, [NAME], [tokenizer], vocabulary, drawn=True)
