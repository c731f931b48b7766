"""README: tables, commands, claims."""

from __future__ import annotations

import pytest

from auditor.record.readme import Readme, parse_readme

FENCE = "```"


def readme(text: str) -> Readme:
    return parse_readme("README.md", text)


@pytest.mark.parametrize(
    ("text", "bpb"),
    [
        ("# Record: thing\n\n**val_bpb = 1.0282** (3-seed mean) | **< 16 MB** | 8xH100\n", 1.0282),
        ("# Record: 1.0587 BPB with X\n", 1.0587),
        ("# X (val\\_bpb 1.0587)\n", 1.0587),
        ("# X\n\nThe baseline has val_bpb 1.2244.\nWe reach a val_bpb of 1.1500.\n", 1.15),
        ("# X\n\nAn improvement of 0.0120 BPB.\nScore: 1.1011 BPB\n", 1.1011),
        ("# Thing 1.08279\n", 1.08279),
        ("# Nothing\n\n17 layers, 600 s.\n", None),
    ],
)
def test_the_score_it_claims(text: str, bpb: float | None) -> None:
    assert readme(text).val_bpb == bpb


@pytest.mark.parametrize(
    ("text", "bpb"),
    [
        ("# X\n\n**Base:** PR #462 architecture (1.0672 BPB)\n", None),
        ("# X\n\nBuilds on: PR #549 (LeakyReLU + Legal TTT, score 1.1194)\n", None),
        ("# X\n\nInspired by PR #1180 which achieved 1.0577 BPB using another loss\n", None),
        ("# X\n\nBuilds on PR #549, and we reach 1.1011 BPB.\n", 1.1011),
        ("# X\n\nBuilds on PR #549 and reaches 1.1011 BPB.\n", 1.1011),
        ("# X\n\n**~~val_bpb: 1.1311~~** (3-seed mean), see below\n", None),
        ("# X\n\n**Retracting the reported 1.1311 BPB** as not legal.\n", None),
        ("# X\n\n~~val_bpb: 1.1311~~ val_bpb: 1.1402\n", 1.1402),
        ("# X\n\nThe entry with 0.7690 BPB in the table is explicitly marked **invalid**.\n", None),
        ("# X\n\nIt attacks the `0.0187` BPB quantization gap.\n", None),
        ("# X\n\n**val_bpb: TBD** (pending a run)\n\nThe last version had 1.1194 BPB.\n", None),
        ("# X\n\nval_bpb: 1.1011\n\nOther seeds: val_bpb TBD\n", 1.1011),
        ("# X\n\nThe score is 1.1011 BPB. An earlier number was invalid.\n", 1.1011),
    ],
)
def test_a_number_of_another_or_taken_back_is_no_claim(text: str, bpb: float | None) -> None:
    assert readme(text).val_bpb == bpb


def test_tables_without_markup() -> None:
    (table,) = readme("| Seed | **BPB** |\n|:--|--:|\n| 42 | **1.0269** |\n| `314` | [1.0282](log) |\n").tables
    assert table.header == ("Seed", "BPB")
    assert table.rows == (("42", "1.0269"), ("314", "1.0282"))
    assert table.lines == (3, 4)


def test_a_table_inside_a_code_block_is_none() -> None:
    assert readme(f"{FENCE}\n| a | b |\n|---|---|\n| 1 | 2 |\n{FENCE}\n").tables == ()


def environment(text: str) -> dict[str, str]:
    (command,) = readme(text).commands
    return dict(command.environment)


@pytest.mark.parametrize(
    "block",
    [
        "SEED=42 TTT_ENABLED=1 torchrun --nproc_per_node=8 train_gpt.py",
        "$ SEED=42 TTT_ENABLED=1 \\\n    torchrun --standalone train_gpt.py",
        "export SEED=42\nexport TTT_ENABLED=1\npython3 train_gpt.py",
        "env SEED=42 TTT_ENABLED='1' python -m torch.distributed.run train_gpt.py",
        'SEED=42\nTTT_ENABLED="1"\ntorchrun train_gpt.py  # a comment SEED=7',
        "SEED=42 TTT\\_ENABLED=1 torchrun train\\_gpt.py",
        "cd x && SEED=${SEED:-42} TTT_ENABLED=1 python train_gpt.py",
        "for S in 1 2; do\n  RUN_ID=$S SEED=42 TTT_ENABLED=1 python train_gpt.py\ndone",
    ],
)
def test_commands(block: str) -> None:
    assert environment(f"## Run\n{FENCE}bash\n{block}\n{FENCE}\n") == {"SEED": "42", "TTT_ENABLED": "1"}


def test_what_is_behind_the_script_is_no_environment() -> None:
    assert environment(f"{FENCE}\nA=1 python train_gpt.py --x B=2\n{FENCE}\n") == {"A": "1"}


def test_exports_do_not_leave_their_block() -> None:
    text = f"{FENCE}\nexport A=1\npython train_gpt.py\n{FENCE}\n{FENCE}\npython train_gpt.py\n{FENCE}\n"
    assert [dict(command.environment) for command in readme(text).commands] == [{"A": "1"}, {}]


def test_heading_script_and_line_of_a_command() -> None:
    (command,) = readme(
        f"# X\n\n## Reproduce\n\n{FENCE}\npip install x\npython records/a/train_gpt.py\n{FENCE}\n"
    ).commands
    assert (command.heading, command.script, command.place.line) == ("Reproduce", "train_gpt.py", 7)


def test_a_block_of_settings_alone_is_a_command_without_script() -> None:
    (command,) = readme(f"{FENCE}\nTTT_ENABLED=1\nTTT_LR=0.005\n{FENCE}\n").commands
    assert (command.script, dict(command.environment)) == (None, {"TTT_ENABLED": "1", "TTT_LR": "0.005"})


def test_the_seed_table_gives_the_column_that_carries_the_claim() -> None:
    text = (
        "# X\n\nval_bpb: 1.0200\n\n| Seed | Quantized BPB | Sliding BPB | Artifact |\n|---|---|---|---|\n"
        "| 42 | 1.0500 | 1.0100 | 15,995,184 |\n| 314 | 1.0600 | 1.0300 | 15,990,432 |\n| **Mean** | 1.055 | 1.02 | |\n"
    )
    assert [(item.seed, item.val_bpb, item.artifact_bytes) for item in readme(text).seed_claims] == [
        (42, 1.01, 15_995_184),
        (314, 1.03, 15_990_432),
    ]


@pytest.mark.parametrize(
    "unit", ["|", "`", "*", "[](", "#", "-|", "A=", "A=1 \\\n", "```\n", "<a", "1.0 bpb ", "val_bpb "]
)
def test_a_megabyte_of_one_thing(unit: str) -> None:
    parsed = readme(unit * (1024 * 1024 // len(unit)))
    assert len(parsed.tables) <= 200 and len(parsed.commands) <= 300
