"""The state of one abstract run, and which module handles which statement and expression."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from auditor.ledger import Blind, Site
from auditor.source import native
from auditor.source.interpreter import (
    arithmetic,
    assignments,
    branches,
    calls,
    comparisons,
    context_managers,
    definitions,
    displays,
    expressions,
    flow,
    imports,
    iteration,
    loops,
)
from auditor.source.interpreter.flow import NORMAL, Writes
from auditor.source.predictor import Predictors
from auditor.source.predictor.borders import Borders
from auditor.source.predictor.running import Running
from auditor.source.scan import learning_names
from auditor.source.switches import LoggedLines
from auditor.source.values import NOTHING, UNKNOWN, Atoms, Class, Frame, Function, Obj, State, Value, const
from auditor.submission import syntax

DEFAULT_BUDGET = 1_500_000  # nodes visited, and pairs of learning and scored regions compared


class BudgetSpentError(Exception):
    """The bound on visited nodes struck."""


_STATEMENTS: dict[type, Callable[[Any, Any, Frame], int]] = {
    ast.Expr: expressions.expression_statement,
    ast.Assign: assignments.assignment,
    ast.AnnAssign: assignments.annotated_assignment,
    ast.AugAssign: assignments.augmented_assignment,
    ast.Delete: assignments.delete_statement,
    ast.If: branches.if_statement,
    ast.Return: flow.return_statement,
    ast.Raise: flow.raise_statement,
    ast.Assert: flow.assert_statement,
    ast.Break: flow.break_or_continue,
    ast.Continue: flow.break_or_continue,
    ast.For: loops.for_statement,
    ast.AsyncFor: loops.for_statement,
    ast.While: loops.while_statement,
    ast.With: context_managers.with_statement,
    ast.AsyncWith: context_managers.with_statement,
    ast.Try: flow.try_statement,
    ast.TryStar: flow.try_statement,
    ast.Import: imports.import_statement,
    ast.ImportFrom: imports.from_import,
    ast.FunctionDef: definitions.function_definition,
    ast.AsyncFunctionDef: definitions.function_definition,
    ast.ClassDef: definitions.class_definition,
    ast.Global: definitions.global_or_nonlocal,
    ast.Nonlocal: definitions.global_or_nonlocal,
    ast.Match: branches.match_statement,
}

_EXPRESSIONS: dict[type, Callable[[Any, Any, Frame], Value]] = {
    ast.Constant: expressions.constant,
    ast.Name: expressions.name,
    ast.Attribute: expressions.attribute_access,
    ast.Subscript: expressions.subscription,
    ast.Slice: expressions.slice_expression,
    ast.BinOp: arithmetic.binary_operation,
    ast.UnaryOp: expressions.unary_operation,
    ast.BoolOp: expressions.boolean_operation,
    ast.Compare: comparisons.comparison,
    ast.IfExp: branches.conditional_expression,
    ast.Tuple: displays.tuple_display,
    ast.List: displays.list_display,
    ast.Set: displays.list_display,
    ast.Dict: displays.dict_display,
    ast.JoinedStr: displays.f_string,
    ast.Lambda: definitions.lambda_expression,
    ast.ListComp: displays.comprehension,
    ast.SetComp: displays.comprehension,
    ast.GeneratorExp: displays.comprehension,
    ast.DictComp: displays.comprehension,
    ast.NamedExpr: assignments.assignment_expression,
    ast.Starred: expressions.starred,
    ast.Yield: loops.yield_expression,
    ast.YieldFrom: loops.yield_expression,
    ast.Await: calls.await_expression,
    ast.Call: calls.call_expression,
}


class Interpreter:
    """One abstract run of `tree`, the script at `path`.

    `environment` says what an environment variable was set to, `helpers` maps module names to (path, tree) of the
    folder's other Python files, `logged` are the lines that the reported runs printed, `natives` the folder's C files.
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
        natives: native.Folder | None = None,
    ) -> None:
        self.path = path
        self.tree = tree
        self.environment = environment
        self.helpers = helpers or {}
        self.logged = logged or LoggedLines()
        self.open_switches = open_switches  # treat switches that are off by default as undecided
        self.native = natives or native.Folder()
        self.modules: dict[str, Value] = {}
        self.budget = budget
        self.state = State()
        self.predictors = Predictors(self)
        self.live: dict[int, tuple[str, int]] = {}  # loop activation -> (loop variable, line)
        self.abstract: list[int] = []  # live loops whose iterations stand for many, innermost last
        self.alike: set[int] = set()  # loop activations over what no process's number decides
        self.before_share: set[int] = set()  # loop activations over what stands before this process's share
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
        self.cut_short: dict[int, int] = {}  # loop activation -> place where it may be left before the text ends
        self.reduced = False  # what the processes computed from validation tokens was put together
        self.seeded: Atoms = NOTHING  # marks of choices by loss among the seeds of the random numbers in use
        self.selecting: Atoms = NOTHING  # marks of choices by loss that decide whether this runs
        self.dropped: ast.expr | None = None  # the expression under way whose result nobody uses
        self.raised: Atoms = NOTHING  # what the last exceptions were made of
        self.no_gradient = 0  # ``with torch.no_grad()`` blocks under way
        self.open_settings = 0  # branches under way that an unknown setting decides
        self.extensions = False  # native operators have been loaded
        self.overrides: dict[str, str] = {}  # environment variables that the script sets
        self.chosen: frozenset[int] = frozenset()  # loop activations whose iteration decides whether this runs
        self.undecided = 0  # branches under way that only some iterations of an abstract loop may take
        self.skipped: dict[Site, str] = {}  # branches that the settings switch on and the log shows were not taken
        self.entered: set[ast.AST] = set()  # functions that ran
        self.coroutines = False  # some have been made
        self.tasks: list[Value] = []  # coroutines that run as soon as something is waited for
        self.handed: list[tuple[str, ast.AST]] = []  # functions that code which is not seen may call
        self.parts: dict[str, int] = {}  # texts of constant slices of parts of the stream
        self.borders = Borders()
        self.moving: list[loops.Moving] = []  # the live loops, innermost last
        self.running = Running()
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

    def run(self) -> None:
        """Interpret the script as ``python script`` would run it."""
        frame = Frame(None)
        frame.names["__name__"] = const("__main__")
        frame.names["__file__"] = const(self.path)
        try:
            imports.run_module(self, self.tree, frame)
        except BudgetSpentError:
            self.finished = False
            self.why_unfinished = "the bound on analysed operations was reached"
        except RecursionError:
            self.finished = False
            self.why_unfinished = "the script nests deeper than the analysis follows"
        definitions.note_unseen_calls(self)

    def spend(self, operations: int) -> None:
        """Count operations beside the visited nodes. Raises BudgetSpentError at the bound."""
        self.budget -= operations
        if self.budget < 0:
            raise BudgetSpentError

    def site(self, line: int = 0) -> Site:
        return Site(self.path, line or self.line, self.functions[-1].name if self.functions else "")

    def cannot_see(self, reason: str, rules: tuple[str, ...], line: int = 0) -> None:
        blind = Blind(reason, self.site(line), rules)
        if len(self.blind) < 50 and blind not in self.blind:
            self.blind.append(blind)

    def block(self, body: Sequence[ast.stmt], frame: Frame) -> int:
        for statement in body:
            left = self.statement(statement, frame)
            if left != NORMAL:
                return left
        return NORMAL

    def statement(self, node: ast.stmt, frame: Frame) -> int:
        self.budget -= 1
        if self.budget < 0:
            raise BudgetSpentError
        self.line = node.lineno
        handler = _STATEMENTS.get(type(node))
        return handler(self, node, frame) if handler else NORMAL

    def value(self, node: ast.expr, frame: Frame) -> Value:
        self.budget -= 1
        if self.budget < 0:
            raise BudgetSpentError
        handler = _EXPRESSIONS.get(type(node))
        return handler(self, node, frame) if handler else UNKNOWN

    # The rest of what other modules ask of an interpreter stands in the modules of this package, by subject.
    either = flow.either
    left_open = branches.left_open
    run_generator = loops.run_generator
    elements = iteration.elements
    element = iteration.element
    iterations = iteration.iterations
    pace = iteration.pace
    iteration_value = iteration.iteration_value
    tagged = iteration.tagged
    marked = iteration.marked
    refine = iteration.refine
    index_tags = iteration.index_tags
    settle = iteration.settle
    import_helper = imports.import_helper
    may_learn = definitions.may_learn
    make_function = definitions.make_function
    module_method = definitions.module_method
    hand_over = definitions.hand_over
    bind = assignments.bind
    lookup = assignments.lookup
    assign = assignments.assign
    mutate = assignments.mutate
    atoms_of = expressions.atoms_of
    truth = expressions.truth
    attribute = expressions.attribute
    subscript = expressions.subscript
    binary = arithmetic.binary
    call = calls.call
    call_method = calls.call_method
    awaited = calls.awaited
    enter = calls.enter
