"""Imported by every python process that a submitted script starts: the stand-ins follow when it imports torch."""

import importlib.abc
import importlib.util
import json
import os
import sys
from pathlib import Path

_SPEC = os.environ.get("PGOLF_CHILD_SPEC")


class _ThenStandIns(importlib.abc.Loader):
    """torch's own loader; the stand-ins are installed when it is done."""

    def __init__(self, loader):  # type: ignore[no-untyped-def]
        self._loader = loader

    def create_module(self, spec):  # type: ignore[no-untyped-def]
        return self._loader.create_module(spec)

    def exec_module(self, module):  # type: ignore[no-untyped-def]
        self._loader.exec_module(module)
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        import start

        del sys.path[0], sys.modules["start"]
        start.load_package()
        start.prepare(json.loads(_SPEC or "{}"))

    def __getattr__(self, name):  # type: ignore[no-untyped-def]
        return getattr(self._loader, name)


class _WhenTorchIsImported(importlib.abc.MetaPathFinder):
    """Has the stand-ins installed by the first import of torch, or of a module that has one, and is gone then."""

    def find_spec(self, name, path, target=None):  # type: ignore[no-untyped-def]
        if name not in ("torch", "triton", "flash_attn_interface", "flash_attn", "kernels", "wandb"):
            return None
        if name != "torch":
            import torch  # noqa: F401 - brings the stand-ins

            return importlib.util.find_spec(name)
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenStandIns(spec.loader)
        return spec


if _SPEC:
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).resolve().parent)]
    sys.meta_path.insert(0, _WhenTorchIsImported())
