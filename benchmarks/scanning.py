"""Scan and quality throughput: records per second, against a plain loop over Presidio's
analyzer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
RECORDS = 20_000
PLAIN_RECORDS = 400
"""Records for the plain loop. It is slow, so it gets a part, and its rate is reported."""

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


def rows(say: Callable[[str], None]) -> list[tuple[str, str, str, str]]:
    """Lines of the benchmark's table."""
    from governance.base.yaml import load_model
    from governance.policy.data import PiiPolicy
    from pipelines.pii.engine import PlainEngine
    from pipelines.pii.search import Search

    policy = load_model(ROOT / "policies/pii.yaml", PiiPolicy)
    plain = PlainEngine(policy, ROOT)
    found = []
    with TemporaryDirectory() as folder:
        for name, share in (
            ("sparse, 5% with a finding", 0.05),
            ("dense, 45% with a finding", 0.45),
        ):
            say(f"scan throughput, {name}")
            many = texts(share, 7, RECORDS)
            with stock_phone_matcher():
                alone = PLAIN_RECORDS / timed(partial(list, map(plain.find, many[:PLAIN_RECORDS])))
            with Search(plain, Path(folder) / f"{share}.db", b"bench") as search:
                search.find(many[:1])
                first = RECORDS / timed(partial(search.find, many))
            with Search(plain, Path(folder) / f"{share}.db", b"bench") as search:
                again = RECORDS / timed(partial(search.find, many))
            found.append(line(f"scan, {name}", first, alone))
            found.append(line(f"scan again, unchanged, {name}", again, alone))
    return [*found, tagger_row(texts(0.45, 7, RECORDS))]


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


def line(what: str, ours: float, plain: float) -> tuple[str, str, str, str]:
    """One line: records per second of both, and how many times faster."""
    plainly = f"plain Presidio loop: {plain:,.0f} records/s"
    return what, f"{ours:,.0f} records/s", plainly, f"{ours / plain:.1f} times faster"
