"""Loading of submissions: read within bounds, decoded, unpacked; nothing of them is executed."""

from auditor.submission.load import load_folder, load_pull_request, load_ref
from auditor.submission.model import LoadError, Submission

__all__ = ["LoadError", "Submission", "load_folder", "load_pull_request", "load_ref"]
