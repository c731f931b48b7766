"""The rescore witness: what the score is when evaluation is run again from the artifact in the folder.

*Replay* runs the submission's own evaluation, without training, and compares every score it prints with the log.
*Independent* takes from the submission nothing but its model, as a function from tokens to logits, and scores the text
with the reference pipeline's scorer. Both happen in the sandbox; the artifact is never opened outside it.

Nothing is confirmed unless the text is the one that scores refer to: the official one, or the one given by
``--validation-text``. Without it the same is done on data made for the audit, which shows that the artifact loads, and
whether the submission's scorer agrees with the reference on one and the same model, but says nothing about the claim.

What a replay prints is the script's word: one that prints figures instead of computing them repeats them as well. The
independent score asks the model itself, but in the same process; a model that notices it can behave. Both are evidence
against honest mistakes and plain lies, and no more than evidence against a script built to deceive its audit.
"""
