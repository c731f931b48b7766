"""The environment of the reported run: defaults decide, so every source is weighed."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.configuration import RunConfiguration, derive_configuration, same_value
from auditor.record import read_record
from auditor.submission import load_folder

SCRIPT = """\
import os


class Hyperparameters:
    seed = int(os.environ.get("SEED", 1337))
    ttt_enabled = bool(int(os.environ.get("TTT_ENABLED", "0")))
    ttt_epochs = int(os.environ.get("TTT_EPOCHS", 3))
    prequant_ttt_enabled = bool(int(os.environ.get("PREQUANT_TTT", "0")))
    qk_gain_init = float(os.environ.get("QK_GAIN_INIT", 1.5))
    embed_lr = float(os.environ.get("EMBED_LR", 0.6))
    data_path = os.environ.get("DATA_PATH", "./data")
"""
SCORE = "final val_loss:2.00000000 val_bpb:1.00000000\n"
BLOCK = """\
Hyperparameters:
  prequant_ttt_enabled: True
  qk_gain_init: 1.5
  seed: 42
  ttt_enabled: False
  ttt_epochs: 3
"""


@pytest.fixture
def derived(tmp_path: Path) -> object:
    def build(**files: str) -> RunConfiguration:
        names = {
            "readme": "README.md",
            "log": "train_seed42.log",
            "second": "train_seed7.log",
            "script": "train_gpt.py",
        }
        files.setdefault("script", SCRIPT)
        files.setdefault("json", '{"val_bpb": 1.0}')
        for key, text in files.items():
            (tmp_path / {**names, "json": "submission.json", "shell": "run.sh"}[key]).write_text(text, encoding="utf-8")
        submission = load_folder(tmp_path)
        return derive_configuration(submission, read_record(submission))

    return build


def command(text: str, heading: str = "Run") -> str:
    return f"# X\n\n## {heading}\n\n```bash\n{text}\n```\n"


def value(configuration: RunConfiguration, name: str) -> tuple[str, str] | None:
    setting = configuration.lookup(name)
    return (setting.value, setting.source) if setting else None


def names(configuration: RunConfiguration) -> set[str]:
    return {item.name for item in configuration.contradictions}


def test_the_log_decides_under_the_name_of_the_variable(derived) -> None:
    configuration = derived(log=BLOCK + SCORE)
    assert value(configuration, "PREQUANT_TTT") == ("1", "log")
    assert value(configuration, "TTT_ENABLED") == ("0", "log")
    setting = configuration.lookup("PREQUANT_TTT")
    assert setting is not None and (setting.printed, setting.place.line) == ("True", 2)


def test_the_command_decides_what_the_log_does_not_say(derived) -> None:
    configuration = derived(log="seed:42\n" + SCORE, readme=command("SEED=42 TTT_ENABLED=1 torchrun train_gpt.py"))
    assert value(configuration, "TTT_ENABLED") == ("1", "readme")
    assert value(configuration, "TTT_EPOCHS") is None


def test_log_before_command_and_the_difference_is_kept(derived) -> None:
    configuration = derived(log=BLOCK + SCORE, readme=command("TTT_ENABLED=1 torchrun train_gpt.py"))
    assert value(configuration, "TTT_ENABLED") == ("0", "log")
    (item,) = [each for each in configuration.contradictions if each.name == "TTT_ENABLED"]
    assert (item.first.source, item.second.source) == ("log", "readme")


def test_agreeing_spellings_are_no_contradiction(derived) -> None:
    configuration = derived(
        log=BLOCK + SCORE, readme=command("SEED=7 PREQUANT_TTT=1 TTT_EPOCHS=3.0 DATA_PATH=/x torchrun train_gpt.py")
    )
    assert not names(configuration)


def test_an_ablation_command_is_not_the_run(derived) -> None:
    readme = command("TTT_ENABLED=0 python train_gpt.py", "Ablation without TTT") + command(
        "TTT_ENABLED=1 python train_gpt.py"
    )
    assert value(derived(log="seed:42\n" + SCORE, readme=readme), "TTT_ENABLED") == ("1", "readme")


def test_the_command_that_fits_the_log_is_taken(derived) -> None:
    readme = command("TTT_EPOCHS=9 QK_GAIN_INIT=9 python train_gpt.py") + command(
        "TTT_EPOCHS=3 QK_GAIN_INIT=1.5 python train_gpt.py"
    )
    configuration = derived(log=BLOCK + SCORE, readme=readme)
    assert configuration.command is not None and configuration.command.environment["TTT_EPOCHS"] == "3"
    assert not names(configuration) - {"PREQUANT_TTT"}


def test_a_command_for_another_script_does_not_count(derived) -> None:
    configuration = derived(
        log="seed:42\n" + SCORE, readme=command("TTT_ENABLED=1 python prepare_data.py\npython train_gpt.py")
    )
    assert value(configuration, "TTT_ENABLED") is None


def test_a_shell_script_serves_where_the_readme_has_no_settings(derived) -> None:
    configuration = derived(log="seed:42\n" + SCORE, shell="export TTT_ENABLED=1\ntorchrun train_gpt.py\n")
    assert value(configuration, "TTT_ENABLED") == ("1", "shell script")


def test_settings_of_submission_json_come_last(derived) -> None:
    text = '{"val_bpb": 1.0, "hyperparameters": {"ttt_enabled": true, "qk_gain_init": 4}}'
    configuration = derived(log="seed:42\n" + SCORE, json=text, readme=command("QK_GAIN_INIT=5 python train_gpt.py"))
    assert value(configuration, "TTT_ENABLED") == ("1", "submission.json")
    assert value(configuration, "QK_GAIN_INIT") == ("5", "readme")


def test_logs_that_differ_contradict_each_other(derived) -> None:
    json = '{"val_bpb": 1.0, "seeds": [42, 7]}'
    same = BLOCK.replace("seed: 42", "seed: 7")
    assert not names(derived(log=BLOCK + SCORE, second=same + SCORE, json=json)) - {"PREQUANT_TTT"}
    other = same.replace("ttt_epochs: 3", "ttt_epochs: 9")
    assert "ttt_epochs" in names(derived(log=BLOCK + SCORE, second=other + SCORE, json=json))


def test_what_neither_command_nor_default_gives(derived) -> None:
    configuration = derived(log=BLOCK + SCORE, readme=command("SEED=42 python train_gpt.py"))
    (item,) = configuration.contradictions
    assert (item.name, item.first.printed, item.second.source, item.second.value) == (
        "PREQUANT_TTT",
        "True",
        "default",
        "0",
    )


def test_a_printed_name_that_holds_another_value_is_not_taken(derived) -> None:
    script = SCRIPT + 'print(f"tie:1 embed_lr:{token_lr} ttt_epochs:{args.ttt_epochs}")\n'
    configuration = derived(script=script, log="tie:1 embed_lr:0.05 ttt_epochs:4\n" + SCORE)
    assert value(configuration, "EMBED_LR") is None
    assert value(configuration, "TTT_EPOCHS") == ("4", "log")


def test_spoken_names_of_the_readme(derived) -> None:
    readme = "# QK-Gain {}\n\nAll defaults match.\n\n```\npython train_gpt.py\n```\n"
    assert names(derived(log="seed:42\n" + SCORE, readme=readme.format("4.0"))) == {"QK_GAIN_INIT"}
    assert names(derived(log="seed:42\n" + SCORE, readme=readme.format("4.0, up from QK-Gain 1.5"))) == set()


def test_wrappers_force_or_set_defaults(derived) -> None:
    wrapper = (
        f"import os\nos.environ['TTT_ENABLED'] = '1'\nos.environ.setdefault('TTT_EPOCHS', '7')\nexec({SCRIPT!r})\n"
    )
    configuration = derived(
        script=wrapper, log="seed:42\n" + SCORE, readme=command("TTT_ENABLED=0 TTT_EPOCHS=5 python train_gpt.py")
    )
    if configuration.lookup("TTT_ENABLED") is None:
        pytest.skip("the loader does not open this wrapper")
    assert value(configuration, "TTT_EPOCHS") == ("5", "readme")


def test_nothing_at_all(derived) -> None:
    configuration = derived()
    assert configuration.environment == {} and configuration.defaults["TTT_ENABLED"] == "0"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("5e-4", "0.0005", True),
        ("True", "1", True),
        ("[3, 4]", "3,4", True),
        ("1", "2", False),
        ("a", "b", False),
        ("nan", "1", False),
    ],
)
def test_same_values(first: str, second: str, same: bool) -> None:
    assert same_value(first, second) is same


@pytest.mark.parametrize(
    ("title", "found"),
    [
        ("# 10L + SWA + Score-First TTT: 1.1100", ("1", "title")),
        ("# 10L + SWA, no TTT", None),
        ("# 10L + SWA", None),
        ("# 10L + SWA\n\nWe tried TTT as well.", None),
    ],
)
def test_a_switch_that_the_title_names_was_on(derived, title: str, found: tuple[str, str] | None) -> None:
    assert value(derived(readme=title), "TTT_ENABLED") == found


def test_a_command_or_a_log_is_believed_before_the_title(derived) -> None:
    readme = "# 10L + TTT\n\n## Run\n\n```bash\nSEED=42 python train_gpt.py\n```\n"
    assert value(derived(readme=readme), "TTT_ENABLED") is None
    assert value(derived(readme="# 10L + TTT", log=BLOCK + SCORE), "TTT_ENABLED") == ("0", "log")


@pytest.mark.parametrize(
    ("prose", "found"),
    [
        ("Adapters are trained in three layers (`TTT_EPOCHS=2`).", ("2", "readme text")),
        ("Set `TTT_EPOCHS=2` for a quick look.", None),
        ("We tried `TTT_EPOCHS=2` as well.", None),
        ("One run had `TTT_EPOCHS=2`, this one `TTT_EPOCHS=5`.", None),
        ("Adapters with TTT_EPOCHS=2 are trained.", None),
        ("## Ablations\n\nAdapters with `TTT_EPOCHS=2`.", None),
        ("| a run | `TTT_EPOCHS=2` |", None),
        ("`UNKNOWN_NAME=2`", None),
    ],
)
def test_settings_in_prose_speak_of_the_run_or_of_nothing(derived, prose: str, found: tuple[str, str] | None) -> None:
    name = "UNKNOWN_NAME" if "UNKNOWN" in prose else "TTT_EPOCHS"
    assert value(derived(readme=f"# 10L\n\n{prose}\n"), name) == found


def test_a_command_or_a_log_is_believed_before_prose(derived) -> None:
    prose = "# 10L\n\nAdapters (`TTT_EPOCHS=2`, `QK_GAIN_INIT=4.0`).\n"
    configuration = derived(readme=prose + "\n## Run\n\n```bash\nSEED=42 python train_gpt.py\n```\n")
    assert value(configuration, "TTT_EPOCHS") is None
    configuration = derived(readme=prose, log=BLOCK + SCORE)
    assert value(configuration, "TTT_EPOCHS") == ("3", "log")


def test_the_title_has_its_line(derived) -> None:
    setting = derived(readme="\n# 10L + TTT\n").lookup("TTT_ENABLED")
    assert setting is not None and setting.place.line == 2
    setting = derived(readme="# 10L\n", json='{\n  "name": "10L + TTT",\n  "val_bpb": 1.0\n}').lookup("TTT_ENABLED")
    assert setting is not None and (setting.place.path.endswith("submission.json"), setting.place.line) == (True, 2)


def test_all_words_of_a_switch_must_stand_in_the_title(derived) -> None:
    assert value(derived(readme="# 10L + TTT"), "PREQUANT_TTT") is None
    assert value(derived(readme="# 10L + Prequant TTT"), "PREQUANT_TTT") == ("1", "title")


def test_the_script_printed_into_a_log_sets_nothing(derived) -> None:
    script = SCRIPT + "\n\ndef run(args):\n    evaluate(args, qk_gain_init=chosen_gain, seed=args.seed)\n"
    log = "    evaluate(args, qk_gain_init=chosen_gain, seed=args.seed)\n" + SCORE
    assert value(derived(script=script, log=log), "QK_GAIN_INIT") is None


def test_a_long_default_of_a_shell_variable_is_taken(derived) -> None:
    order = ",".join(str(number) for number in range(80))
    script = SCRIPT + 'shard_order = os.environ.get("SHARD_ORDER", "")\n'
    shell = f'export SHARD_ORDER="${{SHARD_ORDER:-{order}}}"\npython train_gpt.py\n'
    assert value(derived(script=script, shell=shell), "SHARD_ORDER") == (order, "shell script")


SMOKE = """\
seed: 42
Hyperparameters:
  ttt_enabled: False
  ttt_epochs: 1
  a_setting: 1
  another_setting: 1
seed: 42
step:1/30 train_loss:9.0 train_time:10ms
step:30/30 train_loss:6.0 train_time:300ms
"""


def test_a_smoke_test_at_the_head_of_the_log_is_not_the_run(derived) -> None:
    run = "Hyperparameters:\n  ttt_enabled: True\n  ttt_epochs: 3\nseed: 42\n"
    steps = "step:1/20000 train_loss:9.0 train_time:10ms\nstep:5000/20000 train_loss:3.0 train_time:600000ms\n"
    configuration = derived(log=SMOKE + run + steps + SCORE, second=SMOKE + run + steps + SCORE)
    assert value(configuration, "TTT_ENABLED") == ("1", "log")
    assert names(configuration) == set()


def test_a_run_that_carries_the_claim_is_no_smoke_test(derived) -> None:
    run = "Hyperparameters:\n  ttt_enabled: True\n  ttt_epochs: 3\nseed: 42\n"
    steps = "step:1/20000 train_loss:9.0 train_time:10ms\nstep:5000/20000 train_loss:3.0 train_time:600000ms\n"
    configuration = derived(log=SMOKE + SCORE + run + steps + SCORE.replace("1.00000000", "1.50000000"))
    assert value(configuration, "TTT_ENABLED") == ("0", "log")


BRANCH = (
    SCRIPT
    + """\
    if bool(int(os.environ.get("FAST", "0"))):
        ttt_epochs = int(os.environ.get("TTT_EPOCHS", 1))
"""
)


@pytest.mark.parametrize(("epochs", "different"), [("3", set()), ("7", {"TTT_EPOCHS"})])
def test_the_defaults_of_a_branch_are_not_those_of_the_script(derived, epochs: str, different: set[str]) -> None:
    configuration = derived(script=BRANCH, log="seed:42\n" + SCORE, readme=f"# X\n\nTTT epochs: {epochs}\n")
    assert names(configuration) == different


@pytest.mark.parametrize(("text", "different"), [("ttt_epochs // 2", set()), ("ttt epochs: 2", {"TTT_EPOCHS"})])
def test_arithmetic_in_a_readme_is_no_setting(derived, text: str, different: set[str]) -> None:
    assert names(derived(log="seed:42\n" + SCORE, readme=f"# X\n\n{text}\n")) == different


def test_a_command_that_only_evaluates_is_not_that_of_a_training_run(derived) -> None:
    shell = "EVAL_ONLY=1 TTT_ENABLED=1 torchrun train_gpt.py\n"
    step = "step:500/20000 train_loss:3.0 train_time:60000ms\n"
    assert value(derived(log=step + SCORE, shell=shell), "TTT_ENABLED") is None
    assert value(derived(log=SCORE, shell=shell), "TTT_ENABLED") == ("1", "shell script")
