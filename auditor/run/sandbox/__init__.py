"""The sandbox: runs a job that is hostile until shown otherwise, and says how it went.

`find_confinement()` names the best way of confining that works on this machine; `run_job(job)` runs a job in it. Two
ways are known: bubblewrap, and, where it is missing, namespaces with Landlock and a system call filter built here.

Covered: network (an own network namespace with loopback only), files (a read-only view of what the interpreter needs,
the job's binds, a private /tmp), processes (an own pid namespace, which ends with the command and takes all daemons
with it), privileges (none, and none to be had), limits (wall clock, memory of the whole tree, address space, processes
and threads, size of one file, size and number of all files, open files, output).

Not covered: flaws of the kernel; side channels; kernel memory held for the run (socket buffers, page tables); what a
script can learn about the machine's processor, kernel and size; timing; and honesty: a script that notices the sandbox
can behave. What Python code inside reports about itself is evidence and no barrier (`inside/guard.py`); that what was
reported cannot be altered later is `inside/channel.py`.
"""

from auditor.run.sandbox.running import find_confinement, run_job, working_confinements
from auditor.run.sandbox.tree import remove_tree

__all__ = ["find_confinement", "remove_tree", "run_job", "working_confinements"]
