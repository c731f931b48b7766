"""Packages that this machine may lack: loggers do nothing, downloads say clearly that there is no network.

A package that changes what is computed is never replaced by something that computes nothing.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Any

from . import imports
from .usage import forbidden, used


class _Anything:
    """Takes every call and attribute and does nothing: for loggers."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything()

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return _Anything()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *failure: object) -> None:
        return None

    def __setitem__(self, key: object, value: object) -> None:
        return None

    def __getitem__(self, key: object) -> Any:
        return _Anything()

    def __bool__(self) -> bool:
        return False


def _fill_logger(module: types.ModuleType) -> None:
    used(module.__name__.partition(".")[0])
    for name in ("init", "log", "watch", "finish", "save", "define_metric", "Table", "SummaryWriter", "Experiment"):
        setattr(module, name, _Anything())
    module.run = None  # type: ignore[attr-defined]
    module.config = _Anything()  # type: ignore[attr-defined]
    module.__getattr__ = lambda name: _Anything() if not name.startswith("__") else _missing(name)  # type: ignore[method-assign,assignment]


def _missing(name: str) -> Any:
    raise AttributeError(name)


def _download(what: str) -> Any:
    def refuse(*args: Any, **keywords: Any) -> Any:
        target = next((str(value) for value in (*args, *keywords.values()) if isinstance(value, str)), "")
        forbidden(f"download by {what}({target!r})")
        raise OSError(f"no network: {what}({target!r}) cannot download during an audit")

    return refuse


def _fill_hub(module: types.ModuleType) -> None:
    for name in ("hf_hub_download", "snapshot_download", "login", "list_repo_files", "upload_file", "upload_folder"):
        setattr(module, name, _download(f"huggingface_hub.{name}"))
    module.HfApi = _download("huggingface_hub.HfApi")  # type: ignore[attr-defined]
    module.HfFileSystem = _download("huggingface_hub.HfFileSystem")  # type: ignore[attr-defined]


def _fill_datasets(module: types.ModuleType) -> None:
    for name in ("load_dataset", "load_from_disk", "load_dataset_builder"):
        setattr(module, name, _download(f"datasets.{name}"))


class _Bar:
    """tqdm's iterator without its bar."""

    def __init__(self, iterable: Iterable[Any] | None = None, *args: Any, **keywords: Any) -> None:
        self._iterable = iterable if iterable is not None else ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._iterable)

    def __len__(self) -> int:
        return len(self._iterable)  # type: ignore[arg-type]

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *failure: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **keywords: None

    @staticmethod
    def write(text: str = "", *args: Any, **keywords: Any) -> None:
        """Prints, as tqdm's does."""
        print(text)


def _fill_bars(module: types.ModuleType) -> None:
    module.tqdm = _Bar  # type: ignore[attr-defined]
    module.trange = lambda *args, **keywords: _Bar(range(*args))  # type: ignore[attr-defined]


def install() -> None:
    """Register them; each takes effect only where the real package is not installed."""
    for name in ("wandb", "comet_ml", "mlflow", "neptune", "torch.utils.tensorboard", "tensorboardX"):
        imports.supply(name, _fill_logger, even_if_installed=name.startswith("torch."))
    imports.supply("huggingface_hub", _fill_hub)
    imports.supply("datasets", _fill_datasets)
    for name in ("tqdm", "tqdm.auto"):
        imports.supply(name, _fill_bars)
