"""How far the arithmetic of another machine moves a score: the ground of the tolerance in rules/rescored.py.

    python -m benchmarks.rescore.noise [EXAMPLE ...]

Evaluates examples (this repository's own code) from their artifacts under other conditions than the logged ones:
without vector instructions, with two threads, and in bf16 as a GPU would. Prints the largest difference of any score
to the log.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from auditor.configuration import derive_configuration
from auditor.record import read_record
from auditor.rescore.artifact import find_artifact
from auditor.rescore.comparison import paired
from auditor.run.printed import printed_metrics
from auditor.submission import load_folder
from benchmarks.rescore.trials import make_data

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
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
    with tempfile.TemporaryDirectory(prefix="noise-data-") as data:
        for name in sys.argv[1:] or CHOSEN:
            make_data(Path(data), EXAMPLES / name)
            for condition in CONDITIONS:
                difference = _difference(EXAMPLES / name, condition, Path(data))
                print(f"{name}, {condition}: {difference:.2e} bpb", flush=True)
    return 0


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
