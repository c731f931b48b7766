"""What rescoring has to tell besides its findings: the scores side by side, how they were made, the lines that ran."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from auditor.audit import AuditReport
from auditor.report.outline import confinement_entries
from auditor.report.tables import TableView

if TYPE_CHECKING:
    from auditor.rescore.model import Cut, Independent, Pair, Replay, RescoreReport

MAX_LISTED = 12
MAX_LOG_BYTES = 3_500  # of each training run; --keep-logs keeps them whole
OF_CUT = "the statements before its artifact is read left out"


def rescore_table(report: AuditReport) -> TableView:
    """Claimed, replayed and independent scores, with the difference that each step explains."""
    header = ("evaluated again", "val_loss", "val_bpb", "difference", "from")
    rescored = report.rescore
    rows = list(_rows(rescored)) if rescored is not None else []
    return TableView("The artifact evaluated again", header, tuple(rows))


def _rows(rescored: RescoreReport) -> Iterator[tuple[str, ...]]:
    replay, independent = rescored.replay, rescored.independent
    for pair in replay.pairs if replay else ():
        mark = " (the claimed one)" if pair.carries_claim else ""
        logged = pair.logged
        yield f"{pair.label}{mark}: logged", logged.loss_text, logged.bpb_text, "", ""
        score = pair.replayed.score
        yield f"{pair.label}{mark}: replayed", score.loss_text, score.bpb_text, _signed(_back(pair)), "this machine"
    for metric in replay.metrics if replay and not replay.pairs else ():
        if metric.final:
            yield f"{metric.score.label or 'a score'}: replayed", metric.score.loss_text, metric.score.bpb_text, "", ""
    if independent is not None:
        yield from _independent_rows(independent, replay)


def _back(pair: Pair) -> float | None:
    return None if pair.difference_bpb is None else -pair.difference_bpb


def _independent_rows(independent: Independent, replay: Replay | None) -> Iterator[tuple[str, ...]]:
    """The reference's scores of the model: longer context first, then adaptation; at last the rest to the replay."""
    windows, sliding = independent.score("windows"), independent.score("sliding window")
    for score in independent.scores:
        before, what = {
            "windows": (None, "reference scorer, plain windows"),
            "sliding window": (windows, "longer context"),
        }.get(score.name, (sliding, "adaptation" if "TTT" in score.name or "LoRA" in score.name else "windows"))
        difference = score.val_bpb - before.val_bpb if before else None
        yield f"independent: {score.name}", f"{score.val_loss:.8f}", f"{score.val_bpb:.8f}", _signed(difference), what
    reported = replay.reported if replay else None
    bpb = reported.score.val_bpb if reported else None
    if reported is None or bpb is None or not independent.scores:
        return
    nearest = min(independent.scores, key=lambda score: abs(score.val_bpb - bpb))
    label = reported.score.label or "the last score"
    yield f"{label} less independent {nearest.name}", "", "", _signed(bpb - nearest.val_bpb), "its own evaluation"


def _signed(difference: float | None) -> str:
    return "" if difference is None else f"{difference:+.8f}"


def rescore_lines(report: AuditReport) -> list[str]:
    """How the scores were made, a line each; nothing when none were asked for."""
    rescored = report.rescore
    if rescored is None:
        return []
    text = rescored.text
    lines = [
        f"rescored on {text.name}: {text.targets:,} predicted tokens, {text.text_bytes:,} bytes, sha256 of the tokens "
        f"{text.sha256[:16]}…{'' if text.canonical else f'; {text.why}'}"
    ]
    artifact = rescored.artifact
    if artifact is not None:
        run = f", of the run with seed {artifact.seed}" if artifact.seed is not None else ""
        lines.append(f"rescored {artifact.path}: {artifact.file.size:,} bytes, sha256 {artifact.sha256[:16]}…{run}")
    if rescored.replay is not None:
        lines += _replay_lines(rescored.replay)
    if rescored.independent is not None and rescored.independent.failure:
        lines.append(f"rescored: no independent score of some kind: {rescored.independent.failure}")
    for training in rescored.training:
        seed = f", seed {training.seed}" if training.seed is not None else ""
        ended = training.failure or f"{sum(metric.final for metric in training.metrics)} scores"
        lines.append(f"trained again ({training.scale.value}{seed}): {training.seconds:.0f} s, {ended}")
    return [*lines, *(f"rescored: {reason}" for reason in rescored.reasons)]


def _replay_lines(replay: Replay) -> Iterator[str]:
    switches = ", ".join(f"{name}={value}" for name, value in replay.switches.items())
    how = f"by {switches}" if switches else f"with {OF_CUT}"
    where = "with what stands in for a GPU" if replay.standing_in else "as on a machine without a GPU"
    ended = replay.failure or "ran to its end"
    yield f"rescored: its own evaluation {how}, {where}: {replay.outcome.seconds:.0f} s, {ended}"
    if replay.cut is not None:
        yield from _cut_lines(replay.cut)


def _cut_lines(cut: Cut) -> Iterator[str]:
    for span in cut.spans[:MAX_LISTED]:
        yield f"rescored: {cut.path} lines {span.first}-{span.last} were left out ({span.why})"
    ran = ", ".join(f"{first}-{last}" if first != last else f"{first}" for first, last in cut.running[:MAX_LISTED])
    way = ", ".join(map(str, cut.reading[:MAX_LISTED]))
    yield f"rescored: {cut.path} ran from its artifact on: lines {ran}, reached over lines {way}"


def rescore_document(report: AuditReport) -> dict[str, object] | None:
    """Rescoring for the JSON report: every figure that was compared."""
    rescored = report.rescore
    if rescored is None:
        return None
    artifact, replay, independent = rescored.artifact, rescored.replay, rescored.independent
    return {
        "text": {
            "name": rescored.text.name,
            "targets": rescored.text.targets,
            "text_bytes": rescored.text.text_bytes,
            "tokens_sha256": rescored.text.sha256,
            "canonical": rescored.text.canonical,
            "why_not": rescored.text.why,
        },
        **confinement_entries(rescored.confinement),
        "artifact": {
            "path": artifact.path,
            "bytes": artifact.file.size,
            "sha256": artifact.sha256,
            "seed": artifact.seed,
            "code_bytes": rescored.code_bytes,
        }
        if artifact
        else None,
        "replay": _replay_document(replay) if replay else None,
        "independent": {
            "method": independent.method,
            "failure": independent.failure,
            "look_ahead": independent.future,
            "scores": [
                {
                    "name": score.name,
                    "val_loss": score.val_loss,
                    "val_bpb": score.val_bpb,
                    "targets": score.targets,
                }
                for score in independent.scores
            ],
        }
        if independent
        else None,
        "training": [
            {
                "scale": training.scale.value,
                "seed": training.seed,
                "seconds": training.seconds,
                "failure": training.failure,
                "scores": [_pair_document(pair) for pair in training.pairs],
                "repeated_from_artifact": [training.repeated, training.compared],
                "log": training.log[-MAX_LOG_BYTES:].decode("utf-8", "replace"),
            }
            for training in rescored.training
        ],
        "launches": [
            {"seed": launch.seed, "environment": dict(launch.environment), "command": list(launch.command)}
            for launch in rescored.launches
        ],
        "reasons": list(rescored.reasons),
    }


def _replay_document(replay: Replay) -> dict[str, object]:
    cut = replay.cut
    return {
        "way": replay.way.value,
        "switches": dict(replay.switches),
        "standing_in": replay.standing_in,
        "seconds": replay.outcome.seconds,
        "failure": replay.failure,
        "scores": [_pair_document(pair) for pair in replay.pairs],
        "not_replayed": [line.label for line in replay.missing],
        "settings": {name: {"value": value, "source": origin} for name, (value, origin) in replay.settings.items()},
        "left_out": [[span.first, span.last, span.why] for span in cut.spans] if cut else [],
        "ran": [list(span) for span in cut.running] if cut else [],
    }


def _pair_document(pair: Pair) -> dict[str, object]:
    score = pair.replayed.score
    return {
        "label": pair.logged.label,
        "logged_bpb": pair.logged.val_bpb,
        "replayed_bpb": score.val_bpb,
        "logged_loss": pair.logged.val_loss,
        "replayed_loss": score.val_loss,
        "claimed": pair.carries_claim,
        "exact": pair.exact,
    }
