"""Bundling and packing: the script alone does what the package does, and the folder says what the logs say."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from reference_pipeline import packing
from reference_pipeline.__main__ import run
from reference_pipeline.bundling import bundle
from reference_pipeline.errors import PipelineError
from reference_pipeline.examples import RECIPES
from reference_pipeline.packing import Recipe, pack_submission, read_run, replace_folder
from reference_pipeline.shards import write_atomically

SMALL = {
    "NUM_LAYERS": "2", "MODEL_DIM": "32", "NUM_HEADS": "2", "NUM_KV_HEADS": "1", "BIGRAM_BUCKETS": "64",
    "LOOP_START": "1", "LOOP_END": "1", "PARALLEL_START": "1", "ITERATIONS": "4", "TRAIN_BATCH_TOKENS": "256",
    "TRAIN_SEQ_LEN": "32", "EVAL_SEQ_LEN": "32", "EVAL_STRIDE": "16", "TORCH_THREADS": "1",
    "GPTQ_CALIBRATION_BATCHES": "1",
}  # fmt: skip
DATA = {"vocab_size": 300, "train_bytes": 30_000, "val_bytes": 1_500}


def write_package(root: Path, **modules: str) -> None:
    (root / "reference_pipeline").mkdir()
    for name, text in modules.items():
        (root / "reference_pipeline" / f"{name}.py").write_text(text)


def test_bundle_takes_what_main_needs_and_nothing_else(tmp_path):
    write_package(
        tmp_path,
        base='"""Doc."""\nimport os\nimport json\nLIMIT = 3\n\ndef unused():\n    return json\n\n'
        'def helper(x):\n    """Doc."""\n    # shape (N,)\n    return x * LIMIT\n',
        entry="from reference_pipeline.base import helper\n\n"
        'def main():\n    """Doc."""\n    print(helper(2))\n\nif __name__ == "__main__":\n    main()\n',
    )
    text = bundle("reference_pipeline.entry", tmp_path)
    assert "unused" not in text
    assert "json" not in text
    assert "Doc." not in text
    assert "# shape (N,)" in text
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "6\n"


@pytest.mark.parametrize(
    ("base", "entry", "told"),
    [
        (
            "def f(): return g()\ndef g(): pass\n",
            "from reference_pipeline.base import f\ndef g(): pass\ndef main(): f(); g()\n",
            "both define g",
        ),
        ("def f(): pass\n", "from reference_pipeline.base import f as h\ndef main(): h()\n", "cannot rename f"),
        ("", "def start(): pass\n", "no function main"),
    ],
)  # fmt: skip
def test_bundle_refuses_what_it_would_have_to_guess(tmp_path, base, entry, told):
    write_package(tmp_path, base=base, entry=entry)
    with pytest.raises(PipelineError, match=told):
        bundle("reference_pipeline.entry", tmp_path)


@pytest.mark.parametrize("entry", sorted({recipe.entry for recipe in RECIPES}))
def test_every_bundle_stands_alone_and_betrays_nothing(entry):
    text = bundle(entry)
    tree = ast.parse(text)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any("reference_pipeline" in name for name in imported)
    assert "VIOLAT" not in text.upper()
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(names) == len(set(names))
    assert "main" in names


EVERY_OPTION = next(recipe for recipe in RECIPES if recipe.name == "legal_every_option").environment


@pytest.mark.parametrize(
    ("label", "settings"),
    [
        ("quantized_sliding_window", SMALL),
        ("quantized_slot_causal", EVERY_OPTION | SMALL | {"EMBEDDING_DIM": "24", "SLOT_CAUSAL": "1"}),
    ],
    ids=["plain", "every_option"],
)
def test_packed_folder_repeats_its_own_scores(tmp_path, label, settings):
    """The bundled script, run again alone in an empty folder with the README's command, prints the same digits."""
    recipe = Recipe("x", "Small", "reference_pipeline.pipeline", label, "Text.", settings, DATA)
    runs = pack_submission(recipe, tmp_path / "folder", (1, 2), tmp_path / "data")
    folder = tmp_path / "folder"
    claim = json.loads((folder / "submission.json").read_text())
    assert claim["val_bpb"] == pytest.approx((runs[0].val_bpb + runs[1].val_bpb) / 2, abs=1e-8)
    assert runs[0].val_bpb != runs[1].val_bpb
    assert runs[0].code_bytes == (folder / "train_gpt.py").stat().st_size
    assert runs[0].total_bytes == runs[0].code_bytes + (folder / "final_model.int6.ptz").stat().st_size
    log = (folder / "train_seed1.log").read_text()
    assert log.startswith((folder / "train_gpt.py").read_text())

    command = re.search(r"```bash\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert command is not None
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "data").symlink_to(tmp_path / "data")
    (alone / "train_gpt.py").write_bytes((folder / "train_gpt.py").read_bytes())
    script = command[1].replace("python train_gpt.py", f"{sys.executable} train_gpt.py")
    environment = {"PATH": os.environ["PATH"], "RUN_ID": "again", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=alone, env=environment, capture_output=True, text=True, check=True
    )
    again = read_run(1, done.stdout, label)
    assert (again.val_loss, again.val_bpb, again.total_bytes) == (
        runs[0].val_loss,
        runs[0].val_bpb,
        runs[0].total_bytes,
    )


def test_a_failing_run_leaves_the_old_folder_alone(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "README.md").write_text("old")
    recipe = Recipe("x", "Small", "reference_pipeline.pipeline", "quantized", "Text.", SMALL | {"NUM_HEADS": "3"}, DATA)
    with pytest.raises(PipelineError, match="seed 1 stopped with exit code 1"):
        pack_submission(recipe, folder, (1,), tmp_path / "data")
    assert (folder / "README.md").read_text() == "old"


def test_a_disk_that_fills_up_leaves_the_old_folder_alone(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    replace_folder(folder, {"README.md": b"old", "gone.log": b"x"})
    written = []

    def write_once(path, data):
        if written:
            raise PipelineError(f"{path}: cannot write")
        written.append(path)
        write_atomically(path, data)

    monkeypatch.setattr(packing, "write_atomically", write_once)
    with pytest.raises(PipelineError, match="cannot write"):
        replace_folder(folder, {"README.md": b"new", "train_gpt.py": b"pass"})
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (folder / "README.md").read_bytes() == b"old"
    monkeypatch.undo()
    replace_folder(folder, {"README.md": b"new"})
    assert [path.name for path in folder.iterdir()] == ["README.md"]


def test_an_unfinished_log_names_what_is_missing():
    with pytest.raises(PipelineError, match="log of seed 7: no line matches"):
        read_run(7, "1/3 train_loss: 2.0\n", "quantized")


def test_a_full_disk_stops_the_default_run_before_training(tiny, tmp_path, monkeypatch):
    def no_space(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(PipelineError, match=r"out/train_gpt\.py: cannot write .*free disk space"):
        run(tiny, tmp_path / "out", Console(quiet=True))
    assert not list((tmp_path / "out").iterdir())
