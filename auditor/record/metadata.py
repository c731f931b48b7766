"""submission.json: there is no schema, so every spelling that submissions use is read into one `Statement`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from auditor.record.loose_json import LooseDocument, read_loose_json
from auditor.record.model import Place, SeedClaim, Statement
from auditor.record.readme import Readme
from auditor.submission.model import StoredFile
from auditor.submission.text import decode

_BPB_KEYS = (
    "val_bpb",
    "mean_val_bpb",
    "val_bpb_mean",
    "val_bpb_3seed_mean",
    "three_seed_mean_bpb",
    "mean_bpb",
    "bpb_mean",
    "bpb",
    "score",
    "val_bpb_exact",
    "final_val_bpb",
    "best_val_bpb",
    "best_bpb",
)
_CONTAINERS = (
    "",
    "results.",
    "result.",
    "metrics.",
    "final.",
    "scores.",
    "summary.",
    "evaluation.",
    "performance.",
    "mean.",
    "aggregate.",
)
_LOSS_KEYS = ("val_loss", "mean_val_loss", "val_loss_mean", "val_loss_nats", "val_loss_3seed_mean")
_NOT_THE_SCORE = re.compile(
    r"delta|std|pre_|baseline|base_|sota|compar|prior|previous|improve|gain|reference|parent|target|roundtrip|min|max|"
    r"threshold|margin|diff|before|ablation|limit|worst|leaderboard|official|reproduc",
    re.IGNORECASE,
)
_NO_CLAIM = re.compile(
    r"retract|withdr[ae]w|invalid|project|pending|expect|estimat|forecast|placeholder", re.IGNORECASE
)
"""In the name of a field: the numbers below it are taken back, or hoped for."""
_TOTAL_KEYS = (
    "bytes_total",
    "artifact_bytes",
    "artifact_bytes_max",
    "artifact_size_bytes",
    "total_bytes",
    "bytes_total_max",
    "total_submission_bytes",
    "total_submission_bytes_max",
    "submission_bytes",
    "total_artifact_bytes",
    "artifact_size_bytes_max",
    "max_artifact_bytes",
    "artifact_total_bytes",
    "artifact_bytes_mean",
)
_CODE_KEYS = ("bytes_code", "code_bytes", "code_size_bytes", "bytes_code_compressed")
_MODEL_KEY = re.compile(
    r"(?:bytes_model\w{0,40}|model_bytes|model_size_bytes|compressed_model_bytes|compressed_size_bytes|quantized_model_bytes)$"
)
_TRAIN_KEY = re.compile(
    r"(?:wallclock|train(?:ing)?_(?:time|wallclock)|training|train)_?(?P<unit>seconds|s|ms|minutes|min)(?:_max|_mean)?$"
)
_EVAL_KEY = re.compile(r"(?:total_)?eval(?:uation)?(?:_time)?_?(?P<unit>seconds|s|ms|minutes|min)(?:_max|_mean)?$")
_UNIT_SECONDS = {"seconds": 1.0, "s": 1.0, "ms": 1e-3, "minutes": 60.0, "min": 60.0}
_SEED_KEY = re.compile(r"(?:seed[_ -]?)?(\d{1,6})$", re.IGNORECASE)
_SEED_SUFFIX = re.compile(r"(?:val_)?bpb_?(?:s|seed_?)(\d{1,6})$|seed_?(\d{1,6})_?(?:val_)?bpb$", re.IGNORECASE)
_SEED_FIELDS = (
    "seeds",
    "seed_results",
    "per_seed",
    "per_seed_results",
    "results",
    "val_bpb_per_seed",
    "runs",
    "val_bpb_seeds",
    "seed_bpbs",
    "val_bpb_by_seed",
)
_PLAUSIBLE_BPB = (1e-4, 12.0)
_BPB_AS_LOSS = (0.5, 1.6)  # a val_loss in this range, without any bpb beside it, is a bpb put into the wrong field
MAX_SEEDS = 200


def read_statement(files: Iterable[StoredFile], readme: Readme) -> tuple[Statement, tuple[str, ...]]:
    """The claim of the submission.json that stands highest, else of the README, and what was wrong with it."""
    ordered = sorted(files, key=lambda item: (item.path.count("/"), item.path))
    for item in ordered:
        if item.data is None:
            continue
        document = read_loose_json(decode(item.data).lstrip("\ufeff"))
        problems = tuple(f"{item.path}: {problem}" for problem in document.problems)
        if isinstance(document.value, (dict, list)):
            return _statement(document, item.path, readme), problems
        return _from_readme(readme), problems
    return _from_readme(readme), ()


def _from_readme(readme: Readme) -> Statement:
    return Statement(
        val_bpb=readme.val_bpb,
        val_bpb_place=readme.val_bpb_place,
        val_bpb_text=readme.val_bpb_text,
        val_bpb_key="README" if readme.val_bpb is not None else "",
        name=readme.title,
        seeds=readme.seed_claims,
    )


def _statement(document: LooseDocument, path: str, readme: Readme) -> Statement:
    fields = document.fields
    places = {key: Place(path, line) for key, line in document.lines.items()}
    found = _score(document)
    seeds = _seeds(document, path, found.value if found else None)
    if found is None and (values := [seed.val_bpb for seed in seeds if seed.val_bpb is not None]):
        found = _Score(math.fsum(values) / len(values), seeds[0].place, "mean of the seeds", "")
    left_open = _left_open(fields)
    if found is None and readme.val_bpb is not None and (readme.val_bpb_named or not left_open):
        found = _Score(readme.val_bpb, readme.val_bpb_place, "README", readme.val_bpb_text)
    loss = _first_number(fields, _LOSS_KEYS)
    if found and loss is not None and (found.key == "val_loss" or loss == found.value):
        loss = None  # it holds the bpb
    place = found.place if found else None
    return Statement(
        val_bpb=found.value if found else None,
        val_bpb_place=place or (places.get(found.key) if found else None),
        val_bpb_text=found.text if found else "",
        val_bpb_key=found.key if found else "",
        val_loss=loss,
        name=_first_text(fields, ("name", "submission_name", "title", "run_name", "model_name")),
        seeds=tuple(seeds) or (() if found is None and left_open else readme.seed_claims),
        artifact_bytes=_first_bytes(fields, _TOTAL_KEYS),
        model_bytes=_model_bytes(fields),
        code_bytes=_first_bytes(fields, _CODE_KEYS),
        train_seconds=_duration(fields, _TRAIN_KEY),
        eval_seconds=_duration(fields, _EVAL_KEY),
        compliance=_compliance(fields),
        fields=fields,
        places=places,
    )


def _left_open(fields: Mapping[str, object]) -> bool:
    """Whether the field for the score is there and holds none: null, "TBD", 0.0."""
    return any(name in fields and as_bpb(fields[name]) is None for name in ("val_bpb", "mean_val_bpb", "val_bpb_mean"))


@dataclass(frozen=True, slots=True)
class _Score:
    value: float
    place: Place | None
    key: str
    text: str


def _score(document: LooseDocument) -> _Score | None:
    """The claimed bpb: the known keys first, then any key that speaks of a mean bpb, then a bpb in `val_loss`."""
    fields = document.fields
    for container in _CONTAINERS:
        for key in _BPB_KEYS:
            name = container + key
            if name in fields and (value := as_bpb(fields[name])) is not None:
                return _Score(value, None, name, str(fields[name]))
            if (value := _mean_below(fields, name)) is not None:
                return _Score(value, None, name, "")
    candidates = [
        (key, value)
        for key, raw in fields.items()
        if "bpb" in _leaf(key).lower()
        and not (_NOT_THE_SCORE.search(key) or _NO_CLAIM.search(key))
        and (value := as_bpb(raw)) is not None
    ]
    means = [item for item in candidates if "mean" in item[0].lower() or "avg" in item[0].lower()]
    plain = [item for item in candidates if item[0].count(".") == 0]
    for chosen in (means, plain):
        if chosen:
            return _Score(chosen[0][1], None, chosen[0][0], str(fields[chosen[0][0]]))
    loss = as_bpb(fields.get("val_loss"))
    if loss is not None and _BPB_AS_LOSS[0] <= loss <= _BPB_AS_LOSS[1]:
        return _Score(loss, None, "val_loss", str(fields["val_loss"]))
    return None


def _mean_below(fields: Mapping[str, object], name: str) -> float | None:
    """The mean of ``{"val_bpb": {"mean": ..}}`` or ``{"val_bpb": {"42": .., "314": ..}}``."""
    for key in ("mean", "avg", "average", "value", "3seed_mean"):
        if (value := as_bpb(fields.get(f"{name}.{key}"))) is not None:
            return value
    prefix = name + "."
    values = [
        value
        for key, raw in fields.items()
        if key.startswith(prefix) and (value := as_bpb(raw)) is not None and _SEED_KEY.match(_leaf(key))
    ]
    return math.fsum(values) / len(values) if values else None


def as_bpb(value: object) -> float | None:
    """A bpb from a number or a text that begins with one ("1.0272 (3-seed mean)"); None for "TBD", null, booleans."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        match = re.match(r"\s{0,10}[~≈=]?\s{0,4}(\d{1,3}[.,]\d{1,20})", value)  # a bpb has no thousands
        if not match:
            return None
        value = float(match[1].replace(",", "."))
    if isinstance(value, (int, float)) and _PLAUSIBLE_BPB[0] < value < _PLAUSIBLE_BPB[1]:
        return float(value)
    return None


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def as_number(value: object) -> float | None:
    """A number, or text that is one ("15,995,184", "588 s", "15995184 bytes")."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        match = re.match(
            r"\s{0,10}[~≈]?\s{0,4}(\d{1,3}(?:,\d{3}){1,5}|\d{1,15})(\.\d{1,12})?(?:\s{0,4}[A-Za-z]{1,10})?\s{0,10}$",
            value,
        )
        if match:
            return float(match[1].replace(",", "") + (match[2] or ""))
    return None


def _first_number(fields: Mapping[str, object], keys: Sequence[str]) -> float | None:
    for container in _CONTAINERS[:3]:
        for key in keys:
            if (value := as_number(fields.get(container + key))) is not None:
                return value
    return None


def _first_bytes(fields: Mapping[str, object], keys: Sequence[str]) -> int | None:
    for container in ("", "results.", "artifact.", "size.", "sizes.", "metrics."):
        for key in keys:
            value = as_number(fields.get(container + key))
            if value is not None and value >= 100:
                return int(value)
    return None


def _model_bytes(fields: Mapping[str, object]) -> int | None:
    for key, raw in fields.items():
        if _MODEL_KEY.fullmatch(_leaf(key)) and (value := as_number(raw)) is not None:
            return int(value)
    return None


def _first_text(fields: Mapping[str, object], keys: Sequence[str]) -> str:
    return next((value[:200] for key in keys if isinstance(value := fields.get(key), str) and value.strip()), "")


def _duration(fields: Mapping[str, object], pattern: re.Pattern[str]) -> float | None:
    for key, raw in fields.items():
        if key.count(".") <= 1 and (match := pattern.fullmatch(_leaf(key).lower())):
            value = as_number(raw)
            if value is not None:
                return value * _UNIT_SECONDS[match["unit"]]
    return None


def _compliance(fields: Mapping[str, object]) -> dict[str, bool]:
    declared = {}
    for key, value in fields.items():
        if isinstance(value, bool) and (key.startswith("compliance.") or key.count(".") == 0):
            declared[key.removeprefix("compliance.")] = value
    return declared


def _seeds(document: LooseDocument, path: str, claimed: float | None) -> list[SeedClaim]:
    """Per-seed figures in every shape that submissions use, by seed; later shapes only fill gaps."""
    rows: dict[int, dict[str, object]] = {}
    where: dict[int, Place] = {}

    def add(seed: int, row: Mapping[str, object], key: str) -> None:
        if seed in rows or len(rows) < MAX_SEEDS:
            rows.setdefault(seed, {}).update({k: v for k, v in row.items() if k not in rows.get(seed, {})})
            where.setdefault(seed, Place(path, document.lines.get(key, 0)))

    _collect(document.value, "", add)
    if isinstance(document.value, dict):
        _parallel(document.value, add)
    key = _seed_score_key(rows, claimed)
    return [
        SeedClaim(
            seed=seed,
            val_bpb=_row_bpb(row, key),
            val_loss=_row_loss(row, key),
            artifact_bytes=_row_bytes(row),
            place=where[seed],
        )
        for seed, row in rows.items()
    ]


_Add = Callable[[int, Mapping[str, object], str], None]


def _collect(value: object, path: str, add: _Add) -> None:
    """Walk the document for ``{"42": ..}``, ``{"seed_42": ..}``, ``[{"seed": 42, ..}]`` and ``val_bpb_seed_42``."""
    pending: list[tuple[object, str]] = [(value, path)]
    while pending:
        node, here = pending.pop(0)
        items: Iterable[tuple[str, object]] = ()
        if isinstance(node, dict):
            items = ((str(key), child) for key, child in node.items())
        elif isinstance(node, list):
            items = ((str(index), child) for index, child in enumerate(node))
        in_list = isinstance(node, list)
        for key, child in items:
            inner = f"{here}.{key}" if here else key
            if _NO_CLAIM.search(key):
                continue
            seed = None if in_list else _seed_of_key(key, _leaf(here))
            if isinstance(child, dict):
                stated = child.get("seed")
                if (
                    isinstance(stated, (int, str))
                    and not isinstance(stated, bool)
                    and re.fullmatch(r"\d{1,6}", str(stated))
                ):
                    seed = int(stated)
                if seed is not None:
                    add(seed, child, inner)
                else:
                    pending.append((child, inner))
            elif isinstance(child, list):
                pending.append((child, inner))
            elif seed is not None and as_bpb(child) is not None and _is_score_parent(here):
                add(seed, {"val_bpb": child}, inner)
            elif not in_list and (match := _SEED_SUFFIX.fullmatch(key)) and as_bpb(child) is not None:
                add(int(match[1] or match[2]), {"val_bpb": child}, inner)


def _seed_of_key(key: str, parent: str) -> int | None:
    match = _SEED_KEY.fullmatch(key.strip())
    if not match:
        return None
    if key.lower().startswith("seed"):
        return int(match[1])
    known = parent.lower()
    return int(match[1]) if known in _SEED_FIELDS or "seed" in known or "bpb" in known else None


def _is_score_parent(path: str) -> bool:
    parent = path.lower()
    return not parent or (
        "loss" not in parent
        and "byte" not in parent
        and "time" not in parent
        and not re.search(r"pre_|sliding|std", parent)
    )


def _parallel(root: Mapping[str, object], add: _Add) -> None:
    """``"seeds": [42, 314]`` beside ``"val_bpb_per_seed": [1.02, 1.03]``."""
    seeds = root.get("seeds", root.get("seed"))
    listed = seeds if isinstance(seeds, list) else [seeds]
    numbers = [int(str(item)) for item in listed if re.fullmatch(r"\d{1,6}", str(item)) and not isinstance(item, bool)]
    if not numbers or len(numbers) != len(listed):
        return
    key = "seeds" if "seeds" in root else "seed"
    values: list[object] = [None] * len(numbers)
    for name, candidate in root.items():
        if (
            isinstance(candidate, list)
            and len(candidate) == len(numbers)
            and "bpb" in name.lower()
            and not re.search(r"pre_|sliding", name)
        ):
            values = list(candidate)
            break
    for seed, value in zip(numbers, values, strict=True):
        add(seed, {"val_bpb": value} if as_bpb(value) is not None else {}, key)


def _seed_score_key(rows: Mapping[int, Mapping[str, object]], claimed: float | None) -> str:
    """The key of the per-seed rows that carries the claim: its mean or best equals the claimed score."""
    names = {
        name: None
        for row in rows.values()
        for name in row
        if "bpb" in name.lower() and not re.search(r"delta|std|gain", name, re.I)
    }
    if "val_bpb" in names or not names:
        return "val_bpb"
    if claimed is not None:
        for name in names:
            values = [value for row in rows.values() if (value := as_bpb(row.get(name))) is not None]
            if values and min(abs(math.fsum(values) / len(values) - claimed), abs(min(values) - claimed)) < 2e-4:
                return name
    preferred = [name for name in names if not _NOT_THE_SCORE.search(name)]
    return preferred[0] if preferred else next(iter(names))


def _row_bpb(row: Mapping[str, object], key: str) -> float | None:
    for name in (key, "val_bpb", "bpb"):
        if (value := as_bpb(row.get(name))) is not None:
            return value
    return None


def _row_loss(row: Mapping[str, object], key: str) -> float | None:
    for name in (key.replace("bpb", "loss"), "val_loss", "loss"):
        if (value := as_number(row.get(name))) is not None:
            return value
    return None


def _row_bytes(row: Mapping[str, object]) -> int | None:
    for name in (
        "artifact_bytes",
        "bytes_total",
        "total_bytes",
        "artifact_size_bytes",
        "total_submission_bytes",
        "artifact",
        "submission_bytes",
    ):
        if (value := as_number(row.get(name))) is not None and value >= 100:
            return int(value)
    return None
