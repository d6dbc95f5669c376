"""Finds personal data in text with Presidio: no network, and no model or torch unless policy names
a model.

1. `PlainEngine` is Presidio itself, for text of any length. It is the reference.
   `pipelines.pii.filter` finds the same faster.
2. Text that could not be searched completely (a pattern timed out, a recognizer failed) never
   counts as clean: `Unscanned`. Exceptions of recognizers quote the text, so only their type is
   kept.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from governance.attest import canonical, digests
from governance.policy.data import PiiPolicy
from pipelines.optional import hidden
from pipelines.pii import ner as pii_ner
from pipelines.pii import presidio as pii_presidio
from pipelines.pii.language import Language

WINDOW = 12_000
"""Characters per window. Presidio's context search takes quadratic time in the length of a text."""

OVERLAP = 4_000
"""Characters that neighbouring windows share. Nothing that is searched for is longer."""

SOURCES = (
    *("names.txt", "labelled.yaml", "disguise.py", "engine.py", "exclusions.py", "filter.py"),
    *("labelled.py", "language.py", "names.py", "ner.py", "phones.py", "presidio.py", "quick.py"),
    *("tagger/model.py", "tagger/words.py"),
)
"""Version of our own code that affects the findings."""

ENGINES = ("presidio-analyzer", "phonenumbers", "py3langid", "regex", "spacy", "tldextract")
"""Packages of every search."""


@dataclass(frozen=True, order=True)
class Span:
    """One finding: characters `start` to `end` of a text."""

    start: int
    end: int
    entity: str
    score: float
    recognizer: str = field(default="", compare=False)
    """What found it."""


class Unscanned(Exception):
    """A text could not be searched completely. The message does not quote it."""


class Engine(Protocol):
    """Searches one text."""

    def find(self, text: str) -> list[Span]:
        """The findings at or above the policy's thresholds, by position. Raises `Unscanned`."""
        ...

    def language(self, text: str) -> str:
        """The language that the text is written in, of those of policy."""
        ...

    def expect(self, texts: Sequence[str]) -> None:
        """Prepares for a search of these texts: what is faster for many at once."""
        ...


class Analyzer(Protocol):
    """Presidio's `AnalyzerEngine`, or what stands for it."""

    def analyze(self, text: str, *, language: str, entities: Any) -> list[Any]:
        """Results by position, entity and score."""
        ...


def cannot_find(policy: PiiPolicy) -> list[str]:
    """What a scan with this policy is known to miss, in words."""
    off = ", ".join(pii_presidio.left_off(policy))
    limits = [
        "what only its meaning makes personal: descriptions, rare roles or illnesses,"
        " quasi-identifiers together",
        "values that are disguised in other ways than docs/pii.md lists",
        f"text in languages other than: {', '.join(policy.known_languages)}",
        f"kinds whose recognizers are off, or of other languages: {off}",
    ]
    return [*NAMES_MISSED.get(policy.ner, ()), *limits]


NAMES_MISSED = {
    "name-list": (
        "names of people without a title that are not on a list of frequent names (recall:"
        " docs/pii.md)",
        "places, organisations, nationalities and religions",
    ),
    "tagger": (
        "part of the names, places and organisations, and most in languages other than English: a"
        " light tagger searches for them (recall: docs/pii.md)",
        "nationalities and religions",
    ),
}
"""What each source of names is known to miss."""


# --- the reference --------------------------------------------------------------------------------


class PlainEngine:
    """Presidio with the recognizers, thresholds and languages of a policy."""

    def __init__(self, policy: PiiPolicy, root: Path) -> None:
        self.policy = policy
        model = pii_ner.model_folder(policy.ner, root)
        self._ner_sha256 = digests.digest_of(pii_ner.file_of(policy, model))
        self.analyzer = pii_presidio.analyzer(policy)
        with hidden(pii_presidio.unused(policy)):
            self.names = pii_ner.sources(policy, model)
        self._watch = _Timeouts()
        self._language = Language(policy.known_languages)

    def find(self, text: str) -> list[Span]:
        """See `Engine`."""
        return self.search(text, None)

    def search(
        self, text: str, entities: list[str] | None, analyzer: Analyzer | None = None
    ) -> list[Span]:
        """The findings of `entities` by patterns (all if None), and names. Raises `Unscanned`.
        `analyzer` stands for Presidio's.
        """
        spans, analyzer = set(self._named(text)), analyzer or self.analyzer
        for offset, window in _windows(text) if entities != [] else ():
            for language in self._languages_of(text):
                for result in self._analyze(analyzer, window, language, entities):
                    start, end = offset + result.start, offset + result.end
                    score, by = round(result.score, 4), _recognizer(result)
                    spans.add(Span(start, end, result.entity_type, score, by))
        return _without_repeats(spans)

    def language(self, text: str) -> str:
        """See `Engine`."""
        return self._language.of(text)

    def expect(self, texts: Sequence[str]) -> None:
        """See `Engine`."""
        self._language.read(texts)

    def _languages_of(self, text: str) -> list[str]:
        """Those of policy, and the text's own."""
        return list(dict.fromkeys([*self.policy.languages, self.language(text)]))

    def _named(self, text: str) -> Iterator[Span]:
        """Names at or above the policy's thresholds. A model may fail: `Unscanned`."""
        for source in self.names:
            try:
                found = list(source.find(text))
            except Exception as error:  # noqa: BLE001 - as in `_analyze`
                why = f"the search for names failed ({type(error).__name__})"
                raise Unscanned(why) from None
            for start, end, entity, score in found:
                if score >= self.policy.threshold_of(entity, source.name):
                    yield Span(start, end, entity, round(score, 4), source.name)

    def _analyze(
        self, analyzer: Analyzer, text: str, language: str, entities: list[str] | None
    ) -> Iterable[Any]:
        self._watch.timed_out = False
        try:
            results = analyzer.analyze(text, language=language, entities=entities)
        # Whatever a check does, it must end in a denial.
        except Exception as error:  # noqa: BLE001 - recognizers raise anything, and quote the text
            raise Unscanned(f"a recognizer failed ({type(error).__name__})") from None
        if self._watch.timed_out:
            raise Unscanned(f"a pattern took longer than {pii_presidio.PATTERN_SECONDS} s")
        return results

    @cached_property
    def entities(self) -> list[str]:
        """The entities searched for, sorted."""
        by_pattern = {name for known in self.recognizers for name in known.supported_entities}
        return sorted(by_pattern.union(*(source.entities for source in self.names)))

    @property
    def recognizers(self) -> list[Any]:
        """Presidio's recognizer objects."""
        return list(self.analyzer.registry.recognizers)

    @cached_property
    def describe(self) -> dict[str, str]:
        """The engine for evidence: name, version, ner, its digest and its level."""
        return {
            "name": "presidio-analyzer",
            "version": importlib.metadata.version("presidio-analyzer"),
            "ner": self.policy.ner,
            "ner_sha256": self._ner_sha256,
            "level": self.policy.level,
        }

    @cached_property
    def digest(self) -> str:
        """sha256 over all that can change the findings: engine versions, recognizers, thresholds,
        name list or model.
        """
        content = {
            "engine": self.describe,
            "sources": [digests.sha256_file(Path(__file__).parent / name) for name in SOURCES],
            "versions": {name: importlib.metadata.version(name) for name in engines(self.policy)},
            "languages": [self.policy.languages, self.policy.detect_languages],
            "phone_regions": self.policy.phone_regions,
            "recognizers": sorted(map(_settings, self.recognizers), key=canonical.dumps),
            "names": [
                {name: self.policy.threshold_of(name, source.name) for name in source.entities}
                for source in self.names
            ],
        }
        return digests.sha256_bytes(canonical.dumps(content))


def engines(policy: PiiPolicy) -> list[str]:
    """The packages whose version can change the findings."""
    of_names = pii_ner.PACKAGES.get(policy.ner.partition(":")[0], ())
    return [*ENGINES, *of_names]


def _settings(recognizer: Any) -> list[Any]:
    """What determines the findings of a recognizer."""
    patterns = [[p.name, p.regex, p.score] for p in getattr(recognizer, "patterns", [])]
    names = (recognizer.name, recognizer.supported_language, recognizer.supported_entities)
    return [*names, recognizer.score_thresholds, recognizer.context or [], *patterns]


def _recognizer(result: Any) -> str:
    return str((result.recognition_metadata or {}).get("recognizer_name", ""))


class _Timeouts(logging.Handler):
    """Notices Presidio's warning that a pattern timed out and was skipped. Presidio only logs
    it.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.timed_out = False
        logging.getLogger("presidio-analyzer").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Checks a warning of Presidio."""
        self.timed_out |= "timed out" in str(record.msg)


def _windows(text: str) -> Iterator[tuple[int, str]]:
    """(offset, window) of overlapping windows that cover `text`; a short text has one."""
    for offset in range(0, max(len(text) - OVERLAP, 1), WINDOW - OVERLAP):
        yield offset, text[offset : offset + WINDOW]


def _without_repeats(spans: set[Span]) -> list[Span]:
    """Sorted by position. A span inside another of the same entity with at least its score is
    removed.
    """
    kept: list[Span] = []
    around: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.entity, span.start, -span.end, -span.score)):
        around = [o for o in around if o.entity == span.entity and o.end >= span.start]
        if not any(other.end >= span.end and other.score >= span.score for other in around):
            kept.append(span)
            around.append(span)
    return sorted(kept)
