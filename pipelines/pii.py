"""Finds personal data in text with Presidio: no network, no model unless policy names one, no torch without it.

1. `PlainEngine` is Presidio as it comes, on text of any length. It is the reference.
2. `FilteredEngine` asks one Hyperscan pass which recognizers can match at all, and lets only those run. Tests
   hold it against the reference. Text with non-ASCII characters, and every text under a NER model, takes the
   plain way.
3. Text that could not be searched to the end (a pattern timed out, a recognizer failed) is never taken for
   clean: `Unscanned`. Exceptions of recognizers quote the text, so only their type goes on.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from governance import canonical, digests
from governance.data_policy import PiiPolicy
from governance.errors import ConfigError
from pipelines import pii_names

WINDOW = 20_000
"""Characters looked at in one go: Presidio's context search is quadratic in the length of a text."""

OVERLAP = 4_000
"""Characters shared by neighbouring windows; nothing searched for is longer."""

PATTERN_SECONDS = 10
"""After this long on one window a pattern has timed out."""

REVISION = 1
"""Of this module's own part in what is found; part of the cache key."""


@dataclass(frozen=True, order=True)
class Span:
    """One thing found: characters `start` to `end` of a text."""

    start: int
    end: int
    entity: str
    score: float


class Unscanned(Exception):  # noqa: N818  # not an error of the run: the record is left out
    """A text could not be searched to the end; says why without quoting it."""


class Engine(Protocol):
    """Searches one text. `describe` goes into evidence; `digest` names everything that can change what is found."""

    def find(self, text: str) -> list[Span]:
        """What is found at or above the policy's thresholds, by position. Raises `Unscanned`."""
        ...

    @property
    def entities(self) -> list[str]:
        """The entities searched for, sorted."""
        ...

    @property
    def describe(self) -> dict[str, str]:
        """name, version, ner, ner_sha256."""
        ...

    @property
    def digest(self) -> str:
        """sha256 over engine versions, recognizers, thresholds, name list or model."""
        ...


def cannot_find(policy: PiiPolicy) -> list[str]:
    """What a scan under this policy is known not to find, in words."""
    known = [
        "what only its meaning makes personal: descriptions, rare roles or illnesses, quasi-identifiers together",
        "values written out in words, spaced out or otherwise disguised",
        f"text in languages other than: {', '.join(policy.languages)}",
    ]
    if policy.ner == "name-list":
        known = [
            "names of people without a title that are not on a list of frequent names (recall: docs/pii.md)",
            "places, postal addresses, organisations, nationalities and religions",
            *known,
        ]
    return known


# --- the reference ---------------------------------------------------------------------------------------------------


class PlainEngine:
    """Presidio with the recognizers, thresholds and languages of a policy."""

    def __init__(self, policy: PiiPolicy, root: Path) -> None:
        self.policy = policy
        self.model = _model(policy.ner, root)
        with _silenced(needs_torch=self.model is not None):
            self.analyzer = _analyzer(policy, self.model)
        self._watch = _Timeouts()

    def find(self, text: str) -> list[Span]:
        """See `Engine`."""
        return self.search(text, None)

    def search(self, text: str, entities: list[str] | None) -> list[Span]:
        """What is found of `entities` (of all where None). Raises `Unscanned`."""
        found: set[Span] = set()
        for offset, window in _windows(text):
            for language in self.policy.languages:
                for one in self._analyze(window, language, entities):
                    found.add(Span(offset + one.start, offset + one.end, one.entity_type, round(one.score, 4)))
        return _without_repeats(found)

    def _analyze(self, text: str, language: str, entities: list[str] | None) -> Iterable[Any]:
        self._watch.timed_out = False
        try:
            results: list[Any] = self.analyzer.analyze(text, language=language, entities=entities)
        except Exception as error:  # noqa: BLE001  # recognizers raise anything, and quote the text
            raise Unscanned(f"a recognizer failed ({type(error).__name__})") from None
        if self._watch.timed_out:
            raise Unscanned(f"a pattern took longer than {PATTERN_SECONDS} s")
        return results

    @cached_property
    def entities(self) -> list[str]:
        """See `Engine`."""
        return sorted({name for one in self.recognizers for name in one.supported_entities})

    @property
    def recognizers(self) -> list[Any]:
        """Presidio's recognizer objects."""
        return list(self.analyzer.registry.recognizers)

    @cached_property
    def describe(self) -> dict[str, str]:
        """See `Engine`."""
        return {
            "name": "presidio-analyzer",
            "version": importlib.metadata.version("presidio-analyzer"),
            "ner": self.policy.ner,
            "ner_sha256": digests.digest_of(self.model or pii_names.FILE),
        }

    @cached_property
    def digest(self) -> str:
        """See `Engine`."""
        engines = ("presidio-analyzer", "phonenumbers", "regex", "spacy", "tldextract")
        recognizers = [
            [one.name, one.supported_language, one.supported_entities, one.score_thresholds, one.context or []]
            + [[p.name, p.regex, p.score] for p in getattr(one, "patterns", [])]
            for one in self.recognizers
        ]
        what = {
            "engine": self.describe,
            "revision": [REVISION, WINDOW, OVERLAP, digests.sha256_file(Path(pii_names.__file__))],
            "versions": {name: importlib.metadata.version(name) for name in engines},
            "languages": self.policy.languages,
            "phone_regions": self.policy.phone_regions,
            "recognizers": sorted(recognizers, key=canonical.dumps),
        }
        return digests.sha256_bytes(canonical.dumps(what))


class _Timeouts(logging.Handler):
    """Notices Presidio's warning that a pattern timed out and was skipped, which is all it does about it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.timed_out = False
        logging.getLogger("presidio-analyzer").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Called for every warning of Presidio's."""
        self.timed_out |= "timed out" in str(record.msg)


def _windows(text: str) -> Iterator[tuple[int, str]]:
    """(offset, window) of overlapping windows that cover `text`; one where it is short."""
    for offset in range(0, max(len(text) - OVERLAP, 1), WINDOW - OVERLAP):
        yield offset, text[offset : offset + WINDOW]


def _without_repeats(found: set[Span]) -> list[Span]:
    """By position; what lies within another of the same entity with at least its score is left out."""
    kept: dict[str, list[Span]] = {}
    for one in sorted(found, key=lambda span: (span.entity, span.start, -span.end, -span.score)):
        open_ones = [other for other in kept.get(one.entity, []) if other.end >= one.start]
        if not any(other.end >= one.end and other.score >= one.score for other in open_ones):
            kept.setdefault(one.entity, []).append(one)
    return sorted(span for spans in kept.values() for span in spans)


# --- putting Presidio together ---------------------------------------------------------------------------------------


_NEVER = ("stanza", "flair", "gliner", "azure", "openai", "langextract", "tensorflow", "jax", "cupy", "mxnet")
_TORCH = ("torch", "transformers", "spacy_transformers", "spacy_huggingface_pipelines")


@contextmanager
def _silenced(needs_torch: bool) -> Iterator[None]:
    """Hides what Presidio imports if it can (4 s and 500 MB), and keeps its loading messages to itself."""
    hidden = [name for name in (*_NEVER, *(() if needs_torch else _TORCH)) if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: `import` raises ImportError
    logger = logging.getLogger("presidio-analyzer")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


def _analyzer(policy: PiiPolicy, model: Path | None) -> Any:
    import presidio_analyzer.pattern_recognizer
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # else it asks the network
    presidio_analyzer.pattern_recognizer.REGEX_TIMEOUT_SECONDS = PATTERN_SECONDS
    nlp = _nlp_engine(policy, model if policy.ner.startswith("spacy:") else None)
    registry = RecognizerRegistryProvider(registry_configuration=_registry(policy)).create_recognizer_registry()
    for recognizer in registry.recognizers:
        if recognizer.name == "PhoneRecognizer":
            recognizer.supported_regions = tuple(policy.phone_regions)
    for recognizer in _own_recognizers(policy, nlp, model):
        registry.add_recognizer(recognizer)
    for recognizer in registry.recognizers:
        recognizer.score_thresholds = {
            name: policy.threshold_of(name, recognizer.name) for name in recognizer.supported_entities
        }
    return AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=policy.languages)


def _registry(policy: PiiPolicy) -> dict[str, Any]:
    """Presidio's own table of recognizers, with the ones policy names switched on or off."""
    import presidio_analyzer
    from ruamel.yaml import YAML

    path = Path(presidio_analyzer.__file__).parent / "conf" / "default_recognizers.yaml"
    table = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    known = {entry["name"] for entry in table["recognizers"]}
    unknown = sorted({*policy.enabled_recognizers, *policy.disabled_recognizers} - known)
    if unknown:
        raise ConfigError(
            f"no recognizer {', '.join(unknown)}",
            where="policies/pii.yaml: enabled_recognizers, disabled_recognizers",
            expected=f"of Presidio's: {', '.join(sorted(known))}",
        )
    recognizers = []
    for entry in table["recognizers"]:
        on = entry["name"] not in policy.disabled_recognizers
        if on and (entry.get("enabled", True) or entry["name"] in policy.enabled_recognizers):
            recognizers.append({**entry, "enabled": True})
    return {**table, "supported_languages": list(policy.languages), "recognizers": recognizers}


def _own_recognizers(policy: PiiPolicy, nlp: Any, model: Path | None) -> Iterator[Any]:
    """Policy's own patterns, and what finds names: the list, spaCy's entities or a transformers model."""
    import regex
    from presidio_analyzer import Pattern, PatternRecognizer
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    for language in policy.languages:
        for own in policy.recognizers:
            yield PatternRecognizer(
                supported_entity=own.entity,
                name=own.name,
                patterns=[Pattern(rule.name, rule.regex, rule.score) for rule in own.patterns],
                context=own.context,
                supported_language=language,
                global_regex_flags=regex.MULTILINE,
            )
        if policy.ner == "name-list":
            yield pii_names.recognizer(language)
        elif policy.ner.startswith("spacy:"):
            yield SpacyRecognizer(supported_language=language, supported_entities=nlp.get_supported_entities())
        else:
            from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer

            yield HuggingFaceNerRecognizer(model_name=str(model), supported_language=language, device="cpu")


def _model(ner: str, root: Path) -> Path | None:
    """The folder of the model that policy names. Raises `ConfigError` where it is not there or could run code."""
    kind, _, name = ner.partition(":")
    if kind == "name-list":
        return None
    folder = root / name
    if kind == "spacy" and not folder.is_dir():
        import spacy.util

        folder = spacy.util.get_package_path(name) if spacy.util.is_package(name) else folder
    where = "policies/pii.yaml: ner"
    if not folder.is_dir():
        raise ConfigError(f"no model {name!r}", where=where, expected="a folder (spacy: or an installed package)")
    if kind == "transformers" and not list(folder.glob("*.safetensors")):
        raise ConfigError(f"{name!r} has no safetensors weights", where=where, fix="pickled weights can run code")
    return folder


def _nlp_engine(policy: PiiPolicy, model: Path | None) -> Any:
    """spaCy tokenisers, with the model of policy for its own language; never downloads."""
    import spacy
    from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine

    class LazyArtifacts(NlpArtifacts):  # type: ignore[misc]
        """Tokens and keywords made only where something was found that they could support."""

        def __init__(self, engine: Any, text: str, language: str) -> None:
            self.nlp_engine, self.language, self.text = engine, language, text
            self.entities: list[Any] = []
            self.scores: list[float] = []

        @cached_property
        def tokens(self) -> Any:
            return self.nlp_engine.nlp[self.language](self.text)

        @cached_property
        def tokens_indices(self) -> list[int]:
            return [token.idx for token in self.tokens]

        @cached_property
        def lemmas(self) -> list[str]:
            return [token.lower_ for token in self.tokens]  # no lemmatizer: without lemmas context words do nothing

        @cached_property
        def keywords(self) -> list[str]:
            found: list[str] = self.set_keywords(self.nlp_engine, self.lemmas, self.language)
            return found

    class TokenEngine(SpacyNlpEngine):  # type: ignore[misc]
        """Tokenisers, and where policy names a spaCy model its pipeline."""

        def load(self) -> None:
            self.nlp = {language: _blank(language) for language in policy.languages}
            if model is None:
                return
            pipeline = spacy.load(model)
            if pipeline.lang not in self.nlp:
                raise ConfigError(
                    f"a model of {pipeline.lang!r}", where="policies/pii.yaml: ner", expected=", ".join(policy.languages)
                )
            self.nlp[pipeline.lang] = pipeline

        def process_text(self, text: str, language: str) -> Any:
            if not self.nlp[language].pipe_names:
                return LazyArtifacts(self, text, language)
            artifacts = super().process_text(text, language)
            artifacts.lemmas = [token.lemma_ or token.lower_ for token in artifacts.tokens]
            artifacts.keywords = artifacts.set_keywords(self, artifacts.lemmas, language)
            return artifacts

    def _blank(language: str) -> Any:
        try:
            return spacy.blank(language)
        except ImportError:  # a language whose tokeniser needs a package of its own
            return spacy.blank("xx")

    return TokenEngine()


# --- the fast way ----------------------------------------------------------------------------------------------------


PLAIN_WORDS = re.compile(r"[^\x00-\x7f]|\\[xuUpPNX]|\[\^[^\]]*(?:_|\\v)")
"""Patterns that tell `Folded` characters apart; their recognizers always run."""


class FilteredEngine:
    """The same findings, without running recognizers that cannot match."""

    def __init__(self, plain: PlainEngine) -> None:
        import phonenumbers.phonenumberutil
        import regex

        self.plain = plain
        self._always: set[str] = set()
        self._ids: list[str] = []
        expressions: list[bytes] = []
        for recognizer in plain.recognizers:
            patterns = _patterns(recognizer)
            if any(PLAIN_WORDS.search(pattern) for pattern in patterns) or not (
                patterns or recognizer.name in ("PhoneRecognizer", "NameListRecognizer")
            ):
                self._always.update(recognizer.supported_entities)
            for pattern in patterns:
                expressions.append(pattern.encode("ascii", "replace"))
                self._ids.append(recognizer.supported_entities[0])
        # A phone number has at least 4 digits, no two further apart than 4 characters of punctuation.
        punctuation = phonenumbers.phonenumberutil._VALID_PUNCTUATION
        self._digits = regex.compile(rf"\d(?:[{punctuation}]{{0,4}}\d){{3}}")
        self._folded = Folded()
        self._database = _compiled(expressions)

    @staticmethod
    def available() -> bool:
        """Whether Hyperscan is installed (there are no packages for some platforms)."""
        try:
            import hyperscan  # noqa: F401
        except ImportError:
            return False
        return True

    def find(self, text: str) -> list[Span]:
        """See `Engine`."""
        folded = text if text.isascii() else text.translate(self._folded)
        if not folded.isascii():
            return self.plain.find(text)
        possible = set(self._always)
        self._database.scan(folded.encode("ascii"), match_event_handler=self._matched, context=possible)
        if self._digits.search(text):
            possible.add("PHONE_NUMBER")
        if next(pii_names.find(text), None):
            possible.add("PERSON")
        possible &= set(self.plain.entities)
        return self.plain.search(text, sorted(possible)) if possible else []

    def _matched(self, index: int, start: int, end: int, flags: int, possible: set[str]) -> None:
        possible.add(self._ids[index])

    @property
    def entities(self) -> list[str]:
        """See `Engine`."""
        return self.plain.entities

    @property
    def describe(self) -> dict[str, str]:
        """See `Engine`."""
        return self.plain.describe

    @property
    def digest(self) -> str:
        """See `Engine`; that of the reference, since the findings are the same."""
        return self.plain.digest


class Folded(dict[int, int]):
    """A table for `str.translate`: each character to an ASCII one that no pattern tells apart from it.

    A letter becomes `_`, white space a vertical tab, another sign a control character. What could match as
    something else (digits, marks, invisible characters, letters that equal ASCII ones when case is ignored)
    stays, and the text takes the plain way.
    """

    def __missing__(self, code: int) -> int:
        import unicodedata

        import regex

        char = chr(code)
        if code < 128 or unicodedata.category(char)[0] in "MNC" or regex.match(r"[!-~]", char, regex.I | regex.U):
            folded = code
        elif regex.match(r"\w", char):
            folded = ord("_")
        else:
            folded = 11 if regex.match(r"\s", char) else 1
        self[code] = folded
        return folded


def _patterns(recognizer: Any) -> list[str]:
    """Regular expressions of which one matches wherever the recognizer does."""
    if recognizer.name == "UrlRecognizer":
        return [recognizer.BASE_URL_REGEX]  # all four of its patterns contain this one, and are slow to compile
    return [pattern.regex for pattern in getattr(recognizer, "patterns", [])]


def _compiled(expressions: list[bytes]) -> Any:
    """A Hyperscan database that reports at least every expression that matches ASCII text."""
    import hyperscan

    flags = (
        hyperscan.HS_FLAG_PREFILTER
        | hyperscan.HS_FLAG_SINGLEMATCH
        | hyperscan.HS_FLAG_CASELESS
        | hyperscan.HS_FLAG_DOTALL
        | hyperscan.HS_FLAG_MULTILINE
    )
    database = hyperscan.Database()
    database.compile(
        expressions=expressions,
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[flags] * len(expressions),
    )
    return database
