"""Abstract interpretation of a training script from its entry point, under the configuration of the reported run.

Statements run in program order over abstract values (see `auditor.source.values`). A condition that the configuration
decides takes one branch; any other runs both and joins their effects. A loop runs two iterations, which stand for "an
iteration" and "a later iteration": tokens taken by a slice that depends on the loop variable belong to one iteration,
so learning in iteration 0 and scoring in iteration 1 touch different tokens, while an epoch loop around a chunk loop
meets the same tokens again. When a loop has ended, what it learned from is the whole stream. Calls into the script are
followed with their arguments; calls into libraries are modelled in `auditor.source.library`.

`machine` holds the state and says which module handles which syntax.
"""

from auditor.source.interpreter.machine import Interpreter

__all__ = ["Interpreter"]
