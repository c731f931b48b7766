"""Doctored records: each beside the honest one that it imitates.

Every case says what must not happen: that a record with this one change passes the rule that looks at it. The twin
makes a change that looks alike and is honest; it must pass everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from auditor.configuration import derive_configuration
from auditor.findings import Status
from rules import RULES
from rules.base import Evidence
from rules.example import HONEST_SCRIPT, SP1024_BPB_PER_NAT, example_folder

EvidenceOf = Callable[..., Evidence]
Files = dict[str, str]
Change = Callable[[Files], Files]

LOSSES = {42: 1.7500, 314: 1.7506, 999: 1.7497}  # nats per token: 1.0365 bpb, below every accepted row
LOGS = tuple(f"train_seed{seed}.log" for seed in LOSSES)
RECORD_RULES = ("SIZE", "TIME", "BYTES", "CLAIM", "EVIDENCE", "FORMAT")


def honest() -> Files:
    files = example_folder(val_losses=LOSSES)
    return {**files, "README.md": files["README.md"] + "\nThree seeds, one script.\n"}


def judged(evidence_of: EvidenceOf, files: Mapping[str, str]) -> dict[str, Status]:
    evidence = evidence_of(files, created=datetime(2026, 5, 3, tzinfo=UTC))
    configuration = derive_configuration(evidence.submission, evidence.record)
    evidence = replace(evidence, configuration=configuration)
    return {code: RULES[code].judge(evidence).status for code in RECORD_RULES}


def everywhere(
    pattern: str, replacement: str | Callable[[re.Match[str]], str], names: tuple[str, ...] = LOGS
) -> Change:
    def change(files: Files) -> Files:
        changed = {name: re.sub(pattern, replacement, files[name]) for name in names}
        assert any(changed[name] != files[name] for name in names), f"{pattern} is nowhere"
        return {**files, **changed}

    return change


def declaring(**fields: object) -> Change:
    def change(files: Files) -> Files:
        return {**files, "submission.json": json.dumps({**json.loads(files["submission.json"]), **fields}, indent=1)}

    return change


def claiming(difference: float) -> Change:
    """Another claim in submission.json and README, the logs as they are."""

    def change(files: Files) -> Files:
        claim = json.loads(files["submission.json"])["val_bpb"] + difference
        readme = re.sub(r"val_bpb: \d\S+", f"val_bpb: {claim:.4f}", files["README.md"])
        return {**declaring(val_bpb=round(claim, 8))(files), "README.md": readme}

    return change


def scored(factor: float, *, loss_too: bool) -> Change:
    """Every final score of the logs, and what rests on it, times `factor`; with its loss, or without."""

    def line(match: re.Match[str]) -> str:
        loss = float(match[1]) * (factor if loss_too else 1.0)
        return f"final val_loss:{loss:.8f} val_bpb:{float(match[2]) * factor:.8f}"

    def change(files: Files) -> Files:
        changed = everywhere(r"final val_loss:(\S+) val_bpb:(\S+)", line)(files)
        document = json.loads(files["submission.json"])
        mean = sum(LOSSES.values()) / len(LOSSES) * SP1024_BPB_PER_NAT * factor
        changed["submission.json"] = json.dumps({**document, "val_bpb": round(mean, 8), "val_loss": None})
        changed["README.md"] = f"val_bpb: {mean:.4f}\n\nA small GRU, three seeds.\n"
        return changed

    return change


def one_run_as_two(files: Files) -> Files:
    """Seed 999 is seed 42 with another seed and score typed in."""
    steps = "".join(
        f"step:{step}/20000 train_loss:{2 + 4 / step**0.5:.4f} train_time:{46 * step + step % 7}ms step_avg:46.00ms\n"
        for step in range(100, 13_000, 250)
    )
    long = {name: files[name].replace("stopping_early", steps + "stopping_early") for name in LOGS[:1]}
    final = re.search(r"final .*", files[LOGS[2]])
    assert final
    copy = long[LOGS[0]].replace("seed:42", "seed:999")
    return {**files, **long, LOGS[2]: re.sub(r"final .*", final[0], copy)}


def two_runs_of_equal_length(files: Files) -> Files:
    """What two honest runs share: the first steps' losses, never the milliseconds."""
    changed = one_run_as_two(files)
    other = re.sub(
        r"train_loss:(\d\.\d{4}) train_time:(\d+)ms",
        lambda match: f"train_loss:{float(match[1]) + 0.0123:.4f} train_time:{int(match[2]) + 31}ms",
        changed[LOGS[2]],
    )
    return {**changed, LOGS[2]: other}


def same_score(files: Files) -> Files:
    """Three logs, one score to the last digit."""
    final = re.search(r"final val_loss:\S+ val_bpb:\S+", files[LOGS[0]])
    assert final
    changed = everywhere(r"final val_loss:\S+ val_bpb:\S+", final[0])(files)
    bpb = float(final[0].rpartition(":")[2])
    return {
        **declaring(val_bpb=bpb, val_loss=LOSSES[42])(changed),
        "README.md": f"val_bpb: {bpb:.4f}\n\nThree seeds.\n",
    }


def further_seed(loss: float, *, counted: bool) -> Change:
    def change(files: Files) -> Files:
        losses = {**LOSSES, 7: loss}
        more = example_folder(val_losses=losses)
        return more if counted else {**files, "train_seed7.log": more["train_seed7.log"]}

    return change


def table_cell(column: int, text: str) -> Change:
    """The figure of seed 314 in the README's table; columns from 1."""
    pattern = r"(?m)^(\| 314 (?:\|[^|\n]*){" + str(column - 1) + r"}\|)[^|\n]*\|"
    return everywhere(pattern, rf"\g<1> {text} |", ("README.md",))


def sized(model: int, *, words: str = "") -> Change:
    def change(files: Files) -> Files:
        code = len(files["train_gpt.py"].encode())
        figures = {"15200000": str(model), str(15_200_000 + code): str(model + code)}
        figures[f"{15_200_000 + code:,}"] = f"{model + code:,}"
        changed = dict(files)
        for old, new in figures.items():
            changed = {name: text if name.endswith(".py") else text.replace(old, new) for name, text in changed.items()}
        return {**changed, "README.md": changed["README.md"] + words}

    return change


def commas(files: Files) -> Files:
    """Decimal commas, as some locales write them."""
    claim = json.loads(files["submission.json"])["val_bpb"]
    return {
        **declaring(val_bpb=f"{claim:.6f}".replace(".", ","))(files),
        "README.md": re.sub(r"\| (\d)\.(\d{4}) ", r"| \1,\2 ", files["README.md"]),
    }


def then(*changes: Change) -> Change:
    def change(files: Files) -> Files:
        for each in changes:
            files = each(files)
        return files

    return change


def same(files: Files) -> Files:
    return files


def script_with(text: str) -> Change:
    """The submitted script after the runs: the logs keep the size they counted."""

    def change(files: Files) -> Files:
        return {**files, "train_gpt.py": files["train_gpt.py"] + text}

    return change


def with_source(extra: str) -> Change:
    """Logs that carry the source they ran, with `extra` lines."""
    head = HONEST_SCRIPT + extra + "\n" + "=" * 100 + "\nRunning Python 3.12.3\n" + "=" * 100 + "\n"

    def change(files: Files) -> Files:
        return {**files, **{name: head + files[name] for name in LOGS}}

    return change


def appending(text: str) -> Change:
    def change(files: Files) -> Files:
        return {**files, **{name: files[name] + text for name in LOGS}}

    return change


def readme_says(text: str) -> Change:
    def change(files: Files) -> Files:
        return {**files, "README.md": files["README.md"] + text}

    return change


SIGNIFICANT = readme_says("\nBeats the record at p = 0.0001 (Welch).\n")
SEEDS = declaring(seeds={str(seed): {"val_bpb": round(loss * SP1024_BPB_PER_NAT, 6)} for seed, loss in LOSSES.items()})
LATE_STEP = r"step:13000/20000 (.*) train_time:\d+ms step_avg:\S+"


@dataclass(frozen=True)
class Doctored:
    """`worst`: what the rule must at least say of the doctored record."""

    name: str
    rule: str
    doctored: Change
    twin: Change
    worst: Status = Status.REVIEW


CASES = (
    Doctored("one run given as two seeds", "CLAIM", one_run_as_two, two_runs_of_equal_length, Status.FAIL),
    Doctored("three logs that print one score", "EVIDENCE", same_score, same),
    Doctored("a claim better than every log by 0.02", "CLAIM", claiming(-0.02), claiming(0.0), Status.FAIL),
    Doctored("a claim better than the mean by 0.0008", "CLAIM", claiming(-0.0008), claiming(-0.00002)),
    Doctored(
        "scores edited in every log, losses forgotten",
        "BYTES",
        scored(0.95, loss_too=False),
        scored(0.999, loss_too=True),
        Status.FAIL,
    ),
    Doctored(
        "one seed's score edited, the table kept",
        "CLAIM",
        everywhere(r"final val_loss:\S+ val_bpb:\S+", "final val_loss:1.72000000 val_bpb:1.01868088", LOGS[1:2]),
        same,
    ),
    Doctored("a cell of the claim's column", "CLAIM", table_cell(2, "1.0290"), table_cell(2, "1.03681")),
    Doctored(
        "another seed was worse and is left out",
        "CLAIM",
        further_seed(1.79, counted=False),
        further_seed(1.7503, counted=True),
    ),
    Doctored(
        "seeds are named, one log is missing",
        "EVIDENCE",
        then(SEEDS, lambda files: {name: text for name, text in files.items() if name != LOGS[1]}),
        SEEDS,
        Status.FAIL,
    ),
    Doctored(
        "a log named for another seed",
        "CLAIM",
        lambda files: {**files, LOGS[2]: files[LOGS[2]].replace("seed:999", "seed:998")},
        same,
    ),
    Doctored(
        "the label of another script",
        "CLAIM",
        everywhere("final val_loss", "slot_window val_loss"),
        same,
    ),
    Doctored(
        "the source in the logs scores differently",
        "CLAIM",
        with_source("\nval_loss = 0.98 * val_loss\n"),
        with_source("\n# a comment\n"),
    ),
    Doctored("the script grew by a tenth after the runs", "CLAIM", script_with("# x\n" * 120), script_with("# x\n")),
    Doctored(
        "training of 640 s",
        "TIME",
        everywhere(r"train_time:599\d+ms step:13041", "train_time:640000ms step:13041"),
        everywhere(r"train_time:599\d+ms step:13041", "train_time:600300ms step:13041"),
        Status.FAIL,
    ),
    Doctored(
        "the stop line says 599 s, the steps before it 660 s",
        "TIME",
        everywhere(LATE_STEP, r"step:13000/20000 \1 train_time:660000ms step_avg:50.77ms"),
        same,
    ),
    Doctored(
        "a clock that runs backwards",
        "TIME",
        everywhere(r"step:12000/20000 (.*) train_time:\d+ms", r"step:12000/20000 \1 train_time:300000ms"),
        same,
    ),
    Doctored(
        "a time that its own average contradicts",
        "TIME",
        everywhere(r"step:9000/20000 (.*) train_time:\d+ms", r"step:9000/20000 \1 train_time:370000ms"),
        everywhere(r"step:9000/20000 (.*) train_time:\d+ms", r"step:9000/20000 \1 train_time:414500ms"),
    ),
    Doctored(
        "an evaluation of 700 s",
        "TIME",
        everywhere(r"eval_time:\d+ms", "eval_time:700000ms"),
        everywhere(r"eval_time:\d+ms", "eval_time:590000ms"),
        Status.FAIL,
    ),
    Doctored(
        "mebibytes called megabytes",
        "SIZE",
        sized(16_265_000, words="\nArtifact: 15.51 MB.\n"),
        sized(15_510_000, words="\nArtifact: 15.51 MB.\n"),
        Status.FAIL,
    ),
    Doctored(
        "a total smaller than its parts",
        "SIZE",
        then(sized(15_999_000), everywhere(r"(Total submission size fp16\+zlib:) \d+", r"\1 15400000")),
        sized(15_900_000),
    ),
    Doctored(
        "README and submission.json claim different scores",
        "CLAIM",
        everywhere(r"val_bpb: \d\S+", "val_bpb: 1.0110", ("README.md",)),
        everywhere(r"val_bpb: (\d\.\d{3})\S+", r"val_bpb: \1", ("README.md",)),
    ),
    Doctored(
        "a gain that is only said to be significant",
        "EVIDENCE",
        then(scored(1.0193, loss_too=True), SIGNIFICANT),  # 1.0565 bpb: that of the record to beat
        SIGNIFICANT,
    ),
    Doctored(
        "a flag that the figures contradict",
        "CLAIM",
        then(sized(16_100_000), declaring(compliance={"artifact_under_16mb": True})),
        declaring(compliance={"artifact_under_16mb": True}),
    ),
    Doctored(
        "a better score typed behind the last line",
        "CLAIM",
        then(appending("final val_loss:1.70000000 val_bpb:1.00683576\n"), claiming(1.00683576 - 1.0365473)),
        same,
    ),
    Doctored("decimal commas hide another score", "CLAIM", then(claiming(-0.02), commas), commas, Status.FAIL),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_doctored_record_does_not_pass(evidence_of: EvidenceOf, case: Doctored) -> None:
    status = judged(evidence_of, case.doctored(honest()))[case.rule]
    allowed = (Status.FAIL,) if case.worst is Status.FAIL else (Status.FAIL, Status.REVIEW)
    assert status in allowed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_its_honest_twin_passes(evidence_of: EvidenceOf, case: Doctored) -> None:
    statuses = judged(evidence_of, case.twin(honest()))
    assert statuses[case.rule] is Status.PASS
    assert Status.FAIL not in statuses.values()
