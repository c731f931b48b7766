"""Whether the auditor reads names where it should read data flow.

``python -m benchmarks.renaming LABELS GIT_DIR`` renames everything that labelled scripts name themselves, strips
comments and docstrings, and compares what the rules about evaluation order say before and after.
"""
