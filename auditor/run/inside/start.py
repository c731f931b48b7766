"""Runs a submitted script, unchanged, on a machine that has no GPU: `python -P -s -B start.py spec.json`.

The spec (JSON) names the script, its arguments, the seed, and what to put in place of the machine. Nothing of this
folder stays on sys.path. The process ends with the script's own exit code. Not -I, under which the interpreter ignores
PYTHONHASHSEED: with another seed for the hashes of strings the order of sets would differ between two runs. What else
-E would ignore is not there: the environment is the auditor's own, name by name.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import traceback
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PACKAGE = "inside"  # under this name the modules of this folder import one another


def load_package() -> None:
    """Make this folder the package `inside`, without a folder on sys.path."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE, FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


def _module(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


STANDINS: Mapping[str, str] = {  # what the spec calls it -> the module that installs it, in this order
    "clock": "clock",
    "programs": "programs",
    "packages": "packages",
    "device": "device",
    "cuda": "cuda",
    "autocast": "precision",
    "compile": "compilation",
    "attention": "attention",
    "triton": "triton_kernels",
    "losses": "losses",
    "recurrences": "recurrences",
    "recurrent layers": "recurrent_layers",
    "distributed": "distributed",
    "linear algebra": "linear_algebra",
    "loading": "loading",
}


def prepare(spec: Mapping[str, Any]) -> None:
    """Import torch, set seeds and threads, and put the stand-ins of `spec` in place."""
    threads = int(spec.get("threads", 1))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = str(threads)
    wanted = spec.get("standins", "all")
    left_out = spec.get("left_out", ())
    imports = _module("imports")
    imports.install()
    for name, module in STANDINS.items():
        if (wanted == "all" or name in wanted) and name not in left_out:
            _module(module).install()
    loading = _module("loading")
    loading.set_threads(threads)
    loading.seed(int(spec.get("seed", 1)))
    _module("programs").lead_children(spec)


def _start_other_ranks(path: str, ranks: int) -> None:
    """Start what torchrun would have started: the same script for each further rank. Only the first one reports.

    Nobody waits for them: when the first rank ends, the sandbox ends what is left.
    """
    if ranks < 2 or os.environ.get("RANK") != "0":
        return
    for rank in map(str, range(1, ranks)):
        subprocess.Popen(
            [sys.executable, "-P", "-s", "-B", str(FOLDER / "start.py"), path],
            env={**os.environ, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.DEVNULL,
        )


def run_script(path: Path, argv: list[str], compile_text: Callable[[bytes, str], types.CodeType]) -> int:
    """Execute the file as the main module; the exit code the interpreter would end with."""
    main = types.ModuleType("__main__")
    main.__file__ = str(path)
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    main.__dict__["__cached__"] = None
    sys.modules["__main__"] = main
    sys.argv = argv
    sys.path.insert(0, str(path.parent))
    try:
        exec(compile_text(path.read_bytes(), str(path)), main.__dict__)
    except SystemExit as end:
        return _exit_code(end.code)
    except BaseException:
        kind, value, trace = sys.exc_info()
        while trace is not None and Path(trace.tb_frame.f_code.co_filename).parent == FOLDER:
            trace = trace.tb_next
        traceback.print_exception(kind, value, trace)
        return 1
    return 0


def _exit_code(code: object) -> int:
    """What `sys.exit(code)` ends a process with."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def main(argv: list[str]) -> int:
    """Run the script that the spec file argv[1] names."""
    spec = json.loads(Path(argv[1]).read_bytes())
    sys.dont_write_bytecode = True
    load_package()
    reporter = _module("channel").open_report()
    usage = _module("usage")
    usage.connect(reporter.report if reporter is not None else None)
    _start_other_ranks(argv[1], int(spec.get("ranks", 1)))
    process = os.getpid()
    atexit.register(lambda: usage.report_calls() if os.getpid() == process else None)
    prepare(spec)
    script = (Path.cwd() / spec["script"]).resolve()
    overrides = _module("constants").Overrides(spec.get("overrides", ()), Path.cwd())
    texts = _module("texts").Texts(overrides.change)
    if overrides:
        texts.install()
    if spec.get("trace", "none") != "none":
        _module("trace").install(spec, reporter)
    _module("guard").install(spec, reporter)
    return run_script(script, [spec["script"], *map(str, spec.get("argv", ()))], texts.compile)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
