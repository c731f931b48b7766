"""C3: a validation token is scored before anything learns from it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from auditor.findings import Finding, RuleResult, Status, Step, Witness
from auditor.ledger import Learned, Ledger
from auditor.record.shard_names import laid_shards, training_folders
from rules.adaptation_lines import unprinted_adaptation
from rules.base import Evidence, Example, Precedent, Rule
from rules.evaluation_order import judge_ledgers, ledgers, order_findings, unscored_findings
from rules.example import EVALUATE, MAIN, PRELUDE, example_folder

CODE = "C3"
IN_FORCE = date(2026, 3, 20)
MAX_NOTES = 8

_ADAPT_THEN_SCORE = """\

def adapt(args, model, val_tokens):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for epoch in range(3):
        for i in range(0, val_tokens.numel() - args.seq_len, args.seq_len):
            x = val_tokens[i : i + args.seq_len][None].cuda()
            y = val_tokens[i + 1 : i + args.seq_len + 1][None].cuda()
            optimizer.zero_grad()
            loss = model(x, y)
            loss.backward()
            optimizer.step()

"""

_SCORE_FIRST = """\

def evaluate(args, model, val_tokens):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
    loss_sum = 0.0
    token_count = 0
    starts = list(range(0, val_tokens.numel() - 1, args.seq_len))
    for chunk, i in enumerate(starts):
        end = min(i + args.seq_len, val_tokens.numel() - 1)
        x = val_tokens[i:end][None].cuda()
        y = val_tokens[i + 1 : end + 1][None].cuda()
        model.eval()
        with torch.no_grad():
            loss_sum += model(x, y).item() * (end - i)
            token_count += end - i
        if chunk == len(starts) - 1:
            break
        model.train()
        for epoch in range(3):
            optimizer.zero_grad()
            loss = model(x, y)
            loss.backward()
            optimizer.step()
    return loss_sum / token_count

"""


def judge(evidence: Evidence) -> RuleResult:
    """Any reported score made after its predictor had learned from the same tokens breaks the rule."""
    found = order_findings(evidence) + unscored_findings(CODE, evidence) + _trained_on_validation(evidence)
    found += unprinted_adaptation(evidence)
    for witness, ledger in ledgers(evidence):
        found += _notes(ledger, witness)
    return judge_ledgers(CODE, evidence, passed=_passed(evidence), in_force=IN_FORCE, found=found)


def _trained_on_validation(evidence: Evidence) -> list[Finding]:
    """Training on validation shards under another name: proved by the command that lays them there and by the run
    that names their folder, possible by a folder's name alone."""
    folders = training_folders(evidence.record, evidence.configuration)
    findings = []
    for shard in laid_shards(evidence.submission, evidence.record):
        used = next((folder for folder in folders if folder.name == shard.folder), None)
        message = "a command of the submission lays a validation shard under the name of a training shard"
        steps = [Step(shard.place.path, shard.place.line, "the validation shard gets a training shard's name here")]
        if used is not None:
            message += f", and the reported run trains on that folder ({used.name}) before it scores the same tokens"
            steps.append(Step(used.place.path, used.place.line, "the run names the folder of its training shards"))
        else:
            message += " (not proved: no run is seen to train on its folder)"
        status = Status.FAIL if used is not None else Status.REVIEW
        findings.append(
            Finding(status, Witness.RECORD, message, path=shard.place.path, line=shard.place.line, steps=tuple(steps))
        )
    for folder in folders:
        if folder.says_validation and not findings:
            message = f"the training shards come from a folder that is named for validation data ({folder.name})"
            findings.append(
                Finding(Status.REVIEW, Witness.RECORD, message, path=folder.place.path, line=folder.place.line)
            )
    return findings


def _notes(ledger: Ledger, witness: Witness) -> list[Finding]:
    return [
        Finding(Status.PASS, witness, text, path=site.path, line=site.line) for site, text in ledger.notes[:MAX_NOTES]
    ]


def _passed(evidence: Evidence) -> str:
    """Why the rule is kept, in one sentence that names what was learned from validation tokens, if anything."""
    learned = [item for _, ledger in ledgers(evidence) for item in ledger.learned]
    if not learned:
        return "nothing was seen to learn from validation tokens before they are scored"
    return f"no reported score was seen to come after learning from its tokens ({_learners(learned)})"


def _learners(learned: Iterable[Learned]) -> str:
    names = dict.fromkeys(
        f"{item.manner.value} in {item.site.function or 'the script'} line {item.site.line}" for item in learned
    )
    shown = list(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


RULE = Rule(
    code=CODE,
    title="Score before update",
    text="""\
A validation token may be used to adapt the predictor only after its loss has entered the reported sum. Test-time
training is welcome, in that order: score a chunk, add its loss to the total, then learn from it; the next chunk is
scored by the adapted model.

It does not matter when in the program the learning happens, what is changed by it, or by which means: training on the
validation tokens before quantization and calling the result an artifact, several passes of which the last one is
reported, a delta fitted on the window that is then scored, and quantization calibrated on tokens not yet scored, all
give the predictor the answers before the question. Several epochs on a chunk are fine once the chunk has been scored.

A second evaluation of weights that have already learned from the whole text is the same violation, even when the
first evaluation was made in the right order.""",
    sources=(
        "README of the challenge, restrictions on evaluation: the sentence on test-time training, added on 2026-03-20",
        "issue #402: organizer's answer, only preceding tokens that have already been tested on",
        "issue #677: organizers' list of invalid submissions",
        "issue #1017: the four conditions, by a participant, recommended by an organizer",
    ),
    precedents=(
        Precedent(date(2026, 3, 19), "#44", "0hq", "Training on the validation set is refused unless scored first."),
        Precedent(date(2026, 3, 20), "#152", "0hq", "Adapting on the validation text before evaluating it is refused."),
        Precedent(date(2026, 3, 23), "#462", "valerio-oai", "Epochs over the validation text, then scoring: refused."),
        Precedent(
            date(2026, 3, 24), "#568", "valerio-oai", "Several passes a document, the last one reported: refused."
        ),
        Precedent(date(2026, 3, 24), "#549", "valerio-oai", "Score a chunk, then train on it: accepted and merged."),
        Precedent(date(2026, 3, 28), "#728", "valerio-oai", "GPTQ calibrated on tokens not yet scored: refused."),
        Precedent(date(2026, 3, 28), "#991", "valerio-oai", "A second pass after a legal first one: closed."),
        Precedent(date(2026, 4, 10), "#1376", "organizers", "Training on validation before quantization: closed."),
        Precedent(date(2026, 5, 2), "#1972", "cocohearts", "The same, 'baked into the artifact': rejected."),
    ),
    witnesses={
        Witness.SOURCE: "follows validation tokens, models and scores through the script and reports the order "
        "of learning and scoring in the configuration of the reported run",
        Witness.RUN: "observes the same order in a sandboxed toy run, or proves it broken by a score no causal "
        "predictor reaches on random tokens",
    },
    legal=Example(
        example_folder(PRELUDE + _SCORE_FIRST + MAIN),
        "Each chunk is scored without gradients and added to the sum before three epochs of SGD on it.",
    ),
    illegal=Example(
        example_folder(
            PRELUDE
            + _ADAPT_THEN_SCORE
            + EVALUATE
            + MAIN.replace(
                "    save_artifact(model)\n", "    adapt(args, model, val_tokens)\n    save_artifact(model)\n"
            )
        ),
        "Three epochs of AdamW on all of the validation tokens come before the artifact is written and scored.",
    ),
    blind_spots=(
        "Per-window fits (SLOT) have no ruling of an organizer; they are judged by what they do to the order.",
        "Native code, code from outside the folder and dynamically built code are not followed: the result is review.",
        "A branch whose line is missing between logged lines counts as not taken: a log is believed in this, too.",
        "The script in the folder may not be the one that made the log; CLAIM compares them where a log has code.",
    ),
    judge=judge,
    in_force=IN_FORCE,
)
