"""`countersign allow-base NAME`: writes a base model's digests into `policies/bases.yaml`.

It imports the base exactly as the stage `import_base` does, which refuses pickled weights and code.
It changes one entry of the file and keeps every comment. The base is allowed only once the changed
policy is in force.

With `--declared-by PERSON` it also writes `policies/imports/NAME.yaml`, the declaration of a model
that was trained elsewhere and is to be released as it is. It fills in what it can read; every other
fact is the word `unknown` until a person replaces it. A declaration that is there stays.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from ruamel.yaml.comments import CommentedMap

from governance.attest import digests
from governance.base.errors import ConfigError, InputError, unknown
from governance.base.model import SLUG
from governance.base.storage import write_atomic
from governance.base.yaml import edited, load_model, parse_yaml
from governance.models.files import unsafe_files
from governance.policy.declarations import Declaration
from governance.policy.rules import AllowedBase, Bases, Rules
from pipelines.finite_weights import tensors
from pipelines.params import Base, load_params
from pipelines.project import utc_now
from pipelines.stages import import_base as base

FILE = Path("policies/bases.yaml")
DECLARATIONS = Path("policies/imports")
DRAFT = """\
# yaml-language-server: $schema=../schemas/import.json
# What {person} declares of a model that was trained elsewhere (docs/imports.md). Nothing here was
# measured or run here. Write what its maker states; leave `unknown` where nobody knows.
digest: {digest}
trained_by: {{organisation: unknown, tool: unknown, tool_version: unknown}}
# In their order, e.g. [sft, dpo].
methods: unknown
# `none` twice for a model that was trained from scratch.
parent: {{model: unknown, licence: unknown}}
# One entry for each dataset:
# - {{name: their-chats, licence: own-data, lawful_basis: contract, personal_data: present,
#    classification: confidential, purposes: [customer-support], regions: [EU], sha256: unknown}}
datasets: unknown
built_from: {{commit: unknown, container: unknown}}
# The maker's model card, a contract: {{title: ..., sha256: ...}}
documents: []
declared_by: {person}
declared_on: {day}
"""


@click.command()
@click.argument("name")
@click.option(
    "--licence", required=True, help="The base's licence, by SPDX identifier; you have read it."
)
@click.option(
    "--declared-by",
    "person",
    metavar="PERSON",
    help="It was trained elsewhere and is to be released: also write its declaration to fill in.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str, licence: str, person: str | None, as_json: bool) -> None:
    """Write the digests of base NAME (a row of params.yaml: bases) into policies/bases.yaml, after
    looking at it.
    """
    root = Path.cwd()
    row = _row(root, name)
    _check_licence(root, licence)
    if person is not None:
        _check_person(person)
    with tempfile.TemporaryDirectory() as folder:
        entry, content = look_at(root, name, row, licence, Path(folder) / "model")
    declaration = _declaration(root, name, entry, person) if person is not None else None
    path = root / FILE
    before = load_model(path, Bases).bases.get(name)
    write_atomic(path, with_base(path.read_text(encoding="utf-8"), name, entry).encode())
    written = None
    if declaration:
        written = DECLARATIONS / f"{name}.yaml"
        write_atomic(root / written, declaration.encode())
    if as_json:
        allowed = {"name": name, **entry.model_dump(mode="json"), **asdict(content)}
        told = {"changed": before != entry, "declaration": str(written) if written else None}
        click.echo(json.dumps({**allowed, **told}, indent=2, sort_keys=True))
    else:
        click.echo("\n".join(_shown(name, entry, content, before, written)))


def _shown(
    name: str,
    entry: AllowedBase,
    content: Content,
    before: AllowedBase | None,
    declaration: Path | None,
) -> Iterator[str]:
    """The result for people."""
    size = f"{len(content.files)} file(s), {content.bytes:,} bytes, sha256 {entry.digest}"
    yield f"{name}: {entry.source}, {size}, licence {entry.licence}"
    if entry.weights:
        yield f"  weights        safetensors, {', '.join(content.types)}"
        yield f"  tokenizer      {content.tokenizer or 'none'}"
        yield f"  chat template  {content.chat_template or 'its own'}"
    else:
        yield "  an architecture without weights"
    change = "replaced in" if before else "written to"
    yield f"{'unchanged in' if before == entry else change} {FILE}"
    if declaration:
        yield f"written to {declaration}: fill in what its maker states"
    yield "next: review the change (git diff policies), then: countersign repro"


@dataclass(frozen=True)
class Content:
    """What a base holds, as it is imported."""

    files: list[str]
    bytes: int
    types: list[str]
    """Of its weights, as safetensors names them."""
    tokenizer: str
    """The class that its settings name."""
    chat_template: str
    """The one that it is given; empty if it keeps its own."""


def look_at(
    root: Path, name: str, row: Base, licence: str, target: Path
) -> tuple[AllowedBase, Content]:
    """The base's policy entry and what it holds. Raises `InputError` for pickles, code and unknown
    files.
    """
    row_place = f"params.yaml: bases.{name}"
    where = f"{row_place}.source"
    if row.is_own_version:
        fix = f"countersign repro import_base@{name}"
        found = "a registered version needs no permission: its own evidence is judged"
        raise InputError(found, where=where, fix=fix)
    if not base.is_there(row, root):
        raise InputError(f"there is no {row.source} here", where=where, expected=base.SOURCES)
    template = base.take(row, root, target, row_place)
    files = [file.path for file in digests.manifest(target)]
    if unsafe := unsafe_files(files):
        found = f"unknown files: {', '.join(unsafe[:5])}"
        raise InputError(found, where=where, expected="safetensors, JSON, text")
    digest, weights = digests.tree_digest(target), any(f.endswith(".safetensors") for f in files)
    entry = AllowedBase(digest=digest, weights=weights, source=row.source, licence=licence)
    size = sum((target / file).stat().st_size for file in files)
    types = sorted({tensor.type for tensor in tensors(target)})
    return entry, Content(files, size, types, base.tokenizer_of(target), template)


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


def _declaration(root: Path, name: str, entry: AllowedBase, person: str) -> str | None:
    """The declaration to fill in; None where one is there. Raises `InputError` for a base without
    weights, and `ConfigError` for a declaration of other bytes.
    """
    path = root / DECLARATIONS / f"{name}.yaml"
    if not entry.weights:
        found = f"{name} is an architecture without weights, so nobody has trained it"
        raise InputError(found, where=f"params.yaml: bases.{name}.source", expected="a model")
    if not path.exists():
        (root / DECLARATIONS).mkdir(exist_ok=True)
        return DRAFT.format(digest=entry.digest, person=person, day=utc_now().date())
    declared = load_model(path, Declaration).digest
    if declared != entry.digest:
        raise ConfigError(
            f"the declaration is about other bytes: {declared[:12]}",
            where=str(DECLARATIONS / f"{name}.yaml"),
            expected=entry.digest[:12],
            fix="ask the maker again, then remove the old declaration and run this command again",
        )
    return None


def _check_person(person: str) -> None:
    if re.fullmatch(SLUG, person) is None:
        found = f"{person[:80]!r} is no name of a person in policy.yaml"
        raise ConfigError(found, where="--declared-by", expected="lower case, digits, - and _")


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
