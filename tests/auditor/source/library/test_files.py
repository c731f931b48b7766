"""Files: what was written is read back under the same name, shards are known by their names."""

from __future__ import annotations

from auditor.source.values import Value

TOKENS = "import numpy as np\nval = np.fromfile('data/fineweb_val_000000.bin', dtype=np.uint16)\n"


def kinds(value: Value) -> set[str]:
    return {atom[0] for atom in value.atoms}


def test_the_name_of_a_shard_tells_its_split(interpret) -> None:
    found = interpret(TOKENS + "train = np.fromfile('data/fineweb_train_000001.bin', dtype=np.uint16)\n")
    assert "val" in kinds(found["val"])
    assert "train" not in kinds(found["val"])
    assert "train" in kinds(found["train"])


def test_what_was_written_is_read_back_and_nothing_else(interpret) -> None:
    written = (
        "import torch\ntorch.save(val, 'a.pt')\ntorch.save(1, 'b.pt')\na = torch.load('a.pt')\nb = torch.load('b.pt')\n"
    )
    found = interpret(TOKENS + written)
    assert "val" in kinds(found["a"])
    assert "val" not in kinds(found["b"])


def test_a_renamed_file_holds_what_it_held(interpret) -> None:
    found = interpret(
        TOKENS + "import os, torch\ntorch.save(val, 'a.pt')\nos.replace('a.pt', 'c.pt')\nc = torch.load('c.pt')\n"
    )
    assert "val" in kinds(found["c"])
