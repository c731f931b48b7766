"""Logged sizes in bytes: the submission's total, the compressed model, the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from auditor.record.lines import Line, keyed_numbers, place
from auditor.record.model import Place, SizeLine

_COUNT = r"(\d{1,3}(?:,\d{3}){1,4}|\d{1,13})"
_UNIT = r"\s{0,4}(?:bytes\b|B\b)"
_RAW_LABELS = ("raw", "fp32", "bf16", "fp32/bf16", "uncompressed", "fp16")
_TOTAL = re.compile(
    r"(?:Total (?:submission|artifact)(?: size)?|Submission size|Total size|Artifact(?: size)?(?: total)?|"
    r"total_submission_size)"
    rf"[ \t]{{0,4}}((?:[^:=]|=(?=\d{{1,2}}\))){{0,60}}?)\s{{0,4}}[:=]\s{{0,20}}{_COUNT}{_UNIT}",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"\s{0,12}(?:Serialized|Compressed|Quantized|Saved)(?: compressed)?(?: model| artifact| weights)?[ \t]{0,4}"
    rf"([^:=]{{0,60}}?)\s{{0,4}}[:=]\s{{0,20}}{_COUNT}{_UNIT}",
    re.IGNORECASE,
)
_CODE = re.compile(
    rf"\bCode(?: size)?[ \t]{{0,4}}(\([^)]{{0,40}}\))?\s{{0,4}}[:=]\s{{0,20}}{_COUNT}{_UNIT}", re.IGNORECASE
)
_CODE_CHAIN = re.compile(r"\bCode: (\d{1,9}) raw\b.{0,40}?\b(\d{1,9}) (?:lzma|brotli|zlib)\b", re.IGNORECASE)
_FITS = re.compile(r"^(?:FITS|OVER)\s?:\s{0,4}(\d{4,10}) <?>?=? ?16,?000,?000")
_INLINE_TOTAL = re.compile(rf"\bTotal\s{{0,2}}:\s{{0,4}}{_COUNT}{_UNIT}", re.IGNORECASE)
_KEYS = {
    "total_artifact_bytes": "total",
    "artifact_bytes": "total",
    "final_submission_bytes": "total",
    "total_submission_bytes": "total",
    "submission_bytes": "total",
    "total_bytes": "total",
    "bytes_total": "total",
    "artifact_size": "total",
    "budget": "total",
    "compressed_blob_bytes": "model",
    "compressed_model_bytes": "model",
    "model_bytes": "model",
    "quant_bytes": "model",
    "quantized_model_bytes": "model",
    "code_bytes": "code",
    "bytes_code": "code",
    "code_size": "code",
}
_BUDGET = re.compile(r"^budget:(\d{4,10})/\d{4,10}\b")
_SUM = re.compile(r"\b(\d{4,10})B model \+ (\d{2,10})B code = (\d{4,10})B\b")
_PARTS = {"model": "model", "artifact": "model", "code": "code", "total": "total"}
_ALONE = re.compile(rf"(total|code|q|eval:qsize):{_COUNT}B$")  # "total:15916181B", each on a line of its own
_ALONE_KINDS = {"total": "total", "code": "code", "q": "model", "eval:qsize": "model"}
_MLX_MODEL = re.compile(rf"serialized_model_(?!raw)(\w{{1,40}}):{_COUNT} bytes\b")
_QUICK = (
    "FITS",
    "OVER",
    "bytes",
    "Bytes",
    "BYTES",
    "Code",
    "code:",
    "budget:",
    "total:",
    "total=",
    "q:",
    "qsize:",
    "B model",
)


def size_lines(line: Line, path: str) -> Iterator[SizeLine]:
    """The sizes that one line states. The unlabelled total is "total_raw" until the whole log is known."""
    text = line.text
    if not any(word in text for word in _QUICK):
        return
    where = place(path, line)
    found = False
    if match := _SUM.search(text):
        for kind, digits in zip(("model", "code", "total"), match.groups(), strict=True):
            yield SizeLine(kind, "", int(digits), where)
        return
    if match := _BUDGET.match(text):
        yield SizeLine("total", "budget", int(match[1]), where)
        return
    if match := _FITS.match(text):
        yield SizeLine("total", "", int(match[1]), where)
        return
    if match := _ALONE.match(text):
        yield SizeLine(_ALONE_KINDS[match[1]], "", _integer(match[2]), where)
        return
    if match := _MLX_MODEL.match(text):
        yield SizeLine("model", match[1], _integer(match[2]), where)
        return
    if match := _CODE_CHAIN.search(text):
        yield SizeLine("code", "raw", int(match[1]), where)
        yield SizeLine("code_compressed", "lzma", int(match[2]), where)
        return
    for match in _TOTAL.finditer(text):
        found = True
        label = match[1].strip()
        kind = "total_raw" if _is_raw(label) or (not label and "ubmission size" in match[0]) else "total"
        yield SizeLine(kind, label, _integer(match[2]), where)
    if match := _MODEL.match(text):
        found = True
        label = match[1].strip()
        small = re.search(r"(?<!un)compressed|quantized", match[0], re.IGNORECASE)
        raw = _is_raw(label) or (not label and not small)
        yield SizeLine("model_raw" if raw else "model", label, _integer(match[2]), where)
    for match in _CODE.finditer(text):
        found = True
        label = (match[1] or "").strip("() ")
        kind = "code_compressed" if "compress" in label and "un" not in label else "code"
        yield SizeLine(kind, label, _integer(match[2]), where)
    if found:
        for match in _INLINE_TOTAL.finditer(text):
            yield SizeLine("total", "", _integer(match[1]), where)
        return
    yield from _keyed_sizes(text, where)


def _keyed_sizes(text: str, where: Place) -> Iterator[SizeLine]:
    """``code_bytes:59488``, and ``model:15812744 code:51972 total:15864716`` where at least two of the three stand.

    Beside a total, ``artifact`` is the model without its code.
    """
    items = [item for item in keyed_numbers(text) if item.text.replace(",", "").isdigit()]
    parts = [item for item in items if item.key.lower() in _PARTS and item.unit in ("", "b")]
    if not any(item.key.lower() == "total" for item in parts):
        parts = [item for item in parts if item.key.lower() != "artifact"]
    if len({item.key.lower() for item in parts}) >= 2 or (parts and "code_bytes" in text):
        label = text[: parts[0].start].strip(" :")[:40]
        for item in parts:
            yield SizeLine(_PARTS[item.key.lower()], label, int(item.value), where)
    for item in items:
        if (kind := _KEYS.get(item.key.lower())) and item.unit in ("", "b", "bytes"):
            yield SizeLine(kind, item.key, int(item.value), where)


def _is_raw(label: str) -> bool:
    return label.lower().strip("() ") in _RAW_LABELS


def _integer(digits: str) -> int:
    return int(digits.replace(",", ""))


def settle_totals(sizes: list[SizeLine]) -> list[SizeLine]:
    """Without a labelled total, an unlabelled one that is not model_raw + code is the submission's total."""
    if any(item.kind == "total" for item in sizes):
        return sizes
    raw = {item.size_bytes for item in sizes if item.kind == "model_raw"}
    code = {item.size_bytes for item in sizes if item.kind.startswith("code")}
    uncompressed = {model + counted for model in raw for counted in code | {0}}
    compressed = any(item.kind == "model" for item in sizes)
    settled = []
    for item in sizes:
        if item.kind == "total_raw" and not _is_raw(item.label) and (compressed or item.size_bytes not in uncompressed):
            item = replace(item, kind="total")
        settled.append(item)
    return settled
