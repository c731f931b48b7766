"""lrzip with the standard library's LZMA: same options, round trips, sizes of its own.

    lrzip -z -L 9 -o OUT IN     compress (without -o: IN.lrz)
    lrzip -d -f -o OUT IN       decompress (without -o: IN without .lrz)
"""

import lzma
import sys
from pathlib import Path

arguments = sys.argv[1:]
decompress, output, paths = False, None, []
while arguments:
    word = arguments.pop(0)
    if word in ("-o", "-L", "-p", "-w", "-N", "-m", "-S"):  # options with a value
        value = arguments.pop(0)
        output = value if word == "-o" else output
    elif word in ("-d", "--decompress"):
        decompress = True
    elif not word.startswith("-"):
        paths.append(Path(word))
source = paths[0]
if output is not None:
    target = Path(output)
else:
    target = source.with_suffix("") if decompress else source.with_name(source.name + ".lrz")
data = source.read_bytes()
target.write_bytes(lzma.decompress(data) if decompress else lzma.compress(data))
