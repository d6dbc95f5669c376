"""`countersign scan PATH...`: searches any files for personal data, in a project or outside one,
and writes treated copies.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from governance.base.errors import ConfigError, InputError, RefusedError
from governance.base.progress import PATIENCE, Progress
from governance.base.text import visible
from governance.base.yaml import load_model
from governance.policy.data import NO_MODEL, PiiPolicy
from pipelines.pii.documents import FORMATS, SUFFIXES, Source
from pipelines.pii.engine import PlainEngine, cannot_find
from pipelines.pii.scan import check_names
from pipelines.pii.scan_files import FilesScan, NewFile, Scanned
from pipelines.pii.search import Search
from pipelines.project import Project, open_project
from pipelines.record_ids import DEVELOPMENT, load_key, read_key
from pipelines.template import shared_root

UNREADABLE, FOUND = 3, 4
"""Exit codes: something could not be read or searched; something that policy does not allow was
found, or, with --redact, a file was refused.
"""

SHOWN = 20
"""Problems and skipped files that are listed in text."""

STDIN = "-"


@click.command("scan")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--findings",
    type=click.Path(path_type=Path),
    help="Write the place and type of each finding to this JSONL file.",
)
@click.option("--policy", type=click.Path(path_type=Path), help="Instead of policies/pii.yaml.")
@click.option(
    "--redact",
    "out",
    type=click.Path(path_type=Path),
    help="Write treated copies: a file for one file, else a folder.",
)
@click.option("--key", type=click.Path(path_type=Path), help="File with the key for tokens.")
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), help="Of PATHs that are files; `-`: text."
)
@click.option("--encoding", default="utf-8", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    paths: tuple[str, ...],
    findings: Path | None,
    policy: Path | None,
    out: Path | None,
    key: Path | None,
    format_: str | None,
    encoding: str,
    as_json: bool,
) -> None:
    """Search files for personal data: JSONL, JSON, CSV, Parquet, text, or folders of them; `-` is
    standard input.

    Exit code 0: nothing that policy does not allow; with --redact: all that was written is clean.
    4: something was found; with --redact: a file was refused. 3: something could not be read.
    """
    named = chosen(paths, format_, encoding)
    if out:
        set_targets(named, out, len(paths) == 1 and not Path(paths[0]).is_dir())
    if findings:
        require_apart(named, findings)
    here = _Here.of(policy, key)
    progress = Progress()
    with ExitStack() as stack:
        with progress.waiting("loading the recognizers"):
            engine = PlainEngine(here.policy, Path.cwd())
            check_names(here.policy, engine)
        search = stack.enter_context(Search(engine, here.cache, here.key))
        report = stack.enter_context(NewFile(findings)) if findings else None
        bar = stack.enter_context(progress.bar(0, "searching: records", PATIENCE))

        def tell(found: dict[str, Any]) -> None:
            if report:
                report.write(f"{json.dumps(found)}\n".encode())

        FilesScan(here.policy, search, here.key, tell).run(named.files, bar.advance)
        if report:
            report.publish()
    result = document(here, engine, named)
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo("\n".join(visible(line) for line in lines(result)))
    click.get_current_context().exit(exit_code(result))


# --- which files ----------------------------------------------------------------------------------


@dataclass
class Chosen:
    """The files to scan, and those of folders that are not."""

    files: list[Scanned] = field(default_factory=list)
    relative: list[Path] = field(default_factory=list)
    """The path of each below --redact."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(name, why)."""


def chosen(paths: Sequence[str], format_: str | None, encoding: str) -> Chosen:
    """The files that the arguments name, each once. Raises `InputError`, `ConfigError`."""
    named, seen = Chosen(), set[Path]()
    for text in paths:
        path = Path(text)
        if text == STDIN:
            _add_stdin(named, format_ or "text", encoding)
        elif path.is_dir():
            known = False
            for file in _walk(path, named):
                known = True
                if file.resolve() not in seen:
                    source = Source(str(file), SUFFIXES[file.suffix.lower()], encoding, file)
                    named.files.append(Scanned(source))
                    named.relative.append(file.relative_to(path))
                seen.add(file.resolve())
            if not known:
                expected = ", ".join(SUFFIXES)
                raise InputError("no file to search", where=text, expected=expected)
        elif not path.exists():
            raise InputError("no such file or folder", where=text)
        elif path.resolve() not in seen:
            seen.add(path.resolve())
            source = Source(text, format_ or _format(path), encoding, path)
            named.files.append(Scanned(source))
            named.relative.append(Path(path.name))
    return named


def _add_stdin(named: Chosen, format_: str, encoding: str) -> None:
    if format_ == "parquet":
        raise ConfigError("Parquet cannot be read from standard input", fix="name the file")
    if any(file.source.path is None for file in named.files):
        raise ConfigError("standard input is named twice")
    source = Source("standard input", format_, encoding, stream=sys.stdin.buffer)
    named.files.append(Scanned(source))
    named.relative.append(Path("stdin"))


def _format(path: Path) -> str:
    known = SUFFIXES.get(path.suffix.lower())
    if known is None:
        found = f"no reader for {path.suffix or 'a name without suffix'}"
        expected, fix = ", ".join(SUFFIXES), f"say what it is: --format {'|'.join(FORMATS)}"
        raise InputError(found, where=str(path), expected=expected, fix=fix)
    return known


def _walk(folder: Path, named: Chosen) -> Iterator[Path]:
    """The known files below a folder, in the order of their names. Links to folders are not
    followed: they may lead in a circle.
    """

    def unreadable(error: OSError) -> None:
        raise InputError(error.strerror or "cannot be read", where=str(error.filename))

    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in folders:
            if (Path(root) / name).is_symlink():
                named.skipped.append((str(Path(root) / name), "a link to a folder"))
        for name in sorted(files):
            path = Path(root) / name
            if path.suffix.lower() not in SUFFIXES:
                named.skipped.append((str(path), "no known suffix"))
            elif not path.is_file():
                named.skipped.append((str(path), "no regular file, or a link to none"))
            else:
                yield path


def set_targets(named: Chosen, out: Path, one_file: bool) -> None:
    """Says where each treated copy goes. Raises `ConfigError` where something is there already: no
    input is ever written over, and no older result is taken for this one.
    """
    for file, relative in zip(named.files, named.relative, strict=True):
        file.target = out if one_file and not out.is_dir() else out / relative
        written = SUFFIXES.get(file.target.suffix.lower(), file.source.format)
        if written != file.source.format:
            found = f"{file.source.name} is {file.source.format}, and is written as it is"
            raise ConfigError(found, where=f"--redact {out}", fix="choose another suffix")
        if os.path.lexists(file.target):
            found, fix = "there is a file already", "remove it, or name another place"
            raise ConfigError(found, where=str(file.target), fix=fix)
    targets = Counter(file.target for file in named.files)
    if doubled := [str(target) for target, count in targets.items() if count > 1]:
        found = f"{doubled[0]}: two files would be written there"
        raise ConfigError(found, where="--redact", fix="scan them one after the other")


def require_apart(named: Chosen, findings: Path) -> None:
    """Raises `ConfigError` if the findings would be written over a file that is read or written."""
    for file in named.files:
        if file.target and findings.resolve() == file.target.resolve():
            raise ConfigError("two files would be written there", where=f"--findings {findings}")
        if file.source.path and findings.exists() and findings.samefile(file.source.path):
            raise ConfigError("this file is read", where=f"--findings {findings}")


# --- with what ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Here:
    """Policy, key and cache: of the project here, of the command line, or those shipped."""

    policy: PiiPolicy
    policy_file: str
    key: bytes = field(repr=False)
    key_from: str
    cache: Path | None

    @classmethod
    def of(cls, policy: Path | None, key: Path | None) -> _Here:
        """Raises `ConfigError`; `RefusedError` where policy demands a model that it does not
        name.
        """
        root = Path.cwd()
        project = open_project(root, os.environ) if (root / "params.yaml").is_file() else None
        own = root / "policies" / "pii.yaml"
        shipped = shared_root() / "policies" / "pii.yaml"
        file = policy or (own if project else shipped)
        loaded = load_model(file, PiiPolicy)
        if loaded.require_ner and loaded.ner in NO_MODEL:
            found = f"policy demands a model (require_ner), and names are searched by: {loaded.ner}"
            raise RefusedError(found, where=str(file), fix="name a model: ner")
        secret, source = _key(project, key)
        cache = project.machine.state / "cache" / "pii.sqlite" if project else None
        shown = "the shipped policies/pii.yaml" if file == shipped else str(file)
        return cls(loaded, shown, secret, source, cache)


def _key(project: Project | None, file: Path | None) -> tuple[bytes, str]:
    if file:
        return read_key(file), "file"
    if project is None:
        return secrets.token_bytes(32), "run"
    known = load_key(project.root, project.params.records)
    return known.secret, DEVELOPMENT if known.key_id == DEVELOPMENT else "project"


KEYS = {
    "file": "made with the key of --key",
    "run": "made with a key of this run only: another run gives other tokens (--key FILE)",
    DEVELOPMENT: "made with the public development key: whoever guesses a value can confirm it",
    "project": "made with the project's record key",
}
"""What the tokens are worth, by the source of their key."""


# --- the result -----------------------------------------------------------------------------------


def document(here: _Here, engine: PlainEngine, named: Chosen) -> dict[str, Any]:
    """The result for scripts."""
    found, found_in = Counter[str](), Counter[str]()
    for file in named.files:
        found += file.found
        found_in += file.found_in
    treats = any(file.target for file in named.files)
    return {
        "policy": here.policy_file,
        "engine": engine.describe,
        "cannot_find": cannot_find(here.policy),
        "tokens": here.key_from if treats and here.policy.replacement == "token" else None,
        "records": sum(file.records for file in named.files),
        "problems": sum(file.problem_count for file in named.files),
        "entities": {
            name: {
                "action": here.policy.entity(name).action,
                "findings": found[name],
                "records": found_in[name],
            }
            for name in sorted(found)
        },
        "files": [_file(file) for file in named.files],
        "skipped": [{"file": name, "why": why} for name, why in named.skipped],
    }


def _file(file: Scanned) -> dict[str, Any]:
    return {
        "file": file.source.name,
        "format": file.source.format,
        "records": file.records,
        "findings": dict(sorted(file.found.items())),
        "problems": file.problems,
        "problem_count": file.problem_count,
        "target": str(file.target) if file.target else None,
        "written": file.written,
        "left_out": dict(sorted(file.left_out.items())),
        "refused": dict(sorted(file.refused.items())),
    }


def exit_code(result: dict[str, Any]) -> int:
    """`FOUND` before `UNREADABLE`: what was found is certain."""
    files = result["files"]
    if any(file["target"] for file in files):
        found = any(file["refused"] for file in files)
    else:
        found = any(entity["action"] != "allow" for entity in result["entities"].values())
    return FOUND if found else UNREADABLE if result["problems"] else 0


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The result for people."""
    engine = result["engine"]
    yield (
        f"{len(result['files'])} files, {result['records']:,} records;"
        f" names by: {engine['level']}; policy: {result['policy']}"
    )
    yield from _table(result["entities"])
    treated = [file for file in result["files"] if file["target"]]
    if treated:
        yield ""
        yield from map(_written_line, treated)
    if result["tokens"]:
        yield f"tokens are {KEYS[result['tokens']]}"
    problems = [problem for file in result["files"] for problem in file["problems"]]
    yield from _listed(f"not searched: {result['problems']} problem(s)", problems)
    skipped = [f"{one['file']}: {one['why']}" for one in result["skipped"]]
    yield from _listed(f"skipped: {len(skipped)}", skipped)


def _table(entities: dict[str, Any]) -> Iterator[str]:
    if not entities:
        yield "nothing found; this does not mean that there is nothing (docs/pii.md)"
        return
    width = max(len("entity"), *map(len, entities))
    yield f"  {'entity':{width}}  {'policy':7}  findings  records"
    for name, row in entities.items():
        yield f"  {name:{width}}  {row['action']:7}  {row['findings']:8,}  {row['records']:7,}"


def _written_line(file: dict[str, Any]) -> str:
    out = "".join(f"; {count} left out: {why}" for why, count in file["left_out"].items())
    if file["written"]:
        return f"{file['file']} -> {file['target']}: {file['written']:,} records{out}"
    reasons = [f"{why} ({count})" for why, count in file["refused"].items()]
    why = ", ".join(reasons) or "no record to write, or the file cannot be read to its end"
    return f"{file['file']}: NOT WRITTEN: {why}{out}"


def _listed(title: str, all_: Sequence[str]) -> Iterator[str]:
    if all_:
        yield f"{title}:"
        yield from (f"  {one}" for one in all_[:SHOWN])
        if len(all_) > SHOWN:
            yield "  ... (--json lists more)"
