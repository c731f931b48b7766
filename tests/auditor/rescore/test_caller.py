"""A submission's model as a function from tokens to logits, however its own scorer calls it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from auditor.rescore.inside.scoring import Caller, NoLogitsError, Submitted, for_every_position  # noqa: E402

VOCABULARY = 11


class Chosen(torch.nn.Module):
    """Makes logits for all positions, or for those at `places` of the flattened batch."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(VOCABULARY, VOCABULARY)

    def forward_logits(self, x, places=None):
        logits = self.table(x)
        return logits if places is None else logits.flatten(0, 1)[places]


class Documents(Chosen):
    """Takes the starts of documents instead, without which its logits are others."""

    def forward_logits(self, x, starts=None):
        return self.table(x) + (0 if starts is None else 1)


TOKENS = torch.arange(8).reshape(2, 4)
CHOICE = torch.tensor([1, 3, 6])


def test_a_choice_of_positions_is_left_out() -> None:
    model = Chosen()
    arguments = for_every_position(model, "forward_logits", [TOKENS, CHOICE], VOCABULARY)
    assert arguments[0] is TOKENS and arguments[1] is None
    logits = Caller("forward_logits", arguments, {}, VOCABULARY)(model, TOKENS + 1)
    assert torch.equal(logits, model.forward_logits(TOKENS + 1))


def test_another_tensor_beside_the_tokens_is_not() -> None:
    arguments = for_every_position(Documents(), "forward_logits", [TOKENS, CHOICE], VOCABULARY)
    assert arguments[1] is CHOICE
    with pytest.raises(NoLogitsError, match="further tensors"):
        Caller("forward_logits", arguments, {}, VOCABULARY)


def test_the_reference_can_adapt_a_model_of_its_own_kind_by_lora() -> None:
    """What LoRA of the reference asks of a model, the submission's model has under its new name, too."""
    from reference_pipeline.hyperparameters import Hyperparameters
    from reference_pipeline.lora import DocumentLoRA
    from reference_pipeline.model import GPT

    h = Hyperparameters()
    h.vocab_size = 64
    model = GPT(h).eval()
    submitted = Submitted(model, lambda inner, x, lora: inner.forward_logits(x, lora))
    adapters = DocumentLoRA(2, submitted, 3)
    for weight in adapters.parameters():
        torch.nn.init.normal_(weight)
    tokens = torch.randint(0, 64, (2, 9))
    with torch.no_grad():
        adapted, plain = (submitted.forward_logits(tokens, lora) for lora in (adapters, None))
    assert adapted.shape == plain.shape == (2, 9, 64) and not torch.allclose(adapted, plain)
