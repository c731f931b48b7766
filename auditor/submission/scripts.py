"""Which python file produced the score, and what its text is once opened."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from auditor.submission.decompress import Budget
from auditor.submission.model import Problem, Role, SourceText, StoredFile
from auditor.submission.text import decode, decode_source
from auditor.submission.unpack import Opened, may_hide_code, open_source

_LAUNCHER = re.compile(
    r"torchrun|torch\.distributed\.(?:run|launch)|accelerate\s+launch|\bpython[\d.]{0,8}\s|\buv\s+run"
)
_PYTHON_FILE = re.compile(r"(?<![\w/.-])[\w./-]{1,200}\.py\b")
_COMMAND_END = re.compile(r"[;&|`#]")
_SCORES = re.compile(r"val_bpb|val_loss|bits.per.byte", re.IGNORECASE)
_TRAINER = re.compile(r"train|gpt|submission|main|run", re.IGNORECASE)
_TWIN = re.compile(
    r"human|readable|decoded|decompressed|unpacked|unminified|source|pretty|commented|orig", re.IGNORECASE
)
_READ_CHARACTERS = 200_000  # of a README or a log's head, searched for commands
_LINE_CHARACTERS = 4_000
_WORD = re.compile(r"\w+")
_OPENED_CHARACTERS = 1_500_000  # of all helpers that are opened

_Reader = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class ScriptChoice:
    """The script, the stored file it begins in, why it was chosen, the other sources, and what could not be read."""

    script: SourceText | None
    stored: str = ""
    reason: str = ""
    helpers: tuple[SourceText, ...] = ()
    problems: tuple[Problem, ...] = ()


def choose_script(folder: str, files: Sequence[StoredFile], read_elsewhere: _Reader) -> ScriptChoice:
    """The source that produced the score, among the python files of `folder`.

    train_gpt.py, unless README or logs only ever run another file; without one, the file they run, or the one that
    looks most like a trainer. `read_elsewhere` returns a file of the same tree by its path from the root.
    """
    python = {item.path: item for item in files if item.role is Role.HELPER and item.data is not None and not item.tail}
    sources = {path: item for path, item in python.items() if _text(item).strip()}
    path, reason, problems = _choose(folder, files, sources)
    if path is None and python and not sources:
        reason = f"{min(python)} is an empty file"
    if path is None:
        return ScriptChoice(None, "", reason, _helpers(sources, None, read_elsewhere), (Problem(folder, reason),))
    read = _reader(files, read_elsewhere)
    opened = open_source(path, sources[path].data or b"", read)
    run = {path, opened.source.path.partition("!")[0], *(helper.path for helper in opened.helpers)}
    beside = _helpers({place: item for place, item in sources.items() if place not in run}, opened, read)
    helpers = (*opened.helpers, *beside)
    if opened.source.path.partition("!")[0] != path:
        reason = f"{reason}; it runs {opened.source.path}"
    return ScriptChoice(opened.source, path, reason, helpers, (*problems, *opened.problems))


def _choose(
    folder: str, files: Sequence[StoredFile], sources: Mapping[str, StoredFile]
) -> tuple[str | None, str, list[Problem]]:
    if not sources:
        return None, "no python source", []
    usual = min(
        (path for path in sources if PurePosixPath(path).name == "train_gpt.py"),
        key=lambda path: (path.count("/"), path),
        default=None,
    )
    commanded = _commanded(folder, files, sources)
    if usual is not None and (usual in commanded or not commanded):
        others = sorted(path for path in set(commanded) - {usual} if _SCORES.search(_text(sources[path])))
        if not others:
            return usual, "train_gpt.py", []
        message = f"README or logs also run {', '.join(others[:5])}"
        return usual, "train_gpt.py", [Problem(usual, message)]
    scoring = [path for path in commanded if _SCORES.search(_text(sources[path]))]
    if scoring:
        best = scoring[0]
        if usual is None:
            return best, f"no train_gpt.py; README or logs run {best}", [Problem(folder, "no train_gpt.py")]
        return best, f"README or logs run {best}, not {usual}", [Problem(usual, f"not run: README or logs run {best}")]
    if usual is not None:
        return usual, "train_gpt.py", []
    return _most_like_a_trainer(folder, sources)


def _most_like_a_trainer(folder: str, sources: Mapping[str, StoredFile]) -> tuple[str | None, str, list[Problem]]:
    scored = [path for path in sources if _SCORES.search(_text(sources[path]))]
    if not scored:
        return None, "no train_gpt.py and no other script that prints a score", []

    def likeness(path: str) -> tuple[bool, bool, bool, int, str]:
        name = PurePosixPath(path).name
        trainer = name.startswith("train")
        return trainer, bool(_TRAINER.search(name)), not _TWIN.search(name), -path.count("/"), path

    best = max(scored, key=likeness)
    reason = f"no train_gpt.py; {best} looks most like the script that scored"
    return best, reason, [Problem(folder, f"no train_gpt.py; {best} is audited")]


def _commanded(folder: str, files: Sequence[StoredFile], sources: Mapping[str, StoredFile]) -> list[str]:
    """Sources of the folder that commands in README, shell scripts and logs run, most often named first."""
    named: Counter[str] = Counter()
    for item in files:
        if item.role in (Role.README, Role.SHELL, Role.LOG) and item.data:
            head = decode(item.data[:_READ_CHARACTERS])
            named.update(filter(None, (_source_named(folder, name, sources) for name in _run_files(head))))
    return [path for path, _ in named.most_common()]


def _run_files(text: str) -> Iterator[str]:
    """The python files that command lines in `text` run; a backslash continues a line."""
    for line in text.replace("\\\n", " ").split("\n"):
        for command in _COMMAND_END.split(line[:_LINE_CHARACTERS]):
            if (launcher := _LAUNCHER.search(command)) and (name := _PYTHON_FILE.search(command, launcher.end())):
                yield name.group()


def _source_named(folder: str, name: str, sources: Mapping[str, StoredFile]) -> str | None:
    """The source that a command means by a path relative to the root, to the folder, or somewhere on another disk."""
    plain = name.removeprefix("./")
    for candidate in (plain, f"{folder}/{plain}" if folder else plain):
        if candidate in sources:
            return candidate
    base = PurePosixPath(plain).name
    direct = f"{folder}/{base}" if folder else base
    return direct if direct in sources else None


def _text(item: StoredFile) -> str:
    return decode(item.data or b"")


def _reader(files: Sequence[StoredFile], elsewhere: _Reader) -> _Reader:
    here = {item.path: item.data for item in files if item.data is not None and not item.tail}
    return lambda path: here[path] if path in here else elsewhere(path)


def _helpers(chosen: Mapping[str, StoredFile], opened: Opened | None, read: _Reader) -> tuple[SourceText, ...]:
    """The python files beside the script; those that it may import are opened where they could hide something."""
    texts = {path: decode_source(item.data or b"")[0] for path, item in sorted(chosen.items())}
    named = _named_sources(texts, opened) if opened else set()
    budget = Budget()
    helpers: list[SourceText] = []
    for path, text in texts.items():
        data = chosen[path].data or b""
        if path not in named or not may_hide_code(text):
            helpers.append(SourceText(path, text, hashlib.sha256(data).hexdigest()))
            continue
        found = open_source(path, data, read, budget)
        helpers.extend((found.source, *found.helpers))
    return tuple(helpers)


def _named_sources(texts: Mapping[str, str], opened: Opened) -> set[str]:
    """Files whose module name the script, or a file that it names, has as a word."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for path in texts:
        by_stem[PurePosixPath(path).stem].append(path)
    named: set[str] = set()
    pending = [opened.source.text, *(helper.text for helper in opened.helpers)]
    characters = 0
    while pending:
        words = set(_WORD.findall(pending.pop()))
        fresh = {path for stem in by_stem.keys() & words for path in by_stem[stem]} - named
        for path in sorted(fresh):
            characters += len(texts[path])
            if characters > _OPENED_CHARACTERS:
                return named
            named.add(path)
            pending.append(texts[path])
    return named
