"""The sweep itself: what is remembered is not audited again, what was lost is tried again, everything comes back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from auditor.submission.git import Repository
from auditor.sweep.memory import Cache, Surroundings, from_cache
from auditor.sweep.outcome import Outcome
from auditor.sweep.processes import Engine
from auditor.sweep.targets import Target

MAX_TRIES = 2
GIVE_UP_AFTER = 8  # audits that end without a report, for the same reason, before any that has one


class AuditorError(Exception):
    """The auditor itself does not work, so that a sweep would say nothing."""


def sweep(
    git_dir: str,
    targets: Iterable[Target],
    engine: Engine,
    cache: Cache,
    done: Callable[[Outcome, bool], None] = lambda outcome, cached: None,
) -> list[Outcome]:
    """Outcomes of all `targets`, in their order. `done` hears of each one and whether it was remembered.

    An audit that was lost (killed, crashed, its worker gone) is tried once more after the others; what is lost twice
    is an outcome with an error. Such an outcome is not remembered: a slow machine is not a fact about a submission.
    Raises AuditorError when the auditor turns out not to work at all.
    """
    with Repository(git_dir) as repository:
        return _Sweep(Surroundings(repository), engine, cache, done).run(list(targets))


class _Sweep:
    def __init__(
        self, surroundings: Surroundings, engine: Engine, cache: Cache, done: Callable[[Outcome, bool], None]
    ) -> None:
        self._surroundings = surroundings
        self._engine = engine
        self._cache = cache
        self._done = done
        self._keys: dict[Target, str] = {}
        self._outcomes: dict[Target, Outcome] = {}
        self._tries: dict[Target, int] = {}
        self._errors: list[str] = []

    def run(self, targets: list[Target]) -> list[Outcome]:
        waiting = deque(targets)
        again: deque[Target] = deque()
        running = 0
        while waiting or again or running:
            # One more than can run is submitted: its key is computed while audits run, and no process idles.
            while running <= self._engine.width and (waiting or again):
                target = waiting.popleft() if waiting else again.popleft()
                if self._recall(target):
                    continue
                self._tries[target] = self._tries.get(target, 0) + 1
                self._engine.submit(target)
                running += 1
            if not running:
                continue
            target, outcome = self._engine.next()
            running -= 1
            outcome = replace(outcome, tries=self._tries[target])
            self._check(outcome)
            if outcome.lost and outcome.tries < MAX_TRIES:
                again.append(target)
            else:
                self._keep(target, outcome)
        return [self._outcomes[target] for target in targets]

    def _recall(self, target: Target) -> bool:
        """Whether the outcome of `target` is known already."""
        if target in self._tries:
            return False
        label = self._surroundings.label(target)
        key = self._cache.known_key(label)
        if key is None:
            key = self._surroundings.key(target)
            self._cache.put_key(label, key)
        self._keys[target] = key
        remembered = self._cache.get(key)
        if remembered is None:
            return False
        self._outcomes[target] = from_cache(remembered, target)
        self._done(self._outcomes[target], True)
        return True

    def _keep(self, target: Target, outcome: Outcome) -> None:
        self._outcomes[target] = outcome
        if not outcome.lost:
            self._cache.put(self._keys[target], outcome)
        self._done(outcome, False)

    def _check(self, outcome: Outcome) -> None:
        """Raise when the first audits all ended without a report in the same way."""
        if len(self._errors) == GIVE_UP_AFTER:
            return
        self._errors.append(outcome.error)
        if len(self._errors) == GIVE_UP_AFTER and outcome.error and len(set(self._errors)) == 1:
            raise AuditorError(f"the first {GIVE_UP_AFTER} audits all ended like this: {outcome.error}")
