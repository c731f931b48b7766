"""Help, not only judgement: a patch that makes an illegal adaptation legal, or takes it out.

`edits` proposes changes of the script, the one that keeps most of what the author wanted first; `proposing` lets the
source witness judge each, under the configuration of the reported run, and keeps the first that it passes. What no
edit mends is said plainly, with what would be legal. A patched script has no score yet: it has to be run again.
"""
