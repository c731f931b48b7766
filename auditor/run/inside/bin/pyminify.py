"""pyminify that minifies nothing: the script's own text, to stdout or to --output."""

import sys

arguments = sys.argv[1:]
output = None
paths = []
while arguments:
    word = arguments.pop(0)
    if word in ("--output", "-o"):
        output = arguments.pop(0)
    elif word.startswith("--output="):
        output = word.partition("=")[2]
    elif not word.startswith("-") or word == "-":
        paths.append(word)
text = sys.stdin.buffer.read() if not paths or paths[0] == "-" else open(paths[0], "rb").read()  # noqa: PTH123, SIM115
if output:
    open(output, "wb").write(text)  # noqa: PTH123, SIM115
elif "--in-place" not in sys.argv and "-i" not in sys.argv:
    sys.stdout.buffer.write(text)
