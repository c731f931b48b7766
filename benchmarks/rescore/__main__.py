"""Evaluate the artifact of every example again, then doctored copies of one; print what comes of each.

    python -m benchmarks.rescore [--only NAME ...] [--table FILE] [--rows FILE] [--python FILE]

The data are drawn anew from the source behind the examples, by the seed in the data set's name; nothing of a folder is
trusted. Exit code 1: a legal example was not confirmed, or a doctored one was not told from it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from auditor.findings import Status
from auditor.rescore import witness
from auditor.rescore.witness import RescoreOptions
from benchmarks.rescore.doctoring import ARTIFACT, DOCTORINGS, Doctoring
from benchmarks.rescore.trials import EqualRuns, Trial, make_data, try_folder
from rules.base import ValidationText

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
READ, AGAIN = KINDS = ("read", "again")
DOCTORED = "legal_sliding_window"  # a legal example that is quickly evaluated
OTHER = "legal_caseops"  # whose artifact fits the same script, and was trained for another text


def main() -> int:
    """Run what is missing, print the table."""
    options = _arguments()
    rows = _Rows(options.rows)
    setattr(witness, "run_job", EqualRuns())  # noqa: B010  the type checker sees a function there
    with tempfile.TemporaryDirectory(prefix="rescore-data-") as name:
        data = options.data or Path(name)
        runner = _Runner(data, RescoreOptions(data=data, python=options.python or "", cut=options.cut))
        folders = sorted((path for path in EXAMPLES.iterdir() if path.is_dir()), key=_legal_first)
        jobs = {
            f"{kind}: {item.name}": partial(runner.doctored, item, kind == AGAIN)
            for item in DOCTORINGS
            for kind in KINDS
        }
        jobs |= {folder.name: partial(runner.example, folder) for folder in folders}
        for key in options.only or jobs:
            rows.get(key, jobs[key])
    known = rows.known
    trials = [known[folder.name] for folder in folders if folder.name in known]
    doctored = [
        (known[f"{READ}: {item.name}"], known[f"{AGAIN}: {item.name}"])
        for item in DOCTORINGS
        if f"{READ}: {item.name}" in known and f"{AGAIN}: {item.name}" in known
    ]
    missing = [key for key in jobs if key not in known]
    table = _table(trials, doctored, missing)
    print(table, end="")
    if options.table:
        options.table.write_text(table, encoding="utf-8")
    wrong = [trial.name for trial in trials if trial.name.startswith("legal_") and (not trial.confirmed or trial.rules)]
    wrong += [f"doctored: {again.name}" for _, again in doctored if not again.rules]
    if wrong:
        print(f"benchmarks.rescore: not as they should be: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


class _Rows:
    """Results that are kept as JSON lines, so that a run can be interrupted; without a file only in memory."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
        self.known = {key: Trial(**row) for key, row in (json.loads(line) for line in lines)}

    def get(self, key: str, run: Callable[[], Trial]) -> Trial:
        """The known result, or that of `run`."""
        if key not in self.known:
            trial = self.known[key] = run()
            print(
                f"{key}: {trial.seconds:.0f} s, {trial.cpu_seconds:.0f} CPU s, {trial.verdict}",
                file=sys.stderr,
                flush=True,
            )
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, asdict(trial)]) + "\n")
        return self.known[key]


class _Runner:
    """Makes the data that a folder needs, and audits it."""

    def __init__(self, data: Path, rescore: RescoreOptions) -> None:
        self.data, self.rescore, self.text = data, rescore, _text()

    def example(self, folder: Path) -> Trial:
        """An example as it is."""
        make_data(self.data, folder)
        return try_folder(folder, self.text, self.rescore)

    def doctored(self, doctoring: Doctoring, rescore: bool) -> Trial:
        """A doctored copy, read only or evaluated again."""
        if rescore:
            make_data(self.data, EXAMPLES / DOCTORED)
        honest = {path.name: path.read_bytes() for path in (EXAMPLES / DOCTORED).iterdir()}
        others = {"other": (EXAMPLES / OTHER / ARTIFACT).read_bytes()}
        with tempfile.TemporaryDirectory(prefix="doctored-") as name:
            folder = Path(name) / doctoring.name
            folder.mkdir()
            for file, content in doctoring.change(dict(honest), others).items():
                (folder / file).write_bytes(content)
            return try_folder(folder, self.text, self.rescore if rescore else None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rescore", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        metavar="NAME",
        help="examples, or 'again: NAME' of doctored ones; default: all",
    )
    parser.add_argument("--cut", action="store_true", help="leave the scripts' own switches alone, cut them instead")
    parser.add_argument("--table", type=Path, help="also write the table to this file")
    parser.add_argument("--rows", type=Path, help="JSON lines, added to; what stands there is not run again")
    parser.add_argument("--data", type=Path, help="a folder to keep the data sets in, made where they are missing")
    parser.add_argument("--python", help="interpreter with torch (default: this one)")
    return parser.parse_args()


def _legal_first(folder: Path) -> tuple[bool, str]:
    return not folder.name.startswith("legal_"), folder.name


def _text() -> ValidationText:
    facts = json.loads((EXAMPLES / "validation_text.json").read_text())
    return ValidationText(facts["name"], facts["text_bytes"], official=False)


def _table(trials: Sequence[Trial], doctored: Sequence[tuple[Trial, Trial]], missing: Sequence[str]) -> str:
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
            "Equal evaluations (one script, artifact and settings) are run once.",
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
    if missing:
        lines += [f"Not run: {', '.join(missing)}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
