"""The environment that produced the claim, and where each value of it came from.

Defaults decide: test-time training, SLOT and caches are often in the script but off. The run configuration answers
"what did `os.environ.get(NAME, default)` return in the reported run?" from, in falling order of trust, what the log
printed, what a wrapper forces, the command in the README, what submission.json lists, the defaults a wrapper sets,
where there is no command, settings written in the README's prose (``TTT_MODE=lora``), and, where there is no log
either, switches that the submission's title names.
What none of them says is left to the script's default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from auditor.record.claimed_line import carrying_logs, claim_logs, claimed_lines
from auditor.record.environment import EnvironmentRead, as_set, environment_reads, prints_attribute
from auditor.record.model import Place, ReadmeCommand, Record, RunLog
from auditor.record.readme import plain
from auditor.record.shell import commands_in
from auditor.record.titles import titles
from auditor.submission.model import Role, Submission
from auditor.submission.text import decode


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable of the reported run. source: "log", "readme", "shell script", "wrapper",
    "submission.json", "readme text", "title", or "default" (the script's own; only in contradictions).

    `value` is the variable's text, so that the script's own conversion works on it: "1" where a log prints True.
    `printed` keeps what the source says.
    """

    name: str
    value: str
    source: str
    place: Place
    printed: str = ""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two sources that disagree about one setting."""

    name: str
    first: Setting
    second: Setting


@dataclass(frozen=True, slots=True)
class RunConfiguration:
    """Settings of the run that produced the claimed score.

    `environment` maps variable names to settings; `logged` maps the lower-case attribute names of a logged
    hyperparameter block (``ttt_enabled``) to settings, for scripts whose attribute and variable names differ.
    `defaults` are the default texts of the variables the script reads, `command` is the README's command for the run,
    `log` the path of the log that was taken for it.
    """

    environment: Mapping[str, Setting] = field(default_factory=dict)
    logged: Mapping[str, Setting] = field(default_factory=dict)
    contradictions: tuple[Contradiction, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    command: ReadmeCommand | None = None
    log: str = ""

    def lookup(self, name: str) -> Setting | None:
        """The reported run's value of environment variable `name`, or None when only the script's default says."""
        return self.environment.get(name) or self.logged.get(name.lower())


# What differs between machines and between the seeds of one claim, and says nothing about the procedure.
_LOCAL = re.compile(
    r"seed$|^run_?id$|path|dir$|_dir_|datasets_dir|files$|^rank$|local_rank|logfile|^world_size$|^master|^omp_|^nccl|^cuda|^hf_|token$|"
    r"_repo_|log_every|loss_every|^wandb|^torch|^pytorch|^triton|grad_accum|^pythonunbuffered|^is_main|distributed|^data$|^device",
    re.IGNORECASE,
)
_OTHER_PURPOSE = re.compile(
    r"ablat|baseline|smoke|debug|sweep|control|without|local|mlx|1x|single.?gpu|quick|test|optional|variant",
    re.IGNORECASE,
)
_MAIN_PURPOSE = re.compile(r"reproduc|run|command|usage|train|how to|launch|submission|eval", re.IGNORECASE)
_LIST_CONTAINER = re.compile(
    r"^(?:hyper_?parameters|config|configuration|training_config|env|environment|settings|ttt|args)\.([^.]+)$", re.I
)

_NO_TRAINING = re.compile(r"(?:^|_)(?:EVAL_ONLY|ONLY_EVAL|SKIP_TRAIN(?:ING)?)(?:_|$)")
_SET_TO = re.compile(r"\s?[=:]\s?(?=\S)")
_WORD = re.compile(r"\w")
_LITERAL = re.compile(r"[-+.\w]{0,40}\d[\w.+-]{0,40}|true|false|\[[\d., -]{0,200}\]|[\"'].{0,200}[\"']", re.IGNORECASE)
_OFF = frozenset(("0", "false", "off", "no"))
_SWITCH_WORDS = frozenset(("enabled", "enable", "use", "do", "run", "with", "mode"))
_SUFFIXES = ("_INIT", "_VALUE")  # of variable names, not spoken
_NUMERIC = re.compile(r"-?\d{1,9}(?:\.\d{0,9})?(?:e-?\d{1,3})?")
_MAX_README_CHARACTERS = 200_000
_MAX_PROSE_LINE = 4_000
_PROSE_SETTING = re.compile(r"`(?:export )?([A-Z][A-Z0-9_]{2,60})=([\w.+,-]{1,60})`")
_OTHER_RUNS = re.compile(
    r"\b(?:set|setting|use|pass|enabled? (?:with|by|via)|disabl\w*|turn\w*|toggle\w*|default\w*|"
    r"option\w*|tried|try|tested|if|when|unless|without|instead|vs|versus|ablat\w*|baseline|future|not|no|never|off|could|can|would|may)\b",
    re.IGNORECASE,
)


def derive_configuration(submission: Submission, record: Record) -> RunConfiguration:
    """The environment of the run that produced the claim. Never raises for what the submission contains."""
    source = submission.script.text if submission.script else ""
    reads = _all_reads(submission, source)
    carriers = carrying_logs(record, claimed_lines(record))
    log = _reported_log(record, carriers)
    logged = _logged(log, reads, source) if log else {}
    command = _command(submission, record, log, logged)
    environment: dict[str, Setting] = {}
    contradictions: list[Contradiction] = []
    sources = (
        _named_by_log(log, logged, reads),
        _forced(submission),
        _from_command(command, submission),
        _from_metadata(record, reads),
        _wrapper_defaults(submission),
    )
    for settings in sources:
        for setting in settings:
            known = environment.setdefault(setting.name, logged.get(setting.name.lower(), setting))
            if known.source != setting.source and setting.source != "wrapper" and _disagree(known, setting):
                contradictions.append(Contradiction(setting.name, known, setting))
    if command is None:
        for setting in _written_in_prose(record, reads):
            environment.setdefault(setting.name, logged.get(setting.name.lower(), setting))
    if log is None and command is None:
        for setting in _named_in_the_title(submission, record, reads):
            environment.setdefault(setting.name, setting)
    defaults = {read.name: read.default for read in reversed(reads) if read.default is not None}
    contradictions.extend(_between_logs(carriers, log, reads, source))
    contradictions.extend(_not_in_the_command(command, environment, reads, submission))
    contradictions.extend(_described(record, environment, reads, submission))
    return RunConfiguration(environment, logged, tuple(contradictions), defaults, command, log.path if log else "")


def _all_reads(submission: Submission, source: str) -> tuple[EnvironmentRead, ...]:
    reads = environment_reads(source) if source else ()
    if len(reads) < 5:  # a shim: the settings are read by what it calls
        for helper in submission.helpers[:6]:
            reads += environment_reads(helper.text)
    return reads


def _reported_log(record: Record, carriers: Sequence[RunLog]) -> RunLog | None:
    """The log that carries the claim and says most about its settings."""
    candidates = carriers or claim_logs(record) or list(record.logs)
    return max(candidates, key=lambda log: len(log.hyperparameters), default=None)


def _logged(log: RunLog, reads: Iterable[EnvironmentRead], source: str) -> dict[str, Setting]:
    """The log's settings; a printed name that the script gives another value ("embed_lr:{token_lr}") is none."""
    by_attribute = {read.attribute.lower(): read for read in reads if read.attribute}
    return {
        name: Setting(name, as_set(printed, by_attribute.get(name)), "log", log.hyperparameter_places[name], printed)
        for name, printed in log.hyperparameters.items()
        if printed not in ("None", "")
        and not _is_code(name, printed, source)
        and (name not in log.inline_hyperparameters or not source or prints_attribute(source, name))
    }


def _is_code(name: str, printed: str, source: str) -> bool:
    """True for ``name=expression`` that stands in the script as it does in the log: the log holds the script's text."""
    if _LITERAL.fullmatch(printed) or len(printed) > 200:
        return False
    end = 0
    while (at := source.find(name, end)) >= 0:
        end = at + len(name)
        set_to = _SET_TO.match(source, end)
        if set_to and source.startswith(printed, set_to.end()) and not (at and _WORD.match(source[at - 1])):
            return True
    return False


def _named_in_the_title(submission: Submission, record: Record, reads: Iterable[EnvironmentRead]) -> Iterable[Setting]:
    """Switches that are off by default and that the submission's title names: its score was made with them.

    All words of the variable's name (but "enabled" and its like) stand in the title, and none is denied there.
    """
    folder = submission.script.path.rpartition("/")[0] if submission.script else ""
    called = titles(record, folder)
    for read in reads:
        if read.default is None or read.default.lower() not in _OFF or _LOCAL.search(read.name):
            continue
        words = [word for word in read.name.lower().split("_") if word not in _SWITCH_WORDS]
        named = next((title for title in called if words and title.names(words)), None)
        if named is not None:
            yield Setting(read.name, "1", "title", named.place, named.text[:200])


def _written_in_prose(record: Record, reads: Iterable[EnvironmentRead]) -> Iterable[Setting]:
    """Variables of the script that the README's prose sets, in code marks and always to the same value.

    Prose that speaks of other runs, or of what a reader could set, says nothing about the reported one.
    """
    known = {read.name for read in reads}
    stated: dict[str, list[Setting]] = {}
    other, fenced = False, False
    for number, line in enumerate(record.readme_text[:_MAX_README_CHARACTERS].splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif line.startswith("#"):
            other = bool(_OTHER_PURPOSE.search(line)) and not line.startswith("# ")
        elif not (fenced or line.lstrip().startswith("|")):
            said = not (other or _OTHER_RUNS.search(line))
            for name, value in _PROSE_SETTING.findall(line[:_MAX_PROSE_LINE]):
                if name in known:
                    source = "readme text" if said else ""
                    stated.setdefault(name, []).append(
                        Setting(name, value, source, Place(record.readme_path, number), value)
                    )
    for settings in stated.values():
        if all(setting.source and same_value(setting.value, settings[0].value) for setting in settings):
            yield settings[0]


def _named_by_log(
    log: RunLog | None, logged: Mapping[str, Setting], reads: Iterable[EnvironmentRead]
) -> Iterable[Setting]:
    """Logged attributes under the names of the variables they were read from; then commands printed in the log."""
    for read in reads:
        setting = logged.get(read.attribute.lower()) if read.attribute else None
        setting = setting or logged.get(read.name.lower())
        if setting is not None:
            yield Setting(read.name, as_set(setting.printed, read), "log", setting.place, setting.printed)
    if log is None:
        return
    numbers = log.raw_line_numbers or tuple(range(1, len(log.raw_lines) + 1))
    lines = zip(numbers[:300], log.raw_lines[:300], strict=False)
    head = [(number, text) for number, text in lines if ".py" in text and "=" in text]
    for command in commands_in(head, log.path):
        for name, value in command.environment.items():
            yield Setting(name, value, "log", command.place, value)


def _forced(submission: Submission) -> Iterable[Setting]:
    script = submission.script
    for name, value in (script.environment if script else {}).items():
        yield Setting(name, value, "wrapper", Place(script.path.partition("!")[0] if script else ""), value)


def _wrapper_defaults(submission: Submission) -> Iterable[Setting]:
    script = submission.script
    for name, value in (script.environment_defaults if script else {}).items():
        yield Setting(name, value, "wrapper", Place(script.path.partition("!")[0] if script else ""), value)


def _from_command(command: ReadmeCommand | None, submission: Submission) -> Iterable[Setting]:
    if command is None:
        return
    readme = {item.path for item in submission.by_role(Role.README)}
    source = "readme" if command.place.path in readme else "shell script"
    for name, value in command.environment.items():
        yield Setting(name, value, source, command.place, value)


def _from_metadata(record: Record, reads: Iterable[EnvironmentRead]) -> Iterable[Setting]:
    """Variables that submission.json lists under a container such as "hyperparameters"."""
    by_attribute = {read.attribute.lower(): read for read in reads if read.attribute}
    by_name = {read.name: read for read in reads}
    for key, value in record.statement.fields.items():
        match = _LIST_CONTAINER.match(key)
        if not match or not isinstance(value, (str, int, float)):
            continue
        read = by_name.get(match[1]) or by_attribute.get(match[1].lower()) or by_name.get(match[1].upper())
        if read is not None:
            place = record.statement.places.get(key, Place(""))
            yield Setting(read.name, as_set(str(value), read), "submission.json", place, str(value))


def _command(
    submission: Submission, record: Record, log: RunLog | None, logged: Mapping[str, Setting]
) -> ReadmeCommand | None:
    """The command that fits the run: it runs the script, contradicts the log least, agrees with it most, and stands
    under a heading that speaks of running rather than of ablations. A folder's shell scripts serve where the README
    has no command."""
    script = submission.script.path.partition("!")[0].rpartition("/")[2] if submission.script else "train_gpt.py"
    commands = [item for item in record.commands if item.script == script or item.script is None]
    if not any(item.environment for item in commands):
        commands += [item for item in _shell_commands(submission) if item.script == script]
    if not commands:
        commands = [item for item in record.commands if item.environment]
    if log is not None and log.steps:
        commands = [item for item in commands if not _evaluates_only(item)]
    words = _words_of(log)

    def rank(item: ReadmeCommand) -> tuple[float, ...]:
        clashes = agreements = 0
        for name, value in item.environment.items():
            known = logged.get(name.lower())
            if known is not None and not _LOCAL.search(name):
                same = same_value(known.value, value)
                clashes, agreements = clashes + (not same), agreements + same
            elif known is None and name.endswith("_ENABLED") and value == "1":
                agreements += name.removesuffix("_ENABLED").lower() in words
        purpose = bool(_OTHER_PURPOSE.search(item.heading)) - bool(_MAIN_PURPOSE.search(item.heading))
        return (
            float(item.script != script),
            float(clashes),
            float(-agreements),
            float(purpose),
            float(item.place.line),
        )

    return min(commands, key=rank, default=None)


def _evaluates_only(command: ReadmeCommand) -> bool:
    """Whether a command asks for an evaluation alone: a log with training steps is not of it."""
    return any(_NO_TRAINING.search(name) and _normal(value) == "1" for name, value in command.environment.items())


def _words_of(log: RunLog | None) -> str:
    return " ".join(line.lower() for line in log.raw_lines[-400:])[:100_000] if log else ""


def _shell_commands(submission: Submission) -> list[ReadmeCommand]:
    found: list[ReadmeCommand] = []
    for item in submission.by_role(Role.SHELL)[:20]:
        if item.data is not None and len(item.data) < 200_000:
            lines = list(enumerate(decode(item.data).split("\n")[:2000], 1))
            found.extend(commands_in(lines, item.path, heading=item.path.rpartition("/")[2]))
    return found


def _disagree(first: Setting, second: Setting) -> bool:
    return not _LOCAL.search(first.name) and not same_value(first.value, second.value)


def same_value(first: str, second: str) -> bool:
    """Whether two texts mean the same value: 5e-4 and 0.0005, True and 1, [3, 4] and 3,4."""
    left, right = (_normal(text) for text in (first, second))
    if left == right:
        return True
    try:
        return abs(float(left) - float(right)) <= 1e-9 * max(abs(float(left)), abs(float(right)))
    except ValueError:
        return False


def _normal(text: str) -> str:
    words = {"true": "1", "false": "0", "on": "1", "off": "0", "yes": "1", "no": "0"}
    plain = text.strip().strip("\"'[]()").replace(" ", "").lower()
    return words.get(plain, plain)


def _between_logs(
    logs: Iterable[RunLog], chosen: RunLog | None, reads: Iterable[EnvironmentRead], source: str
) -> Iterable[Contradiction]:
    """Settings in which the logs that carry the claim differ."""
    if chosen is None:
        return
    known_names = _attributes(reads)
    first = _logged(chosen, reads, source)
    for log in logs:
        if log is chosen:
            continue
        for name, setting in _logged(log, reads, source).items():
            known = first.get(name)
            if known is not None and name in known_names and _disagree(known, setting):
                yield Contradiction(name, known, setting)


def _attributes(reads: Iterable[EnvironmentRead]) -> set[str]:
    return {read.attribute.lower() for read in reads} | {read.name.lower() for read in reads}


def _not_in_the_command(
    command: ReadmeCommand | None,
    environment: Mapping[str, Setting],
    reads: Sequence[EnvironmentRead],
    submission: Submission,
) -> Iterable[Contradiction]:
    """Logged values that neither the script's default nor the README's command gives."""
    if command is None or command.script is None or submission.script is None:
        return
    for read in reads:
        setting = environment.get(read.name)
        if setting is None or setting.source != "log" or read.default is None or read.name in command.environment:
            continue
        given = submission.script.environment_defaults.get(read.name, read.default)
        default = Setting(read.name, given, "default", Place(submission.script.path, read.line), given)
        others = _other_defaults(read, reads)
        if _disagree(setting, default) and all(_disagree(setting, replace(default, value=text)) for text in others):
            yield Contradiction(read.name, setting, default)


def _other_defaults(read: EnvironmentRead, reads: Sequence[EnvironmentRead]) -> list[str]:
    """Other defaults that the script reads the same variable with: those of a branch (a smoke test) are not the
    script's, and which of them are is not told apart here."""
    return [item.default for item in reads if item.name == read.name and item.default not in (None, read.default)]


def _described(
    record: Record, environment: Mapping[str, Setting], reads: Sequence[EnvironmentRead], submission: Submission
) -> Iterable[Contradiction]:
    """Numbers the README gives for a variable by its spoken name ("QK-Gain 4.0") where no source sets it and the
    script's default is another one. A README that mentions the default anywhere is taken to mean that."""
    if submission.script is None:
        return
    text = plain(record.readme_text[:_MAX_README_CHARACTERS].replace("\n", " \x00 ")).lower()
    for read in reads:
        words = read.name.removesuffix(_SUFFIXES[0]).removesuffix(_SUFFIXES[1]).lower().split("_")
        if read.default is None or read.name in environment or not 2 <= len(words) <= 4 or _LOCAL.search(read.name):
            continue
        given = submission.script.environment_defaults.get(read.name, read.default)
        if not _NUMERIC.fullmatch(given) or words[0] not in text:
            continue
        spoken = r"[ _-]?".join(map(re.escape, words))
        mentions = re.finditer(
            rf"(?<![\w-]){spoken}(?:[ _-]?init)?(?![\w-])[^\w\x00./*%+<>]{{0,8}}"
            r"(\d{1,6}(?:\.\d{1,8})?)(?![\w%]|[.,]\d)",
            text,
        )
        stated = [(match[1], match.start()) for match in mentions]
        if given in ("0", "1"):
            stated = [item for item in stated if item[0] in ("0", "1")]
        defaults = (given, *_other_defaults(read, reads))
        if stated and not any(same_value(value, text) for value, _ in stated for text in defaults):
            value, at = stated[0]
            line = text.count("\x00", 0, at) + 1
            readme = Setting(read.name, value, "readme text", Place(record.readme_path, line), value)
            default = Setting(read.name, given, "default", Place(submission.script.path, read.line), given)
            yield Contradiction(read.name, default, readme)
