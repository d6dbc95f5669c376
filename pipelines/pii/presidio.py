"""Builds Presidio from `policies/pii.yaml`. It downloads nothing and imports heavy packages only if
they are needed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from governance.base.errors import ConfigError
from governance.policy.data import PiiPolicy
from pipelines.optional import OF_NER, OF_PRESIDIO, hidden
from pipelines.pii import labelled

PATTERN_SECONDS = 10
"""Seconds after which a pattern times out on one window."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses Presidio's messages while it loads."""
    logger = logging.getLogger("presidio-analyzer")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def unused(policy: PiiPolicy) -> tuple[str, ...]:
    """Optional packages of Presidio that a search with this policy does not need."""
    needs_them = policy.ner.startswith(("spacy:", "transformers:"))
    return OF_PRESIDIO if needs_them else (*OF_PRESIDIO, *OF_NER)


def analyzer(policy: PiiPolicy) -> Any:
    """Presidio's engine with the recognizers, thresholds and languages of a policy."""
    with hidden(unused(policy)), _quiet():
        return _analyzer(policy)


def _analyzer(policy: PiiPolicy) -> Any:
    import phonenumbers
    import presidio_analyzer.pattern_recognizer
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

    # Otherwise it would use the network.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    # Presidio makes eight of them for each text.
    phonenumbers.__dict__["PhoneNumberMatcher"] = phone_matcher()
    presidio_analyzer.pattern_recognizer.REGEX_TIMEOUT_SECONDS = PATTERN_SECONDS
    nlp = _nlp_engine(policy)
    provider = RecognizerRegistryProvider(registry_configuration=_registry(policy))
    registry = provider.create_recognizer_registry()
    for recognizer in registry.recognizers:
        if recognizer.name == "PhoneRecognizer":
            recognizer.supported_regions = tuple(policy.phone_regions)
    for recognizer in _own_recognizers(policy):
        registry.add_recognizer(recognizer)
    for recognizer in registry.recognizers:
        recognizer.score_thresholds = {
            name: policy.threshold_of(name, recognizer.name)
            for name in recognizer.supported_entities
        }
    return AnalyzerEngine(
        registry=registry,
        nlp_engine=nlp,
        supported_languages=policy.known_languages,
        context_aware_enhancer=_context_enhancer(),
    )


def _context_enhancer() -> Any:
    """Presidio's context search counted `lic` in "clicks", which made every number near it a
    driving licence.
    """
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

    class WordStarts(LemmaContextAwareEnhancer):  # type: ignore[misc]
        """Counts a context word only if a word of the text begins with it."""

        @staticmethod
        def _find_supportive_word_in_context(
            context_list: list[str], recognizer_context_list: list[str], matching_mode: str = ""
        ) -> str:
            words = [word.lower() for word in context_list]
            for context in recognizer_context_list:
                if any(word.startswith(context.lower()) for word in words):
                    return context
            return ""

    return WordStarts()


def phone_matcher() -> type[Any]:
    """The matcher of phonenumbers; skips candidates with fewer digits than any number of the
    country.

    It also skips numbers in calculations: national formats are so loose that 90000-36000 is a valid
    number of Germany.
    """
    from phonenumbers.phonenumbermatcher import PhoneNumberMatcher

    class QuickMatcher(PhoneNumberMatcher):
        """The same matches except in calculations, without parsing every small number once per
        country.
        """

        def _extract_match(self, candidate: str, offset: int) -> Any:
            least, abroad = _numbers_of(self.preferred_region)
            digits = _NOT_DIGITS.sub("", candidate)
            international = _PLUS.search(candidate) or abroad.match(digits)
            if len(digits) < 4 or (len(digits) < least and not international):
                return None
            if not _PLUS.match(candidate) and _in_a_sum(self.text, offset, offset + len(candidate)):
                return None
            return super()._extract_match(candidate, offset)

    return QuickMatcher


def _in_a_sum(text: str, start: int, end: int) -> bool:
    """Whether the number is part of a calculation: `= 54000` follows, or `18000 =` comes before."""
    before = _SUM_BEFORE.search(text, max(0, start - NEAR), start)
    return bool(before or _SUM_GOES_ON.match(text, end))


NEAR = 12
"""Characters before a number that are checked."""

_SUM_GOES_ON = re.compile(r"[ \t]*[=*×÷][ \t]*[$€£]?(?:<<)?[ \t]*[\d.(]")
_SUM_BEFORE = re.compile(r"(?:[\d)%][ \t]*=|[*×÷])[ \t]*[$€£]?(?:<<)?[ \t]*$")
_NOT_DIGITS = re.compile(r"\D+")
_PLUS = re.compile("[+\uff0b]")


def phone_test(regions: Sequence[str]) -> Any:
    """An expression that matches wherever `phone_matcher` finds a number of these countries: as
    many digits as their shortest number, or four after a plus or a prefix of calls abroad. No two
    digits are further apart than 4 characters of punctuation.
    """
    import phonenumbers.phonenumberutil
    import regex

    known = [_numbers_of(region) for region in regions]
    least = min((digits for digits, _ in known), default=4)
    if not all(_begins_with_zero(abroad.pattern) for _, abroad in known):
        least = 4
    sign = f"[{phonenumbers.phonenumberutil._VALID_PUNCTUATION}]"
    more = rf"(?:{sign}{{0,4}}\d)"
    return regex.compile(
        rf"\d{more}{{{max(least, 4) - 1}}}|0{more}{{3}}|[+\uff0b]{sign}{{0,9}}\d{more}{{3}}"
    )


def _begins_with_zero(pattern: str) -> bool:
    """Whether every alternative of an expression begins with 0."""
    while (without_groups := re.sub(r"\([^()]*\)", "", pattern)) != pattern:
        pattern = without_groups
    return all(part.startswith("0") for part in pattern.split("|"))


@cache
def _numbers_of(region: str) -> tuple[int, re.Pattern[str]]:
    """The fewest digits of a national number, and the prefix of calls abroad."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, country_code_for_region

    shared = COUNTRY_CODE_TO_REGION_CODE.get(country_code_for_region(region), (region,))
    regions = [PhoneMetadata.metadata_for_region(name, None) for name in shared]
    general = [known.general_desc for known in regions if known and known.general_desc]
    lengths = [length for numbers in general for length in numbers.possible_length if length > 0]
    own = PhoneMetadata.metadata_for_region(region, None)
    prefix = own.international_prefix if own else None
    return min(lengths, default=0), re.compile(prefix or "$.")


def left_off(policy: PiiPolicy) -> list[str]:
    """Presidio's recognizers that do not run: switched off, or for other languages only. Names of
    their kinds.
    """
    off = []
    for entry in _table()["recognizers"]:
        languages = {
            language["language"] if isinstance(language, dict) else language
            for language in entry.get("supported_languages") or []
        }
        if not _is_on(entry, policy) or (languages and not languages & set(policy.known_languages)):
            off.append(entry["name"].removesuffix("Recognizer"))
    return sorted(name for name in off if name not in _MODELS)


_MODELS = ("HuggingFaceNer", "BasicLangExtract")
"""Recognizers without a kind of their own: `ner` describes what a model finds."""


def _is_on(entry: dict[str, Any], policy: PiiPolicy) -> bool:
    on = entry.get("enabled", True) or entry["name"] in policy.enabled_recognizers
    return on and entry["name"] not in policy.disabled_recognizers


@cache
def _table() -> dict[str, Any]:
    """Presidio's own table of recognizers."""
    import presidio_analyzer
    from ruamel.yaml import YAML

    path = Path(presidio_analyzer.__file__).parent / "conf" / "default_recognizers.yaml"
    table: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    return table


def _registry(policy: PiiPolicy) -> dict[str, Any]:
    """Presidio's table; recognizers that policy names are switched on or off."""
    table = _table()
    known = {entry["name"] for entry in table["recognizers"]}
    unknown = sorted({*policy.enabled_recognizers, *policy.disabled_recognizers} - known)
    if unknown:
        where = "policies/pii.yaml: enabled_recognizers, disabled_recognizers"
        expected = f"of Presidio's: {', '.join(sorted(known))}"
        raise ConfigError(f"no recognizer {', '.join(unknown)}", where=where, expected=expected)
    recognizers = [
        {**_everywhere(entry, policy), "enabled": True}
        for entry in table["recognizers"]
        if _is_on(entry, policy)
    ]
    return {**table, "supported_languages": policy.known_languages, "recognizers": recognizers}


CHECKED = ("EsNifRecognizer", "EsNieRecognizer", "ItFiscalCodeRecognizer")
"""Numbers with a letter that must fit: they are found in texts of every language."""


def _everywhere(entry: dict[str, Any], policy: PiiPolicy) -> dict[str, Any]:
    """Of a country whose language the policy has: in all its languages, since texts mix them."""
    languages = {
        each["language"] if isinstance(each, dict) else each
        for each in entry.get("supported_languages") or []
    }
    if entry["name"] not in CHECKED or not languages & set(policy.known_languages):
        return entry
    known = [
        each if isinstance(each, dict) else {"language": each}
        for each in entry["supported_languages"]
    ]
    more = [{"language": each} for each in policy.known_languages if each not in languages]
    return {**entry, "supported_languages": [*known, *more]}


def _own_recognizers(policy: PiiPolicy) -> Iterator[Any]:
    """Policy's own patterns."""
    import regex
    from presidio_analyzer import Pattern, PatternRecognizer

    for language in policy.known_languages:
        for own in policy.recognizers:
            yield PatternRecognizer(
                supported_entity=own.entity,
                name=own.name,
                patterns=[Pattern(rule.name, rule.regex, rule.score) for rule in own.patterns],
                context=own.context,
                supported_language=language,
                global_regex_flags=regex.MULTILINE,
            )
        yield labelled.recognizer(language, policy.known_languages, PATTERN_SECONDS)


def _nlp_engine(policy: PiiPolicy) -> Any:
    """spaCy tokenizers. Never downloads."""
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    lazy = _lazy_artifacts()

    class TokenEngine(SpacyNlpEngine):  # type: ignore[misc]
        """Tokenizers without a model."""

        def load(self) -> None:
            self.nlp = _Tokenizers()

        def process_text(self, text: str, language: str) -> Any:
            return lazy(self, text, language)

    return TokenEngine()


class _Tokenizers(dict[str, Any]):
    """Language to its tokenizer, loaded when it is first needed: French takes two CPU-seconds."""

    def __missing__(self, language: str) -> Any:
        self[language] = _blank(language)
        return self[language]


def load_tokenizers(languages: Iterable[str]) -> None:
    """Loads the tokenizers of these languages, for processes that are forked from this one."""
    for language in languages:
        _blank(language)


@cache
def _blank(language: str) -> Any:
    """A tokenizer for a language; the general one if its own needs another package."""
    import spacy

    try:
        return spacy.blank(language)
    except ImportError:
        return spacy.blank("xx")


def _lazy_artifacts() -> type[Any]:
    """Presidio's artifacts of a text. Tokens and keywords are made only when they are needed."""
    from presidio_analyzer.nlp_engine import NlpArtifacts

    class LazyArtifacts(NlpArtifacts):  # type: ignore[misc]
        """The lower-cased tokens as lemmas. Without lemmas, context words would have no effect."""

        def __init__(self, engine: Any, text: str, language: str) -> None:
            self.nlp_engine, self.language, self.text = engine, language, text
            self.entities: list[Any] = []
            self.scores: list[float] = []

        @cached_property
        def tokens(self) -> Any:
            return list(self.nlp_engine.nlp[self.language](self.text))

        @cached_property
        def tokens_indices(self) -> list[int]:
            return [token.idx for token in self.tokens]

        @cached_property
        def lemmas(self) -> list[str]:
            return [token.lower_ for token in self.tokens]

        @cached_property
        def keywords(self) -> list[str]:
            return list(self.set_keywords(self.nlp_engine, self.lemmas, self.language))

    return LazyArtifacts
