"""Which Python files of a folder are read with the script: those it can load, not its former versions."""

from __future__ import annotations

import pytest

from auditor.source import _reachable
from auditor.submission.model import SourceText


def source(path: str, text: str = "", **more: str) -> SourceText:
    return SourceText(path, text, "", **more)


FOLDER = (
    source("model.py", "import layers"),
    source("layers.py"),
    source("train_v1.py", "import old"),
    source("old.py"),
)


def paths(script: str, **more: str) -> list[str]:
    return [helper.path for helper in _reachable(source("train_gpt.py", script, **more), FOLDER)]


def test_modules_are_followed_and_former_versions_left_out() -> None:
    assert paths("from model import GPT\n") == ["model.py", "layers.py"]
    assert paths("print(1)\n") == []


def test_a_wrapper_may_load_what_its_payload_does_not_name() -> None:
    assert paths("print(1)\n", wrapper="import old\nprint('payload')\n") == ["old.py"]


@pytest.mark.parametrize(
    "loading",
    [
        "importlib.import_module(name)",
        "exec(open(name).read())",
        "runpy.run_path(name)",
        "spec_from_file_location(a, b)",
    ],
)
def test_where_names_are_put_together_nothing_is_left_out(loading: str) -> None:
    assert paths(f"{loading}\n") == [helper.path for helper in FOLDER]


def test_compiling_a_model_loads_no_code() -> None:
    assert paths("model = torch.compile(net)\nmodel.eval()\nvalue = x.exec(1)\n") == ["model.py", "layers.py"]
