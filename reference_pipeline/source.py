"""Documents drawn from a distribution that is known exactly.

Each document has a latent topic and three private names. A document is a row of events; a word's class follows a
Markov chain, the word follows the topic's preferences within the class, a name is one of the document's own. The
probability of a text, marginalised over what its reader cannot see (topic and names), is computed in closed form, so
the entropy in bits per byte is a floor that no legal score can beat, whatever the tokenizer: a tokenization is one
way of spelling the text, and the expected code length of a text is at least its entropy (Shannon).

The map from events to text is injective: words are unique and never look like names, a name has six letters in the
pattern consonant-vowel and one capital, sentences end in one mark. So a text is as probable as its events.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import numpy as np

CONSONANTS = "bdfgklmnprstvz"
VOWELS = "aeiou"
NAME_PATTERN = re.compile(f"([{CONSONANTS}][{VOWELS}]){{3}}")
NAME_COUNT = (len(CONSONANTS) * len(VOWELS)) ** 3  # 343,000 possible names
NAMES_PER_DOCUMENT = 3
CLASS_SIZES = (10, 90, 60, 50, 20)  # words in each class; the class after the last is NAME
NAME_CLASS = len(CLASS_SIZES)
MARKS, MARK_PROBABILITIES = (".", "?", "!"), (0.8, 0.12, 0.08)
SENTENCE_END, DOCUMENT_END, SHOUT = 1 / 9, 1 / 7, 1 / 50
RARE_WORDS = ("naïve", "λόγος", "✓ok")  # beyond a small tokenizer's characters: these need byte fallback


@dataclass(frozen=True)
class Event:
    """One step of a document: a word or name, whether it is shouted, the mark after it ("" inside a sentence), and
    whether the document ends there."""

    word_class: int
    word: str
    shout: bool
    mark: str
    last: bool


@dataclass(frozen=True)
class SourceDocument:
    """A drawn document: its events, text and ideal code length in nats (the end of the document included)."""

    events: tuple[Event, ...] = field(repr=False)
    text: str
    nats: float


def _vocabulary(generator: np.random.Generator) -> list[list[str]]:
    """Words of each class: unique, lower case, two letters at least, none in the pattern of names."""
    seen: set[str] = set(RARE_WORDS)
    classes: list[list[str]] = []
    for index, size in enumerate(CLASS_SIZES):
        words: list[str] = []
        while len(words) < size:
            syllables = int(generator.integers(1, 2 if index == 0 else 4))
            word = "".join(
                str(generator.choice(list(CONSONANTS)))
                + str(generator.choice(list(VOWELS)))
                + (str(generator.choice(list("nrst"))) if generator.random() < 0.4 else "")
                for _ in range(syllables)
            )
            if word not in seen and not NAME_PATTERN.fullmatch(word):
                seen.add(word)
                words.append(word)
        classes.append(words)
    classes[1][-len(RARE_WORDS) :] = list(RARE_WORDS)
    return classes


class DocumentSource:
    """A seeded source. `seed` fixes the language; `draw` takes its own seed, so train and validation differ.

    From era 1 on half of the topics are new: what people write about moves on. A model trained on era 0 has something
    to learn while it reads era 1, which is what makes adaptation on already scored text worth its time.
    """

    def __init__(self, seed: int = 0, topics: int = 12, era: int = 0):
        generator = np.random.default_rng((seed, 1))
        self.classes = _vocabulary(generator)
        self.word_place = {word: (c, i) for c, words in enumerate(self.classes) for i, word in enumerate(words)}
        class_count = NAME_CLASS + 1
        self.first = generator.dirichlet(np.full(class_count, 2.0))  # (classes,) class of a sentence's first word
        self.follow = generator.dirichlet(np.full(class_count, 0.5), size=class_count)  # (classes, classes)
        self.follow = 0.98 * self.follow + 0.02 / class_count
        self.topics = topics
        self.preference = []  # per class: (topics, words), rows sum to 1
        for words in self.classes:
            weights = 1.0 / (np.arange(len(words)) + 1.5) ** 1.3  # Zipf
            rows = np.stack([weights[generator.permutation(len(words))] for _ in range(topics)])
            if era > 0:
                fresh = np.random.default_rng((seed, 3, era, len(self.preference)))
                rows[: topics // 2] = [weights[fresh.permutation(len(words))] for _ in range(topics // 2)]
            self.preference.append(rows / rows.sum(axis=1, keepdims=True))

    def draw(self, seed: int, documents: int | None = None, text_bytes: int | None = None) -> list[SourceDocument]:
        """Independent documents: `documents` of them, or as many as fill `text_bytes` bytes of UTF-8."""
        generator = np.random.default_rng((seed, 2))
        drawn: list[SourceDocument] = []
        size = 0
        while (documents is not None and len(drawn) < documents) or (text_bytes is not None and size < text_bytes):
            document = self._draw_one(generator)
            drawn.append(document)
            size += len(document.text.encode())
        return drawn

    def _draw_one(self, generator: np.random.Generator) -> SourceDocument:
        topic = int(generator.integers(self.topics))
        names = self._draw_names(generator)
        events: list[Event] = []
        previous: int | None = None
        while not events or not events[-1].last:
            chances = self.first if previous is None else self.follow[previous]
            word_class = int(generator.choice(len(chances), p=chances))
            if word_class == NAME_CLASS:
                word, shout = names[int(generator.integers(NAMES_PER_DOCUMENT))], False
            else:
                row = self.preference[word_class][topic]
                word, shout = (
                    self.classes[word_class][int(generator.choice(len(row), p=row))],
                    generator.random() < SHOUT,
                )
            ends = generator.random() < SENTENCE_END
            mark = str(generator.choice(MARKS, p=MARK_PROBABILITIES)) if ends else ""
            events.append(Event(word_class, word, bool(shout), mark, bool(ends and generator.random() < DOCUMENT_END)))
            previous = None if ends else word_class
        return SourceDocument(tuple(events), render(events), -self.log_probability(events))

    def _draw_names(self, generator: np.random.Generator) -> list[str]:
        names: list[str] = []
        while len(names) < NAMES_PER_DOCUMENT:
            letters = "".join(
                CONSONANTS[int(generator.integers(14))] + VOWELS[int(generator.integers(5))] for _ in range(3)
            )
            if letters.capitalize() not in names:
                names.append(letters.capitalize())
        return names

    def log_probability(self, events: list[Event] | tuple[Event, ...], complete: bool = True) -> float:
        """Natural logarithm of the probability of `events`, marginalised over topic and names.

        With `complete=False` the last event's `last` is not counted: the probability of a prefix and its marks.
        """
        total = 0.0
        by_topic = np.full(self.topics, -math.log(self.topics))  # log P(topic, words so far)
        previous: int | None = None
        seen: set[str] = set()
        for event in events:
            chances = self.first if previous is None else self.follow[previous]
            total += math.log(chances[event.word_class])
            if event.word_class == NAME_CLASS:
                total += math.log(self.name_probability(event.word, seen))
                seen.add(event.word)
            else:
                _, place = self.word_place[event.word]
                by_topic += np.log(self.preference[event.word_class][:, place])
                total += math.log(SHOUT if event.shout else 1 - SHOUT)
            total += math.log(self.mark_probability(event.mark))
            if event.mark and (complete or event is not events[-1]):
                total += math.log(DOCUMENT_END if event.last else 1 - DOCUMENT_END)
            previous = None if event.mark else event.word_class
        peak = by_topic.max()
        return total + float(peak + np.log(np.exp(by_topic - peak).sum()))

    @staticmethod
    def name_probability(name: str, seen: set[str]) -> float:
        """P(next name | names seen in this document): slots are uniform, unseen slots hold any other name equally."""
        if name in seen:
            return 1 / NAMES_PER_DOCUMENT
        return (NAMES_PER_DOCUMENT - len(seen)) / NAMES_PER_DOCUMENT / (NAME_COUNT - len(seen))

    @staticmethod
    def mark_probability(mark: str) -> float:
        """P(mark after a word), "" meaning that the sentence goes on."""
        return SENTENCE_END * MARK_PROBABILITIES[MARKS.index(mark)] if mark else 1 - SENTENCE_END


def render(events: list[Event] | tuple[Event, ...]) -> str:
    """The text of a document: words separated by spaces, first words of sentences capitalised."""
    pieces = []
    begins = True
    for event in events:
        word = event.word.upper() if event.shout else event.word
        pieces.append((word[0].upper() + word[1:] if begins else word) + event.mark)
        begins = bool(event.mark)
    return " ".join(pieces)


def entropy_floor(documents: list[SourceDocument]) -> float:
    """Ideal code length of exactly these documents in bits per byte of UTF-8.

    A legal scorer's excess over it is the logarithm of a test supermartingale: the chance of beating it by d nats in
    all is at most exp(-d).
    """
    nats = sum(document.nats for document in documents)
    return nats / math.log(2) / sum(len(document.text.encode()) for document in documents)
