"""Legal adaptation: no score moves when later tokens change, and nothing is learned from before it is scored."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from reference_pipeline import adaptation, phased
from reference_pipeline.adaptation import chunk_sequences, eval_val_ttt, learning_rate_along_chunks
from reference_pipeline.lora import DocumentLoRA, eval_val_document_lora, score_documents_with_lora
from reference_pipeline.model import GPT
from reference_pipeline.phased import eval_val_phased
from reference_pipeline.scoring import ValidationData, document_spans, eval_val_documents, eval_val_sliding
from reference_pipeline.slot import HiddenDelta, LogitBias, eval_val_slot_causal

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


def test_cosine_falls_from_the_first_chunk_to_nothing_and_frozen_blocks_stay(adapted):
    h, data, fresh = adapted
    assert [learning_rate_along_chunks(h, index, 3) for index in range(3)] == [h.ttt_lr] * 3
    h.ttt_cosine_decay, h.ttt_freeze_blocks = True, 1
    rates = [learning_rate_along_chunks(h, index, 3) for index in range(3)]
    assert rates == pytest.approx([h.ttt_lr, h.ttt_lr / 2, 0.0], abs=1e-12)
    model, start = fresh(), fresh()
    eval_val_ttt(h, CPU, data, model)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, start.state_dict()[name])}
    assert not any(name.startswith("blocks.0.") for name in moved)
    assert "blocks.1.attn.c_q.weight" in moved
    assert all(parameter.requires_grad for parameter in model.parameters())


# --- causal SLOT ---


@pytest.fixture(params=[True, False], ids=["bias by L-BFGS", "delta by AdamW"])
def slot(request, adapted):
    """Settings, data and model for both forms of causal SLOT."""
    h, data, fresh = adapted
    h.slot_lbfgs = request.param
    h.slot_segment_tokens, h.slot_focal_tokens, h.slot_lbfgs_max_iter, h.slot_lr = 300, 16, 5, 0.05
    return h, data, fresh()


def slot_losses(h, data, model, monkeypatch):
    """Losses of single targets in the order they were scored, and how many had been scored at each fit."""
    losses, fits = [], []
    original = F.cross_entropy
    for kind in (LogitBias, HiddenDelta):
        monkeypatch.setattr(kind, "fit", lambda self, *a, fit=kind.fit: (fits.append((len(losses), *a)), fit(self, *a)))

    def spy(*arguments, **keywords):
        answer = original(*arguments, **keywords)
        if keywords.get("reduction") == "none":
            losses.extend(answer.tolist())
        return answer

    monkeypatch.setattr(F, "cross_entropy", spy)
    total = eval_val_slot_causal(h, CPU, data, model)[0]
    monkeypatch.undo()
    assert total == pytest.approx(sum(losses) / data.targets, rel=1e-6)
    return losses, fits


def test_slot_fits_nothing_but_targets_already_scored(slot, monkeypatch):
    h, data, model = slot
    losses, fits = slot_losses(h, data, model, monkeypatch)
    assert len(losses) == data.targets
    assert len(fits) > 20
    stream = data.read(1, data.targets + 1)
    for scored, hidden, targets in fits:
        assert len(hidden) == len(targets) <= h.slot_focal_tokens
        assert torch.equal(targets, stream[scored - len(targets) : scored])  # the latest ones scored
        assert (scored - len(targets)) // 300 == (scored - 1) // 300  # and of this segment


def test_slot_ignores_the_future(slot, monkeypatch, stream_of):
    """Suffix swap: every target before the swapped ones costs the same, to the last bit, and later ones do not."""
    h, data, model = slot
    before, _ = slot_losses(h, data, model, monkeypatch)
    cut = 200
    tokens = data.read(0, data.targets + 1)
    tokens[cut + 1 :] = tokens[cut + 1 :].flip(0)
    after, _ = slot_losses(h, stream_of(h, tokens), model, monkeypatch)
    assert before[:cut] == after[:cut]
    assert before[cut:] != after[cut:]


def test_slot_learns_and_leaves_the_model_and_the_first_window_alone(slot, monkeypatch):
    h, data, model = slot
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses, _ = slot_losses(h, data, model, monkeypatch)
    plain = eval_val_sliding(h, CPU, data, model)[0]
    assert sum(losses) / data.targets < plain
    h.slot_lbfgs_max_iter = h.slot_steps = 0
    still, _ = slot_losses(h, data, model, monkeypatch)
    assert losses[: h.eval_seq_len] == still[: h.eval_seq_len]
    assert sum(still) / data.targets == pytest.approx(plain, rel=0.02)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, start[name])
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
