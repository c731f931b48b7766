"""Variables that a script reads, and what a printed value says about them."""

from __future__ import annotations

import pytest

from auditor.record.environment import as_set, environment_reads, prints_attribute


def read_of(source: str) -> tuple[str, str | None, str]:
    (read,) = (item for item in environment_reads(source) if item.name != "OTHER")
    return read.name, read.default, read.attribute


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os\nlr = float(os.environ.get('LR', 5e-4))", ("LR", "0.0005", "lr")),
        ("on = bool(int(os.environ.get('TTT_ENABLED', '0')))", ("TTT_ENABLED", "0", "on")),
        ("class H:\n    on: bool = os.getenv('KEY', 'false').lower() in ('1', 'true')", ("KEY", "false", "on")),
        ("h.prequant_enabled = bool(int(os.environ.get('PREQUANT', '1')))", ("PREQUANT", "1", "prequant_enabled")),
        ("_K = '0'\nx = int(os.environ.get('KEY', _K))", ("KEY", "0", "x")),
        ("x = int(os.environ.get('KEY', 64 * 1024))", ("KEY", "65536", "x")),
        ("x = int(os.environ.get('KEY', 1 << 22))", ("KEY", "4194304", "x")),
        ("x = int(os.environ.get('KEY', 2**20 - 1))", ("KEY", "1048575", "x")),
        ("x = int(os.environ.get('KEY', 9**9**9))", ("KEY", None, "x")),
        ("x = int(os.environ.get('KEY', 1 << 99999999999))", ("KEY", None, "x")),
        ("x = int(os.environ.get('KEY', -1))", ("KEY", "-1", "x")),
        ("x = int(os.environ.get('KEY', str(size)))", ("KEY", None, "x")),
        ("x = os.environ['KEY']", ("KEY", None, "x")),
        ("x = env_int('KEY', 3)", ("KEY", "3", "x")),
        ("a, b = int(os.environ.get('KEY', 1)), 2", ("KEY", "1", "a")),
        ("run(stride=int(os.environ.get('STRIDE', '64')))", ("STRIDE", "64", "stride")),
        ("if os.environ.get('KEY', '0') == '1':\n    go()", ("KEY", "0", "")),
        ("x = int(os.environ.get('KEY', os.environ.get('OTHER', '2')))", ("KEY", None, "x")),
        ("x: int = field(default_factory=lambda: int(os.environ.get('KEY', '4')))", ("KEY", "4", "x")),
    ],
)
def test_forms_of_reading(source: str, expected: tuple[str, str | None, str]) -> None:
    assert read_of(source) == expected


def test_a_broken_part_does_not_hide_the_rest() -> None:
    source = "x = os.environ.get('KEY', '1')\ndef broken(:\n    pass\ny = os.environ.get('OTHER', '2')\n"
    assert [read.name for read in environment_reads(source)] == ["KEY", "OTHER"]


def test_lines_are_those_of_the_whole_file() -> None:
    assert [read.line for read in environment_reads("\n\n\nclass H:\n    x = os.environ.get('KEY', '1')\n")] == [5]


def test_assigning_to_the_environment_is_no_reading() -> None:
    assert environment_reads("os.environ['KEY'] = '1'\n") == ()


@pytest.mark.parametrize(
    "source", ["(" * 5000 + "environ", "x = os.environ.get(" * 500, "\x00environ", "environ = " + "-" * 100_000 + "1"]
)
def test_hostile_sources_are_survived(source: str) -> None:
    environment_reads(source)


def test_a_printed_boolean_is_what_the_conversion_takes() -> None:
    integer, word, negated = (
        environment_reads(text)[0]
        for text in (
            "x = bool(int(os.environ.get('KEY', '0')))",
            "x = os.environ.get('KEY', 'no') == 'yes'",
            "x = os.environ.get('KEY', '1') != '0'",
        )
    )
    assert (as_set("True", integer), as_set("False", integer)) == ("1", "0")
    assert (as_set("True", word), as_set("False", word)) == ("yes", "0")
    assert (as_set("True", negated), as_set("False", negated)) == ("1", "0")


def test_printed_lists_and_quotes() -> None:
    assert as_set("[3, 4, 5]", None) == "3,4,5"
    assert as_set("'brotli'", None) == "brotli"


def test_a_printed_name_may_be_another_value() -> None:
    source = 'log(f"embed_lr:{token_lr} matrix_lr:{args.matrix_lr} iterations:{int(args.iterations):d}")'
    assert not prints_attribute(source, "embed_lr")
    assert prints_attribute(source, "matrix_lr")
    assert prints_attribute(source, "iterations")
    assert prints_attribute(source, "printed_by_a_loop")
