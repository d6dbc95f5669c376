"""Telephone numbers of several countries in one text: the spans that Presidio's recognizer finds,
faster.

1. Candidates do not depend on the country, so they are found once. A country is left out if the
   digits of no candidate hold a valid number of it.
2. A national number that is valid ends the digits that it was parsed from, because parsing only
   removes prefixes. So digits without such an end need not be parsed. This is said only of
   candidates of plain digits and signs, and of countries whose rules add no digits.
3. A candidate with a plus and a known country code is the same number in every country: it is
   parsed once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from pipelines.pii.presidio import _numbers_of, phone_matcher

_PLAIN = re.compile(r"[0-9 ()\[\]./-]+")
_ABROAD = re.compile(r"[^0-9+]*\+[ ()\[\]./-]*([1-9][0-9 ()\[\]./-]*)")
_FEW_DIGITS = re.compile(r"[^\w]*(?:[0-9][^\w]*){0,3}")
_NOT_DIGITS = re.compile(r"[^0-9]+")

TYPES = (
    *("premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan"),
    *("voicemail", "fixed_line", "mobile"),
)
"""The kinds of numbers of phonenumbers' metadata: a valid number is of one of them."""


class Phones:
    """The search for the numbers of some countries."""

    def __init__(self, regions: Sequence[str], leniency: int) -> None:
        self._regions, self._leniency = tuple(regions), leniency
        self._matcher = _matcher()

    def find(self, text: str) -> set[tuple[int, int]]:
        """(start, end) of every number that a matcher of one of the countries finds."""
        candidates = _candidates(text)
        once: dict[tuple[str, int], Any] = {}
        found: set[tuple[int, int]] = set()
        for region in self._regions:
            possible = [(at, one) for at, one in candidates if _holds(region, one)]
            if possible:
                matcher = self._matcher(text, region, leniency=self._leniency)
                matcher.first, matcher.once = possible, once
                found.update((match.start, match.end) for match in matcher)
        return found


def _candidates(text: str) -> list[tuple[int, str]]:
    """What a matcher looks at as long as it finds no number within it, with its place; without what
    has too few digits for any country.
    """
    from phonenumbers import phonenumbermatcher, phonenumberutil

    found, at = [], 0
    while match := phonenumbermatcher._PATTERN.search(text, at):
        candidate = match.group()
        second = phonenumberutil._SECOND_NUMBER_START_PATTERN.search(candidate)
        candidate = candidate[: second.start()] if second else candidate
        if not _FEW_DIGITS.fullmatch(candidate):
            found.append((match.start(), candidate))
        at = match.start() + max(len(candidate), 1)
    return found


@cache
def _matcher() -> type[Any]:
    class SharingMatcher(phone_matcher()):  # type: ignore[misc]
        """Parses nothing that the rules above tell of."""

        first: list[tuple[int, str]]
        """The candidates, as long as no number is found within one; and their places."""
        once: dict[tuple[str, int], Any]
        """The results that do not depend on the country, by candidate and place."""

        def _find(self, index: int) -> Any:
            if _is_within_a_candidate(index, self.first):
                return super()._find(index)
            rest = ((at, candidate) for at, candidate in self.first if at >= index)
            matches = (self._extract_match(candidate, at) for at, candidate in rest)
            return next(filter(None, matches), None)

        def _extract_match(self, candidate: str, offset: int) -> Any:
            if not _holds(self.preferred_region, candidate):
                return None
            return super()._extract_match(candidate, offset)

        def _parse_and_verify(self, candidate: str, offset: int) -> Any:
            if not _ends(self.preferred_region, candidate):
                return None
            if not _is_the_same_everywhere(candidate):
                return super()._parse_and_verify(candidate, offset)
            place = (candidate, offset)
            if place not in self.once:
                self.once[place] = super()._parse_and_verify(candidate, offset)
            return self.once[place]

    return SharingMatcher


def _is_within_a_candidate(index: int, candidates: list[tuple[int, str]]) -> bool:
    """Whether the number before `index` was only a part of what it was found in."""
    return index > 0 and not any(at + len(candidate) == index for at, candidate in candidates)


def _is_the_same_everywhere(candidate: str) -> bool:
    """Whether it has a plus and a country code that exists."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    abroad = _ABROAD.fullmatch(candidate)
    if not abroad:
        return False
    digits = _NOT_DIGITS.sub("", abroad.group(1))
    return any(int(digits[:size]) in COUNTRY_CODE_TO_REGION_CODE for size in (1, 2, 3))


def _holds(region: str, candidate: str) -> bool:
    """Whether a part of a candidate can be a valid number in a country; True if in doubt."""
    return _test(region, candidate, _anywhere(region))


def _ends(region: str, candidate: str) -> bool:
    """Whether the digits of a candidate can end with a valid number; True if in doubt."""
    return _test(region, candidate, _at_the_end(region))


def _test(region: str, candidate: str, numbers: re.Pattern[str] | None) -> bool:
    if numbers is None or not _PLAIN.fullmatch(candidate):
        return True
    digits = _NOT_DIGITS.sub("", candidate)
    least, abroad = _numbers_of(region)
    if len(digits) >= least and numbers.search(digits):
        return True
    return bool(abroad.search(digits))


@cache
def _anywhere(region: str) -> re.Pattern[str] | None:
    pattern = _valid(region)
    return re.compile(pattern) if pattern else None


@cache
def _at_the_end(region: str) -> re.Pattern[str] | None:
    pattern = _valid(region)
    return re.compile(rf"{pattern}\Z") if pattern else None


@cache
def _valid(region: str) -> str:
    """An expression for all valid numbers with the code of a country; empty where its rules may
    add digits.
    """
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, country_code_for_region

    shared = COUNTRY_CODE_TO_REGION_CODE.get(country_code_for_region(region), (region,))
    known = {name: PhoneMetadata.metadata_for_region(name, None) for name in (*shared, region)}
    # A number is parsed by the rules of its country, or of the first one with its code.
    if not all(known[name] and _only_removes(known[name]) for name in (region, shared[0])):
        return ""
    kinds = [getattr(one, name) for one in known.values() for name in TYPES]
    patterns = [kind.national_number_pattern for kind in kinds if kind]
    return f"(?:{'|'.join(dict.fromkeys(filter(None, patterns)))})"


def _only_removes(metadata: Any) -> bool:
    """Whether what remains of a number, after the national prefix, is its end."""
    rule = metadata.national_prefix_transform_rule
    if not rule:
        return True
    prefix = metadata.national_prefix_for_parsing
    last = [match.start() for match in re.finditer(r"\((?!\?)", prefix)]
    if rule != f"\\{len(last)}":
        return False
    group = re.match(r"\([^()]*\)[)?]*\Z", prefix[last[-1] :])
    return group is not None
