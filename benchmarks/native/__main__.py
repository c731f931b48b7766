"""Print the fingerprint of every function of C and C++ files: ``python -m benchmarks.native FILE [FILE ...]``.

A reading is entered by hand in ``auditor/source/data/native.json`` under the fingerprint of the function that the
script calls; `auditor.source.native` says what it holds. With ``--tokens NAME`` the tokens of one function are
numbered, to find the ``place`` at which it reads a token.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auditor.source.native import readings
from auditor.source.native_text import UnreadableError, fingerprint, items_of


def main(arguments: list[str] | None = None) -> int:
    """0 when every file could be read, 2 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.native", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--tokens", metavar="NAME", help="number the tokens of this function")
    options = parser.parse_args(arguments)
    failed = False
    for path in options.files:
        try:
            items = items_of(path.read_text(encoding="utf-8", errors="replace"))
        except (OSError, UnreadableError) as error:
            print(f"{path}: cannot be told apart into functions ({error})", file=sys.stderr)
            failed = True
            continue
        for item in items:
            if item.function == options.tokens:
                for number, token in enumerate(item.tokens):
                    print(f"{number:6} line {token.line}: {token.text}")
            elif item.function and options.tokens is None:
                key = fingerprint(items, item.function)
                state = "read" if key in readings() else "not read"
                print(f"{key or 'no fingerprint':24}  {state:8}  {item.function} (line {item.tokens[0].line})")
    return 2 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
