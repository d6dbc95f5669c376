"""The README and docs say what is so: commands and options exist, links lead somewhere, tables are
complete.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from governance.base import errors
from pipelines.cli import COMMANDS, cli
from tests.conftest import ROOT
from tests.project import Project

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS_PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
CODE = re.compile(r"```(?:console|sh|bash)\n(.*?)```|`([^`\n]+)`", re.DOTALL)
FENCED = re.compile(r"^```.*?^```[^\n]*\n", re.DOTALL | re.MULTILINE)


def commands(page: Path) -> Iterator[list[str]]:
    """Every `countersign ...` that a page shows as code, as arguments."""
    for block, span in CODE.findall(page.read_text(encoding="utf-8")):
        for line in (block or span).splitlines():
            if line.strip().startswith("countersign "):
                yield shlex.split(line.strip(), comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    for arguments in commands(page):
        command: click.Command | None = cli
        if not arguments[0].startswith("-"):
            assert arguments[0] in COMMANDS, f"{page.name}: countersign {' '.join(arguments)}"
            command = cli.get_command(click.Context(cli), arguments[0])
            if (
                isinstance(command, click.Group)
                and len(arguments) > 1
                and not arguments[1].startswith("-")
            ):
                command = command.get_command(click.Context(command), arguments[1])
        assert command is not None, f"{page.name}: countersign {' '.join(arguments)}"
        known = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        known |= {"--help", "--version"}
        unknown = [
            word
            for word in arguments
            if word.startswith("--") and word.partition("=")[0] not in known
        ]
        assert not unknown, f"{page.name}: countersign {' '.join(arguments)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
    for path in re.findall(
        r"`((?:governance|pipelines|policies|benchmarks|tests)/[\w./-]+)`", text
    ):
        if not re.search(
            r"[A-Z]{3}|pairs", path
        ):  # a name to be filled in; the file of the walk-through
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text):
        to = page.parent / target if target else page
        assert to.suffix != ".md" or anchor in headings(to), f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_whole_and_headings_stand_apart(page: Path) -> None:
    """An empty line within a table makes its last rows plain text."""
    lines = ["", *FENCED.sub("", page.read_text(encoding="utf-8")).splitlines(), ""]
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("|") and not before.startswith("|"):
            assert re.match(r"\|[ :]*-", after), f"{page.name}: a table without a head: {line}"
        if line.startswith("#"):
            assert not (before.strip() or after.strip()), f"{page.name}: no empty line: {line}"


def test_the_page_of_commands_lists_every_command_once() -> None:
    listed = re.findall(r"^\| `countersign ([\w-]+)", COMMANDS_PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(set(COMMANDS) - {"stage"})


def test_a_command_mistyped_is_told_what_was_meant() -> None:
    result = CliRunner().invoke(cli, ["promot", "support-desk/1"])
    assert (
        result.exit_code == 2
        and "No such command 'promot'. Did you mean 'promote'?" in result.output
    )
    for section in ("waivers", "incidents"):
        told = CliRunner().invoke(cli, [section, "support-desk/1"]).output
        assert (
            f"No such command '{section}'. It is a section of the report: countersign show"
            f" MODEL/VERSION {section}" in told
        )


def test_the_page_of_commands_lists_every_exit_code() -> None:
    families = {error.exit_code for error in errors.CountersignError.__subclasses__()} | {0, 1}
    listed = re.findall(r"^\| (\d) \| \w", COMMANDS_PAGE, re.MULTILINE)
    assert sorted(map(int, listed)) == sorted(families)


INTERNAL = {
    f"COUNTERSIGN_{name}" for name in ("BYTECODE", "EXIT_FILE", "PACKAGES", "PARENT", "RUN")
}
INTERNAL |= {"COUNTERSIGN_RELEASE_DECISION_ALLOWED"}
"""Variables from one process to another, and a level of SLSA's."""


def test_the_page_of_commands_lists_every_variable() -> None:
    modules = [
        path for package in ("governance", "pipelines") for path in (ROOT / package).rglob("*.py")
    ]
    sources = "".join(path.read_text(encoding="utf-8") for path in modules)
    read = set(re.findall(r'[\s(\[{=]"(COUNTERSIGN_\w+[A-Z])"', sources)) - INTERNAL
    keys = ("CHECKPOINT", "KEY", "SIGNER")  # the code appends _PUBLIC to their variables
    derived = {f"COUNTERSIGN_{key}_PUBLIC" for key in keys}
    assert set(re.findall(r"COUNTERSIGN_\w+", COMMANDS_PAGE)) == read | derived


@pytest.mark.parametrize(
    "folder",
    [
        folder.parent
        for folder in sorted((ROOT / "governance").rglob("__init__.py"))
        if folder.parent.name not in ("governance", "commands", "formats")  # tables of their own
    ],
    ids=lambda folder: str(folder.relative_to(ROOT)),
)
def test_the_map_of_a_package_names_its_modules_and_no_others(folder: Path) -> None:
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    modules |= {path.parent.name for path in folder.glob("*/__init__.py")}
    package_map = (folder / "__init__.py").read_text(encoding="utf-8")
    assert set(re.findall(r"`([a-z_]+)`", package_map)) == modules


def test_the_map_of_governance_names_its_packages_and_no_others() -> None:
    packages = {path.parent.name for path in (ROOT / "governance").glob("*/__init__.py")}
    package_map = (ROOT / "governance" / "__init__.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)  +\w", package_map, re.MULTILINE)) == packages


IMPORT = re.compile(r"^\W*(?:from|import) (tests\b[\w.]*|\.[\w.]*)(.*)", re.MULTILINE)


def test_nothing_is_imported_from_a_test_module() -> None:
    """What others need stands beside it, in a module that has no tests. Scripts in quotes may
    import their own.
    """
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        imports = [
            pair for pair in IMPORT.findall(path.read_text(encoding="utf-8")) if pair[0] != own
        ]
        assert [pair for pair in imports if re.search(r"\btest_", " ".join(pair))] == [], own


def test_make_targets_that_are_named_exist() -> None:
    targets = set(
        re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for page in PAGES:
        for name in re.findall(r"`?make ([a-z][\w-]*)[`\n ]", page.read_text(encoding="utf-8")):
            if f"make {name}" in "".join(
                a or b for a, b in CODE.findall(page.read_text(encoding="utf-8"))
            ):
                assert name in targets, f"{page.name}: make {name}"


@pytest.mark.slow
def test_the_commands_a_newcomer_looks_around_with_work(small: Project) -> None:
    for line in (
        "countersign status",
        "countersign verify",
        "countersign report support-desk/1",
        "dvc metrics show",
    ):
        assert line.replace("support-desk", "my-project") in README
        done = small.run(*shlex.split(line))
        assert done.code == 0, done.out
