"""How often the auditor is right, measured on labelled pull requests of the challenge.

``python -m benchmarks.accuracy LABELS GIT_DIR`` audits every labelled pull request with the command line that users
run, compares each rule's status with what organizers, reviewers and authors said, and prints the outcome by rule and
by how far the source of the label can be trusted.
"""
