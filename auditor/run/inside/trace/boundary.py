"""Where values enter and leave torch, files are opened, threads start and lines are printed.

Everything put in place here is taken back by `Boundary.close` (an audit hook cannot be: it then does nothing).
"""

from __future__ import annotations

import functools
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch

try:
    from ..imports import after_import
except ImportError:  # the package stands alone
    after_import = None  # type: ignore[assignment]
from .contents import Contents, tensors_in
from .history import FOREIGN_BIT
from .numbers import FORMATTED, LossFloat
from .places import here, is_submission
from .shadow import Losses, Shadow, joined, put, shadow_of
from .tracer import Mode, Tracer

FEWEST = 64  # elements of an array of unknown origin that could carry a predictor
_NUMBER = re.compile(r"\d+\.\d{2,12}")
_FIGURES = re.compile(r"[\d.,:]+")
MOST_NUMBERS = 24
MOST_OF_A_SHAPE = 12  # lines of one form whose numbers are compared with every sum: the rest are progress
MOST_LINE = 2000
MOST_FITTING = 64  # sums of losses that a printed number is compared with in earnest


class Boundary:
    """All patches of one traced run."""

    def __init__(self, tracer: Tracer, files: Mapping[str, str]) -> None:
        self.tracer = tracer
        self.contents = Contents()
        self._files = {os.path.realpath(path): role for path, role in files.items()}
        self._written: set[str] = set()
        self._undo: list[tuple[Any, str, Any]] = []
        self._open = True
        self._local = threading.local()
        self._artifact_read = False
        self._shapes: dict[tuple[Any, ...], int] = {}

    def install(self) -> None:
        """Put everything in place, the dispatch mode in this thread included."""
        tracer = self.tracer
        for name in ("from_numpy", "tensor", "as_tensor", "frombuffer", "from_file", "asarray"):
            self._wrap(torch, name, self._entering)
        for name in ("numpy", "__array__"):
            self._wrap(torch.Tensor, name, self._to_numpy)
        self._wrap(torch.Tensor, "tolist", self._to_list)
        self._wrap(torch.Tensor, "item", self._item)
        self._wrap(torch, "save", self._saving)
        self._wrap(torch, "load", self._loading)
        self._wrap(torch.storage.UntypedStorage, "clone", self._storage_clone)
        self._wrap(torch.optim.Optimizer, "add_param_group", self._group)
        self._wrap(torch.nn.Module, "__init__", self._module)
        self._wrap(threading.Thread, "_bootstrap_inner", self._thread)
        self._set(sys, "stdout", Printed(sys.stdout, self._line))
        sys.addaudithook(self._audited)
        if after_import is not None:
            after_import("triton", self._triton)
        self.mode = Mode(tracer)
        self.mode.__enter__()

    def close(self) -> None:
        """Take everything back."""
        if not self._open:
            return
        self._open = False
        FORMATTED.active = False
        self.mode.__exit__(None, None, None)
        printed = sys.stdout
        if isinstance(printed, Printed):
            printed.end()
        for place, name, value in reversed(self._undo):
            if value is _MISSING:
                delattr(place, name)
            else:
                setattr(place, name, value)

    # --- patching ---

    def _set(self, place: Any, name: str, value: Any) -> None:
        own = vars(place).get(name, _MISSING) if not isinstance(place, type(sys)) else getattr(place, name)
        self._undo.append((place, name, own))
        setattr(place, name, value)

    def _wrap(self, place: Any, name: str, follow: Callable[..., Any]) -> None:
        original = getattr(place, name, None)
        if original is None:
            return

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return follow(original, args, kwargs)

        self._set(place, name, wrapper)

    def _safely(self, where: str, follow: Callable[..., Any], *args: Any) -> Any:
        """Bookkeeping never breaks the script, and what it calls itself is not followed."""
        if getattr(self._local, "busy", False) or not self._open:
            return None
        self._local.busy = True
        try:
            with torch.utils._python_dispatch._disable_current_modes():
                return follow(*args)
        except Exception as error:
            self.tracer.failed(where, error)
            return None
        finally:
            self._local.busy = False

    # --- into torch ---

    def _entering(self, original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.device.type == "cpu" and result.numel() >= 8:
            self._safely("an array entering torch", self._entered, result)
        return result

    def _entered(self, tensor: torch.Tensor) -> None:
        known = shadow_of(tensor)
        if known is not None and known.tags is not None:
            return
        if not tensor.is_floating_point():
            self.tracer.recognize(tensor)
            known = shadow_of(tensor)
            if known is not None and known.tags is not None:
                return
        back = self.contents.recall(tensor)
        if back is not None:
            put(tensor, joined(known, back))
            return
        if tensor.numel() < FEWEST:
            return
        perhaps = 0
        if self._artifact_read and self.contents.gone is not None:
            perhaps |= self.contents.gone.perhaps
        if self.tracer.tokens_left and tensor.is_floating_point() and not self.contents.known(tensor):
            perhaps |= FOREIGN_BIT
        if perhaps:
            put(tensor, joined(known, Shadow(perhaps=perhaps)))

    # --- out of torch ---

    def _to_numpy(self, original: Any, args: Any, kwargs: Any) -> Any:
        self._safely("a tensor becoming an array", self._left, args[0])
        return original(*args, **kwargs)

    def _left(self, tensor: torch.Tensor) -> None:
        shadow = shadow_of(tensor)
        if shadow is None:
            if tensor.numel() >= FEWEST and (tensor.is_floating_point() or tensor.element_size() == 1):
                self.contents.remember(tensor, None)
            return
        if shadow.tags is not None and not tensor.is_floating_point():
            if self._by_submission():
                self.tracer.token_left("a numpy array")
            return
        losses = self.tracer.losses_of(tensor, shadow)
        if losses is not None:
            self._values_left(tensor, losses)
        elif not shadow.inputs:
            self.contents.remember(tensor, shadow)
            self._exported(self.tracer.history.learned_positions(shadow))
        elif tensor.is_floating_point() and self._by_submission():
            site, calls = here(3)
            self.tracer.teller.left("predictions as a numpy array", site, calls, self.tracer.history.tick())

    @staticmethod
    def _by_submission() -> bool:
        frame = sys._getframe(1)
        for _ in range(8):
            if frame is None:
                return False
            if is_submission(frame.f_code.co_filename):
                return True
            frame = frame.f_back  # type: ignore[assignment]
        return False

    def _values_left(self, tensor: torch.Tensor, losses: Losses) -> None:
        site, calls = here(3)
        self.tracer.teller.left("losses as a numpy array", site, calls, self.tracer.history.tick())
        values = tensor.detach().double().reshape(-1)
        self.tracer.numbers.setdefault(site, []).append((float(values.sum()), losses))

    def _to_list(self, original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        tensor = args[0]
        losses = self._safely("a tensor becoming a list", self._listed, tensor)
        if isinstance(losses, Losses) and isinstance(result, list) and tensor.dim() == 1:
            tags = losses.tags()
            if len(tags) == len(result):
                return [LossFloat(value, Losses([tags[i : i + 1]], 1)) for i, value in enumerate(result)]
            return [LossFloat(value, losses) for value in result]
        return result

    def _listed(self, tensor: torch.Tensor) -> Losses | None:
        shadow = shadow_of(tensor)
        if shadow is None:
            return None
        if shadow.tags is not None and not tensor.is_floating_point():
            self.tracer.token_left("a list")
            return None
        return self.tracer.losses_of(tensor, shadow)

    def _item(self, original: Any, args: Any, kwargs: Any) -> Any:
        value = original(*args, **kwargs)
        if type(value) is float:
            losses = self._safely("a tensor becoming a number", self.tracer.losses_of, args[0])
            if losses is not None:
                return LossFloat(value, losses)
        return value

    def _saving(self, original: Any, args: Any, kwargs: Any) -> Any:
        if args:
            self._safely("torch.save", self._saved, args[0])
            if len(args) > 1 and isinstance(args[1], (str, os.PathLike)):  # written by C++, unseen by audit hooks
                self._written.add(os.path.realpath(os.fspath(args[1])))
        return original(*args, **kwargs)

    def _saved(self, value: Any) -> None:
        bits = 0
        for item in tensors_in(value):
            shadow = shadow_of(item) if isinstance(item, torch.Tensor) else getattr(item, "_seen", None)
            self.contents.remember(item, shadow)
            if shadow is not None:
                bits |= self.tracer.history.learned_positions(shadow)
        self._exported(bits)

    def _exported(self, bits: int) -> None:
        if bits:
            site, calls = here(4)
            self.tracer.teller.export(bits, site, calls, self.tracer.history.tick())

    def _loading(self, original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        path = args[0] if args else None
        if isinstance(path, (str, os.PathLike)) and os.path.realpath(os.fspath(path)) in self._written:
            self._artifact_read = True
        self._safely("torch.load", self._loaded, result)
        return result

    def _loaded(self, value: Any) -> None:
        for item in tensors_in(value):
            shadow = self.contents.recall(item)
            if shadow is None:
                if isinstance(item, torch.Tensor):
                    self.tracer.recognize(item)
                continue
            if isinstance(item, torch.Tensor):
                put(item, joined(shadow_of(item), shadow))
            else:
                item._seen = shadow

    def _storage_clone(self, original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        seen = getattr(args[0], "_seen", None)
        if seen is not None:
            result._seen = seen
        return result

    def _triton(self, module: Any) -> None:
        """Kernels that Triton interprets write memory past the dispatcher."""
        import triton.runtime.interpreter as interpreter

        if self._open:
            self._wrap(interpreter.GridExecutor, "__call__", self._kernel)

    def _kernel(self, original: Any, args: Any, kwargs: Any) -> Any:
        before = self._safely("a Triton kernel", self._before_kernel, (*args[1:], *kwargs.values()))
        result = original(*args, **kwargs)
        if before:
            self._safely("a Triton kernel", self._after_kernel, before)
        return result

    def _before_kernel(self, values: tuple[Any, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        found = tensors_in([getattr(value, "base", value) for value in values])
        tensors = [item for item in found if isinstance(item, torch.Tensor)]
        if all(shadow_of(tensor) is None for tensor in tensors):
            return []
        return [(tensor, tensor.detach().clone()) for tensor in tensors]

    def _after_kernel(self, before: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """What a kernel changed depends on everything that it was given."""
        total: Shadow | None = None
        for tensor, _ in before:
            shadow = shadow_of(tensor)
            total = joined(total, shadow.plain() if shadow is not None else None)
            if shadow is not None and shadow.tags is not None and not tensor.is_floating_point():
                self.tracer.token_left("a Triton kernel's argument")
        for tensor, old in before:
            if total is not None and not torch.equal(tensor.detach(), old):
                put(tensor, joined(shadow_of(tensor), total))

    # --- lasting tensors, threads ---

    def _group(self, original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        group = args[1] if len(args) > 1 else kwargs.get("param_group")
        if isinstance(group, dict):
            self._safely("an optimizer", self.tracer.subjects.optimizer_group, group)
        return result

    def _module(self, original: Any, args: Any, kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if args:
            self.tracer.subjects.modules.add(args[0])
        return result

    def _thread(self, original: Any, args: Any, kwargs: Any) -> Any:
        if not self._open:
            return original(*args, **kwargs)
        with Mode(self.tracer):
            return original(*args, **kwargs)

    # --- files and lines ---

    def _audited(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._open or event != "open":
            return
        try:
            self._opened(*args[:3])
        except Exception as error:
            self.tracer.failed("an opened file", error)

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int) or path is None:
            return
        name = os.fsdecode(path)
        if name.startswith(("/proc", "/sys", "/dev", "/usr", "/lib")) or "/site-packages/" in name:
            return
        writing = (isinstance(mode, str) and any(letter in mode for letter in "wax+")) or (
            isinstance(flags, int) and mode is None and flags & (os.O_WRONLY | os.O_RDWR)
        )
        site, _ = here(3)
        if not site[0]:
            return
        real = os.path.realpath(name)
        role = self._files.get(real, "artifact" if real in self._written else "other")
        if writing:
            self._written.add(real)
        elif role == "artifact":
            self._artifact_read = True
        if role == "other" and (name.endswith((".py", ".pyc", ".so", ".zip")) or "egg-info" in name or not path):
            return
        history = self.tracer.history
        phase = "before scoring" if len(history.calls) == 1 else "after scoring began"
        if self._artifact_read:
            phase += ", artifact read back"
        teller = self.tracer.teller
        teller.read(role, name, "write" if writing else "read", site, phase, history.tick())

    def _line(self, line: str) -> None:
        self._safely("a printed line", self._printed, line)

    def _printed(self, line: str) -> None:
        tracer = self.tracer
        site, calls = here(3)
        order = tracer.history.tick()
        tracer.teller.printed(line, site, calls, order)
        followed = FORMATTED.find(line)
        if followed:
            number, losses = max(followed, key=lambda item: len(item[0]))
            tracer.teller.metric(line, number, "flow", losses, site, calls, order)
            return
        shape = (site, calls[-1:], _FIGURES.sub("", line)[:60])
        self._shapes[shape] = self._shapes.get(shape, 0) + 1
        found = self._by_value(line) if self._shapes[shape] <= MOST_OF_A_SHAPE else None
        if found is not None:
            number, losses, tie = found
            tracer.teller.metric(line, number, tie, losses, site, calls, order)

    def _by_value(self, line: str) -> tuple[str, Losses, str] | None:
        """Losses whose mean is a number in the line, as printed, and how sure that is.

        Where several fit, those are taken that speak most for the script: "any value" when even they were computed
        after learning from their targets, or when none of all were.
        """
        texts = [text for text in _NUMBER.findall(line)[:MOST_NUMBERS] if len(text.partition(".")[2]) >= 3]
        if not texts:
            return None
        fitting: list[tuple[str, Losses]] = []
        for kept in self.tracer.numbers.values():
            for value, losses in _means(kept):
                for text in texts:
                    half = 0.51 * 10.0 ** -len(text.partition(".")[2]) + 1e-7 * abs(value)
                    if abs(float(text) - value) <= half or abs(float(text) - value / math.log(2)) <= half:
                        fitting.append((text, losses))
                        break
        if not fitting:
            return None
        distinct = {(len(tags := item[1].tags()), int(tags.sum())): item for item in fitting[:MOST_FITTING]}
        if len(distinct) == 1 and len(fitting) <= MOST_FITTING:
            return (*fitting[-1], "one value")
        learned = {key: self.tracer.history.learned_before(item[1].tags()) for key, item in distinct.items()}
        whole = self.tracer.stream.length - 1
        best = min(learned, key=lambda key: (learned[key], abs(key[0] - whole)))
        agreed = learned[best][0] > 0 or not any(sum(counts) for counts in learned.values())
        sure = agreed and len(fitting) <= MOST_FITTING
        return (*distinct[best], "any value" if sure else "value")


def _means(kept: list[tuple[float, Losses]]) -> list[tuple[float, Losses]]:
    """Means that could have been printed: of single numbers, of all numbers, as sums or as means already."""
    counts = [sum(len(part) for part in losses.parts[: losses.count]) for _, losses in kept[-2000:]]
    found = []
    for (value, losses), count in zip(kept[-2000:], counts, strict=True):
        found.append((value, losses))
        if count > 1:
            found.append((value / count, losses))
    if 1 < len(kept) <= 2000:
        total = sum(counts)
        parts = [part for _, item in kept for part in item.parts[: item.count]]
        every = Losses(parts, len(parts), any(x.coarse for _, x in kept), any(x.mixed for _, x in kept))
        if total:
            found.append((sum(number for number, _ in kept) / total, every))
            found.append((sum(number * n for (number, _), n in zip(kept, counts, strict=True)) / total, every))
        found.append((sum(number for number, _ in kept) / len(kept), every))
    return found


class Printed:
    """stdout as the script has it; each complete line with a digit is also looked at."""

    def __init__(self, stream: Any, line: Callable[[str], None]) -> None:
        self._stream = stream
        self._line = line
        self._rest = ""

    def write(self, text: str) -> Any:
        """Write through, then look."""
        result = self._stream.write(text)
        self._rest += text
        if "\n" in self._rest or len(self._rest) > MOST_LINE:
            *lines, self._rest = self._rest.split("\n")
            if len(self._rest) > MOST_LINE:
                self._rest = ""
            for line in lines:
                if any(character.isdigit() for character in line):
                    self._line(line[:MOST_LINE])
        return result

    def writelines(self, lines: Any) -> None:
        """As a file's."""
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Look at what has no line end."""
        if any(character.isdigit() for character in self._rest):
            self._line(self._rest[:MOST_LINE])
        self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)


_MISSING = object()
__all__ = ["Boundary", "Printed"]
