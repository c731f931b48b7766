"""PAIDPREFIX: validation data is neither trained on nor stored in the artifact."""

from __future__ import annotations

from datetime import date

from auditor.findings import RuleResult, Witness
from rules.base import Evidence, Example, Precedent, Rule
from rules.evaluation_order import judge_ledgers
from rules.example import EVALUATE, MAIN, PRELUDE, example_folder

CODE = "PAIDPREFIX"
IN_FORCE = date(2026, 3, 20)

_PREFIX_IN_ARTIFACT = """\

def save_prefix(val_tokens):
    prefix = val_tokens[:4_000_000].to(torch.int16).numpy().tobytes()
    with open("prefix.ptz", "wb") as f:
        f.write(zlib.compress(prefix, 9))


def load_prefix():
    with open("prefix.ptz", "rb") as f:
        return torch.from_numpy(np.frombuffer(zlib.decompress(f.read()), dtype=np.int16).astype(np.int64))


def evaluate(args, model, val_tokens):
    model.eval()
    prefix = load_prefix()
    loss_sum = 0.0
    token_count = 0
    with torch.no_grad():
        for i in range(0, val_tokens.numel() - 1, args.seq_len):
            end = min(i + args.seq_len, val_tokens.numel() - 1)
            x = val_tokens[i:end].cuda()
            y = val_tokens[i + 1 : end + 1].cuda()
            logits = model.logits(x[None])[0]
            known = prefix[i + 1 : end + 1].cuda()
            logits[: known.numel()] += 100.0 * F.one_hot(known, args.vocab_size)
            loss_sum += F.cross_entropy(logits, y, reduction="sum").item()
            token_count += end - i
    return loss_sum / token_count

"""


def judge(evidence: Evidence) -> RuleResult:
    """What a witness saw of validation tokens flowing into the artifact or into training."""
    return judge_ledgers(
        CODE,
        evidence,
        passed="no validation data was seen to flow into training or into the artifact",
        in_force=IN_FORCE,
    )


RULE = Rule(
    code=CODE,
    title="No validation data in training or in the artifact",
    text="""\
Training and the making of the artifact work as if the validation text did not exist. It may not be trained on, not
even when it is the declared purpose of the submission, and no part of it may be stored in the artifact, compressed or
not, so as to be scored as known: the bits would be paid for, but the score would no longer say how well the model
compresses unseen text.""",
    sources=(
        "README of the challenge, restrictions on evaluation: the sentence on the paid prefix, added on 2026-03-20",
    ),
    precedents=(
        Precedent(date(2026, 3, 19), "#44", "cocohearts, 0hq", "A model trained on the validation set alone: refused."),
        Precedent(
            date(2026, 3, 20), "#168", "0hq", "A compressed prefix of the validation text in the artifact: banned."
        ),
        Precedent(
            date(2026, 3, 20), "#262", "cocohearts", "Validation tokens may not be used at all before evaluation."
        ),
        Precedent(date(2026, 3, 20), "#275", "0hq", "A second paid prefix: refused."),
    ),
    witnesses={
        Witness.SOURCE: "follows validation tokens into training loops, loaders and files that evaluation reads back",
        Witness.RUN: "sees validation tokens in the bytes of the artifact",
    },
    legal=Example(
        example_folder(PRELUDE + EVALUATE + MAIN),
        "The artifact holds weights trained on training shards; validation tokens are read by the evaluation only.",
    ),
    illegal=Example(
        example_folder(
            PRELUDE
            + _PREFIX_IN_ARTIFACT
            + MAIN.replace("    save_artifact(model)\n", "    save_artifact(model)\n    save_prefix(val_tokens)\n")
        ),
        "Four million validation tokens are stored beside the weights and added to the logits as if known.",
    ),
    blind_spots=(
        "Validation text inside a prepared data file, a tokenizer or a binary of the folder is not recognised.",
        "Training shards that overlap the validation documents are VALOVERLAP.",
    ),
    judge=judge,
    in_force=IN_FORCE,
)
