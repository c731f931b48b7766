"""Names that belong to Python and to the libraries training scripts use: attributes, methods, keyword arguments.

A script's own attribute may share its name with a library's (`weight`, `step`, `bias`). Without running the script
nobody can tell whose `x.weight` is, so such names are never renamed. ``python -m benchmarks.renaming.library_names``
writes the list; it needs torch, numpy and sentencepiece, readers of the list do not.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("library_names.json")
_STANDARD = """
argparse base64 bz2 collections contextlib copy ctypes dataclasses datetime enum functools glob gzip hashlib heapq
inspect io itertools json logging lzma math multiprocessing os pathlib pickle queue random re shutil socket statistics
string struct subprocess sys tempfile threading time types typing urllib.request uuid zlib
"""
_LIBRARIES = """
numpy numpy.random numpy.linalg sentencepiece torch torch.nn torch.nn.functional torch.nn.init torch.nn.utils
torch.nn.parallel torch.optim torch.optim.lr_scheduler torch.distributed torch.utils.data torch.utils.checkpoint
torch.utils.cpp_extension torch.cuda torch.backends torch.backends.cuda torch.backends.cudnn torch.linalg torch.fft
torch.special torch.autograd torch.func torch.compiler torch.amp torch._dynamo.config torch._inductor.config
"""
# Attributes that exist on instances only, and names of packages that are rarely installed.
_INSTANCES = """
argtypes restype contents n_vocab eot_token encode_ordinary total_memory multi_processor_count major minor gcnArchName
num_warps num_stages BLOCK_SIZE causal window_size softmax_scale ks
"""
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_KEYWORD = re.compile(r"[(,]\s*\*?\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?::[^=,()]*)?=")


@dataclass(frozen=True, slots=True)
class LibraryNames:
    """`attributes`: of modules, classes and instances. `keywords`: of their functions and constructors."""

    attributes: frozenset[str]
    keywords: frozenset[str]


@cache
def library_names() -> LibraryNames:
    """The list as stored, completed with what the running Python's built-in types know."""
    stored = json.loads(DATA.read_text(encoding="utf-8"))
    own = {name for kind in (str, bytes, list, dict, set, tuple, int, float, type, object) for name in dir(kind)}
    return LibraryNames(frozenset(stored["attributes"]) | own, frozenset(stored["keywords"]))


def collect(modules: Iterable[Any], instances: Iterable[Any]) -> dict[str, list[str]]:
    """Attributes of `instances` and of the classes in `modules`, and the keywords of what can be called there.

    A module's own members are left out: a script reaches them through an imported name, which is never renamed.
    """
    attributes: set[str] = set(_INSTANCES.split())
    keywords: set[str] = set()
    for instance in instances:
        attributes.update(dir(instance))
    for module in modules:
        for name, member in list(vars(module).items()):
            if name.startswith("__"):
                continue
            keywords.update(_keywords(member))
            if inspect.isclass(member):
                attributes.update(dir(member))
                for method in vars(member).values():
                    keywords.update(_keywords(method))
    return {"attributes": sorted(filter(_useful, attributes)), "keywords": sorted(filter(_useful, keywords))}


def _useful(name: str) -> bool:
    return bool(_WORD.match(name)) and not name.startswith("__")


def _keywords(member: Any) -> set[str]:
    """Parameter names of a function; of a built-in, those that its documentation gives a default."""
    if not callable(member):
        return set()
    found: set[str] = set()
    with suppress(TypeError, ValueError):
        found.update(inspect.signature(member).parameters)
    documentation = getattr(member, "__doc__", None)
    if isinstance(documentation, str):
        found.update(_KEYWORD.findall(documentation.lstrip().split("\n\n")[0][:600]))
    return found


def _instances() -> list[Any]:
    import numpy as np

    torch: Any = importlib.import_module("torch")  # not a dependency of the benchmarks
    nn = torch.nn

    linear, weight = nn.Linear(2, 2), nn.Parameter(torch.zeros(2, 2))
    scheduler = torch.optim.AdamW([weight])
    layers = [nn.Embedding(2, 2), nn.LayerNorm(2), nn.RMSNorm(2), nn.Conv1d(1, 1, 1), nn.GRU(2, 2), nn.Dropout()]
    layers += [nn.MultiheadAttention(2, 1), nn.ModuleList(), nn.ParameterList(), nn.Sequential(linear), nn.Identity()]
    tensors = [weight, np.zeros(1), np.float32(0), np.random.default_rng(0), np.dtype("u2"), torch.Generator()]
    return [linear, *layers, *tensors, scheduler, torch.optim.SGD([weight], lr=0.1), re.compile(""), Path()]


def main() -> int:
    """Write the list next to this module."""
    modules = [importlib.import_module(name) for name in (_STANDARD + _LIBRARIES).split()]
    DATA.write_text(json.dumps(collect(modules, _instances()), indent=0) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
