"""The audit's tokenizer: real SentencePiece reads it, and its byte tables are those of the challenge's own count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditor.run.stage.sentencepiece_model import SPACE, byte_tables, model_bytes

SIZES = (260, 1024, 8192)


@pytest.mark.parametrize("vocabulary", [5, 200, *SIZES])
def test_there_are_exactly_as_many_different_pieces_as_asked(vocabulary: int) -> None:
    assert len(set(byte_tables(vocabulary).pieces)) == vocabulary


def test_a_vocabulary_without_room_for_text_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        byte_tables(4)


@pytest.mark.parametrize("vocabulary", SIZES)
def test_sentencepiece_reads_the_model_with_the_same_pieces_and_kinds(vocabulary: int, tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    path = tmp_path / "audit.model"
    path.write_bytes(model_bytes(vocabulary))
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    tables = byte_tables(vocabulary)
    assert model.vocab_size() == vocabulary
    assert [model.id_to_piece(index) for index in range(vocabulary)] == list(tables.pieces)
    assert (model.pad_id(), model.bos_id(), model.eos_id(), model.unk_id()) == (0, 1, 2, 3)
    assert [model.is_byte(index) for index in range(vocabulary)] == [4 <= index < 260 for index in range(vocabulary)]
    silent = [model.is_control(index) or model.is_unknown(index) for index in range(vocabulary)]
    assert silent == tables.boundary.tolist()


@pytest.mark.parametrize("vocabulary", SIZES)
def test_bytes_are_those_of_the_decoded_text(vocabulary: int, tmp_path: Path) -> None:
    """Decoding whole text pieces gives the text whose bytes are counted, a space for each leading U+2581."""
    sentencepiece = pytest.importorskip("sentencepiece")
    path = tmp_path / "audit.model"
    path.write_bytes(model_bytes(vocabulary))
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    tables = byte_tables(vocabulary)
    for index in range(260, vocabulary):
        text = model.id_to_piece(index)
        spaces = int(tables.leading_space[index])
        assert tables.base_bytes[index] + spaces == len(text.replace(SPACE, " ").encode())


def test_a_leading_space_counts_only_after_text() -> None:
    tables = byte_tables(1024)
    spaced, plain = tables.pieces.index(SPACE + "e"), tables.pieces.index("t")
    after_text = np.array([plain, spaced], np.uint16)
    after_bos = np.array([1, spaced], np.uint16)
    after_byte = np.array([4, spaced], np.uint16)
    assert tables.text_bytes(after_text) == 2
    assert tables.text_bytes(after_bos) == 1
    assert tables.text_bytes(after_byte) == 2


def test_special_pieces_carry_no_bytes_and_byte_pieces_one() -> None:
    tables = byte_tables(1024)
    assert tables.text_bytes(np.array([300, 0, 1, 2, 3], np.uint16)) == 0
    assert tables.text_bytes(np.array([300, 4, 259], np.uint16)) == 2


def test_pieces_differ_in_length_so_that_wrong_counts_show() -> None:
    tables = byte_tables(1024)
    text = tables.base_bytes[260:]
    assert {1, 2, 3, 4} <= set(text.tolist())
    assert 0.4 < tables.leading_space[260:].mean() < 0.6
    characters = np.array([len(piece.removeprefix(SPACE)) for piece in tables.pieces[260:]])
    assert (text > characters).any()  # some characters take several bytes
