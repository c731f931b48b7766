"""BYTES: bits per byte are divided by the raw bytes of the validation text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from auditor.findings import Finding, RuleResult, Status, Step, Witness, conclude
from auditor.record.implied_bytes import (
    LN2,
    ByteReading,
    StatedBytes,
    byte_readings,
    declared_readings,
    evaluations,
    same_ratio,
    stated_bytes,
)
from auditor.record.model import Place, Record
from rules.base import FINEWEB_50K, Evidence, Example, Precedent, Rule, ValidationText
from rules.evaluation_order import ledgers
from rules.example import example_folder
from rules.order_story import violation_finding
from rules.rescored import bytes_findings, with_rescored

TOLERANCE = 3e-4
"""Relative. Every correct evaluation of the full text lies closer; the rest is a truncated last sequence."""
WRONG_COUNT_TOLERANCE = 1e-4
"""Relative. How closely an implied count must match a known wrong one to be called by its name."""
WRONG_RATIO_TOLERANCE = 1e-5
"""The same for the bare ratio, when no log says how many tokens were scored."""
EXCESS_NO_SUBSET_REACHES = 0.03
"""Prefixes of the text of a million tokens and more imply up to 2 % too much when the log prints the full count."""
STATED_EXCESS = 3e-3
"""Relative. A stated count above the other count of the same log by more than any truncation explains."""
DIGITS_FOR_SMALL_EXCESS = 2e-5
"""Relative rounding error up to which a wrong count of less than that excess is called by its name."""
MIN_EVALUATIONS_FOR_PROOF = 3
"""Different losses that must share an unexplained ratio before it can only be the denominator."""
MIN_EVALUATIONS_FOR_NAMED = 2
MAX_READINGS, MAX_CLUSTERS = 3_000, 60  # a log can hold any number of lines
CLAIM_MATCH = 6e-5
"""bpb. Claims are written with four digits and more."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A correct evaluation of the full validation text: how a tokenizer and a scope divide the same bytes."""

    name: str
    bpb_per_nat: float
    tokens: int
    text_bytes: int


@dataclass(frozen=True, slots=True)
class WrongCount:
    """A byte count known to be wrong, and what makes it. `bpb_per_nat` lists the ratios seen with it."""

    text_bytes: int
    cause: str
    bpb_per_nat: tuple[float, ...] = ()
    seen_in: str = ""


VARIANTS = (
    Variant("SP1024, each token once", 0.592256327, 62_021_632, 151_080_363),
    Variant("SP1024, each document whole", 0.592256291, 62_021_845, 151_080_891),
    Variant("SP1024, sliding windows of 2,048 with the last stride repeated", 0.592257895, 62_023_616, 151_084_796),
    Variant("SP1024, sliding windows of 1,024 with the last stride repeated", 0.592257085, 62_022_592, 151_082_508),
    Variant("SP1024, sequences of 32,768", 0.592242200, 61_997_056, 151_024_099),
    Variant("SP2048", 0.500142720, 52_373_504, 151_074_866),
    Variant("SP4096, main export", 0.434588480, 45_508_608, 151_074_053),
    Variant("SP4096, second export", 0.434644647, 45_514_752, 151_074_924),
    Variant("SP8192, each token once", 0.387131163, 40_540_160, 151_078_222),
    Variant("SP8192, sliding windows with a repeated tail", 0.387132792, 40_542_144, 151_084_980),
    Variant("SP8192, variable length, tails dropped on each rank", 0.387118687, 40_370_176, 150_449_603),
    Variant("SP8192, other export", 0.387199030, 40_546_304, 151_074_634),
    Variant("SP8192, third export", 0.387210557, 40_548_352, 151_077_767),
    Variant("CaseOps SP8192 with the raw-byte sidecar", 0.456960977, 47_851_520, 151_074_499),
    Variant("CaseOps SP8192 with the raw-byte sidecar, each document whole", 0.456959796, 47_853_343, 151_080_645),
    Variant("256 bytes", 1 / LN2, 151_076_864, 151_076_864),
    Variant("260 bytes with document marks", 1.443172489, 151_130_112, 151_080_113),
    Variant("SP1024, the data export of the first two days", 0.590710700, 63_779_840, 155_769_746),
)

BYTE_LEVEL = 1 / LN2  # bpb per nat of a loss that is already in nats per byte

WRONG_COUNTS = (
    WrongCount(
        201_583_912,
        "the word marker U+2581 is counted as its own three UTF-8 bytes instead of one space",
        (0.4438762,),
        "#144",
    ),
    WrongCount(
        177_826_700,
        "the leading space is counted in the piece table and added again at evaluation, and byte pieces are counted by "
        "the length of their name",
        (0.3289018, 0.5031734),
        "#1734",
    ),
    WrongCount(
        176_332_100,
        "the leading space is counted in the piece table and added again at evaluation",
    ),
    WrongCount(
        164_594_398,
        "the transformed CaseOps text, capitalisation marks included, is counted instead of the raw text",
        (0.4194259,),
        "#2138",
    ),
    WrongCount(
        164_602_200,
        "the transformed CaseOps text, capitalisation marks included, is counted instead of the raw text",
        (0.4194060,),
        "#2071",
    ),
    WrongCount(
        152_572_200,
        "byte pieces such as <0x0A> are counted by the length of their name",
        (),
        "#1795",
    ),
    WrongCount(
        182_810_300,
        "a vocabulary whose table holds wrong piece lengths (byte-fallback pieces at three bytes)",
        (0.4921611, 0.4921567),
        "#1184",
    ),
    WrongCount(
        197_944_567,
        "a cut of 49,999,872 tokens of another build of the data, which is not the official validation text",
        (0.3644180,),
        "#1707",
    ),
)

TEN_THOUSAND_DOCUMENTS = (29_900_000, 30_000_000)  # bytes of the first 10,000 documents, by any tail

MIXTURE_WORDS = ("ppm", "mix", "gram", "cache", "blend", "tilt", "backoff", "knn", "interpol", "hedge", "ensemble")


def judge(evidence: Evidence) -> RuleResult:
    """The byte counts behind the logged scores, and behind those of an evaluation of the artifact."""
    return with_rescored(_judge_record(evidence), bytes_findings(evidence))


def _judge_record(evidence: Evidence) -> RuleResult:
    """Compare the byte count behind every printed score with the bytes of the validation text."""
    record, text = evidence.record, evidence.text
    readings, stated = byte_readings(record), stated_bytes(record)
    seen = [
        violation_finding(item, witness)
        for witness, ledger in ledgers(evidence)
        for item in ledger.violations
        if item.rule == "BYTES"
    ]
    if not readings and not stated:
        declared = [_judge_declared(cluster) for cluster in _clusters(_off(declared_readings(record), text))]
        if not seen and not declared:
            return RuleResult("BYTES", Status.NOT_CHECKED, "no log prints a loss beside a bpb: no byte count follows")
        return conclude("BYTES", seen + declared, passed="")
    if not text.official:
        return _judge_consistency(readings, record, text, seen)
    off = _off(readings, text)
    good = [reading for reading in readings if _variant(reading, text) is not None]
    findings = seen + _judge_stated(stated, readings, record, text)
    mixtures: dict[str, list[ByteReading]] = {}
    for cluster in _clusters(off):
        if _is_lone(cluster, good):
            mixtures.setdefault(_stem(cluster[0].line.label), []).extend(cluster)
        else:
            findings.append(_judge_cluster(cluster, readings, record, text))
    findings += [_judge_mixture(label, lines, record, text) for label, lines in mixtures.items()]
    if good:
        findings.append(_note_good(good, text))
    return conclude("BYTES", findings, passed=_passed(good, off))


def _off(readings: Iterable[ByteReading], text: ValidationText) -> list[ByteReading]:
    return [reading for reading in readings if _variant(reading, text) is None]


def _variant(reading: ByteReading, text: ValidationText) -> Variant | None:
    """The correct evaluation that `reading` can be, or None."""
    implied = reading.implied_bytes
    tolerance = TOLERANCE + reading.uncertainty
    named = [
        variant
        for variant in VARIANTS
        if abs(reading.ratio / variant.bpb_per_nat - 1) <= tolerance
        and (reading.tokens is None or abs(reading.tokens / variant.tokens - 1) <= 0.01)
    ]
    if named:
        return min(named, key=lambda variant: abs(reading.ratio / variant.bpb_per_nat - 1))
    if _is_byte_level(reading):
        return Variant("a loss in nats per byte", BYTE_LEVEL, reading.tokens or 0, text.text_bytes)
    if implied is not None and abs(implied / text.text_bytes - 1) <= tolerance:
        return Variant("another tokenizer", reading.ratio, reading.tokens or 0, round(implied))
    return None


def _is_byte_level(reading: ByteReading) -> bool:
    return abs(reading.ratio / BYTE_LEVEL - 1) <= WRONG_COUNT_TOLERANCE + reading.uncertainty


def _wrong_count(text_bytes: float, uncertainty: float) -> WrongCount | None:
    tolerance = WRONG_COUNT_TOLERANCE + uncertainty
    return next((wrong for wrong in WRONG_COUNTS if abs(text_bytes / wrong.text_bytes - 1) <= tolerance), None)


def _wrong_ratio(reading: ByteReading) -> WrongCount | None:
    tolerance = WRONG_RATIO_TOLERANCE + reading.uncertainty
    if tolerance > 2 * WRONG_RATIO_TOLERANCE:  # too few digits to tell
        return None
    return next(
        (wrong for wrong in WRONG_COUNTS for ratio in wrong.bpb_per_nat if abs(reading.ratio / ratio - 1) <= tolerance),
        None,
    )


def _clusters(readings: Iterable[ByteReading]) -> list[list[ByteReading]]:
    """Readings that can share one denominator, the most precise first. Beyond a bound, further ones are left out."""
    clusters: list[list[ByteReading]] = []
    for reading in sorted(readings, key=lambda item: item.uncertainty)[:MAX_READINGS]:
        for cluster in clusters:
            first = cluster[0]
            far = abs(reading.ratio / first.ratio - 1) > 2 * (WRONG_COUNT_TOLERANCE + reading.uncertainty)
            if not far and reading.tokens == first.tokens and same_ratio([first, reading], WRONG_COUNT_TOLERANCE):
                cluster.append(reading)
                break
        else:
            if len(clusters) < MAX_CLUSTERS:
                clusters.append([reading])
    return clusters


def _is_lone(cluster: Sequence[ByteReading], good: Sequence[ByteReading]) -> bool:
    """Whether every log of `cluster` also has correct lines and the cluster no known wrong count: so the bpb of these
    lines is not their loss divided by bytes (a mixture, a subset), rather than divided by the wrong bytes."""
    if _known_wrong(cluster[0]) is not None:
        return False
    return {reading.log for reading in cluster} <= {reading.log for reading in good}


def _known_wrong(reading: ByteReading) -> WrongCount | None:
    implied = reading.implied_bytes
    if implied is None:
        return _wrong_ratio(reading)
    wrong = _wrong_count(implied, reading.uncertainty)
    small = wrong is not None and wrong.text_bytes < FINEWEB_50K.text_bytes * (1 + EXCESS_NO_SUBSET_REACHES)
    return None if small and reading.uncertainty > DIGITS_FOR_SMALL_EXCESS else wrong


def _judge_cluster(
    cluster: Sequence[ByteReading], readings: Sequence[ByteReading], record: Record, text: ValidationText
) -> Finding:
    """Lines that share one ratio which no correct evaluation of the full text has."""
    first = cluster[0]
    implied = first.implied_bytes
    wrong = _known_wrong(first)
    count = evaluations(cluster)
    if wrong is not None:
        status = Status.FAIL if count >= MIN_EVALUATIONS_FOR_NAMED else Status.REVIEW
        return _finding(status, _name_cause(cluster, wrong, record, text), cluster)
    if implied is None:
        message = (
            f"{_lines(cluster)} {first.ratio:.6f} bpb per nat, which no known tokenizer gives on the full validation "
            "text, and no log says how many tokens were scored: ask for the byte count"
        )
        return _finding(Status.REVIEW, message, cluster)
    excess = implied / text.text_bytes - 1
    logs = {reading.log for reading in cluster}
    alone = sum(reading.log in logs for reading in readings) == len(cluster)
    if (
        excess >= EXCESS_NO_SUBSET_REACHES
        and count >= MIN_EVALUATIONS_FOR_PROOF
        and alone
        and _carries_claim(cluster, record)
    ):
        return _finding(Status.FAIL, _excess_message(cluster, text), cluster)
    return _finding(Status.REVIEW, _describe_other_text(cluster, implied, excess, text), cluster)


def _excess_message(cluster: Sequence[ByteReading], text: ValidationText) -> str:
    first = cluster[0]
    implied = first.implied_bytes or 0.0
    return (
        f"{_lines(cluster)} {first.ratio:.6f} bpb per nat over {first.tokens:,} tokens: a denominator of "
        f"{implied:,.0f} bytes, {implied / text.text_bytes - 1:.1%} more than the whole validation text has "
        f"({text.text_bytes:,}). The byte table is wrong for these tokens, or the text is another one; either way the "
        "score is too low"
    )


def _judge_declared(cluster: Sequence[ByteReading]) -> Finding:
    """Losses and scores that only submission.json pairs: no log backs either, so this is a question."""
    wrong = _wrong_ratio(cluster[0])
    cause = f", as where {wrong.cause}" if wrong else ", which no known tokenizer gives on the full validation text"
    message = f"no log prints loss and bpb; the declared pair has {cluster[0].ratio:.6f} bpb per nat{cause}"
    return _finding(Status.REVIEW, message, cluster)


def _name_cause(cluster: Sequence[ByteReading], wrong: WrongCount, record: Record, text: ValidationText) -> str:
    first = cluster[0]
    implied = first.implied_bytes or float(wrong.text_bytes)
    true_bpb = first.bpb * implied / text.text_bytes
    seen = f", as in {wrong.seen_in}" if wrong.seen_in else ""
    message = (
        f"{_lines(cluster)} {first.ratio:.7f} bpb per nat, a denominator of {implied:,.0f} bytes instead of "
        f"{text.text_bytes:,}: {wrong.cause}{seen}. {first.bpb:.5f} would be about {true_bpb:.4f} bpb"
    )
    if not _carries_claim(cluster, record) and record.statement.val_bpb is not None:
        message += f"; the claim of {record.statement.val_bpb:g} is not one of these lines"
    return message


def _describe_other_text(cluster: Sequence[ByteReading], implied: float, excess: float, text: ValidationText) -> str:
    first = cluster[0]
    opening = f"{_lines(cluster)} {first.ratio:.6f} bpb per nat over {first.tokens:,} tokens: {implied:,.0f} bytes"
    share = implied / text.text_bytes
    low, high = TEN_THOUSAND_DOCUMENTS
    if low <= implied <= high:
        return f"{opening}, the first 10,000 documents instead of 50,000 ({share:.1%} of the validation text)"
    if share < 0.9:
        return f"{opening}, {share:.1%} of the validation text: a subset was scored"
    direction = "more" if excess > 0 else "fewer"
    return (
        f"{opening}, {abs(excess):.2%} {direction} than the validation text has ({text.text_bytes:,}): a subset that "
        "prints the full token count, another export of the text, or another byte table"
    )


def _judge_mixture(label: str, lines: Sequence[ByteReading], record: Record, text: ValidationText) -> Finding:
    """Lines whose logs are right elsewhere: their bpb is not their loss over the bytes."""
    first = lines[0]
    claimed = _carries_claim(lines, record)
    named = any(word in label.lower() for word in MIXTURE_WORDS)
    implied = first.implied_bytes
    count = f" (as a byte count it would be {implied:,.0f})" if implied else ""
    kind = (
        "a mixture scored in bits, not a denominator error"
        if named
        else "a subset, a mixture scored in bits, or a number that no program printed"
    )
    message = (
        f"{_quote(first)} prints bpb {first.line.bpb_text} beside a loss of {first.line.loss_text}, {first.ratio:.6f} "
        f"per nat{count}, while the other lines of the log divide by the right bytes: {kind}"
    )
    if claimed:
        message += "; the claim rests on it, so the byte arithmetic cannot confirm the claim"
    return _finding(Status.REVIEW if claimed else Status.PASS, message, lines)


def _judge_stated(
    stated: Sequence[StatedBytes], readings: Sequence[ByteReading], record: Record, text: ValidationText
) -> list[Finding]:
    """Lines that state their own denominator: against the text and against the rest of their log."""
    findings: dict[tuple[int | None, int], Finding] = {}
    for item in stated:
        key = (item.tokens, item.text_bytes)
        if key in findings:
            continue
        finding = _judge_one_stated(item, readings, record, text)
        if finding is not None:
            findings[key] = finding
    return list(findings.values())


def _judge_one_stated(
    item: StatedBytes, readings: Sequence[ByteReading], record: Record, text: ValidationText
) -> Finding | None:
    own = [reading for reading in readings if reading.log == item.log and reading.tokens]
    printed = own[0].tokens if own else next((log.val_tokens for log in record.logs if log.path == item.log), None)
    share = item.text_bytes / text.text_bytes
    if item.tokens is None or printed is None or abs(item.tokens / printed - 1) > 0.01:
        if abs(share - 1) <= STATED_EXCESS:
            return None
        message = f"a score divides by {item.text_bytes:,} bytes, {share:.1%} of the validation text, by its own line"
        return _at(Status.REVIEW, message, item.place)
    plain = [reading for reading in own if not _is_mixture_label(reading) and not _is_byte_level(reading)]
    if abs(share - 1) <= STATED_EXCESS or evaluations(plain) < 2:
        return None
    counts = sorted(implied for reading in plain if (implied := reading.implied_bytes) is not None)
    reference = counts[len(counts) // 2]
    steady = sum(abs(count / reference - 1) <= STATED_EXCESS for count in counts) >= 2
    excess = item.text_bytes / reference - 1
    if excess <= STATED_EXCESS or not steady:
        return None
    wrong = _wrong_count(item.text_bytes, 0.0)
    cause = f": {wrong.cause}" if wrong else ""
    message = (
        f"a score divides {item.tokens:,} tokens by {item.text_bytes:,} bytes, by its own line, while the other lines "
        f"of the same log divide the same tokens by {reference:,.0f}: the denominator is {excess:.1%} too large{cause}"
    )
    return _at(Status.FAIL, message, item.place)


def _is_mixture_label(reading: ByteReading) -> bool:
    label = reading.line.label.lower()
    return any(word in label for word in MIXTURE_WORDS)


def _judge_consistency(
    readings: Sequence[ByteReading], record: Record, text: ValidationText, seen: Sequence[Finding]
) -> RuleResult:
    """For a text that is not the challenge's own: lines of one log must share one ratio, and the claim's denominator
    must not exceed the text."""
    findings = list(seen)
    for cluster in _clusters(reading for reading in readings if reading.tokens is not None):
        excess = (cluster[0].implied_bytes or 0.0) / text.text_bytes - 1
        proved = excess >= EXCESS_NO_SUBSET_REACHES and evaluations(cluster) >= MIN_EVALUATIONS_FOR_PROOF
        if proved and _carries_claim(cluster, record):
            findings.append(_finding(Status.FAIL, _excess_message(cluster, text), cluster))
    for log in dict.fromkeys(reading.log for reading in readings):
        lines = [reading for reading in readings if reading.log == log]
        if not same_ratio(lines, TOLERANCE):
            low, high = min(lines, key=_ratio), max(lines, key=_ratio)
            message = (
                f"bpb per nat ranges from {low.ratio:.6f} to {high.ratio:.6f} in one log, more than rounding explains"
            )
            findings.append(_finding(Status.REVIEW, message, [low, high]))
    passed = f"on {text.name} every log divides all its scores by one byte count, and none by more than the text has"
    return conclude("BYTES", findings, passed=passed)


def _ratio(reading: ByteReading) -> float:
    return reading.ratio


def _carries_claim(lines: Sequence[ByteReading], record: Record) -> bool:
    """Whether a claimed bpb is one of `lines` or the mean of a label's lines."""
    claims = [record.statement.val_bpb, record.readme_bpb, *(seed.val_bpb for seed in record.statement.seeds)]
    values = [reading.bpb for reading in lines]
    by_label: dict[str, dict[str, float]] = {}
    for reading in lines:
        by_label.setdefault(_stem(reading.line.label), {})[reading.log] = reading.bpb
    values += [math.fsum(bpbs.values()) / len(bpbs) for bpbs in by_label.values()]
    return any(abs(claim - value) <= CLAIM_MATCH for claim in claims if claim is not None for value in values)


def _stem(label: str) -> str:
    return label.removesuffix("_exact").strip()


def _note_good(good: Sequence[ByteReading], text: ValidationText) -> Finding:
    best = min(good, key=lambda reading: (reading.line.during_training, reading.uncertainty))
    variant = _variant(best, text)
    implied = best.implied_bytes
    count = f"{implied:,.0f} bytes" if implied is not None else f"{best.ratio:.6f} bpb per nat"
    name = variant.name if variant is not None else ""
    return _finding(Status.PASS, f"{_quote(best)} divides by {count}: {name}", [best])


def _passed(good: Sequence[ByteReading], off: Sequence[ByteReading]) -> str:
    if not off:
        return f"all {len(good)} lines that print a loss and a bpb divide by the bytes of the validation text"
    total = len(good) + len(off)
    return f"{len(good)} of {total} lines divide by the bytes of the validation text; the others do not carry the claim"


def _quote(reading: ByteReading) -> str:
    return f'"{reading.line.label}"' if reading.line.label else f"line {reading.line.place.line}"


def _lines(cluster: Sequence[ByteReading]) -> str:
    logs = len({reading.log for reading in cluster})
    finals = [reading for reading in cluster if not reading.line.during_training]
    label = _quote((finals or cluster)[0])
    if len(cluster) == 1:
        return f"{label} has"
    return f"{len(cluster)} lines of {logs} log{'s' if logs > 1 else ''} (e.g. {label}) have"


def _finding(status: Status, message: str, lines: Sequence[ByteReading]) -> Finding:
    shown = sorted(lines, key=lambda reading: (reading.line.during_training, reading.uncertainty))
    steps = tuple(
        Step(
            item.line.place.path, item.line.place.line, f"val_loss {item.line.loss_text}, val_bpb {item.line.bpb_text}"
        )
        for item in shown[:4]
    )
    place = shown[0].line.place
    return Finding(status, Witness.RECORD, message, path=place.path, line=place.line, steps=steps)


def _at(status: Status, message: str, place: Place) -> Finding:
    return Finding(status, Witness.RECORD, message, path=place.path, line=place.line)


def _doubled_space_example() -> Example:
    files = example_folder()
    log = files["train_seed42.log"]
    final = next(line for line in log.splitlines() if line.startswith("final "))
    factor = FINEWEB_50K.text_bytes / 177_827_960
    changed = {}
    for name, content in files.items():
        if not name.endswith(".log"):
            continue
        lines = content.splitlines()
        last = lines[-1].split()
        bpb = float(last[2].removeprefix("val_bpb:")) * factor
        lines[-1] = f"{last[0]} {last[1]} val_bpb:{bpb:.8f} {last[3]}"
        changed[name] = "\n".join(lines) + "\n"
    assert final
    return Example(
        {**files, **changed},
        "Every log divides by 177.83 million bytes: the space in front of a word is counted twice.",
    )


RULE = Rule(
    code="BYTES",
    title="The denominator is the raw validation text",
    text=(
        "A score is the total code length of the validation text in bits, divided by the number of UTF-8 bytes of that "
        "text as it was before any tokenizer or transformation touched it: 151,080,891 bytes for the 50,000 documents, "
        "less a truncated tail. The tokenizer is free; the denominator is not.\n\n"
        "A count that is too large makes any model look better. Counting is easy to get wrong: the word marker U+2581 "
        "is one space, not three bytes; the space is added once; byte pieces count one; control pieces count nothing; "
        "a transformed text (CaseOps) is charged by its raw original.\n\n"
        "A printed loss and bpb betray the count: bytes = tokens * val_loss / (val_bpb * ln 2)."
    ),
    sources=(
        "README of the challenge: val_bpb is tokenizer-agnostic; tokenizer changes are examined closely",
        "Issue #1017, section V: bytes come from the piece table, over the full validation shards",
        "Issue #897: vocabularies without a standalone U+2581",
    ),
    precedents=(
        Precedent(date(2026, 3, 20), "#144", "community, confirmed by the author", "U+2581 counted as three bytes"),
        Precedent(
            date(2026, 4, 19), "#1734", "author", "leading space in the table and again at evaluation; withdrawn"
        ),
        Precedent(date(2026, 4, 26), "#1184", "cocohearts", "wrong piece lengths; merged by mistake and reverted"),
        Precedent(date(2026, 4, 19), "#1729", "merged", "CaseOps charged by a sidecar of raw bytes is accepted"),
        Precedent(date(2026, 5, 2), "#2039", "cocohearts", "reconstructed token bytes instead of raw bytes"),
        Precedent(date(2026, 5, 2), "#2071", "cocohearts", "CaseOps tokens with CaseOps byte accounting off"),
        Precedent(date(2026, 5, 2), "#2138", "cocohearts", "164,594,398 transformed bytes instead of 151,074,309"),
    ),
    witnesses={
        Witness.RECORD: "divides every printed loss by its bpb and compares the implied bytes with the text",
        Witness.RUN: "the generated text's byte count is known, so printed bpb over printed loss must equal it",
        Witness.RESCORE: "counts the bytes itself",
    },
    legal=Example(example_folder(), "Loss and bpb of every log imply 151,080,363 bytes, SP1024 with each token once."),
    illegal=_doubled_space_example(),
    blind_spots=(
        "A log is a claim: whoever edits loss and bpb alike keeps the ratio.",
        "A mixture line carries the mixed score in bpb and the network's loss in val_loss; its ratio says nothing.",
        "A subset that prints the full token count looks like a slightly different text: a review, and C4's matter.",
        "Whether bytes of a lossy normalisation (casefold) count is not ruled; such texts imply nearly the same bytes.",
        "Four printed digits leave an uncertainty of 5e-5; logs without a token count leave only known ratios.",
    ),
    judge=judge,
)
