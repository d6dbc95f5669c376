"""Finds the same faster: one Hyperscan pass shows which recognizers can match a text at all.

1. The filter may run a recognizer in vain. It may never skip one that would find something. Tests
   compare it with `PlainEngine` on fuzzed and real text.
2. Hyperscan sees ASCII. Other characters are folded to ASCII ones that no pattern distinguishes
   from them. Text that cannot be folded is searched by the plain engine.
3. Compiling the patterns takes about three seconds. The compiled ones can be kept in a file.
"""

from __future__ import annotations

import importlib.metadata
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance.attest import canonical, digests
from pipelines.pii.engine import Engine, PlainEngine, Span
from pipelines.pii.kept import KeptFile
from pipelines.pii.presidio import phone_test
from pipelines.pii.quick import QuickAnalyzer

TELLS_APART = re.compile(r"[^\x00-\x7f]|\\[xuUpPNX]|\[\^[^\]]*(?:_|\\v|[^aA0]-|-[^zZ9])")
"""Patterns that may distinguish a character from its folded form. Their recognizers always run."""


def fastest(plain: PlainEngine, kept: KeptFile | None = None) -> Engine:
    """The filtered engine. The plain one without Hyperscan, or if Hyperscan refuses a pattern.
    `kept`: the file for its compiled patterns.
    """
    try:
        import hyperscan
    except ImportError:  # there are no packages for some platforms
        return plain
    try:
        return FilteredEngine(plain, kept)
    except hyperscan.error:
        return plain


def fingerprint(plain: PlainEngine) -> str:
    """sha256 over what the compiled patterns depend on. Other changes of an engine keep them."""
    tests = [list(test) for recognizer in plain.recognizers for test in _tests(recognizer)]
    code = digests.sha256_file(Path(__file__))
    return digests.sha256_bytes(canonical.dumps([_version(), code, tests]))


def _version() -> str:
    try:
        return importlib.metadata.version("hyperscan")
    except importlib.metadata.PackageNotFoundError:
        return ""


class FilteredEngine:
    """The same findings without running recognizers that cannot match."""

    def __init__(self, plain: PlainEngine, kept: KeptFile | None = None) -> None:
        self.plain = plain
        self._always: set[str] = set()
        tested: dict[tuple[str, str], None] = {}
        for recognizer in plain.recognizers:
            tests = _tests(recognizer)
            has_test = tests or recognizer.name == "PhoneRecognizer"
            if not has_test or any(TELLS_APART.search(pattern) for _, pattern in tests):
                self._always.update(recognizer.supported_entities)
            tested |= dict.fromkeys(tests)  # the same in every language
        self._ids = [entity for entity, _ in tested]
        self._phone = phone_test(plain.policy.phone_regions)
        self._folded = Folded()
        self._quick = QuickAnalyzer(plain.analyzer)
        self._known = frozenset(plain.entities)
        self._database: Any = _loaded(kept) if kept else None
        if self._database is None:
            self._database = _compiled(
                [pattern.encode("ascii", "replace") for _, pattern in tested]
            )
            if kept:
                _keep(self._database, kept)

    def find(self, text: str) -> list[Span]:
        """The same findings as the plain engine."""
        folded = text if text.isascii() else text.translate(self._folded)
        if not folded.isascii():
            return self.plain.find(text)
        possible = set(self._always)
        self._database.scan(
            folded.encode("ascii"), match_event_handler=self._matched, context=possible
        )
        if self._phone.search(text):
            possible.add("PHONE_NUMBER")
        possible &= self._known
        return self.plain.search(text, sorted(possible), self._quick)

    def language(self, text: str) -> str:
        """See `Engine`."""
        return self.plain.language(text)

    def expect(self, texts: Sequence[str]) -> None:
        """See `Engine`."""
        self.plain.expect(texts)

    def _matched(self, index: int, start: int, end: int, flags: int, possible: set[str]) -> None:
        possible.add(self._ids[index])


class Folded(dict[int, int]):
    """A table for `str.translate`: each character to an ASCII one that no pattern distinguishes
    from it.

    A letter becomes `_`, white space a vertical tab, another sign a control character. A character
    stays if it could match as something else (digits, marks, invisible characters, letters that
    equal ASCII ones when case is ignored); such a text is searched by the plain engine.
    """

    def __missing__(self, code: int) -> int:
        import regex

        char = chr(code)
        if (
            code < 128
            or unicodedata.category(char)[0] in "MNC"
            or regex.match(r"[!-~]", char, regex.I | regex.U)
        ):
            folded = code
        elif regex.match(r"\w", char):
            folded = ord("_")
        else:
            folded = 11 if regex.match(r"\s", char) else 1
        self[code] = folded
        return folded


def _tests(recognizer: Any) -> list[tuple[str, str]]:
    """Entities and regular expressions: wherever one is found, its expression matches."""
    if recognizer.name == "LabelledRecognizer":
        return sorted({(rule.entity, rule.test) for rule in recognizer.rules})
    entity = recognizer.supported_entities[0]
    if recognizer.name == "UrlRecognizer":
        # All four of its patterns contain this one, and are slow to compile.
        return [(entity, recognizer.BASE_URL_REGEX)]
    return [(entity, pattern.regex) for pattern in getattr(recognizer, "patterns", [])]


def _compiled(expressions: list[bytes]) -> Any:
    """A Hyperscan database that reports at least every expression that matches an ASCII text."""
    import hyperscan

    flags = (
        hyperscan.HS_FLAG_PREFILTER
        | hyperscan.HS_FLAG_SINGLEMATCH
        | hyperscan.HS_FLAG_CASELESS
        | hyperscan.HS_FLAG_DOTALL
        | hyperscan.HS_FLAG_MULTILINE
    )
    database = hyperscan.Database()
    count = len(expressions)
    database.compile(
        expressions=expressions, ids=list(range(count)), elements=count, flags=[flags] * count
    )
    return database


def _keep(database: Any, kept: KeptFile) -> None:
    import hyperscan

    kept.write(hyperscan.dumpb(database))


def _loaded(kept: KeptFile) -> Any:
    """The database that was kept; None without one that this version and processor can use."""
    import hyperscan

    content = kept.read()
    if not content:
        return None
    try:
        database = hyperscan.loadb(content, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
    except hyperscan.error:
        return None
    return database
