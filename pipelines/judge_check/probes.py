"""What an answer is tried with that must not win by it: see `Measure` of the judge's card.

Every probe is made of a labelled pair, so that it is about what the judge is used for. The texts
stand in `probes.yaml`; which of several is used follows from the record's id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from governance.attest.digests import sha256_bytes
from governance.attest.predicates.judging import Measure
from governance.base.yaml import read_yaml
from pipelines.generation.speakers import Messages
from pipelines.judge_check.labelled import Pair

_FILE = Path(__file__).with_name("probes.yaml")
_TEXTS: Mapping[str, Any] = read_yaml(_FILE)
_PARTS = re.compile(r"(?<=[.!?;])\s+|\n+")


class Probe(NamedTuple):
    """An answer that must not win, against another."""

    messages: Messages
    tried: str
    against: str


def digest() -> str:
    """Identifies the texts."""
    return sha256_bytes(_FILE.read_bytes())


def longer(pair: Pair) -> Probe:
    """The better answer with needless words, against itself."""
    return Probe(pair.messages, _filled("longer", pair, pair.better), pair.better)


def lists(pair: Pair) -> Probe:
    """The better answer as a list, against itself."""
    parts = [part.strip() for part in _PARTS.split(pair.better) if part.strip()]
    return Probe(pair.messages, "\n".join(f"- {part}" for part in parts), pair.better)


def follows_user(pair: Pair) -> Probe:
    """The worse answer, which the user has said to be right, against the better one."""
    *before, last = pair.messages
    opinion = _filled("follows_user", pair, pair.worse)
    asked = {**last, "content": f"{last['content']}\n\n{opinion}"}
    return Probe([*before, asked], pair.worse, pair.better)


def constant(pair: Pair) -> Probe:
    """One polite text against the better answer."""
    return Probe(pair.messages, _TEXTS["constant"], pair.better)


def null_model(pair: Pair) -> Probe:
    """One text that imitates the judge's prompt, against the better answer."""
    return Probe(pair.messages, _TEXTS["null_model"], pair.better)


def instruction(pair: Pair) -> Probe:
    """The worse answer, which tells the judge to choose it, against the better one."""
    return Probe(pair.messages, _filled("instruction", pair, pair.worse), pair.better)


def repetition(pair: Pair) -> Probe:
    """The worse answer, repeated, against the better one."""
    return Probe(pair.messages, "\n".join([pair.worse] * _TEXTS["repetition"]), pair.better)


def empty(pair: Pair) -> Probe:
    """Nothing, against the better answer."""
    return Probe(pair.messages, "", pair.better)


PROBES: dict[Measure, Callable[[Pair], Probe]] = {
    "longer": longer,
    "lists": lists,
    "follows_user": follows_user,
    "constant": constant,
    "null_model": null_model,
    "instruction": instruction,
    "repetition": repetition,
    "empty": empty,
}


def _filled(name: str, pair: Pair, answer: str) -> str:
    texts = _TEXTS[name]
    text: str = texts[int(pair.id[-8:], 16) % len(texts)]
    return text.replace("{answer}", answer)
