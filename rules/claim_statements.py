"""CLAIM, third part: what README, submission.json and the logged settings say about one another."""

from __future__ import annotations

import re
from collections.abc import Sequence

from auditor.configuration import Contradiction, RunConfiguration
from auditor.findings import Finding, Status, Step
from auditor.record.after_claim import switched_on, works_after
from auditor.record.claimed_line import scored_logs
from auditor.record.units import bpb_called_nats
from rules.claim_case import Case, finding
from rules.claim_score import CLAIM_TOLERANCE_BPB
from rules.size import CAP_BYTES
from rules.time import ALLOWANCE_SECONDS, EVALUATION_SECONDS, TRAINING_SECONDS

_DECISIVE = re.compile(
    r"TTT|SLOT|EVAL|NGRAM|PPM|STRIDE|GPTQ|MAX_WALLCLOCK|ADAPT|CACHE|MIXER|LORA|VAL_|TOKENIZER|ETLB|TILT|BIAS|HEDGE",
    re.IGNORECASE,
)
_ALL_DEFAULTS = re.compile(
    r"(?:all )?(?:the )?defaults? (?:values? |settings? )?(?:match|reproduce|are|give|correspond)", re.IGNORECASE
)
_NO_FEATURE = re.compile(r"no_(ttt|slot|etlb|prequant_ttt|pre_quant_ttt|ngram\w*|ppm|eval_time_adaptation)$")
_TOTAL_KEY = re.compile(r"(?:artifact|submission|total).{0,30}(?:bytes|size)|bytes_total", re.IGNORECASE)
_ARTIFACT_KEY = re.compile(r"artifact|submission", re.IGNORECASE)
_NOT_A_TOTAL = re.compile(
    r"cap|limit|budget|max_allowed|raw|uncompressed|baseline|prior|previous|parent", re.IGNORECASE
)
_FEATURE_SETTINGS = {
    "ttt": ("ttt_enabled",),
    "slot": ("slot_enabled",),
    "etlb": ("etlb_enabled",),
    "prequant_ttt": ("prequant_ttt_enabled",),
    "pre_quant_ttt": ("prequant_ttt_enabled",),
    "eval_time_adaptation": ("ttt_enabled", "slot_enabled", "etlb_enabled"),
    "ppm": ("ppm_enabled",),
}


def readme_findings(case: Case) -> list[Finding]:
    """A README that claims another score and mentions the one of submission.json nowhere."""
    record = case.record
    claim, readme = record.statement.val_bpb, record.readme_bpb
    if claim is None or readme is None or record.statement.val_bpb_key == "README":
        return []
    if abs(claim - readme) <= CLAIM_TOLERANCE_BPB or _mentions(record.readme_text, claim):
        return []
    message = f"submission.json claims {claim:g}, the README {readme:g}"
    steps = [Step(record.readme_path, record.readme_bpb_place.line if record.readme_bpb_place else 0, f"{readme:g}")]
    return [finding(Status.REVIEW, message, record.statement.val_bpb_place, steps)]


def _mentions(text: str, claim: float) -> bool:
    """Whether `text` holds the score to four decimals, rounded or (outside tables) cut, or written with three."""
    prose = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("|"))
    three = re.compile(rf"(?<!\d){re.escape(f'{claim:.3f}')}(?!\d)")
    return f"{claim:.4f}" in text or f"{claim:.8f}"[:-4] in prose or bool(three.search(prose))


def setting_findings(case: Case) -> list[Finding]:
    """README command, logs and defaults that disagree about a setting."""
    findings = []
    harmless = [item for item in case.configuration.contradictions if _only_after_the_score(item, case)]
    if harmless:
        message = f"on in some logs only, but at work behind the claimed score alone: {_named(harmless)}"
        findings.append(finding(Status.PASS, message, harmless[0].first.place, _setting_steps(harmless)))
    contradictions = [item for item in case.configuration.contradictions if item not in harmless]
    stated = [item for item in contradictions if item.second.source != "default"]
    promised = bool(_ALL_DEFAULTS.search(case.record.readme_text))
    for source, title in (
        ("log", "logs of the claim ran under different settings"),
        ("readme", "the README's command is not the logged run"),
        ("readme text", "the README describes another run than the submitted code gives"),
        ("shell script", "the folder's shell script is not the logged run"),
        ("submission.json", "submission.json lists other settings than the log"),
    ):
        group = [item for item in stated if item.second.source == source]
        if group:
            certain = source != "readme text" or promised
            message = f"{title}: {_named(group)}"
            place, steps = group[0].second.place, _setting_steps(group)
            findings.append(finding(Status.REVIEW if certain else Status.PASS, message, place, steps))
    implied = [item for item in contradictions if item.second.source == "default"]
    if implied:
        decisive = promised or any(_DECISIVE.search(item.name) for item in implied)
        but = "the README says that the defaults are the submission, but " if promised else ""
        message = (
            f"{but}the log has settings that neither the README's command nor the script's defaults give, so running "
            f"it as described gives another run: {_named(implied)}"
        )
        place, steps = implied[0].first.place, _setting_steps(implied)
        findings.append(finding(Status.REVIEW if decisive else Status.PASS, message, place, steps))
    return findings


def _only_after_the_score(item: Contradiction, case: Case) -> bool:
    """Whether the setting is a switch that some log of the claim has on, and there works only behind its score."""
    on = [setting for setting in (item.first, item.second) if switched_on(setting.value)]
    lines = {line.place.path: line for line in case.lines}
    logs = {log.path: log for log in case.carriers}
    return bool(on) and all(
        setting.place.path in lines and works_after(logs[setting.place.path], lines[setting.place.path], item.name)
        for setting in on
    )


def _named(group: Sequence[Contradiction]) -> str:
    ranked = sorted(group, key=lambda item: not _DECISIVE.search(item.name))
    named = list(
        dict.fromkeys(f"{item.name} {item.first.printed[:40]} against {item.second.printed[:40]}" for item in ranked)
    )
    rest = len(named) - 4
    return ", ".join(named[:4]) + (f" and {rest} more" if rest > 0 else "")


def _setting_steps(group: Sequence[Contradiction]) -> list[Step]:
    return [
        Step(setting.place.path, setting.place.line, f"{item.name} = {setting.printed[:80]} ({setting.source})")
        for item in group[:4]
        for setting in (item.first, item.second)
    ]


def compliance_findings(case: Case) -> list[Finding]:
    """Self-declared booleans that the numbers beside them contradict."""
    findings = []
    record = case.record
    for name, declared in record.statement.compliance.items():
        reason = _contradicted(name.lower(), case) if declared else ""
        if reason:
            place = record.statement.places.get(f"compliance.{name}") or record.statement.places.get(name)
            findings.append(finding(Status.REVIEW, f"submission.json declares {name[:60]}, but {reason}", place))
    return findings


def total_findings(case: Case) -> list[Finding]:
    """Totals of submission.json on both sides of the cap: at most one of them is the artifact's."""
    statement = case.record.statement
    totals = {
        key: value
        for key, value in statement.fields.items()
        if _TOTAL_KEY.search(key) and not _NOT_A_TOTAL.search(key) and isinstance(value, int) and value > CAP_BYTES // 2
    }
    over = {key: value for key, value in totals.items() if CAP_BYTES < value < 2 * CAP_BYTES}
    under = {key: value for key, value in totals.items() if value <= CAP_BYTES and _ARTIFACT_KEY.search(key)}
    if not over or not under:
        return []
    (low, small), (high, large) = max(under.items(), key=_value), max(over.items(), key=_value)
    message = f"submission.json gives {low[:60]} {small:,} and {high[:60]} {large:,}: the artifact is one of them"
    return [finding(Status.REVIEW, message, statement.places.get(low))]


def _value(item: tuple[str, int]) -> int:
    return item[1]


def _contradicted(name: str, case: Case) -> str:
    logs, record, configuration = case.carriers, case.record, case.configuration
    if re.search(r"under_16|16mb|artifact_(?:under|within)|size_(?:ok|under)", name):
        totals = [size.size_bytes for log in logs for size in log.sizes if size.kind == "total"]
        totals += [record.statement.artifact_bytes] if record.statement.artifact_bytes else []
        if totals and max(totals) > CAP_BYTES:
            return f"{max(totals):,} bytes are stated"
    if re.search(r"train\w*_(?:under|within)_(?:600|10)", name):
        seconds = [log.train_seconds for log in logs if log.train_seconds is not None]
        if seconds and max(seconds) > TRAINING_SECONDS + ALLOWANCE_SECONDS:
            return f"a log trained for {max(seconds):.1f} s"
    if re.search(r"eval\w*_(?:under|within)_(?:600|10)", name):
        evaluations = [phase.seconds for log in logs for phase in log.phases if phase.kind == "eval"]
        if evaluations and max(evaluations) > EVALUATION_SECONDS:
            return f"a log's evaluation took {max(evaluations):.1f} s"
    if name in ("three_seeds", "3_seeds", "multi_seed") and 0 < len(scored_logs(record)) < 3:
        return f"{len(scored_logs(record))} logs print scores"
    if name == "score_first_ttt" and _is_off(configuration, "ttt_enabled"):
        return "the log says that test-time training was off"
    if match := _NO_FEATURE.fullmatch(name):
        for setting in _FEATURE_SETTINGS.get(match[1], ()):
            logged = configuration.logged.get(setting)
            if logged is not None and logged.value == "1":
                return f"the log says {setting}: {logged.printed}"
    return ""


def _is_off(configuration: RunConfiguration, name: str) -> bool:
    setting = configuration.logged.get(name)
    return setting is not None and setting.value == "0"


def unit_findings(case: Case) -> list[Finding]:
    """Differences of bpb that the README calls nats."""
    found = bpb_called_nats(case.record)
    if not found:
        return []
    item = found[0]
    message = (
        f"the README calls {item.text} nats what is a difference of bpb ({item.higher:g} - {item.lower:g}); the rule's "
        "0.005 is meant in nats per token, which EVIDENCE computes"
    )
    return [finding(Status.PASS, message, item.place)]
