"""Shards, loaders and the document source."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference_pipeline.errors import PipelineError
from reference_pipeline.loaders import (
    CoprimeStrideLoader,
    SequentialLoader,
    ShuffledLoader,
    TokenStream,
    document_starts,
)
from reference_pipeline.shards import SHARD_HEADER_BYTES, load_shard, write_atomically, write_shard
from reference_pipeline.source import (
    DOCUMENT_END,
    MARKS,
    NAME_CLASS,
    NAME_COUNT,
    SHOUT,
    DocumentSource,
    Event,
    entropy_floor,
    render,
)


def test_shard_round_trip_is_the_documented_format(tmp_path):
    path = tmp_path / "fineweb_train_000000.bin"
    write_shard(path, np.array([1, 65535, 7]))
    raw = path.read_bytes()
    assert raw[:12] == (20240520).to_bytes(4, "little") + (1).to_bytes(4, "little") + (3).to_bytes(4, "little")
    assert raw[SHARD_HEADER_BYTES:] == b"\x01\x00\xff\xff\x07\x00"
    assert load_shard(path).tolist() == [1, 65535, 7]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda raw: b"\x00" + raw[1:], "magic"),
        (lambda raw: raw[:4] + b"\x02" + raw[5:], "version"),
        (lambda raw: raw[:100], "shorter than"),
        (lambda raw: raw[:-1], "header promises 5 tokens"),
        (lambda raw: raw + b"\x00\x00", "header promises 5 tokens"),
    ],
)
def test_damaged_shard_is_refused_by_name(tmp_path, damage, told):
    path = tmp_path / "shard.bin"
    write_shard(path, np.arange(5))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(PipelineError, match=told) as error:
        load_shard(path)
    assert str(path) in str(error.value)


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_to_header_or_length_is_refused_and_nothing_else_is(tmp_path, data):
    """A shard is read back exactly, or refused with its name; no damage is an uncaught exception."""
    path = tmp_path / "shard.bin"
    tokens = data.draw(st.lists(st.integers(0, 65535), max_size=20))
    write_shard(path, np.array(tokens, dtype=np.int64))
    raw = path.read_bytes()
    kind = data.draw(st.sampled_from(["cut", "more", "flip", "none"]))
    if kind == "cut":
        damaged = raw[: data.draw(st.integers(0, len(raw) - 1))]
    elif kind == "more":
        damaged = raw + data.draw(st.binary(min_size=1, max_size=5))
    elif kind == "flip":
        place = data.draw(st.integers(0, 11))
        damaged = raw[:place] + bytes([raw[place] ^ data.draw(st.integers(1, 255))]) + raw[place + 1 :]
    else:
        damaged = raw
    path.write_bytes(damaged)
    if damaged == raw:
        assert load_shard(path).tolist() == tokens
    else:
        with pytest.raises(PipelineError, match=r"shard\.bin: .*(again|not a token shard)"):
            load_shard(path)


@given(st.lists(st.lists(st.integers(0, 9), min_size=0, max_size=6), min_size=1, max_size=5), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_reads_like_the_concatenation_of_its_shards(tmp_path, shards, data):
    whole = [token for shard in shards for token in shard]
    paths = [tmp_path / f"fineweb_val_{index:06d}.bin" for index in range(len(shards))]
    for path, shard in zip(paths, shards, strict=True):
        write_shard(path, np.array(shard, dtype=np.int64))
    stream = TokenStream(paths)
    first = data.draw(st.integers(0, len(whole)))
    last = data.draw(st.integers(first, len(whole)))
    assert len(stream) == len(whole)
    assert stream.read(first, last).tolist() == whole[first:last]


def test_tokens_beyond_the_vocabulary_name_the_setting(tmp_path):
    write_shard(tmp_path / "a.bin", np.array([1, 512]))
    with pytest.raises(PipelineError, match="VOCAB_SIZE=512"):
        load_shard(tmp_path / "a.bin", vocab_size=512)
    assert load_shard(tmp_path / "a.bin", vocab_size=513).tolist() == [1, 512]


def test_full_disk_leaves_no_half_written_file(tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PipelineError, match=r"No space left.*free disk space"):
        write_atomically(tmp_path / "artifact", b"x" * 100)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match=r"file/artifact: cannot write .*choose another folder"):
        write_atomically(tmp_path / "file" / "artifact", b"x")


@pytest.fixture
def two_shards(tmp_path):
    write_shard(tmp_path / "fineweb_train_000000.bin", np.arange(0, 50))
    write_shard(tmp_path / "fineweb_train_000001.bin", np.arange(50, 101))
    return str(tmp_path / "fineweb_train_*.bin")


@pytest.mark.parametrize("kind", [SequentialLoader, ShuffledLoader, CoprimeStrideLoader])
def test_an_epoch_visits_every_sequence_once_on_any_number_of_ranks(two_shards, kind):
    alone = kind(two_shards, batch=2, seq_len=10, seed=3)
    seen = [row.tolist() for _ in range(5) for row in alone.next_batch()[0]]
    assert sorted(row[0] for row in seen) == list(range(0, 100, 10))
    pair = [kind(two_shards, batch=1, seq_len=10, seed=3, rank=rank, world_size=2) for rank in (0, 1)]
    together = [row.tolist() for _ in range(5) for loader in pair for row in loader.next_batch()[0]]
    assert together == seen


def test_targets_are_inputs_shifted_across_the_shard_border(two_shards):
    loader = SequentialLoader(two_shards, batch=10, seq_len=10, seed=0)
    x, y = loader.next_batch()
    assert (y == x + 1).all()


def test_loader_goes_on_where_it_was_saved(two_shards):
    first = ShuffledLoader(two_shards, batch=3, seq_len=10, seed=1)
    first.next_batch()
    state = first.state()
    expected = [first.next_batch()[0].tolist() for _ in range(4)]
    second = ShuffledLoader(two_shards, batch=3, seq_len=10, seed=1)
    second.restore(state)
    assert [second.next_batch()[0].tolist() for _ in range(4)] == expected


def test_too_little_data_names_the_remedy(two_shards):
    with pytest.raises(PipelineError, match="TRAIN_SEQ_LEN=200"):
        SequentialLoader(two_shards, batch=1, seq_len=200, seed=0)


def test_documents_start_at_bos_and_at_zero():
    assert document_starts(np.array([1, 5, 6, 1, 7]), bos_id=1).tolist() == [0, 3]
    assert document_starts(np.array([5, 6, 1, 7]), bos_id=1).tolist() == [0, 2]


def test_next_event_probabilities_sum_to_one():
    """The distribution that sets the floor must be one: sum over every possible next event, by hand."""
    source = DocumentSource(seed=5, topics=3)
    document = source.draw(9, documents=1)[0]
    prefix = list(document.events[:4])
    prefix[-1] = Event(prefix[-1].word_class, prefix[-1].word, prefix[-1].shout, "", False)
    before = source.log_probability(prefix)
    names = {event.word for event in prefix if event.word_class == NAME_CLASS}
    total = 0.0
    for mark in ("", *MARKS):
        for last in (False, True) if mark else (False,):
            for word_class, words in enumerate(source.classes):
                for word in words:
                    for shout in (False, True):
                        event = Event(word_class, word, shout, mark, last)
                        total += math.exp(source.log_probability([*prefix, event]) - before)
            unseen = Event(NAME_CLASS, "Zuzuzu", False, mark, last)
            assert "Zuzuzu" not in names
            total += (NAME_COUNT - len(names)) * math.exp(source.log_probability([*prefix, unseen]) - before)
            for name in names:
                total += math.exp(
                    source.log_probability([*prefix, Event(NAME_CLASS, name, False, mark, last)]) - before
                )
    assert total == pytest.approx(1.0, abs=1e-9)


def test_probability_marginalises_over_topics():
    """Against brute force: the mean over topics of the probability given the topic."""
    source = DocumentSource(seed=2, topics=4)
    events = [e for e in source.draw(1, documents=1)[0].events if e.word_class != NAME_CLASS][:3]
    events = [Event(e.word_class, e.word, e.shout, "", False) for e in events]
    given = []
    for topic in range(4):
        p, previous = 1.0, None
        for e in events:
            p *= (source.first if previous is None else source.follow[previous])[e.word_class]
            p *= source.preference[e.word_class][topic, source.word_place[e.word][1]]
            p *= (SHOUT if e.shout else 1 - SHOUT) * source.mark_probability("")
            previous = e.word_class
        given.append(p)
    assert source.log_probability(events) == pytest.approx(math.log(np.mean(given)), abs=1e-9)


def test_same_seed_same_text_and_other_seed_other_text():
    assert [d.text for d in DocumentSource(1).draw(3, documents=4)] == [
        d.text for d in DocumentSource(1).draw(3, documents=4)
    ]
    assert DocumentSource(1).draw(3, documents=1)[0].text != DocumentSource(1).draw(4, documents=1)[0].text


def test_a_new_era_costs_more_under_the_old_distribution():
    """Something to adapt to: era 1 is cheaper under its own distribution than under era 0's."""
    old, new = DocumentSource(0), DocumentSource(0, era=1)
    documents = new.draw(7, documents=60)
    under_old = sum(-old.log_probability(d.events) for d in documents)
    assert under_old > 1.02 * sum(d.nats for d in documents)
    assert 0.5 < entropy_floor(documents) < 2.0


def test_text_capitalises_sentences_and_closes_the_document():
    text = render(
        [Event(0, "ab", False, "", False), Event(1, "cd", True, ".", False), Event(0, "ef", False, "?", True)]
    )
    assert text == "Ab CD. Ef?"
    assert 0 < DOCUMENT_END < 1
