"""What a sweep audits: references of a repository, pull requests among them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from auditor.submission.git import Repository
from auditor.submission.model import LoadError

PULL_REQUESTS = "refs/pull/*/head"
_PULL_REQUEST = re.compile(r"refs/(?:remotes/(?:origin|upstream)/)?pull/(\d{1,9})/head")


class TargetError(Exception):
    """The repository has nothing that can be audited; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reference to audit, and the commit it stood at when the sweep began."""

    reference: str
    commit: str
    pull_request: int | None = None  # None: a reference that is no pull request

    @property
    def name(self) -> str:
        return f"PR {self.pull_request}" if self.pull_request is not None else self.reference


def list_targets(git_dir: str | os.PathLike[str], patterns: Sequence[str] = (PULL_REQUESTS,)) -> tuple[Target, ...]:
    """References that match one of git's patterns: pull requests by number, then the others by name.

    Raises TargetError when there are none, or `git_dir` is no repository.
    """
    try:
        with Repository(git_dir) as repository:
            usable = [pattern for pattern in patterns if pattern.startswith("refs/")]  # never an option of git's
            known = repository.references(*usable) if usable else {}
    except LoadError as error:
        raise TargetError(str(error)) from error
    found: dict[int | str, Target] = {}
    for reference, commit in sorted(known.items()):
        match = _PULL_REQUEST.fullmatch(reference)
        number = int(match[1]) if match else None
        found.setdefault(number or reference, Target(reference, commit, number or None))
    if not found:
        raise TargetError(f"{git_dir} has no references of the form {' or '.join(patterns)}")
    return tuple(sorted(found.values(), key=lambda item: (item.pull_request or 1 << 62, item.reference)))


def pull_request_heads(git_dir: str | os.PathLike[str]) -> dict[int, str]:
    """Commit of refs/pull/N/head for every N that `git_dir` has. Raises TargetError when it has none."""
    targets = list_targets(git_dir)
    return {target.pull_request: target.commit for target in targets if target.pull_request is not None}
