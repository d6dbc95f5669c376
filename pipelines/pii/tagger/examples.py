"""The labelled texts that the tagger is trained on and measured with.

1. Sets of `../shared/data` with a licence that permits it: WNUT17 and BTC (CC-BY-4.0), SEC filings
   (CC-BY-3.0), presidio-research (MIT), pii_anon (CC0 and CC-BY-4.0).
2. Whole sources are held out for the scores: the development part of WNUT17 (another site than its
   training part), BTC a and e, and one template in five of presidio-research.
3. Names and places are replaced by others while training, so that their surroundings are learned.
4. The sets put a space between all tokens. Most of these spaces are removed again.
5. `templates.txt` adds sentences of our own in the style of reference works, news and letters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pipelines.pii.tagger.lists import Names

TEMPLATES = Path(__file__).with_name("templates.txt")

UNSURE = -1
"""A label that is neither trained on nor measured."""

LABELS = {
    **dict.fromkeys(("person", "PER", "PERSON", "PERSON_NAME"), 1),
    **dict.fromkeys(("location", "LOC", "LOCATION"), 2),
    **dict.fromkeys(("ORG", "ORGANIZATION", "ORGANIZATION_NAME", "group", "corporation"), 3),
    **dict.fromkeys(("ADDRESS", "STREET_ADDRESS", "USERNAME"), UNSURE),
}
"""Label of a set to the tagger's number; others are no name."""

NO_NAMES = frozenset(
    {"borrower", "lender", "bank", "commonwealth", "remarketing agent"}
    | {"the", "we", "god", "allah", "pope"}
)
"""What a set labels as a name although it is none."""

LONGEST = 1_500
"""Characters; longer examples are left out."""


@dataclass(frozen=True)
class Example:
    """A text with its labels: (start, end, number of the kind)."""

    text: str
    labels: list[tuple[int, int, int]]


def labelled(data: Path) -> tuple[list[Example], dict[str, list[Example]]]:
    """What is trained on, and what is held out by set."""
    real = data / "ner_real"
    held_out = {
        "WNUT17 dev (social media)": list(_spans(real / "WNUT17/emerging.dev.conll.spans.jsonl")),
        "BTC a (tweets)": list(_spans(real / "BTC/a.conll.spans.jsonl")),
        "BTC e (tweets)": list(_spans(real / "BTC/e.conll.spans.jsonl")),
    }
    train = [
        *_spans(real / "WNUT17/wnut17train.conll.spans.jsonl"),
        *_spans(real / "BTC/b.conll.spans.jsonl"),
        *_spans(real / "SEC-filings/FIN5.txt.spans.jsonl"),
        *list(_spans(data / "pii_anon/test_technology.en.jsonl"))[::3],
    ]
    unseen = held_out.setdefault("presidio-research (templates not trained on)", [])
    for template, example in _presidio(data / "presidio_research/generated_large.json"):
        (train if template % 5 else unseen).append(example)
    return [example for example in train if len(example.text) <= LONGEST], held_out


def _spans(path: Path) -> Iterator[Example]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        spans = [(one["start"], one["end"], one["entity_type"]) for one in row["spans"]]
        yield _example(row["text"], spans)


def _presidio(path: Path) -> Iterator[tuple[int, Example]]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        spans = [
            (one["start_position"], one["end_position"], one["entity_type"]) for one in row["spans"]
        ]
        yield row["template_id"], _example(row["full_text"], spans)


def _example(text: str, spans: list[tuple[int, int, str]]) -> Example:
    labels = []
    for start, end, name in sorted(spans):
        value = text[start:end]
        is_name = value.lower() not in NO_NAMES and any(map(str.isalpha, value))
        labels.append((start, end, LABELS.get(name, 0) if is_name else 0))
    return Example(text, labels)


# --- what is changed while training ---------------------------------------------------------------

_NO_SPACE_BEFORE = re.compile(r"[.,!?%)\]…]|[;:](?!['-]?[)(DPp])|['’´]\s?(?:s|re|ve|ll|d|m|t)\b")


def joined(example: Example) -> Example:
    """The text without the spaces that only separate tokens."""
    text, places, kept = example.text, [], list[str]()
    length = 0
    for at, char in enumerate(text):
        places.append(length)
        is_inner = char == " " and 0 < at < len(text) - 1
        if is_inner and (_NO_SPACE_BEFORE.match(text, at + 1) or text[at - 1] in "(@#$["):
            continue
        kept.append(char)
        length += 1
    places.append(length)
    labels = [(places[start], places[end], kind) for start, end, kind in example.labels]
    return Example("".join(kept), labels)


class Writer:
    """Puts other names into examples, and writes sentences from templates."""

    def __init__(self, names: Names, random: Random) -> None:
        self.names, self.random = names, random
        lines = TEMPLATES.read_text(encoding="utf-8").splitlines()
        self._templates = [line for line in lines if line and not line.startswith("#")]

    def replaced(self, example: Example, share: float) -> Example:
        """Each person and place replaced with the probability `share`."""
        pieces, labels = _Pieces(), list[tuple[int, int, int]]()
        at = 0
        for start, end, kind in example.labels:
            if start < at:
                continue
            value = example.text[start:end]
            pieces.add(example.text[at:start])
            if self.random.random() < share:
                value = self._another(value, kind)
            labels.append((*pieces.add(value), kind))
            at = end
        pieces.add(example.text[at:])
        return Example(pieces.text, labels)

    def _another(self, value: str, kind: int) -> str:
        words = value.split()
        if not all(word[0].isalpha() for word in words):
            return value
        if kind == 1:
            new = self.person(len(words))
        elif kind == 2 and len(words) < 3:
            new = self.place()
        else:
            return value
        if value == value.lower():
            return new.lower()
        return new.upper() if value == value.upper() and len(value) > 3 else new

    def cased(self, example: Example) -> Example:
        """Now and then in capitals or lower case throughout."""
        draw, text = self.random.random(), example.text
        changed = text.upper() if draw < 0.03 else text.lower() if draw < 0.08 else text
        return Example(changed, example.labels) if len(changed) == len(text) else example

    # --- values

    def given(self) -> str:
        """A given name."""
        if self.random.random() < 0.35:
            return self.random.choice(self.random.choice(self.names.abroad)[0])
        return self._frequent(self.names.given, 2)

    def family(self) -> str:
        """A family name."""
        if self.random.random() < 0.35:
            return self.random.choice(self.random.choice(self.names.abroad)[1])
        return self._frequent(self.names.family, 3)

    def person(self, words: int) -> str:
        """A name of one, two or more words."""
        if words == 1:
            return self.given() if self.random.random() < 0.6 else self.family()
        given, family = self.given(), self.family()
        if self.random.random() < 0.35:
            country = self.random.choice(self.names.abroad)
            given, family = map(self.random.choice, country)
        draw = self.random.random()
        if words > 2:
            middle = f"{self._letter()}." if draw < 0.5 else self.given()
            return f"{given} {middle} {family}"
        if draw < 0.08:
            return f"{self._letter()}. {family}"
        if draw < 0.12:
            return f"{self._letter()}. {self._letter()}. {family}"
        if draw < 0.16:
            return f"{given} {self.random.choice(PARTICLES)} {family}"
        return f"{given}-{self.given()} {family}" if draw < 0.18 else f"{given} {family}"

    def place(self) -> str:
        """A city, a country or a state."""
        if self.random.random() < 0.25:
            return self.random.choice(self.names.regions)
        return self._frequent(self.names.cities, 2)

    def _frequent(self, values: list[str], power: int) -> str:
        return values[int(len(values) * self.random.random() ** power)]

    def _letter(self) -> str:
        return self.random.choice("ABCDEFGHIJKLMNOPRSTVW")

    # --- sentences

    def sentence(self) -> Example:
        """A sentence from a template."""
        template, pieces, labels = self.random.choice(self._templates), _Pieces(), []
        families: list[str] = []
        for at, part in enumerate(re.split(r"\{(\w)\}", template)):
            if at % 2 == 0:
                pieces.add(part)
                continue
            value, kind = self._value(part, families)
            labels.append((*pieces.add(value), kind))
        return Example(pieces.text, labels)

    def _value(self, slot: str, families: list[str]) -> tuple[str, int]:
        if slot == "P":
            person = self.person(2 if self.random.random() < 0.75 else 3)
            families.append(person.split()[-1])
            return person, 1
        if slot == "S":
            again = families and self.random.random() < 0.3
            return (families[0] if again else self.family()), 1
        values = {
            "F": (self.given, 1),
            "L": (self.place, 2),
            "O": (self._organisation, 3),
            "T": (self._title, 0),
            "D": (self._date, 0),
            "J": (lambda: self.random.choice(PROFESSIONS), 0),
        }
        make, kind = values[slot]
        return make(), kind

    def _organisation(self) -> str:
        shape = self.random.choice(ORGANISATIONS)
        letters = "".join(self._letter() for _ in range(self.random.choice((3, 3, 4))))
        first, second = self.random.choice(CAPITALS), self.random.choice(CAPITALS)
        return shape.format(
            L=self.place(), S=self.family(), W=first, V=second, v=second.lower(), A=letters
        )

    def _title(self) -> str:
        count = self.random.choice((1, 2, 2, 3))
        title = [self.random.choice(CAPITALS) for _ in range(count)]
        if count > 1 and self.random.random() < 0.3:
            title.insert(1, self.random.choice(("of", "and", "in")))
        return " ".join(title)

    def _date(self) -> str:
        day, year = self.random.randint(1, 28), self.random.randint(1850, 2015)
        month = self.random.choice(MONTHS)
        return f"{day} {month} {year}" if self.random.random() < 0.5 else f"{month} {day}, {year}"


class _Pieces:
    """A text that is put together."""

    def __init__(self) -> None:
        self.text = ""

    def add(self, piece: str) -> tuple[int, int]:
        """Appends a piece. Its place."""
        start = len(self.text)
        self.text += piece
        return start, len(self.text)


def _several(values: str) -> list[str]:
    return values.split("|")


PARTICLES = ("de", "da", "van", "von", "van der", "di", "del", "bin", "al", "la", "ten", "dos")
PROFESSIONS = _several(
    "footballer|politician|painter|actress|singer|lawyer|botanist|engineer|historian|bishop|poet"
    "|journalist|physicist|chess player|composer|architect|teacher"
)
MONTHS = _several(
    "January|February|March|April|May|June|July|August|September|October|November|December"
)
CAPITALS = _several(
    "Silent|River|Last|Golden|Winter|Garden|House|Road|Night|Story|Empire|Great|Northern|Bridge"
    "|Star|Light|Dark|Summer|Return|Secret|Island|Red|Black|White|Iron|Stone|Crown|Battle|Treaty"
    "|Council|National|Royal|Central|Museum|Library|Cup|Championship|League|Trophy|Project|Reform"
    "|Education|Water|Public|World|Modern|Music|Art|Science|Magic|Dream|Time|City|Street|Wild|Blue"
    "|Green|Machine|Data|System|Quality|Report|Review|Standard|Model|Home|Family|Love|Heart|Days"
    "|Years|Bay|Lake|Mount|Canal|Glacier|Sea|Symphony|Opera|Theatre|Prize|Medal|Mission|Congress"
)
"""Words for titles and organisations that name nobody."""
ORGANISATIONS = _several(
    "{L} University|University of {L}|{S} & Sons|{S} Institute|{L} F.C.|{L} United|{S} Inc.|{S} Ltd"
    "|{S} Group|{L} General Hospital|Bank of {L}|{S} and {S} LLP|{L} Symphony Orchestra"
    "|Ministry of {W}|{W} Corporation|{W}{v}|{W} {v} Company|National {W} Association|{A}"
    "|{S} Brothers|{L} City Council|{L} Times|{S} Motors|{W} Records|{W} Media|{S} College"
    "|Royal {W} Society|The {L} Post|{L} {V}s|{S} {W} Services|{W} {V} Foundation"
)
