"""A copied function must be known again under other names; one that does something else must not."""

import ast
import json
from pathlib import Path
from textwrap import dedent

import pytest

from auditor.ledger import Learned, Ledger, Manner, Metric, Region, Scored, Site, Violation
from auditor.source import lineage
from auditor.source.lineage import MAX_NOTES, Precedent, evaluation_sites, fingerprint, functions_around, lineage_notes
from auditor.submission.model import SourceText

ADAPT = '''
def ttt_adapt(args, model, val_tokens, device, log0=print):
    """Adapt on everything."""
    optimizer = torch.optim.SGD(model.parameters(), lr=args.ttt_lr, momentum=0.9)
    total = val_tokens.numel() - 1
    for epoch in range(args.ttt_epochs):
        for start in range(0, total, args.seq_len):
            x = val_tokens[start : start + args.seq_len].to(device)
            y = val_tokens[start + 1 : start + args.seq_len + 1].to(device)
            optimizer.zero_grad(set_to_none=True)
            loss = model(x[None], y[None])
            loss.backward()
            optimizer.step()
'''
RENAMED = """
def harmless(h: Settings, net: nn.Module, stream, where, say=print) -> None:
    # says what it does not
    import time
    say("starting")
    sgd = torch.optim.SGD(net.parameters(), lr=h.alpha, momentum=0.85)
    n: int = stream.numel() - 1
    for turn in range(h.turns):
        for begin in range(0, n, h.width):
            a = stream[begin : begin + h.width].to(where)
            b = stream[begin + 1 : begin + h.width + 1].to(where)
            sgd.zero_grad(set_to_none=True)
            value = net(a[None], b[None])
            value.backward()
            sgd.step()
        if turn % 10 == 0:
            say(f"turn {turn} {value:.4f}")
"""


def function(text: str) -> ast.FunctionDef:
    node = ast.parse(dedent(text)).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def mark(text: str) -> str:
    return fingerprint(function(text))


def test_a_copy_under_other_names_is_known_again() -> None:
    assert mark(ADAPT) == mark(RENAMED) != ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("val_tokens[start + 1 :", "val_tokens[start + 2 :"),  # other targets
        (".numel() - 1", ".numel() - 2"),
        (
            "            loss.backward()\n            optimizer.step()",
            "            optimizer.step()\n            loss.backward()",
        ),
        ("loss.backward()", "loss.detach()"),
        ("val_tokens[start + 1 :", "x[start + 1 :"),  # another variable
        ("range(args.ttt_epochs)", "range(args.seq_len)"),  # another setting that is used elsewhere
        ("set_to_none=True", "set_to_none=False"),
        ("range(0, total", "range(total, 0"),
        ("optimizer.step()", "optimizer.step() if epoch else None"),
        ("momentum=0.9", "momentum=0.0"),
        ("for epoch in range", "for epoch in max"),
    ],
)
def test_another_function_is_not(old: str, new: str) -> None:
    assert old in ADAPT
    assert mark(ADAPT.replace(old, new)) != mark(ADAPT)


def test_a_keyword_that_a_library_has_too_may_be_renamed_in_own_calls_alone() -> None:
    call = ADAPT + "    return torch.zeros(3, device=device), wrap(model, device=device)\n"
    assert mark(call) == mark(call.replace("wrap(model, device=", "wrap(model, place=")) != mark(ADAPT)


def test_a_logging_condition_does_not_count_but_a_condition_does() -> None:
    logged = ADAPT + "        if epoch == 0:\n            log0('first')\n"
    acting = ADAPT + "        if epoch == 0:\n            model.eval()\n"
    assert mark(logged) == mark(ADAPT) != mark(acting)


def test_code_in_text_is_no_logging() -> None:
    assert mark(ADAPT + "    exec('hidden')\n") != mark(ADAPT)


def test_functions_too_small_too_deep_or_without_a_loop_have_no_fingerprint() -> None:
    assert mark("def small(a):\n    for b in a:\n        return b\n") == ""
    assert mark("def straight(a):\n" + "    a = a + 1\n" * 20) == ""
    deep = "def f(a):\n" + "    for a in a:\n        a = 1\n" * 8 + "    return " + "-" * 450 + "a\n"
    assert mark(deep) == ""


def test_the_innermost_function_of_the_name_around_the_line_is_meant() -> None:
    text = "def step():\n    def step():\n        return 1\n    return step\ndef other():\n    return 2\n"
    tree = ast.parse(text)
    found = functions_around(
        tree, [Site("a.py", 3, "step"), Site("a.py", 6, "Optimizer.other"), Site("a.py", 6, "gone")]
    )
    assert [(node.name, node.lineno) for node in found] == [("step", 2), ("other", 5)]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Precedent]:
    entries = {mark(ADAPT): Precedent(152, "2026-03-20", ("C3",), legal=False, scores=False)}
    monkeypatch.setattr(lineage, "table", lambda: entries)
    return entries


def source(text: str) -> SourceText:
    return SourceText("train_gpt.py", text, "0" * 64)


def test_a_note_names_the_place_and_the_precedent(known: dict[str, Precedent]) -> None:
    notes = lineage_notes(source(RENAMED), [Site("train_gpt.py", 14, "harmless"), Site("train_gpt.py", 15, "harmless")])
    assert notes == [
        (
            Site("train_gpt.py", 2, "harmless"),
            "this adaptation (harmless, lines 2-17) is, up to names, the one ruled out in #152 (C3, 2026-03-20); "
            "where and how it is called may differ",
        )
    ]


def test_an_accepted_one_is_called_accepted(known: dict[str, Precedent]) -> None:
    known[mark(ADAPT)] = Precedent(549, "", (), legal=True, scores=True)
    [(_, text)] = lineage_notes(source(ADAPT), [Site("train_gpt.py", 12, "ttt_adapt")])
    assert "this scoring (ttt_adapt, lines 2-13) is, up to names, the one accepted in #549;" in text


def test_functions_that_neither_learn_nor_score_get_no_note(known: dict[str, Precedent]) -> None:
    text = RENAMED + "\ndef other():\n    return 1\n"
    assert lineage_notes(source(text), []) == []
    assert lineage_notes(source(text), [Site("train_gpt.py", 21, "other")]) == []
    assert lineage_notes(source(text), [Site("helper.py", 14, "harmless"), Site("train_gpt.py", 14, "")]) == []


def test_a_script_that_does_not_parse_gets_no_note(known: dict[str, Precedent]) -> None:
    assert lineage_notes(source("def harmless(:\n"), [Site("train_gpt.py", 1, "harmless")]) == []


def test_notes_are_few(known: dict[str, Precedent]) -> None:
    text = "\n".join(RENAMED.replace("harmless", f"copy_{i}") for i in range(MAX_NOTES + 3))
    tree = ast.parse(text)
    sites = [Site("train_gpt.py", node.lineno, node.name) for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert len(lineage_notes(source(text), sites, tree)) == MAX_NOTES


def test_a_long_function_that_the_module_calls_is_no_pass_over_tokens() -> None:
    def found(length: int, call: str) -> list[str]:
        text = "def main():\n" + "    x = 1\n" * length + call
        return [node.name for node in functions_around(ast.parse(text), [Site("a.py", 2, "main")])]

    assert found(130, "if __name__ == '__main__':\n    main()\n") == []
    assert found(30, "main()\n") == found(130, "") == ["main"]


def test_functions_in_classes_conditions_and_handlers_are_found() -> None:
    text = """
    if x:
        class A:
            def f(self): pass
    else:
        try:
            pass
        except E:
            def g(): pass
        finally:
            with y:
                async def h(): pass
    match z:
        case 1:
            def k(): pass
    """
    sites = [Site("a.py", line, name) for line, name in ((4, "f"), (9, "g"), (12, "h"), (15, "k"))]
    assert [node.name for node in functions_around(ast.parse(dedent(text)), sites)] == ["f", "g", "h", "k"]


def test_the_sites_of_a_ledger() -> None:
    main, chunk, score, table = (
        Site("a.py", line, name) for line, name in ((80, "main"), (9, "c"), (30, "s"), (20, "t"))
    )
    learned = Learned(Region("all"), "model", Manner.GRADIENT, chunk, (main,))
    scored = Scored(Region("all"), Metric("", main), score, (main,))
    printed = Scored(Region("all"), Metric("", main), main, ())
    ledger = Ledger((), (scored, printed), (learned,), (Violation("C1", "", ((table, "looks up"),), True),))
    assert evaluation_sites(ledger) == (chunk, score, table)


def test_a_damaged_table_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(lineage, "files", lambda _: tmp_path)
    lineage.table.cache_clear()
    assert lineage.table() == {}
    (folder / "lineage.json").write_text('{"functions": {"ab": [1, "2026"]}}')
    lineage.table.cache_clear()
    assert lineage.table() == {}
    (folder / "lineage.json").write_text(json.dumps({"functions": {"ab": [1, "2026-03-20", "C1 C2", 0, 1]}}))
    lineage.table.cache_clear()
    assert lineage.table() == {"ab": Precedent(1, "2026-03-20", ("C1", "C2"), legal=False, scores=True)}
    lineage.table.cache_clear()


def test_the_shipped_table_holds_hashes_numbers_dates_and_codes_only() -> None:
    lineage.table.cache_clear()
    path = Path(lineage.__file__).with_name("data") / "lineage.json"
    assert path.stat().st_size < 300_000
    assert lineage.table()
    for key, entry in lineage.table().items():
        assert len(key) == 16
        assert int(key, 16) >= 0
        assert set(entry.rules) <= {"C1", "C2", "C3", "C4"}
        assert bool(entry.rules) is not entry.legal
        assert entry.day == "" or len(entry.day) == 10
