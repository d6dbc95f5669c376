"""Finds values that are written so that no pattern matches them: a second search over a copy of the
text in plain form.

1. The copy undoes escapes (HTML, percent, JSON), invisible and look-alike characters, Markdown
   inside values, "at" and "dot" in words, digits in words or apart, and base64 that holds text.
2. Each character of the copy knows the place it comes from. A finding of the copy stands for that
   place of the original. It counts only if something was undone within it or just before it.
3. A cheap test decides which texts have a copy at all.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from pipelines.pii.engine import Engine, Span

IGNORED = frozenset({"URL", "DATE_TIME"})
"""Entities of which a copy has none: decoding changes the parts of any address."""


@dataclass(frozen=True)
class Copy:
    """A text in plain form."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    """Where each character comes from: the original's characters `starts` to `ends`."""

    def changed(self, pattern: re.Pattern[str], plain: Callable[[re.Match[str]], str]) -> Copy:
        """With matches replaced. A character that stays keeps its place; where the length changes,
        all the new characters have the place of the match.
        """
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        at = 0
        for match in pattern.finditer(self.text):
            new = plain(match)
            if new == match.group():
                continue
            pieces += [self.text[at : match.start()], new]
            starts += self.starts[at : match.start()]
            ends += self.ends[at : match.start()]
            if len(new) == len(match.group()):
                starts += self.starts[match.start() : match.end()]
                ends += self.ends[match.start() : match.end()]
            else:
                starts += [self.starts[match.start()]] * len(new)
                ends += [self.ends[match.end() - 1]] * len(new)
            at = match.end()
        if not pieces:
            return self
        return Copy(
            "".join([*pieces, self.text[at:]]),
            (*starts, *self.starts[at:]),
            (*ends, *self.ends[at:]),
        )


def find(engine: Engine, text: str) -> list[Span]:
    """The findings of `engine` in a text, and those in its copy. Raises `Unscanned`."""
    spans = engine.find(text)
    if not is_possible(text):
        return spans
    hidden = [one for copy in copies(text) for one in _from(engine.find(copy.text), copy, text)]
    new = [one for one in hidden if not any(_covers(other, one) for other in spans)]
    return sorted({*spans, *new})


def _from(found: list[Span], copy: Copy, text: str) -> Iterator[Span]:
    """The findings of a copy in which something was undone, at their places in the original."""
    for span in found:
        start, end = copy.starts[span.start], copy.ends[span.end - 1]
        if span.entity in IGNORED:
            continue
        before = copy.text[max(0, span.start - 1) : span.start]
        undone = text[start:end] != copy.text[span.start : span.end]
        if undone or before != text[max(0, start - 1) : start]:
            yield replace(span, start=start, end=end)


def _covers(other: Span, one: Span) -> bool:
    same = other.entity == one.entity and other.score >= one.score
    return same and other.start <= one.start and one.end <= other.end


def copies(text: str) -> Iterator[Copy]:
    """The text in plain form, and what its base64 holds; nothing where that is the text itself."""
    places = range(len(text))
    first = Copy(text, tuple(places), tuple(at + 1 for at in places))
    plain = first
    for pattern, change in STEPS:
        may_match = TESTS.get(pattern)
        if may_match is None or may_match(plain.text):
            plain = plain.changed(pattern, change)
    if plain.text != text:
        yield plain
    decoded = plain.changed(_BASE64, _decoded)
    if decoded.text != plain.text:
        yield decoded


# --- steps ----------------------------------------------------------------------------------------


def _escape(match: re.Match[str]) -> str:
    text = match.group()
    if text[0] == "&":
        return html.unescape(text)
    if text[0] == "%":
        decoded = unquote_to_bytes(text).decode("utf-8", "replace")
        return text if "\ufffd" in decoded else decoded
    return chr(int(text[2:].strip("{}"), 16)) if text[2:] else text


LOOK_ALIKE = str.maketrans(
    "аеорсухіјѕԁһкмтвнгАЕОРСУХІЈЅКМТВНαορνικΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɡ‐‑‒–—―−﹣⁃∙•․‧。",
    "aeopcyxijsdhkmtbhrAEOPCYXIJSKMTBHaopvikABEZHIKMNOPTYXig---------.....",
)
"""Cyrillic, Greek and other characters that look like ASCII ones (after Unicode TR 39)."""


def _character(match: re.Match[str]) -> str:
    char = match.group()
    if unicodedata.category(char) in ("Cf", "Mn", "Me"):
        return ""
    digit = unicodedata.digit(char, None)
    if digit is not None:
        return str(digit)
    return unicodedata.normalize("NFKC", char).translate(LOOK_ALIKE)


def _letters_as_digits(match: re.Match[str]) -> str:
    text = match.group()
    digits = sum(char.isdigit() for char in text)
    if digits < 5 or digits * 2 < sum(char.isalnum() for char in text):
        return text
    return text.translate(str.maketrans("OoIl|", "00111"))


DIGITS = {
    **{word: str(at) for at, word in enumerate(("zero", "one", "two", "three", "four", "five"))},
    **{word: str(at) for at, word in enumerate(("six", "seven", "eight", "nine"), 6)},
    **{word: str(at) for at, word in enumerate(("null", "eins", "zwei", "drei", "vier", "fünf"))},
    **{word: str(at) for at, word in enumerate(("sechs", "sieben", "acht", "neun"), 6)},
    **{word: str(at) for at, word in enumerate(("cero", "uno", "dos", "tres", "cuatro", "cinco"))},
    **{word: str(at) for at, word in enumerate(("seis", "siete", "ocho", "nueve"), 6)},
    **{word: str(at) for at, word in enumerate(("zéro", "un", "deux", "trois", "quatre", "cinq"))},
    **{word: str(at) for at, word in enumerate(("sept", "huit", "neuf"), 7)},
    "oh": "0",
    "zwo": "2",
}
_WORD = "|".join(sorted(DIGITS, key=len, reverse=True))


def _from_words(match: re.Match[str]) -> str:
    words = re.findall(_WORD, match.group(), re.IGNORECASE)
    text = "".join(DIGITS.get(word.lower(), word) for word in words)
    return match.group() if text in "0123456789" else text


def _joined(match: re.Match[str]) -> str:
    """Digits that stand apart, without what stands between; nine are set as a US number is."""
    digits = re.sub(r"\D", "", match.group())
    if digits in "01234567890" or match.group().count(".") == 3 == len(
        re.findall(r"\D", match.group())
    ):
        return match.group()
    if len(digits) == 9:
        return f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"
    return digits


def _spaceless(match: re.Match[str]) -> str:
    return re.sub(r"\s", "", match.group())


def _mail(match: re.Match[str]) -> str:
    user, at, host = match.group("user", "at", "host")
    bare = at.strip().isalpha()
    host = re.sub(_DOT, ".", host, flags=re.IGNORECASE)
    user = re.sub(_DOT, ".", user, flags=re.IGNORECASE)
    if bare and host == match.group("host") and not _MAIL_HOST.search(host):
        return match.group()  # "we met at example.com"
    return f"{user}@{host}"


def _decoded(match: re.Match[str]) -> str:
    token = match.group()
    try:
        padded = token.rstrip("=") + "=" * (-len(token.rstrip("=")) % 4)
        text = base64.b64decode(padded, altchars=b"-_" if set("-_") & set(token) else None)
        plain = text.decode("utf-8")
    except (binascii.Error, ValueError):
        return token
    return f" {plain} " if len(plain) >= 6 and plain.isprintable() else token


_DOT = r"\s?[\[({<]\s?(?:dot|punkt|punto|point|\.)\s?[\])}>]\s?|\s(?:dot|punkt|punto)\s|\s\.\s"
_AT = (
    r"\s?[\[({<]\s?(?:at|ät|arroba|arobase|chez|a|@)\s?[\])}>]\s?"
    r"|\s(?:at|arroba|arobase|klammeraffe|chiocciola)\s|\s?@\s?"
)
_HOST = rf"[a-z0-9-]{{1,40}}(?:(?:{_DOT}|\.)[a-z0-9-]{{2,30}}){{1,4}}"
_MAIL_HOST = re.compile(
    r"^(?:gmail|googlemail|outlook|hotmail|yahoo|icloud|proton|gmx|aol|live)", re.I
)

_MAIL = re.compile(
    rf"(?P<user>[a-z0-9_+-]{{1,40}}(?:(?:{_DOT}|\.)[a-z0-9_+-]{{1,40}}){{0,4}})"
    rf"(?P<at>{_AT})(?P<host>{_HOST})(?![a-z0-9])",
    re.IGNORECASE,
)
_AT_HOST = re.compile(rf"(?:{_AT}){_HOST}", re.IGNORECASE)
_NUMBER = re.compile(rf"\b(?:{_WORD})(?:[\s,-]{{1,2}}(?:{_WORD})){{6,19}}\b", re.IGNORECASE)

STEPS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (
        re.compile(
            r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,12});|(?:%[0-9a-f]{2})+"
            r"|\\u[0-9a-f]{4}|\\u\{[0-9a-f]{1,5}\}|\\x[0-9a-f]{2}",
            re.IGNORECASE,
        ),
        _escape,
    ),
    (re.compile(r"[?&](?P<name>[\w.-]{1,40})="), lambda match: f" {match.group('name')}: "),
    (re.compile(r"[^\x00-\x7f]"), _character),
    (
        re.compile(
            r"(?:\*\*|\*|~~|`|</?[a-z]{1,6}>)(?=[\w+@.-])|(?<=[\w@.-])(?:\*\*|\*|~~|`|</?[a-z]{1,6}>)"
        ),
        lambda _: "",
    ),
    (re.compile(r"\\([_@.\-+])"), lambda match: match.group(1)),
    (
        _MAIL,
        _mail,
    ),
    (
        re.compile(
            r"(?<![\d.])\d{1,3}(?:\s?(?:\.|[\[({]\s?(?:dot|\.)\s?[\])}]|dot)\s?\d{1,3}){3}(?![\d.]*\d)"
        ),
        lambda match: re.sub(r"\D+", ".", match.group()),
    ),
    (
        _NUMBER,
        _from_words,
    ),
    (
        re.compile(r"(?<![A-Za-z0-9])[0-9OoIl|](?:[ ().-]{0,2}[0-9OoIl|]){6,22}(?![A-Za-z0-9])"),
        _letters_as_digits,
    ),
    (re.compile(r"(?<![\w.,])\d(?:[ ._/-]{1,3}\d){5,18}(?!\d|[ ._/-]{1,3}\d)"), _joined),
    (re.compile(r"(?<![\w.,])\d{1,4}(?:\s?[-_/·]\s?\d{1,4}){3,9}(?!\w)"), _joined),
    (re.compile(r"(?<![\w.,])\d{3}\s?[-./]\s?\d{2}\s?[-./]\s?\d{4}(?!\w)"), _joined),
    (
        re.compile(r"(?<!\d)(?P<group>\d{2,4})\s-\s(?=\d{2,4}(?!\d))"),
        lambda match: match["group"] + "-",
    ),
]
"""What is undone, in this order: each matches in linear time."""

TESTS: dict[re.Pattern[str], Callable[[str], object]] = {
    _MAIL: _AT_HOST.search,
    _NUMBER: lambda text: _may_have_digit_words(text),
}
"""Cheap tests for slow expressions: what they say no to has no match."""

_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?=[^\s]{0,40}[A-Z])[A-Za-z0-9+/_-]{12,4000}={0,2}(?![A-Za-z0-9+/=_-])"
)

_HINTS = [
    (needs, re.compile(pattern))
    for needs, pattern in (
        ("&%\\?", r"&#?\w{2,8};|%[0-9A-Fa-f]{2}|\\[ux]|\\[_@.\-+]|[?&][\w.-]{1,40}="),
        ("@*", r"\s@|@\s|@\w*\*|\w\*\*\w"),
        ("[({<", r"[\[({<]\s?(?i:at|ät|dot|@|\.)\s?[\])}>]"),
        (
            ("dot", "punkt", "punto", "arroba", "arrobase", "klammeraffe"),
            r"\b(?i:dot|punkt|punto|arroba|arrobase|klammeraffe)\b",
        ),
        (
            ("mail", "outlook", "yahoo", "icloud", "proton", "gmx", "aol", "live"),
            r"\s[aA][tT]\s(?i:gmail|googlemail|outlook|hotmail|yahoo|icloud|proton|gmx|aol|live)\b",
        ),
        ("*`~>", r"[*`~>]\d"),
    )
]
"""What a text has one of, in lower case, where an expression matches; and the expression. To look
for a string is far cheaper.
"""

_DIGIT_HINT = re.compile(
    r"\d(?:\s?[*`~<]|[Il|Oo]|\s\.|\s-\s\d|[ ._/-]{1,3}\d(?:[ ._/-]{1,3}\d){4}"
    r"|[-_/·.]\d{1,4}[-_/·.]\d)"
)
_RUN = 16
_RUN_HINT = re.compile(r"[A-Za-z0-9+/_-]{16}")
_SIGN_HINT = re.compile(
    r"[\u00ad\u0300-\u036f\u0370-\u03ff\u0400-\u04ff\u0660-\u0669\u06f0-\u06f9\u0966-\u096f"
    r"\u200b-\u200f\u2010-\u2012\u2060-\u2064\u2070-\u209c\u20e3\u2212\u2460-\u24ff\u3002"
    r"\ufe00-\ufe0f\ufeff\uff01-\uff5e\U0001d400-\U0001d7ff]"
)

_ALSO_I_OR_S = re.compile("[ıİſ]")
"""Expressions that ignore case take these for the letters i and s. `str.lower` does not."""

_DIGIT_WORDS = re.compile(rf"\b(?:{_WORD})(?:[\s,-]{{1,2}}(?:{_WORD})){{6}}\b", re.IGNORECASE)


def is_possible(text: str) -> bool:
    """Whether a text may hold a disguised value: a cheap test."""
    lower, odd = text.lower(), False
    if not text.isascii():
        if _SIGN_HINT.search(text):
            return True
        odd = bool(_ALSO_I_OR_S.search(text))
    for needs, hint in _HINTS:
        if (odd or any(need in lower for need in needs)) and hint.search(text):
            return True
    if _DIGIT_HINT.search(text):
        return True
    if max(map(len, lower.split()), default=0) >= _RUN and _RUN_HINT.search(text):
        return True
    return _may_have_digit_words(text) and bool(_DIGIT_WORDS.search(text))


def _may_have_digit_words(text: str) -> bool:
    """Of seven digit words in a row, five stand alone: signs may touch the first and the last."""
    words = text.lower().replace(",", " ").replace("-", " ").split()
    known = not DIGITS.keys().isdisjoint(words) and sum(map(DIGITS.__contains__, words)) >= 5
    return known or bool(_ALSO_I_OR_S.search(text))
