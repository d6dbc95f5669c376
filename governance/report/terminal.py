"""Sections of the page as text for a terminal: the same template, so the same content.

An element of the page names its sections in `data-section`. A table row is one line; no line begins
with text that a person wrote.
"""

from __future__ import annotations

from html.parser import HTMLParser

VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})
SKIPPED = frozenset({"nav", "pre", "style", "svg"})
LINES = frozenset({"caption", "dd", "h1", "h2", "h3", "h4", "li", "p", "summary"})
"""Elements that are a line, or a part of a cell."""
PIECES = LINES | {"dt", "td", "th", "div"}
"""Elements at which text ends."""


def section(page: str, name: str) -> list[str]:
    """The lines of every element of the page that belongs to the section."""
    reader = _Section(name)
    reader.feed(page)
    reader.close()
    return reader.lines


class _Section(HTMLParser):
    def __init__(self, name: str) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self._name = name
        self._open: list[tuple[str, bool]] = []
        """The open elements, and whether what they contain is shown."""
        self._text: list[str] = []
        self._term = ""
        self._row: list[list[str]] = []
        """The cells of the open table row, each of pieces."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        if tag in PIECES:
            self._end_piece()
        sections = (dict(attrs).get("data-section") or "").split()
        shown = self._shown or self._name in sections
        self._open.append((tag, shown and tag not in SKIPPED))
        if tag in ("td", "th"):
            self._row.append([])
        if tag == "q":
            self._text.append("“")

    def handle_endtag(self, tag: str) -> None:
        if tag == "q":
            self._text.append("”")
        if tag in PIECES:
            self._end_piece(tag)
        if tag == "tr":
            cells = ["; ".join(cell) for cell in self._row]
            self._row = []
            if any(cells):
                self.lines.append(f"  {' | '.join(cells)}")
        if tag not in VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._shown:
            self._text.append(data)

    @property
    def _shown(self) -> bool:
        return bool(self._open) and self._open[-1][1]

    def _end_piece(self, tag: str = "") -> None:
        """Puts the text so far into its cell, its term or a line of its own."""
        text = " ".join("".join(self._text).split())
        self._text = []
        if not text.strip("“”"):
            return
        if self._row:
            self._row[-1].append(text)
        elif tag == "dt":
            self._term = text
        else:
            self.lines.append(f"  {self._term:<15} {text}" if self._term else f"  {text}")
            self._term = ""
