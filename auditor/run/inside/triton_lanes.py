"""Many programs of a Triton kernel at once in Triton's interpreter, which runs them one after another.

A kernel over rows has thousands of programs of a few dozen operations each; interpreted one by one, a submission with
a fused loss takes minutes where its other parts take seconds. Here a value of the interpreter has one more axis, the
first, that counts programs ("lanes"); Triton's own shapes do not know of it. What cannot be done so (a branch that
programs take differently, atomic operations, whatever this module does not name) is noticed before it is done: the
memory is put back as it was before the launch, and that kernel runs program by program from then on.

Programs of one launch must not depend on each other's order on a GPU either, so running them abreast changes nothing
that a kernel may rely on. Sums inside a program are made in another order, which moves their last digits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

LANES = 64  # programs at once: beyond it, time goes into numpy, no longer into the interpreter


class Lanes(np.ndarray):
    """Values of several programs; axis 0 counts these. Arithmetic with other arrays gives Lanes again."""


class Diverged(Exception):  # noqa: N818 - no error: programs part ways
    """Programs do not do the same, or do what is known for one program only."""


def like(inputs: Iterable[np.ndarray], result: Any) -> Any:
    """`result` as Lanes if an input was: numpy functions that return plain arrays forget it."""
    return np.asarray(result).view(Lanes) if any(isinstance(data, Lanes) for data in inputs) else result


def install(interpreter: Any) -> None:
    """Make the interpreter run programs abreast."""
    builder = type(interpreter.interpreter_builder)
    _teach_builder(builder, interpreter)
    _teach_reductions(interpreter)
    _teach_tensors(interpreter)
    executor = interpreter.GridExecutor
    plain_init, plain_host = executor.__init__, executor._init_args_hst

    def init(self: Any, fn: Any, *args: Any, **keywords: Any) -> None:
        plain_init(self, fn, *args, **keywords)
        self.fn = _Abreast(fn, interpreter.interpreter_builder)

    def init_args(self: Any, args: Any, keywords: Any) -> Any:
        host, named = plain_host(self, args, keywords)
        self.fn.begin([*host, *named.values()])
        return host, named

    executor.__init__, executor._init_args_hst = init, init_args


class _Abreast:
    """A kernel's function in place of which the executor calls this one, once for each program."""

    alone: ClassVar[set[Any]] = set()  # kernels that do not run abreast

    def __init__(self, fn: Any, builder: Any) -> None:
        self.fn, self.builder = fn, builder
        self.__signature__ = inspect.signature(fn)
        self.__annotations__ = fn.__annotations__
        self.__globals__ = fn.__globals__
        self.__name__ = fn.__name__

    def begin(self, arguments: Iterable[Any]) -> None:
        """A launch begins with these arguments on the host."""
        self.done = 0  # programs of this launch that were run
        self.arguments = list(arguments)
        self.before: list[tuple[Any, Any]] | None = None  # what they held before the first program

    def __call__(self, **arguments: Any) -> None:
        place = _number(self.builder.grid_idx, self.builder.grid_dim)
        if place < self.done:
            return
        lanes = min(LANES, int(np.prod(self.builder.grid_dim)) - place)
        if lanes == 1 or self.fn in self.alone:
            self.fn(**arguments)
            return
        if self.before is None:
            self.before = _copies(self.arguments)
        self.builder.lanes = range(place, place + lanes)
        try:
            with np.errstate(all="ignore"):
                self.fn(**arguments)
            self.done = place + lanes
        except Exception:  # the same error, if it is the kernel's own, comes again below
            self.builder.lanes = None
            self._one_by_one(place, arguments, self.before)
        finally:
            self.builder.lanes = None

    def _one_by_one(self, place: int, arguments: dict[str, Any], before: list[tuple[Any, Any]]) -> None:
        """Begin the launch again, and run its programs up to `place` singly; the executor calls the others."""
        self.alone.add(self.fn)
        self.done = 0
        for memory, copy in before:
            memory.copy_(copy)
        for number in range(place + 1):
            self.builder.grid_idx = _index(number, self.builder.grid_dim)
            self.fn(**arguments)


def _copies(arguments: Iterable[Any]) -> list[tuple[Any, Any]]:
    """The memory of all tensors among the arguments, and a copy of it."""
    storages = {}
    for argument in arguments:
        tensor = getattr(argument, "base", argument)  # of a descriptor
        if hasattr(tensor, "untyped_storage"):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage
    return [(storage, storage.clone()) for storage in storages.values()]


def _number(index: tuple[int, ...], grid: tuple[int, ...]) -> int:
    return (index[0] * grid[1] + index[1]) * grid[2] + index[2]


def _index(number: int, grid: tuple[int, ...]) -> tuple[int, int, int]:
    return number // (grid[1] * grid[2]), number // grid[2] % grid[1], number % grid[2]


_ELEMENTWISE = frozenset(
    f"create_{name}"
    for name in """
    si_to_fp ui_to_fp fp_to_si fp_to_ui fp_ext fp_trunc int_cast bitcast int_to_ptr ptr_to_int fadd fmul fdiv frem fsub
    mul precise_divf sdiv udiv srem urem add sub shl lshr ashr minsi minui minimumf minnumf maxsi maxui maximumf
    maxnumf icmpSLE icmpSLT icmpSGE icmpSGT icmpULE icmpULT icmpUGE icmpUGT icmpEQ icmpNE fcmpOLT fcmpOGT fcmpOLE
    fcmpOGE fcmpOEQ fcmpONE fcmpULT fcmpUGT fcmpULE fcmpUGE fcmpUEQ fcmpUNE and xor or idiv umulhi clampf select fma
    fabs cos exp exp2 iabs floor ceil log log2 precise_sqrt sqrt sin erf rsqrt addptr dot extern_elementwise
    """.split()
)
_BY_PARTS = frozenset(("create_load", "create_store", "create_get_num_programs", "create_make_range"))


def _teach_builder(builder: Any, interpreter: Any) -> None:
    """What each operation makes of Lanes: the same, the same behind their axis, or Diverged."""
    handle = interpreter.TensorHandle
    builder.lanes = None
    plain = {name: getattr(builder, name) for name in dir(builder) if name.startswith("create_")}
    shaped = {
        "create_splat": lambda arg, ret_ty: _spread(arg, tuple(ret_ty.shape)),
        "create_unsplat": lambda arg: arg.reshape(len(arg), 1),
        "create_broadcast": lambda arg, shape: np.broadcast_to(arg, (len(arg), *shape), subok=True),
        "create_expand_dims": lambda arg, axis: np.expand_dims(arg, axis + 1),
        "create_reshape": lambda arg, shape, allow_reorder=False: arg.reshape(len(arg), *shape),
        "create_trans": lambda arg, perm: np.transpose(arg, (0, *(axis + 1 for axis in perm))),
    }
    for name, method in plain.items():
        if name in _ELEMENTWISE:
            setattr(builder, name, _elementwise(method, handle))
        elif name in shaped:
            setattr(builder, name, _behind_lanes(method, shaped[name], handle, first=name != "create_splat"))
        elif name not in _BY_PARTS:
            setattr(builder, name, _one_program_only(method, handle))
    _teach_memory(builder, plain, interpreter)


def _elementwise(method: Callable[..., Any], handle: Any) -> Callable[..., Any]:
    def made(self: Any, *args: Any, **keywords: Any) -> Any:
        result = method(self, *args, **keywords)
        if self.lanes is not None and not isinstance(result.data, Lanes):
            result.data = like(_data(args, handle), result.data)
        return result

    return made


def _behind_lanes(
    method: Callable[..., Any], of_lanes: Callable[..., Any], handle: Any, first: bool
) -> Callable[..., Any]:
    """`of_lanes` takes the array of Lanes and the other arguments; the handle is the first argument or the last."""

    def made(self: Any, *args: Any) -> Any:
        argument, others = (args[0], args[1:]) if first else (args[-1], args[:-1])
        if not isinstance(argument.data, Lanes):
            return method(self, *args)
        return handle(of_lanes(argument.data, *others), argument.dtype.scalar)

    return made


def _one_program_only(method: Callable[..., Any], handle: Any) -> Callable[..., Any]:
    def made(self: Any, *args: Any, **keywords: Any) -> Any:
        if self.lanes is not None:
            raise Diverged(method.__name__)
        return method(self, *args, **keywords)

    return made


def _spread(data: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A scalar of each lane, (lanes, 1), as a block of `shape` of each."""
    return np.broadcast_to(data.reshape(len(data), *(1 for _ in shape)), (len(data), *shape), subok=True)


def _data(args: Iterable[Any], handle: Any) -> Iterable[np.ndarray]:
    for value in args:
        if isinstance(value, handle):
            yield value.data
        elif isinstance(value, list | tuple):
            yield from _data(value, handle)


def _teach_memory(builder: Any, plain: dict[str, Any], interpreter: Any) -> None:
    """Loads and stores of all lanes at once, and the numbers of their programs."""
    handle, native = interpreter.TensorHandle, interpreter._interpreter

    def program_id(self: Any, axis: int) -> Any:
        if self.lanes is None or self.grid_dim[axis] == 1:
            return plain["create_get_program_id"](self, axis)
        numbers = [_index(number, self.grid_dim)[axis] for number in self.lanes]
        return handle(np.array(numbers, np.int32)[:, None].view(Lanes), interpreter.tl.int32)

    def load(self: Any, ptrs: Any, mask: Any, other: Any, *options: Any, **named: Any) -> Any:
        inputs = [value.data for value in (ptrs, mask, other) if value is not None]
        if not any(isinstance(data, Lanes) for data in inputs):
            return plain["create_masked_load"](self, ptrs, mask, other, *options, **named)
        kind = interpreter._get_np_dtype(ptrs.get_element_ty())
        where, wanted, *rest = map(np.ascontiguousarray, np.broadcast_arrays(*inputs))
        instead = rest[0] if rest else np.zeros(where.shape, kind)
        return handle(native.load(where, wanted, instead, kind).view(Lanes), ptrs.get_element_ty())

    def store(self: Any, ptrs: Any, value: Any, mask: Any, *options: Any, **named: Any) -> Any:
        inputs = [item.data for item in (ptrs, value, mask)]
        if any(isinstance(data, Lanes) for data in inputs):
            inputs = list(map(np.ascontiguousarray, np.broadcast_arrays(*inputs)))
        return native.store(*inputs)

    builder.create_get_program_id = program_id
    builder.create_masked_load = load
    builder.create_masked_store = store


def _teach_reductions(interpreter: Any) -> None:
    """Sums, extremes and running sums along Triton's axes; other combinations need one program."""
    tl, standard = interpreter.tl, interpreter.tl.standard
    reduce_plain, scan_plain = interpreter.ReduceOps.apply_impl, interpreter.ScanOps.apply_impl
    known = {
        standard._sum_combine: (np.sum,),
        standard._elementwise_max: (np.nanmax,),
        standard._elementwise_min: (np.nanmin,),
        standard._argmax_combine_tie_break_left: (np.max, np.argmax),
        standard._argmin_combine_tie_break_left: (np.min, np.argmin),
    }

    def tensor(data: np.ndarray, kind: Any) -> Any:
        shape = list(data.shape[1:])
        data = np.asarray(data, interpreter._get_np_dtype(kind)).reshape(len(data), *(shape or [1]))
        block = tl.block_type(kind, shape) if shape else kind
        return tl.core.tensor(interpreter.TensorHandle(data.view(Lanes), kind.scalar), block)

    def reduce(self: Any, values: Any) -> Any:
        data = values[0].handle.data
        if not isinstance(data, Lanes):
            return reduce_plain(self, values)
        functions = known.get(self.combine_fn)
        if functions is None or (len(functions) == 2 and self.axis is None):
            raise Diverged("a reduction of its own")
        axes = tuple(range(1, data.ndim)) if self.axis is None else self.axis % (data.ndim - 1) + 1
        kinds = (values[0].dtype, tl.int32)
        made = [
            tensor(function(np.asarray(data), axis=axes, keepdims=self.keep_dims), kind)
            for function, kind in zip(functions, kinds, strict=False)
        ]
        return made[0] if len(made) == 1 else tuple(made)

    def scan(self: Any, values: Any) -> Any:
        data = values[0].handle.data
        if not isinstance(data, Lanes):
            return scan_plain(self, values)
        if self.combine_fn != standard._sum_combine or self.reverse:
            raise Diverged("a scan of its own")
        return [tensor(np.cumsum(np.asarray(data), axis=self.axis % (data.ndim - 1) + 1), values[0].dtype)]

    interpreter.ReduceOps.apply_impl = reduce
    interpreter.ScanOps.apply_impl = scan


def _teach_tensors(interpreter: Any) -> None:
    """A branch or a loop's bound is a value that all lanes share, or the programs part here."""
    plain = interpreter._patch_lang_tensor

    def shared(self: Any) -> np.ndarray:
        data = self.handle.data
        if not isinstance(data, Lanes):
            return data  # type: ignore[no-any-return]
        if not (data == data[:1]).all():
            raise Diverged("a branch")
        return np.asarray(data[0])

    def truth(self: Any) -> bool:
        data = shared(self)
        return bool(data) if data.size == 1 else True  # as the interpreter does with blocks

    def patch(tensor: Any, scope: Any) -> None:
        plain(tensor, scope)
        transposed = tensor.T

        def turned(self: Any) -> Any:
            if isinstance(self.handle.data, Lanes):
                raise Diverged("T")
            return transposed.fget(self)

        scope.set_attr(tensor, "__index__", lambda self: int(shared(self).squeeze()))
        scope.set_attr(tensor, "__bool__", truth)
        scope.set_attr(tensor, "T", property(turned))

    interpreter._patch_lang_tensor = patch
