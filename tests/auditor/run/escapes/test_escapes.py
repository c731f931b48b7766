"""Every escape and forgery, in every confinement that works on this machine. Each case names its forbidden outcome."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auditor.run.model import Confinement
from auditor.run.sandbox import working_confinements
from benchmarks.escapes.cases import CASES
from benchmarks.escapes.judging import Case, judge
from benchmarks.escapes.world import World, made_world

WAYS = working_confinements()
pytestmark = pytest.mark.skipif(not WAYS, reason="nothing on this machine can confine a run")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with made_world() as made:
        yield made


@pytest.mark.parametrize("way", WAYS, ids=[way.name.partition(" ")[0] for way in WAYS])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_forbidden_outcome_does_not_happen(case: Case, way: Confinement, world: World) -> None:
    """Forbidden: see `case.forbidden`. The script neither gets it nor stays unnoticed, and leaves nothing behind."""
    verdict = judge(case, way, world)
    output = verdict.outcome.stdout[-2000:] + verdict.outcome.stderr[-2000:]
    assert verdict.got_out == (), f"{case.forbidden} {output!r}"
    assert verdict.left_behind == ()
    assert verdict.untraced == (), ascii(output)


def test_an_honest_script_leaves_no_trace(world: World) -> None:
    """Forbidden: a script that only computes, reads its data and writes its results is accused of anything."""
    script = """
import json, random, time, threading
data = open("/audit/data/data.bin", "rb").read()
open("final_model.ptz", "wb").write(data)
open("/tmp/scratch", "w").write("x")
thread = threading.Thread(target=time.sleep, args=(0.01,))
thread.start()
thread.join()
print("val_bpb", len(data))
"""
    for way in WAYS:
        verdict = judge(Case("honest", "nothing", script, ""), way, world)
        assert verdict.held
        assert verdict.outcome.completed
        assert verdict.outcome.seen == ()
        assert [record["kind"] for record in verdict.outcome.records] == ["before", "end"]


def test_names_of_cases_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 45
