"""A submission's model as a function from tokens to logits, however its own scorer calls it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from auditor.rescore.inside.scoring import Caller, NoLogitsError, for_every_position  # noqa: E402

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
