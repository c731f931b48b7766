"""Builds the table of functions that were ruled on: ``python -m benchmarks.lineage build GIT_DIR LABELS``."""
