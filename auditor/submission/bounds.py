"""How much of a submission is read. Submissions are hostile until shown otherwise, so every read has a bound.

The largest honest folder of the challenge has 600 files and 40 MB; the largest honest log 3 MB; the artifact cap is
16,000,000 bytes. The bounds leave room above that and stop far below what would hurt.
"""

from __future__ import annotations

MIB = 1 << 20

FILE_BYTES = 16 * MIB  # a file up to this size is held whole; it exceeds the artifact cap of 16,000,000 bytes
HEAD_BYTES = 8 * MIB  # of a larger file this much of its beginning ...
TAIL_BYTES = 8 * MIB  # ... and of its end is held
DRAINED_BYTES = 512 * MIB  # a larger git object is not read at all: git must inflate it from its first byte
FOLDER_BYTES = 256 * MIB  # over all files of the folder
SOURCE_BYTES = 2 * MIB  # longer python is not parsed; the largest real script has 1.6 MB
FOLDER_FILES = 5_000
FOLDER_DEPTH = 32
CHANGED_PATHS = 20_000  # of a pull request's diff

UNPACK_DEPTH = 8
UNPACK_BYTES = 32 * MIB  # over all layers of one script
UNPACK_SECONDS = 5.0

GIT_SECONDS = 20.0  # of one git command, and of waiting for one object
GIT_OUTPUT_BYTES = 16 * MIB
