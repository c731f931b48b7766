"""Native code is judged by what a person read in it, and only while it is that code; all other is unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditor.findings import RuleResult, Status
from auditor.source import native, witness
from auditor.source.native import Output, Reading
from auditor.source.native_text import UnreadableError, fingerprint, items_of
from auditor.submission.model import Role, StoredFile
from benchmarks.evasions.cases import FOLDER, PRELUDE, read_theme
from benchmarks.evasions.judging import configuration_of, record_of, submission_of
from benchmarks.native.__main__ import main
from rules import RULES
from rules.base import Evidence

EXPERT = """\
#include <stdint.h>
#define SLOTS 4096
static uint16_t seen[SLOTS]; /* the token that came last after a token */
static uint16_t last;

static void learn(uint16_t token) { seen[last % SLOTS] = token; last = token; }

void expert_reset(void) { last = 0; }

int expert_follow(const uint16_t *tokens, int64_t n, uint16_t *hint, float *trust, uint16_t *word, float *word_trust) {
    for (int64_t i = 0; i < n; ++i) {
        hint[i] = seen[last % SLOTS];
        trust[i] = 0.5f;
        word[i] = tokens[i] > 100 ? hint[i] : 0;  // knows whether the token begins a word
        word_trust[i] = tokens[i] > 100 ? 0.5f : 0.0f;
        learn(tokens[i]);
    }
    return 0;
}
"""
READINGS = {
    "expert_reset": Reading(starts=True),
    "expert_follow": Reading(
        {2: Output(False), 3: Output(False, True), 4: Output(True), 5: Output(True, True)},
        tokens=0,
        place=67,
        why="the class of tokens[i] opens the gate",
    ),
}
LIBRARY = """
import ctypes
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE, LIBRARY = HERE / "expert.c", HERE / "libexpert.so"


def load_expert():
    if not LIBRARY.exists():
        subprocess.run(["gcc", "-O3", "-shared", "-fPIC", "-o", str(LIBRARY), str(SOURCE)], check=True)
    return ctypes.CDLL(str(LIBRARY))


def pointer(array, kind):
    return array.ctypes.data_as(ctypes.POINTER(kind))


def follow(lib, tokens):
    tokens = np.ascontiguousarray(tokens.astype(np.uint16))
    hint, word = np.zeros(tokens.size, dtype=np.uint16), np.zeros(tokens.size, dtype=np.uint16)
    trust, word_trust = np.zeros(tokens.size, dtype=np.float32), np.zeros(tokens.size, dtype=np.float32)
    status = lib.expert_follow(
        pointer(tokens, ctypes.c_uint16), ctypes.c_int64(tokens.size),
        pointer(hint, ctypes.c_uint16), pointer(trust, ctypes.c_float),
        pointer(word, ctypes.c_uint16), pointer(word_trust, ctypes.c_float),
    )
    if status != 0:
        raise RuntimeError(status)
    return hint, trust, word, word_trust


def tilted(hints, gate):
    total = 0.0
    with torch.no_grad():
        for start in range(0, val.numel() - 1, SEQ_LEN):
            x, y = window(val, start)
            log_p = model.logits(x)[0].log_softmax(-1)
            h = torch.from_numpy(hints[start : start + y.numel()].astype(np.int64)).cuda()
            g = torch.from_numpy(gate[start : start + y.numel()]).cuda()
            nll = -log_p.gather(-1, y[0][:, None])[:, 0]
            q = log_p.gather(-1, h[:, None])[:, 0].exp()
            tilt = torch.log1p(q * (math.e - 1.0)) - (y[0] == h).float()
            total += torch.where(g, nll + tilt, nll).sum().item()
    return total / (val.numel() - 1)


val = load_tokens(VAL_FILES)
model = Model().cuda()
train(model)
model.eval()
lib = load_expert()
lib.expert_reset()
hint, trust, word, word_trust = follow(lib, val.numpy()[1:])
"""
TOKEN_ONLY = "report(tilted(hint, trust >= np.float32(0.3)), val)\n"
WORD_ONLY = "report(tilted(word, word_trust >= np.float32(0.3)), val)\n"
BEST_OF_TWO = """
gate, word_gate = trust >= np.float32(0.3), word_trust >= np.float32(float(os.environ.get("WORD_TAU", "0.4")))
gain = np.where(gate, np.log1p(trust), -np.inf)
word_gain = np.where(word_gate, np.log1p(word_trust), -np.inf)
gains = np.stack([gain, word_gain], axis=1)
best, any_gate = np.argmax(gains, axis=1), np.max(gains, axis=1) > -np.inf
rows, both = np.arange(val.numel() - 1), np.stack([hint.astype(np.int64), word.astype(np.int64)], axis=1)
chosen = np.zeros(val.numel() - 1, dtype=np.int64)
chosen[any_gate] = both[rows[any_gate], best[any_gate]]
report(tilted(chosen, any_gate), val)
"""


@pytest.fixture(autouse=True)
def _read_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    items = items_of(EXPERT)
    known = {fingerprint(items, name): reading for name, reading in READINGS.items()}
    monkeypatch.setattr(native, "readings", lambda: known)


def judged(
    use: str, *, expert: str = EXPERT, library: str = LIBRARY, settings: dict[str, str] | None = None, binary: str = ""
) -> RuleResult:
    """C1's result for a script that compiles `expert` and goes on with `use`."""
    prelude = (FOLDER / PRELUDE).read_text(encoding="utf-8")
    case = read_theme("native", f"# case: native\n# twin of: none\n{library}\n{use}", prelude)[0]
    case.settings.update(settings or {})
    submission = submission_of(case)
    names = {"expert.c": expert, **({binary: ""} if binary else {})}
    stored = tuple(
        StoredFile(f"{submission.folder}/{name}", len(text), Role.NATIVE, text.encode()) for name, text in names.items()
    )
    submission = replace(submission, files=stored)
    ledger = witness(submission, configuration_of(case), record_of(case))
    evidence = Evidence(submission, configuration_of(case), record_of(case), source=ledger)
    return RULES["C1"].judge(evidence)


def test_hints_made_of_earlier_tokens_pass() -> None:
    assert judged(TOKEN_ONLY).status is Status.PASS


def test_a_hint_gated_by_its_own_token_is_refused_with_the_line_in_the_native_source() -> None:
    result = judged(WORD_ONLY)
    assert result.status is Status.FAIL
    first = result.findings[0].steps[0]
    assert (first.path.rpartition("/")[2], first.line) == ("expert.c", 14)


def test_the_better_of_two_hints_is_refused_when_one_knows_the_token() -> None:
    assert judged(BEST_OF_TWO).status is Status.FAIL


def test_a_gate_that_no_probability_passes_keeps_the_knowing_hint_out() -> None:
    assert judged(BEST_OF_TWO, settings={"WORD_TAU": "99.0"}).status is Status.PASS


def test_a_hint_that_is_wiped_is_out() -> None:
    assert judged("word.fill(0)\nword_trust.fill(0.0)\n" + BEST_OF_TWO).status is Status.PASS


def test_a_threshold_that_nothing_tells_leaves_the_question_open() -> None:
    assert judged("report(tilted(word, word_trust >= load_shard('threshold.bin')[0]), val)").status is Status.REVIEW


def test_native_code_that_nobody_read_is_not_seen_through() -> None:
    result = judged(TOKEN_ONLY, expert=EXPERT.replace("seen[last % SLOTS];", "tokens[i];"))
    assert result.status is Status.REVIEW
    assert "native code" in result.reason


def test_comments_layout_and_idle_functions_do_not_hide_known_code() -> None:
    idle = "static int idle(int x) { return x; }\n" + EXPERT.replace("    ", "\t").replace(
        "// knows", "/* may know */ //"
    )
    assert judged(TOKEN_ONLY, expert=idle).status is Status.PASS


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seen[last % SLOTS] = token;", "seen[token % SLOTS] = token;"),  # a function that it calls
        ("#define SLOTS 4096", "#define SLOTS 4096\n#define i (i + 1)"),
        ("static uint16_t last;", "static uint16_t last = 7;"),
        ("#include <stdint.h>", '#include "expert.h"'),
        ("void expert_reset", "__attribute__((constructor)) void early(void) { last = 1; }\nvoid expert_reset"),
    ],
)
def test_any_change_to_what_runs_makes_it_unknown(old: str, new: str) -> None:
    assert old in EXPERT
    assert judged(TOKEN_ONLY, expert=EXPERT.replace(old, new)).status is Status.REVIEW


def test_a_library_of_other_making_is_not_seen_through() -> None:
    for old, new in (('"-O3"', '"-Dtokens=later"'), ("str(SOURCE)]", 'str(SOURCE), "other.c"]')):
        assert judged(TOKEN_ONLY, library=LIBRARY.replace(old, new)).status is Status.REVIEW
    assert judged(TOKEN_ONLY, binary="libexpert.so").status is Status.REVIEW


def test_a_source_that_the_script_writes_is_read_like_a_file() -> None:
    text = f"EXPERT = r'''{EXPERT}'''\nSOURCE.write_text(EXPERT)\n\n\n"
    held = LIBRARY.replace("def load_expert():", f"{text}def load_expert():")
    assert judged(TOKEN_ONLY, library=held, expert="").status is Status.REVIEW  # a file of that name says otherwise
    named = held.replace('"expert.c"', 'f"expert_{os.getpid()}.c"')
    assert judged(TOKEN_ONLY, library=named).status is Status.PASS
    assert judged(WORD_ONLY, library=named).status is Status.FAIL
    other = EXPERT.replace("tokens[i] > 100", "tokens[i + 1] > 100")
    assert judged(TOKEN_ONLY, library=named.replace(EXPERT, other)).status is Status.REVIEW


@pytest.mark.parametrize(
    "write",
    [
        'SOURCE.write_text(os.environ.get("CODE", ""))',
        'open(SOURCE, "a").write("int idle;")',
        'os.replace(HERE / "notes.txt", SOURCE)',
        "LIBRARY.write_bytes(zlib.decompress(b'x'))",
    ],
)
def test_a_source_or_library_that_the_script_changes_is_unknown(write: str) -> None:
    changed = LIBRARY.replace("def load_expert():", f"{write}\n\n\ndef load_expert():")
    assert judged(TOKEN_ONLY, library=changed).status is Status.REVIEW


def test_the_same_tokens_given_twice_to_one_state_are_asked_about() -> None:
    again = "hint, trust, word, word_trust = follow(lib, val.numpy()[1:])\n"
    assert judged(again + TOKEN_ONLY).status is Status.REVIEW
    assert judged("lib.expert_reset()\n" + again + TOKEN_ONLY).status is Status.PASS


def test_hints_read_further_ahead_than_they_were_made_for_are_asked_about() -> None:
    ahead = LIBRARY.replace("hints[start : start + y.numel()]", "hints[start + 1 : start + 1 + y.numel()]")
    assert judged(TOKEN_ONLY, library=ahead).status is Status.REVIEW


@pytest.mark.parametrize("text", ['const char *a = R"(x)";', "int f(void) { return 1;", "int f() } {", "a" * 500_000])
def test_text_that_may_be_misread_has_no_items(text: str) -> None:
    with pytest.raises(UnreadableError):
        items_of(text)


def test_functions_inside_linkage_blocks_are_found_once() -> None:
    items = items_of('class A { int f() { return 1; } };\nextern "C" {\nint g(void) { return A().f(); }\n}\n')
    assert fingerprint(items, "g")
    assert not fingerprint(items, "f")
    assert not fingerprint(items_of("int g(int a) { return a; }\nint g(float a) { return 1; }\n"), "g")


def test_the_table_of_readings_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    table = native.readings()
    assert len(table) >= 11
    assert any(output.own for reading in table.values() for output in reading.outputs.values())
    assert all(reading.why for reading in table.values() if any(output.own for output in reading.outputs.values()))


def test_what_was_judged_by_a_reading_is_noted() -> None:
    prelude = (FOLDER / PRELUDE).read_text(encoding="utf-8")
    case = read_theme("native", f"# case: native\n# twin of: none\n{LIBRARY}\n{TOKEN_ONLY}", prelude)[0]
    submission = submission_of(case)
    stored = StoredFile(f"{submission.folder}/expert.c", len(EXPERT), Role.NATIVE, EXPERT.encode())
    ledger = witness(replace(submission, files=(stored,)), configuration_of(case), record_of(case))
    assert ledger is not None
    assert [(site.line, "read by hand" in text) for site, text in ledger.notes] == [(10, True)]


def test_fingerprints_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "expert.c"
    source.write_text(EXPERT)
    assert main([str(source)]) == 0
    assert fingerprint(items_of(EXPERT), "expert_follow") in capsys.readouterr().out
    assert main([str(source), "--tokens", "expert_follow"]) == 0
    assert "67 line 14: tokens" in capsys.readouterr().out
    assert main([str(tmp_path / "missing.c")]) == 2
