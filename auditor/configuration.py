"""The environment that produced the claim, and where each value of it came from.

Defaults decide: test-time training, SLOT and caches are often in the script but off. The run configuration answers
"what did `os.environ.get(NAME, default)` return in the reported run?" from, in falling order of trust, what the log
printed, the command in the README, and what a wrapper sets. What none of them says is left to the script's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from auditor.record.model import Place


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable of the reported run. source: "log", "readme", "wrapper", "submission.json"."""

    name: str
    value: str
    source: str
    place: Place


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two sources that disagree about one setting."""

    name: str
    first: Setting
    second: Setting


@dataclass(frozen=True, slots=True)
class RunConfiguration:
    """Settings of the run that produced the claimed score.

    `environment` maps variable names to settings; `logged` maps the lower-case attribute names of a logged
    hyperparameter block (``ttt_enabled``) to settings, for scripts whose attribute and variable names differ.
    """

    environment: Mapping[str, Setting] = field(default_factory=dict)
    logged: Mapping[str, Setting] = field(default_factory=dict)
    contradictions: tuple[Contradiction, ...] = ()

    def lookup(self, name: str) -> Setting | None:
        """The reported run's value of environment variable `name`, or None when only the script's default says."""
        return self.environment.get(name) or self.logged.get(name.lower())
