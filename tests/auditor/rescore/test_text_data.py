"""The text to score: which data set a run used, its bytes counted officially, and whether it is the text meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditor.rescore.drawn_text import draw_text
from auditor.rescore.piece_table import TokenizerError, read_tables
from auditor.rescore.text_data import DataError, count_bytes, find_text, read_shard
from auditor.run.stage.sentencepiece_model import byte_tables, model_bytes
from auditor.run.stage.shards import write_shard

VOCABULARY = 512


def data_set(root: Path, name: str = "fineweb10B_sp512", tokens: list[int] | None = None) -> Path:
    """A data folder with one validation shard and its tokenizer."""
    folder = root / "datasets" / name
    folder.mkdir(parents=True)
    write_shard(folder / "fineweb_val_000000.bin", np.array(tokens or [1, 300, 301, 302, 303], np.uint16))
    (root / "tokenizers").mkdir(exist_ok=True)
    (root / "tokenizers" / "fineweb_512_bpe.model").write_bytes(model_bytes(VOCABULARY))
    return folder


def found(root: Path, *names: str, vocabulary: int = VOCABULARY):  # type: ignore[no-untyped-def]
    return find_text(root, names, ["./data/tokenizers/fineweb_512_bpe.model"], vocabulary)


def test_a_tokenizer_file_gives_the_tables_it_was_written_from(tmp_path: Path) -> None:
    path = tmp_path / "a.model"
    path.write_bytes(model_bytes(VOCABULARY))
    read, written = read_tables(path), byte_tables(VOCABULARY)
    assert read.pieces == written.pieces
    np.testing.assert_array_equal(read.base_bytes, written.base_bytes)
    np.testing.assert_array_equal(read.leading_space, written.leading_space)
    np.testing.assert_array_equal(read.boundary, written.boundary)


@pytest.mark.parametrize(
    "content", [b"", b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b\x00" * 9]
)
def test_what_is_no_tokenizer_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.model"
    path.write_bytes(content)
    with pytest.raises(TokenizerError) as caught:
        read_tables(path)
    assert "\n" not in str(caught.value)


def test_bytes_are_counted_as_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = byte_tables(VOCABULARY)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, 1000).astype(np.uint16)
    whole = tables.token_bytes(tokens)
    monkeypatch.setattr("auditor.rescore.text_data.BLOCK", 7)
    np.testing.assert_array_equal(count_bytes(tables, tokens), whole)


def test_the_data_set_is_taken_by_the_name_the_run_gives(tmp_path: Path) -> None:
    data_set(tmp_path, "fineweb10B_sp512")
    data_set(tmp_path, "fineweb10B_sp512_caseops")
    assert found(tmp_path, "./data/datasets/fineweb10B_sp512_caseops").name == "fineweb10B_sp512_caseops"


def test_several_data_sets_and_no_name_are_an_error_that_names_them(tmp_path: Path) -> None:
    data_set(tmp_path, "one_512")
    data_set(tmp_path, "two_512")
    with pytest.raises(DataError, match="one_512, two_512"):
        found(tmp_path, "")


def test_a_folder_of_shards_will_do(tmp_path: Path) -> None:
    folder = data_set(tmp_path)
    assert found(folder, "anything").targets == 4


def test_bytes_and_digest_belong_to_the_tokens(tmp_path: Path) -> None:
    data_set(tmp_path / "a")
    data_set(tmp_path / "b", tokens=[1, 300, 301, 302, 304])
    first, second = found(tmp_path / "a", "x"), found(tmp_path / "b", "x")
    assert first.text_bytes == byte_tables(VOCABULARY).text_bytes(first.tokens)
    assert first.sha256 != second.sha256
    assert first.is_text_of(first.text_bytes)
    assert not first.is_text_of(first.text_bytes + 10)


def test_a_sidecar_decides_over_the_bytes(tmp_path: Path) -> None:
    folder = data_set(tmp_path)
    write_shard(folder / "fineweb_val_bytes_000000.bin", np.array([0, 2, 3, 4, 5], np.uint16))
    assert found(tmp_path, "x").text_bytes == 14
    write_shard(folder / "fineweb_val_bytes_000000.bin", np.array([0, 2], np.uint16))
    with pytest.raises(DataError, match="2 byte counts for 5 tokens"):
        found(tmp_path, "x")


def test_byte_level_tokens_need_no_tokenizer(tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "bytes260"
    folder.mkdir(parents=True)
    write_shard(folder / "fineweb_val_000000.bin", np.array([1, 40, 41, 1, 42], np.uint16))
    text = find_text(tmp_path, [], ["bytes"], 260)
    assert (text.text_bytes, text.tokenizer) == (3, None)


@pytest.mark.parametrize("damage", ["magic", "length", "vocabulary", "none"])
def test_shards_that_are_none_are_refused(tmp_path: Path, damage: str) -> None:
    folder = data_set(tmp_path)
    path = folder / "fineweb_val_000000.bin"
    content = bytearray(path.read_bytes())
    if damage == "magic":
        content[0] ^= 1
    elif damage == "length":
        content += b"\x00\x00"
    elif damage == "vocabulary":
        content[-2:] = b"\xff\xff"
    path.write_bytes(content)
    if damage == "none":
        assert len(read_shard(path)) == 5
        return
    with pytest.raises(DataError):
        found(tmp_path, "x")


def test_drawn_text_is_never_the_text_of_a_claim(tmp_path: Path) -> None:
    text = draw_text(tmp_path, VOCABULARY, 3)
    assert text.drawn
    assert not text.is_text_of(text.text_bytes)
    assert text.targets > 1000
