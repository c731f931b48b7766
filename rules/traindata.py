"""TRAINDATA: evaluation does not read training data."""

from __future__ import annotations

from datetime import date

from auditor.findings import RuleResult, Witness
from rules.base import Evidence, Example, Precedent, Rule
from rules.evaluation_order import judge_ledgers
from rules.example import EVALUATE, MAIN, PRELUDE, example_folder

CODE = "TRAINDATA"
IN_FORCE = date(2026, 3, 22)

_TABLE = """\

def bigram_counts(args):
    counts = torch.ones(args.vocab_size, args.vocab_size)
    tokens = load_shard(sorted(glob.glob(args.train_files))[0])
    counts.index_put_((tokens[:-1], tokens[1:]), torch.ones(tokens.numel() - 1), accumulate=True)
    return counts


def evaluate(args, model, counts, val_tokens):
    model.eval()
    table = (counts / counts.sum(-1, keepdim=True)).cuda()
    loss_sum = 0.0
    token_count = 0
    with torch.no_grad():
        for i in range(0, val_tokens.numel() - 1, args.seq_len):
            end = min(i + args.seq_len, val_tokens.numel() - 1)
            x = val_tokens[i:end].cuda()
            y = val_tokens[i + 1 : end + 1].cuda()
            mixture = 0.9 * model.logits(x[None])[0].softmax(-1) + 0.1 * table[x]
            loss_sum += F.nll_loss(mixture.log(), y, reduction="sum").item()
            token_count += end - i
    return loss_sum / token_count

"""

_TABLE_AT_EVALUATION = MAIN.replace(
    "evaluate(args, model, val_tokens)", "evaluate(args, model, bigram_counts(args), val_tokens)"
)


def judge(evidence: Evidence) -> RuleResult:
    """What a witness saw of training shards read for evaluation, or of calibration after the training budget."""
    return judge_ledgers(
        CODE, evidence, passed="no training data is read after the training budget ends", in_force=IN_FORCE
    )


RULE = Rule(
    code=CODE,
    title="No training data at evaluation",
    text="""\
Evaluation works from the artifact alone. It reads no training data, unless those bits are paid for inside the 16 MB.

Making the artifact is part of training: whatever reads training data, quantization included, must end within the 600
seconds of training. Calibrating GPTQ on training batches after the training clock has run out counts as reading
training data during evaluation; reserving some seconds of the budget for it is the accepted way. Tables built from
training data within the budget and stored in the artifact are allowed, and count towards its size.""",
    sources=(
        "README of the challenge, FAQ: no training data access during evaluation unless paid for in the artifact",
        "#609: organizer's answer that making the artifact is not untimed",
    ),
    precedents=(
        Precedent(date(2026, 3, 24), "#606", "valerio-oai", "600 s of training, then 3.6 s of calibration: closed."),
        Precedent(date(2026, 3, 24), "#593", "valerio-oai", "GPTQ calibration on training data counts as evaluation."),
        Precedent(
            date(2026, 3, 24), "#609", "valerio-oai", "Legal if calibration is shown to be inside training time."
        ),
        Precedent(date(2026, 3, 25), "#656", "valerio-oai", "The budget used up, then calibration: closed."),
        Precedent(date(2026, 3, 28), "#1028", "valerio-oai", "The same: closed."),
    ),
    witnesses={
        Witness.SOURCE: "follows reads of the training shards into what is scored",
        Witness.RECORD: "compares when training stopped with the calibration time that the log prints",
    },
    legal=Example(
        example_folder(PRELUDE + EVALUATE + MAIN),
        "Training shards are read by training only.",
    ),
    illegal=Example(
        example_folder(PRELUDE + _TABLE + _TABLE_AT_EVALUATION),
        "After the artifact is loaded, a bigram table is counted from a training shard and mixed into the predictions.",
    ),
    blind_spots=(
        "A log that prints neither when training stopped nor how long calibration took decides nothing.",
        "Paths printed in logs do not prove which data were read.",
    ),
    judge=judge,
    in_force=IN_FORCE,
)
