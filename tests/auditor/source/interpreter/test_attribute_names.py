"""A script may call its attributes what it likes: they never meet what the interpreter notes of the object."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import auditor.source

_NOTED = re.compile(r'cells(?:\.get\(|\[|, )"\.(\w+)"')
NOTES = sorted(
    {name for file in Path(auditor.source.__file__).parent.rglob("*.py") for name in _NOTED.findall(file.read_text())}
)


def test_there_are_notes_to_collide_with() -> None:
    assert {"items", "rest", "children", "atoms"} <= set(NOTES)


@pytest.mark.parametrize("base", ["object", "torch.nn.Module"])
@pytest.mark.parametrize("name", [name for name in NOTES if name != "grad"])  # ``.grad`` of a model is its gradient
def test_an_attribute_named_like_a_note_keeps_its_value(known, name: str, base: str) -> None:
    script = f"import copy, torch\nclass Own({base}):\n    def __init__(self):\n        super().__init__()\n"
    script += f"        self.{name} = 7\n        self.weight = torch.ones(3)\n"
    script += f"own = Own()\nown.{name} = 7\nr = own.{name}\nsame = copy.deepcopy(own)\n"
    script += "held = [own, [own], same]\nout = str(held)\nout = torch.tensor([own.weight, own.weight])\n"
    script += "returned = vars(own)\nlength = len(held)\n"
    found = known(script)
    assert (found["r"], found["length"]) == (7, 3)
