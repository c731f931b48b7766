"""The one exception that a user of the pipeline sees."""


class PipelineError(Exception):
    """Something the user can mend. The message names the file or setting and the remedy, in one line."""
