"""The source witness: what the script would do to validation tokens, in which order, in the reported run."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

from auditor.configuration import RunConfiguration
from auditor.garbage import seldom_collected
from auditor.ledger import LOOKS_AHEAD, RULES_OF_SCORING, Blind, Ledger, Site, Violation
from auditor.record.model import Record
from auditor.source import native, scan
from auditor.source.interpreter import Interpreter
from auditor.source.lineage import evaluation_sites, lineage_notes
from auditor.source.predictor import carrying, module_parts, one_pass
from auditor.source.switches import LoggedLines, logged_lines
from auditor.source.testimony import testify
from auditor.submission import syntax
from auditor.submission.model import Role, SourceText, Submission

_RECURSION = 12_000
_FIRST_PROCESS = frozenset(("RANK", "LOCAL_RANK"))  # which torchrun sets whatever the command says; this one logs
_TOLD = frozenset(("readme", "title"))  # sources of settings that are about a run, not part of the code
_DISTRIBUTED = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "8"}  # torchrun, 8 GPUs


@seldom_collected()
def witness(submission: Submission, configuration: RunConfiguration, record: Record) -> Ledger | None:
    """What the submission's script does; None when there is no script, or none that parses."""
    if submission.script is None:
        return None
    scan.forget()
    module_parts.forget()
    carrying.forget()
    one_pass.forget()
    tree = _parse(submission.script.text)
    if tree is None:
        return None
    from auditor.record.claimed_line import claimed_lines, nearest_lines, nothing_reported

    claimed = claimed_lines(record)
    lines = logged_lines(tree, record)
    run = interpret(submission.script, submission.helpers, configuration, lines, natives=_natives(submission))
    near = () if claimed else nearest_lines(record)
    metrics = [line for log in record.logs for line in log.final_metrics]
    silent = nothing_reported(record)
    ledger = _with_lineage(testify(run, claimed, metrics, near, record, nothing_reported=silent), submission, tree)
    ledger = replace(
        ledger,
        notes=(*run.skipped.items(), *ledger.notes, *run.native.judged.items()),
        blind=(*ledger.blind, *_code_that_is_not_there(submission, record)),
    )
    stated = any(setting.source not in ("title", "readme text") for setting in configuration.environment.values())
    if not lines and not stated and not _by_what_it_does(ledger) and not _learned_first(ledger):
        opened = interpret(
            submission.script,
            submission.helpers,
            configuration,
            lines,
            open_switches=True,
            natives=_natives(submission),
        )
        return _with_open_switches(ledger, testify(opened, claimed, metrics, near, record, nothing_reported=silent))
    bare = _as_shipped(configuration)
    if silent and bare is not configuration and _certain(ledger):
        shipped = interpret(submission.script, submission.helpers, bare, lines, natives=_natives(submission))
        return _with_shipped_settings(ledger, testify(shipped, (), (), nothing_reported=True))
    return ledger


def _with_lineage(ledger: Ledger, submission: Submission, tree: ast.Module) -> Ledger:
    """Notes on functions that learn or score and are known from submissions that were ruled on."""
    assert submission.script is not None
    notes = lineage_notes(submission.script, evaluation_sites(ledger), tree)
    return replace(ledger, notes=(*ledger.notes, *notes))


def _code_that_is_not_there(submission: Submission, record: Record) -> list[Blind]:
    """What ran beside the submitted script, by what the logs count, cannot be seen."""
    from auditor.record.code_match import missing_code

    size = missing_code(record.logs, submission)
    if size is None or submission.script is None:
        return []
    reason = (
        f"every log counts more code than was submitted (at least {size.difference:,} of "
        f"{size.line.size_bytes:,} bytes, {PurePosixPath(size.log).name}): part of what ran is not in the folder"
    )
    return [Blind(reason, Site(submission.script.path, 0), RULES_OF_SCORING)]


def _learned_first(ledger: Ledger) -> bool:
    return any(entry.after for entry in ledger.scored)


def _by_what_it_does(ledger: Ledger) -> list[Violation]:
    """Violations by the evaluation, not by the model that it is given."""
    return [item for item in ledger.violations if item.kind != LOOKS_AHEAD]


def _with_open_switches(ledger: Ledger, opened: Ledger) -> Ledger:
    """Neither a log nor a command says how the script was run: what its switches would do is only possible."""
    doubt = "only with a switch that is off by default; neither a log nor a command shows how the script was run"
    scored = tuple(replace(entry, definite=False, doubt=doubt) for entry in opened.scored if entry.after)
    violations = tuple(replace(item, definite=False, doubt=doubt) for item in _by_what_it_does(opened))
    return replace(ledger, scored=ledger.scored + scored, violations=ledger.violations + violations)


def _as_shipped(configuration: RunConfiguration) -> RunConfiguration:
    """The configuration without what only the README says; the same object where that is nothing."""
    kept = {name: item for name, item in configuration.environment.items() if item.source not in _TOLD}
    return configuration if len(kept) == len(configuration.environment) else replace(configuration, environment=kept)


def _certain(ledger: Ledger) -> set[str]:
    """Codes of the rules that a ledger says are certainly broken."""
    learned = {"C3" for entry in ledger.scored if entry.after and entry.definite}
    return learned | {item.rule for item in ledger.violations if item.definite}


def _with_shipped_settings(ledger: Ledger, shipped: Ledger) -> Ledger:
    """Where no score is reported, what the script does only under a README's settings may not be what was submitted."""
    told = _certain(ledger) - _certain(shipped)
    doubt = "only with settings that the README gives, not with the script's own; no score is reported for either"
    scored = [
        replace(entry, definite=False, doubt=doubt) if "C3" in told and entry.after and entry.definite else entry
        for entry in ledger.scored
    ]
    violations = [
        replace(item, definite=False, doubt=doubt) if item.rule in told and item.definite else item
        for item in ledger.violations
    ]
    return replace(ledger, scored=tuple(scored), violations=tuple(violations))


def _natives(submission: Submission) -> native.Folder:
    """The C and C++ sources of the folder, each with its text."""
    stored = submission.by_role(Role.NATIVE)
    texts = {
        item.path: item.data.decode("utf-8", "replace")
        for item in stored
        if item.complete and item.data is not None and item.path.endswith(native.SOURCES)
    }
    prebuilt = any(item.path.endswith((*native.LIBRARIES, ".o", ".a")) for item in submission.files)
    return native.Folder(texts, prebuilt)


def interpret(
    script: SourceText,
    helpers: tuple[SourceText, ...],
    configuration: RunConfiguration,
    logged: LoggedLines | None = None,
    *,
    open_switches: bool = False,
    natives: native.Folder | None = None,
) -> Interpreter:
    """Run the abstract interpreter over a script that parses."""
    tree = _parse(script.text)
    if tree is None:
        raise SyntaxError(script.path)
    modules: dict[str, tuple[str, ast.Module]] = {}
    for helper in _reachable(script, helpers):
        parsed = _parse(helper.text)
        if parsed is not None:
            modules.setdefault(_stem(helper), (helper.path, parsed))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _RECURSION))
    try:
        environment = environment_of(script, configuration)
        run = Interpreter(script.path, tree, environment, modules, logged, open_switches, natives=natives)
        run.run()
    finally:
        sys.setrecursionlimit(limit)
    opaque = getattr(script, "opaque", "")
    if opaque:
        run.blind.append(Blind(str(opaque), Site(script.path, 0), RULES_OF_SCORING))
    return run


_LOADS_BY_NAME = re.compile(
    r"import_module|__import__|spec_from_|SourceFileLoader|run_path|run_module|(?<![\w.])(?:exec|compile)\("
)


def _reachable(script: SourceText, helpers: tuple[SourceText, ...]) -> list[SourceText]:
    """Helpers whose name occurs in the script or in another one of these: folders keep dozens of former versions.

    All of them where code is loaded by a name that may be put together.
    """
    reached: list[SourceText] = []
    rest, waiting = list(helpers), [script]
    while waiting and rest:
        source = waiting.pop()
        text = f"{source.wrapper}\n{source.text}"
        if _LOADS_BY_NAME.search(source.text):
            return list(helpers)
        found = [helper for helper in rest if _stem(helper) in text or helper.module in text]
        rest = [helper for helper in rest if helper not in found]
        reached += found
        waiting += found
    return [helper for helper in helpers if helper in reached]


def _stem(helper: SourceText) -> str:
    """The name of the stored file that a helper comes from."""
    return PurePosixPath(helper.path.split("!")[0]).stem


def environment_of(script: SourceText, configuration: RunConfiguration) -> Callable[[str], str | None]:
    """What ``os.environ.get(name)`` returned in the reported run; None where it was not set."""

    def lookup(name: str) -> str | None:
        if name in script.environment:
            return script.environment[name]
        if name in _FIRST_PROCESS:
            return _DISTRIBUTED[name]
        setting = configuration.lookup(name)
        if setting is not None:
            return setting.value
        return _DISTRIBUTED.get(name, script.environment_defaults.get(name))

    return lookup


def _parse(text: str) -> ast.Module | None:
    return syntax.parse(text).tree
