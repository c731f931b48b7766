"""C2: what is scored comes from a distribution over the whole vocabulary that sums to one."""

from __future__ import annotations

from datetime import date

from auditor.findings import RuleResult, Witness
from rules.base import Evidence, Example, Precedent, Rule
from rules.evaluation_order import judge_ledgers, unscored_findings
from rules.example import MAIN, PRELUDE, example_folder

CODE = "C2"
IN_FORCE = date(2026, 3, 27)

_DENSE_COUNTS = """\

def evaluate(args, model, val_tokens):
    model.eval()
    counts = torch.ones(args.vocab_size, args.vocab_size, device="cuda")
    loss_sum = 0.0
    token_count = 0
    with torch.no_grad():
        for i in range(0, val_tokens.numel() - 1, args.seq_len):
            end = min(i + args.seq_len, val_tokens.numel() - 1)
            x = val_tokens[i:end].cuda()
            y = val_tokens[i + 1 : end + 1].cuda()
            network = model.logits(x[None])[0].softmax(-1)
            cache = counts[x] / counts[x].sum(-1, keepdim=True)
            mixture = 0.8 * network + 0.2 * cache
            loss_sum += F.nll_loss(mixture.log(), y, reduction="sum").item()
            token_count += end - i
            counts.index_put_((x, y), torch.ones_like(x, dtype=counts.dtype), accumulate=True)
    return loss_sum / token_count

"""

_HASHED_TARGET = """\

def evaluate(args, model, val_tokens):
    model.eval()
    buckets = 1 << 22
    context_counts = np.zeros(buckets, dtype=np.int64)
    pair_counts = np.zeros(buckets, dtype=np.int64)
    loss_sum = 0.0
    token_count = 0
    with torch.no_grad():
        for i in range(0, val_tokens.numel() - 1, args.seq_len):
            end = min(i + args.seq_len, val_tokens.numel() - 1)
            x = val_tokens[i:end]
            y = val_tokens[i + 1 : end + 1]
            log_probs = model.logits(x[None].cuda())[0].log_softmax(-1).cpu()
            p_network = log_probs.gather(-1, y[:, None]).squeeze(-1).exp().numpy()
            context_key = (x.numpy() * 36313) % buckets
            pair_key = (context_key ^ (y.numpy() * 27191)) % buckets
            seen = context_counts[context_key]
            p_cache = np.minimum(pair_counts[pair_key], seen) / np.maximum(seen, 1)
            p = np.where(seen > 0, 0.7 * p_network + 0.3 * p_cache, p_network)
            loss_sum += float(-np.log(p).sum())
            token_count += end - i
            np.add.at(context_counts, context_key, 1)
            np.add.at(pair_counts, pair_key, 1)
    return loss_sum / token_count

"""


def judge(evidence: Evidence) -> RuleResult:
    """What a witness saw of probabilities made for the realised token alone, or not renormalised after a change."""
    return judge_ledgers(
        CODE,
        evidence,
        passed="no scored probability was seen that is not one of a distribution over the vocabulary",
        in_force=IN_FORCE,
        found=unscored_findings(CODE, evidence),
    )


RULE = Rule(
    code=CODE,
    title="Full normalized distribution",
    text="""\
Before a token is scored there must be a distribution over the whole token vocabulary that sums to one, and the score
is the logarithm of its entry for the token. Nothing may be computed for the realised token alone.

A cache that looks up only the realised token and blends that one number into its probability is not a distribution:
with hash collisions the values it would give to all tokens sum to far more than one (about 277 and later 410 were
measured in one case), and the score improves on pure noise. Mixing whole distributions with weights that sum to one is
fine; so are a temperature, a bias on the logits or a cap on them before a softmax over the whole vocabulary.

Spreading a token's log-probability over its bytes and mixing it with a byte-level model gives no distribution over
the vocabulary either.""",
    sources=(
        "issue #1017, condition 2, as logged in issue #140",
        "#1026 and #1185: organizer's rulings on blending the target's probability alone",
        "#886: measured sums of hashed n-gram blends; #978: a rerun with real normalisation, worse than no cache",
        "#1147: analysis of the partition function",
        "issues #1872 and #1905: byte-level mixtures",
    ),
    precedents=(
        Precedent(
            date(2026, 3, 27), "#779", "valerio-oai", "Target-keyed n-gram cache: reweights the right token only."
        ),
        Precedent(date(2026, 4, 28), "#1835", "valerio-oai", "Doubts a byte mixture with spread token probability."),
        Precedent(
            date(2026, 5, 2), "#1991", "cocohearts", "Byte-PPM mixtures of this kind: rejected, #2083 and #2098 too."
        ),
    ),
    witnesses={
        Witness.SOURCE: "asks of every scored probability whether a normalisation over the vocabulary stands between "
        "the last use of the target and the logarithm, and of every score whether a constant below one made it better",
        Witness.RUN: "scores random tokens: probabilities that sum to one cannot beat their entropy",
    },
    legal=Example(
        example_folder(PRELUDE + _DENSE_COUNTS + MAIN),
        "Counts for every next token are normalised and mixed with the network's distribution, weights summing to one.",
    ),
    illegal=Example(
        example_folder(PRELUDE + _HASHED_TARGET + MAIN),
        "A hash of context and target is looked up for the realised token only and blended into its probability.",
    ),
    blind_spots=(
        "A byte mixture that marginalises the full token distribution is claimed legal (#1916); nobody ruled on it.",
        "Caches written in native code are not followed: the result is review.",
        "That a custom normalisation really sums to one is arithmetic the source witness does not do.",
    ),
    judge=judge,
    in_force=IN_FORCE,
)
