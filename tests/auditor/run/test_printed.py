"""Which printed figure of a run stands where the claimed score stood in the submitted log."""

from dataclasses import replace

from auditor.record.model import MetricLine, Place, Record, RunLog, Statement
from auditor.run.printed import printed_metrics, reported_metric

MIXED = "mixer tokens={} mix_bpb={} nn_bpb={}"


def record_of(*lines):
    """A record whose claim is 1.10000000 and whose log prints `lines`: (label, loss, bpb, raw)."""
    metrics = tuple(
        MetricLine(label, float(loss) if loss else None, float(bpb), loss, bpb, None, Place("train.log", number), raw)
        for number, (label, loss, bpb, raw) in enumerate(lines, 1)
    )
    log = RunLog("train.log", 1, None, metrics=metrics, raw_lines=tuple(line.raw for line in metrics))
    return Record(statement=Statement(val_bpb=1.1, val_bpb_text="1.10000000"), logs=(log,))


def reported(stdout, record):
    return reported_metric(printed_metrics(stdout.encode()), record, None).metric.score


RAW = MIXED.format(999, "1.10000000", "1.30000000")
MIXTURE = record_of(
    ("mixer tokens=999 mix_bpb", "", "1.10000000", RAW), ("mixer tokens=999 nn_bpb", "", "1.30000000", RAW)
)


def test_of_several_figures_in_one_line_the_claimed_one_is_taken():
    score = reported(MIXED.format(7, "3.75698733", "3.92777224") + "\n", MIXTURE)
    assert score.bpb_text == "3.75698733"


def test_the_claimed_score_is_taken_where_it_is_printed_with_its_loss():
    stdout = MIXED.format(7, "3.75698733", "3.92777224") + "\nfinal val_loss:8.61097222 val_bpb:3.75698733\n"
    assert reported(stdout, MIXTURE).loss_text == "8.61097222"


def test_another_score_with_a_loss_does_not_stand_in_for_the_claimed_one():
    stdout = "final val_loss:9.00226000 val_bpb:3.92777224\n" + MIXED.format(7, "3.75698733", "3.92777224") + "\n"
    assert reported(stdout, MIXTURE).bpb_text == "3.75698733"


def test_few_digits_do_not_tell_that_two_scores_are_one():
    raw = "mix_bpb=1.10"
    record = record_of(("mix_bpb", "", "1.10", raw))
    assert not reported("final val_loss:8.61097222 val_bpb:3.75\nmix_bpb=3.75\n", record).loss_text


STRIDES = record_of(
    ("roundtrip_exact", "1.9", "1.11000000", "roundtrip_exact val_loss:1.9 val_bpb:1.11000000"),
    ("sliding_exact", "1.8", "1.10002000", "sliding_exact val_loss:1.8 val_bpb:1.10002000"),
    ("sliding_s64_exact", "1.8", "1.10000000", "sliding_s64_exact val_loss:1.8 val_bpb:1.10000000"),
)


def tied(stdout, record):
    return reported_metric(printed_metrics(stdout.encode()), record, None).tied


def test_where_the_claimed_line_is_not_printed_another_line_of_the_same_score_stands_in():
    record = replace(STRIDES, statement=Statement(val_bpb=1.1, val_bpb_text="1.1000"))
    assert tied("sliding_exact val_loss:6.25 val_bpb:3.87\n", record)
    assert not tied("roundtrip_exact val_loss:6.25 val_bpb:3.87\n", record)


def test_a_line_of_another_score_does_not_stand_in():
    assert not tied("sliding_exact val_loss:6.25 val_bpb:3.87\n", STRIDES)


def test_a_claim_of_two_digits_tells_no_two_scores_apart():
    record = replace(STRIDES, statement=Statement(val_bpb=1.1, val_bpb_text="1.1"))
    assert not tied("roundtrip_exact val_loss:6.25 val_bpb:3.87\n", record)
    assert tied("sliding_exact val_loss:6.25 val_bpb:3.87\n", record)
