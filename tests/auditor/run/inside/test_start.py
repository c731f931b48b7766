"""The script runs as it would by itself: as __main__, with its own arguments, errors and exit code."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_script_is_the_main_module(passes: Run) -> None:
    passes(
        """
        import pickle, sys
        from pathlib import Path
        import neighbour

        assert __name__ == "__main__" and sys.modules["__main__"].__dict__ is globals()
        assert sys.argv == ["train_gpt.py", "--steps", "3"]
        assert Path(__file__).read_text().startswith("\\nimport pickle") and Path(__file__).is_absolute()
        assert sys.path[0] == str(Path(__file__).parent)
        assert not any("inside" in entry for entry in sys.path)
        assert neighbour.VALUE == 7

        class Thing:
            pass

        assert isinstance(pickle.loads(pickle.dumps(Thing())), Thing)
        """,
        files={"neighbour.py": "VALUE = 7\n"},
        argv=["--steps", 3],
    )


@pytest.mark.parametrize(
    ("text", "code", "printed"),
    [
        ("import sys; sys.exit(5)", 5, ""),
        ("raise SystemExit", 0, ""),
        ("import sys; sys.exit('it went wrong')", 1, "it went wrong"),
        ("x = 1\nassert x == 2, 'no'", 1, "AssertionError: no"),
        ("import os; os._exit(4)", 4, ""),
        ("def broken(:\n  pass", 1, "SyntaxError"),
    ],
)
def test_it_ends_as_it_would_by_itself(run_script: Run, text: str, code: int, printed: str) -> None:
    done = run_script(text)
    assert done.returncode == code, done.stderr
    assert printed in done.stderr


def test_a_traceback_begins_in_the_script(run_script: Run) -> None:
    done = run_script("def inner():\n    return 1 / 0\ninner()\n")
    assert "train_gpt.py" in done.stderr.splitlines()[1]
    assert "return 1 / 0" in done.stderr
    assert "start.py" not in done.stderr
    assert run_script("def broken(:\n").stderr.splitlines()[0].endswith('train_gpt.py", line 1')


def test_two_runs_print_the_same(run_script: Run) -> None:
    text = """
        import random, time
        import numpy as np
        import torch

        print({f"name {i}" for i in range(20)}, random.random(), np.random.rand(), torch.rand(2, device="cuda"))
        began = time.time()
        for _ in range(5):
            torch.cuda.synchronize()
        print(time.time() - began, time.perf_counter(), hash("word"))
        """
    first, second = run_script(text), run_script(text)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout != ""
    assert run_script(text, seed=2).stdout != first.stdout


def test_stand_ins_can_be_left_out_one_by_one(passes: Run) -> None:
    passes(
        """
        import time
        import torch

        assert torch.cuda.is_available() is torch.backends.cuda.is_built() is True
        assert torch.zeros(1, device="cuda").is_cuda
        first, second = time.perf_counter(), time.perf_counter()
        assert second - first < 1e-3, "this is a real clock"
        assert torch.compile(len) is len
        """,
        standins=["device", "cuda", "compile"],
    )


def test_a_module_beside_the_script_is_the_scripts_own(passes: Run) -> None:
    passes(
        """
        from flash_attn_interface import flash_attn_func

        assert flash_attn_func(1, 2, 3) == "its own"
        """,
        files={"flash_attn_interface.py": "def flash_attn_func(q, k, v):\n    return 'its own'\n"},
    )


def test_files_of_the_folder_shadow_nothing_before_the_script_begins(passes: Run) -> None:
    """Forbidden: a submission that is executed earlier than its script, by a name that the auditor's code imports."""
    hostile = "import os\nprint('shadowed', __name__, flush=True)\nos._exit(9)\n"
    names = ("json", "inside", "start", "sitecustomize", "usercustomize", "numpy", "importlib", "types", "usage")
    done = passes("print('the script')\n", files={f"{name}.py": hostile for name in names})
    assert done.stdout == "the script\n"
