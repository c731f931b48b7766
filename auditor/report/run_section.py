"""What a run has to tell besides its findings: how it was made, on which data, with which stand-ins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from auditor.audit import AuditReport
from auditor.report.outline import confinement_entries, notes, problems, unheard, unpacking
from auditor.report.rescore_section import rescore_lines, rescore_table
from auditor.report.tables import TableView, tables

if TYPE_CHECKING:
    from auditor.run.testimony import ToyRun

MAX_LISTED = 12


def run_table(report: AuditReport) -> TableView:
    """One row for each metric tested: what was printed, the floor, log M in nats; the reported one is marked."""
    header = ("score printed on audit data", "source", "printed", "nats a token by construction", "log M in nats")
    rows: list[tuple[str, ...]] = []
    for run in report.run.runs if report.run else ():
        shown = [metric for metric in run.metrics if metric.final][-MAX_LISTED:]
        if run.reported and run.reported.metric not in shown:
            shown.append(run.reported.metric)
        for metric in shown:
            test = run.test_of(metric)
            if test is None:
                continue
            claimed = " (the claimed one)" if run.reported and metric == run.reported.metric else ""
            mean = test.accounting.code_length / max(1, test.accounting.predictions)
            value = metric.score.loss_text or f"{metric.score.bpb_text} bpb"
            label = metric.score.label or "a line without a label"
            rows.append((f"{label}{claimed}", run.stream.source, value, f"{mean:.5f}", f"{test.log_m:+,.0f}"))
    return TableView("Run at toy size", header, tuple(rows))


def remarks(report: AuditReport) -> list[str]:
    """What is worth knowing besides the findings, a line each: runs, notes, what was not heard or not read."""
    lines = [line for line in (unpacking(report), *run_lines(report), *rescore_lines(report), *notes(report)) if line]
    lines += [f"not heard: {why}" for why in unheard(report)]
    lines += [f"internal error while {item.during}: {item.error}" for item in report.incidents]
    return [*lines, *problems(report)]


def all_tables(report: AuditReport) -> list[TableView]:
    """The tables of the rules, of the run and of rescoring, those that have something to show."""
    return [view for view in (*tables(report), run_table(report), rescore_table(report)) if view.rows]


def run_lines(report: AuditReport) -> list[str]:
    """How the run was made, a line each; nothing when none was asked for."""
    if report.run is None:
        return []
    lines = [
        f"run: seed {report.run.seed} repeats it (--seed); confined by {report.run.confinement.name}; a toy run shows "
        "what the code does, not the run that made the submitted log"
    ]
    for run in report.run.runs:  # what is the same in a further run is not said again
        lines += [line for line in _lines_of(run) if line not in lines]
    for item in report.disagreements:
        lines.append(
            f"the witnesses disagree on {item.rule}: source says {item.source.value}, run says {item.run.value}; "
            "one of them is wrong, please look"
        )
    return lines


def _lines_of(run: ToyRun) -> Iterator[str]:
    outcome = run.outcome
    ended = run.failure or (f"stopped by {outcome.stopped_by}" if outcome.stopped_by else "ran to its end")
    predictions = len(run.stream.tokens) - 1
    yield f"run on {predictions:,} tokens ({run.stream.source}): {outcome.seconds:.0f} s, {ended}"
    if names := standins(run):
        yield f"run: stood in for what this machine lacks: {_listed(names)}"
    sizes = [f"{name}={value}" for name, (value, origin) in run.stage.settings.items() if origin == "toy size"]
    if sizes:
        yield f"run: toy sizes by the script's own variables: {_listed(sizes)}"
    replaced = Counter((item.name, item.old, item.new, item.why) for item in run.stage.overrides)
    for (name, old, new, why), times in list(replaced.items())[:MAX_LISTED]:
        yield f"run: {name} = {old} became {new}{f' in {times} places' if times > 1 else ''} ({why})"
    if len(replaced) > MAX_LISTED:
        yield f"run: {len(replaced) - MAX_LISTED} further constants were replaced by toy sizes"
    for note in run.stage.notes[:MAX_LISTED]:
        yield f"run: {note}"


def standins(run: ToyRun) -> list[str]:
    """Names of the stand-ins that a run used."""
    names = (str(record.get("name", "")) for record in run.outcome.records if record.get("kind") == "standin")
    return sorted({name for name in names if name})


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - MAX_LISTED} more" if len(items) > MAX_LISTED else ""
    return ", ".join(items[:MAX_LISTED]) + more


def run_document(report: AuditReport) -> dict[str, object] | None:
    """The run for the JSON report: everything that is needed to repeat it and to check its arithmetic."""
    if report.run is None:
        return None
    return {
        "seed": report.run.seed,
        **confinement_entries(report.run.confinement),
        "disagreements": [
            {"rule": item.rule, "source": item.source.value, "run": item.run.value} for item in report.disagreements
        ],
        "runs": [_run_entry(run) for run in report.run.runs],
    }


def _run_entry(run: ToyRun) -> dict[str, object]:
    return {
        "source": run.stream.source,
        "predictions": len(run.stream.tokens) - 1,
        "floor_nats": run.stream.floor(),
        "text_bytes": run.text_bytes,
        "seconds": run.outcome.seconds,
        "peak_memory_bytes": run.outcome.peak_memory_bytes,
        "exit_code": run.outcome.exit_code,
        "stopped_by": run.outcome.stopped_by,
        "failure": run.failure,
        "standins": standins(run),
        "settings": {name: {"value": value, "source": origin} for name, (value, origin) in run.stage.settings.items()},
        "overrides": [
            {"path": item.path, "line": item.line, "name": item.name, "old": item.old, "new": item.new}
            for item in run.stage.overrides
        ],
        "metrics": [
            {
                "label": metric.score.label,
                "val_loss": metric.score.val_loss,
                "val_bpb": metric.score.val_bpb,
                "final": metric.final,
                "reported": bool(run.reported and metric == run.reported.metric),
                "log_m": test.log_m if (test := run.test_of(metric)) else None,
                "evidence": test.evidence if test else None,
            }
            for metric in run.metrics
        ],
    }
