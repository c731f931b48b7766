"""Escapes and forgeries against the sandbox of the run witness: what each tries, and what comes of it.

    cases/       the small hostile scripts, by theme, each with the outcome that must not happen
    world.py     what there is to find, reach and break on the machine during a case: bait, all of it made here
    starter.py   runs a case inside as a submission is run, with the report channel and the guard, without torch
    judging.py   runs a case in a confinement and says whether it was blocked and what was noticed

`python -m benchmarks.escapes` prints one row an escape.
"""
