"""C1: a prediction depends on the artifact and on earlier tokens only."""

from __future__ import annotations

from datetime import date

from auditor.findings import RuleResult, Witness
from rules.base import Evidence, Example, Precedent, Rule
from rules.evaluation_order import judge_ledgers, unscored_findings
from rules.example import MAIN, PRELUDE, example_folder

CODE = "C1"
IN_FORCE = date(2026, 3, 25)

# Two temperatures of one network; %s is how the two predictions are joined.
_TWO_PREDICTIONS = """\

def evaluate(args, model, val_tokens):
    model.eval()
    loss_sum = 0.0
    token_count = 0
    with torch.no_grad():
        for i in range(0, val_tokens.numel() - 1, args.seq_len):
            end = min(i + args.seq_len, val_tokens.numel() - 1)
            x = val_tokens[i:end].cuda()
            y = val_tokens[i + 1 : end + 1].cuda()
            logits = model.logits(x[None])[0]
            sharp = (logits / 0.9).log_softmax(-1)
            flat = (logits / 1.1).log_softmax(-1)
%s
            loss_sum += nll.sum().item()
            token_count += end - i
    return loss_sum / token_count

"""

_FIXED_MIXTURE = """\
            mixture = torch.logaddexp(sharp, flat) - math.log(2.0)
            nll = -mixture.gather(-1, y[:, None]).squeeze(-1)"""

_BETTER_OF_BOTH = """\
            sharp_nll = -sharp.gather(-1, y[:, None]).squeeze(-1)
            flat_nll = -flat.gather(-1, y[:, None]).squeeze(-1)
            nll = torch.minimum(sharp_nll, flat_nll)"""


def judge(evidence: Evidence) -> RuleResult:
    """What a witness saw of a prediction that knew its target, or a later token, before it was made."""
    return judge_ledgers(
        CODE,
        evidence,
        passed="no scored prediction was seen to depend on its target or on later tokens",
        in_force=IN_FORCE,
        found=unscored_findings(CODE, evidence),
    )


RULE = Rule(
    code=CODE,
    title="Strict causal dependence",
    text="""\
The distribution that predicts token t is a function of the submitted artifact and of the tokens before t. It must not
depend on token t itself, on any later token, on statistics of later tokens, or on anything from outside the artifact.

The usual ways to break it without noticing: a hash key that contains the target, so that a cache only ever raises the
probability of the right answer; a choice between predictors made by looking at which of them did better on this token
(oracle, minimum of losses, "safety gate"); a gate that asks what kind of token the target is, for instance whether it
starts a word; the smear or shift of the previous token carried across the start of a document.

Hashing the current and earlier input tokens to look up an embedding is causal. So is a hint computed from the prefix
that tilts the distribution, if the hint, its gate and its strength see the prefix alone.""",
    sources=(
        "issue #1017, condition 1, by a participant, recommended by an organizer",
        "#779: organizer's explanation of what a key with the target in it does",
        "issue #140: log of rulings",
    ),
    precedents=(
        Precedent(date(2026, 3, 25), "#659", "valerio-oai", "Choosing the scorer after seeing the answer is illegal."),
        Precedent(
            date(2026, 3, 25), "#685", "valerio-oai", "The smaller loss of several passes for each token: refused."
        ),
        Precedent(date(2026, 3, 27), "#779", "valerio-oai", "The target in the hash key of an n-gram cache: refused."),
        Precedent(
            date(2026, 4, 26), "#1797", "cocohearts", "The previous-token term must be masked where a document starts."
        ),
        Precedent(
            date(2026, 4, 29), "#1514", "organizers", "A tilt by hints from the prefix alone: on the leaderboard."
        ),
        Precedent(date(2026, 5, 2), "#2041", "cocohearts", "Experts gated by the target's word boundary: rejected."),
        Precedent(date(2026, 5, 2), "#2118", "cocohearts", "The same gate: rejected."),
    ),
    witnesses={
        Witness.SOURCE: "follows the target from the validation tokens into what is scored: hash keys, comparisons, "
        "minima and gates that read it before the logarithm is taken; asks a person about models that may look ahead",
        Witness.RUN: "changes a token and reruns: no earlier loss and no distribution at its own position may move",
    },
    legal=Example(
        example_folder(PRELUDE + _TWO_PREDICTIONS % _FIXED_MIXTURE + MAIN),
        "Two predictions are mixed half and half, whatever the answer is.",
    ),
    illegal=Example(
        example_folder(PRELUDE + _TWO_PREDICTIONS % _BETTER_OF_BOTH + MAIN),
        "For each token the better of two predictions is taken, which needs the answer.",
    ),
    blind_spots=(
        "Inside the model the source witness looks for attention without a mask, centred convolutions, recurrences "
        "in both directions and averages over groups of neighbouring places; what a mask holds, and how tokens are "
        "shifted or merged in other ways, it does not read. The run witness tests that.",
        "Native code is not followed. Some functions were read by hand and are known by a fingerprint of all the code "
        "that they run; any other is review.",
        "Whether earlier documents are legal context was contested (#1988); the accepted rows mask them.",
    ),
    judge=judge,
    in_force=IN_FORCE,
)
