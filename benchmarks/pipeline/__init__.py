"""Speed of the reference pipeline."""
