"""How fast personal data is searched for, against a plain loop over Presidio's analyzer with the
same recognizers: `python -m benchmarks.scanning` prints the rows of benchmarks/results.md.

Both run in one process and in turns, and CPU time counts. The plain loop is Presidio with its own
matcher of telephone numbers, in English alone. Ours is the whole search of a scan with a cache to
write: disguised values, exclusions, the list of names and the language of each text are part of it.
The tagger of names is measured by itself.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parent.parent
ROUNDS = 5
PART, CLINICAL_PART, PLAIN_PART = 1_000, 150, 30
"""Texts in each round: of ours, of long ones, and of the plain loop, which is slow."""

WORDS = (  # noqa: SIM905 - a sentence reads better than a list
    "the parcel came late and one part was broken so I would like to know how it can be replaced"
    " before the end of next week since we leave for a journey and need it there thank you for your"
    " help with this matter"
).split()
PERSONAL = (
    "jane.roe@example.com",
    "+1 212 555 0188",
    "192.0.2.17",
    "DE89 3704 0044 0532 0130 00",
    "Mr. John Smith",
)


def texts(share: float, seed: int, count: int) -> list[str]:
    """Texts of 84 words, `share` of which hold one piece of personal data."""
    source = random.Random(seed)  # noqa: S311
    made = []
    for number in range(count):
        words = [source.choice(WORDS) for _ in range(84)] + [str(number)]
        if source.random() < share:
            words.insert(source.randrange(84), source.choice(PERSONAL))
        made.append(" ".join(words))
    return made


def clinical(seed: int, count: int) -> list[str]:
    """Texts of eight sentences of clinical notes, with made-up values in most of them."""
    from benchmarks.pii_unseen import filled

    source = random.Random(seed)  # noqa: S311
    made: list[str] = []
    while len(made) < count:
        sentences = [text for _ in range(8) for text, _ in filled("clinical", source)]
        source.shuffle(sentences)
        made += [" ".join(sentences[at : at + 8]) for at in range(0, len(sentences) - 7, 8)]
    return made[:count]


def corpora() -> dict[str, list[str]]:
    """Name to texts for all rounds."""
    return {
        "sparse text, 5% with a finding": texts(0.05, 7, ROUNDS * PART),
        "dense chat, 45% with a finding": texts(0.45, 7, ROUNDS * PART),
        "clinical notes, several findings in each": clinical(7, ROUNDS * CLINICAL_PART),
    }


def rows(say: Callable[[str], None]) -> list[tuple[str, str, str, str]]:
    """Lines of the benchmark's table."""
    from governance.base.yaml import load_model
    from governance.policy.data import PiiPolicy
    from pipelines.pii.engine import PlainEngine

    policy = load_model(ROOT / "policies/pii.yaml", PiiPolicy)
    plain = PlainEngine(policy.model_copy(update={"ner": "name-list"}), ROOT)
    found = []
    with TemporaryDirectory() as folder:
        for name, many in corpora().items():
            say(f"scan throughput, {name}")
            found += compared(plain, name, many, Path(folder) / f"{len(found)}.db")
    return [*found, tagger_row(texts(0.45, 7, 10_000))]


def compared(
    plain: Any, name: str, many: list[str], cache: Path
) -> Iterator[tuple[str, str, str, str]]:
    """The rows of one set of texts: searched first, and again when nothing changed."""
    from pipelines.pii.search import Search

    first = again = alone = 0.0
    with Search(plain, None, b"bench") as search:
        _in_parts(search, many[: len(many) // 5])  # loads what is loaded once
    for at in range(ROUNDS):
        part = many[at::ROUNDS]
        with Search(plain, cache, b"bench") as search:
            search._chosen(1 << 30)
            first += cpu(partial(_in_parts, search, part))
        with Search(plain, cache, b"bench") as search:
            again += cpu(partial(_in_parts, search, part))
        with stock_phone_matcher():
            analyze = partial(plain.analyzer.analyze, language="en")
            alone += cpu(partial(list, map(analyze, part[:PLAIN_PART])))
    count, speed = len(many), ROUNDS * PLAIN_PART / alone
    yield line(f"scan, {name}", count / first, speed)
    yield line(f"scan again, unchanged, {name}", count / again, speed)


def _in_parts(search: Any, many: list[str]) -> None:
    for at in range(0, len(many), 500):
        search.find(many[at : at + 500])


def tagger_row(many: list[str]) -> tuple[str, str, str, str]:
    """The tagger of names alone, in one process."""
    from pipelines.pii.tagger.model import Tagger

    tagger = Tagger()
    tagger.find(many[0])
    began = time.process_time()
    for text in many:
        tagger.find(text)
    rate = sum(map(len, many)) / (time.process_time() - began)
    return "names by the tagger alone", f"{rate:,.0f} characters per CPU-second", "", ""


@contextmanager
def stock_phone_matcher() -> Iterator[None]:
    """Presidio without changes, with the phone matcher that our engine replaces by a faster one."""
    import phonenumbers
    from phonenumbers.phonenumbermatcher import PhoneNumberMatcher

    quick = phonenumbers.__dict__["PhoneNumberMatcher"]
    phonenumbers.__dict__["PhoneNumberMatcher"] = PhoneNumberMatcher
    try:
        yield
    finally:
        phonenumbers.__dict__["PhoneNumberMatcher"] = quick


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def cpu(work: Callable[[], object]) -> float:
    """CPU-seconds that `work` takes in this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def line(what: str, ours: float, plain: float) -> tuple[str, str, str, str]:
    """One line: records per CPU-second of both, and how many times faster."""
    plainly = f"plain Presidio loop: {plain:,.0f} records/CPU-s"
    return what, f"{ours:,.0f} records/CPU-s", plainly, f"{ours / plain:.1f} times faster"


if __name__ == "__main__":
    for row in rows(lambda text: print(f"bench: {text}", file=sys.stderr)):
        print("| " + " | ".join(row) + " |")
