"""The run witness: what the unmodified script did, at toy size, on data made for the audit, in a sandbox.

    stage/     a private copy of the submission, audit data in the challenge's format, settings at toy size
    sandbox/   confinement of the process tree, limits, what came out
    inside/    everything that executes inside the sandbox: stand-ins for the machine, the tracer, the report channel
    sources.py, incompressibility.py   audit data with exactly known distributions, and the test they make possible

Nothing here is imported by an audit that does not run anything; only `inside/` may import torch.
"""
