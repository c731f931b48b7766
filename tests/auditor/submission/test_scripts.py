"""Which python file is taken for the one that produced the score, and what the report says about the choice."""

from __future__ import annotations

import base64
import lzma
from collections.abc import Mapping

import pytest

from auditor.submission.model import StoredFile
from auditor.submission.roles import role_of
from auditor.submission.scripts import ScriptChoice, choose_script

SCORES = "print('val_bpb:1.1')\n"
HERE = "records/track_10min_16mb/2026-04-05_X"


def chosen(files: Mapping[str, str], folder: str = HERE) -> ScriptChoice:
    stored = []
    for name, text in sorted(files.items()):
        path = f"{folder}/{name}" if folder else name
        stored.append(StoredFile(path, len(text), role_of(name, text.encode()), text.encode()))
    return choose_script(folder, stored, lambda _: None)


def name_of(choice: ScriptChoice) -> str:
    assert choice.script is not None
    return choice.script.path.removeprefix(HERE + "/")


def test_train_gpt_is_the_usual_script() -> None:
    choice = chosen({"train_gpt.py": SCORES, "train_gpt_human.py": SCORES, "README.md": "# x"})
    assert name_of(choice) == "train_gpt.py"
    assert [helper.module for helper in choice.helpers] == ["train_gpt_human"]
    assert choice.problems == ()


@pytest.mark.parametrize(
    "command",
    [
        "torchrun --standalone --nproc_per_node=8 train_v2.py",
        f"RUN_ID=x SEED=42 \\\ntorchrun --nproc_per_node=8 \\\n  {HERE}/train_v2.py",
        "python3 -u train_v2.py --seed 1",
        "python -m torch.distributed.run --nproc_per_node=8 ./train_v2.py",
    ],
)
def test_another_script_when_only_that_one_is_run(command: str) -> None:
    choice = chosen({"train_gpt.py": SCORES, "train_v2.py": SCORES, "README.md": f"```bash\n{command}\n```\n"})
    assert name_of(choice) == "train_v2.py"
    assert "README or logs run" in choice.reason
    assert len(choice.problems) == 1


def test_train_gpt_stays_when_both_are_run() -> None:
    readme = "python prepare.py\ntorchrun train_gpt.py\npython train_v2.py\n"
    choice = chosen({"train_gpt.py": SCORES, "train_v2.py": SCORES, "prepare.py": "x = 1\n", "README.md": readme})
    assert name_of(choice) == "train_gpt.py"
    assert "train_v2.py" in choice.problems[0].message


def test_a_tool_that_prints_no_score_does_not_displace_train_gpt() -> None:
    choice = chosen({"train_gpt.py": SCORES, "prepare.py": "x = 1\n", "README.md": "python prepare.py\n"})
    assert name_of(choice) == "train_gpt.py"
    assert choice.problems == ()


def test_a_path_of_another_machine_still_names_the_file() -> None:
    files = {"train_gpt.py": SCORES, "README.md": "torchrun /workspace/run/records/y/train_gpt.py\n"}
    assert name_of(chosen(files)) == "train_gpt.py"


def test_without_train_gpt_the_file_that_is_run() -> None:
    files = {"train_mixer.py": SCORES, "train_other.py": SCORES, "README.md": "torchrun train_mixer.py"}
    choice = chosen(files)
    assert name_of(choice) == "train_mixer.py"
    assert choice.problems[0].message == "no train_gpt.py"


def test_without_train_gpt_and_command_the_likeliest() -> None:
    choice = chosen({"train_gpt_mlx.py": SCORES, "plot.py": SCORES, "helpers.py": "x = 1\n"})
    assert name_of(choice) == "train_gpt_mlx.py"
    assert "is audited" in choice.problems[0].message


def test_nothing_that_scores() -> None:
    choice = chosen({"plot.py": "x = 1\n", "README.md": "# x"})
    assert choice.script is None
    assert [helper.module for helper in choice.helpers] == ["plot"]
    assert len(choice.problems) == 1


def test_an_empty_script_is_none() -> None:
    choice = chosen({"train_gpt.py": " \n", "README.md": "# x"})
    assert choice.script is None
    assert [problem.message.rpartition("/")[2] for problem in choice.problems] == ["train_gpt.py is an empty file"]
    assert chosen({"train_gpt.py": "\n", "train.py": "print(f'val_bpb:{1:.4f}')\n"}).script is not None


def test_the_script_of_a_folder_in_the_folder() -> None:
    choice = chosen({"final/train_gpt.py": SCORES, "final/old/train_gpt.py": "x = 1\n", "README.md": "# x"})
    assert name_of(choice) == "final/train_gpt.py"


def test_packed_helpers_are_opened_when_the_script_names_them() -> None:
    packed = base64.b85encode(lzma.compress(b"class Cache:\n    pass\n")).decode()
    wrapper = f"import lzma,base64\nexec(lzma.decompress(base64.b85decode({packed!r})))\n"
    choice = chosen({"train_gpt.py": "import cache\n" + SCORES, "cache.py": wrapper, "tool.py": wrapper})
    assert [(helper.module, helper.text) for helper in choice.helpers] == [
        ("cache", "class Cache:\n    pass\n"),
        ("tool", wrapper),  # nobody imports it
    ]


def test_a_shim_s_target_is_the_script_and_no_helper() -> None:
    files = {"train_gpt.py": "exec(open('inner.py').read())\n", "inner.py": SCORES, "lib.py": "x = 1\n"}
    choice = chosen(files)
    assert name_of(choice) == "inner.py"
    assert choice.stored == f"{HERE}/train_gpt.py"
    assert [helper.module for helper in choice.helpers] == ["lib"]
    assert "it runs" in choice.reason


def test_commands_are_found_in_linear_time() -> None:
    hostile = "torchrun " * 20_000 + "python " + "a/" * 50_000
    assert name_of(chosen({"train_gpt.py": SCORES, "README.md": hostile})) == "train_gpt.py"
