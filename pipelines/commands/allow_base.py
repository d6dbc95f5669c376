"""`countersign allow-base NAME`: writes a base model's digests into `policies/bases.yaml`.

It imports the base exactly as the stage `import_base` does, which refuses pickled weights and code.
It changes one entry of the file and keeps every comment. The base is allowed only once the changed
policy is in force.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
from ruamel.yaml.comments import CommentedMap

from governance.attest import digests
from governance.base.errors import ConfigError, InputError, unknown
from governance.base.storage import write_atomic
from governance.base.yaml import edited, load_model, parse_yaml
from governance.models.files import unsafe_files
from governance.policy.rules import AllowedBase, Bases, Rules
from pipelines.params import Base, load_params
from pipelines.stages import import_base as base

FILE = Path("policies/bases.yaml")


@click.command()
@click.argument("name")
@click.option(
    "--licence", required=True, help="The base's licence, by SPDX identifier; you have read it."
)
def command(name: str, licence: str) -> None:
    """Write the digests of base NAME (a row of params.yaml: bases) into policies/bases.yaml, after
    looking at it.
    """
    root = Path.cwd()
    row = _row(root, name)
    _check_licence(root, licence)
    with tempfile.TemporaryDirectory() as folder:
        entry, files = look_at(root, name, row, licence, Path(folder) / "model")
    path = root / FILE
    before = load_model(path, Bases).bases.get(name)
    write_atomic(path, with_base(path.read_text(encoding="utf-8"), name, entry).encode())
    weights = "with weights" if entry.weights else "an architecture without weights"
    files_shown = f"{weights}, {len(files)} file(s), sha256 {entry.digest}"
    click.echo(f"{name}: {entry.source}, {files_shown}, licence {entry.licence}")
    change = "replaced in" if before else "written to"
    click.echo(f"{'unchanged in' if before == entry else change} {FILE}")
    click.echo("next: review the change (git diff policies), then: countersign repro")


def look_at(
    root: Path, name: str, row: Base, licence: str, target: Path
) -> tuple[AllowedBase, list[str]]:
    """The base's policy entry and its files. Raises `InputError` for pickles, code and unknown
    files.
    """
    where = f"params.yaml: bases.{name}.source"
    if not base.is_there(row.source, root):
        raise InputError(f"there is no {row.source} here", where=where, expected=base.SOURCES)
    base.take(row.source, root, target, where)
    files = [file.path for file in digests.manifest(target)]
    if unsafe := unsafe_files(files):
        found = f"unknown files: {', '.join(unsafe[:5])}"
        raise InputError(found, where=where, expected="safetensors, JSON, text")
    digest, weights = digests.tree_digest(target), any(f.endswith(".safetensors") for f in files)
    entry = AllowedBase(digest=digest, weights=weights, source=row.source, licence=licence)
    return entry, files


def with_base(text: str, name: str, entry: AllowedBase) -> str:
    """The text of bases.yaml with this entry; comments and other entries stay. Raises
    `ConfigError`.
    """
    value = entry.model_dump(mode="json")
    before = parse_yaml(text, str(FILE)) or {}

    def change(document: Any) -> None:
        if not document.get("bases"):
            document["bases"] = CommentedMap()
        document["bases"][name] = CommentedMap(value)
        for table in (document["bases"], document["bases"][name]):
            table.fa.set_block_style()

    made = edited(text, change)
    bases = {**(before.get("bases") or {}), name: value}
    if parse_yaml(made, str(FILE)) != {**before, "bases": bases}:
        found = "the entry cannot be written without changing another"
        raise ConfigError(found, where=str(FILE), fix=f"{name}: {value}")
    return made


def _row(root: Path, name: str) -> Base:
    bases = load_params(root).bases
    if name not in bases:
        raise unknown("base", name, bases, "params.yaml: bases")
    return bases[name]


def _check_licence(root: Path, licence: str) -> None:
    permitted = load_model(root / "policies" / "policy.yaml", Rules).licences.bases
    if licence not in permitted:
        raise ConfigError(
            f"policy does not permit the licence {licence!r}",
            where="policies/policy.yaml: licences.bases",
            expected=", ".join(permitted),
            fix="use another base, or have the list changed",
        )
