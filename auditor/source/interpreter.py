"""Abstract interpretation of a training script from its entry point, under the configuration of the reported run.

Statements run in program order over abstract values (see `auditor.source.values`). A condition that the configuration
decides takes one branch; any other runs both and joins their effects. A loop runs two iterations, which stand for "an
iteration" and "a later iteration": tokens taken by a slice that depends on the loop variable belong to one iteration,
so learning in iteration 0 and scoring in iteration 1 touch different tokens, while an epoch loop around a chunk loop
meets the same tokens again. When a loop has ended, what it learned from is the whole stream. Calls into the script are
followed with their arguments; calls into libraries are modelled in `auditor.source.library`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from auditor.ledger import RULES_OF_SCORING, Blind, Site
from auditor.source import library, scoring
from auditor.source.predictor import Predictors
from auditor.source.scan import (
    assigned_by_update,
    breaks,
    called_names,
    calls_something,
    captured,
    changes_state,
    deferred,
    learning_names,
    learns,
    node_count,
    overwrites_data,
    signature_annotations,
)
from auditor.source.switches import LoggedLines
from auditor.source.values import (
    CHOICE,
    CLASS,
    CONST,
    DATA,
    EXTERNAL,
    FALSE,
    FORMAT,
    FUNCTION,
    MEASURED,
    METHOD,
    NONE,
    NOTHING,
    OBJECT,
    PARTIAL,
    RANGE,
    TRUE,
    TUPLE,
    UNKNOWN,
    Atoms,
    Class,
    Frame,
    Function,
    Obj,
    State,
    Value,
    bounds,
    choices,
    const,
    data,
    external,
    join,
    join_cells,
    union,
    with_atoms,
)
from auditor.submission import syntax

NORMAL, RETURN, BREAK, CONTINUE, RAISE = range(5)
UNROLL = 12  # known collections up to this length are walked element by element
SMALL_LOOP = 600  # nodes; such a loop runs a third iteration
MAX_DEPTH = 48  # calls
DEFAULT_BUDGET = 1_500_000  # nodes visited

_RANK: Atoms = frozenset((("rank",),))
_TELLING = frozenset(
    "val loop model state under clash picked ranked measure array pos index train hashed target par blend "
    "choice".split()
)

Writes = list[tuple[dict[Any, Any], Any, Any]]
_MODULE_BASES = ("torch.nn.Module", "nn.Module", "torch.nn.modules.module.Module")


class BudgetSpentError(Exception):
    """The bound on visited nodes struck."""


class Interpreter:
    """One abstract run of `tree`, the script at `path`.

    `environment` says what an environment variable was set to, `helpers` maps module names to (path, tree) of the
    folder's other Python files, `logged` are the lines that the reported runs printed.
    """

    def __init__(
        self,
        path: str,
        tree: ast.Module,
        environment: Callable[[str], str | None],
        helpers: dict[str, tuple[str, ast.Module]] | None = None,
        logged: LoggedLines | None = None,
        open_switches: bool = False,
        budget: int = DEFAULT_BUDGET,
    ) -> None:
        self.path = path
        self.tree = tree
        self.environment = environment
        self.helpers = helpers or {}
        self.logged = logged or LoggedLines(())
        self.open_switches = open_switches  # treat switches that are off by default as undecided
        self.modules: dict[str, Value] = {}
        self.budget = budget
        self.state = State()
        self.predictors = Predictors(self)
        self.live: dict[int, tuple[str, int]] = {}  # loop activation -> (loop variable, line)
        self.abstract: list[int] = []  # live loops whose iterations stand for many, innermost last
        self.loops: dict[int, tuple[str, int]] = {}  # every activation, for texts
        self.calls: list[Site] = []
        self.functions: list[Function] = []
        self.returns: list[list[Value]] = []
        self.pending_returns: list[list[Writes]] = []
        self.pending_raises: list[list[Writes]] = []  # of the ``try`` blocks under way that catch something
        self.pending_loops: list[list[tuple[int, Writes]]] = []
        self.consumers: list[Callable[[Value], None]] = []  # what `yield` feeds
        self.maps: dict[str, Value] = {}  # files that were mapped into memory
        self.files: Obj = Obj("files", 0, "files")  # path text -> content
        self.clocked: dict[int, int] = {}  # loop activation -> place of a test of the clock that leaves it
        self.reduced = False  # what the processes computed from validation tokens was put together
        self.seeded: Atoms = NOTHING  # marks of choices by loss among the seeds of the random numbers in use
        self.selecting: Atoms = NOTHING  # marks of choices by loss that decide whether this runs
        self.dropped: ast.expr | None = None  # the expression under way whose result nobody uses
        self.raised: Atoms = NOTHING  # what the last exceptions were made of
        self.no_gradient = 0  # ``with torch.no_grad()`` blocks under way
        self.open_settings = 0  # branches under way that an unknown setting decides
        self.extensions = False  # native operators have been loaded
        self.overrides: dict[str, str] = {}  # environment variables that the script sets
        self.undecided = 0  # branches under way that only some iterations of an abstract loop may take
        self.entered: set[ast.AST] = set()  # functions that ran
        self.tasks: list[Value] = []  # coroutines that run as soon as something is waited for
        self.handed: list[tuple[str, ast.AST]] = []  # functions that code which is not seen may call
        self.parts: dict[str, int] = {}  # texts of constant slices of parts of the stream
        self.rounds: dict[int, int] = {}  # loop activation -> present iteration
        self.classes: list[Class] = []
        trees = [tree, *(helper for _, helper in self.helpers.values())]
        self.learners = learning_names(trees)
        self.generators = frozenset[ast.AST]().union(*(syntax.survey(each).generators for each in trees))
        self.blind: list[Blind] = []
        self.present: list[Frame] = []
        self.line = 0
        self.finished = True
        self.why_unfinished = ""

    # ---- running -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Interpret the script as ``python script`` would run it."""
        frame = Frame(None)
        frame.names["__name__"] = const("__main__")
        frame.names["__file__"] = const(self.path)
        try:
            self._module(self.tree, frame)
        except BudgetSpentError:
            self.finished = False
            self.why_unfinished = "the bound on analysed operations was reached"
        except RecursionError:
            self.finished = False
            self.why_unfinished = "the script nests deeper than the analysis follows"
        for class_ in self.classes:
            for member in class_.node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and self._runs_unseen(class_, member):
                    text = f"{class_.name}.{member.name} may train or change parameters when Python calls it by itself"
                    self.cannot_see(text, RULES_OF_SCORING, member.lineno)
        for name, node in self.handed:
            if node not in self.entered and self.may_learn(node):
                text = f"{name} may train or change parameters, and code that is not part of the submission may call it"
                self.cannot_see(text, RULES_OF_SCORING, getattr(node, "lineno", 0))

    def _runs_unseen(self, class_: Class, method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        """True for a method that Python or a library calls by itself, that was not followed and that learns."""
        if class_.family == "function" and overwrites_data(method):
            return True
        special = method.name.startswith("__") and method.name.endswith("__") and method.name != "__init__"
        called = special or (class_.family != "module" and any(base.kind == EXTERNAL for base in class_.bases))
        if class_.family == "optimizer" and method.name == "step":
            return False
        return called and method not in self.entered and self.may_learn(method)

    def may_learn(self, function: ast.AST) -> bool:
        """True when a function runs a backward pass, a step or a gradient, itself or through functions it names."""
        if learns(function):
            return True
        return not self.learners.isdisjoint(called_names(function))

    def _module(self, tree: ast.Module, frame: Frame) -> None:
        self.present.append(frame)
        self.returns.append([])
        self.pending_returns.append([])
        self.block(tree.body, frame)
        self.pending_returns.pop()
        self.returns.pop()
        self.present.pop()

    def import_helper(self, name: str) -> Value | None:
        """The namespace of a Python file of the folder, interpreted once."""
        if name not in self.helpers:
            return None
        if name not in self.modules:
            path, tree = self.helpers[name]
            space = Obj("namespace", 1, name)
            self.modules[name] = Value(OBJECT, space)
            frame = Frame(None)
            frame.names = space.cells
            frame.names["__name__"] = const(name)
            frame.names["__file__"] = const(path)
            outer, self.path = self.path, path
            self._module(tree, frame)
            self.path = outer
        return self.modules[name]

    def site(self, line: int = 0) -> Site:
        return Site(self.path, line or self.line, self.functions[-1].name if self.functions else "")

    def cannot_see(self, reason: str, rules: tuple[str, ...], line: int = 0) -> None:
        blind = Blind(reason, self.site(line), rules)
        if len(self.blind) < 50 and blind not in self.blind:
            self.blind.append(blind)

    # ---- statements ----------------------------------------------------------------------------------------------

    def block(self, body: Sequence[ast.stmt], frame: Frame) -> int:
        for statement in body:
            flow = self.statement(statement, frame)
            if flow != NORMAL:
                return flow
        return NORMAL

    def statement(self, node: ast.stmt, frame: Frame) -> int:
        self.budget -= 1
        if self.budget < 0:
            raise BudgetSpentError
        self.line = node.lineno
        handler = _STATEMENTS.get(type(node))
        return handler(self, node, frame) if handler else NORMAL

    def _expr(self, node: ast.Expr, frame: Frame) -> int:
        outer, self.dropped = self.dropped, node.value
        self.value(node.value, frame)
        self.dropped = outer
        return NORMAL

    def _assign(self, node: ast.Assign, frame: Frame) -> int:
        later = deferred(node.value)
        value = self.value(node.value, frame) if later is None else self._generator(later, frame)
        for target in node.targets:
            self.assign(target, value, frame)
        return NORMAL

    def _generator(self, node: ast.FunctionDef, frame: Frame) -> Value:
        """A generator that runs the statements of `node` in this scope when it is read."""
        function = Function(node, frame, [], [], self.path)
        function.is_generator = True
        return self._call_function(function, [], {}, node)

    def _ann_assign(self, node: ast.AnnAssign, frame: Frame) -> int:
        if not frame.function and calls_something(node.annotation):
            self.value(node.annotation, frame)
        if node.value is not None:
            self.assign(node.target, self.value(node.value, frame), frame)
        return NORMAL

    def _aug_assign(self, node: ast.AugAssign, frame: Frame) -> int:
        old = self.value(node.target, frame)
        new = self.value(node.value, frame)
        if old.kind == OBJECT and old.payload.kind == "list" and isinstance(node.op, ast.Add):
            library.extend(self, old.payload, new)
            return NORMAL
        result = self.binary(node.op, old, new)
        if isinstance(node.target, ast.Subscript):
            container = self.value(node.target.value, frame)
            index = self.value(node.target.slice, frame)
            self.predictors.count(container, index, result, node.target, frame)
            return NORMAL
        if old.base is not None and not isinstance(node.target, ast.Name):
            self.predictors.update(old, result.atoms, node)
            return NORMAL
        if old.base is not None or (old.kind == OBJECT and old.payload.kind in ("tensor", "module")):
            mixed = frozenset(atom for atom in result.atoms if atom[0] == "hashed")
            self.predictors.update(old, self.atoms_of(new) | mixed, node)
        else:
            self.assign(node.target, self.settle(result), frame)
        return NORMAL

    def _delete(self, node: ast.Delete, frame: Frame) -> int:
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                container, index = self.value(target.value, frame), self.value(target.slice, frame)
                class_ = container.payload.class_ if container.kind == OBJECT else None
                if class_ is not None and class_.find("__delitem__"):
                    self.call_method(container, "__delitem__", [index], {}, node)
        return NORMAL

    def _if(self, node: ast.If, frame: Frame) -> int:
        test = self.value(node.test, frame)
        decided = self.truth(test)
        if decided is not None:
            if self.logged and test.atoms <= _RANK and self._logged_otherwise(node, decided):
                decided = not decided
            if ("rank",) in test.atoms and self._learns(node.orelse if decided else node.body):
                return self._on_other_ranks(node, decided, frame)
            if decided and isinstance(node.body[-1], ast.Raise):
                if self.pending_raises:
                    return self.either(lambda: self.block(node.body, frame), lambda: NORMAL, told=True)
                decided = False  # the reported run did not end here
            return self.block(node.body if decided else node.orelse, frame)
        ranked = next((atom for atom in test.atoms if atom[0] == "ranked"), None)
        if ranked is not None:
            return self._choose(node, ("choice", ranked[1], True, ranked[2]), frame)
        if ("clock",) in test.atoms and self.live and isinstance(node.body[-1], ast.Break | ast.Return):
            self.clocked[next(reversed(self.live))] = self.predictors.site_number()
        unset = self.left_open(test)
        negated = isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)

        def branch(body: list[ast.stmt], asked: bool) -> int:
            if asked:
                self._narrow(node.test, frame)
            return self.block(body, frame)

        self.open_settings += unset
        flow = self.either(lambda: branch(node.body, not negated), lambda: branch(node.orelse, negated), told=not unset)
        self.open_settings -= unset
        return flow

    def _narrow(self, test: ast.expr, frame: Frame) -> None:
        """Behind a test of a file's name the name is known to be of one split."""
        for inner in ast.walk(test):
            if isinstance(inner, ast.Name):
                old = self.lookup(inner.id, frame)
                if ("doubt",) in old.atoms:
                    self.bind(frame, inner.id, library.narrowed(old, [test]))

    def _learns(self, body: Sequence[ast.stmt]) -> bool:
        return any(self.may_learn(statement) for statement in body)

    def _on_other_ranks(self, node: ast.If, decided: bool, frame: Frame) -> int:
        """A branch that only other ranks take, and that learns: they may hand on what they learned."""

        def elsewhere() -> int:
            self.open_settings += 1
            self.block(node.orelse if decided else node.body, frame)
            self.open_settings -= 1
            return NORMAL

        self.either(elsewhere, lambda: NORMAL)
        return self.block(node.body if decided else node.orelse, frame)

    def left_open(self, test: Value) -> bool:
        """True for an undecided condition that a setting may decide which nothing tells.

        A condition on tokens, on a model, on a loop's position, on a size or on the clock takes both ways in one run.
        Nothing of that kind is known of the others: they may be false throughout the reported run.
        """
        kinds = {atom[0] for atom in self.atoms_of(test)}
        if "setting" in kinds or ("file" in kinds and "array" not in kinds):
            return True
        return kinds.isdisjoint(_TELLING)

    def _logged_otherwise(self, node: ast.If, decided: bool) -> bool:
        """True when the log has a line of the branch that the settings rule out, and none of the other."""
        taken, other = (node.body, node.orelse) if decided else (node.orelse, node.body)
        return self.logged.shows(other) and not self.logged.shows(taken)

    def _choose(self, node: ast.If, mark: tuple[Any, ...], frame: Frame) -> int:
        """A branch on which of two losses is smaller: losses that it assigns were chosen after seeing them."""

        def branch(body: list[ast.stmt]) -> int:
            outer = self.state.begin()
            selecting, self.selecting = self.selecting, self.selecting | {mark}
            flow = self.block(body, frame)
            self.selecting = selecting
            for cells, key, _ in list(self.state.journal or ()):
                value = cells.get(key)
                if isinstance(value, Value) and (("picked",) in self.atoms_of(value) or value.kind == CONST):
                    cells[key] = Value(value.kind, value.payload, value.atoms | {mark}, value.base, value.attr)
            self.state.keep(outer)
            return flow

        return self.either(lambda: branch(node.body), lambda: branch(node.orelse))

    def either(self, first: Callable[[], int], second: Callable[[], int], *, told: bool = False) -> int:
        """Run two alternatives from the same state and join what they leave behind.

        `told`: what decides between them is data, not a setting, so that a run may take both ways.
        """
        later = bool(self.abstract) and self.rounds.get(self.abstract[-1], 0) > 0
        self.undecided += later
        outer = self.state.begin()
        flow_one = first()
        one = self.state.undo(outer)
        outer = self.state.begin()
        flow_two = second()
        two = self.state.undo(outer)
        self.undecided -= later
        if flow_one == flow_two:
            if flow_one != RAISE or self.pending_raises:
                self._join(one, two, told)
            return flow_one
        if flow_one == RAISE or flow_two == RAISE:
            if self.pending_raises:
                self.pending_raises[-1].append(one if flow_one == RAISE else two)
            self.state.apply(two if flow_one == RAISE else one)
            return flow_two if flow_one == RAISE else flow_one
        if flow_one != NORMAL:
            self._suspend(flow_one, one)
            self.state.apply(two)
            return flow_two
        self._suspend(flow_two, two)
        self.state.apply(one)
        return flow_one

    def _join(self, one: Writes, two: Writes, told: bool = False) -> None:
        left = {(id(cells), key): (cells, key, value) for cells, key, value in one}
        right = {(id(cells), key): (cells, key, value) for cells, key, value in two}
        for where, (cells, key, value) in left.items():
            other = right[where][2] if where in right else cells.get(key)
            joined = value if other is None else join_cells(value, other)
            self.state.write(cells, key, _varying(joined, value, other) if told else joined)
        for where, (cells, key, value) in right.items():
            if where not in left:
                other = cells.get(key)
                joined = value if other is None else join_cells(other, value)
                self.state.write(cells, key, _varying(joined, value, other) if told else joined)

    def _suspend(self, flow: int, writes: Writes) -> None:
        """Keep the state of a path that left early until the place where it is met again."""
        if flow == RETURN and self.pending_returns:
            self.pending_returns[-1].append(writes)
        elif flow in (BREAK, CONTINUE) and self.pending_loops:
            self.pending_loops[-1].append((flow, writes))

    def _return(self, node: ast.Return, frame: Frame) -> int:
        value = self.value(node.value, frame) if node.value is not None else NONE
        if self.returns:
            self.returns[-1].append(value)
        return RETURN

    def _raise(self, node: ast.Raise, frame: Frame) -> int:
        if node.exc is not None:
            self.raised = self.raised | self.atoms_of(self.value(node.exc, frame))
        if node.cause is not None:
            self.value(node.cause, frame)
        return RAISE

    def _assert(self, node: ast.Assert, frame: Frame) -> int:
        """What an assertion compares decides nothing; what it calls runs."""
        if calls_something(node.test):
            known = len(self.predictors.answered)
            self.value(node.test, frame)
            del self.predictors.answered[known:]
        return NORMAL

    def _flow(self, node: ast.stmt, frame: Frame) -> int:
        return BREAK if isinstance(node, ast.Break) else CONTINUE

    def _for(self, node: ast.For, frame: Frame) -> int:
        iterable = self.value(node.iter, frame)
        if iterable.kind == OBJECT and iterable.payload.kind == "generator":
            return self._consume(node, iterable.payload, frame)
        elements = self.elements(iterable)
        if elements is not None and not elements:
            return self.block(node.orelse, frame)
        name = ast.unparse(node.target) if isinstance(node.target, ast.Name | ast.Tuple) else "item"
        exact = elements is not None
        count = len(elements) if elements is not None else self.iterations(iterable)
        if count == 0:
            return self.block(node.orelse, frame)
        if count == 2 and not exact and len(self.abstract) < 2 and node_count(node) <= SMALL_LOOP:
            count = 3  # the first iteration often does nothing but start a table
        updated = assigned_by_update(node)
        item = None if exact else self.element(iterable)

        def bind(act: int, k: int) -> None:
            if elements is not None:
                value = elements[k]
            else:
                assert item is not None
                value = self.iteration_value(iterable, item, k)
            repeats = iterable.kind == OBJECT and iterable.payload.cells.get("repeats")
            if repeats:
                self.assign(node.target, value, frame)
                return
            if pace and value.kind in (CONST, RANGE, DATA):
                value = with_atoms(value, frozenset((("index", act, pace),)))
            self.assign(node.target, self.tagged(value, act, k), frame)

        pace = self.pace(iterable)
        open_count = not exact and self._count_left_open(iterable)
        limit = self._length(iterable)
        flow = self._loop(node.body, frame, name, node.lineno, count, exact, updated, bind, open_count, limit)
        return self._loop_else(node, flow, frame)

    def _length(self, iterable: Value) -> int:
        """The end of a range that is known, else 0."""
        if iterable.kind == OBJECT and iterable.payload.kind == "range":
            stop = bounds(iterable.payload.cells["bounds"][1])
            return stop[1] or 0 if stop is not None and stop[0] == stop[1] else 0
        return 0

    def _count_left_open(self, iterable: Value) -> bool:
        """True for ``range(n)`` whose `n` may be a setting that nothing tells: it may run just once."""
        if iterable.kind != OBJECT or iterable.payload.kind != "range":
            return False
        start, stop, _ = iterable.payload.cells["bounds"]
        return bounds(stop) is None and self.left_open(data(self.atoms_of(start) | self.atoms_of(stop)))

    def _while(self, node: ast.While, frame: Frame) -> int:
        if self.truth(self.value(node.test, frame)) is False:
            return self.block(node.orelse, frame)

        def bind(act: int, k: int) -> None:
            if k:
                self.value(node.test, frame)

        updated = assigned_by_update(node)
        return self._loop_else(node, self._loop(node.body, frame, "", node.lineno, 2, False, updated, bind), frame)

    def _loop_else(self, node: ast.For | ast.While, flow: int, frame: Frame) -> int:
        """The ``else`` of a loop runs unless the loop was left by ``break``."""
        if flow != NORMAL or not node.orelse:
            return flow
        if not breaks(node.body):
            return self.block(node.orelse, frame)
        return self.either(lambda: self.block(node.orelse, frame), lambda: NORMAL, told=True)

    def _loop(
        self,
        body: list[ast.stmt],
        frame: Frame,
        name: str,
        line: int,
        count: int,
        exact: bool,
        updated: frozenset[str],
        bind: Callable[[int, int], None],
        open_count: bool = False,
        limit: int = 0,
    ) -> int:
        act = len(self.loops) + 1
        self.loops[act] = self.live[act] = (name, line)
        if limit:
            self.predictors.step_limits[act] = {limit}
        if not exact:
            self.abstract.append(act)
        broken: list[Writes] = []
        self.pending_loops.append([])
        flow = NORMAL
        for k in range(count):
            self.rounds[act] = k
            for variable in updated:
                old = frame.names.get(variable)
                if isinstance(old, Value):
                    if not exact and k and old.kind == CONST:
                        old = data(old.atoms)
                    self.state.write(frame.names, variable, self.marked(old, act, k))
            bind(act, k)
            again = open_count and k > 0
            self.open_settings += again
            flow = self.block(body, frame)
            self.open_settings -= again
            for kind, writes in self.pending_loops[-1]:
                if kind == CONTINUE:
                    self.state.merge(writes)
                else:
                    broken.append(writes)
            self.pending_loops[-1].clear()
            if flow in (BREAK, RETURN, RAISE):
                break
        self.pending_loops.pop()
        for writes in broken:
            self.state.merge(writes)
        if not exact:
            self.abstract.pop()
        del self.live[act]
        return flow if flow in (RETURN, RAISE) and not broken else NORMAL

    def _consume(self, node: ast.For, generator: Obj, frame: Frame) -> int:
        """A for loop over a generator: its body runs at each yield, inside the generator's own loops."""

        def consumer(value: Value) -> None:
            self.pending_loops.append([])
            self.assign(node.target, value, frame)
            self.block(node.body, frame)
            for _, writes in self.pending_loops.pop():
                self.state.merge(writes)

        self.run_generator(generator, consumer)
        return NORMAL

    def run_generator(self, generator: Obj, consumer: Callable[[Value], None]) -> None:
        function, args, kwargs = generator.cells["call"]
        self.consumers.append(consumer)
        self.enter(function, args, kwargs)
        self.consumers.pop()

    def _with(self, node: ast.With, frame: Frame) -> int:
        for item in node.items:
            value = self.value(item.context_expr, frame)
            if value.kind == OBJECT and value.payload.class_ and value.payload.class_.find("__enter__"):
                value = self.call_method(value, "__enter__", [], {}, node)
            elif value.kind == OBJECT and value.payload.kind == "generator":
                found: list[Value] = []
                self.run_generator(value.payload, found.append)
                value = found[0] if found else UNKNOWN
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value, frame)
        still = sum(_stops_gradients(item.context_expr) for item in node.items)
        self.no_gradient += still
        flow = self.block(node.body, frame)
        self.no_gradient -= still
        return flow

    def _try(self, node: ast.Try, frame: Frame) -> int:
        if node.handlers:
            self.pending_raises.append([])
        flow = self.block(node.body, frame)
        for writes in self.pending_raises.pop() if node.handlers else ():
            self.state.merge(writes)
        if flow == RAISE:
            if node.handlers and node.handlers[0].name:
                self.bind(frame, node.handlers[0].name, data(self.raised))
            flow = self.block(node.handlers[0].body, frame) if node.handlers else RAISE
        else:
            if flow == NORMAL:
                flow = self.block(node.orelse, frame)
            if not any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in node.body):
                for handler in node.handlers:
                    if flow == NORMAL and any(isinstance(inner, ast.Call) for inner in ast.walk(handler)):
                        self.either(lambda: NORMAL, lambda handler=handler: self.block(handler.body, frame) and RAISE)  # type: ignore[misc]
        final = self.block(node.finalbody, frame)
        return final if final != NORMAL else flow

    def _import(self, node: ast.Import, frame: Frame) -> int:
        for alias in node.names:
            helper = self.import_helper(alias.name)
            if helper is not None:
                self.bind(frame, alias.asname or alias.name, helper)
            elif alias.asname:
                self.bind(frame, alias.asname, external(alias.name))
            else:
                top = alias.name.split(".")[0]
                self.bind(frame, top, external(top))
        return NORMAL

    def _import_from(self, node: ast.ImportFrom, frame: Frame) -> int:
        module = node.module or ""
        helper = self.import_helper(module)
        for alias in node.names:
            if helper is not None and alias.name == "*":
                for name, value in list(helper.payload.cells.items()):
                    if isinstance(value, Value):
                        self.bind(frame, name, value)
            elif helper is not None:
                self.bind(frame, alias.asname or alias.name, helper.payload.cells.get(alias.name, UNKNOWN))
            else:
                self.bind(frame, alias.asname or alias.name, external(f"{module}.{alias.name}"))
        return NORMAL

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> int:
        value = self.make_function(node, frame)
        for decorator in reversed(node.decorator_list):
            value = self._decorate(decorator, value, frame)
        self.bind(frame, node.name, value)
        return NORMAL

    def make_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, frame: Frame) -> Value:
        defaults = [self.value(default, frame) for default in node.args.defaults]
        kw_defaults = [None if item is None else self.value(item, frame) for item in node.args.kw_defaults]
        for annotation in signature_annotations(node):
            if calls_something(annotation):
                self.value(annotation, frame)
        function = Function(node, frame, defaults, kw_defaults, self.path)
        function.is_generator = node in self.generators
        return Value(FUNCTION, function)

    def _decorate(self, decorator: ast.expr, value: Value, frame: Frame) -> Value:
        if isinstance(decorator, ast.Attribute) and decorator.attr in ("setter", "deleter", "getter"):
            getter = self.value(decorator.value, frame)
            if getter.kind == FUNCTION and getter.payload.kind == "property" and value.kind == FUNCTION:
                if decorator.attr == "setter":
                    getter.payload.setter = value.payload
                return getter
        applied = self.value(decorator, frame)
        function = value.payload if value.kind == FUNCTION else None
        if applied.kind in (DATA, METHOD, EXTERNAL):
            made = self.value(decorator.func, frame) if isinstance(decorator, ast.Call) else applied
            if not (made.kind == EXTERNAL and library.only_wraps(made.payload)):
                self.hand_over(value)
        if applied.kind == EXTERNAL:
            short = applied.payload.rsplit(".", 1)[-1]
            if function is not None and short in ("staticmethod", "classmethod", "property", "cached_property"):
                function.kind = {"staticmethod": "static", "classmethod": "class"}.get(short, "property")
            return value
        if applied.kind in (FUNCTION, PARTIAL, CHOICE):
            result = self.call(applied, [value], {}, decorator)
            return result if result.kind in (FUNCTION, PARTIAL, CHOICE, CLASS, OBJECT) else value
        return value

    def _class(self, node: ast.ClassDef, frame: Frame) -> int:
        bases = [self.value(base, frame) for base in node.bases]
        for keyword in node.keywords:
            self.value(keyword.value, frame)
        class_ = Class(node, frame, bases, _family(bases))
        body = Frame(frame, "", frame.globals_)
        body.names = class_.cells
        self.block(node.body, body)
        for member in class_.cells.values():
            if isinstance(member, Value) and member.kind == FUNCTION and member.payload.owner is None:
                member.payload.owner = class_
                member.payload.frame = frame  # names of a class body are not visible in its methods
        self.classes.append(class_)
        value = Value(CLASS, class_)
        for decorator in reversed(node.decorator_list):
            value = self._decorate(decorator, value, frame)
        self.bind(frame, node.name, value)
        return NORMAL

    def module_method(self, name: str) -> Value | None:
        """The state-changing method `name` of the script's modules, if just one class defines it."""
        found = [
            member
            for class_ in self.classes
            if class_.family == "module" and isinstance(member := class_.cells.get(name), Value)
        ]
        if len(found) == 1 and found[0].kind == FUNCTION and changes_state(found[0].payload.node):
            return found[0]
        return None

    def _scope(self, node: ast.Global | ast.Nonlocal, frame: Frame) -> int:
        for name in node.names:
            if isinstance(node, ast.Global):
                frame.redirect[name] = frame.globals_
                continue
            outer = frame.parent
            while outer is not None and name not in outer.names:
                outer = outer.parent
            if outer is not None:
                frame.redirect[name] = outer
        return NORMAL

    def _match(self, node: ast.Match, frame: Frame) -> int:
        subject = self.value(node.subject, frame)
        flow = NORMAL
        unset = self.left_open(subject)
        for case in node.cases:
            matched = _matches(case, subject)
            if matched is False:
                continue
            for name in captured(case.pattern):
                whole = isinstance(case.pattern, ast.MatchAs) and case.pattern.name == name
                self.bind(frame, name, subject if whole else data(self.atoms_of(subject)))
            if case.guard is not None:
                met = self.truth(self.value(case.guard, frame))
                if met is False:
                    continue
                matched = matched and met
            if matched:
                return self.block(case.body, frame)
            self.open_settings += unset
            flow = self.either(lambda case=case: self.block(case.body, frame), lambda: NORMAL)  # type: ignore[misc]
            self.open_settings -= unset
            if flow != NORMAL:
                return flow
        return flow

    def hand_over(self, value: Value) -> None:
        """Code that is not seen got `value`, and may call what learns in it."""
        if value.kind == FUNCTION:
            self.handed.append((value.payload.name, value.payload.node))
        class_ = value.payload if value.kind == CLASS else None
        if value.kind == OBJECT and value.payload.kind == "instance":
            class_ = value.payload.class_
        if class_ is not None:
            self.handed.extend(
                (f"{class_.name}.{member.name}", member)
                for member in class_.node.body
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
            )

    # ---- names and targets ---------------------------------------------------------------------------------------

    def bind(self, frame: Frame, name: str, value: Value) -> None:
        self.state.write(frame.redirect.get(name, frame).names, name, value)

    def lookup(self, name: str, frame: Frame) -> Value:
        scope: Frame | None = frame.redirect.get(name, frame)
        while scope is not None:
            found = scope.names.get(name)
            if isinstance(found, Value):
                return found
            scope = scope.parent
        return external(name)

    def assign(self, target: ast.expr, value: Value, frame: Frame) -> None:
        if isinstance(target, ast.Name):
            self.bind(frame, target.id, value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, value, frame)
        elif isinstance(target, ast.Attribute):
            self._assign_attribute(target, value, frame)
        elif isinstance(target, ast.Subscript):
            self._assign_item(target, value, frame)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, value, frame)

    def _unpack(self, targets: list[ast.expr], value: Value, frame: Frame) -> None:
        parts = self.elements(value, limit=64)
        if parts is not None and len(parts) == len(targets):
            for target, part in zip(targets, parts, strict=True):
                self.assign(target, with_atoms(part, value.atoms), frame)
            return
        item = self.element(value) if value.kind in (OBJECT, TUPLE, CHOICE) else data(self.atoms_of(value), value.base)
        if scoring.holds_best(value):
            item = Value(DATA, scoring.BEST, item.atoms, item.base)
        for target in targets:
            self.assign(target, item, frame)

    def _assign_attribute(self, target: ast.Attribute, value: Value, frame: Frame) -> None:
        for owner in choices(self.value(target.value, frame)):
            if owner.kind == OBJECT and (setter := self._setter(owner.payload, target.attr)):
                self._call_function(setter, [owner, value], {}, target)
            elif target.attr == "__class__" and owner.kind == OBJECT and value.kind == CLASS:
                owner.payload.class_ = value.payload
            elif target.attr in ("data", "grad") and owner.kind != EXTERNAL and (owner.base or self._stored(owner)):
                self.predictors.replace(owner, target.attr, self.atoms_of(value), target)
                if target.attr == "data":
                    self.predictors.share(owner, value)
            elif owner.kind == OBJECT:
                if owner.payload.kind == "module":
                    self.predictors.detach(owner.payload, target.attr)
                    self.predictors.attach(owner.payload, target.attr, value)
                self.state.write(owner.payload.cells, target.attr, value)
            elif owner.kind == CLASS:
                self.state.write(owner.payload.cells, target.attr, value)
            elif owner.kind == EXTERNAL:
                if value.kind in (FUNCTION, PARTIAL, METHOD):
                    text = f"the script replaces {owner.payload}.{target.attr} by a function of its own"
                    self.cannot_see(text, RULES_OF_SCORING)
                self.hand_over(value)
            elif owner.base is not None:
                self.predictors.attach(owner.base, owner.attr, value)

    @staticmethod
    def _setter(obj: Obj, name: str) -> Function | None:
        """What runs when a property of the script is assigned."""
        member = obj.class_.find(name) if obj.class_ is not None else None
        found = member.payload.setter if member is not None and member.kind == FUNCTION else None
        return found if isinstance(found, Function) else None

    @staticmethod
    def _stored(value: Value) -> bool:
        return value.kind == OBJECT and value.payload.kind in ("tensor", "module")

    def _assign_item(self, target: ast.Subscript, value: Value, frame: Frame) -> None:
        container = self.value(target.value, frame)
        index = self.value(target.slice, frame)
        for owner in choices(container):
            if owner.kind == OBJECT and owner.payload.kind in ("list", "dict"):
                library.store_item(self, owner.payload, index, value)
            elif owner.kind == OBJECT and owner.payload.kind == "namespace" and index.kind == CONST:
                self.state.write(owner.payload.cells, index.payload, value)
            elif owner.kind == OBJECT and owner.payload.class_ and owner.payload.class_.find("__setitem__"):
                self.call_method(owner, "__setitem__", [index, value], {}, target)
            elif owner.kind == EXTERNAL and owner.payload.endswith("environ"):
                if index.kind == CONST and value.kind == CONST:
                    self.overrides[str(index.payload)] = str(value.payload)
                elif index.kind == CONST:
                    self.state.write(self.files.cells, f"environ {index.payload}", self.atoms_of(value))
            else:
                self.predictors.count(owner, index, value, target, frame)

    def mutate(self, node: ast.expr, atoms: Atoms, frame: Frame) -> None:
        """An in-place operation reached the thing that `node` denotes: it is now made of `atoms` as well."""
        if isinstance(node, ast.Name):
            old = self.lookup(node.id, frame)
            if old.kind != EXTERNAL:
                self.bind(frame, node.id, self.settle(with_atoms(old, atoms)))
        elif isinstance(node, ast.Subscript):
            owner = self.value(node.value, frame)
            if owner.kind == OBJECT and owner.payload.kind in ("list", "dict"):
                library.weaken(self, owner.payload, atoms)
            else:
                self.mutate(node.value, atoms, frame)
        elif isinstance(node, ast.Attribute):
            for owner in choices(self.value(node.value, frame)):
                if owner.kind == OBJECT:
                    old = owner.payload.cells.get(node.attr)
                    if isinstance(old, Value):
                        self.state.write(owner.payload.cells, node.attr, with_atoms(old, atoms))
                elif isinstance(node.value, ast.expr) and owner.kind == DATA:
                    self.mutate(node.value, atoms, frame)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            self.mutate(node.func.value, atoms, frame)

    # ---- loops over abstract collections -------------------------------------------------------------------------

    def elements(self, value: Value, limit: int = UNROLL) -> list[Value] | None:
        """The elements of a collection whose members are all known, else None."""
        if value.kind == TUPLE:
            return list(value.payload) if len(value.payload) <= limit else None
        if value.kind == CONST and isinstance(value.payload, str | bytes | tuple | list):
            return [const(item, value.atoms) for item in value.payload] if len(value.payload) <= limit else None
        if value.kind == OBJECT:
            known = library.known_elements(self, value.payload, limit)
            return known if known is None else [with_atoms(item, value.atoms) for item in known]
        return None

    def element(self, value: Value) -> Value:
        """A value that stands for any element of `value`."""
        if value.kind == TUPLE:
            result = value.payload[0] if value.payload else UNKNOWN
            for part in value.payload[1:]:
                result = join(result, part)
            return with_atoms(result, value.atoms)
        if value.kind == CHOICE:
            result = self.element(value.payload[0])
            for option in value.payload[1:]:
                result = join(result, self.element(option))
            return result
        if value.kind == OBJECT:
            return with_atoms(library.any_element(self, value), value.atoms)
        if value.kind == CONST:
            return data(value.atoms)
        return data(value.atoms, value.base, value.attr)

    def iterations(self, iterable: Value) -> int:
        """How many iterations stand for a loop: 0, 1 or 2."""
        if iterable.kind == OBJECT and iterable.payload.kind == "range":
            start, stop, step = iterable.payload.cells["bounds"]
            low, high, pace = bounds(start), bounds(stop), bounds(step)
            if low and high and pace and pace[0] == pace[1] and pace[0] > 0 and low[0] == low[1]:
                if high[1] is not None and high[1] <= low[0]:
                    return 0
                if high[1] is not None and high[1] <= low[0] + pace[0]:
                    return 1
        return 2

    def pace(self, iterable: Value) -> int:
        """By how much a range's variable moves from one iteration to the next; 0 where that is not known."""
        if iterable.kind == OBJECT and iterable.payload.kind == "range":
            step = bounds(iterable.payload.cells["bounds"][2])
            if step is not None and step[0] == step[1]:
                return step[0]
        return 0

    def iteration_value(self, iterable: Value, item: Value, k: int) -> Value:
        """The loop variable in iteration k: the first value of a range is known, a later one is larger."""
        if iterable.kind == OBJECT and iterable.payload.kind == "range":
            start, stop, step = iterable.payload.cells["bounds"]
            low, high, pace = bounds(start), bounds(stop), bounds(step)
            atoms = library.members_of_a_range(self, start.atoms, stop.atoms)
            if low and pace and low[0] == low[1] and pace[0] == pace[1] and pace[0] > 0:
                if k == 0:
                    return const(low[0], atoms)
                last = None if high is None or high[1] is None else high[1] - 1
                return Value(RANGE, (low[0] + pace[0], last), atoms)
            return data(atoms)
        if iterable.kind == OBJECT and iterable.payload.kind == "enumerate" and item.kind == TUPLE:
            index = const(0) if k == 0 else Value(RANGE, (1, None))
            return Value(TUPLE, (index, *item.payload[1:]), item.atoms)
        return item

    def tagged(self, value: Value, act: int, k: int) -> Value:
        """`value` as taken by iteration k: it depends on the loop, and validation tokens in it are this iteration's."""
        if value.kind == TUPLE:
            return Value(TUPLE, tuple(self.tagged(part, act, k) for part in value.payload), value.atoms)
        found = self.marked(value, act, k)
        atoms = self.refine(found.atoms, frozenset(((act, k),)))
        return Value(value.kind, value.payload, atoms, value.base, value.attr)

    def marked(self, value: Value, act: int, k: int) -> Value:
        """`value` as it is in iteration k, whatever iteration it was computed from."""
        if value.kind == TUPLE:
            return Value(TUPLE, tuple(self.marked(part, act, k) for part in value.payload), value.atoms)
        kept = frozenset(atom for atom in value.atoms if atom[0] != "loop" or atom[1] != act)
        return Value(value.kind, value.payload, kept | {("loop", act, k)}, value.base, value.attr)

    def refine(self, atoms: Atoms, tags: frozenset[tuple[int, int]]) -> Atoms:
        if not tags or not any(atom[0] == "val" for atom in atoms):
            return atoms
        return frozenset((atom[0], atom[1] | tags) if atom[0] in ("val", "target") else atom for atom in atoms)

    def index_tags(self, atoms: Atoms) -> frozenset[tuple[int, int]]:
        return frozenset((atom[1], atom[2]) for atom in atoms if atom[0] == "loop" and atom[1] in self.live)

    def settle(self, value: Value) -> Value:
        """Forget loops that have ended: what they took piece by piece is now the whole."""
        if len(value.atoms) <= 10:
            return value
        kept = frozenset(self._settled(value.atoms))
        return value if kept == value.atoms else Value(value.kind, value.payload, kept, value.base, value.attr)

    def _settled(self, atoms: Atoms) -> Iterator[tuple[Any, ...]]:
        live = self.live
        for atom in atoms:
            if atom[0] == "loop":
                if atom[1] in live:
                    yield atom
            elif atom[0] in ("val", "target"):
                yield (atom[0], frozenset(tag for tag in atom[1] if tag[0] in live or tag[0] < 0))
            else:
                yield atom

    # ---- expressions ---------------------------------------------------------------------------------------------

    def value(self, node: ast.expr, frame: Frame) -> Value:
        self.budget -= 1
        if self.budget < 0:
            raise BudgetSpentError
        handler = _EXPRESSIONS.get(type(node))
        return handler(self, node, frame) if handler else UNKNOWN

    def atoms_of(self, value: Value, depth: int = 5) -> Atoms:
        """Everything `value` is made of now, the contents of containers and of shared storage included."""
        atoms = value.atoms
        if value.base is not None:
            atoms = atoms | self.predictors.content(value.base, value.attr)
        if value.kind == TUPLE or value.kind == CHOICE:
            return union((atoms, *(self.atoms_of(part, depth) for part in value.payload)))
        if value.kind == OBJECT and depth > 0:
            return atoms | self.predictors.content(value.payload, "*", depth - 1)
        if value.kind == FORMAT:
            return union((atoms, *(self.atoms_of(part, 1) for part in value.payload if isinstance(part, Value))))
        if value.kind == METHOD:
            if value.payload[1] in library.METADATA:
                return MEASURED
            return atoms | self.atoms_of(value.payload[0], depth)
        if value.kind == PARTIAL:
            return union((atoms, *(self.atoms_of(part, depth) for part in value.payload[1])))
        return atoms

    def truth(self, value: Value) -> bool | None:
        """Whether the value is true, None where that is not known."""
        if value.kind == CONST:
            return bool(value.payload)
        if value.kind == RANGE:
            low, high = value.payload
            return True if low > 0 else (False if high == 0 == low else None)
        if value.kind == TUPLE:
            return bool(value.payload)
        if value.kind in (FUNCTION, CLASS, PARTIAL):
            return True
        if value.kind == METHOD:
            owner, name = value.payload
            known = owner.kind == OBJECT and owner.payload.class_ is not None and owner.payload.class_.find(name)
            return True if known else None
        if value.kind == OBJECT:
            return library.object_truth(value.payload)
        if value.kind == CHOICE:
            truths = {self.truth(option) for option in value.payload}
            return truths.pop() if len(truths) == 1 else None
        if value.kind == FORMAT and any(isinstance(part, str) and part for part in value.payload):
            return True
        return None

    def _constant(self, node: ast.Constant, frame: Frame) -> Value:
        return library.constant(node.value)

    def _name(self, node: ast.Name, frame: Frame) -> Value:
        return self.lookup(node.id, frame)

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Value:
        return self.attribute(self.value(node.value, frame), node.attr, node)

    def attribute(self, owner: Value, name: str, node: ast.AST) -> Value:
        if owner.kind == EXTERNAL:
            return external(f"{owner.payload}.{name}")
        if owner.kind == FUNCTION and name.startswith("__"):
            kept = [cell for cell in owner.payload.frame.names.values() if isinstance(cell, Value)]
            return data(union(self.atoms_of(cell, 1) for cell in kept if cell.kind != FUNCTION))
        if owner.kind == CHOICE:
            found = [self.attribute(option, name, node) for option in owner.payload if option is not NONE]
            result = found[0] if found else UNKNOWN
            for other in found[1:]:
                result = join(result, other)
            return result
        if owner.kind == OBJECT:
            return self._object_attribute(owner, name, node)
        if owner.kind == CLASS:
            member = owner.payload.find(name)
            if member is not None and member.kind == FUNCTION and member.payload.kind == "class":
                return Value(PARTIAL, (member, (owner,), {}))
            if member is not None:
                return member  # type: ignore[no-any-return]
            return const(owner.payload.name) if name == "__name__" else Value(METHOD, (owner, name))
        return library.data_attribute(self, owner, name)

    def _object_attribute(self, owner: Value, name: str, node: ast.AST) -> Value:
        obj: Obj = owner.payload
        found = obj.cells.get(name)
        if isinstance(found, Value):
            return with_atoms(found, owner.atoms)
        if obj.class_ is not None:
            member = obj.class_.find(name)
            if member is not None:
                if member.kind == FUNCTION and member.payload.kind == "property":
                    return self.call(member, [owner], {}, node)
                if member.kind == FUNCTION and member.payload.kind == "static":
                    return member
                return Value(METHOD, (owner, name)) if member.kind == FUNCTION else member
        return library.object_attribute(self, owner, name)

    def _subscript(self, node: ast.Subscript, frame: Frame) -> Value:
        container = self.value(node.value, frame)
        index = self.value(node.slice, frame)
        return self.subscript(container, index, node)

    def subscript(self, container: Value, index: Value, node: ast.AST) -> Value:
        if container.kind == CHOICE:
            result = self.subscript(container.payload[0], index, node)
            for option in container.payload[1:]:
                result = join(result, self.subscript(option, index, node))
            return result
        return library.item(self, container, index, node)

    def _slice(self, node: ast.Slice, frame: Frame) -> Value:
        parts = [NONE if part is None else self.value(part, frame) for part in (node.lower, node.upper, node.step)]
        if all(part.kind == CONST and isinstance(part.payload, int | None) for part in parts):
            deciding = parts[:1] if parts[0] is not NONE and node.lower is not None else parts
            return const(slice(*(part.payload for part in parts)), union(part.atoms for part in deciding))
        return Value(TUPLE, (external("slice"), *parts), union(self.atoms_of(part) for part in parts))

    def _binop(self, node: ast.BinOp, frame: Frame) -> Value:
        if isinstance(node.left, ast.Subscript) and _is_rotation(node):
            whole = self.value(node.left.value, frame)
            if whole.kind == OBJECT and whole.payload.kind == "list":
                return whole
        left = self.value(node.left, frame)
        right = self.value(node.right, frame)
        self.line = node.lineno
        return self.binary(node.op, left, right)

    def binary(self, op: ast.operator, left: Value, right: Value) -> Value:
        """``left op right``. A loop variable moved by whole steps belongs to another iteration."""
        for value in (left, right):
            if value.atoms and any(atom[0] == "index" for atom in value.atoms):
                left, right = self._shifted(op, left, right)
                break
        result = self._binary(op, left, right)
        if isinstance(op, ast.Mod) and any(atom[0] == "loop" for atom in result.atoms):
            kept = frozenset(atom for atom in result.atoms if atom[0] != "loop")  # different iterations may meet
            return Value(result.kind, result.payload, kept, result.base, result.attr)
        if ("next",) in result.atoms:  # places moved from there are others
            result = Value(result.kind, result.payload, result.atoms - {("next",)}, result.base, result.attr)
        if isinstance(op, ast.Sub) and result.atoms:
            shared = {atom[1] for atom in left.atoms if atom[0] == "loop"}
            shared &= {atom[1] for atom in right.atoms if atom[0] == "loop"}
            if shared:  # a distance between two places of one iteration is a length
                kept = frozenset(atom for atom in result.atoms if atom[0] != "loop" or atom[1] not in shared)
                return Value(result.kind, result.payload, kept | MEASURED, result.base, result.attr)
        return result

    def _shifted(self, op: ast.operator, left: Value, right: Value) -> tuple[Value, Value]:
        """The operands of an operation on a loop variable, with the iteration that the result belongs to."""
        moved = []
        for value, other in ((left, right), (right, left)):
            marks = [atom for atom in value.atoms if atom[0] == "index"]
            if not marks:
                moved.append(value)
                continue
            atoms = value.atoms.difference(marks)
            by = other.payload if other.kind == CONST and type(other.payload) is int else None
            additive = isinstance(op, ast.Add) or (isinstance(op, ast.Sub) and value is left)
            if additive and by is not None and len(marks) == 1 and by % marks[0][2] == 0:
                _, act, pace = marks[0]
                steps = by // pace if isinstance(op, ast.Add) else -(by // pace)
                atoms = frozenset(
                    ("loop", act, atom[2] + steps) if atom[0] == "loop" and atom[1] == act else atom for atom in atoms
                ) | {marks[0]}
            moved.append(Value(value.kind, value.payload, atoms, value.base, value.attr))
        return moved[0], moved[1]

    def _binary(self, op: ast.operator, left: Value, right: Value) -> Value:
        if left.kind == CONST and right.kind == CONST:
            folded = _fold(op, left.payload, right.payload)
            if folded is not None:
                return const(folded, left.atoms | right.atoms)
        if isinstance(op, ast.Add):
            joined = library.concatenate(self, left, right)
            if joined is not None:
                return joined
        if isinstance(op, ast.Mult) and left.kind == OBJECT and left.payload.kind == "list":
            return library.repeated(self, left)
        if left.kind == CLASS or right.kind == CLASS:
            return UNKNOWN
        one, two = bounds(left), bounds(right)
        if one is not None and two is not None:
            ranged = _range_arithmetic(op, one, two)
            if ranged is not None:
                return Value(RANGE, ranged, left.atoms | right.atoms)
        if isinstance(op, ast.Mod) and left.kind == CONST and isinstance(left.payload, str):
            return Value(FORMAT, (left.payload, right), left.atoms)
        atoms = self.predictors.combined([self.atoms_of(left), self.atoms_of(right)])
        masked = isinstance(op, ast.BitAnd) and (left.kind == CONST or right.kind == CONST)
        if (masked or isinstance(op, ast.BitXor | ast.Mod)) and any(atom[0] == "val" for atom in atoms):
            atoms = atoms | {("hashed",)}
        return Value(DATA, scoring.combination(op, left, right), atoms)

    def _unary(self, node: ast.UnaryOp, frame: Frame) -> Value:
        operand = self.value(node.operand, frame)
        if isinstance(node.op, ast.Not):
            decided = self.truth(operand)
            return const(not decided, operand.atoms) if decided is not None else data(self.atoms_of(operand))
        if operand.kind == CONST and isinstance(operand.payload, int | float):
            if isinstance(node.op, ast.USub):
                return const(-operand.payload, operand.atoms)
            if isinstance(node.op, ast.Invert) and isinstance(operand.payload, int):
                return const(~operand.payload, operand.atoms)
            return operand
        return data(self.atoms_of(operand))

    def _boolop(self, node: ast.BoolOp, frame: Frame) -> Value:
        stops = isinstance(node.op, ast.Or)
        result: Value | None = None
        outer = self.open_settings
        for part in node.values:
            value = self.value(part, frame)
            decided = self.truth(value)
            if decided is stops:
                self.open_settings = outer
                return value if result is None else join(result, value)
            if decided is None:
                result = value if result is None else join(result, value)
                self.open_settings += self.left_open(value)
            last = value
        self.open_settings = outer
        if result is None:
            return last
        return join(result, last) if self.truth(last) is not None else result

    def _compare(self, node: ast.Compare, frame: Frame) -> Value:
        left = self.value(node.left, frame)
        outcome: bool | None = True
        atoms = NOTHING
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.value(right_node, frame)
            decided = self._compare_one(op, left, right)
            if decided is False:
                return const(False, left.atoms | right.atoms)
            if decided is None:
                outcome = None
            one, two = self.atoms_of(left), self.atoms_of(right)
            atoms |= one | two
            if self.live and ("clock",) in one | two:
                self._note_time_limit(left, right)
            elif self.live and right.kind == CONST and type(right.payload) is int:
                for act in {atom[1] for atom in one if atom[0] == "loop" and atom[1] in self.live}:
                    self.predictors.step_limits.setdefault(act, set()).add(right.payload)
            if isinstance(op, ast.Eq | ast.NotEq) and self.predictors.stored_answers(one, two):
                atoms |= {("answers", self.predictors.site_number())}
            if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) and ("picked",) in one and ("picked",) in two:
                piecewise = any(atom[0] == "val" and any(tag[0] in self.live for tag in atom[1]) for atom in one | two)
                atoms |= {("ranked", self.predictors.site_number(), piecewise)}
            left = right
        if outcome is True:
            return const(True, atoms)
        return data(library.positions(self.predictors.compared(atoms)))

    def _note_time_limit(self, left: Value, right: Value) -> None:
        """Note a time that a loop compares its clock with: a known number of seconds or milliseconds, else None."""
        limit = next((side for side in (left, right) if ("clock",) not in self.atoms_of(side)), None)
        if limit is None:
            return
        known = limit.kind == CONST and isinstance(limit.payload, int | float)
        number = float(limit.payload) if known else None
        for act in self.live:
            self.predictors.time_limits.setdefault(act, set()).add(number)

    def _compare_one(self, op: ast.cmpop, left: Value, right: Value) -> bool | None:
        if isinstance(op, ast.In | ast.NotIn):
            inside = library.contains(self, right, left)
            return None if inside is None else inside == isinstance(op, ast.In)
        if isinstance(op, ast.Is | ast.IsNot):
            same_thing = _identical(left, right)
            return None if same_thing is None else same_thing == isinstance(op, ast.Is)
        if left.kind == CONST and right.kind == CONST:
            try:
                return bool(_COMPARISONS[type(op)](left.payload, right.payload))
            except Exception:
                return None
        one, two = bounds(left), bounds(right)
        if one is None or two is None:
            return None
        return _compare_ranges(op, one, two)

    def _ifexp(self, node: ast.IfExp, frame: Frame) -> Value:
        test = self.value(node.test, frame)
        decided = self.truth(test)
        if decided is not None:
            return self.value(node.body if decided else node.orelse, frame)
        unset = self.left_open(test)
        self.open_settings += unset
        one, two = self.value(node.body, frame), self.value(node.orelse, frame)
        ranked = frozenset(("choice", atom[1], True, False) for atom in test.atoms if atom[0] == "ranked")
        one, two = with_atoms(one, ranked), with_atoms(two, ranked)
        self.open_settings -= unset
        result = join(one, two)
        return result if unset else _varying(result, one, two)

    def _tuple(self, node: ast.Tuple, frame: Frame) -> Value:
        return Value(TUPLE, tuple(self._spread(node.elts, frame)[0]))

    def _list(self, node: ast.List | ast.Set, frame: Frame) -> Value:
        items, exact = self._spread(node.elts, frame)
        found = library.new_list(self, items, node.lineno)
        if not exact:
            library.loosen(self, found.payload)
        return found

    def _spread(self, nodes: list[ast.expr], frame: Frame) -> tuple[list[Value], bool]:
        """The values of a display, and whether they are all of them: of ``*rest`` the number may not be known."""
        items: list[Value] = []
        exact = True
        for node in nodes:
            if isinstance(node, ast.Starred):
                inner = self.value(node.value, frame)
                known = self.elements(inner, limit=256)
                items.extend([self.element(inner)] if known is None else known)
                exact = exact and known is not None
            else:
                items.append(self.value(node, frame))
        return items, exact

    def _dict(self, node: ast.Dict, frame: Frame) -> Value:
        result = library.new_dict(self, node.lineno)
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.value(item, frame)
            if key is None:
                library.update_dict(self, result.payload, value)
            else:
                library.store_item(self, result.payload, self.value(key, frame), value)
        return result

    def _joined(self, node: ast.JoinedStr, frame: Frame) -> Value:
        parts: list[str | Value] = []
        atoms = NOTHING
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
                continue
            value = self.value(part.value, frame) if isinstance(part, ast.FormattedValue) else UNKNOWN
            spec = part.format_spec if isinstance(part, ast.FormattedValue) else None
            if spec is not None and calls_something(spec):
                self.value(spec, frame)
            text = library.formatted(value, spec)
            if text is not None:
                parts.append(text)
                atoms |= value.atoms
            elif value.kind == FORMAT:
                parts.extend(value.payload)
                atoms |= value.atoms
            else:
                parts.append(value)
        return library.text(parts, atoms)

    def _lambda(self, node: ast.Lambda, frame: Frame) -> Value:
        return self.make_function(node, frame)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, frame: Frame) -> Value:
        scope = Frame(frame, frame.function, frame.globals_)
        items: list[Value] = []
        keys: list[Value] = []

        def produce() -> None:
            if isinstance(node, ast.DictComp):
                keys.append(self.value(node.key, scope))
                items.append(self.value(node.value, scope))
            else:
                items.append(self.value(node.elt, scope))

        exact = self._generate(node.generators, scope, produce)
        if isinstance(node, ast.DictComp):
            result = library.new_dict(self, node.lineno)
            for key, item in zip(keys, items, strict=True):
                library.store_item(self, result.payload, key, item)
            if not exact:
                library.loosen(self, result.payload)
            return result
        result = library.new_list(self, items, node.lineno)
        if not exact:
            library.loosen(self, result.payload)
        return result

    def _generate(self, generators: list[ast.comprehension], scope: Frame, produce: Callable[[], None]) -> bool:
        if not generators:
            produce()
            return True
        head, *rest = generators
        iterable = self.value(head.iter, scope)
        if iterable.kind == OBJECT and iterable.payload.kind == "generator":
            iterable = library.collected(self, iterable.payload)
        elements = self.elements(iterable)
        exact = elements is not None
        item = UNKNOWN if exact else self.element(iterable)
        count = len(elements) if elements is not None else min(1, self.iterations(iterable))
        act = len(self.loops) + 1
        self.loops[act] = self.live[act] = (ast.unparse(head.target), head.target.lineno)
        if elements is None:
            self.abstract.append(act)
        for k in range(count):
            self.rounds[act] = k
            value = elements[k] if elements is not None else item
            if head.ifs:
                value = library.narrowed(value, head.ifs)
            self.assign(head.target, self.tagged(value, act, k), scope)
            decided = [self.truth(self.value(test, scope)) for test in head.ifs]
            if False in decided:
                continue
            if None in decided:
                exact = False
            tested = union(self.atoms_of(self.value(test, scope)) for test in head.ifs)
            if ("picked",) in tested:
                for name in [inner.id for inner in ast.walk(head.target) if isinstance(inner, ast.Name)]:
                    kept = scoring.chosen(self, self.atoms_of(self.lookup(name, scope)), again=True)
                    scope.names[name] = with_atoms(self.lookup(name, scope), kept)
            exact = self._generate(rest, scope, produce) and exact
        if elements is None:
            self.abstract.pop()
        del self.live[act]
        return exact

    def _walrus(self, node: ast.NamedExpr, frame: Frame) -> Value:
        value = self.value(node.value, frame)
        self.assign(node.target, value, frame)
        return value

    def _starred(self, node: ast.Starred, frame: Frame) -> Value:
        return self.value(node.value, frame)

    def _yield(self, node: ast.Yield | ast.YieldFrom, frame: Frame) -> Value:
        value = self.value(node.value, frame) if node.value is not None else NONE
        if isinstance(node, ast.YieldFrom):
            value = self.element(value)
        if self.consumers:
            consumer = self.consumers.pop()
            consumer(value)
            self.consumers.append(consumer)
        return UNKNOWN

    def _await(self, node: ast.Await, frame: Frame) -> Value:
        value = self.value(node.value, frame)
        pending, self.tasks = self.tasks, []
        for task in pending:
            self.awaited(task, node)
        return self.awaited(value, node)

    # ---- calls ---------------------------------------------------------------------------------------------------

    def _call(self, node: ast.Call, frame: Frame) -> Value:
        callee = self._super(node, frame) or self.value(node.func, frame)
        args: list[Value] = []
        for arg in node.args:
            if isinstance(arg, ast.Starred):
                inner = self.value(arg.value, frame)
                args.extend(self.elements(inner, limit=256) or [self.element(inner)] * 4)
            else:
                args.append(self.value(arg, frame))
        kwargs: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value, frame)
            if keyword.arg is not None:
                kwargs[keyword.arg] = value
            else:
                kwargs.update(library.known_keywords(value))
                if value.kind != OBJECT or value.payload.cells.get("loose"):
                    kwargs["**"] = data(self.atoms_of(value))
        self.line = node.lineno
        return self.call(callee, args, kwargs, node, frame)

    def _super(self, node: ast.Call, frame: Frame) -> Value | None:
        """``super().method`` bound to the present instance, where a class of the script defines it."""
        function = node.func
        if not (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Call)
            and isinstance(function.value.func, ast.Name)
            and function.value.func.id == "super"
        ):
            return None
        here = self.functions[-1] if self.functions else None
        if here is None or here.owner is None or not here.node.args.args:
            return None
        for base in here.owner.bases:
            member = base.payload.find(function.attr) if base.kind == CLASS else None
            if member is not None and member.kind == FUNCTION:
                receiver = self.lookup(here.node.args.args[0].arg, frame)
                return Value(PARTIAL, (member, (receiver,), {}))
        return UNKNOWN

    def call(
        self, callee: Value, args: list[Value], kwargs: dict[str, Value], node: ast.AST, frame: Frame | None = None
    ) -> Value:
        if any(arg.kind == OBJECT and arg.payload.kind == "coroutine" for arg in args):
            if library.starts_a_task(callee):
                self.tasks.extend(args[:1])
                return args[0]
            if callee.kind in (EXTERNAL, METHOD, DATA):
                args = [self.awaited(arg, node) for arg in args]
                if library.waits_for_one(callee):
                    return args[0]
        kind = callee.kind
        if kind == FUNCTION:
            return self._call_function(callee.payload, args, kwargs, node)
        if kind == METHOD:
            return self.call_method(callee.payload[0], callee.payload[1], args, kwargs, node, frame)
        if kind == CLASS:
            return library.construct(self, callee.payload, args, kwargs, node)
        if kind == EXTERNAL:
            return library.call(self, callee.payload, args, kwargs, node, frame)
        if kind == PARTIAL:
            inner, first, keywords = callee.payload
            return self.call(inner, [*first, *args], {**keywords, **kwargs}, node, frame)
        if kind == CHOICE:
            return self._call_choice(callee, args, kwargs, node, frame)
        if kind == OBJECT:
            return self.call_method(callee, "__call__", args, kwargs, node, frame)
        atoms = union((self.atoms_of(callee), *map(self.atoms_of, args), *map(self.atoms_of, kwargs.values())))
        library.run_callbacks(self, args, kwargs, node)
        values = [*args, *kwargs.values()]
        library.unseen_callee(self, "code that could not be followed", values, [self.atoms_of(arg) for arg in values])
        return data(self.predictors.applied(atoms))

    def _call_choice(
        self, callee: Value, args: list[Value], kwargs: dict[str, Value], node: ast.AST, frame: Frame | None
    ) -> Value:
        options = [option for option in callee.payload if option.kind != CONST]
        results: list[Value] = []

        def attempt(index: int) -> int:
            if index < len(options):
                results.append(self.call(options[index], args, kwargs, node, frame))
            return NORMAL

        if len(options) == 1:
            attempt(0)
        for index in range(0, len(options) if len(options) > 1 else 0, 2):
            self.either(lambda index=index: attempt(index), lambda index=index: attempt(index + 1))  # type: ignore[misc]
        result = results[0] if results else UNKNOWN
        for other in results[1:]:
            result = join(result, other)
        return result

    def call_method(
        self,
        owner: Value,
        name: str,
        args: list[Value],
        kwargs: dict[str, Value],
        node: ast.AST,
        frame: Frame | None = None,
    ) -> Value:
        if owner.kind == OBJECT:
            obj: Obj = owner.payload
            if obj.kind == "coroutine":
                return self.awaited(owner, node)
            member = obj.class_.find(name) if obj.class_ is not None else None
            if name == "__call__" and obj.kind == "module":
                member = obj.class_.find("forward") if obj.class_ is not None else None
                own = obj.cells.get("forward")
                if isinstance(own, Value) and (body := _body_of(own)) and (changes_state(body) or self.may_learn(body)):
                    return self.call(own, args, kwargs, node, frame)
            if obj.kind == "optimizer" and name in ("step", "zero_grad", "add_param_group"):
                member = None
            if member is not None and member.kind == FUNCTION:
                function: Function = member.payload
                first = Value(CLASS, obj.class_) if function.kind == "class" else owner
                if obj.kind == "optimizer" and changes_state(function.node) and name != "__init__":
                    result = self._call_function(function, [first, *args], kwargs, node)
                    self.predictors.step(obj)
                    return result
                if obj.kind == "module" and not (changes_state(function.node) or self.may_learn(function.node)):
                    return self.predictors.predict(owner, args, kwargs)
                return self._call_function(function, [first, *args], kwargs, node)
        if owner.kind == CLASS:
            member = owner.payload.find(name)
            if member is not None and member.kind == FUNCTION:
                first_args = [owner, *args] if member.payload.kind == "class" else args
                return self._call_function(member.payload, first_args, kwargs, node)
        return library.call_method(self, owner, name, args, kwargs, node, frame)

    def _call_function(self, function: Function, args: list[Value], kwargs: dict[str, Value], node: ast.AST) -> Value:
        if function.is_generator:
            generator = Obj("generator", getattr(node, "lineno", 0), function.name)
            generator.cells["call"] = (function, args, kwargs)
            return Value(OBJECT, generator)
        if isinstance(function.node, ast.AsyncFunctionDef):
            coroutine = Obj("coroutine", getattr(node, "lineno", 0), function.name)
            coroutine.cells["call"] = (function, args, kwargs)
            self.handed.append((function.name, function.node))
            return Value(OBJECT, coroutine)
        return self._run_function(function, args, kwargs, node)

    def awaited(self, value: Value, node: ast.AST) -> Value:
        """What a coroutine returns, run where it is first waited for; any other value as it is."""
        if value.kind != OBJECT or value.payload.kind != "coroutine":
            return value
        cells = value.payload.cells
        if "result" not in cells:
            function, args, kwargs = cells["call"]
            self.state.write(cells, "result", UNKNOWN)
            self.state.write(cells, "result", self._run_function(function, args, kwargs, node))
        return cells["result"]  # type: ignore[no-any-return]

    def _run_function(self, function: Function, args: list[Value], kwargs: dict[str, Value], node: ast.AST) -> Value:
        if len(self.functions) >= MAX_DEPTH or self.functions.count(function) >= 2:
            atoms = union((*map(self.atoms_of, args), *map(self.atoms_of, kwargs.values())))
            return data(self.predictors.applied(atoms))
        self.calls.append(self.site(getattr(node, "lineno", 0)))
        result = self.enter(function, args, kwargs)
        self.calls.pop()
        return result

    def enter(self, function: Function, args: list[Value], kwargs: dict[str, Value]) -> Value:
        """Run a function's body with its arguments bound; the value it returns."""
        self.entered.add(function.node)
        frame = Frame(function.frame, function.name, function.frame.globals_)
        self._bind_arguments(function, args, kwargs, frame)
        line, path = self.line, self.path
        self.path = function.path
        self.functions.append(function)
        if isinstance(function.node, ast.Lambda):
            result = self.value(function.node.body, frame)
        else:
            result = self._body(function.node, frame)
        self.functions.pop()
        self.line, self.path = line, path
        return result

    def _body(self, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> Value:
        self.returns.append([])
        self.pending_returns.append([])
        loops, self.pending_loops = self.pending_loops, []
        self.block(node.body, frame)
        self.pending_loops = loops
        for writes in self.pending_returns.pop():
            self.state.merge(writes)
        returned = self.returns.pop()
        if not returned:
            return NONE
        result = returned[0]
        for other in returned[1:]:
            result = join(result, other)
        return result

    def _bind_arguments(self, function: Function, args: list[Value], kwargs: dict[str, Value], frame: Frame) -> None:
        spec = function.node.args
        names = [arg.arg for arg in (*spec.posonlyargs, *spec.args)]
        bound = frame.names
        for name, default in zip(reversed(names), reversed(function.defaults), strict=False):
            bound[name] = default
        for arg, default_value in zip(spec.kwonlyargs, function.kw_defaults, strict=True):
            if default_value is not None:
                bound[arg.arg] = default_value
        for name, value in zip(names, args, strict=False):
            bound[name] = value
        if spec.vararg is not None:
            bound[spec.vararg.arg] = Value(TUPLE, tuple(args[len(names) :]))
        extra: dict[str, Value] = {}
        known = {*names, *(arg.arg for arg in spec.kwonlyargs)}
        for name, value in kwargs.items():
            (bound if name in known else extra)[name] = value
        if spec.kwarg is not None:
            holder = library.new_dict(self, function.node.lineno)
            for name, value in extra.items():
                library.store_item(self, holder.payload, const(name), value)
            bound[spec.kwarg.arg] = holder
        for name in known:
            bound.setdefault(name, UNKNOWN)


def _body_of(value: Value) -> ast.AST | None:
    """The syntax of a function of the script, bound or partial; None for anything else."""
    if value.kind == PARTIAL:
        return _body_of(value.payload[0])
    if value.kind == METHOD and value.payload[0].kind == OBJECT and value.payload[0].payload.class_ is not None:
        member = value.payload[0].payload.class_.find(value.payload[1])
        return _body_of(member) if member is not None else None
    return value.payload.node if value.kind == FUNCTION else None


def _stops_gradients(context: ast.expr) -> bool:
    """True for ``torch.no_grad()`` and ``torch.inference_mode()``."""
    function = context.func if isinstance(context, ast.Call) else None
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("no_grad", "inference_mode")


def _is_rotation(node: ast.BinOp) -> bool:
    """True for ``x[k:] + x[:k]``: all of x, beginning elsewhere."""
    left, right = node.left, node.right
    if not (
        isinstance(node.op, ast.Add)
        and isinstance(left, ast.Subscript)
        and isinstance(right, ast.Subscript)
        and isinstance(left.slice, ast.Slice)
        and isinstance(right.slice, ast.Slice)
        and left.slice.lower is not None
        and right.slice.upper is not None
    ):
        return False
    ends = (left.slice.upper, left.slice.step, right.slice.lower, right.slice.step)
    return (
        ends == (None, None, None, None)
        and ast.dump(left.value) == ast.dump(right.value)
        and ast.dump(left.slice.lower) == ast.dump(right.slice.upper)
    )


def _varying(joined: Any, one: Any, two: Any) -> Any:
    """Mark a value that is now one constant, now another, as something that no setting decides."""
    constants = isinstance(one, Value) and isinstance(two, Value) and one.kind == CONST and two.kind == CONST
    if constants and isinstance(joined, Value) and joined.kind == DATA:
        return with_atoms(joined, MEASURED)
    return joined


def _matches(case: ast.match_case, subject: Value) -> bool | None:
    """Whether a known subject meets a case of constants, its guard aside; None where it cannot be told."""
    if isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None:
        return True
    patterns = case.pattern.patterns if isinstance(case.pattern, ast.MatchOr) else [case.pattern]
    if subject.kind != CONST:
        return None
    constants = [
        item.value.value
        for item in patterns
        if isinstance(item, ast.MatchValue) and isinstance(item.value, ast.Constant)
    ]
    if len(constants) != len(patterns):
        return None
    return subject.payload in constants


def _family(bases: list[Value]) -> str:
    for base in bases:
        if base.kind == CLASS and base.payload.family != "plain":
            return base.payload.family  # type: ignore[no-any-return]
        if base.kind == EXTERNAL:
            name = base.payload
            short = name.rsplit(".", 1)[-1]
            if short in ("Module", "ModuleList", "Sequential", "Linear", "Embedding", "Parameter") or (
                name.startswith("torch.nn.") and short[:1].isupper()
            ):
                return "module"
            if short == "Optimizer" or name.startswith("torch.optim."):
                return "optimizer"
            if short == "Function" and "autograd" in name:
                return "function"
            if short.endswith(("Error", "Exception")):
                return "exception"
    return "plain"


def _identical(left: Value, right: Value) -> bool | None:
    if left.kind == CONST and right.kind == CONST:
        return left.payload is right.payload or left.payload == right.payload
    for one, two in ((left, right), (right, left)):
        if one.kind == CONST and one.payload is None and two.kind in (OBJECT, FUNCTION, CLASS, TUPLE, FORMAT, RANGE):
            return False
    if left.kind == OBJECT and right.kind == OBJECT:
        return left.payload is right.payload
    return None


_MAX_TEXT = 1 << 16
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}


def _fold(op: ast.operator, left: Any, right: Any) -> Any:
    """The constant result of `left op right`; None where it is not a constant, or too large to be worth it."""
    function = _OPERATORS.get(type(op))
    if function is None:
        return None
    if isinstance(op, ast.Pow | ast.LShift) and not (
        isinstance(right, int | float) and abs(right) <= 128 and isinstance(left, int | float) and abs(left) <= 1e9
    ):
        return None
    if isinstance(op, ast.Mult) and (isinstance(left, str | bytes | tuple) or isinstance(right, str | bytes | tuple)):
        count = right if isinstance(right, int) else left
        size = len(left) if not isinstance(left, int | float) else len(right)
        if not isinstance(count, int) or count * size > _MAX_TEXT:
            return None
    try:
        result = function(left, right)
    except Exception:
        return None
    if isinstance(result, int) and result.bit_length() > 4096:
        return None
    return result


def _range_arithmetic(
    op: ast.operator, one: tuple[int, int | None], two: tuple[int, int | None]
) -> tuple[int, int | None] | None:
    if isinstance(op, ast.Add):
        return one[0] + two[0], None if one[1] is None or two[1] is None else one[1] + two[1]
    if isinstance(op, ast.Sub) and two[1] is not None:
        return one[0] - two[1], None if one[1] is None else one[1] - two[0]
    if isinstance(op, ast.Mult) and one[0] >= 0 and two[0] >= 0:
        return one[0] * two[0], None if one[1] is None or two[1] is None else one[1] * two[1]
    return None


_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def _compare_ranges(op: ast.cmpop, one: tuple[int, int | None], two: tuple[int, int | None]) -> bool | None:
    below = one[1] is not None and one[1] < two[0]
    above = two[1] is not None and two[1] < one[0]
    not_above = one[1] is not None and one[1] <= two[0]
    not_below = two[1] is not None and two[1] <= one[0]
    if isinstance(op, ast.Eq):
        return False if below or above else None
    if isinstance(op, ast.NotEq):
        return True if below or above else None
    if isinstance(op, ast.Lt):
        return True if below else (False if not_below else None)
    if isinstance(op, ast.LtE):
        return True if not_above else (False if above else None)
    if isinstance(op, ast.Gt):
        return True if above else (False if not_above else None)
    if isinstance(op, ast.GtE):
        return True if not_below else (False if below else None)
    return None


_STATEMENTS: dict[type, Callable[[Interpreter, Any, Frame], int]] = {
    ast.Expr: Interpreter._expr,
    ast.Assign: Interpreter._assign,
    ast.AnnAssign: Interpreter._ann_assign,
    ast.AugAssign: Interpreter._aug_assign,
    ast.Delete: Interpreter._delete,
    ast.If: Interpreter._if,
    ast.Return: Interpreter._return,
    ast.Raise: Interpreter._raise,
    ast.Assert: Interpreter._assert,
    ast.Break: Interpreter._flow,
    ast.Continue: Interpreter._flow,
    ast.For: Interpreter._for,
    ast.AsyncFor: Interpreter._for,
    ast.While: Interpreter._while,
    ast.With: Interpreter._with,
    ast.AsyncWith: Interpreter._with,
    ast.Try: Interpreter._try,
    ast.TryStar: Interpreter._try,
    ast.Import: Interpreter._import,
    ast.ImportFrom: Interpreter._import_from,
    ast.FunctionDef: Interpreter._function,
    ast.AsyncFunctionDef: Interpreter._function,
    ast.ClassDef: Interpreter._class,
    ast.Global: Interpreter._scope,
    ast.Nonlocal: Interpreter._scope,
    ast.Match: Interpreter._match,
}

_EXPRESSIONS: dict[type, Callable[[Interpreter, Any, Frame], Value]] = {
    ast.Constant: Interpreter._constant,
    ast.Name: Interpreter._name,
    ast.Attribute: Interpreter._attribute,
    ast.Subscript: Interpreter._subscript,
    ast.Slice: Interpreter._slice,
    ast.BinOp: Interpreter._binop,
    ast.UnaryOp: Interpreter._unary,
    ast.BoolOp: Interpreter._boolop,
    ast.Compare: Interpreter._compare,
    ast.IfExp: Interpreter._ifexp,
    ast.Tuple: Interpreter._tuple,
    ast.List: Interpreter._list,
    ast.Set: Interpreter._list,
    ast.Dict: Interpreter._dict,
    ast.JoinedStr: Interpreter._joined,
    ast.Lambda: Interpreter._lambda,
    ast.ListComp: Interpreter._comprehension,
    ast.SetComp: Interpreter._comprehension,
    ast.GeneratorExp: Interpreter._comprehension,
    ast.DictComp: Interpreter._comprehension,
    ast.NamedExpr: Interpreter._walrus,
    ast.Starred: Interpreter._starred,
    ast.Yield: Interpreter._yield,
    ast.YieldFrom: Interpreter._yield,
    ast.Await: Interpreter._await,
    ast.Call: Interpreter._call,
}
_ = (TRUE, FALSE)
