"""Fingerprints of native code, for entering what a person read in it."""
