"""C4: every validation token is scored once, in one pass over the full validation text."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from auditor.findings import Finding, RuleResult, Status, Witness
from auditor.ledger import PART_OF_THE_TEXT
from auditor.record.claimed_line import claimed_lines
from auditor.record.implied_bytes import StatedBytes, stated_bytes
from auditor.submission.model import Track
from rules.base import Evidence, Example, Precedent, Rule
from rules.evaluation_order import judge_ledgers, unscored_findings
from rules.example import EVALUATE, MAIN, PRELUDE, example_folder
from rules.scoring_progress import stopped_early

CODE = "C4"
SURELY_A_PART = 0.9  # of the text's bytes: no cut of a last window leaves so much out
ARTIFACT_BYTES = 16_000_000  # a number of bytes up to this may be that of the artifact
SAME_TEXT = 0.004  # of them: what the ends of windows and the marks of documents come to
IN_FORCE = date(2026, 3, 24)

_BEST_OF_PASSES = """\

def main():
    args = Hyperparameters()
    torch.manual_seed(args.seed)
    val_tokens = load_tokens(args.val_files)
    model = Model(args).cuda()
    train(args, model)
    save_artifact(model)
    load_artifact(model)
    val_loss = float("inf")
    for temperature in (0.9, 0.95, 1.0, 1.05):
        model.head.weight.data.div_(temperature)
        val_loss = min(val_loss, evaluate(args, model, val_tokens))
        model.head.weight.data.mul_(temperature)
    print(f"final val_loss:{val_loss:.8f} val_bpb:{bits_per_byte(args, val_loss, val_tokens):.8f}")


main()
"""


def judge(evidence: Evidence) -> RuleResult:
    """What a witness saw of rescoring, of choosing among passes, and of scoring a part as if it were the whole."""
    return judge_ledgers(
        CODE,
        _with_doubts(evidence),
        passed="no second pass, no choice among passes and no subset was seen",
        in_force=IN_FORCE,
        found=unscored_findings(CODE, evidence) + _stated_parts(evidence) + stopped_early(evidence),
    )


def _stated(evidence: Evidence) -> list[StatedBytes]:
    """By how many bytes the logged lines with the claimed score divide it, where they say so."""
    claimed = {(line.place.path, line.place.line) for line in claimed_lines(evidence.record)}
    return [item for item in stated_bytes(evidence.record) if (item.place.path, item.place.line) in claimed]


def _stated_parts(evidence: Evidence) -> list[Finding]:
    """A review where the line with the claimed score says that it divides by the bytes of a part of the text."""
    for item in _stated(evidence):
        share = item.text_bytes / evidence.text.text_bytes
        if item.text_bytes > ARTIFACT_BYTES and share < SURELY_A_PART:
            message = (
                f"the line with the claimed score divides it by {item.text_bytes:,} bytes, {share:.1%} of the text"
            )
            place = item.place
            return [Finding(Status.REVIEW, Witness.RECORD, message, path=place.path, line=place.line)]
    return []


def _with_doubts(evidence: Evidence) -> Evidence:
    """The evidence, without questions about a part of the text where the log states the bytes of the whole of it, and
    with such parts as questions where the submission is no record: some were merged."""
    ledger = evidence.source
    if ledger is None:
        return evidence
    violations = ledger.violations
    stated = [item.text_bytes / evidence.text.text_bytes for item in _stated(evidence)]
    if stated and all(abs(share - 1) <= SAME_TEXT for share in stated):
        violations = tuple(item for item in violations if item.definite or item.kind != PART_OF_THE_TEXT)
    if evidence.submission.track is Track.NON_RECORD:
        doubt = "submissions outside the record track that scored a part of the text were merged"
        violations = tuple(
            replace(item, definite=False, doubt=doubt) if item.definite and item.kind == PART_OF_THE_TEXT else item
            for item in violations
        )
    return replace(evidence, source=replace(ledger, violations=violations))


RULE = Rule(
    code=CODE,
    title="Single pass over the full validation text",
    text="""\
The reported score is made in a single left-to-right pass over the full validation split, the first 50,000 documents.
Each token is scored once and that score counts.

Not allowed are a second pass that scores tokens again with what the first one collected, whether or not the cache it
uses is legal in itself; the best of several passes, epochs or settings chosen by the validation score, for each token
or as a whole; and a subset of the text reported as the full score. Windows that overlap so that every token gets more
context are one pass as long as each token's loss enters the sum once. The last, partial window counts.

Several epochs of training on a chunk that has been scored are accepted in practice; whether this rule forbids them was
asked (#1698, #1734) and not answered.""",
    sources=(
        "issue #1017, condition 4, as logged in issue #140",
        "README of the challenge: val_bpb is computed on the full validation split, the fixed first 50,000 documents",
        "#846, #870, #881, #888, #907, #959: organizer's closures of two-pass submissions",
    ),
    precedents=(
        Precedent(date(2026, 3, 19), "#124", "0hq", "A fix that scores the last partial window: merged."),
        Precedent(date(2026, 3, 24), "#573", "valerio-oai", "Score, adapt, repeat and keep the best: refused."),
        Precedent(
            date(2026, 3, 24), "#611", "valerio-oai", "Several epochs a document, the lowest score kept: refused."
        ),
        Precedent(date(2026, 3, 27), "#959", "valerio-oai", "Two passes are refused whatever the cache."),
        Precedent(date(2026, 3, 28), "#991", "valerio-oai", "Test-time training over all the text twice: closed."),
        Precedent(date(2026, 4, 28), "#1835", "valerio-oai", "The first 3 million tokens are not the validation set."),
        Precedent(date(2026, 5, 2), "#2009", "cocohearts", "Twenty random batches: rejected."),
        Precedent(date(2026, 5, 2), "#2109", "cocohearts", "A partition other than the official one: rejected."),
    ),
    witnesses={
        Witness.SOURCE: "looks for passes over tokens already scored, minima over passes, and bounds on what is scored",
        Witness.RUN: "counts how often each token's loss enters the sum",
        Witness.RECORD: "reads how many bytes the claimed line says it divides by, and how far the progress logged "
        "before it came; BYTES and CLAIM compare the logged token and byte counts with the full text",
    },
    legal=Example(
        example_folder(PRELUDE + EVALUATE + MAIN),
        "One evaluation over all tokens, the last partial window included.",
    ),
    illegal=Example(
        example_folder(PRELUDE + EVALUATE + _BEST_OF_PASSES),
        "The text is scored at four temperatures and the best score is reported.",
    ),
    blind_spots=(
        "Settings tuned by hand on the validation score before the submission leave no trace in the script.",
        "A rank that drops its last tokens loses a few thousand of 40 million: BYTES sees it only as a rounding.",
    ),
    judge=judge,
    in_force=IN_FORCE,
)
