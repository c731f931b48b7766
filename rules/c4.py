"""C4: every validation token is scored once, in one pass over the full validation text."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from auditor.findings import RuleResult, Witness
from auditor.ledger import PART_OF_THE_TEXT
from auditor.submission.model import Track
from rules.base import Evidence, Example, Precedent, Rule
from rules.evaluation_order import judge_ledgers, unscored_findings
from rules.example import EVALUATE, MAIN, PRELUDE, example_folder

CODE = "C4"
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
        found=unscored_findings(CODE, evidence),
    )


def _with_doubts(evidence: Evidence) -> Evidence:
    """The evidence, with parts of the text as questions where the submission is no record: such were merged."""
    ledger = evidence.source
    if ledger is None or evidence.submission.track is not Track.NON_RECORD:
        return evidence
    doubt = "submissions outside the record track that scored a part of the text were merged"
    violations = tuple(
        replace(item, definite=False, doubt=doubt) if item.kind == PART_OF_THE_TEXT else item
        for item in ledger.violations
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
        Witness.RECORD: "BYTES and CLAIM compare the logged token and byte counts with the full text",
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
