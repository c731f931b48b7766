"""README: its tables, its commands, and the scores it claims."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from auditor.record.model import Place, ReadmeCommand, ReadmeTable, SeedClaim
from auditor.record.shell import MAX_COMMANDS, commands_in
from auditor.submission.model import StoredFile
from auditor.submission.text import decode

MAX_CHARACTERS = 1024 * 1024
MAX_LINES = 20_000
MAX_LINE_CHARACTERS = 4_000
MAX_TABLES = 200
MAX_CELLS = 40

_FENCE = re.compile(r"\s{0,12}(```+|~~~+)\s{0,4}([\w+-]{0,20})")
_HEADING = re.compile(r"(#{1,6})\s{1,4}(\S.{0,300})")
_SEPARATOR = re.compile(r"\s{0,12}\|?\s{0,12}:?-{1,200}:?\s{0,60}(?:\|\s{0,60}:?-{1,200}:?\s{0,60}){0,40}\|?\s{0,60}$")
_MARKUP = re.compile(r"\*\*|__|`|~~|<[^>]{1,80}>|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)")
_LINK = re.compile(r"!?\[([^\]]{0,200})\]\([^)]{0,400}\)")
_BPB = (
    re.compile(
        r"val[_ -]?bpb\W{0,12}(?:\([^)]{0,40}\)\W{0,6})?(?:of|is|mean|score)?\W{0,6}(\d\.\d{2,12})", re.IGNORECASE
    ),
    re.compile(r"(?<![\d.−-])(?<![-+~±] )([012]\.\d{3,12})\W{0,6}(?:val[_ -]?)?(?:bpb|bits per byte)\b", re.IGNORECASE),
    re.compile(r"\b(?:bpb|bits per byte|score)\W{0,12}(?:of|is|mean|:)?\W{0,6}([012]\.\d{3,12})", re.IGNORECASE),
)
_NOT_OURS = re.compile(
    r"baseline|sota|previous|prior|merged|beats?\b|improv|delta|Δ|vs\.?\b|compared|pre-?quant|before|without|ablation|std|leaderboard|was\b|from\b|roundtrip|expected|target|"
    r"step:|\bnaive|stop\b|Q?gap|retract|withdr[ae]w|no longer|invalid|project(?:ed|ion|s)\b|estimate|hope",
    re.IGNORECASE,
)
_OF_ANOTHER = re.compile(
    r"\b(?:PR|pull request)s?\W{0,4}\d{1,5}\b(?:'s)?(?:[^.;:|,+—–()]{0,40}(?:\([^()]{0,60})?|[^()]{0,4}\([^()]{0,80})$",
    re.IGNORECASE,
)
"""In front of a number: "PR #462 architecture (1.0672 BPB)" gives the score of that pull request."""
_ITS_OWN = re.compile(r"\b(?:ours?|this|we|now|(?:and|to) (?:achiev|reach|get)\w{0,4})\b", re.IGNORECASE)
_STRUCK = re.compile(r"~~.{1,400}?~~|<(s|del|strike)>.{1,400}?</\1>", re.IGNORECASE)
_WITHDRAWN = re.compile(
    r"(?:\([^)]{0,40}\)|[^.;|,(]){0,60}?\b"
    r"(?:retracted|withdrawn|invalid|no longer valid|not valid|projected|placeholder)\b",
    re.IGNORECASE,
)
_NOT_KNOWN = re.compile(
    r"val[_ -]?bpb\W{0,12}(?:\([^)]{0,40}\)\W{0,6})?"
    r"(?:TBD|TBA|TODO|pending|awaiting|null|none yet|n/a|to be \w{2,20}|\?)(?!\w)",
    re.IGNORECASE,
)
_CHANGE_BEFORE = re.compile(r"[-+~±<>≤≥]\s?$")
_CHANGE_AFTER = re.compile(
    r"\W{0,4}(?:val_)?(?:bpb)?\W{0,3}(?:\w{4,16} (?=gap))?"
    r"(?:improve|better|gain|gap|worse|reduc|drop|lower|higher|over\b|of\b)",
    re.IGNORECASE,
)
_SEED_CELL = re.compile(r"(?:seed\s{0,4}[=:#]?\s{0,4})?(\d{1,6})(?:\s{0,4}\([^)]{0,40}\))?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Readme:
    """What the README says. `val_bpb` is the first score it claims as its own, the title first."""

    path: str = ""
    text: str = ""
    title: str = ""
    tables: tuple[ReadmeTable, ...] = ()
    commands: tuple[ReadmeCommand, ...] = ()
    val_bpb: float | None = None
    val_bpb_text: str = ""
    val_bpb_place: Place | None = None
    val_bpb_named: bool = False  # in the title, or behind the word val_bpb: no number met in passing
    seed_claims: tuple[SeedClaim, ...] = ()


def read_readme(files: Iterable[StoredFile], folder: str = "") -> Readme:
    """The README that stands highest in the record folder; an empty one when there is none."""
    ordered = sorted(
        files, key=lambda item: (item.path.count("/"), not item.path.lower().endswith("readme.md"), item.path)
    )
    for item in ordered:
        if item.data is not None:
            return parse_readme(item.path, decode(item.data))
    return Readme()


def parse_readme(path: str, text: str) -> Readme:
    """Tables, commands and claims of one README."""
    text = text[:MAX_CHARACTERS]
    lines = [(number, line[:MAX_LINE_CHARACTERS]) for number, line in enumerate(text.split("\n")[:MAX_LINES], 1)]
    prose, blocks = _blocks(lines)
    tables = tuple(_tables(prose, path))[:MAX_TABLES]
    commands = tuple(_commands(prose, blocks, path))
    score, score_text, score_line, named = _claimed(prose)
    return Readme(
        path=path,
        text=text,
        title=next((match[2].strip() for _, line in prose if (match := _HEADING.match(line))), ""),
        tables=tables,
        commands=commands,
        val_bpb=score,
        val_bpb_text=score_text,
        val_bpb_place=Place(path, score_line) if score is not None else None,
        val_bpb_named=named,
        seed_claims=tuple(seed_claims(tables, score)),
    )


Numbered = tuple[int, str]


@dataclass(frozen=True, slots=True)
class _Block:
    heading: str
    lines: tuple[Numbered, ...]


def _blocks(lines: Sequence[Numbered]) -> tuple[list[Numbered], list[_Block]]:
    """Prose lines and fenced code blocks; an unclosed fence runs to the end."""
    prose: list[Numbered] = []
    blocks: list[_Block] = []
    heading, fence = "", ""
    inside: list[Numbered] = []
    for number, line in lines:
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence) and not match[2]:
                blocks.append(_Block(heading, tuple(inside)))
                fence = ""
            else:
                inside.append((number, line))
            continue
        if match:
            fence, inside = match[1][:3], []
            continue
        if head := _HEADING.match(line):
            heading = head[2].strip()
        prose.append((number, line))
    if fence and inside:
        blocks.append(_Block(heading, tuple(inside)))
    return prose, blocks


def _commands(prose: Sequence[Numbered], blocks: Sequence[_Block], path: str) -> Iterator[ReadmeCommand]:
    found: list[ReadmeCommand] = []
    for block in blocks:
        found.extend(commands_in(block.lines, path, heading=block.heading))
    heading = ""
    for number, line in prose:
        if head := _HEADING.match(line):
            heading = head[2].strip()
        if ".py" in line:
            for code in re.findall(r"`([^`]{8,2000})`", line) or ([line] if line.startswith(("    ", "\t")) else []):
                found.extend(commands_in([(number, code)], path, heading=heading))
    found.sort(key=lambda command: command.place.line)
    yield from found[:MAX_COMMANDS]


def plain(cell: str) -> str:
    """A table cell without Markdown."""
    text = _LINK.sub(r"\1", re.sub(r"\\([_*~`|\[\]])", r"\1", cell))
    return " ".join(_MARKUP.sub("", text).split())


def _cells(line: str) -> tuple[str, ...]:
    parts = line.strip().strip("|").split("|")
    return tuple(plain(part)[:300] for part in parts[:MAX_CELLS])


def _tables(prose: Sequence[Numbered], path: str) -> Iterator[ReadmeTable]:
    index = 0
    while index + 1 < len(prose):
        number, line = prose[index]
        if (
            "|" in line
            and "-" in prose[index + 1][1]
            and "|" in prose[index + 1][1]
            and _SEPARATOR.match(prose[index + 1][1][:2000])
        ):
            rows, lines, after = [], [], index + 2
            while after < len(prose) and "|" in prose[after][1]:
                rows.append(_cells(prose[after][1]))
                lines.append(prose[after][0])
                after += 1
            yield ReadmeTable(_cells(line), tuple(rows), Place(path, number), tuple(lines))
            index = after
        else:
            index += 1


def _claimed(prose: Sequence[Numbered]) -> tuple[float | None, str, int, bool]:
    """The score the README claims, as written, its line, and whether it is named as the score.

    It stands in the title, else in the first lines that name one as its own. A README that says before it that the
    score is to be determined claims none.
    """
    candidates = [item for item in prose if not item[1].lstrip().startswith("|")][:400]
    titles = [item for item in candidates if item[1].startswith("#")][:1]
    for group in (titles, candidates):
        for number, line in group:
            clean = plain(_STRUCK.sub(" ", line))[:1500]
            for pattern in _BPB:
                for match in pattern.finditer(clean):
                    if _as_its_own(clean, match, in_title=group is titles) and 0.001 < float(match[1]) < 5:
                        return float(match[1]), match[1], number, group is titles or pattern is _BPB[0]
            if _NOT_KNOWN.search(clean):
                return None, "", 0, False
    title = plain(_STRUCK.sub(" ", titles[0][1])) if titles else ""
    bare = re.search(r"(?<![\d.])([01]\.\d{4,8})(?![\d.])", title)
    if bare:
        return float(bare[1]), bare[1], titles[0][0], True
    return None, "", 0, False


def _as_its_own(line: str, match: re.Match[str], *, in_title: bool) -> bool:
    """Whether a score is given as the submission's own: no other's, no change, nothing taken back or hoped for."""
    after = line[match.end(1) :]
    if _WITHDRAWN.match(after):
        return False
    if in_title:
        return True
    before = line[max(0, match.start() - 60) : match.start()]
    if _NOT_OURS.search(before) or _of_another(line[max(0, match.start() - 100) : match.start()]):
        return False
    changed = _CHANGE_BEFORE.search(line[max(0, match.start(1) - 3) : match.start(1)])
    return not (changed or _CHANGE_AFTER.match(after[:30]))


def _of_another(before: str) -> bool:
    """Whether what stands before a score names another pull request as the one that has it."""
    match = _OF_ANOTHER.search(before)
    return match is not None and not _ITS_OWN.search(before[max(0, match.start() - 20) :])


def seed_claims(tables: Iterable[ReadmeTable], claimed: float | None) -> Iterator[SeedClaim]:
    """Per-seed figures of the first table whose first column holds seeds.

    Of several bpb columns the one whose mean or best is the claimed score is taken.
    """
    for table in tables:
        column = _seed_column(table)
        if column is None:
            continue
        rows = [
            (index, row) for index, row in enumerate(table.rows) if column < len(row) and _SEED_CELL.match(row[column])
        ]
        if not rows:
            continue
        score = _score_column(table, [row for _, row in rows], claimed)
        loss = next((at for at, head in enumerate(table.header) if re.search(r"val[_ ]?loss|nats", head, re.I)), None)
        size = next((at for at, head in enumerate(table.header) if re.search(r"artifact|bytes|size", head, re.I)), None)
        for index, row in rows:
            match = _SEED_CELL.match(row[column])
            assert match is not None
            yield SeedClaim(
                seed=int(match[1]),
                val_bpb=_cell_number(row, score),
                val_loss=_cell_number(row, loss),
                artifact_bytes=_cell_bytes(row, size),
                place=Place(table.place.path, table.lines[index] if index < len(table.lines) else table.place.line),
            )
        return


def _seed_column(table: ReadmeTable) -> int | None:
    return next(
        (
            at
            for at, head in enumerate(table.header)
            if re.fullmatch(r"(?:random )?seeds?|run \(seed\)|seed #", head.strip(), re.I)
        ),
        None,
    )


def _score_column(table: ReadmeTable, rows: Sequence[Sequence[str]], claimed: float | None) -> int | None:
    columns = [
        at
        for at, head in enumerate(table.header)
        if re.search(r"bpb|bits per byte", head, re.I) and not re.search(r"Δ|delta|gain|std", head, re.I)
    ]
    if claimed is not None:
        for at in columns:
            values = [value for row in rows if (value := _cell_number(row, at)) is not None]
            if values and min(abs(sum(values) / len(values) - claimed), abs(min(values) - claimed)) < 2e-4:
                return at
    return columns[0] if columns else None


def cell_number(text: str) -> float | None:
    """The number that a cell begins with ("1.0282", "15,995,184 B", "~1.07", "1,0282"); None when it does not."""
    if comma := re.match(r"[~≈]?\s{0,2}(\d{1,2}),(\d{4,10})(?![\d,])", text):  # four digits: no thousands
        return float(f"{comma[1]}.{comma[2]}")
    match = re.match(r"[~≈]?\s{0,2}(-?\d{1,3}(?:,\d{3}){1,4}|-?\d{1,12})(\.\d{1,15})?", text)
    return float(match[1].replace(",", "") + (match[2] or "")) if match else None


def _cell_number(row: Sequence[str], column: int | None) -> float | None:
    return cell_number(row[column]) if column is not None and column < len(row) else None


def _cell_bytes(row: Sequence[str], column: int | None) -> int | None:
    value = _cell_number(row, column)
    return int(value) if value is not None and value >= 10_000 else None
