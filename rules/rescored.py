"""What the rescore witness can say to CLAIM, SIZE, BYTES and TRAINDATA, and how far figures may lie apart.

Three bands, in bits per byte. Up to `NOISE_BPB` a difference confirms: it is another processor's arithmetic, another
order of sums. Above `PROOF_BPB` no arithmetic explains it. Between the two, where half precision on a GPU against a CPU
may lie, a person looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from auditor.findings import Finding, RuleResult, Status, Step, Witness, worst
from rules.base import Evidence

if TYPE_CHECKING:
    from auditor.ledger import Ledger
    from auditor.rescore.model import Artifact, Independent, Pair, Replay, RescoreReport, Score

NOISE_BPB = 1e-3
"""Measured on the examples (benchmarks/rescore/noise.md): a CPU without vector instructions moves no score by more than
4e-5 bpb, two threads by 8e-7, adapted scores included; on the machine of the log all repeat to the last digit. The band
is twenty times that, and half of what a record must gain (0.005 nats a token, 0.002 bpb at SP8192), so that what it
confirms is the claim and not its neighbour."""
PROOF_BPB = 1e-2
"""Half precision throughout, against fp32 in the log, moved a toy score by 3e-3 bpb in the same measurement: no
accusation begins below three times that. What is larger is another artifact, another text or another evaluation."""
NAMED_MISTAKE_WITHIN = 3e-3
"""Relative. How closely a known mistake must explain a wrong denominator to be called by its name."""
LOOK_AHEAD = 0.5
"""Logits of a causal model move by rounding at most when later tokens change: in bf16 by an eighth near 30."""


def with_rescored(result: RuleResult, findings: Iterable[Finding]) -> RuleResult:
    """A rule's result with the rescore witness's findings folded in: the worst decides, its message is the reason."""
    added = tuple(findings)
    heard = [finding for finding in added if finding.status is not Status.NOT_CHECKED]
    status = worst([result.status, *(finding.status for finding in heard)])
    both = sorted((*result.findings, *added), key=lambda finding: list(Status).index(finding.status))
    if status is result.status:
        return replace(result, findings=tuple(both))
    return RuleResult(result.rule, status, next(item.message for item in heard if item.status is status), tuple(both))


# CLAIM


def claim_findings(evidence: Evidence) -> list[Finding]:
    """The claimed, the replayed and the independent score side by side."""
    report = evidence.rescore
    if report is None:
        return []
    findings = list(_training_findings(report))
    replay, artifact = report.replay, report.artifact
    if replay is None or artifact is None:
        return findings or [_unchecked(why) for why in report.reasons]
    if replay.failure:
        return [*findings, _failed(report, replay, artifact)]
    if report.text.canonical:
        findings += _compared(evidence, report, replay, artifact)
    else:
        findings.append(_unchecked(f"the claim is not confirmed: {report.text.why}"))
    if report.independent is not None:
        findings += _independent_findings(evidence, report, replay, report.independent)
    return findings


def _failed(report: RescoreReport, replay: Replay, artifact: Artifact) -> Finding:
    """An evaluation that did not reach its scores. What broke while the artifact was being loaded is worth a look."""
    loaded = report.independent is not None and report.independent.method
    machine = ("ran out of time", "too large", "module missing", "stand-in missing", "needs the network")
    message = f"evaluating {artifact.path} again ended without a score: {replay.failure}"
    if replay.artifact_read and not loaded and not replay.failure.startswith(machine):
        return _finding(Status.REVIEW, f"{artifact.path} could not be loaded by the script: {replay.failure}", artifact)
    return _finding(Status.NOT_CHECKED, message, artifact)


def _compared(evidence: Evidence, report: RescoreReport, replay: Replay, artifact: Artifact) -> Iterator[Finding]:
    """Every printed score against the log's, then the claim's own figures for this run."""
    claimed = replay.claimed
    apart = [pair for pair in replay.pairs if _apart(pair) > NOISE_BPB]
    for pair in apart:
        yield _apart_finding(report, replay, artifact, pair)
    if replay.pairs and not apart:
        exact = sum(pair.exact for pair in replay.pairs)
        best = claimed or replay.pairs[-1]
        largest = max(_apart(pair) for pair in replay.pairs)
        how = "to the last digit" if exact == len(replay.pairs) else f"within {largest:.2g} bpb"
        message = (
            f"{artifact.path} was evaluated again on {report.text.name}: {len(replay.pairs)} of "
            f"{len(replay.pairs) + len(replay.missing)} logged scores repeat {how} ({best.label} "
            f"{best.replayed.score.bpb_text})"
        )
        yield _finding(Status.PASS, message, artifact, [best])
    if not replay.pairs:
        yield _unchecked("the evaluation printed no score that a log prints")
    elif claimed is None:
        yield from _stated_findings(evidence, report, replay, artifact)
    if replay.missing:
        labels = ", ".join(line.label or "(no label)" for line in replay.missing[:4])
        yield _unchecked(f"logged behind the artifact and not printed by its evaluation: {labels}")
    seeds = [seed.seed for seed in evidence.record.statement.seeds if seed.seed != artifact.seed]
    if seeds and replay.pairs:
        yield _unchecked(f"no artifact of seed {', '.join(map(str, seeds[:6]))} is there to evaluate")


def _apart(pair: Pair) -> float:
    return abs(pair.difference_bpb or 0.0)


def _apart_finding(report: RescoreReport, replay: Replay, artifact: Artifact, pair: Pair) -> Finding:
    """A logged score that the artifact does not give."""
    difference = pair.difference_bpb or 0.0
    log = pair.logged.place.path.rpartition("/")[2]
    message = (
        f"{log} prints {pair.label} {pair.logged.bpb_text} bpb; evaluated again on {report.text.name}, "
        f"{artifact.path} gives {pair.replayed.score.bpb_text}, {abs(difference):.4f} "
        f"{'more' if difference < 0 else 'less'}"
    )
    doubt = _doubt(report, replay) if difference < -PROOF_BPB else "the difference favours nobody or is small"
    if not doubt and not pair.carries_claim:
        doubt = "this line does not carry the claim"
    return _finding(
        Status.REVIEW if doubt else Status.FAIL, f"{message}{f'; {doubt}' if doubt else ''}", artifact, [pair]
    )


def _doubt(report: RescoreReport, replay: Replay) -> str:
    """Why another score is no proof against the claim; "" when an organizer can repeat it by hand."""
    if not report.text.canonical:
        return "it is not the text of the claim"
    if replay.standing_in or not report.claim_on_cpu:
        return "the claim was made on a GPU, which this machine stood in for"
    if not report.settings_known:
        return "no log prints the settings of the run"
    if report.artifact is None or report.artifact.log is None:
        return "which run the artifact comes from is not known"
    if replay.steady is not True:
        return "its evaluation does not repeat itself under another seed"
    return ""


def _stated_findings(
    evidence: Evidence, report: RescoreReport, replay: Replay, artifact: Artifact
) -> Iterator[Finding]:
    """A figure claimed for this run that none of its logged lines carries: against everything that was printed."""
    statement = evidence.record.statement
    stated = [seed for seed in statement.seeds if seed.seed == artifact.seed and seed.val_bpb is not None]
    printed = [pair.replayed.score for pair in replay.pairs if pair.replayed.score.val_bpb is not None]
    if not stated or not printed:
        return
    claim = stated[0].val_bpb or 0.0
    nearest = min(printed, key=lambda score: abs((score.val_bpb or 0.0) - claim))
    difference = claim - (nearest.val_bpb or 0.0)
    if abs(difference) <= NOISE_BPB:
        return
    message = (
        f"{claim:g} bpb is claimed for seed {artifact.seed}; of the scores that {artifact.path} gives on "
        f"{report.text.name} the nearest is {nearest.bpb_text} ({nearest.label or 'no label'})"
    )
    proved = difference < -PROOF_BPB and not _doubt(report, replay)
    place = stated[0].place
    finding = _finding(Status.FAIL if proved else Status.REVIEW, message, artifact)
    yield replace(finding, path=place.path, line=place.line)


def _independent_findings(
    evidence: Evidence, report: RescoreReport, replay: Replay, independent: Independent
) -> Iterator[Finding]:
    """The reference scorer's word on the same model and text."""
    if independent.future is not None and independent.future > LOOK_AHEAD:
        message = (
            f"the artifact's model looks ahead: its logits at a position move by up to {independent.future:.3g} when "
            "later tokens are replaced"
        )
        yield Finding(Status.REVIEW, Witness.RESCORE, message)
    reported = replay.reported
    bpb = reported.score.val_bpb if reported else None
    whole = [score for score in independent.scores if score.targets == report.text.targets]
    if reported is None or bpb is None or not whole:
        yield _unchecked(f"no independent score: {independent.failure or 'only part of the text could be scored'}")
        return
    nearest = min(whole, key=lambda score: abs(score.val_bpb - bpb))
    label = reported.score.label or "the last score"
    if abs(nearest.val_bpb - bpb) <= NOISE_BPB:
        message = (
            f"the reference scorer gives the same model {nearest.val_bpb:.8f} bpb ({nearest.name}), the submission's "
            f"own evaluation {reported.score.bpb_text} ({label})"
        )
        yield Finding(Status.PASS, Witness.RESCORE, message)
    elif bpb < nearest.val_bpb:
        yield _unexplained(evidence, independent, nearest, bpb, label)
    else:
        message = (
            f"the submission's own evaluation gives {bpb:.6f} bpb ({label}), which is more than the reference scorer's "
            f"{nearest.val_bpb:.6f} ({nearest.name})"
        )
        yield Finding(Status.PASS, Witness.RESCORE, message)


def _unexplained(evidence: Evidence, independent: Independent, nearest: Score, bpb: float, label: str) -> Finding:
    message = (
        f"the submission's own evaluation gives {bpb:.6f} bpb ({label}); the reference scorer gives the same model "
        f"{nearest.val_bpb:.6f} at best ({nearest.name}): {nearest.val_bpb - bpb:.6f} come from the evaluation"
    )
    if _adapts_legally(evidence.source):
        return _unchecked(f"{message}; it adapts in a way that the reference does not repeat")
    return Finding(Status.REVIEW, Witness.RESCORE, f"{message}, and nothing that is legal by its form explains them")


def _adapts_legally(source: Ledger | None) -> bool:
    """Whether the source witness sees learning from validation tokens, and nothing wrong with it."""
    if source is None or not source.learned:
        return False
    return not source.violations and not any(scored.after for scored in source.scored if scored.metric.reported)


def _training_findings(report: RescoreReport) -> Iterator[Finding]:
    """What came of training again. A machine that trains is never the one of the claim: no difference is a proof."""
    for training in report.training:
        which = (
            f"seed {training.seed} trained again as reported"
            if training.pairs
            else f"training again ({training.scale})"
        )
        if training.failure:
            yield _unchecked(f"training again ({training.scale.value}): {training.failure}")
        elif not training.pairs:
            yield _unchecked(
                f"{which}: {training.repeated} of {training.compared} scores of the toy run repeat to the last digit "
                "from its artifact alone; that says nothing about the claimed figure"
            )
        for pair in training.pairs:
            if training.failure or not pair.carries_claim:
                continue
            message = f"{which}: {pair.label} {pair.replayed.score.bpb_text} bpb; the log prints {pair.logged.bpb_text}"
            if not report.text.canonical:
                yield _unchecked(f"{message}; {report.text.why}")
            elif _apart(pair) <= NOISE_BPB:
                yield Finding(Status.PASS, Witness.RESCORE, message)
            else:
                worse = (pair.difference_bpb or 0.0) < -PROOF_BPB
                yield Finding(Status.REVIEW if worse else Status.PASS, Witness.RESCORE, message)


# SIZE


def size_findings(evidence: Evidence) -> list[Finding]:
    """The bytes of the artifact and the script as they lie in the folder, beside the log's and the claim's."""
    report = evidence.rescore
    if report is None or report.artifact is None:
        return []
    from rules.size import CAP_BYTES

    artifact, size = report.artifact, report.artifact.file.size
    total = size + report.code_bytes
    measured = f"{artifact.path} has {size:,} bytes, with the script's {report.code_bytes:,} {total:,}"
    if size > CAP_BYTES:
        return [_finding(Status.FAIL, f"{measured}: the artifact alone exceeds {CAP_BYTES:,}", artifact)]
    if total > CAP_BYTES:
        return [_finding(Status.REVIEW, f"{measured}, over {CAP_BYTES:,}", artifact)]
    findings = []
    declared = evidence.record.statement.model_bytes
    if artifact.logged_bytes is None and declared is not None and declared != size:
        message = f"{measured}; submission.json gives {declared:,} for the model"
        findings.append(_finding(Status.REVIEW, message, artifact))
    if artifact.log is not None and artifact.logged_bytes not in (None, size):
        message = f"{measured}; the log of its run prints {artifact.logged_bytes:,} for the model"
        findings.append(_finding(Status.REVIEW, message, artifact))
    stated = [
        seed
        for seed in evidence.record.statement.seeds
        if seed.seed == artifact.seed and seed.artifact_bytes is not None
    ]
    for seed in stated if artifact.by_size else ():
        if seed.artifact_bytes not in (total, size):
            message = f"{measured}; {seed.artifact_bytes:,} are claimed for seed {seed.seed}"
            finding = _finding(Status.REVIEW, message, artifact)
            findings.append(replace(finding, path=seed.place.path, line=seed.place.line))
    return findings or [_finding(Status.PASS, f"measured: {measured}", artifact)]


# BYTES


def bytes_findings(evidence: Evidence) -> list[Finding]:
    """The denominator behind every score of the evaluation, against the bytes of the text it was run on."""
    report = evidence.rescore
    if report is None or report.replay is None or report.replay.failure or report.artifact is None:
        return []
    from rules.bytes import TOLERANCE

    findings = []
    right = 0
    for metric in report.replay.metrics:
        loss, bpb = metric.score.val_loss, metric.score.val_bpb
        if not metric.final or not loss or not bpb or loss <= 0 or bpb <= 0:
            continue
        implied = loss * report.text.targets / (bpb * math.log(2))
        if abs(implied / report.text.text_bytes - 1) <= TOLERANCE + _rounding(metric.score.bpb_text):
            right += 1
            continue
        findings.append(_wrong_bytes(report, metric.score.label, metric.score.raw, implied))
    if right and not findings:
        message = (
            f"{right} scores of the evaluation divide by the {report.text.text_bytes:,} bytes of {report.text.name}"
        )
        findings.append(_finding(Status.PASS, message, report.artifact))
    return findings


def _rounding(text: str) -> float:
    """Relative rounding error of a printed score."""
    digits = len(text.partition(".")[2])
    return 10.0**-digits if digits else 1.0


def _wrong_bytes(report: RescoreReport, label: str, raw: str, implied: float) -> Finding:
    assert report.artifact is not None
    mistake = next(
        (name for name, count in report.text.byte_mistakes.items() if abs(implied / count - 1) <= NAMED_MISTAKE_WITHIN),
        "",
    )
    message = (
        f"evaluated again, {label or 'a score'} divides {report.text.targets:,} tokens by {implied:,.0f} bytes; "
        f"{report.text.name} has {report.text.text_bytes:,}"
    )
    steps = (Step(report.artifact.path, 0, raw[:160]),)
    if mistake and implied > report.text.text_bytes:
        return Finding(Status.FAIL, Witness.RESCORE, f"{message}: {mistake}", report.artifact.file.path, steps=steps)
    doubt = "part of the text was scored, or a mixture prints another loss than it divides, or the count is wrong"
    return Finding(Status.REVIEW, Witness.RESCORE, f"{message}; {doubt}", report.artifact.file.path, steps=steps)


# TRAINDATA


def training_data_findings(evidence: Evidence) -> list[Finding]:
    """Training shards that the evaluation alone opens, once the artifact is read."""
    report = evidence.rescore
    if report is None or report.replay is None or report.replay.failure or report.artifact is None:
        return []
    events = [record for record in report.replay.outcome.records if record.get("kind") == "rescore"]
    if any(record.get("event") == "artifact written" for record in events):
        return []  # it trained after all
    opened = [
        str(record.get("path", "")).rpartition("/")[2]
        for record in events
        if record.get("event") == "training data opened"
    ]
    if not opened:
        return []
    message = (
        f"the evaluation opens training data after it has read its artifact: {', '.join(opened[:3])[:200]}"
        f"{f' and {len(opened) - 3} more' if len(opened) > 3 else ''}"
    )
    return [_finding(Status.REVIEW, message, report.artifact)]


def _finding(status: Status, message: str, artifact: Artifact, pairs: Iterable[Pair] = ()) -> Finding:
    steps = tuple(Step(pair.logged.place.path, pair.logged.place.line, pair.logged.raw[:160]) for pair in pairs)
    return Finding(status, Witness.RESCORE, message, path=artifact.file.path, steps=steps)


def _unchecked(why: str) -> Finding:
    return Finding(Status.NOT_CHECKED, Witness.RESCORE, why)
