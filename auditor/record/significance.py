"""How a submission's seeds compare with the accepted record at its creation.

A record must beat the previous one by 0.005 nats per token, shown with p < 0.01; from April on the organizers used a
one-sided Welch test against the previous record's own seeds. Both are computed here, neither is judged.

The p-values come from Student's t through the regularised incomplete beta function. It is written out below because
importing scipy would take longer than all the rest of an audit; the tests hold it against scipy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from importlib import resources

_CONTINUED_FRACTION_STEPS = 300
_EPSILON = 1e-15


@dataclass(frozen=True, slots=True)
class SeedScore:
    """One logged run: nats per token and bits per byte."""

    seed: int | None
    val_loss: float
    val_bpb: float


@dataclass(frozen=True, slots=True)
class AcceptedRow:
    """A row of the leaderboard: its pull request (None for the baseline), when that was created, its score in bpb.

    `listed` is when the leaderboard first showed the row: days later than its creation, at times weeks.
    """

    pull_request: int | None
    created: datetime
    score: float
    name: str
    seeds: tuple[SeedScore, ...]
    listed: datetime | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A submission against the record to beat.

    `delta_bpb` and `delta_nats_per_token` are positive when the submission is better; the latter counts tokens of the
    submission's own tokenizer. `p_margin` is the one-sided p-value for an improvement of at least the margin over the
    record's score; `p_any` Welch's for any improvement over the record's seeds; `p_any_over_score` the one-sample
    test's for any improvement over the record's score. None where too few values are known.
    """

    record: AcceptedRow
    seeds: int
    mean_bpb: float
    bpb_per_nat: float
    delta_bpb: float
    delta_nats_per_token: float
    p_margin: float | None
    p_any: float | None
    p_any_over_score: float | None = None


def accepted_rows() -> tuple[AcceptedRow, ...]:
    """The accepted record rows, oldest first (rules/data/accepted_rows.json)."""
    text = resources.files("rules").joinpath("data", "accepted_rows.json").read_text(encoding="utf-8")
    return tuple(
        AcceptedRow(
            pull_request=row["pull_request"],
            created=datetime.fromisoformat(row["created"]),
            score=row["score"],
            name=row["name"],
            seeds=tuple(SeedScore(seed["seed"], seed["val_loss"], seed["val_bpb"]) for seed in row["seeds"]),
            listed=datetime.fromisoformat(row["listed"]),
        )
        for row in json.loads(text)["rows"]
    )


def record_to_beat(
    rows: Sequence[AcceptedRow], created: datetime | None, as_of: date | None, pull_request: int | None
) -> AcceptedRow | None:
    """The best accepted row that was there first.

    Numbers of pull requests rise with their creation, so a known number decides; otherwise `created` does, which can be
    late for a branch that was rebased. Rows created after the end of the day `as_of` never count.
    """
    end = datetime.combine(as_of, time.max, tzinfo=UTC) if as_of is not None else None
    if created is not None and created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    older = [row for row in rows if _is_earlier(row, created, pull_request) and (end is None or row.created <= end)]
    return min(older, key=lambda row: row.score, default=None)


def _is_earlier(row: AcceptedRow, created: datetime | None, pull_request: int | None) -> bool:
    if pull_request is not None:
        return row.pull_request is None or row.pull_request < pull_request
    return created is None or row.created < created


def listed_record(rows: Sequence[AcceptedRow], moment: datetime | None) -> AcceptedRow | None:
    """The best row that the leaderboard showed at `moment`: what an author could know of. None without a moment."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    shown = [row for row in rows if row.listed is not None and row.listed <= moment]
    return min(shown, key=lambda row: row.score, default=None)


def compare(scores: Sequence[SeedScore], record: AcceptedRow, margin_nats_per_token: float) -> Comparison:
    """Compare `scores` (at least one) with the record to beat."""
    losses = [score.val_loss for score in scores]
    bpbs = [score.val_bpb for score in scores]
    mean_bpb = math.fsum(bpbs) / len(bpbs)
    bpb_per_nat = mean_bpb / (math.fsum(losses) / len(losses))
    gains = [(record.score - bpb) / bpb_per_nat for bpb in bpbs]
    return Comparison(
        record=record,
        seeds=len(scores),
        mean_bpb=mean_bpb,
        bpb_per_nat=bpb_per_nat,
        delta_bpb=record.score - mean_bpb,
        delta_nats_per_token=math.fsum(gains) / len(gains),
        p_margin=p_mean_exceeds(gains, margin_nats_per_token),
        p_any=p_welch_less(bpbs, [seed.val_bpb for seed in record.seeds]),
        p_any_over_score=p_mean_exceeds(gains, 0.0),
    )


def p_mean_exceeds(values: Sequence[float], threshold: float) -> float | None:
    """One-sided one-sample t-test: how likely such values are if their mean were at most `threshold`."""
    count = len(values)
    if count < 2:
        return None
    mean, variance = _mean_variance(values)
    if variance <= 0.0:
        return None
    return student_t_upper((mean - threshold) / math.sqrt(variance / count), count - 1.0)


def p_welch_less(first: Sequence[float], second: Sequence[float]) -> float | None:
    """One-sided Welch test: how likely such samples are if the mean behind `first` were at least that of `second`."""
    if len(first) < 2 or len(second) < 2:
        return None
    (mean_1, variance_1), (mean_2, variance_2) = _mean_variance(first), _mean_variance(second)
    error_1, error_2 = variance_1 / len(first), variance_2 / len(second)
    if error_1 + error_2 <= 0.0:
        return None
    freedom = (error_1 + error_2) ** 2 / (error_1**2 / (len(first) - 1) + error_2**2 / (len(second) - 1))
    return student_t_upper((mean_2 - mean_1) / math.sqrt(error_1 + error_2), freedom)


def _mean_variance(values: Sequence[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def student_t_upper(statistic: float, freedom: float) -> float:
    """P(T > statistic) for Student's t with `freedom` > 0 degrees of freedom."""
    square = statistic * statistic
    if square < 1.0:  # near the middle the complement keeps the digits
        tail = 0.5 - 0.5 * _incomplete_beta(0.5, freedom / 2.0, square / (freedom + square))
    else:
        tail = 0.5 * _incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + square))
    return tail if statistic >= 0.0 else 1.0 - tail


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # there the fraction converges fast for the complement only
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _beta_fraction(a, b, x) / a


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of 1 / (1 + d_1 / (1 + d_2 / (1 + ...)))."""
    numerator, denominator = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = denominator
    for step in range(1, _CONTINUED_FRACTION_STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for coefficient in (even, odd):
            denominator = 1.0 / _away_from_zero(1.0 + coefficient * denominator)
            numerator = _away_from_zero(1.0 + coefficient / numerator)
            value *= denominator * numerator
        if abs(denominator * numerator - 1.0) < _EPSILON:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
