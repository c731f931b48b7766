"""What a module's constructor makes: parameters by the names of their attributes, parts of the script's own classes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditor.source.predictor.module_parts import (
    constructed_parts,
    has_running_statistics,
    owns_parameters,
    parameter_attributes,
)
from auditor.source.values import Class, Value

MODEL = """
import torch
from torch import nn

class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

class Outer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = Inner()
        self.head = nn.Linear(width, 8)
        self.drop = nn.Dropout(0.1)
        self.width = width

class Normed(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
        self.norm = nn.BatchNorm1d(4)
"""


@pytest.fixture
def classes(interpret: Callable[..., dict[str, Value]]) -> dict[str, Class]:
    return {name: value.payload for name, value in interpret(MODEL).items() if value.kind == "class"}


def test_attributes_that_hold_parameters(classes: dict[str, Class]) -> None:
    assert set(parameter_attributes(classes["Outer"])) == {"inner", "head"}
    assert parameter_attributes(classes["Inner"]) == ("scale",)


def test_parts_that_are_modules_of_the_script(classes: dict[str, Class]) -> None:
    outer = classes["Outer"]
    assert constructed_parts(outer, lambda name, frame: frame.names[name]) == {"inner": classes["Inner"]}


def test_inherited_parameters_and_running_statistics(classes: dict[str, Class]) -> None:
    assert [owns_parameters(classes[name]) for name in ("Inner", "Normed")] == [False, True]
    assert [has_running_statistics(classes[name]) for name in ("Inner", "Normed")] == [False, True]
