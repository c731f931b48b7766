"""Packed scripts open by folding alone: the payload is what the wrapper would execute, and nothing is executed.

Each evasion stands beside an honest twin: what cannot be opened is marked opaque, ordinary scripts are not.
"""

from __future__ import annotations

import base64
import bz2
import importlib
import json
import lzma
import os
import random
import zlib
from collections.abc import Mapping
from pathlib import Path

import brotli
import pytest
import zstandard

from auditor.submission import bounds, fold, syntax
from auditor.submission.decompress import Budget
from auditor.submission.unpack import Opened, open_source

PATH = "records/track_10min_16mb/2026-04-01_X/train_gpt.py"
PAYLOAD = "import os\n" + "".join(f"def step_{i}(x):\n    return x + {i}\n" for i in range(400)) + "print('val_bpb')\n"
NOISE = base64.b64encode(random.Random(0).randbytes(3000)).decode()
RAW = "format=L.FORMAT_RAW,filters=[{'id':L.FILTER_LZMA2}]"


def opened(source: str | bytes, files: Mapping[str, str | bytes] | None = None) -> Opened:
    """Open `source` as train_gpt.py of a record folder with other `files` (paths from the root)."""
    stored = {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
    data = source.encode() if isinstance(source, str) else source
    return open_source(PATH, data, stored.get)


def b85_raw(text: str) -> str:
    data = lzma.compress(text.encode(), format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2}])
    return base64.b85encode(data).decode()


def b85_xz(text: str) -> str:
    return base64.b85encode(lzma.compress(text.encode())).decode()


def wrapped(text: str, before: str = "") -> str:
    """The commonest wrapper of the challenge."""
    return f'import lzma as L,base64 as B\n{before}exec(L.decompress(B.b85decode("{b85_raw(text)}"),{RAW}))\n'


def chunks(text: str, size: int = 60) -> str:
    return "".join(f"    {text[at : at + size]!r},\n" for at in range(0, len(text), size))


def shapes() -> dict[str, tuple[str, str]]:
    """name -> (wrapper, how its layer is described)."""
    payload = PAYLOAD.encode()
    xz, b64 = b85_xz(PAYLOAD), base64.b64encode(lzma.compress(payload)).decode()
    deflated = base64.b85encode(zlib.compress(payload)).decode()
    squeezed, standard = base64.b85encode(brotli.compress(payload)), base64.a85encode(zstandard.compress(payload))
    broken = xz[:500] + "\n" + xz[500:]
    xored = bytes(byte ^ 0x5A for byte in zlib.compress(payload))
    hexed = bz2.compress(payload).hex()
    bundle = base64.b64encode(zlib.compress(json.dumps({"a.py": "x = 1\n", "main.py": PAYLOAD}).encode())).decode()
    return {
        "lzma raw": (wrapped(PAYLOAD), "exec(lzma(b85))"),
        "lzma xz": (f"import lzma,base64\nexec(lzma.decompress(base64.b85decode({xz!r})))\n", "exec(lzma(b85))"),
        "compiled": (
            f"import lzma,base64\nexec(compile(lzma.decompress(base64.b85decode({xz!r})),'x','exec'),globals())\n",
            "exec(lzma(b85))",
        ),
        "replace": (
            f"import lzma,base64\nC=b'''{broken}'''\n"
            "exec(lzma.decompress(base64.b85decode(C.replace(b'\\n',b''))).decode('utf-8'))\n",
            "exec(lzma(b85))",
        ),
        "joined parts": (
            f"import lzma,base64\nP=[\n{chunks(xz)}]\n"
            "_s=lzma.decompress(base64.b85decode(''.join(P))).decode()\nexec(_s)\n",
            "exec(lzma(b85))",
        ),
        "linecache": (
            f"import base64,lzma,linecache\n_src=lzma.decompress(base64.b85decode({xz!r})).decode()\n"
            "linecache.cache['t.py']=(len(_src),None,_src.splitlines(True),'t.py')\nexec(compile(_src,'t.py','exec'))\n",
            "exec(lzma(b85))",
        ),
        "zlib": (
            "from base64 import b85decode\nfrom zlib import decompress\n"
            f"exec(decompress(b85decode({deflated!r})).decode())\n",
            "exec(zlib(b85))",
        ),
        "lzma base 64": (f"import lzma,base64\nexec(lzma.decompress(base64.b64decode({b64!r})))\n", "exec(lzma(b64))"),
        "brotli": (
            f"import brotli,base64\nexec(brotli.decompress(base64.b85decode({squeezed!r})))\n",
            "exec(brotli(b85))",
        ),
        "zstandard": (
            "import zstandard as z,base64\n"
            f"d=z.ZstdDecompressor()\nexec(d.decompress(base64.a85decode({standard!r})))\n",
            "exec(zstandard(a85))",
        ),
        "bz2 hex": (f"import bz2\nexec(bz2.decompress(bytes.fromhex('{hexed}')))\n", "exec(bz2(hex))"),
        "sliced and reversed": (
            f"import lzma,base64\nT={('##' + xz[::-1])!r}\nexec(lzma.decompress(base64.b85decode(T[2:][::-1])))\n",
            "exec(lzma(b85))",
        ),
        "xor": (f"import zlib\nexec(zlib.decompress(bytes(b ^ 0x5a for b in {xored!r})))\n", "exec(zlib)"),
        "function": (
            "import lzma,base64\ndef unpack(text, code=base64.b85decode):\n"
            f"    data = code(text)\n    return lzma.decompress(data)\nexec(unpack({xz!r}))\n",
            "exec(lzma(b85))",
        ),
        "lambda and __import__": (
            f"(lambda c: exec(__import__('lzma').decompress(__import__('base64').b85decode(c))))({xz!r})\n",
            "exec(lzma(b85))",
        ),
        "getattr on builtins": (
            f"import lzma,base64,builtins\ngetattr(builtins,'ex'+'ec')(lzma.decompress(base64.b85decode({xz!r})))\n",
            "exec(lzma(b85))",
        ),
        "eval": (
            f"import lzma,base64\nexec(eval({f'lzma.decompress(base64.b85decode({xz!r}))'!r}))\n",
            "exec(lzma(b85))",
        ),
        "conditional import": (
            "try:\n    import lzma\nexcept ImportError:\n    raise SystemExit\nimport base64\n"
            f"if __name__ == '__main__':\n    exec(lzma.decompress(base64.b85decode({xz!r})))\n",
            "exec(lzma(b85))",
        ),
        "written and run": (
            "import lzma,base64,tempfile,os,runpy\n"
            f"c=lzma.decompress(base64.b85decode({xz!r}))\nf=os.path.join(tempfile.mkdtemp(),'t.py')\n"
            "open(f,'wb').write(c)\nrunpy.run_path(f,run_name='__main__')\n",
            "runpy(lzma(b85))",
        ),
        "written and loaded": (
            "import lzma,base64,importlib.util as IU,os,sys\np='/tmp/t.py'\n"
            f"c=lzma.decompress(base64.b85decode({xz!r}))\n"
            "if not os.path.exists(p):\n    with open(p,'wb') as f:\n        f.write(c)\n"
            "s=IU.spec_from_file_location('__main__',p)\nm=IU.module_from_spec(s)\nm.__name__='__main__'\n"
            "sys.modules['__main__']=m\ns.loader.exec_module(m)\n",
            "import(lzma(b85))",
        ),
        "written and imported": (
            "import lzma,base64,sys\nfrom pathlib import Path\n"
            f"Path('inner.py').write_bytes(lzma.decompress(base64.b85decode({xz!r})))\n"
            "sys.path.insert(0,'.')\nimport inner\n",
            "import(lzma(b85))",
        ),
        "another process": (
            "import lzma,base64,subprocess,sys\n"
            f"open('inner.py','wb').write(lzma.decompress(base64.b85decode({xz!r})))\n"
            "subprocess.run([sys.executable,'inner.py'],check=True)\n",
            "process(lzma(b85))",
        ),
        "json bundle": (
            f"import base64,json,zlib\nfiles=json.loads(zlib.decompress(base64.b64decode({bundle!r})))\n"
            "for name, code in files.items():\n    open(name,'w').write(code)\nexec(files['main.py'])\n",
            "exec(zlib(b64))",
        ),
        "own file": (
            "import lzma,base64\nt=open(__file__).read().split('#'+'PAYLOAD ')[1]\n"
            f"exec(lzma.decompress(base64.b85decode(t.strip())))\n#PAYLOAD {xz}\n",
            "exec(lzma(b85))",
        ),
    }


SHAPES = shapes()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_opens(shape: str) -> None:
    wrapper, described = SHAPES[shape]
    found = opened(wrapper, {PATH: wrapper})
    assert found.source.text == PAYLOAD
    assert found.source.layers == (described,)
    assert found.source.path == PATH + "!unpacked"
    assert found.source.packed
    assert found.source.wrapper == wrapper
    assert found.source.opaque == ""
    assert found.problems == ()


def test_nothing_is_executed_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "executed"
    payload = PAYLOAD + f"open({str(mark)!r}, 'w')\n"
    before = dict(os.environ)
    opened(wrapped(payload, f"import os\nopen({str(mark)!r}, 'w').write('x')\nos.environ['PGOLF_TEST_ONLY'] = '1'\n"))
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("preamble", "forced", "defaults"),
    [
        ("import os\nos.environ.setdefault('TTT_LR','1e-3')\n", {}, {"TTT_LR": "1e-3"}),
        ("import os\nos.environ['A']='1'\n", {"A": "1"}, {}),
        ("import os as o\no.environ.update(A='1', B='2')\n", {"A": "1", "B": "2"}, {}),
        ("import os\nos.environ.update({'A': '1'})\n", {"A": "1"}, {}),
        (
            "from os import environ\nfor k, v in [('A','1'),('B','2')]:\n    environ.setdefault(k, v)\n",
            {},
            {"A": "1", "B": "2"},
        ),
        ("import os\nif 'A' not in os.environ:\n    os.environ['A'] = '1'\n", {}, {"A": "1"}),
        ("import os\nD = {'A': str(3)}\nfor k in D:\n    os.environ[k] = D[k]\n", {"A": "3"}, {}),
        ("import os\nos.environ['A']='1'\nos.environ.setdefault('A','2')\n", {"A": "1"}, {}),
    ],
)
def test_environment_that_the_wrapper_sets(preamble: str, forced: dict[str, str], defaults: dict[str, str]) -> None:
    source = opened(wrapped(PAYLOAD, preamble)).source
    assert (source.environment, source.environment_defaults) == (forced, defaults)
    assert source.opaque == ""


def test_environment_under_an_unknown_condition_is_not_taken_for_granted() -> None:
    found = opened(wrapped(PAYLOAD, "import os\nif os.path.exists('/etc/x'):\n    os.environ['A'] = '1'\n"))
    assert found.source.environment == {}
    assert "sets A under a condition" in found.source.opaque


def test_layers_in_layers() -> None:
    found = opened(wrapped(wrapped(PAYLOAD, "import os\nos.environ['A']='2'\n"), "import os\nos.environ['A']='1'\n"))
    assert found.source.text == PAYLOAD
    assert found.source.layers == ("exec(lzma(b85))",) * 2
    assert found.source.path.endswith("train_gpt.py!unpacked!unpacked")
    assert found.source.environment == {"A": "2"}


def test_too_many_layers_stop_with_one_problem() -> None:
    source = PAYLOAD
    for _ in range(bounds.UNPACK_DEPTH + 2):
        source = wrapped(source)
    found = opened(source)
    assert "packed more than 8 times" in found.source.opaque
    assert len(found.problems) == 1


@pytest.mark.parametrize("module", ["lzma", "zlib", "bz2"])
def test_a_bomb_becomes_one_problem(module: str) -> None:
    bomb = importlib.import_module(module).compress(bytes(4 << 20))
    source = f"import {module},base64\nexec({module}.decompress(base64.b85decode({base64.b85encode(bomb)!r})))\n"
    found = open_source(PATH, source.encode(), lambda _: None, Budget(output_bytes=1 << 20))
    assert [problem.message for problem in found.problems] == ["packed: unpacks to more than 1,048,576 bytes"]
    assert "1,048,576" in found.source.opaque
    assert not found.source.packed


def test_a_bomb_of_repetition() -> None:
    found = opened("x = b'a' * 1000\ny = x * 10**9\nexec(y)\n")
    assert found.source.opaque


def test_steps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "_MAX_STEPS", 5_000)
    loop = "t = 0\nfor a in range(200000):\n    for b in range(200000):\n        t = a\n"
    found = opened("import lzma\n" + loop + "exec(t)\n")
    assert "steps" in found.source.opaque


def test_time_is_bounded() -> None:
    found = open_source(PATH, wrapped(PAYLOAD).encode(), lambda _: None, Budget(seconds=0))
    assert "takes more than 0 s" in found.source.opaque


@pytest.mark.parametrize(
    "source",
    [
        "import os\nexec(os.environ['CODE'])\n",
        "exec(open('/data/code.py').read())\n",
        "import urllib.request\nexec(urllib.request.urlopen('https://example.com/x').read())\n",
        "import marshal,base64\nexec(marshal.loads(base64.b64decode('abcd')))\n",
        "code = input()\neval(code)\n",
        "import runpy,sys\nrunpy.run_path(sys.argv[1])\n",
        "import importlib.util as u\ns=u.spec_from_file_location('x','/opt/x.so')\n"
        "m=u.module_from_spec(s)\ns.loader.exec_module(m)\n",
        "import builtins\ng = getattr(builtins, 'ex' + input())\ng('1')\n",
        "__import__(''.join(reversed(input())))\n",
        "def load(x):\n    exec(x)\nload(input())\n",
        "def load(x):\n    exec(x)\nglobals()['lo' + 'ad'](input())\n",
        "import sys\ndef load(x):\n    exec(x)\ngetattr(sys.modules['__main__'], 'load')(input())\n",
        "class C:\n    def load(self, x):\n        exec(x)\n",
        "e = exec\ndef late():\n    e(input())\n",
        f"import base64,pickle\nrun = pickle.loads(base64.b64decode({NOISE!r}))\nrun()\n",
        f"import base64\nfrom Crypto import decrypt\nexec(decrypt(base64.b64decode({NOISE!r})))\n",
    ],
)
def test_what_cannot_be_opened_is_opaque(source: str) -> None:
    found = opened(source)
    assert found.source.opaque
    assert found.problems
    assert found.source.text == source


@pytest.mark.parametrize(
    "source",
    [
        PAYLOAD,
        "import torch\nmodel = torch.compile(model)\nmodel.eval()\n",
        "from dataclasses import dataclass, field\n@dataclass\nclass C:\n    eval: int = 3\nprint(C.eval)\n",
        "import subprocess\nprint(subprocess.run(['nvidia-smi'], capture_output=True).stdout)\n",
        "import base64\nTABLE = base64.b64decode('" + "QUJD" * 1000 + "')\n" + PAYLOAD,
        "import importlib\nm = importlib.import_module('flash_attn_interface')\n",
        "def never_called(x):\n    exec(x)\nprint('val_bpb')\n",
        "import zlib\nblob = open('model.ptz','rb').read()\nstate = zlib.decompress(blob)\n" + PAYLOAD,
    ],
)
def test_ordinary_scripts_are_left_alone(source: str) -> None:
    found = opened(source)
    assert found.source.text == source
    assert found.source.opaque == ""
    assert not found.source.packed
    assert found.problems == ()


@pytest.mark.parametrize(
    "patch",
    [
        "import torch.nn.functional as F\nF.cross_entropy = lambda *a, **k: 0\n",
        "import torch.nn.functional as F\nsetattr(F, 'cross_entropy', None)\n",
        "import torch\ntorch.__dict__['exp'] = None\n",
        "import patches\npatches.install()\n",
    ],
)
def test_a_wrapper_that_changes_more_is_opaque(patch: str) -> None:
    found = opened(wrapped(PAYLOAD, patch))
    assert found.source.text == PAYLOAD
    assert "its wrapper does something else too" in found.source.opaque


@pytest.mark.parametrize(
    "preamble",
    [
        "import torch\ntorch.backends.cuda.enable_flash_sdp(True)\n",
        "import torch._dynamo\ntorch._dynamo.config.cache_size_limit = 64\n",
        "import sys\nsys.argv[0] = __file__\nsys.path.insert(0, '.')\n",
        "'''A packed script.'''\nprint('starting')\n",
    ],
)
def test_harmless_preambles_are_not(preamble: str) -> None:
    assert opened(wrapped(PAYLOAD, preamble)).source.opaque == ""


def test_a_shim_runs_its_neighbour() -> None:
    inner = "records/track_10min_16mb/2026-04-01_X/train_inner.py"
    shim = "import os\nos.environ['TTT_ENABLED']='1'\nexec(open(__file__.replace('train_gpt','train_inner')).read())\n"
    source = opened(shim, {inner: PAYLOAD}).source
    assert (source.path, source.text, source.packed) == (inner, PAYLOAD, False)
    assert source.environment == {"TTT_ENABLED": "1"}
    assert source.wrapper == shim


def test_a_shim_runs_another_folder() -> None:
    other = "records/track_10min_16mb/2026-03-01_Base/train_gpt.py"
    shim = (
        "import runpy\nfrom pathlib import Path\ndef main():\n"
        "    root = Path(__file__).resolve().parents[3]\n"
        "    runpy.run_path(str(root / 'records' / 'track_10min_16mb' / '2026-03-01_Base' / 'train_gpt.py'), "
        "run_name='__main__')\nif __name__ == '__main__':\n    main()\n"
    )
    assert opened(shim, {other: wrapped(PAYLOAD)}).source.text == PAYLOAD
    assert opened(shim).source.opaque


def test_a_neighbour_that_is_edited_before_it_runs_is_what_is_shown() -> None:
    inner = "records/track_10min_16mb/2026-04-01_X/train_inner.py"
    shim = "s = open('train_inner.py').read()\ns = s.replace('step_7', 'step_8')\nexec(s)\n"
    source = opened(shim, {inner: PAYLOAD}).source
    assert source.text == PAYLOAD.replace("step_7", "step_8")
    assert source.packed


def test_written_modules_become_helpers() -> None:
    files = {"runner.py": PAYLOAD, "lib/cache.py": "class Cache:\n    pass\n"}
    body = "\n# === FILE ===\n".join(files.values())
    wrapper = (
        "import lzma,base64,tempfile,os,sys\n"
        f"parts=lzma.decompress(base64.b85decode({b85_xz(body)!r})).decode().split('\\n# === FILE ===\\n')\n"
        f"d=tempfile.mkdtemp()\nfor n,c in zip({list(files)!r},parts):\n"
        "    f=os.path.join(d,n)\n    os.makedirs(os.path.dirname(f),exist_ok=True)\n    open(f,'w').write(c)\n"
        "sys.path.insert(0,d)\nexec(open(os.path.join(d,'runner.py')).read())\n"
    )
    found = opened(wrapper)
    assert found.source.text.strip() == PAYLOAD.strip()
    helpers = {helper.module: helper.text for helper in found.helpers}
    assert helpers["lib.cache"].startswith("class Cache")
    assert found.source.opaque == ""


def test_a_neighbour_loaded_by_its_path_keeps_the_name_it_is_loaded_under() -> None:
    here, other = PATH.rpartition("/")[0], "records/track_10min_16mb/2026-03-01_Base/train_gpt.py"
    loader = (
        "import importlib.util\nfrom pathlib import Path\n"
        "def load(path, name):\n    spec = importlib.util.spec_from_file_location(name, path)\n"
        "    module = importlib.util.module_from_spec(spec)\n    spec.loader.exec_module(module)\n    return module\n"
        "here = Path(__file__).resolve()\ncache = load(here.parent / 'cache.py', 'fast_cache')\n"
        "def base():\n    return load(here.parents[1] / '2026-03-01_Base' / 'train_gpt.py', 'base')\n"
        "base()\n"
    )
    found = opened(loader + PAYLOAD, {f"{here}/cache.py": "x = 1\n", other: "y = 2\n"})
    assert {helper.module: (helper.path, helper.text) for helper in found.helpers} == {
        "fast_cache": (f"{here}/cache.py", "x = 1\n"),
        "base": (other, "y = 2\n"),
    }
    assert found.source.text == loader + PAYLOAD
    assert found.source.opaque == ""


def test_modules_installed_from_strings_become_helpers() -> None:
    installer = (
        "import sys, types\n"
        "def install(name, source):\n    m = types.ModuleType(name)\n    m.__file__ = name\n    sys.modules[name] = m\n"
        "    exec(compile(source, m.__file__, 'exec'), m.__dict__)\n"
        "install('lib.cache', 'class Cache:\\n    pass\\n')\n"
    )
    found = opened(installer + PAYLOAD)
    assert found.source.text == installer + PAYLOAD
    assert [(helper.module, helper.text) for helper in found.helpers] == [("lib.cache", "class Cache:\n    pass\n")]
    assert found.source.opaque == ""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\nif x\n    y\n", "line 2"),
        ("x = 1\n\0", "null bytes"),
        ("(" * 300 + ")" * 300, "does not parse"),
        ("-" * 200_000 + "1", "does not parse"),
        ("x = " + "1+" * 100_000 + "1\n", "does not parse"),
    ],
    ids=["syntax", "nul", "parentheses", "unary", "chain"],
)
def test_what_does_not_parse_is_kept_as_text(source: str, message: str) -> None:
    found = opened(source)
    assert found.source.text == source
    assert any(message in problem.message for problem in found.problems)


def test_a_source_above_the_bound_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syntax, "SOURCE_BYTES", 1000)
    assert "exceed 1,000" in opened(PAYLOAD + "# another text\n").problems[0].message


def test_pep701_f_strings_parse() -> None:
    source = 'a = {"k": 1}\nprint(f"{a["k"]}")\n' + PAYLOAD
    assert opened(source).problems == ()


@pytest.mark.parametrize(
    "nasty",
    [
        "exec(*[])\n",
        "exec(**{1: 2})\n",
        "import os\nos.path.join()\nexec('')\n",
        "import lzma\nexec(lzma.decompress(b'x', format='y', filters=3))\n",
        "f = lambda: f()\nexec(f())\n",
        "def f():\n    return f()\nexec(f())\n",
        "while True:\n    pass\nexec('x')\n",
        "x = []\nx.append(x)\nexec(str(x))\n",
        "exec('a'.join(['b'] * 10**7))\n",
        "exec('%1000000000d' % 1)\n",
        "exec(f'{1:1000000000}')\n",
        "exec(bytes(10**12))\n",
        "exec(2 ** 2 ** 2 ** 2 ** 2 ** 2)\n",
        "import sys\nexec(sys.modules[0][1][2])\n",
        "exec(eval('eval(' * 500))\n",
        "s = 'eval(s)'\neval(s)\nexec(s)\n",
        "from pathlib import Path\nexec(Path('../../../../../etc/passwd').read_text())\n",
        "exec(open('/proc/self/environ').read())\n",
    ],
)
def test_hostile_wrappers_never_raise(nasty: str) -> None:
    found = opened(nasty)
    assert found.source.text in (nasty, "")
