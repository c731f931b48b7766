"""Source and run witness on labelled pull requests, one beside the other."""
