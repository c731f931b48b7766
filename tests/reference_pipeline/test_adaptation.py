"""Legal adaptation: no score moves when later tokens change, and nothing is learned from before it is scored."""

from __future__ import annotations

import pytest
import torch

from reference_pipeline import adaptation, phased
from reference_pipeline.adaptation import chunk_sequences, eval_val_ttt
from reference_pipeline.lora import DocumentLoRA, eval_val_document_lora, score_documents_with_lora
from reference_pipeline.model import GPT
from reference_pipeline.phased import eval_val_phased
from reference_pipeline.scoring import ValidationData, document_spans, eval_val_documents, eval_val_sliding

CPU = torch.device("cpu")


@pytest.fixture
def adapted(tiny):
    tiny.ttt_lr, tiny.ttt_epochs, tiny.ttt_lora_lr = 0.05, 2, 0.05
    data = ValidationData(tiny)

    def fresh():
        torch.manual_seed(4)
        model = GPT(tiny)
        for parameter in model.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        return model

    return tiny, data, fresh


def test_a_chunk_trains_on_exactly_its_own_scored_targets(tiny, stream_of):
    pairs = chunk_sequences(stream_of(tiny, torch.arange(100)), 20, 50, 16)
    assert torch.cat([y for _, y in pairs]).tolist() == list(range(21, 51))
    assert torch.cat([x for x, _ in pairs]).tolist() == list(range(20, 50))


def chunk_losses(h, data, model, monkeypatch):
    """Loss sums of the chunks of a score-first run, in order."""
    sums = []
    original = adaptation.score_windows

    def spy(*arguments):
        answer = original(*arguments)
        sums.append(answer[0].item())
        return answer

    monkeypatch.setattr(adaptation, "score_windows", spy)
    eval_val_ttt(h, CPU, data, model)
    monkeypatch.undo()
    return sums


def test_score_first_ttt_ignores_the_future(adapted, monkeypatch, stream_of):
    """Suffix swap: replacing later tokens leaves every earlier chunk's loss as it is, bit for bit."""
    h, data, fresh = adapted
    before = chunk_losses(h, data, fresh(), monkeypatch)
    cut = 2 * h.ttt_chunk_tokens
    tokens = data.read(0, data.targets + 1)
    tokens[cut + 1 :] = tokens[cut + 1 :].flip(0)
    swapped = stream_of(h, tokens)
    after = chunk_losses(h, swapped, fresh(), monkeypatch)
    assert len(before) >= 3
    assert before[:2] == after[:2]
    assert before[2:] != after[2:]


def test_score_first_ttt_learns_and_leaves_the_first_chunk_alone(adapted, monkeypatch):
    h, data, fresh = adapted
    adapting = chunk_losses(h, data, fresh(), monkeypatch)
    h.ttt_epochs = 0
    still = chunk_losses(h, data, fresh(), monkeypatch)
    assert adapting[0] == still[0]
    assert sum(adapting) < sum(still)
    assert sum(still) / data.targets == pytest.approx(eval_val_sliding(h, CPU, data, fresh())[0], rel=0.02)


def test_the_last_chunk_is_not_trained_on(adapted, monkeypatch):
    h, data, fresh = adapted
    trained = []
    monkeypatch.setattr(adaptation, "train_on_chunk", lambda *arguments: trained.append(arguments[-1]))
    eval_val_ttt(h, CPU, data, fresh())
    chunks = -(-data.targets // h.ttt_chunk_tokens)
    assert len(trained) == chunks - 1
    last = max(int(y.numel()) for pairs in trained for _, y in pairs)
    assert last <= h.train_seq_len


def test_document_lora_starts_as_the_plain_model_and_keeps_it(adapted):
    h, data, fresh = adapted
    model = fresh()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randint(3, 300, (2, 12))
    lora = DocumentLoRA(2, model, 4)
    assert torch.allclose(model.forward_logits(x, lora), model.forward_logits(x), atol=1e-6)
    h.ttt_lora_lr = 0.0
    plain = eval_val_documents(h, CPU, data, model)[0]
    assert eval_val_document_lora(h, CPU, data, model)[0] == pytest.approx(plain, rel=0.05)
    h.ttt_lora_lr = 0.05
    assert eval_val_document_lora(h, CPU, data, model)[0] < plain
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_document_learns_nothing_from_its_neighbours(adapted):
    """Scored alone or beside others, a document costs the same: resets and batch rows do not leak."""
    h, data, fresh = adapted
    model = fresh()
    h.ttt_doc_batch = 1
    spans = document_spans(data, h.bos_id)[:3]
    together = score_documents_with_lora(h, CPU, data, model, spans)[0].item()
    apart = []
    for index, span in enumerate(sorted(spans, key=lambda s: s[1] - s[0])):
        h.seed += index  # the generator's seed counts batches
        apart.append(score_documents_with_lora(h, CPU, data, model, [span])[0].item())
        h.seed -= index
    assert together == pytest.approx(sum(apart), rel=1e-9)


def test_phased_update_reads_only_documents_already_scored(adapted, monkeypatch):
    h, data, fresh = adapted
    h.phased_ttt_num_phases = 2
    history = []
    score, train = phased.score_documents_with_lora, phased.train_on_documents
    monkeypatch.setattr(phased, "score_documents_with_lora", lambda *a: history.append(("score", a[4])) or score(*a))
    monkeypatch.setattr(phased, "train_on_documents", lambda *a: history.append(("learn", list(a[4]))) or train(*a))
    eval_val_phased(h, CPU, data, fresh())
    scored: set[tuple[int, int]] = set()
    learned = 0
    for what, spans in history:
        if what == "score":
            assert not scored & set(spans)
            scored |= set(spans)
        else:
            assert set(spans) <= scored
            learned += 1
    assert learned == h.phased_ttt_num_phases - 1
    assert history[-1][0] == "score"
    assert scored == set(document_spans(data, h.bos_id))
