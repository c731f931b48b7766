"""What an audit costs, measured on the challenge's own pull requests.

``python -m benchmarks.speed GIT_DIR`` measures the CPU time of the source and record witnesses on the distinct scripts
of a sample (``--all``: of every pull request) relative to ``ast.parse`` of the same text in the same process, how it
grows with the script's length, and what a whole audit of one pull request costs as a user runs it.
"""
