"""Starting a script at its artifact: what is left out, what runs, and what is not understood."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from auditor.rescore.artifact import find_artifact
from auditor.rescore.cut import cut_out
from auditor.rescore.model import Cut
from auditor.rescore.switches import ARTIFACT, eval_only_switches
from auditor.submission import load_folder
from auditor.submission.model import Submission

MONOLITH = """\
import os, torch
from torch import nn
NAME = "final_model.int8.ptz"
def evaluate(model, tokens):
    return model(tokens)
def main():
    tokens = load_tokens()
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters())
    for step in range(10):
        loss = model(tokens).mean()
        loss.backward()
        optimizer.step()
    score = evaluate(model, tokens)
    code = open(__file__).read()
    blob = pack(model)
    with open(NAME, "wb") as file:
        file.write(blob)
    torch.cuda.synchronize()
    with open(NAME, "rb") as file:
        state = unpack(file.read())
    model.load_state_dict(state)
    print(f"final val_bpb:{evaluate(model, tokens):.4f} code:{len(code)}")
main()
"""

MODULAR = """\
import os
from pathlib import Path
class Hyperparameters:
    artifact_path = os.environ.get("ARTIFACT", "final_model.int8.ptz")
def train(h):
    model = build(h)
    model(h).backward()
    return model
def serialize(h, model):
    Path(h.artifact_path).write_bytes(pack(model))
def deserialize(h):
    return unpack(Path(h.artifact_path).read_bytes())
def adapt(model):
    model.loss().backward()
def run(h, tokens):
    model = train(h)
    serialize(h, model)
    model = deserialize(h)
    print(evaluate(model, tokens))
    adapted = deserialize(h)
    adapt(adapted)
    print(evaluate(adapted, tokens))
def main():
    h = Hyperparameters()
    tokens = load_tokens(h)
    run(h, tokens)
if __name__ == "__main__":
    main()
"""


def folder_with(tmp_path: Path, script: str, artifact: str = "final_model.int8.ptz") -> Submission:
    (tmp_path / "train_gpt.py").write_text(script)
    (tmp_path / artifact).write_bytes(b"weights")
    (tmp_path / "README.md").write_text("# A submission\\n")
    (tmp_path / "submission.json").write_text('{"val_bpb": 1.2}')
    return load_folder(str(tmp_path))


def cut_of(submission: Submission) -> Cut | None:
    from auditor.record import read_record

    artifact = find_artifact(submission, read_record(submission))
    assert artifact is not None
    return cut_out(submission, artifact)


def running(script: str, cut: Cut) -> str:
    """The script without what the cut leaves out."""
    out = {number for span in cut.spans for number in range(span.first, span.last + 1)}
    return "\n".join(line for number, line in enumerate(script.splitlines(), 1) if number not in out)


def test_training_and_writing_are_left_out_of_one_long_function(tmp_path: Path) -> None:
    cut = cut_of(folder_with(tmp_path, MONOLITH))
    assert cut is not None
    rest = running(MONOLITH, cut)
    assert "backward" not in rest
    assert '"wb"' not in rest
    assert "model = nn.Linear" in rest
    assert "load_state_dict" in rest
    assert rest.count("evaluate(model, tokens)") == 2  # its definition, and the score of the artifact
    assert "code = open(__file__).read()" in rest  # a later line prints its length


def test_the_lines_on_the_way_and_those_that_run_are_told(tmp_path: Path) -> None:
    cut = cut_of(folder_with(tmp_path, MONOLITH))
    assert cut is not None
    lines = MONOLITH.splitlines()
    assert lines[cut.reading[0] - 1] == "main()"
    assert '"rb"' in lines[cut.running[-1][0] - 1]
    assert "final val_bpb" in lines[cut.running[-1][1] - 1]


def test_functions_are_followed_and_evaluation_that_adapts_stays(tmp_path: Path) -> None:
    cut = cut_of(folder_with(tmp_path, MODULAR))
    assert cut is not None
    assert [(MODULAR.splitlines()[span.first - 1].strip(), span.why) for span in cut.spans] == [
        ("model = train(h)", "trains"),
        ("serialize(h, model)", "writes the artifact"),
    ]


def test_a_script_that_never_reads_its_artifact_is_not_cut(tmp_path: Path) -> None:
    script = MONOLITH.replace('"rb"', '"ab"')
    assert cut_of(folder_with(tmp_path, script)) is None


def test_a_local_name_that_holds_the_path_means_nothing_elsewhere(tmp_path: Path) -> None:
    script = MODULAR.replace(
        "def deserialize(h):\n    return unpack(Path(h.artifact_path).read_bytes())",
        "def deserialize(h):\n    path = Path(h.artifact_path)\n    return unpack(path.read_bytes())",
    ).replace("def main():\n", "def note(path):\n    path.write_bytes(b'')\ndef main():\n    note(Path('log'))\n")
    cut = cut_of(folder_with(tmp_path, script))
    assert cut is not None
    assert len(cut.spans) == 2
    assert "note(Path('log'))" in running(script, cut)


@pytest.mark.parametrize("script", [MONOLITH, MODULAR])
def test_what_is_left_parses(tmp_path: Path, script: str) -> None:
    cut = cut_of(folder_with(tmp_path, script))
    assert cut is not None
    ast.parse(running(script, cut))


def test_a_switch_for_evaluation_only_is_found_by_its_name(tmp_path: Path) -> None:
    script = "import os\nonly = os.environ.get('EVAL_ONLY', '0')\nttt = os.environ.get('TTT_EVAL_ONLY', '0')\n"
    assert eval_only_switches(folder_with(tmp_path, script)) == {"EVAL_ONLY": "1"}


def test_a_switch_that_wants_the_artifact_gets_its_path(tmp_path: Path) -> None:
    script = 'import os\npath = os.environ.get("EVAL_ONLY_PATH", "")\n'
    assert eval_only_switches(folder_with(tmp_path, script)) == {"EVAL_ONLY_PATH": ARTIFACT}


def test_other_switches_are_left_alone(tmp_path: Path) -> None:
    script = 'import os\nstride = os.environ.get("EVAL_STRIDE", "64")\nevaluate = os.environ.get("EVAL_ENABLED", "1")\n'
    assert eval_only_switches(folder_with(tmp_path, script)) == {}


def test_statements_on_one_line_are_told_apart(tmp_path: Path) -> None:
    script = MODULAR.replace(
        "    model = train(h)\n    serialize(h, model)\n    model = deserialize(h)\n",
        "    tokens = tokens[:9];model = train(h);serialize(h, model);model = deserialize(h)\n",
    )
    cut = cut_of(folder_with(tmp_path, script))
    assert cut is not None
    line = next(text for text in script.splitlines() if "tokens[:9]" in text)
    assert [line[span.column :].partition(";")[0] for span in cut.spans] == ["model = train(h)", "serialize(h, model)"]


def test_a_script_that_only_evaluates_runs_as_it_is(tmp_path: Path) -> None:
    script = 'import torch\nstate = torch.load("final_model.int8.ptz")\nprint(evaluate(state))\n'
    cut = cut_of(folder_with(tmp_path, script))
    assert cut is not None
    assert (cut.spans, cut.running) == ((), ((2, 3),))


def test_what_is_read_before_training_is_no_artifact(tmp_path: Path) -> None:
    script = MONOLITH.replace(
        "def main():\n", 'def main():\n    with open("extra.npz", "rb") as file:\n        extra = file.read()\n'
    )
    script = script.replace('open(NAME, "rb")', 'open("other", "rb")')
    assert cut_of(folder_with(tmp_path, script, artifact="extra.npz")) is None
