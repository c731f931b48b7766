"""Ways of doctoring a legal submission folder, each as a change of its files.

All of them start from a folder that ships its artifact, three logs, and a mean over three seeds. They stand for what a
dishonest author would do: change the claim, change the evidence with it, or put another artifact beside both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ARTIFACT, CLAIM, README, SEED = "final_model.int6.ptz", "submission.json", "README.md", "1337"
LOG = f"train_seed{SEED}.log"
BETTER_BPB = 0.05  # far beyond any noise
SLIGHTLY_BETTER_BPB = 0.003  # what records are won by
FEWER_BYTES = 9_000

Files = dict[str, bytes]


@dataclass(frozen=True)
class Doctoring:
    """A name, what was changed in words, and the change."""

    name: str
    change: Callable[[Files, Mapping[str, bytes]], Files]


def _edited(files: Files, name: str, edit: Callable[[str], str]) -> Files:
    text = files[name].decode()
    changed = edit(text)
    assert changed != text, f"{name} was to be changed"
    return {**files, name: changed.encode()}


def _claim(files: Files) -> dict[str, object]:
    content = json.loads(files[CLAIM])
    assert isinstance(content, dict)
    return content


def _with_claim(files: Files, claim: Mapping[str, object]) -> Files:
    return {**files, CLAIM: (json.dumps(claim, indent=2) + "\n").encode()}


def _score_in_json(files: Files, others: Mapping[str, bytes]) -> Files:
    claim = _claim(files)
    return _with_claim(files, {**claim, "val_bpb": round(_number(claim["val_bpb"]) - BETTER_BPB, 8)})


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _seed_score_in_json(files: Files, others: Mapping[str, bytes]) -> Files:
    claim = _claim(files)
    results = claim["seed_results"]
    assert isinstance(results, dict)
    own = dict(results[SEED])
    own["val_bpb"] = round(own["val_bpb"] - BETTER_BPB, 8)
    mean = round(_number(claim["val_bpb"]) - BETTER_BPB / len(results), 8)
    return _with_claim(files, {**claim, "val_bpb": mean, "seed_results": {**results, SEED: own}})


def _score_in_readme(files: Files, others: Mapping[str, bytes]) -> Files:
    def edit(text: str) -> str:
        return re.sub(
            r"(val_bpb: |\*\*Mean\*\* \| \| \*\*)(\d\.\d+)",
            lambda match: f"{match[1]}{float(match[2]) - BETTER_BPB:.{len(match[2]) - 2}f}",
            text,
        )

    return _edited(files, README, edit)


def _bytes_figure(files: Files, others: Mapping[str, bytes]) -> Files:
    claim = _claim(files)
    results = claim["seed_results"]
    assert isinstance(results, dict)
    fewer = {seed: {**own, "artifact_bytes": own["artifact_bytes"] - FEWER_BYTES} for seed, own in results.items()}
    total = max(own["artifact_bytes"] for own in fewer.values())
    return _with_claim(files, {**claim, "seed_results": fewer, "bytes_total": total})


def _byte_flipped(files: Files, others: Mapping[str, bytes]) -> Files:
    artifact = bytearray(files[ARTIFACT])
    artifact[len(artifact) // 2] ^= 1
    return {**files, ARTIFACT: bytes(artifact)}


def _artifact_replaced(files: Files, others: Mapping[str, bytes]) -> Files:
    return {**files, ARTIFACT: others["other"]}


def _artifact_and_sizes_replaced(files: Files, others: Mapping[str, bytes]) -> Files:
    """Another artifact, and a log whose sizes fit it."""
    old, new = len(files[ARTIFACT]), len(others["other"])
    code = len(files["train_gpt.py"])
    changed = _artifact_replaced(files, others)
    for before, after in ((str(old), str(new)), (str(old + code), str(new + code))):
        changed = _edited(changed, LOG, lambda text, a=before, b=after: text.replace(a, b))  # type: ignore[misc]
    claim = _claim(changed)
    results = claim["seed_results"]
    assert isinstance(results, dict)
    return _with_claim(
        changed, {**claim, "seed_results": {**results, SEED: {**results[SEED], "artifact_bytes": new + code}}}
    )


def _everything_edited(by_bpb: float) -> Callable[[Files, Mapping[str, bytes]], Files]:
    """The log's claimed line, loss and score alike, and every figure that follows from it."""

    def change(files: Files, others: Mapping[str, bytes]) -> Files:
        claim = _claim(files)
        results = claim["seed_results"]
        assert isinstance(results, dict)
        own = results[SEED]
        bpb = own["val_bpb"] - by_bpb
        loss = own["val_loss"] * bpb / own["val_bpb"]
        written = {f"{own['val_bpb']:.8f}": f"{bpb:.8f}", f"{own['val_loss']:.8f}": f"{loss:.8f}"}

        def edit(text: str) -> str:
            for before, after in written.items():
                text = text.replace(before, after)
            return text

        changed = _edited(_edited(files, LOG, edit), README, edit)
        results = {**results, SEED: {**own, "val_bpb": round(bpb, 8), "val_loss": round(loss, 8)}}
        mean = sum(item["val_bpb"] for item in results.values()) / len(results)
        before = _number(claim["val_bpb"])
        shown = {f"**{before:.8f}**": f"**{mean:.8f}**", f"val_bpb: {before:.4f}": f"val_bpb: {mean:.4f}"}

        def edit_means(text: str) -> str:
            for old, new in shown.items():
                text = text.replace(old, new)
            return text

        changed = _edited(changed, README, edit_means)
        losses = sum(item["val_loss"] for item in results.values()) / len(results)
        return _with_claim(
            changed, {**claim, "val_bpb": round(mean, 8), "val_loss": round(losses, 8), "seed_results": results}
        )

    return change


DOCTORINGS = (
    Doctoring("score in submission.json", _score_in_json),
    Doctoring("one seed's score and the mean in submission.json", _seed_score_in_json),
    Doctoring("score in README", _score_in_readme),
    Doctoring("bytes in submission.json", _bytes_figure),
    Doctoring("one bit of the artifact flipped", _byte_flipped),
    Doctoring("artifact replaced by another run's", _artifact_replaced),
    Doctoring("artifact replaced, sizes in log and claim to fit", _artifact_and_sizes_replaced),
    Doctoring(f"log, README and claim together, by {BETTER_BPB}", _everything_edited(BETTER_BPB)),
    Doctoring(f"log, README and claim together, by {SLIGHTLY_BETTER_BPB}", _everything_edited(SLIGHTLY_BETTER_BPB)),
)
