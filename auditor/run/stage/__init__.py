"""Staging: everything one toy run needs, laid out in a folder of the auditor.

prepare.py              the one call
folder.py               the private copy of the record folder
audit_data.py           validation stream and training shards from a source with a known distribution
sentencepiece_model.py  a tokenizer of the right size, with known bytes for each piece
places.py               where the script looks for data
knobs.py, settings.py   which variables are sizes, and the environment of the run
"""

from __future__ import annotations

from auditor.run.stage.prepare import Prepared, StageError, prepare

__all__ = ["Prepared", "StageError", "prepare"]
