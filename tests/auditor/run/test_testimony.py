"""What toy runs prove, and what they must not be taken to prove."""

import base64
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditor.ledger import Learned, Ledger, Manner, Metric, Region, Scored, Site, Violation
from auditor.record.model import MetricLine, Place, Record, RunLog, Statement
from auditor.run.events import After, Learner, Part, PrintedNumber, Trace
from auditor.run.model import Job, Outcome, Stage
from auditor.run.printed import printed_metrics, reported_metric
from auditor.run.sources import Uniform, draw_stream
from auditor.run.testimony import ToyRun
from auditor.run.testimony import testify as to_ledger

SCRIPT = "records/x/train_gpt.py"


def as_text(values):
    return base64.b64encode(values.astype("<f8").tobytes()).decode()


STREAM = draw_stream(Uniform(), 4097, 1024, np.random.default_rng(3), documents=(500,))
FLOOR = STREAM.floor() / 4096
TEXT_BYTES = round(4096 * 2.5 / math.log(2))  # of which a bpb is a loss in nats a token, divided by 2.5
LEARNED = Learned(Region("all"), "model", Manner.GRADIENT, Site(SCRIPT, 50, "adapt"))
EMPTY = Record(statement=Statement(), logs=())
STAGE = Stage(Path(), Job(("python",), "/work", {}, ()), SCRIPT, {})


def outcome(stdout, **changes):
    return Outcome(
        **{
            "exit_code": 0,
            "signal": None,
            "stopped_by": "",
            "seconds": 1.0,
            "cpu_seconds": 1.0,
            "peak_memory_bytes": 0,
            "stdout": stdout.encode(),
            "stderr": b"",
            **changes,
        }
    )


def trace_of(line, **changes):
    """A trace in which the number of `line` sums all predictions once."""
    number = PrintedNumber(
        line=line,
        number="1",
        tie="flow",
        coarse=False,
        mixed=False,
        scored=4096,
        most=1,
        repeated=(),
        missing=(),
        stream=4097,
        order=9,
        site=Site(SCRIPT, 90),
        calls=(),
        parts=changes.pop("parts", ()),
    )
    return Trace(4097, (number,), **changes)


def toy_run(mean, *, record=EMPTY, source=None, text=None, trace=None, **changes):
    stdout = text or f"step:1/1 val_loss:6.93000000\nfinal_exact val_loss:{mean:.8f} val_bpb:{mean / 2.5:.8f}\n"
    result = outcome(stdout, **changes.pop("outcome", {}))
    metrics = printed_metrics(result.stdout)
    reported = reported_metric(metrics, record, source)
    changes.setdefault("text_bytes", TEXT_BYTES)
    trace = trace or trace_of(reported.metric.score.raw if reported else "")
    return ToyRun(STAGE, STREAM, result, metrics, reported, trace=trace, **changes)


def source_ledger(*, definite=True, rule="C3", tied=True):
    metric = Metric("final_exact val_loss:{} val_bpb:{}", Site(SCRIPT, 90, "main"), reported=True, tied=tied)
    if rule == "C3":
        scored = Scored(Region("all"), metric, Site(SCRIPT, 80, "evaluate"), after=(LEARNED,), definite=definite)
        return Ledger(metrics=(metric,), scored=(scored,))
    return Ledger(metrics=(metric,), violations=(Violation(rule, "because", (), definite),))


def broken(ledger):
    return {violation.rule: violation for violation in ledger.violations}


def test_a_loss_below_the_floor_is_a_proof_and_says_so():
    ledger = to_ledger([toy_run(FLOOR - 0.2)], None)
    violation = broken(ledger)["C1"]
    assert violation.definite
    assert "below 1 in 10^" in violation.message and "which of C1 to C4" in violation.message


def test_an_uncounted_sum_alone_is_a_question():
    """A script that sums half the tokens and divides by all of them prints half the loss without any leak."""
    uncounted = Trace(4097)
    (violation,) = to_ledger([toy_run(FLOOR / 2, trace=uncounted)], None).violations
    assert not violation.definite and "could not be counted" in violation.doubt
    (confirmed,) = to_ledger([toy_run(FLOOR / 2, trace=uncounted)], source_ledger(rule="C2")).violations
    assert confirmed.definite and confirmed.rule == "C2"


@pytest.mark.parametrize("mean", [FLOOR, FLOOR + 0.02, FLOOR - 0.001])
def test_a_loss_at_the_floor_accuses_nobody(mean):
    ledger = to_ledger([toy_run(mean)], None)
    assert not ledger.violations and not ledger.blind
    assert any("no sign of a leak" in text for _, text in ledger.notes)


def test_the_proof_stands_under_the_rule_that_the_source_names():
    assert set(broken(to_ledger([toy_run(FLOOR - 0.2)], source_ledger()))) == {"C3"}
    assert set(broken(to_ledger([toy_run(FLOOR - 0.2)], source_ledger(rule="C2")))) == {"C2"}
    assert set(broken(to_ledger([toy_run(FLOOR - 0.2)], source_ledger(definite=False)))) == {"C3"}


def test_only_the_claimed_metric_decides():
    """A diagnostic below the floor beside a claimed score above it is a note, not an accusation."""
    text = f"oracle val_loss:1.00000000\nfinal_exact val_loss:{FLOOR + 0.01:.8f} val_bpb:2.7\n"
    ledger = to_ledger([toy_run(0, text=text, source=source_ledger(rule="none"))], source_ledger(rule="none"))
    assert not ledger.violations
    assert any("another metric" in note for _, note in ledger.notes)


def test_a_metric_that_no_log_ties_is_marked_so():
    line = MetricLine("other line", 2.0, 1.1, "2.0", "1.1", None, Place("train.log", 3), "other line val_bpb:1.1")
    record = Record(
        statement=Statement(val_bpb=1.1, val_bpb_text="1.1"),
        logs=(RunLog("train.log", 1, None, metrics=(line,), raw_lines=(line.raw,)),),
    )
    assert not to_ledger([toy_run(FLOOR - 0.2, record=record)], None).metrics[0].tied


def test_the_line_of_the_log_with_the_claim_ties_the_metric():
    raw = "final_exact val_loss:2.80000000 val_bpb:1.10000000"
    line = MetricLine("final_exact", 2.8, 1.1, "2.80000000", "1.10000000", None, Place("train.log", 3), raw)
    record = Record(
        statement=Statement(val_bpb=1.1, val_bpb_text="1.1"),
        logs=(RunLog("train.log", 1, None, metrics=(line,), raw_lines=(raw,)),),
    )
    metric = to_ledger([toy_run(FLOOR, record=record)], None).metrics[0]
    assert metric.tied and "train.log, line 3" in metric.why


def test_without_power_the_run_is_untested_not_clean():
    ledger = to_ledger([toy_run(FLOOR + 1.5)], None)
    assert any("no power" in entry.reason for entry in ledger.unchecked)
    assert not ledger.violations


def test_an_adaptation_that_did_not_act_leaves_the_run_untested():
    learns = replace(source_ledger(rule="none"), learned=(LEARNED,))
    idle = to_ledger([toy_run(FLOOR)], learns)
    assert any("did not act" in entry.reason for entry in idle.unchecked)
    learner = Learner(((1, 9),), ("model",), Manner.GRADIENT, Site(SCRIPT, 50), (), Site(SCRIPT, 49), 3, 1)
    line = f"final_exact val_loss:{FLOOR:.8f} val_bpb:{FLOOR / 2.5:.8f}"
    assert not to_ledger([toy_run(FLOOR, trace=trace_of(line, learners={1: learner}))], learns).unchecked
    assert not to_ledger([toy_run(FLOOR)], source_ledger(rule="none")).unchecked


def test_the_traced_order_is_an_accusation_of_its_own():
    learner = Learner(((1, 4096),), ("model",), Manner.GRADIENT, Site(SCRIPT, 50, "adapt"), (), Site(SCRIPT, 49), 3, 1)
    part = Part(((1, 4096),), Site(SCRIPT, 80), (), 8, (After(1, ((1, 4096),), ()),), False, False)
    line = f"final_exact val_loss:{FLOOR:.8f} val_bpb:{FLOOR / 2.5:.8f}"
    guilty = to_ledger([toy_run(FLOOR, trace=trace_of(line, learners={1: learner}, parts=(part,)))], None)
    (scored,) = guilty.scored
    assert scored.definite and scored.metric.reported and scored.after[0].site.function == "adapt"
    before = Part(((1, 4096),), Site(SCRIPT, 80), (), 2, (), False, False)
    honest = to_ledger([toy_run(FLOOR, trace=trace_of(line, learners={1: learner}, parts=(before,)))], None)
    assert not honest.scored[0].after


def test_a_run_that_printed_nothing_is_untested_and_says_why():
    run = toy_run(0, text="hello\n", failure="script broken by itself: NameError")
    ledger = to_ledger([run], source_ledger())
    assert not ledger.violations
    assert ledger.unchecked[0].reason == "script broken by itself: NameError"


def test_the_order_of_a_run_that_did_not_finish_acquits_nobody():
    learner = Learner(((1, 4096),), ("model",), Manner.GRADIENT, Site(SCRIPT, 50, "adapt"), (), Site(SCRIPT, 49), 3, 1)
    part = Part(((1, 4096),), Site(SCRIPT, 80), (), 2, (), False, False)
    trace = trace_of("diagnostic val_loss:6.93", learners={1: learner}, parts=(part,))
    run = toy_run(0, text="hello\n", failure="ran out of time: 300 s wall clock", trace=trace)
    ledger = to_ledger([run], source_ledger())
    assert not (ledger.scored or ledger.notes or ledger.metrics)
    assert any("ran out of time" in entry.reason and "C3" in entry.matters_for for entry in ledger.unchecked)


def test_tampering_is_a_review_for_every_rule_of_scoring():
    ledger = to_ledger([toy_run(FLOOR, outcome={"broken_chain": "record 7 is missing"})], None)
    assert [blind.matters_for for blind in ledger.blind] == [("C1", "C2", "C3", "C4")]


def test_a_blind_tracer_is_untested_not_suspicious():
    trace = Trace(4097, blind=(("numpy took over", Site(SCRIPT, 9)),))
    ledger = to_ledger([toy_run(FLOOR, trace=trace)], None)
    assert not ledger.blind
    assert any("lost sight" in entry.reason for entry in ledger.unchecked)


def byte_run(factor, mistakes=None, digits=8):
    true_bytes = 10_000
    bpb = FLOOR * 4096 / (true_bytes * factor * math.log(2))
    text = f"final_exact val_loss:{FLOOR:.{digits}f} val_bpb:{bpb:.{digits}f}\n"
    return toy_run(0, text=text, text_bytes=true_bytes, byte_mistakes=mistakes or {})


def test_bytes_counted_in_the_scores_favour_are_named():
    ledger = to_ledger([byte_run(1.18, {"the leading space is counted twice": 11_800})], None)
    assert broken(ledger)["BYTES"].definite
    assert "counted twice" in broken(ledger)["BYTES"].message


def test_an_unexplained_count_is_a_question():
    assert not broken(to_ledger([byte_run(1.3)], None))["BYTES"].definite


@pytest.mark.parametrize("factor", [1.0, 1.004, 0.8])
def test_right_counts_and_counts_against_the_score_accuse_nobody(factor):
    assert "BYTES" not in broken(to_ledger([byte_run(factor)], None))


def test_too_few_digits_say_nothing_of_bytes():
    assert "BYTES" not in broken(to_ledger([byte_run(1.18, {"twice": 11_800}, digits=1)], None))


NETWORK = {"kind": "network", "what": "network: looks up example.com", "count": 2, "site": ["train_gpt.py", 7]}


def test_an_attempt_to_reach_the_network_is_a_question_of_its_own_and_no_tampering():
    seen = "network: looks up example.com at train_gpt.py:7 (2 times)"
    ledger = to_ledger([toy_run(FLOOR, outcome={"records": (NETWORK,), "seen": (seen,)})], None)
    assert not ledger.blind
    assert not broken(ledger)["EXTERNAL"].definite and "train_gpt.py:7" in broken(ledger)["EXTERNAL"].message


def bpb_only_run(exact_pair, factor=1.0, source=None):
    """A run whose last line prints a bpb 0.3 nats a token below the floor, after a line with a loss, too, or none."""
    true_bytes = 10_000
    per_byte = 4096 / (true_bytes * math.log(2))
    pair = f"pre val_loss:{FLOOR:.8f} val_bpb:{FLOOR * per_byte / factor:.8f}\n" if exact_pair else ""
    text = f"{pair}mixed mix_bpb={(FLOOR - 0.3) * per_byte:.8f}\n"
    return toy_run(0, text=text, text_bytes=true_bytes, source=source, trace=trace_of(text.splitlines()[-1]))


def test_bpb_without_a_loss_is_tested_where_the_run_counts_its_bytes_right():
    source = Ledger(metrics=(Metric("mixed mix_bpb={}", Site(SCRIPT, 90), reported=True),))
    accused = replace(source, violations=(Violation("C2", "because", (), False),))
    assert broken(to_ledger([bpb_only_run(True, source=source)], accused))["C2"].definite
    assert not to_ledger([bpb_only_run(False, source=source)], accused).violations
    assert "C2" not in broken(to_ledger([bpb_only_run(True, factor=1.1, source=source)], accused))


@pytest.mark.parametrize("trace", [None, Trace(4097)])
def test_a_loss_in_another_unit_is_no_proof(trace):
    """A script that prints its loss per byte is below every floor; the bpb beside it tells."""
    true_bytes = 10_000
    bpb = FLOOR * 4096 / (true_bytes * math.log(2))
    text = f"final_exact val_loss:{FLOOR * 4096 / true_bytes:.8f} val_bpb:{bpb:.8f}\n"
    for known in (true_bytes, 0):
        run = toy_run(0, text=text, text_bytes=known, trace=trace)
        (violation,) = to_ledger([run], None).violations
        assert not violation.definite and "nats a token" in violation.doubt


def test_the_losses_that_the_tracer_saw_tell_the_unit():
    text = f"final_exact val_loss:{FLOOR - 0.2:.8f}\n"
    values = np.full(4097, FLOOR - 0.2)
    seen = {"kind": "losses", "line": text.strip(), "values": as_text(values)}
    assert broken(to_ledger([toy_run(0, text=text, outcome={"records": (seen,)})], None))["C1"].definite
    scaled = {**seen, "values": as_text(values * 2)}
    assert not broken(to_ledger([toy_run(0, text=text, outcome={"records": (scaled,)})], None))["C1"].definite


def test_bpb_without_a_loss_and_without_a_second_witness_is_a_question():
    source = Ledger(metrics=(Metric("mixed mix_bpb={}", Site(SCRIPT, 90), reported=True),))
    violation = broken(to_ledger([bpb_only_run(True, source=source)], source))["C1"]
    assert not violation.definite and "byte count could be wrong" in violation.doubt
