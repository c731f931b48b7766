"""Measurements over real submissions: accuracy on labelled pull requests, speed."""
