"""How many pull requests run to their final metric at toy size, how long they take, and why the others do not."""
