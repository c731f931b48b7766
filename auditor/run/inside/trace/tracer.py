"""The tracer: a dispatch mode that sees every operator after it ran, and the state that operators change.

It never changes a value. What it fails at, it says (a `blind` record) and goes on.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from . import operators
from .history import ARITHMETIC, GRADIENT, STATISTICS, Applied, History
from .numbers import FORMATTED
from .places import Place, here, is_submission, library_frames
from .shadow import CALL, POSITION, Losses, Shadow, put, shadow_of, tagged, tags_of
from .stream import ValidationStream
from .subjects import Subjects
from .telling import Teller

Report = Callable[[Mapping[str, object]], None]
MOST_NUMBERS = 20_000  # at one place
_COMPOSITE: Any = object()


class Tracer:
    """State of one traced run. Methods are called by the operators and by the boundary, in any thread."""

    def __init__(self, stream: ValidationStream, report: Report) -> None:
        self.stream = stream
        self.history = History(stream)
        self.subjects = Subjects()
        self.teller = Teller(self.history, report)
        self._local = threading.local()
        self._inputs: dict[tuple[int, int], int] = {}
        self._failures: set[str] = set()
        self.numbers: dict[Place, list[tuple[float, Losses]]] = {}
        self.tokens_left = False
        self.masked = False  # the last gradient sent into a loss was zero at every target
        FORMATTED.start(self._compared, self._converted)

    # --- tokens ---

    def recognize(self, tensor: torch.Tensor) -> None:
        """Tag an integer tensor that holds validation tokens, by content."""
        if tensor.numel() < 8 or tensor.is_floating_point() or tensor.dtype == torch.bool or tensor.is_complex():
            return
        if tensor.dtype in (torch.uint16, torch.int16, torch.int32, torch.int64):
            values = tensor.detach().reshape(-1).to(torch.int64).numpy()
            positions = self.stream.identify(values)
            if positions is not None:
                tags = torch.from_numpy(positions).reshape(tensor.shape)
                put(tensor, tagged(tensor, tags, shadow_of(tensor)))

    def tokens_of(self, index: torch.Tensor) -> torch.Tensor | None:
        """Positions of an integer tensor's elements, (its shape) int64 with -1 where unknown; None when all are."""
        shadow = shadow_of(index)
        if shadow is None:
            self.recognize(index)
            shadow = shadow_of(index)
        if shadow is None or shadow.tags is None:
            return None
        tags = tags_of(index, shadow)
        return tags if tags is not None and bool((tags >= 0).any()) else None

    def inputs_of(self, tensor: torch.Tensor, shadow: Shadow, tags: np.ndarray) -> int:
        """A bit for reading these tokens; the same tensor read again is the same reading."""
        if not len(tags):
            return 0
        key = (id(shadow.tags), tensor.storage_offset() * 1_000_003 + tensor.numel())
        known = self._inputs.get(key)
        if known is None:
            known = self.history.new_inputs(tags & POSITION)
            if len(self._inputs) > 512:
                self._inputs.clear()
            self._inputs[key] = known
            self._kept = shadow.tags  # keeps the id from being used again right away
        return known

    def batch_seen(self, index: torch.Tensor) -> None:
        """The shape of the batch that is predicted next, in this thread."""
        self._local.batch = index.shape[0] if index.dim() > 1 else 1

    def _batch(self, target: torch.Tensor) -> int:
        if target.dim() > 1:
            return int(target.shape[0])
        batch = int(getattr(self._local, "batch", 1))
        return batch if batch > 0 and target.numel() % batch == 0 else 1

    # --- scoring and learning ---

    def score_call(self, tags: np.ndarray, target: torch.Tensor, predictions: torch.Tensor) -> int:
        """Losses of known targets are computed. The call's number."""
        site, calls = here(3)
        gradients = torch.is_grad_enabled() and predictions.requires_grad
        return self.history.new_call(tags, self._batch(target), shadow_of(predictions), gradients, site, calls)

    def named(self, tags: torch.Tensor, number: int) -> torch.Tensor:
        """Tags of targets (batch-major) as tags of the losses that call `number` computed for them."""
        rows = self.history.rows_of_call(number)
        if rows == 1:
            return torch.where(tags >= 0, (tags & POSITION) + number * CALL, -1)
        row = (torch.arange(tags.numel()) // (tags.numel() // rows)).reshape(tags.shape)
        return torch.where(tags >= 0, (tags & POSITION) + (row + number) * CALL, -1)

    def with_update(self, base: Shadow, tags: np.ndarray, manner: str, target: torch.Tensor) -> Shadow:
        """`base`, and something learnable from the tokens in `tags` that are not -1."""
        self.masked = not (tags >= 0).any()
        if self.masked:
            return base
        site, calls = here(3)
        bit = self.history.new_update(tags, self._batch(target), manner, site, calls)
        return Shadow(base.inputs, base.learned | bit, base.rows, base.perhaps)

    def wrote(self, target: torch.Tensor, before: Shadow | None, more: Shadow, operator: str) -> None:
        """`target` was changed in place by values with the dependences `more`."""
        more = more.plain()
        known = before or Shadow()
        new = (more.learned | more.rows) & ~(known.learned | known.rows)
        inputs = more.inputs & ~known.inputs
        if not (new or inputs or more.perhaps & ~known.perhaps):
            return
        name = self.subjects.name(target) if new or inputs else None
        learned, rows, perhaps = more.learned, more.rows, more.perhaps
        if name is not None:
            if new:
                self._applied(target, name, new)
            if target.dim() >= 2 and (own := self.history.of_batch.get(target.shape[0])):
                # a tensor with one row a sequence: what it learned from that batch it holds row by row
                learned, rows = learned & ~own, rows | (learned & own)
            if inputs and not more.learned and not (self.masked and self._manner() == GRADIENT):
                perhaps |= self._statistics(name, inputs, operator)
            inputs = 0
        put(
            target,
            Shadow(
                known.inputs | (more.inputs if name is None else 0),
                known.learned | learned,
                known.rows | rows,
                known.perhaps | perhaps,
                known.tags,
                known.sum,
            ),
        )

    def counts_last(self, target: torch.Tensor) -> bool:
        """Whether counts in `target` outlive a batch: it belongs to a module, or was counted into before a score."""
        storage: Any = target.untyped_storage()
        calls = len(self.history.calls)
        began = getattr(storage, "_counted", None)
        if began is None:
            storage._counted = calls
        return (began is not None and began < calls) or self.subjects.name(target) is not None

    def applied_now(self, target: torch.Tensor, shadow: Shadow, manner: str) -> None:
        """The newest update entered a table of counts at once."""
        update = self.history.updates[-1]
        name = self.subjects.name(target) or f"table {tuple(target.shape)}"
        update.applied.append(Applied(update.order, update.site, update.calls, name, manner))

    def _applied(self, target: torch.Tensor, name: str, new: int) -> None:
        """Note where the updates in `new` entered."""
        place: tuple[Place, tuple[Place, ...]] | None = None
        manner = ""
        for update in self.history.members(new):
            if len(update.applied) < 3 and all(item.subject != name for item in update.applied):
                if place is None:
                    place = here(3)
                    manner = self._manner()
                update.applied.append(Applied(self.history.tick(), *place, name, manner))

    def _manner(self) -> str:
        for frame in library_frames(3):
            if frame.f_code.co_name == "step" or "/torch/optim/" in frame.f_code.co_filename:
                return GRADIENT
        frame: Any = sys._getframe(3)
        while frame is not None:
            if frame.f_code.co_name == "step" and is_submission(frame.f_code.co_filename):
                return GRADIENT
            frame = frame.f_back
        return ARITHMETIC

    def _statistics(self, name: str, inputs: int, operator: str) -> int:
        """A lasting tensor took in what was computed from validation inputs: statistics, or a cache."""
        site, calls = here(3)
        positions = self.history.positions_of_inputs(inputs)
        if not positions & self.stream.accusable:
            return 0
        bit = self.history.new_update(np.zeros(0, np.int64), 1, STATISTICS, site, calls, bits=positions)
        update = self.history.updates[-1]
        update.applied.append(Applied(update.order, site, calls, name, STATISTICS))
        return bit

    def selected(self, operator: str, tags: np.ndarray) -> int:
        """One of several losses of the same tokens is kept; `tags` are those of both. The number of the choice."""
        site, calls = here(3)
        choice = self.history.new_choice(tags, site, calls)
        self.teller.selection(operator, tags & POSITION, site, calls, choice.order)
        return choice.number

    def _converted(self, value: float, losses: Losses) -> None:
        site, _ = here(3)
        self._remember(site, value, losses)

    def _remember(self, site: Place, value: float, losses: Losses) -> None:
        kept = self.numbers.setdefault(site, [])
        kept.append((value, losses))
        if len(kept) > MOST_NUMBERS:
            del kept[: MOST_NUMBERS // 2]

    def _compared(self, first: Losses, second: Losses) -> None:
        mine, theirs = first.tags() & POSITION, second.tags() & POSITION
        both = np.intersect1d(mine, theirs)
        if len(both) and 2 * len(both) >= max(len(mine), len(theirs)):
            site, calls = here(3)
            self.teller.comparison(first, second, both, site, calls, self.history.tick())

    @staticmethod
    def in_backward() -> bool:
        """Whether autograd's engine is what called."""
        frame: Any = sys._getframe(2)
        for _ in range(40):
            if frame is None:
                return False
            if frame.f_code.co_name == "_engine_run_backward":
                return True
            frame = frame.f_back
        return False

    # --- what leaves ---

    def number_left(self, tensor: torch.Tensor, shadow: Shadow, value: Any) -> None:
        """`.item()`, `float()` and the like; remembered so that a printed number may be recognized by its value."""
        losses = self.losses_of(tensor, shadow)
        if losses is None:
            if shadow.tags is not None and not tensor.is_floating_point():
                self.token_left("a Python number")
            return
        if isinstance(value, float):
            site, _ = here(3)
            self._remember(site, value, losses)

    def losses_of(self, tensor: torch.Tensor, shadow: Shadow | None = None) -> Losses | None:
        """The losses that a number, or a few, were made of."""
        shadow = shadow or shadow_of(tensor)
        if shadow is None or not tensor.is_floating_point():
            return None
        if shadow.tags is not None:
            tags = tags_of(tensor, shadow)
            if tags is not None:
                flat = tags.reshape(-1).numpy()
                flat = flat[flat > POSITION]
                if len(flat):
                    return Losses([flat.copy()], 1)
        return shadow.sum

    def token_left(self, how: str) -> None:
        """Tokens became something that is not followed. Their identity survives, what is made of them does not."""
        self.tokens_left = True
        site, calls = here(3)
        self.teller.left(how, site, calls, self.history.tick())

    def failed(self, where: str, error: BaseException) -> None:
        """The tracer's own failure: said once per place."""
        key = f"{where}: {type(error).__name__}"
        if key not in self._failures and len(self._failures) < 50:
            self._failures.add(key)
            site, _ = here(2)
            self.teller.blind(f"the tracer lost sight in {where} ({type(error).__name__}: {str(error)[:120]})", site)


class Mode(TorchDispatchMode):
    """Pushed in every thread; all of them tell one tracer."""

    supports_higher_order_operators = True

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer
        self._known: dict[Any, tuple[Callable[..., Any], Any]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and guarding against it costs as much as the rest

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        known = self._known.get(func)
        if known is None:
            known = self._known[func] = self._choose(func)
        call, follow = known
        if follow is _COMPOSITE:
            with self:
                return func.decompose(*args, **(kwargs or {}))
        out = call(*args, **kwargs) if kwargs else call(*args)
        if follow is not None:
            try:
                follow(self._tracer, func, args, kwargs or {}, out)
            except Exception as error:
                self._tracer.failed(str(func), error)
        return out

    def _choose(self, func: Any) -> tuple[Callable[..., Any], Any]:
        """How to call an operator, and what to do after it."""
        if not isinstance(func, torch._ops.OpOverload):
            return func, operators.spread_all
        follow: Any = None
        try:
            # only inference mode hands composite operators over in one piece
            composite = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")
            follow = _COMPOSITE if composite else operators.choose(func)
        except Exception as error:
            self._tracer.failed(str(func), error)
        return func._op, follow


__all__ = ["Mode", "Tracer"]
