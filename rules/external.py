"""EXTERNAL: evaluation needs no network and no file from outside the artifact."""

from __future__ import annotations

from datetime import date

from auditor.findings import RuleResult, Witness
from rules.base import Evidence, Example, Precedent, Rule
from rules.evaluation_order import judge_ledgers
from rules.example import EVALUATE, MAIN, PRELUDE, example_folder

CODE = "EXTERNAL"

_DOWNLOAD = """\

def load_teacher(model):
    urllib.request.urlretrieve("https://example.com/teacher.pt", "teacher.pt")
    model.load_state_dict(torch.load("teacher.pt"))

"""

_LOG_GPU = """\

def log_gpu():
    print(subprocess.run(["nvidia-smi"], stdout=subprocess.PIPE, text=True, check=False).stdout)

"""


def judge(evidence: Evidence) -> RuleResult:
    """What a witness saw of downloads, installations, compilers and files that the artifact does not hold."""
    return judge_ledgers(
        CODE,
        evidence,
        passed="nothing was seen that is fetched, installed or read from outside the folder and the data",
    )


RULE = Rule(
    code=CODE,
    title="No network and no outside files",
    text="""\
The artifact is self-contained. Evaluation makes no network call, downloads nothing, and reads no file except the
validation data, the tokenizer and what the submission counts in its 16 MB.

Packages may be imported: they come from the challenge's image or from a requirements.txt, and are not counted. They
may not bring in weights or compute that the artifact should have paid for. Asking nvidia-smi for the name of the GPU
is harmless. Installing packages from inside the script, building C code during evaluation and calling programs that the
image may not have are questions for a person.""",
    sources=(
        "README of the challenge, FAQ on the artifact: no external downloads and no network calls during evaluation",
        "README of the challenge, FAQ on packages: imports are free, sneaking in compute or capability is not",
    ),
    precedents=(
        Precedent(date(2026, 3, 20), "README", "organizers", "Package imports are allowed, with a requirements.txt."),
        Precedent(date(2026, 4, 29), "#1855", "organizers", "Rows that install lrzip by apt-get were not objected to."),
    ),
    witnesses={
        Witness.SOURCE: "lists network calls, child processes, compilers, files neither in the folder nor data",
        Witness.RUN: "runs without a network: attempts to reach one are listed, and a script that needs one fails",
    },
    legal=Example(
        example_folder(
            (
                PRELUDE
                + _LOG_GPU
                + EVALUATE
                + MAIN.replace("    train(args, model)\n", "    log_gpu()\n    train(args, model)\n")
            ).replace("import os\n", "import os\nimport subprocess\n")
        ),
        "The script asks nvidia-smi which GPU it runs on and uses nothing else from outside.",
    ),
    illegal=Example(
        example_folder(
            (
                PRELUDE + _DOWNLOAD + EVALUATE + MAIN.replace("    load_artifact(model)\n", "    load_teacher(model)\n")
            ).replace("import time\n", "import time\nimport urllib.request\n")
        ),
        "Evaluation scores weights that it downloads.",
    ),
    blind_spots=(
        "What an imported package does is not examined.",
        "A file read by a path that is put together at run time may not be recognised.",
    ),
    judge=judge,
)
