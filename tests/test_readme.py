"""What the README shows is what the program does: its tables and its excerpt are compared with the real thing."""

from pathlib import Path

import pytest

from auditor import cli
from benchmarks.readme import regenerated, replace_block

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_generated_parts_are_as_the_program_writes_them_now() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == regenerated(text), "the README is out of date: run python -m benchmarks.readme"


def test_exit_codes_are_explained_as_the_program_has_them() -> None:
    codes = [cli.EXIT_PASS, cli.EXIT_FAIL, cli.EXIT_NOT_DONE, cli.EXIT_REVIEW]
    rows = [line for line in README.read_text().splitlines() if line[:3] in {f"| {code}" for code in codes}]
    assert [int(row[2]) for row in rows] == sorted(codes)


def test_a_block_is_replaced_and_nothing_else() -> None:
    text = "before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n"
    replaced = replace_block(text, "x", "new")
    assert replaced == "before\n<!-- x: begin -->\nnew\n<!-- x: end -->\nafter\n"
    assert replace_block(replaced, "x", "new") == replaced


@pytest.mark.parametrize("text", ["", "<!-- x: begin -->", "<!-- x: end -->"])
def test_missing_markers_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        replace_block(text, "x", "new")
