"""Runs one hostile script inside the sandbox as a submission is run: `python -I -B starter.py script`.

Opens the report channel, puts a stand-in in place (`machine.measure`), installs the guard, and executes the script as
the main module. A record of kind "before" is sent first: whatever the script does, it must arrive.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

INSIDE = "/audit/inside"


def run(script: Path) -> None:
    """Execute `script` with the channel open and the guard on."""
    sys.path.insert(0, INSIDE)
    import channel  # type: ignore[import-not-found]
    import guard  # type: ignore[import-not-found]

    sys.path.remove(INSIDE)
    reporter = channel.open_report()
    machine = types.ModuleType("machine")
    machine.__dict__["measure"] = types.FunctionType(
        compile("def measure():\n    return 7\n", f"{INSIDE}/machine.py", "exec").co_consts[0], {}, "measure"
    )
    sys.modules["machine"] = machine
    watching = guard.install({"folder": str(script.parent)}, reporter)
    watching.watch(machine, "measure")
    reporter.report({"kind": "before", "seven": 7})
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    sys.modules["__main__"] = main
    sys.argv, code = [str(script)], compile(script.read_bytes(), str(script), "exec")
    os.chdir(script.parent)
    exec(code, main.__dict__)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
