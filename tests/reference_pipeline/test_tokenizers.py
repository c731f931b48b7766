"""Tokenizers give back their text, and their bytes add up to it."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference_pipeline.byte_table import build_sentencepiece_luts, token_bytes
from reference_pipeline.caseops import MARKERS, caseops_decode, caseops_encode, raw_byte_weights
from reference_pipeline.errors import PipelineError
from reference_pipeline.source import DocumentSource
from reference_pipeline.tokenizers import (
    LITERAL_SPACE_MARK,
    ByteTokenizer,
    CaseOpsTokenizer,
    SentencePieceTokenizer,
    train_sentencepiece,
)


def random_texts(alphabet: str, count: int, longest: int) -> list[str]:
    """Seeded texts over `alphabet` with an occasional character from anywhere in Unicode."""
    generator = random.Random(7)
    texts = []
    for _ in range(count):
        letters = [
            generator.choice(alphabet)
            if generator.random() < 0.9
            else chr(generator.choice((0, 160, 8203, 12288, 128512)))
            for _ in range(generator.randrange(longest))
        ]
        texts.append("".join(letters))
    return texts


TEXTS = random_texts("abcXYZ  .\n\t\r\u2581é✓" + MARKERS, 300, 40)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    texts = [d.text for d in DocumentSource(0).draw(1, documents=120)]
    train_sentencepiece(texts, 400, folder / "plain.model")
    train_sentencepiece([caseops_encode(text) for text in texts], 400, folder / "case.model", MARKERS)
    return SentencePieceTokenizer(folder / "plain.model"), CaseOpsTokenizer(folder / "case.model")


def test_sentencepiece_round_trip_and_bytes(tokenizers):
    plain, _ = tokenizers
    luts = build_sentencepiece_luts(plain.sp, plain.vocab_size, torch.device("cpu"))
    for text in TEXTS:
        ids = plain.encode(text)
        assert plain.decode(ids) == text
        stream = torch.tensor([plain.bos_id, *ids, plain.bos_id])
        assert int(token_bytes(luts, stream[:-1], stream[1:]).sum()) == len(text.encode()), repr(text)


def test_caseops_round_trip_and_sidecar(tokenizers):
    _, case = tokenizers
    for text in TEXTS:
        ids = case.encode(text)
        assert case.decode(ids) == text
        assert int(case.raw_bytes(ids).sum()) == len(text.encode()), repr(text)


@given(st.text(st.characters(exclude_characters=LITERAL_SPACE_MARK, exclude_categories=("Cs",)), max_size=60))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_and_its_bytes_add_up(tokenizers, text):
    """Byte-level, sentencepiece and CaseOps, over all of Unicode."""
    plain, case = tokenizers
    assert ByteTokenizer().decode(ByteTokenizer().encode(text)) == text
    ids = plain.encode(text)
    assert plain.decode(ids) == text
    stream = torch.tensor([plain.bos_id, *ids, plain.bos_id])
    luts = build_sentencepiece_luts(plain.sp, plain.vocab_size, torch.device("cpu"))
    assert int(token_bytes(luts, stream[:-1], stream[1:]).sum()) == len(text.encode())
    marked = case.encode(text)
    assert case.decode(marked) == text
    assert int(case.raw_bytes(marked).sum()) == len(text.encode())


def test_caseops_is_bijective_on_every_short_text():
    letters = "aBC ." + MARKERS
    for text in ("".join(chosen) for length in range(6) for chosen in itertools.product(letters, repeat=length)):
        transformed = caseops_encode(text)
        assert caseops_decode(transformed) == text
        assert int(raw_byte_weights(transformed).sum()) == len(text.encode())
        assert not any("A" <= c <= "Z" for c in transformed)


def test_caseops_spells_capitals_by_marker():
    title, capitals = MARKERS[0], MARKERS[1]
    assert caseops_encode("The NASA TVs") == f"{title}the {capitals}nasa {title}t{title}vs"


@pytest.mark.parametrize("damaged", ["The", MARKERS[0] + "1", MARKERS[1] + "a.", MARKERS[2] + "x", "x" + MARKERS[0]])
def test_caseops_refuses_what_it_did_not_write(damaged):
    with pytest.raises(PipelineError, match="not marked"):
        caseops_decode(damaged)


def test_space_counts_once_and_not_after_bos(tokenizers):
    plain, _ = tokenizers
    luts = build_sentencepiece_luts(plain.sp, plain.vocab_size, torch.device("cpu"))
    space = plain.sp.piece_to_id("\u2581")
    previous = torch.tensor([plain.bos_id, plain.sp.piece_to_id("a")])
    assert token_bytes(luts, previous, torch.tensor([space, space])).tolist() == [0, 1]
    assert token_bytes(luts, previous, torch.tensor([plain.bos_id, plain.bos_id])).tolist() == [0, 0]
    byte = plain.sp.piece_to_id("<0xE2>")
    assert token_bytes(luts, previous, torch.tensor([byte, byte])).tolist() == [1, 1]


def test_byte_tokenizer_round_trip_and_control_ids():
    tokenizer = ByteTokenizer()
    assert tokenizer.decode(tokenizer.encode("naïve ✓")) == "naïve ✓"
    with pytest.raises(PipelineError, match="control id"):
        tokenizer.decode([1])


def test_mismatched_tokenizer_names_both_sizes(tokenizers):
    plain, _ = tokenizers
    with pytest.raises(PipelineError, match=r"400 pieces but VOCAB_SIZE=512"):
        build_sentencepiece_luts(plain.sp, 512, torch.device("cpu"))


def test_reserved_character_and_missing_file_are_told(tokenizers, tmp_path):
    with pytest.raises(PipelineError, match=r"U\+F581"):
        tokenizers[0].encode("a" + LITERAL_SPACE_MARK)
    with pytest.raises(PipelineError, match="TOKENIZER_PATH"):
        SentencePieceTokenizer(tmp_path / "none.model")
    with pytest.raises(PipelineError, match="VOCAB_SIZE=100"):
        train_sentencepiece(["a"], 100, tmp_path / "x.model")
