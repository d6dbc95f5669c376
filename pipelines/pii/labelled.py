"""Finds what a label nearby makes recognisable: numbers that institutions issue, birth dates and
street addresses. `labelled.yaml` has the words and patterns, as data.

1. Every pattern is bounded, so that a search takes linear time.
2. Each rule has a test for the filter (`pipelines.pii.filter`): an expression for ASCII text that
   matches wherever the rule does.
3. The words of all languages of a policy are searched for in every text: forms, records and
   conversations mix them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from governance.base.yaml import read_yaml

FILE = Path(__file__).with_name("labelled.yaml")

LABELLED, ALONE, BIRTH, ADDRESS = 0.85, 0.75, 0.85, 0.75
"""Scores by the sort of evidence."""

SHORT, LONG = 3, 6
"""The fewest letters and digits of an identifier: after its label, and after a word of everyday
language.
"""

HEADING = "##"
"""Between a label and a value it ends what the label is of: the result of a worked solution stands
after `####`.
"""

REACH = 100
"""A value's first digit is at most this many characters from its label."""


@dataclass(frozen=True)
class Rule:
    """One expression. The value is its group `value` or `long`, or the whole match."""

    entity: str
    regex: str
    score: float
    test: str
    """Matches wherever `regex` does, in text whose other characters are folded to ASCII."""
    least: int = 0
    """The fewest letters and digits of an identifier in `value`; one in `long` has `LONG`."""


def rules(languages: Sequence[str]) -> tuple[Rule, ...]:
    """The rules with the labels of these languages."""
    return _rules(tuple(languages))


@cache
def _rules(languages: tuple[str, ...]) -> tuple[Rule, ...]:
    data = read_yaml(FILE)
    return (
        *_identifier_rules(data, languages),
        *_birth_rules(data["births"]),
        *_address_rules(data["addresses"]),
    )


@cache
def examples() -> dict[str, dict[str, list[str]]]:
    """Entity to language to made-up sentences: the value in braces, `#` for a digit of it."""
    data = read_yaml(FILE)
    return {
        **{name: known["examples"] for name, known in data["identifiers"].items()},
        "DATE_OF_BIRTH": data["births"]["examples"],
        "STREET_ADDRESS": data["addresses"]["examples"],
    }


def find(text: str, wanted: Sequence[Rule], seconds: float) -> Iterator[tuple[int, int, Rule]]:
    """(start, end, rule) of every value. Raises `TimeoutError` if a rule takes too long."""
    if not _DIGIT.search(text):
        return
    replaced = {at: one.end() for one in _REPLACED.finditer(text) for at in range(*one.span())}
    for rule in wanted:
        for match in _matches(rule.regex, text, replaced, seconds):
            groups = match.groupdict()
            long, value = groups.get("long"), groups.get("value")
            group = "long" if long else "value" if value else 0
            if HEADING in text[match.start() : match.start(group)]:
                continue
            least = LONG if long else rule.least
            if not least or _is_identifier(match.group(group), least):
                start, end = match.span(group)
                yield start, start + len(text[start:end].rstrip(" .,")), rule


_DIGIT = re.compile(r"\d")


_REPLACED = re.compile(r"<[A-Z][A-Z0-9_]*(?:_[a-z0-9]+)?>")
"""What redaction writes. Its name is no label: `<DATE_OF_BIRTH_ab> - 1932` holds no birth date."""


def _matches(pattern: str, text: str, replaced: dict[int, int], seconds: float) -> Iterator[Any]:
    """The matches of a pattern that do not begin in what redaction wrote (its places, each with its
    end). All of them together take at most `seconds`, or `TimeoutError` is raised.
    """
    at, until = 0, time.monotonic() + seconds

    def left() -> float:
        return max(until - time.monotonic(), 1e-6)

    while match := _compiled(pattern).search(text, at, timeout=left()):
        inside = replaced.get(match.start())
        if inside is None:
            yield match
        at = inside or max(match.end(), at + 1)


@cache
def _compiled(pattern: str) -> Any:
    import regex

    return regex.compile(pattern, regex.IGNORECASE | regex.MULTILINE)


# --- identifiers ----------------------------------------------------------------------------------

_TOKEN = r"[a-z0-9]{1,20}(?:[-./_:][a-z0-9]{1,20}){0,6}"  # noqa: S105 - a pattern
_GROUPED = (
    r"(?-i:[A-Z]{0,3}[0-9][A-Z0-9-]{0,3}|[A-Z]{1,2}(?:-[A-Z]{1,2})?)"
    r"(?:[ .](?:[0-9][0-9/.-]{0,11}|(?-i:[A-Z]{1,3}))(?![a-z0-9])){1,7}"
)
"""Groups with spaces between them: a short one, then numbers or capital letters."""
_END = r"(?![a-z0-9]|[,.][0-9]|\s?[%€$£°])"
_IDENTIFIER = rf"(?>{_GROUPED}|(?=[a-z./_:-]{{0,12}}[0-9]){_TOKEN}){_END}"
_PLATE = rf"(?-i:[A-Z0-9]{{1,4}}(?:[- ·][A-Z0-9]{{1,4}}){{0,3}}|[A-Z0-9]{{5,8}}){_END}"

_DATE = re.compile(
    r"(?:\d{1,2}[-./]\d{1,2}[-./](?:19|20)\d\d|(?:19|20)\d\d[-./]\d{1,2}[-./]\d{1,2})"
)
_NUMBER = re.compile(r"(?:19|20)\d\d|\d{1,2}:\d\d(?::\d\d)?|\d{1,3}(?:\.\d{1,2}){1,2}")
"""A year, a time, a version or an amount."""


def _is_identifier(value: str, least: int) -> bool:
    """Whether it has `least` letters and digits with enough digits among them, and is no date,
    year, time or version.
    """
    digits = sum(char.isdigit() for char in value)
    characters = sum(char.isalnum() for char in value)
    if digits < (4 if least == LONG else 2) or characters < least:
        return False
    return not _DATE.fullmatch(value) and not _NUMBER.fullmatch(value)


def _identifier_rules(data: dict[str, Any], languages: Sequence[str]) -> Iterator[Rule]:
    numbers, verbs = _any(data["numbers"]), _any(data["verbs"])
    sign = r"[\s\"'*|:=#>\])}\\-]"
    number = rf"\s{{0,2}}[(\[_-]?\s?(?:{numbers})(?![^\W\d_])[.)]?"
    verb = rf"\s{{1,2}}(?:{verbs})\s"
    filled = (
        rf"(?:\s?\([^()\n]{{1,15}}\))?(?:{number}){{0,2}}{sign}{{0,10}}(?:{verb})?"
        r"[\s\"'(\[*]{0,3}"
    )
    explicit = (
        rf"(?:\s?\([^()\n]{{1,15}}\))?(?:(?:{number}){{1,2}}{sign}{{0,10}}(?:{verb})?"
        rf"|\s?[\"'*]{{0,2}}\s?[:#|]{sign}{{0,8}}(?:{number})?\s?)[\s\"'(\[*]{{0,3}}"
    )
    # For the test: what begins like `explicit`, and how a value begins.
    marked = (
        rf"(?:\s?\([^()]{{1,15}}\))?(?:\s{{0,2}}[(\[_-]?\s?(?:{numbers})|\s?[\"'*]{{0,2}}\s?[:#|])"
        rf".{{0,{REACH}}}[0-9]"
    )
    begin = r"(?:[a-z./_:-]{0,12}|[a-z]{1,2}(?:-[a-z]{1,2})?(?:[ .][a-z]{1,3}){0,6}[ .])[0-9]"
    for entity, known in data["identifiers"].items():
        shape = _PLATE if known.get("value") == "plate" else _IDENTIFIER
        labels = _words_of(known.get("labels", {}), languages)
        nouns = _words_of(known.get("nouns", {}), languages)
        if labels:
            pattern = rf"(?:{_any(labels)})(?![^\W\d_])\.?{filled}(?P<value>{shape})"
            test = rf"(?:{_any(labels)})(?:[^a-z].{{0,{REACH}}}|\b)[0-9]"
            yield _labelled(entity, pattern, test)
        if nouns:
            pattern = (
                rf"(?:{_any(nouns)})(?![^\W\d_])"
                rf"(?:{explicit}(?P<value>{shape})|(?:{verb}|[\s=])(?P<long>{shape}))"
            )
            test = rf"(?:{_any(nouns)})(?:{marked}|(?:{verb}|[\s=]){begin})"
            yield _labelled(entity, pattern, test)
        for pattern in known.get("alone", []):
            yield Rule(entity, rf"(?-i:{pattern})", ALONE, _ascii(pattern))


def _labelled(entity: str, pattern: str, test: str) -> Rule:
    return Rule(entity, rf"(?<![^\W_]){pattern}", LABELLED, rf"(?:\b|_){_ascii(test)}", SHORT)


def _words_of(by_language: dict[str, list[str]], languages: Sequence[str]) -> list[str]:
    return [word for language in languages for word in by_language.get(language, [])]


def _any(words: Sequence[str]) -> str:
    """An expression for any of these words, longer ones first. `?` makes the letter before it
    optional.
    """
    ordered = sorted(dict.fromkeys(words), key=lambda word: (-len(word), word))
    return "|".join(
        re.escape(word).replace(r"\ ", r"[\s_-]{0,2}").replace(r"\?", "?") for word in ordered
    )


def _ascii(pattern: str) -> str:
    """The pattern for folded text (`pipelines.pii.filter.Folded`): `_` for a letter that is not
    ASCII, a control character for another sign.
    """
    return "".join(
        char if char.isascii() else "_" if char.isalpha() else "\x01" for char in pattern
    )


# --- birth dates ----------------------------------------------------------------------------------


def _birth_rules(known: dict[str, Any]) -> Iterator[Rule]:
    month = _any(known["months"])
    year = r"(?:18|19|20)[0-9]{2}(?![0-9])"
    date = (
        r"(?:(?:18|19|20)[0-9]{2}\s?[./-]\s?[0-9]{1,2}\s?[./-]\s?[0-9]{1,2}(?![0-9])"
        r"|[0-9]{1,2}\s?[./-]\s?[0-9]{1,2}\s?[./-]\s?(?:(?:18|19|20)[0-9]{2}|[0-9]{2})(?![0-9])"
        r"|[0-9]{1,2}(?:st|nd|rd|th|er|º|°|\.)?[\s-](?:day\s)?(?:of\s|de\s|del\s)?"
        rf"(?:{month})\b[.,]?[\s-](?:de\s|del\s)?(?:[0-9]{{4}}|[0-9]{{2}})(?![0-9])"
        rf"|(?:{month})\b[.,]?\s(?:[0-9]{{1,2}}(?:st|nd|rd|th)?,?\s|of\s|de\s)?{year}"
        r"|(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])(?![0-9]))"
    )
    labels, words = _any(known["labels"]), _any(known["words"])
    after, before_year = _any(known["after"]), _any(known["before_year"])
    gap = r"[^0-9\n.;]{0,60}?"
    near = rf"(?:{labels})(?![^\W\d_])[^0-9\n;]{{0,30}}?(?P<value>{date}|{year})"
    born = (
        rf"(?:{words})(?![^\W\d_])(?:{gap}(?<![^\W_])(?P<value>{date})"
        rf"|(?:{gap}(?<![^\W_])(?:{before_year})|\s?[:,]?)\s{{0,2}}"
        rf"(?P<value>{year})(?!\s?[-+*/=]\s?[0-9]))"
    )
    star = rf"(?:^|[(,;]\s?)\*\s?(?P<value>{date})"
    behind = rf"(?P<value>{date})(?:\s?\(?\s?|[^0-9\n.;]{{0,40}}?\s\(?)(?:{after})(?![^\W\d_])"
    every = _ascii(_any([*known["labels"], *known["words"]]))
    for pattern, test in (
        (rf"(?<![^\W_]){near}", rf"(?:\b|_)(?:{_ascii(labels)})(?:[^a-z].{{0,{REACH}}}|\b)[0-9]"),
        (rf"(?<![^\W_]){born}", rf"(?:\b|_)(?:{every})(?:[^a-z].{{0,{REACH}}}|\b)[0-9]"),
        (star, rf"(?:^|[(,;]\s?)\*\s?(?:[0-9]|{_ascii(month)})"),
        (rf"(?<![^\W_]){behind}", rf"[0-9].{{0,60}}(?:{_ascii(after)})"),
    ):
        yield Rule("DATE_OF_BIRTH", pattern, BIRTH, test)


# --- addresses ------------------------------------------------------------------------------------


def _address_rules(known: dict[str, Any]) -> Iterator[Rule]:
    for pattern in known["patterns"].values():
        whole = _filled(pattern, known["parts"])
        yield Rule("STREET_ADDRESS", whole, ADDRESS, _ascii(whole))


def _filled(pattern: str, parts: dict[str, str]) -> str:
    """The pattern with its named parts in place."""
    while names := re.findall(r"\{([A-Z]+)\}", pattern):
        for name in names:
            pattern = pattern.replace(f"{{{name}}}", parts[name])
    return pattern


# --- Presidio -------------------------------------------------------------------------------------


def recognizer(language: str, languages: Sequence[str], seconds: float) -> Any:
    """A Presidio recognizer of all these entities. Presidio must be imported already."""
    from presidio_analyzer import AnalysisExplanation, LocalRecognizer, RecognizerResult

    known = rules(languages)

    class LabelledRecognizer(LocalRecognizer):  # type: ignore[misc]
        """Identifiers, birth dates and addresses."""

        rules = known

        def load(self) -> None:
            """Reads the rules when they are first used."""

        def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[Any]:
            """Presidio's entry point."""
            source = {
                RecognizerResult.RECOGNIZER_NAME_KEY: self.name,
                RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: self.id,
            }
            wanted = [rule for rule in known if rule.entity in entities]
            return [
                RecognizerResult(
                    rule.entity,
                    start,
                    end,
                    rule.score,
                    AnalysisExplanation(self.name, rule.score),
                    dict(source),
                )
                for start, end, rule in find(text, wanted, seconds)
            ]

    return LabelledRecognizer(
        supported_entities=sorted({rule.entity for rule in known}),
        supported_language=language,
        name="LabelledRecognizer",
    )
