"""How far the arithmetic of another machine moves a score: the ground of the tolerance in rules/rescored.py.

    python -m benchmarks.rescore.noise [--table FILE] [EXAMPLE ...]

Evaluates examples (this repository's own code) from their artifacts under other conditions than the logged ones:
without vector instructions, with two threads, and in bf16 as a GPU would. Prints the largest difference of any score
to the log.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from auditor.configuration import derive_configuration
from auditor.record import read_record
from auditor.rescore.artifact import find_artifact
from auditor.rescore.comparison import paired
from auditor.run.printed import printed_metrics
from auditor.submission import load_folder
from benchmarks.rescore.trials import make_data
from rules.rescored import NOISE_BPB, PROOF_BPB

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
type Row = tuple[str, str, float]  # example, condition, largest difference in bpb
CHOSEN = ("legal_score_first_ttt", "legal_phased_ttt")  # adaptation amplifies rounding
PLAIN = "import runpy; runpy.run_path('train_gpt.py', run_name='__main__')"
HALF = (
    "import torch; real = torch.autocast; torch.autocast = lambda **words: real(**{**words, 'enabled': True}); " + PLAIN
)
CONDITIONS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "as logged": (PLAIN, {}),
    "no vector instructions": (PLAIN, {"ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "SSE41"}),
    "two threads": (PLAIN, {"TORCH_THREADS": "2", "OMP_NUM_THREADS": "2"}),
    "bf16": (HALF, {}),
}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rescore.noise", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("examples", metavar="EXAMPLE", nargs="*", default=CHOSEN)
    parser.add_argument("--table", type=Path, help="also write the figures as a table to this file")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="noise-data-") as data:
        for name in options.examples:
            make_data(Path(data), EXAMPLES / name)
            for condition in CONDITIONS:
                rows.append((name, condition, _difference(EXAMPLES / name, condition, Path(data))))
                print("{}, {}: {:.2e} bpb".format(*rows[-1]), flush=True)
    if options.table:
        options.table.write_text(table(rows), encoding="utf-8")
    return 0


def table(rows: Sequence[Row]) -> str:
    """The figures as Markdown, beside the bands that rest on them."""
    lines = [
        "# What arithmetic alone moves a score by",
        "",
        "Written by `python -m benchmarks.rescore.noise --table benchmarks/rescore/noise.md`. An artifact is evaluated "
        "by its own script under another arithmetic than that of its log; the figure is the largest difference of any "
        f"score to the log, in bpb. Up to {NOISE_BPB:g} bpb a difference confirms the claim, above {PROOF_BPB:g} bpb "
        "in favour of the claim it is an accusation, between the two a person looks (rules/rescored.py).",
        "",
        "| example | arithmetic | largest difference (bpb) |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| {name} | {condition} | {moved:.1e} |" for name, condition, moved in rows), ""])


def _difference(example: Path, condition: str, data: Path) -> float:
    submission = load_folder(str(example))
    record = read_record(submission)
    artifact = find_artifact(submission, record)
    assert artifact is not None and artifact.log is not None
    code, changed = CONDITIONS[condition]
    settings = {name: item.value for name, item in derive_configuration(submission, record).environment.items()}
    with tempfile.TemporaryDirectory(prefix="noise-") as folder:
        work = Path(folder) / "run"
        shutil.copytree(example, work)
        (work / "data").symlink_to(data)
        environment = {"PATH": os.environ["PATH"], "EVAL_ONLY": "1", **settings, "SEED": str(artifact.seed), **changed}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=work, env=environment, capture_output=True, check=True, timeout=1_800
        )
    pairs, _ = paired(printed_metrics(done.stdout), artifact.log, record)
    scores = [(line.val_bpb, metric.score.val_bpb) for line, metric, _ in pairs]
    return max(abs(logged - again) for logged, again in scores if logged is not None and again is not None)


if __name__ == "__main__":
    sys.exit(main())
