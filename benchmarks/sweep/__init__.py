"""The sweep of the challenge's pull requests as a table of facts.

``python -m benchmarks.sweep RESULTS`` reads the results.jsonl that ``pgolf-audit sweep`` wrote, and writes a table
(pull request, verdict, rules, claim, recomputed figure) and a summary. No text of any pull request gets into either.
"""
