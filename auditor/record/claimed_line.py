"""Which logged lines carry the claimed score: the mean of one label over the seeds, the best seed, or something else.

A label proves nothing (``final_int8_zlib_roundtrip_exact`` often prints a sliding-window or adapted score), so the
claim is compared with every labelled line, and what it equals is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from auditor.record.model import MetricLine, Record, RunLog

MAX_SUBSET_LOGS = 8  # means of subsets are tried for at most so many logs
MAX_LABELS = 400
MAX_LOGS = 250
MIN_TRAINING_STEPS = 10  # progress lines from which a log is that of a training run
MAX_REPEATS = 8  # earlier scores under one label that are tried
ONE_LOG = "one log"
SEVERAL_LABELS = "(several labels)"
_KINDS = (
    *("mean of all seeds", "the only log", "best seed", "mean of a subset", "median seed", "worst seed", "one seed"),
    ONE_LOG,
)


@dataclass(frozen=True, slots=True)
class ClaimMatch:
    """What the claimed bpb equals. `difference` is claim minus `value`; `exact` means equal to the digits written.

    `kind` is one of "mean of all seeds", "the only log", "best seed", "worst seed", "median seed", "one seed", "mean of
    a subset", and "one log" where several logs print the label but nothing says that they are seeds of one claim;
    `lines` are the logged lines it is made of, one a seed.
    """

    kind: str
    label: str
    lines: tuple[MetricLine, ...]
    value: float
    difference: float
    exact: bool
    logs: int  # logs that print this label


def claimed_lines(record: Record, match: ClaimMatch | None = None) -> list[MetricLine]:
    """The logged lines, one a seed, that carry the claim; of all seeds where the claim is one seed's or a subset's.

    `match` is what `match_claim` says, where it is known already. Empty when there is no claim, no log, or nothing
    within 1e-3.
    """
    match = match or match_claim(record)
    if match is None or abs(match.difference) > 1e-3:
        return []
    if match.kind == ONE_LOG or match.label == SEVERAL_LABELS:
        return list(match.lines)
    label = match.label
    lines = [line for log in claim_logs(record) if (line := _by_label(log).get(label)) is not None]
    return lines if all(line in lines for line in match.lines) else list(match.lines)


def equal_lines(record: Record, claimed: Sequence[MetricLine]) -> list[MetricLine]:
    """Final lines under other labels that print what the `claimed` ones print, to the digits of the claim, each seed.

    One score is often printed more than once, some of the lines only under a setting.
    """
    written = written_tolerance(record.statement.val_bpb_text or repr(record.statement.val_bpb))
    tolerance = min(written, EQUAL_BPB)  # a claim of two digits tells no two scores apart
    tables = []
    for line in claimed:
        log = next((log for log in record.logs if line in log.metrics), None)
        tables.append({} if log is None else _equal_in(log, line, tolerance))
    labels = set.intersection(*(set(table) for table in tables)) if tables else set()
    return [line for table in tables for label, line in table.items() if label in labels]


def _equal_in(log: RunLog, claimed: MetricLine, tolerance: float) -> dict[str, MetricLine]:
    """Lines of a log by label that print the same as a claimed one."""
    return {
        label: line
        for label, line in _by_label(log).items()
        if not (line.during_training or line.running or line.label == claimed.label)
        and abs((line.val_bpb or 0.0) - (claimed.val_bpb or 0.0)) <= tolerance
    }


def carrying_logs(record: Record, claimed: Sequence[MetricLine]) -> list[RunLog]:
    """The runs that print the `claimed` lines."""
    places = {line.place for line in claimed}
    return [log for log in record.logs if any(line.place in places for line in log.metrics)]


def without_rehearsals(record: Record, claimed: Sequence[MetricLine]) -> list[RunLog]:
    """All runs but those that share a file with one that carries the claim and do not carry it: a smoke test that heads
    the file did not make the score, and what it printed was not printed by the run that did."""
    carriers = carrying_logs(record, claimed)
    files = {log.path for log in carriers}
    return [log for log in record.logs if log.path not in files or any(log is carrier for carrier in carriers)]


def left_out_lines(record: Record, match: ClaimMatch) -> list[MetricLine]:
    """The lines of further seeds' training runs that print the claimed label and that the claim does not count.

    Empty where nothing says which logs are seeds of the claim.
    """
    if match.kind == ONE_LOG or match.label == SEVERAL_LABELS:
        return []
    counted = claimed_lines(record, match)
    logs = scored_logs(record)
    seeds = {seed_of(log) for log in logs if any(line in counted for line in log.metrics)}
    if not seeds or None in seeds:
        return []
    found: dict[int | None, MetricLine] = {}
    for log in logs:
        line = _by_label(log).get(match.label)
        if line is not None and seed_of(log) not in {*seeds, None} and len(log.steps) >= MIN_TRAINING_STEPS:
            found.setdefault(seed_of(log), line)
    return list(found.values())


def match_claim(record: Record) -> ClaimMatch | None:
    """What the claimed bpb equals best; None when there is no claim or no log prints a bpb."""
    claim = record.statement.val_bpb
    if claim is None:
        return None
    tolerance = written_tolerance(record.statement.val_bpb_text or repr(claim))
    best: tuple[tuple[float, ...], ClaimMatch] | None = None
    for logs in (claim_logs(record), scored_logs(record)):
        for match in _matches(logs, claim, tolerance):
            rank = _rank(match)
            if best is None or rank < best[0]:
                best = rank, match
        if best is not None and best[1].exact:
            return best[1]
    by_seed = _mean_of_claimed_seeds(record, claim, tolerance)
    if by_seed is not None and by_seed.exact:
        return by_seed
    return best[1] if best else None


def _mean_of_claimed_seeds(record: Record, claim: float, tolerance: float) -> ClaimMatch | None:
    """The mean over the lines that carry each seed's own claimed score, where seeds print it under different labels."""
    logs = scored_logs(record)
    lines = []
    for seed in record.statement.seeds:
        if seed.val_bpb is None:
            return None
        allowed = written_tolerance(repr(seed.val_bpb))
        own = [line for log in logs if seed_of(log) == seed.seed for line in log.metrics if line.val_bpb is not None]
        near = [line for line in own if abs((line.val_bpb or 0.0) - seed.val_bpb) <= allowed]
        if not near:
            return None
        lines.append(min(near, key=lambda line: (line.during_training, line.running, -len(line.bpb_text))))
    if len(lines) < 2:
        return None
    value = math.fsum(line.val_bpb or 0.0 for line in lines) / len(lines)
    exact = abs(claim - value) <= tolerance
    return ClaimMatch("mean of all seeds", SEVERAL_LABELS, tuple(lines), value, claim - value, exact, len(lines))


def written_tolerance(text: str) -> float:
    """How far a number may be off what it stands for, from the digits it is written with: one unit of the last.

    One unit, not half of one, because authors truncate as often as they round.
    """
    digits = text.strip().lower().partition("e")[0].partition(".")[2]
    decimals = len(digits) if digits.isdigit() else 0
    return float(1.001 * 10.0 ** -min(max(decimals, 2), 9))


EQUAL_BPB = 1e-4  # between two lines of one score, evaluated with other strides for example
NEAR_BPB = 0.01  # of a claim that is a mean over seeds whose logs are not all there


def nearest_lines(record: Record) -> tuple[MetricLine, ...]:
    """The lines nearest to the claim and those with the same label, where none carries it; empty without a near one."""
    claim = record.statement.val_bpb
    lines = [line for log in record.logs for line in log.final_metrics if line.val_bpb is not None]
    if claim is None or not lines:
        return ()
    nearest = min(lines, key=lambda line: abs((line.val_bpb or 0.0) - claim))
    if abs((nearest.val_bpb or 0.0) - claim) > NEAR_BPB:
        return ()
    return tuple(line for line in lines if line.label == nearest.label)


def scored_logs(record: Record) -> list[RunLog]:
    """Logs that print a bpb at all, in path order; of copies of one run (a launcher's log) the first."""
    logs: dict[tuple[object, ...], RunLog] = {}
    for log in record.logs:
        scores = tuple((line.label, line.bpb_text) for line in log.final_metrics if line.val_bpb is not None)
        if any(line.val_bpb is not None for line in log.metrics) and len(logs) < MAX_LOGS:
            logs.setdefault((seed_of(log), scores or log.path), log)
    return list(logs.values())


def nothing_reported(record: Record) -> bool:
    """Whether neither submission.json nor the README claims a score, and no log prints one."""
    return record.statement.val_bpb is None and record.readme_bpb is None and not scored_logs(record)


def claim_logs(record: Record) -> list[RunLog]:
    """The logs of the claimed seeds, one a seed where possible; all scored logs when the claim names no seed."""
    logs = scored_logs(record)
    wanted = {seed.seed: seed.val_bpb for seed in record.statement.seeds}
    if not wanted:
        return logs
    chosen = []
    for seed, value in wanted.items():
        own = [log for log in logs if seed_of(log) == seed]
        if own:
            chosen.append(min(own, key=lambda log: _distance(log, value)))
    return chosen or logs


def seed_of(log: RunLog) -> int | None:
    """The seed that a log prints, else the one in its name."""
    return log.seed if log.seed is not None else log.seed_in_name


def _distance(log: RunLog, value: float | None) -> float:
    values = [line.val_bpb for line in log.metrics if line.val_bpb is not None]
    if value is None or not values:
        return 0.0
    return min(abs(found - value) for found in values)


def _by_label(log: RunLog) -> dict[str, MetricLine]:
    """The last line of each label, and the earlier ones of a label that is printed with several scores."""
    groups: dict[str, list[MetricLine]] = {}
    for line in log.metrics:
        if line.val_bpb is not None:
            group = groups.setdefault(label_key(line), [])
            if not group or group[-1].val_bpb != line.val_bpb:
                group.append(line)
    found: dict[str, MetricLine] = {}
    for label, group in list(groups.items())[:MAX_LABELS]:
        found[label] = group[-1]
        if not group[-1].during_training:
            found.update({f"{label} (no. {at})": line for at, line in enumerate(group[:-1][:MAX_REPEATS], 1)})
    return found


def label_key(line: MetricLine) -> str:
    """The label under which lines of different seeds are compared."""
    if line.during_training:
        return f"{line.label} (validation during training)".strip()
    return f"{line.label} (running value)" if line.running else line.label


def _matches(logs: Sequence[RunLog], claim: float, tolerance: float) -> Iterator[ClaimMatch]:
    tables = [_by_label(log) for log in logs]
    labels = dict.fromkeys(label for table in tables for label in table)
    for label in list(labels)[:MAX_LABELS]:
        lines = [table[label] for table in tables if label in table]
        values = [line.val_bpb for line in lines if line.val_bpb is not None]
        seeds = [seed_of(log) for log, table in zip(logs, tables, strict=True) if label in table]
        separate = len(set(seeds)) == len(seeds)
        for kind, members in _candidates(values):
            if len(members) == 1 < len(values) and not separate:
                kind = ONE_LOG
            value = math.fsum(values[member] for member in members) / len(members)
            chosen = tuple(lines[member] for member in members)
            difference = claim - value
            yield ClaimMatch(kind, label, chosen, value, difference, abs(difference) <= tolerance, len(lines))


def _candidates(values: Sequence[float]) -> Iterator[tuple[str, tuple[int, ...]]]:
    count = len(values)
    if count == 1:
        yield "the only log", (0,)
        return
    yield "mean of all seeds", tuple(range(count))
    order = sorted(range(count), key=values.__getitem__)
    for rank, member in enumerate(order):
        middle = count % 2 == 1 and rank == count // 2
        kind = (
            "best seed" if rank == 0 else "worst seed" if rank == count - 1 else "median seed" if middle else "one seed"
        )
        yield kind, (member,)
    if count <= MAX_SUBSET_LOGS:
        for size in range(2, count):
            for members in combinations(range(count), size):
                yield "mean of a subset", members


def _rank(match: ClaimMatch) -> tuple[float, ...]:
    """Exact before near; final lines before others; the mean before single seeds; more digits before fewer."""
    line = match.lines[0]
    standing = 2.0 if line.during_training else 1.0 if line.running else 0.0
    closeness = abs(match.difference)
    if match.exact:
        return (0.0, standing, _KINDS.index(match.kind), -float(len(line.bpb_text)), closeness)
    return (1.0, float(closeness > 1e-3), closeness, standing, _KINDS.index(match.kind))


def printed_values(logs: Iterable[RunLog]) -> set[str]:
    """Every bpb text that the logs print."""
    return {line.bpb_text for log in logs for line in log.metrics if line.bpb_text}
