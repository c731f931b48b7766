"""Ways of breaking the rules, one a module: for examples, tests and studies. NOTHING here belongs in a submission.

The legal pipeline never imports this package (a test holds it to that). Each module states the rule it breaks in its
docstring, in `VIOLATES`, and what an honest version would do.
"""
