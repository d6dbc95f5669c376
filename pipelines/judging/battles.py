"""What a judge said of two answers to one question, and the style of the answers.

Texts are not kept: of an answer there is its style and its digest.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import NamedTuple

WIN, TIE, LOSS = 1.0, 0.5, 0.0


class Style(NamedTuple):
    """What judges may prefer apart from content (https://lmsys.org/blog/2024-08-28-style-control)."""

    length: float
    """Characters; tokens where a file counts them."""
    headers: float
    lists: float
    """Items of lists."""
    bold: float
    """Bold passages."""


class Answer(NamedTuple):
    """One answer, without its text."""

    style: Style
    digest: bytes


class Battle(NamedTuple):
    """One comparison of the answers of two models to one question."""

    item: str
    """The question. What has the same is drawn together in samples."""
    position: int
    """The row of its file, from 0."""
    first: str
    second: str
    """Names of models. Of a comparison with a baseline, that is the second."""
    win: float | None
    """1 if the first won, 0.5 for a tie, 0 if the second won, or a probability; None without a
    verdict.
    """
    orders: tuple[float, float] | None = None
    """The same with the first model's answer shown first, and with it shown second; None where the
    file does not have both.
    """
    judge: str = ""
    answers: tuple[Answer, Answer] | None = None
    price: float | None = None
    """As the file has it."""


class Score(NamedTuple):
    """What a judge gave to one answer alone."""

    item: str
    model: str
    turn: int
    score: float | None
    """None without a verdict."""
    judge: str = ""


@dataclass(frozen=True)
class Judged:
    """What a file holds: comparisons, or scores of single answers."""

    battles: tuple[Battle, ...] = ()
    scores: tuple[Score, ...] = ()
    has_baseline: bool = False
    """Whether `second` is one model that all others are compared with."""


_CODE = re.compile(r"```[^`]*```")
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
_LIST = re.compile(r"^[ \t]*(?:\d{1,9}\.|[-*+])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")


def style_of(text: str) -> Style:
    """The style of an answer, as Arena counts it. Blocks of code count for length alone."""
    prose = _CODE.sub("", text) if "```" in text else text
    return Style(
        length=len(text),
        headers=len(_HEADER.findall(prose)),
        lists=len(_LIST.findall(prose)),
        bold=len(_BOLD.findall(prose)),
    )


def answer_of(text: str) -> Answer:
    """An answer without its text."""
    return Answer(style_of(text), hashlib.sha256(text.encode()).digest())


def both_orders(given: float, swapped: float) -> float:
    """The outcome of two verdicts on the same answers, in both orders: a win if both say so, else a
    tie (Zheng et al. 2023, https://arxiv.org/abs/2306.05685, section 3.4).
    """
    return given if given == swapped else TIE
