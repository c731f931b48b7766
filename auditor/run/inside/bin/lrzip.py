"""lrzip by xz: the same command line, another format, sizes within a few percent of ZPAQ's on weights."""

import lzma
import sys
from pathlib import Path

MAGIC = b"LRZI-xz "


def main(words: list[str]) -> int:
    """Compress or, with -d, decompress one file; `-o` names the output, else the suffix .lrz is added or removed."""
    output, paths, decompress = None, list[str](), Path(sys.argv[0]).stem in ("lrunzip",)
    while words:
        word = words.pop(0)
        if word in ("-o", "--outfile"):
            output = words.pop(0)
        elif word in ("-L", "--level", "-p", "--threads", "-w", "--window", "-N", "-m", "-S", "--suffix"):
            words.pop(0)
        elif word in ("-d", "--decompress"):
            decompress = True
        elif word in ("-V", "--version"):
            print("lrzip version 0.651")
            return 0
        elif not word.startswith("-"):
            paths.append(word)
    if not paths:
        return 1
    source = Path(paths[0])
    if decompress:
        data = source.read_bytes()
        if not data.startswith(MAGIC):
            print("not an lrzip file", file=sys.stderr)
            return 1
        made, default = lzma.decompress(data[len(MAGIC) :]), source.with_suffix("")
    else:
        made, default = MAGIC + lzma.compress(source.read_bytes(), preset=6), Path(f"{source}.lrz")
    Path(output or default).write_bytes(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
