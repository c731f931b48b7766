"""Scores a captured model with the reference pipeline: windows, exact sliding window, and its score-first loops.

Of the submission only the function from tokens to logits is used. Targets that its forward pass wants are zeros; the
softmax over the vocabulary is taken here. The sums go out over the sealed channel, as they are made.
"""

from __future__ import annotations

import copy
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

Tensor = torch.Tensor
Report = Callable[[Mapping[str, object]], None]
PROBES = 2  # windows whose end is replaced, to see whether earlier logits move
PROBE_TOKENS = 64

_cross_entropy = F.cross_entropy
_log_softmax = F.log_softmax


class NoLogitsError(Exception):
    """The model could not be used as a function from tokens to logits. The message says why."""


class Caller:
    """Calls a model as the script did, with other tokens; the answer is its logits, (B, T, V)."""

    def __init__(self, method: str, arguments: list[Any], keywords: dict[str, Any], vocabulary: int) -> None:
        self._method = method
        self._vocabulary = vocabulary
        entries = [*enumerate(arguments), *keywords.items()]
        shaped = [(name, value) for name, value in entries if isinstance(value, Tensor)]
        ids = [name for name, value in shaped if value.ndim == 2 and not value.is_floating_point()]
        if not ids:
            raise NoLogitsError(f"{method} is not called with rows of tokens")
        others = [name for name, _ in shaped if name not in ids]
        if others:
            raise NoLogitsError(f"{method} takes further tensors beside the tokens")
        self._tokens, self._targets = ids[0], ids[1:]
        self._arguments, self._keywords = list(arguments), dict(keywords)
        self._autocast = (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"))

    def __call__(self, model: Any, x: Tensor, lora: Any = None) -> Tensor:
        """Logits for tokens x, (B, T)."""
        arguments, keywords = list(self._arguments), dict(self._keywords)
        for name in (self._tokens, *self._targets):
            value = x if name == self._tokens else torch.zeros_like(x)
            if isinstance(name, int):
                arguments[name] = value
            else:
                keywords[name] = value
        if lora is not None:
            arguments, keywords = arguments[:1], {"lora": lora}
        seen: list[Tensor] = []

        def cross_entropy(input: Tensor, *rest: Any, **also: Any) -> Tensor:
            seen.append(input)
            return _cross_entropy(input, *rest, **also)

        F.cross_entropy = cross_entropy
        try:
            with torch.autocast("cpu", dtype=self._autocast[1], enabled=self._autocast[0]):
                result = getattr(model, self._method)(*arguments, **keywords)
        finally:
            F.cross_entropy = _cross_entropy
        return self._logits(result, seen, x)

    def _logits(self, result: Any, seen: list[Tensor], x: Tensor) -> Tensor:
        candidates = [*(result if isinstance(result, (tuple, list)) else [result]), *reversed(seen)]
        for value in candidates:
            if isinstance(value, Tensor) and value.numel() == x.numel() * self._vocabulary:
                return value.reshape(*x.shape, self._vocabulary)
        raise NoLogitsError(f"{self._method} neither returns logits nor hands them to cross_entropy")


def for_every_position(model: Any, method: str, arguments: list[Any], vocabulary: int) -> list[Any]:
    """`arguments` without a tensor that only says for which positions logits are wanted.

    Such a tensor, (S,) whole numbers, is one that the method can do without and that makes it return (S, V).
    """
    function = getattr(model, method)
    for index, parameter in enumerate(list(inspect.signature(function).parameters.values())[: len(arguments)]):
        value = arguments[index]
        chooses = parameter.default is None and isinstance(value, Tensor) and not value.is_floating_point()
        if chooses and value.ndim == 1:
            with torch.no_grad():
                result = function(*arguments)
            if isinstance(result, Tensor) and result.shape == (len(value), vocabulary):
                return [*arguments[:index], None, *arguments[index + 1 :]]
    return arguments


class Submitted(torch.nn.Module):
    """The submission's model under the names that the reference's scorer uses."""

    def __init__(self, model: Any, caller: Caller) -> None:
        super().__init__()
        self.inner = model
        object.__setattr__(self, "caller", caller)

    def forward_logits(self, x: Tensor, lora: Any = None, places: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) for tokens (B, T); with `places` (S,), numbers in 0..B*T-1, only those, (S, V)."""
        logits = self.caller(self.inner, x, lora)
        return logits if places is None else logits.flatten(0, 1)[places]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean loss in nats, for the reference's score-first loop."""
        return _cross_entropy(self.forward_logits(x).float().flatten(0, 1), y.flatten())

    def train(self, mode: bool = True) -> Submitted:
        """The submission's model stays in the mode in which the script evaluates it."""
        return self

    @property
    def blocks(self) -> Any:
        """The model's blocks, for LoRA of the reference's kind."""
        return self.inner.blocks

    @property
    def tok_emb(self) -> Any:
        """The model's embedding, for LoRA of the reference's kind."""
        return self.inner.tok_emb

    @property
    def model_dim(self) -> int:
        """The width of what the head reads, for LoRA of the reference's kind."""
        return int(getattr(self.inner, "model_dim", self.inner.tok_emb.embedding_dim))


def score(
    spec: Mapping[str, Any],
    report: Report,
    model: Any,
    method: str,
    arguments: list[Any],
    keywords: dict[str, Any],
    until: float,
    clock: Callable[[], float],
) -> None:
    """Report every score that the reference can give this model, the plain ones first."""
    os.environ.update(spec["reference_settings"])
    sys.path.insert(0, spec["reference"])
    from reference_pipeline import adaptation, hyperparameters, lora, phased, scoring

    h = hyperparameters.Hyperparameters()
    if not keywords:
        arguments = for_every_position(model, method, arguments, h.vocab_size)
    caller = Caller(method, arguments, keywords, h.vocab_size)
    device = torch.device("cpu")
    text = scoring.ValidationData(h)
    with torch.inference_mode(False), torch.enable_grad():
        submitted = Submitted(model, caller)
        _look_ahead(report, submitted, text, h)
        text.targets = _affordable(submitted, text, h, until, clock)
        wanted: list[tuple[str, Any]] = [("windows", scoring.eval_val), ("sliding window", scoring.eval_val_sliding)]
        if h.document_eval_enabled:
            wanted.append(("documents", scoring.eval_val_documents))
        if h.ttt_enabled:
            wanted.append(("score-first TTT", adaptation.eval_val_ttt))
        if h.lora_ttt_enabled:
            wanted.append(("document LoRA", lora.eval_val_document_lora))
        if h.phased_ttt_enabled:
            wanted.append(("phased TTT", phased.eval_val_phased))
        for name, evaluate in wanted:
            try:
                own = submitted if name in ("windows", "sliding window", "documents") else copy.deepcopy(submitted)
                loss, bpb = evaluate(h, device, text, own)
            except Exception as error:
                words = " ".join(f"{type(error).__name__}: {error}".split())
                report({"kind": "rescore", "event": "not scored", "name": name, "why": words[:300]})
                continue
            report(
                {
                    "kind": "rescore",
                    "event": "score",
                    "name": name,
                    "val_loss": loss,
                    "val_bpb": bpb,
                    "targets": text.targets,
                }
            )


def _affordable(submitted: Submitted, text: Any, h: Any, until: float, clock: Callable[[], float]) -> int:
    """Targets whose exact sliding window can be scored in a third of the time that is left."""
    length = min(h.eval_seq_len, text.targets)
    began = clock()
    with torch.no_grad():
        submitted.forward_logits(text.read(0, length)[None])
    seconds = max(clock() - began, 1e-4)
    windows = max(1, int((until - began) / 3 / seconds))
    return min(text.targets, max(length, windows * h.eval_stride))


def _look_ahead(report: Report, submitted: Submitted, text: Any, h: Any) -> None:
    """How far logits move when later tokens are replaced: 0 for a causal model but for rounding."""
    length = min(h.eval_seq_len, text.targets)
    kept = length // 2
    moved = 0.0
    with torch.no_grad():
        for probe in range(PROBES):
            first = (text.targets - length) * probe // max(1, PROBES - 1)
            x = text.read(first, first + length)[None]
            changed = x.clone()
            changed[0, kept:] = x[0, kept:].flip(0)
            before, after = submitted.forward_logits(x), submitted.forward_logits(changed)
            last = max(0, kept - PROBE_TOKENS)
            moved = max(moved, (before[0, last:kept] - after[0, last:kept]).abs().max().item())
    report({"kind": "rescore", "event": "look ahead", "moved": moved})
