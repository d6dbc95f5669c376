"""Known defects of questions and answers, record by record: what instruction data is documented to
have (AlpacaDataCleaned's list of defects) and what a reader sees at once.

Each rule is a heuristic that reads the question and the answer as they stand. docs/quality.md has
what each finds on labelled data, and its false alarms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from pipelines.features.leaks import Around
from pipelines.features.turns import Column, Records, fingerprints, normal_texts
from pipelines.rewards.refusal import BEGINNINGS

# --- one record -----------------------------------------------------------------------------------


def refusal(records: Records, around: Around) -> Column:
    """Whether the answer begins like a refusal, by the phrases that evaluation counts."""
    return _flags(BEGINNINGS.match(answer) is not None for answer in records.answer)


_NO_OUTPUT = re.compile(
    r"\W*(?:no ?(?:output|input|answer|response)|n/?a|none|null|nan|todo|empty)\W*", re.IGNORECASE
)


def no_output(records: Records, around: Around) -> Column:
    """Whether the answer only says that there is none: `No output`, `N/A`, `<noinput>`."""
    return _flags(_NO_OUTPUT.fullmatch(answer) is not None for answer in records.answer)


_UNFINISHED = re.compile(
    r"(?:[,(\[{\-–—]|\b(?:and|or|but|because|the|a|an|of|to|with|for|from|that|which|is|are|was"
    r"|und|oder|aber|weil|der|die|das|ein|eine|mit|für|y|o|pero|porque|el|la|los|las|un|una|de|con"
    r"|et|ou|mais|le|les|des|du|avec|pour))\Z",
    re.IGNORECASE,
)
_CLOSED = re.compile(r"""[.!?:;…。！？`"'”’»)\]}>*_|\d%]\Z""")
PROSE = 12
"""From so many words on, a last line without a mark at its end counts as cut off."""


def truncated_answer(records: Records, around: Around) -> Column:
    """Whether the answer seems cut off: it ends within a sentence, or in an open block of code."""
    return _flags(_is_truncated(answer) for answer in records.answer)


def _is_truncated(answer: str) -> bool:
    text = answer.strip()
    if text.count("```") % 2:
        return True
    words = text.rsplit("\n", 1)[-1].split()
    if len(text.split()) < 4:
        return False  # a label or a name
    if _UNFINISHED.search(text):
        return True
    signed = words[-1][0].isupper() or words[-1][0] == "#"  # a name, or a tag
    return len(words) >= PROSE and not signed and _CLOSED.search(text) is None


_MATERIAL = (
    r"(?:text|passage|paragraph|sentences?|article|poem|story|essay|code|snippet|table|list|data"
    r"|dataset|e-?mail|review|tweet|quote|words?|numbers?|equation|document|dialogue|conversation)"
)
_REFERS = re.compile(
    rf"\b(?:following|(?<!a )given|(?<!a )provided|below|attached)\s+(?:\w+\s+){{0,2}}{_MATERIAL}\b"
    rf"|\b{_MATERIAL}\s+(?:below|provided|given above)\b",
    re.IGNORECASE,
)
_HAS_MATERIAL = re.compile(r"\n\s*\S|[:\"“'«(`\[]\s*\S")


def missing_input(records: Records, around: Around) -> Column:
    """Whether a first question speaks of a text that is not there: `Edit the following text.`"""
    return _flags(
        first and bool(_REFERS.search(question)) and not _HAS_MATERIAL.search(question)
        for question, first in zip(records.question, records.asks_once, strict=True)
    )


_TEMPLATE = re.compile(
    r"^(?:\W{0,4}(?:instruction|input|prompt|human)|#{1,4} (?:response|output))\s*\d*\s*:",
    re.I | re.M,
)


def merged_instructions(records: Records, around: Around) -> Column:
    """Whether an answer goes on with another instruction, or a question has several, by the marks
    of templates: `Instruction:`, `### Input:`, `Human:`.
    """
    return _flags(
        bool(_TEMPLATE.search(answer)) or len(_TEMPLATE.findall(question)) > 2
        for question, answer in zip(records.question, records.answer, strict=True)
    )


_LINK = re.compile(
    r"!\[[^\]]*\]\(|\b(?:this|attached|following|above|below) (?:image|picture|photo(?:graph)?"
    r"|screenshot|video|audio|attachment)\b|\b(?:open|visit|read|watch|summari[sz]e|look at|see)\b"
    r"[^.?!\n]{0,60}https?://",
    re.IGNORECASE,
)


def unusable_link(records: Records, around: Around) -> Column:
    """Whether the question asks for what a text does not hold: an image, a file, a web page."""
    return _flags(_LINK.search(question) is not None for question in records.question)


_LANGUAGE = (
    r"(?:python|java(?:script)?|typescript|c\+\+|c#|sql|html|css|bash|shell|php|ruby|rust|golang"
    r"|kotlin|swift|perl|excel|r)"
)
_ASKS_CODE = re.compile(
    r"\b(?:write|create|implement|develop|construct|generate)\b[^.?!\n]{0,60}"
    r"(?:\b(?:function|regex|regular expression|code snippet)\b"
    rf"|\b{_LANGUAGE}\b[^.?!\n]{{0,20}}\b(?:code|program|script|class|query|command|method|macro)\b"
    rf"|\b(?:code|program|script|class|query|macro)\b[^.?!\n]{{0,20}}\bin {_LANGUAGE}\b)",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"```|[{};]|\w\(|[<>=]|\b(?:def|return|import|print|SELECT|select|echo)\b|\$ |\\\w"
)


def code_missing(records: Records, around: Around) -> Column:
    """Whether the question asks for code and the answer has nothing that looks like some."""
    return _flags(
        bool(_ASKS_CODE.search(question)) and not _CODE.search(answer)
        for question, answer in zip(records.question, records.answer, strict=True)
    )


# --- sums -----------------------------------------------------------------------------------------

_NUMBER = r"(?!0\d)(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_SUM = re.compile(
    rf"(?<![\w.,%^/*×÷+=)–-])(?<![\d.)+*/=×÷–-]\s)"
    rf"(?P<sum>\$?(?:{_NUMBER})(?:\s?[-+*/×÷x]\s?\$?(?:{_NUMBER})){{1,12}})"
    rf"\s?=\s?\$?(?P<result>-?(?:{_NUMBER}))(?![\w%^]|[.,]\d|:\d|\s?[-+*/×÷–x]|\s\d)"
)
_TERM = re.compile(rf"(?P<operator>[-+*/×÷x])?\s?\$?(?P<number>{_NUMBER})\s?")
MOST_DIGITS = 30
"""A longer sum is no arithmetic that people write."""


def wrong_sums(records: Records, around: Around) -> Column:
    """Number of sums in the answer that do not come out: `48/2 = 25`. A result may be rounded, or
    cut, at its last digit. A sum with two divisions, a variable or a mixed number is not read.
    """
    return np.array(
        [
            sum(not _comes_out(match["sum"], match["result"]) for match in _SUM.finditer(answer))
            for answer in records.answer
        ],
        dtype=float,
    )


def _comes_out(text: str, result: str) -> bool:
    if len(re.findall("[/÷]", text)) > 1:
        return True  # `25 / 1/3` is read in two ways
    value, printed = _value(text), result.replace(",", "")
    if value is None:
        return False
    unit = Fraction(1, 10 ** len(printed.partition(".")[2]))
    whole = "." not in printed and value.denominator == 1
    return value == Fraction(printed) if whole else abs(value - Fraction(printed)) < unit


def _value(text: str) -> Fraction | None:
    """The value of a sum of products; None where it divides by nothing."""
    total, product = Fraction(0), Fraction(0)
    for term in _TERM.finditer(text):
        number = Fraction(term["number"].replace(",", "")[:MOST_DIGITS])
        match term["operator"]:
            case None:
                product = number
            case "+" | "-" as sign:
                total, product = total + product, number if sign == "+" else -number
            case "/" | "÷":
                if number == 0:
                    return None
                product /= number
            case _:
                product *= number
    return total + product


# --- all records together -------------------------------------------------------------------------


def answer_share(records: Records, around: Around) -> Column:
    """The share of records that have this record's answer, in normal form. A dataset of which most
    records have one answer teaches that answer. NaN where the answer is none to learn.
    """
    prints = fingerprints(normal_texts(records.answer)).astype(float)
    prints[~records.wanted] = np.nan
    return prints


_MARKDOWN = re.compile(r"```|\*\*|^#{1,6} |^\s*(?:[-*•]|\d+\.) ", re.MULTILINE)


def form_share(records: Records, around: Around) -> Column:
    """The share of records whose answer has the form of this one: whether it begins with a small
    letter, ends with a mark, and uses Markdown. Small where a set mixes forms.
    """
    return np.array([_form(answer.strip()) for answer in records.answer], dtype=float)


def _form(answer: str) -> int:
    ends = answer[-1:] in ".!?。！？\"'”)"
    return 4 * answer[:1].islower() + 2 * ends + bool(_MARKDOWN.search(answer))


def share_of_equal(values: Column, around: Around) -> Column:
    """The share of the values, NaN aside, that equal each one; 0 for NaN."""
    known = ~np.isnan(values)
    shares = np.zeros(len(values))
    if known.any():
        _, which, counts = np.unique(values[known], return_inverse=True, return_counts=True)
        shares[known] = counts[which] / known.sum()
    return shares


def _flags(values: Iterable[bool]) -> Column:
    return np.fromiter(values, dtype=bool)
