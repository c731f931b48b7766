"""The rulebook: one module a rule, each readable by someone who never reads the auditor.

`CODES` lists the rules in the order in which reports show them. `RULES` maps each code to its `Rule`; it is built on
first use, so that a witness can import a threshold from one rule without importing all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rules.base import Rule

    RULES: dict[str, Rule]

CODES = (
    "C1",
    "C2",
    "C3",
    "C4",
    "TRAINDATA",
    "PAIDPREFIX",
    "VALOVERLAP",
    "SIZE",
    "TIME",
    "BYTES",
    "EXTERNAL",
    "CLAIM",
    "EVIDENCE",
    "FORMAT",
)


def _load() -> dict[str, Rule]:
    return {code: import_module(f"rules.{code.lower()}").RULE for code in CODES}


def __getattr__(name: str) -> dict[str, Rule]:
    if name != "RULES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    rules = _load()
    globals()["RULES"] = rules
    return rules
