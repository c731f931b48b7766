"""Renaming must leave no name of the script's own that it can change, and must never change what the script does."""

import ast
import re
from textwrap import dedent
from typing import Any

import pytest

from benchmarks.renaming.renamer import Disguise, rename, unparsed


def renamed(text: str, disguise: Disguise = Disguise.PLAIN) -> str:
    return rename({"train_gpt.py": dedent(text)}, disguise).sources["train_gpt.py"]


def words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", text))


def run(text: str) -> Any:
    """What a script of our own leaves in RESULT["value"]."""
    shared: dict[str, Any] = {"RESULT": {}, "__name__": "script"}
    exec(compile(text, "script", "exec"), shared)  # text of this file only
    return shared["RESULT"]["value"]


PROGRAM = '''
import math
from dataclasses import dataclass, field
from functools import partial

@dataclass
class Settings:
    """Settings of the run."""
    ttt_epochs: int = 3
    learning_rates: list = field(default_factory=lambda: [0.1])

class Adapter:
    COUNT = 0

    def __init__(self, width, *, decay=0.5):
        self.width = width  # a comment
        self._state = [decay] * width
        Adapter.COUNT += 1

    def absorb(self, tokens, rate=1.0):
        for token in tokens:
            self._state[token % self.width] += rate

    @property
    def total_mass(self):
        return sum(self._state)

    def __call__(self, token, *, peek=False):
        return self._state[token % self.width] if peek else -math.log(self._state[token % self.width])

class Scaled(Adapter):
    def __init__(self, width, scaling):
        super().__init__(width, decay=0.25)
        self.scaling = scaling

def evaluate(adapter, tokens, *, skip_last=True, **options):
    """Score and learn."""
    global SEEN
    loss_sum = 0.0
    def inner(token):
        nonlocal loss_sum
        loss_sum += adapter(token)
    for position, token in enumerate(tokens):
        inner(token)
        if not (skip_last and position == len(tokens) - 1):
            adapter.absorb(tokens=[token], rate=getattr(adapter, "scaling", options["fallback"]))
    SEEN = len(tokens)
    return loss_sum / SEEN

settings = Settings(ttt_epochs=2)
adapter = Scaled(4, scaling=2)
score = partial(evaluate, adapter, skip_last=False)
losses = {f"epoch{epoch}": score([1, 2, 3, 1], fallback=1) for epoch in range(settings.ttt_epochs)}
if (best := min(losses.values())) and hasattr(adapter, "missing"):
    raise SystemExit
try:
    [][1]
except IndexError as problem:
    kind = type(problem).__name__
RESULT["value"] = (losses, best, adapter.total_mass, adapter(1, peek=True), Adapter.COUNT, SEEN, kind)
'''


@pytest.mark.parametrize("disguise", list(Disguise))
def test_the_program_stays_the_same(disguise: Disguise) -> None:
    text = renamed(PROGRAM, disguise)
    assert run(text) == run(PROGRAM)
    own = (
        "Settings ttt_epochs learning_rates Adapter COUNT absorb total_mass Scaled scaling evaluate skip_last adapter "
    )
    own += "options loss_sum inner position token settings score losses best problem SEEN _state peek width rate decay"
    allowed_to_stay = {"decay", "rate"}  # also keywords of libraries
    left = {name for name in own.split() if name in words(re.sub(r"f?'[^']*'", "", text))}
    assert left <= allowed_to_stay


def test_comments_and_docstrings_go_and_text_stays() -> None:
    text = renamed(PROGRAM)
    assert "Settings of the run" not in text
    assert "comment" not in text
    assert "'epoch" in text


def test_library_names_stay() -> None:
    text = renamed("""
        import os
        import torch
        import torch.nn.functional as F
        from torch import nn
        rate = float(os.environ.get("TTT_LR", "0.1"))
        def adapt(model, tokens, lr=rate):
            optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
            loss = F.cross_entropy(model(tokens[:-1]), tokens[1:], reduction="mean")
            loss.backward()
            optimizer.step()
            torch.save({"adapted": model.state_dict()}, "val_model.pt")
    """)
    kept = ["os.environ.get('TTT_LR', '0.1')", "torch.optim.SGD(", ".parameters()", "lr=", "momentum=0.9"]
    kept += ["F.cross_entropy(", "reduction='mean'", ".backward()", ".step()", "{'adapted': ", "'val_model.pt'"]
    assert [piece for piece in kept if piece not in text] == []
    assert not {"adapt", "model", "tokens", "optimizer", "loss", "rate"} & words(re.sub(r"'[^']*'", "", text))


def test_an_attribute_that_a_library_has_too_stays() -> None:
    text = renamed("""
        class Table:
            def __init__(self):
                self.weight = 1
                self.ngram_table = 2
            def step(self):
                return self.weight + self.ngram_table
        def use(layer, table):
            return layer.weight + table.step() + table.ngram_table
    """)
    assert {"weight", "step"} <= words(text)
    assert "ngram_table" not in words(text)


def test_a_keyword_of_something_unknown_keeps_its_name_and_the_parameter_with_it() -> None:
    text = renamed("""
        def forward_pass(tokens, stride, lora_bank):
            return tokens, stride, lora_bank
        for function in (forward_pass, make()):
            function(1, stride=2, lora_bank=3)
    """)
    assert "stride" in words(text)  # convolutions have a stride, too
    assert "lora_bank" not in words(text)
    call = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and node.keywords)
    definition = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
    assert [keyword.arg for keyword in call.keywords] == [arg.arg for arg in definition.args.args[1:]]


def test_keywords_that_travel_in_a_dict_stay() -> None:
    program = """
        def build(bank_size, bank_seed=0, other=5):
            return bank_size, bank_seed, other
        options = {"bank_size": 3}
        more = dict(bank_seed=4)
        RESULT["value"] = build(**options, **more)
    """
    assert run(renamed(program)) == (3, 4, 5)


def test_an_attribute_reached_by_computed_text_stays() -> None:
    program = """
        class Bag:
            pass
        bag = Bag()
        bag.layer_0 = 1
        bag.layer_1 = 2
        bag.hidden_flag = 3
        for name in ("hidden_flag",):
            setattr(bag, name, getattr(bag, name) + 1)
        RESULT["value"] = (sum(getattr(bag, f"layer_{i}") for i in range(2)), bag.hidden_flag)
    """
    assert run(renamed(program)) == (3, 4)


def test_a_key_of_a_state_dict_stays() -> None:
    text = renamed("""
        from torch import nn
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.attn_gain = nn.Parameter(make())
                self.mlp_gain = nn.Parameter(make())
        chosen = [p for n, p in Block().named_parameters() if "blocks.0.attn_gain" in n]
    """)
    assert "attn_gain" in words(text)
    assert "mlp_gain" not in words(text)


def test_helpers_are_renamed_with_the_script() -> None:
    sources = {
        "records/x/train_gpt.py": "from cache import lookup_tokens as a\nimport cache\na(cache.fill_table(rows=1))",
        "records/x/cache.py": "def lookup_tokens(table):\n    return table\ndef fill_table(rows):\n    return rows\n",
    }
    result = rename(sources)
    name = result.names
    script = ast.parse(result.sources["records/x/train_gpt.py"])
    imported = script.body[0]
    assert isinstance(imported, ast.ImportFrom)
    assert (imported.module, imported.names[0].name) == ("cache", name["lookup_tokens"])
    assert f"cache.{name['fill_table']}({name['rows']}=1)" in result.sources["records/x/train_gpt.py"]
    assert f"def {name['fill_table']}({name['rows']})" in result.sources["records/x/cache.py"]


def test_a_function_that_a_script_reaches_through_itself_as_a_module_stays() -> None:
    script = """
        import sys

        def fill_table():
            return 3

        def make_table():
            return fill_table()

        this_script = sys.modules[__name__]
        result = this_script.fill_table() if hasattr(this_script, "fill_table") else make_table()
    """
    text = renamed(script)
    assert {"fill_table"} <= words(text)
    assert not {"make_table", "this_script"} & words(text)


def test_a_function_reached_through_a_module_that_is_a_value_stays() -> None:
    script = "import cache\n\ndef use(module):\n    return module.fill_table()\n\nuse(cache)\n"
    result = rename({"train_gpt.py": script, "cache.py": "def fill_table():\n    return 1\n"})
    assert ".fill_table()" in result.sources["train_gpt.py"]
    assert "def fill_table()" in result.sources["cache.py"]


def test_a_builtin_that_is_shadowed_somewhere_stays_everywhere() -> None:
    program = """
        def shadow(input, max):
            return input + max
        RESULT["value"] = max(shadow(1, 2), 1)
    """
    assert run(renamed(program)) == 3


def test_forms_of_new_names() -> None:
    text = "class Model:\n    pass\nMAX_LEN = 3\ndef _score(x_t):\n    return x_t\n"
    assert re.search(r"class C\d+", renamed(text))
    assert re.search(r"^K\d+ = 3", renamed(text), re.M)
    assert re.search(r"def _v\d+\(v\d+\)", renamed(text))
    assert re.search(r"class v\d+", renamed(text, Disguise.FLAT))
    assert renamed(text, Disguise.MISLEADING) == renamed(text, Disguise.MISLEADING) != renamed(text, Disguise.FLAT)


def test_layout_alone_keeps_every_name() -> None:
    text = unparsed({"a.py": PROGRAM})["a.py"]
    assert run(text) == run(PROGRAM)
    assert "def evaluate(adapter, tokens" in text
    assert "Settings of the run" not in text
