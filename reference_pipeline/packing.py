"""Pack a submission folder with one command: train_gpt.py, README, submission.json, logs, requirements.

Every figure in the folder is read from the logs of runs of the bundled script itself, alone in an empty folder.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from reference_pipeline.artifact import wrap_code
from reference_pipeline.bundling import bundle
from reference_pipeline.errors import PipelineError
from reference_pipeline.prepare_data import prepare_toy_data
from reference_pipeline.shards import write_atomically

REQUIREMENTS = ("torch", "numpy", "sentencepiece", "brotli", "zstandard")
ARTIFACT = "final_model.int6.ptz"
MAX_FOLDER_ARTIFACT_BYTES = 1_000_000  # submissions carry no weights; toy ones are small enough to be worth it


@dataclass(frozen=True)
class Recipe:
    """A submission to be produced: which entry point, under which settings, and what to say about it."""

    name: str  # folder
    title: str
    entry: str  # module with a main
    label: str  # the log label whose score is claimed
    summary: str  # README paragraph
    environment: dict[str, str] = field(default_factory=dict)
    data: dict[str, object] = field(default_factory=dict)  # keywords of prepare_toy_data
    wrap: bool = False  # self-extracting script
    track: str = "non_record_16mb"  # "10min_16mb" only for what ran on 8xH100
    verdict: str = ""  # closing line of the README; what the example shows


@dataclass(frozen=True)
class SeedRun:
    """Figures of one run, as its log prints them."""

    seed: int
    val_loss: float
    val_bpb: float
    model_bytes: int
    code_bytes: int
    total_bytes: int
    train_seconds: float
    eval_seconds: float
    log_text: str


def read_run(seed: int, log_text: str, label: str) -> SeedRun:
    """Collect the figures of a log; the error names what is missing."""

    def last(pattern: str) -> tuple[str, ...]:
        matches = re.findall(pattern, log_text, flags=re.MULTILINE)
        if not matches:
            raise PipelineError(f"log of seed {seed}: no line matches {pattern!r}; did the run finish?")
        return matches[-1] if isinstance(matches[-1], tuple) else (matches[-1],)

    loss, bpb, eval_ms = last(rf"^{re.escape(label)} val_loss:(\S+) val_bpb:(\S+) eval_time:(\d+)ms")
    return SeedRun(
        seed,
        float(loss),
        float(bpb),
        int(last(r"^Serialized model quantized\+\w+: (\d+) bytes")[0]),
        int(last(r"^Code size: (\d+) bytes")[0]),
        int(last(r"^Total submission size quantized\+\w+: (\d+) bytes")[0]),
        int(last(r"train_time:\s?(\d+)ms")[0]) / 1000,
        int(eval_ms) / 1000,
        log_text,
    )


def run_script(script: Path, folder: Path, seed: int, environment: dict[str, str]) -> str:
    """Run the script alone in `folder` and return its log. Nothing of this package is importable there."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "TMPDIR")
    }
    settings = environment | {"SEED": str(seed), "RUN_ID": f"seed{seed}", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, script.name], cwd=folder, env=clean | settings, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        tail = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PipelineError(f"{script}: seed {seed} stopped with exit code {done.returncode}: {tail}")
    return (folder / "logs" / f"seed{seed}.txt").read_text(encoding="utf-8")


def pack_submission(recipe: Recipe, output: Path, seeds: tuple[int, ...], data_folder: Path) -> list[SeedRun]:
    """Produce the folder `output`; existing files of an earlier packing are replaced only when every run succeeded."""
    toy = prepare_toy_data(data_folder, **recipe.data)
    source = bundle(recipe.entry)
    with tempfile.TemporaryDirectory(prefix="packing-") as name:
        work = Path(name)
        (work / "data").symlink_to(data_folder.resolve())
        script = work / "train_gpt.py"
        write_atomically(script, (wrap_code(source) if recipe.wrap else source).encode())
        tokenizer = "bytes" if str(toy.tokenizer_path) == "bytes" else f"./data/tokenizers/{toy.name}.model"
        environment = {
            "DATA_PATH": f"./data/datasets/{toy.name}",
            "TOKENIZER_PATH": tokenizer,
            "VOCAB_SIZE": str(toy.vocab_size),
        }
        environment |= recipe.environment
        runs, artifact = [], b""
        for index, seed in enumerate(seeds):
            text = run_script(script, work, seed, environment | {"LOG_SOURCE": "1" if index == 0 else "0"})
            runs.append(read_run(seed, text, recipe.label))
            if index == 0:
                artifact = (work / ARTIFACT).read_bytes()
        files = {"train_gpt.py": script.read_bytes(), ARTIFACT: artifact}
    if len(artifact) > MAX_FOLDER_ARTIFACT_BYTES:
        del files[ARTIFACT]
    files |= {f"train_seed{run.seed}.log": run.log_text.encode() for run in runs}
    files["requirements.txt"] = "".join(f"{package}=={version(package)}\n" for package in REQUIREMENTS).encode()
    files["submission.json"] = (json.dumps(submission_json(recipe, runs), indent=2, ensure_ascii=False) + "\n").encode()
    files["README.md"] = readme(recipe, runs, environment).encode()
    replace_folder(output, files)
    return runs


def replace_folder(output: Path, files: dict[str, bytes]) -> None:
    """Make `output` hold exactly `files`; a full disk leaves the folder that was there as it was."""
    beside = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        for file, data in files.items():
            write_atomically(beside / file, data)
        if output.exists():
            shutil.rmtree(output)
        beside.rename(output)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def submission_json(recipe: Recipe, runs: list[SeedRun]) -> dict[str, object]:
    """The claim: mean over the seeds, and every seed's figures."""
    return {
        "author": "reference pipeline",
        "github_id": "reference-pipeline",
        "name": recipe.title,
        "date": datetime.date.today().isoformat(),
        "track": recipe.track,
        "val_bpb": round(statistics.mean(run.val_bpb for run in runs), 8),
        "val_loss": round(statistics.mean(run.val_loss for run in runs), 8),
        "seeds": [run.seed for run in runs],
        "seed_results": {
            str(run.seed): {"val_bpb": run.val_bpb, "val_loss": run.val_loss, "artifact_bytes": run.total_bytes}
            for run in runs
        },
        "bytes_total": max(run.total_bytes for run in runs),
        "bytes_code": runs[0].code_bytes,
        "hardware": "CPU",
        "technique_summary": recipe.summary,
    }


def readme(recipe: Recipe, runs: list[SeedRun], environment: dict[str, str]) -> str:
    """The folder's README: what it is, the seeds, the command that produced the logs."""
    mean = statistics.mean(run.val_bpb for run in runs)
    rows = "\n".join(
        f"| {run.seed} | {run.val_loss:.8f} | {run.val_bpb:.8f} | {run.total_bytes:,} "
        f"| {run.train_seconds:.1f} | {run.eval_seconds:.1f} |"
        for run in runs
    )
    settings = " \\\n".join(f"{name}={value}" for name, value in environment.items())
    return (
        f"# {recipe.title}\n\n**val_bpb: {mean:.4f}** ({len(runs)}-seed mean)\n\n{recipe.summary}\n\n"
        "| Seed | val_loss | val_bpb | Artifact bytes | Train s | Eval s |\n|---|---|---|---|---|---|\n"
        f"{rows}\n| **Mean** | | **{mean:.8f}** | | | |\n\n"
        f"## Command\n\n```bash\nSEED={runs[0].seed} \\\n{settings} \\\npython train_gpt.py\n```\n\n{recipe.verdict}\n"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="Run the legal pipeline under the current environment and pack a submission folder."
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--name", default="Reference pipeline")
    parser.add_argument("--entry", default="reference_pipeline.pipeline")
    parser.add_argument("--label", default="quantized_sliding_window", help="log label whose score is claimed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 42, 2025])
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the run")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--track", choices=("10min_16mb", "non_record_16mb"), default="non_record_16mb")
    parser.add_argument("--wrap", action="store_true", help="make train_gpt.py self-extracting")
    arguments = parser.parse_args()
    environment = dict(setting.split("=", 1) for setting in arguments.set)
    recipe = Recipe(
        arguments.output.name,
        arguments.name,
        arguments.entry,
        arguments.label,
        "Produced by the reference pipeline.",
        environment,
        wrap=arguments.wrap,
        track=arguments.track,
    )
    try:
        runs = pack_submission(recipe, arguments.output, tuple(arguments.seeds), arguments.data)
    except PipelineError as error:
        sys.exit(f"error: {error}")
    for run in runs:
        print(f"seed {run.seed}: val_bpb {run.val_bpb:.8f}, {run.total_bytes} bytes")


if __name__ == "__main__":
    main()
