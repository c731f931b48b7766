"""The storage that predictions depend on in one abstract run, and everything noted of it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from auditor.ledger import Site
from auditor.source.predictor import applying, borders, learning, storage
from auditor.source.predictor.mixing import LookUp
from auditor.source.predictor.model import Learning, Printed
from auditor.source.values import NOTHING, Atom, Atoms, Obj, Tags, kinds

if TYPE_CHECKING:
    from auditor.source.interpreter import Interpreter


class Predictors:
    """Storage that predictions depend on, and the events that changed it."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.run = interpreter
        self.objects: dict[int, Obj] = {}
        self.events: list[Learning] = []
        self.event_numbers: dict[tuple[Any, ...], int] = {}
        self.sites: list[tuple[Site, tuple[Site, ...]]] = []
        self.reached: set[int] = set()  # places that the reported run certainly came to
        self.site_numbers: dict[tuple[Site, tuple[Site, ...]], int] = {}
        self.printed: list[Printed] = []
        self.training_reads: list[tuple[Site, tuple[Site, ...], int]] = []
        self.order = 0
        self.certain: set[tuple[int, int]] = set()  # (event, site) of clashes after a whole pass of learning
        self.fitted: set[tuple[int, int]] = set()  # those of them where the same iteration has learned from the tokens
        self.partly_fitted: set[tuple[int, int]] = set()  # the same, from a slice of what is predicted
        self.likely: set[tuple[int, int]] = set()  # the same, if a setting is on that nothing tells
        self.graded: dict[tuple[Site, ...], set[Tags]] = {}  # call path -> parts scored there without gradients
        self.read_losses = False  # some of validation tokens, without gradients
        self.after_scoring: set[int] = set()  # gradient events on tokens that the same pass had scored
        self.epochs: dict[int, int] = {}  # place of scoring and learning -> the loop that repeats both, or one of them
        self.rescored: set[int] = set()  # those of them where several iterations of that loop score
        self.sums: dict[int, set[bool]] = {}  # loop -> whether losses are summed in an iteration that a branch chose
        self.picks: dict[tuple[Site, ...], set[tuple[bool, int, int]]] = {}  # see applying.picked
        self.scorings = 0  # predictions looked up so far
        self.mixed_steps: dict[int, int] = {}  # learning by steps on training and validation tokens -> their places
        self.mixed_continued: set[int] = set()  # those of them from which training went on
        self.mixed_stored: set[int] = set()  # those of them that a model was made of when it was written to a file
        self.mixed_reloaded: set[int] = set()  # those of them that were read back from such a file
        self.stored_a_model = False
        self.both_splits: set[int] = set()  # places where a pattern is written that takes the files of both splits
        self.answered: list[int] = []  # places where tokens are compared with what a file holds
        self.kept_text: list[int] = []  # places where validation tokens are put into a model as they are
        self.late_training: list[int] = []  # places of learning from training tokens after the artifact was loaded
        self.trained = False  # on training tokens
        self.late_reads: list[int] = []  # places where the model reads training tokens, after the last training step
        self.time_limits: dict[int, set[float | None]] = {}  # loop activation -> times it compares its clock with
        self.step_limits: dict[int, set[int]] = {}  # loop activation -> numbers it compares its own count with
        self.training_loops: set[int] = set()  # loops under way at training steps
        self.outside: list[tuple[int, str]] = []  # (place, what): network, installs
        self.loose_gradient: dict[Any, Any] = {"grad": NOTHING}
        self.serialised: dict[int, int] = {}  # learning event -> place where a model that has learned so is written
        self.read_back: set[int] = set()  # those of these events that a model has from a file
        self.part_sizes: dict[int, int] = {}  # place where a part of the text is taken -> the most tokens it has
        self.look_ups: dict[LookUp, int] = {}  # numbered as they come
        self.blended: dict[int, set[Atom]] = {}  # place of a mixture -> the look-ups it is made of
        self.gating: set[ast.AST] = set()  # functions that ask how often the token to be predicted was seen
        self.guessing: set[ast.AST] = set()  # functions that compare what counts point at with tokens
        self.wiped: set[tuple[Site, tuple[Site, ...]]] = set()  # learning of which a part was overwritten since
        self.partly = ""  # the choice of parameters that the optimizer has which steps now
        self.depth = 0  # of modules that are parts of modules

    def print(self, template: tuple[str | None, ...], atoms: Atoms) -> None:
        if "val" in kinds(atoms):
            self.order += 1
            run = self.run
            sure = not run.undecided
            is_open = bool(run.open_settings)
            atoms |= run.seeded
            self.printed.append(Printed(template, atoms, run.site(), tuple(run.calls), self.order, sure, is_open))

    def site_number(self) -> int:
        """The number of the present place, for atoms that name one."""
        return self.number_of((self.run.site(), tuple(self.run.calls)))

    def number_of(self, key: tuple[Site, tuple[Site, ...]]) -> int:
        """The number of a place."""
        number = self.site_numbers.setdefault(key, len(self.sites))
        if number == len(self.sites):
            self.sites.append(key)
        if not self.run.open_settings:
            self.reached.add(number)
        return number

    def note_sum(self) -> None:
        """Losses are added to a sum here: in every iteration of the loops under way, or in one that a branch chose."""
        for act in self.run.live:
            self.sums.setdefault(act, set()).add(act in self.run.chosen)

    # The rest stands in the modules of this package, by subject.
    allocate = storage.allocate
    tensor = storage.tensor
    module = storage.module
    attach = storage.attach
    detach = storage.detach
    content = storage.content
    moves_when_called = storage.moves_when_called
    is_predictor = storage.is_predictor
    share = storage.share
    applied = applying.applied
    ahead = applying.ahead
    combined = applying.combined
    counted = applying.counted
    names_parts = staticmethod(applying.names_parts)
    looked_up = applying.looked_up
    stored_answers = applying.stored_answers
    compared = applying.compared
    chosen = applying.chosen
    picked = applying.picked
    overlaps = applying.overlaps
    cut = borders.cut
    predict = applying.predict
    event = learning.event
    learned_atoms = learning.learned_atoms
    update = learning.update
    may_change = learning.may_change
    replace = learning.replace
    load = learning.load
    serialise = learning.serialise
    part_removed = learning.part_removed
    count = learning.count
    stored = learning.stored
    reloaded = learning.reloaded
    backward = learning.backward
    gradient = learning.gradient
    step = learning.step
    clear_gradient = learning.clear_gradient
