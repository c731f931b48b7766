"""The suffix swap accuses only losses that moved, in a script that repeats itself."""

import base64

import numpy as np
import pytest

from auditor.run.sources import Uniform, draw_stream
from auditor.run.stage.audit_data import swapped
from auditor.run.suffix_swap import MOVED_NATS, SuffixSwap, compare, compare_target, losses_of, same, swap_position

LENGTH = 101
AFTER = 61


def losses(**changes):
    values = np.linspace(5.0, 7.0, LENGTH)
    values[0] = np.nan
    for position, value in changes.items():
        values[int(position[1:])] = value
    return values


def test_equal_losses_are_clean_whatever_comes_after():
    found = compare(losses(), losses(p62=9.0, p99=1.0), AFTER)
    assert found.clean and found.moved == 0 and found.compared == AFTER


def test_a_loss_that_knew_a_later_token_moves_and_is_named():
    found = compare(losses(), losses(p40=9.0, p50=6.5), AFTER)
    assert (found.moved, found.first) == (2, 40)
    assert not found.clean


def test_the_loss_at_the_swap_itself_belongs_to_the_past():
    assert compare(losses(), losses(p61=0.1), AFTER).moved == 1


def test_rounding_and_positions_that_one_run_did_not_score_do_not_count():
    found = compare(losses(), losses(p40=losses()[40] + MOVED_NATS / 2, p50=np.nan), AFTER)
    assert found.clean and found.compared == AFTER - 1


@pytest.mark.parametrize(
    ("moved", "repeats", "proves"), [(5, True, True), (5, False, False), (5, None, False), (1, True, False)]
)
def test_only_a_script_that_repeats_itself_is_accused(moved, repeats, proves):
    assert SuffixSwap(AFTER, 60, moved, 3, 0.1, repeats).proves is proves


def test_nothing_compared_is_not_clean():
    nothing = np.full(LENGTH, np.nan)
    assert not compare(losses(), nothing, AFTER).clean
    assert same(losses(), losses(), AFTER) and not same(losses(), losses(p3=1.0), AFTER)


def record(line, values):
    return {"kind": "losses", "line": line, "values": base64.b64encode(values.astype("<f8").tobytes()).decode()}


def test_losses_are_those_of_the_last_line_of_that_shape():
    records = [record("final val_loss:6.1", losses(p3=1.0)), record("other val_loss:6.1", losses(p3=2.0))]
    records += [record("final val_loss:6.2", losses(p3=3.0))]
    assert losses_of(records, "final val_loss:7.123", LENGTH)[3] == 3.0
    assert losses_of(records, "nothing like it", LENGTH) is None


@pytest.mark.parametrize("values", [None, 7, "not base64!", "AAAA", "A" * 8 * LENGTH])
def test_records_that_make_no_sense_are_left_out(values):
    assert losses_of([{"kind": "losses", "line": "a", "values": values}], "a", LENGTH) is None


def test_the_swap_changes_text_behind_the_position_and_nothing_else():
    stream = draw_stream(Uniform(), 2001, 1024, np.random.default_rng(1), documents=(300, 90))
    after = swap_position(2001)
    other = swapped(stream, after, 7)
    assert (other.tokens[: after + 1] == stream.tokens[: after + 1]).all()
    assert (other.tokens[after + 1 :] != stream.tokens[after + 1 :]).mean() > 0.9
    assert (other.is_bos == stream.is_bos).all() and (other.tokens[other.is_bos] == 1).all()
    assert sorted(other.tokens) == sorted(stream.tokens)


def marks(**changes):
    values = np.arange(LENGTH, dtype=float)
    for position, value in changes.items():
        values[int(position[1:])] = value
    return values


def tokens(**changes):
    return marks(**changes).astype(np.uint16)


def test_a_distribution_that_stays_when_its_token_changes_is_named():
    clean = compare(losses(), losses(p62=9.0), AFTER)
    found = compare_target(clean, marks(), marks(p70=3.0), tokens(), tokens(p63=7, p70=9))
    assert (found.target, found.target_moved) == (63, False)


def test_a_distribution_that_knows_its_token_moves():
    clean = compare(losses(), losses(p62=9.0), AFTER)
    found = compare_target(clean, marks(), marks(p63=63.1), tokens(), tokens(p63=7, p70=9))
    assert (found.target, found.target_moved) == (63, True)


def test_a_distribution_that_was_not_seen_tells_nothing():
    clean = compare(losses(), losses(), AFTER)
    unseen = compare_target(clean, marks(p63=np.nan), marks(p63=1.0), tokens(), tokens(p63=7))
    assert (unseen.target, unseen.target_moved) == (-1, False)
    assert compare_target(clean, marks(), marks(), tokens(), tokens()) == clean
