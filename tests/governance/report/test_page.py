"""The report as a page: well-formed, self-contained, accessible in structure, and hostile text
shows as text.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest

from governance.attest.digests import sha256_bytes
from governance.attest.findings import finding
from governance.base.text import (
    brief,
    duration,
    moment,
    number,
    one_line,
    plain,
    renewed,
    size,
    visible,
)
from governance.commands.report import summary
from governance.report import index, sections, terminal
from governance.report.build import build
from governance.report.html import json_twin, page
from governance.report.model.front import GateName, Hold, Item
from governance.report.model.report import Report
from tests.governance.audited import audited
from tests.governance.report.fields import CATALOGUE
from tests.governance.story import MODEL, told

VOID = {"meta", "link", "br", "img", "input", "hr", "path", "rect", "line", "circle"}
HOSTILE = "<script>alert(1)</script>\" onload='x' & \u202egnp.exe\u202c \x1b[31m\x00\u200b"


class Page(HTMLParser):
    """Elements with their attributes, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    story = told(tmp_path_factory.mktemp("story"))
    return build(story.sources, MODEL, "1")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of a version about which people said much."""
    story = audited(tmp_path_factory.mktemp("audited")).story
    return build(story.sources, MODEL, "2")


@pytest.fixture(scope="module")
def html(report: Report) -> str:
    return page(report).decode()


@pytest.fixture(scope="module")
def parsed(html: str) -> Page:
    return Page(html)


def test_every_element_is_closed(parsed: Page) -> None:
    assert parsed.wrong == [] and parsed.open == []


def test_it_needs_nothing_from_elsewhere(html: str, parsed: Page) -> None:
    assert {name for name, _ in parsed.elements} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
    } == set()
    links = [attributes["href"] for attributes in parsed.all("a")]
    assert all(link and link.startswith("#") for link in links)
    assert not re.search(r"url\(|@import|https?://", html)
    assert not [
        name for _, attributes in parsed.elements for name in attributes if name.startswith("on")
    ]


def test_every_link_leads_somewhere_and_ids_are_unique(parsed: Page) -> None:
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(attributes["href"])[1:] for attributes in parsed.all("a")} <= set(ids)


def test_structure_serves_a_screen_reader(parsed: Page) -> None:
    assert parsed.all("html")[0]["lang"] == "en"
    assert len(parsed.all("h1")) == 1 and len(parsed.all("main")) == 1
    levels = [int(name[1]) for name, _ in parsed.elements if re.fullmatch(r"h[1-6]", name)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(attributes.get("scope") in ("row", "col") for attributes in parsed.all("th"))
    drawings = parsed.all("svg")
    assert drawings and all(
        one.get("role") in ("img", "group") and one.get("aria-label") for one in drawings
    )
    regions = [
        attributes for _, attributes in parsed.elements if attributes.get("role") == "region"
    ]
    assert all(one.get("tabindex") == "0" and one.get("aria-label") for one in regions)


def test_results_are_words_not_only_colours(parsed: Page) -> None:
    text = " ".join("".join(parsed.text).split())
    assert "✓ pass" in text and "○ not run" in text and "○ PENDING" in text


def test_it_names_its_twin(html: str, parsed: Page, report: Report) -> None:
    named = next(
        one["content"] for one in parsed.all("meta") if one.get("name") == "countersign-json-sha256"
    )
    assert named == sha256_bytes(json_twin(report))
    assert html.count(str(named)) == 2


def _is_pinned(value: Any) -> bool:
    """Whether a type allows nothing but a digest, a time or the name of a shard here."""
    pinned = r"[0-9a-f]{64}|\d{4}-\d\d-\d\dT.*Z|\d{5}\.parquet"
    return isinstance(value, str) and bool(re.fullmatch(pinned, value))


def _poisoned(value: Any) -> Any:
    """Every text of a report made hostile, digests and fixed words apart."""
    if isinstance(value, dict):
        kept = {
            "code",
            "did",
            "role",
            "word",
            "result",
            "kind",
            "action",
            "severity",
            "id",
            "start",
            "end",
            "answer",
            "group",
            "state",
            *CATALOGUE,
        }
        fixed = {key for key, item in value.items() if key in kept or _is_pinned(item)}
        return {key: item if key in fixed else _poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_poisoned(item) for item in value]
    if isinstance(value, str) and value not in get_args(GateName):
        return value + HOSTILE
    return value


@pytest.mark.parametrize("which", ["report", "people"])
def test_hostile_text_shows_as_text(which: str, request: pytest.FixtureRequest) -> None:
    poisoned = Report.model_validate(_poisoned(request.getfixturevalue(which).model_dump()))
    _harmless(page(poisoned).decode())


@pytest.mark.slow
def test_hostile_text_in_a_terminal_repaints_nothing(people: Report) -> None:
    poisoned = Report.model_validate(_poisoned(people.model_dump()))
    for name in sections.SECTIONS:
        told = "\n".join(sections.text(poisoned, name))
        assert "\x1b" not in told and "\u202e" not in told and "\x00" not in told
        assert "⟨U+001B⟩" in told


@pytest.mark.parametrize("which", ["report", "people"])
def test_page_one_in_a_terminal_is_page_one_of_the_page(
    which: str, request: pytest.FixtureRequest
) -> None:
    made = request.getfixturevalue(which)
    lines = sections.text(made, sections.PAGE_ONE)
    assert lines[1:] == terminal.section(page(made).decode(), sections.PAGE_ONE)
    assert any("Exceptions" in line for line in lines)


def test_a_persons_words_begin_no_line_in_a_terminal(people: Report) -> None:
    words = "fine\n  FAULT           none"
    said = [one.model_copy(update={"words": words}) for one in people.decisions]
    verdict = people.verdict.model_copy(update={"reason": words})
    made = people.model_copy(update={"decisions": said, "verdict": verdict})
    lines = "\n".join(
        [*sections.text(made, "decisions"), summary(made, Path("x.html"))]
    ).splitlines()
    assert "  FAULT           none" not in lines and sum(
        one.count("fine FAULT none") for one in lines
    ) >= len(said)


def test_hostile_names_in_the_index_show_as_text(people: Report) -> None:
    text = MODEL + HOSTILE
    exception = index.IndexException(kind="waiver", ended=True, about=text, at=text)
    hold = Hold(alias=text, since=text, until=None, ended=None, asked_by=text, evidence=[1])
    row = index.Row(
        model=text,
        version=text,
        digest="0" * 64,
        stage=text,
        aliases=[text],
        since=text,
        verdict="PENDING",
        tier=text,
        state="superseded",
        to=text,
        holds=[hold],
        approved_by=[text],
        exceptions=[exception],
        lacks=1,
        purpose=text,
        owner=text,
        next_review=text,
        evidence=[1],
        page=text,
    )
    due = Item(code="X", what=text, about=text, owner=text, due=text, overdue=True)
    made = index.Index(
        generator="x",
        project=text,
        as_of=text,
        log_range=text,
        root=text,
        origin=text,
        registry=[finding("REGISTRY_ALIAS_MOVED", text, text)],
        ending=[due],
        waiting=[due],
        versions=[row, row.model_copy(update={"holds": []})],
    )
    _harmless(index.page(made).decode())


def _harmless(html: str) -> None:
    """Well-formed, without a script or anything unseen."""
    parsed = Page(html)
    assert parsed.wrong == [] and parsed.open == []
    assert not parsed.all("script")
    assert not [
        name for _, attributes in parsed.elements for name in attributes if name.startswith("on")
    ]
    assert (
        "\u202e" not in html and "\x1b" not in html and "\u200b" not in html and "\x00" not in html
    )
    assert "⟨U+202E⟩" in html and "⟨U+200B⟩" in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "none"),
        (True, "yes"),
        (12345, "12,345"),
        (0.12345, "0.1235"),
        (1e-5, "1e-05"),
        (123456.0, "123,456"),
        (0.0, "0"),
        ("x", "x"),
    ],
)
def test_numbers_read_well(value: object, shown: str) -> None:
    assert number(value) == shown


def test_other_texts_read_well() -> None:
    assert moment("2026-11-20T09:24:00.000Z") == "2026-11-20 09:24:00 UTC"
    assert moment("not established") == "not established"
    assert (duration(3.2), duration(600), duration(7200)) == ("3.2 s", "10.0 min", "2.0 h")
    assert (size(999), size(2_000_000)) == ("999 B", "2.0 MB")
    assert plain({"b": [1, 2], "a": None, "c": {}}) == "a none, b 1, 2, c none"
    assert visible("a\u202eb\nc") == "a⟨U+202E⟩b\nc"
    assert visible("e\u0301\u0323 ok") == "e\u0301\u0323 ok"
    assert visible("z" + "\u0301" * 40).count("⟨U+0301⟩") == 37
    assert (one_line("a\nb"), brief("abc", 3), brief("abc d", 4)) == (
        "a⟨U+000A⟩b",
        "abc",
        "abc… (1 more)",
    )
    assert [renewed(times) for times in (0, 1, 2)] == [
        "never renewed",
        "renewed once",
        "renewed 2 times",
    ]


CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--enable-logging=stderr",
    "--v=0",
]
A4 = (703, 1054)
"""Width and height in CSS pixels that the print style's margins leave of an A4 page."""


def _crowded(report: Report) -> Report:
    """More than page one can hold: faults, waivers, people who signed, changes, open points, each
    with much to say.
    """
    waiver = next(one for one in report.exceptions if one.kind == "waiver")
    fault = waiver.model_copy(update={"kind": "fault", "title": "Expired waiver"})
    signed = next(one for one in report.people if one.did == "approved")
    longer = f"{report.verdict.reason} {report.verdict.reason}"
    return report.model_copy(
        update={
            "exceptions": (
                [fault] * 4
                + [waiver] * 9
                + [one for one in report.exceptions if one.kind == "note"]
            ),
            "people": [*report.people, *[signed] * 9],
            "changes": [*report.changes] * 3,
            "open": [*report.open] * 12,
            "verdict": report.verdict.model_copy(update={"reason": longer}),
        }
    )


def _endless(report: Report) -> Report:
    """Names and words of ten thousand characters, without a place to break them."""
    word = "x" * 10_000
    signed = next(one for one in report.people if one.did == "approved")
    return report.model_copy(
        update={
            "project": word,
            "model": word,
            "version": word,
            "verdict": report.verdict.model_copy(update={"reason": word}),
            "exceptions": [
                report.exceptions[0].model_copy(update={"detail": word}),
                *report.exceptions[1:],
            ],
            "gates": [report.gates[0].model_copy(update={"value": word}), *report.gates[1:]],
            "people": [signed.model_copy(update={"who": word, "role": word}), *report.people],
            "open": [one.model_copy(update={"what": word}) for one in report.open],
        }
    )


def test_what_page_one_cuts_says_how_much_and_stands_below(people: Report) -> None:
    html = page(_endless(people)).decode()
    front, below = html.split("</article>")
    assert len(front) < 40_000 and "APPROVED WITH CONDITIONS" in front
    assert f"{'x' * 60}… (9,940 more)" in front and f"{'x' * 240}… (9,760 more)" in front
    assert "x" * 10_000 not in front and "x" * 10_000 in below
    crowded = page(_crowded(people)).decode().split("</article>")
    waived = re.findall(r'<li class="waiver">.*?</li>', crowded[0])
    assert waived and all("</strong> until 2026-" in line and "more)" in line for line in waived)
    assert "4 faults, 9 waivers in force" in crowded[0] and crowded[1].count("Expired waiver:") == 4


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("which", ["alone", "people", "crowded", "endless"])
def test_page_one_prints_on_one_page(
    which: str, report: Report, people: Report, tmp_path: Path
) -> None:
    """Print rules applied to the screen at the width of A4; a script of the test's own measures
    page one.
    """
    pages = {
        "alone": report,
        "people": people,
        "crowded": _crowded(people),
        "endless": _endless(people),
    }
    html = page(pages[which]).decode()
    measure = (
        "<script>document.title ="
        " document.querySelector('.front').getBoundingClientRect().height</script>"
    )
    printed = html.replace("@media print", "@media all").replace(
        "main { max-width: none;", f"main {{ width: {A4[0]}px;"
    )
    (tmp_path / "page.html").write_text(
        printed.replace("</body>", f"{measure}</body>"), encoding="utf-8"
    )
    dom, log = _opened(tmp_path / "page.html", tmp_path)
    found = re.search(r"<title>([\d.]+)</title>", dom)
    assert found, log
    assert 500 < float(found[1]) <= A4[1]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_has_nothing_to_complain_of(html: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    dom, log = _opened(tmp_path / "page.html", tmp_path)
    assert "PENDING" in dom
    assert "CONSOLE" not in log


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, from npm's cache or registry."""
    npm = shutil.which("npm")
    if npm is None or CHROMIUM is None:
        pytest.skip("no npm, or no Chromium here")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "pack", f"axe-core@{AXE}", "--silent", "--prefer-offline"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=120, check=True
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"npm has no axe-core {AXE} at hand")
    with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


AXE = "4.10.3"
RUN = """<script>{axe}</script><script>
axe.run(document, {{resultTypes: ["violations"]}}).then(found => {{
  const told = found.violations.map(one => [one.impact, one.id, one.nodes.length, one.nodes[0].html].join(" "));
  document.title = "AXE " + found.passes.length + " " + JSON.stringify(told);
}});
</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("which", ["report", "index"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_an_accessibility_checker_finds_nothing(
    which: str,
    dark: bool,
    axe: str,
    people: Report,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if which == "index":
        folder = tmp_path_factory.mktemp("log")
        story = audited(folder).story
        state, _ = story.sources.read
        html = index.page(index.index(state, story.sources.verified, story.now())).decode()
    else:
        html = page(people).decode()
    if dark:
        html = html.replace("(prefers-color-scheme: dark)", "all")
    (tmp_path / "page.html").write_text(
        html.replace("</body>", f"{RUN.format(axe=axe)}</body>"), encoding="utf-8"
    )
    dom, log = _opened(tmp_path / "page.html", tmp_path, "--virtual-time-budget=20000")
    found = re.search(r"<title>AXE (\d+) (.*?)</title>", dom, re.DOTALL)
    assert found, log[-2000:]
    assert int(found[1]) > 10
    assert json.loads(unescape(found[2])) == []


def _opened(path: Path, folder: Path, *flags: str) -> tuple[str, str]:
    command = [
        str(CHROMIUM),
        *FLAGS,
        *flags,
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return done.stdout, done.stderr
