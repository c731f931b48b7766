"""The example folders, audited with and without a run."""
