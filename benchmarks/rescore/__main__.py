"""Evaluate the artifact of every example again, then doctored copies of one; print what comes of each.

    python -m benchmarks.rescore [--only NAME ...] [--table FILE] [--python FILE]

The data are drawn anew from the source behind the examples, by the seed in the data set's name; nothing of a folder is
trusted. Exit code 1: a legal example was not confirmed, or a doctored one was not told from it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from auditor.findings import Status
from auditor.rescore.witness import RescoreOptions
from benchmarks.rescore.doctoring import ARTIFACT, DOCTORINGS
from benchmarks.rescore.trials import Trial, make_data, try_folder
from rules.base import ValidationText

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DOCTORED = "legal_sliding_window"  # a legal example that is quickly evaluated
BETTER = "illegal_prequant_ttt"  # whose artifact scores better under the same script's settings


def main() -> int:
    """Run everything and print the table."""
    options = _arguments()
    with tempfile.TemporaryDirectory(prefix="rescore-data-") as name:
        data = Path(name)
        folders = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())
        chosen = [path for path in folders if not options.only or path.name in options.only]
        for folder in dict.fromkeys([*chosen, EXAMPLES / DOCTORED]):
            make_data(data, folder)
        text = _text()
        rescore = RescoreOptions(data=data, python=options.python or "", cut=options.cut)
        trials = []
        for folder in chosen:
            trials.append(_told(try_folder(folder, data, text, rescore)))
        doctored = [] if options.only else list(_doctored(data, text, rescore))
    table = _table(trials, doctored)
    print(table, end="")
    if options.table:
        options.table.write_text(table, encoding="utf-8")
    legal = [trial for trial in trials if trial.name.startswith("legal_")]
    wrong = [trial.name for trial in legal if not trial.confirmed or trial.rules]
    wrong += [f"doctored: {trial.name}" for _, trial in doctored if not trial.rules]
    if wrong:
        print(f"benchmarks.rescore: not as they should be: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rescore", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="examples; all, and the doctored ones")
    parser.add_argument("--cut", action="store_true", help="leave the scripts' own switches alone, cut them instead")
    parser.add_argument("--table", type=Path, help="also write the table to this file")
    parser.add_argument("--python", help="interpreter with torch (default: this one)")
    return parser.parse_args()


def _text() -> ValidationText:
    import json

    facts = json.loads((EXAMPLES / "validation_text.json").read_text())
    return ValidationText(facts["name"], facts["text_bytes"], official=False)


def _doctored(data: Path, text: ValidationText, rescore: RescoreOptions) -> list[tuple[Trial, Trial]]:
    """(read only, evaluated again) of each doctored copy."""
    honest = {path.name: path.read_bytes() for path in (EXAMPLES / DOCTORED).iterdir()}
    others = {"better": (EXAMPLES / BETTER / ARTIFACT).read_bytes()}
    trials = []
    for doctoring in DOCTORINGS:
        with tempfile.TemporaryDirectory(prefix="doctored-") as name:
            folder = Path(name) / doctoring.name
            folder.mkdir()
            for file, content in doctoring.change(dict(honest), others).items():
                (folder / file).write_bytes(content)
            read = try_folder(folder, data, text, None)
            trials.append((read, _told(try_folder(folder, data, text, rescore))))
    return trials


def _told(trial: Trial) -> Trial:
    print(
        f"{trial.name}: {trial.seconds:.0f} s ({trial.cpu_seconds:.0f} CPU s), {trial.verdict}",
        file=sys.stderr,
        flush=True,
    )
    return trial


def _table(trials: Sequence[Trial], doctored: Sequence[tuple[Trial, Trial]]) -> str:
    total = sum(trial.seconds for trial in trials)
    busy = sum(trial.cpu_seconds for trial in trials)
    lines = [
        "# The examples, evaluated again",
        "",
        "Written by `python -m benchmarks.rescore --table benchmarks/rescore/table.md`. Scores are bits per byte of "
        "the run that the artifact comes from. *Independent* is the reference scorer's nearest score of it.",
        "",
        "| example | claimed | replayed | independent | by | CPU seconds | repeats to the last digit | not in order |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for trial in trials:
        rules = ", ".join(f"{rule} {status}" for rule, status in trial.rules.items())
        lines.append(
            f"| {trial.name} | {trial.claimed} | {trial.replayed} | {trial.independent} | {trial.way} | "
            f"{trial.cpu_seconds:.0f} | {'yes' if trial.confirmed else 'no'} | {rules} |"
        )
    confirmed = sum(trial.confirmed for trial in trials)
    lines += [
        "",
        f"{confirmed} of {len(trials)} repeat to the last digit, in {busy:.0f} CPU seconds altogether ({total:.0f} s "
        "by the clock).",
        "",
    ]
    if doctored:
        lines += [
            f"## Doctored copies of {DOCTORED}",
            "",
            "| what was changed | by reading alone | evaluated again | what the evaluation says |",
            "|---|---|---|---|",
        ]
        for read, again in doctored:
            alone = ", ".join(f"{rule} {status}" for rule, status in read.rules.items()) or Status.PASS.value
            both = ", ".join(f"{rule} {status}" for rule, status in again.rules.items()) or Status.PASS.value
            said = "; ".join(f"{rule} {message}" for rule, message in again.by_rescoring.items()).replace("|", "/")
            lines.append(f"| {read.name} | {alone} | {both} | {said} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
