"""What template a project was made from: `.countersign/template.json`.

It holds the text of every file as the template had it, not only digests: `countersign upgrade`
merges three ways, and git's history may not reach back to them. A project may delete it; then
nothing of the template is merged.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationError

from governance.base.distribution import VERSION
from governance.base.errors import ConfigError
from governance.base.model import Model, Slug
from pipelines.template import RECIPES, files

RECORD = Path(".countersign/template.json")


class TemplateRecord(Model):
    """The template of a project, as it was when the project was made or last upgraded."""

    version: str = Field(pattern=r"^[\w.+!-]{1,60}$")
    """The version of Countersign that it came with."""
    recipe: str
    name: Slug
    """The name that stands in the files."""
    files: dict[str, str]
    """POSIX path to text."""

    def dumps(self) -> bytes:
        """The content of the file."""
        return (json.dumps(self.model_dump(), indent=1, ensure_ascii=False) + "\n").encode()


def current(recipe: str, name: Slug) -> TemplateRecord:
    """The template of the installed version. Raises `ConfigError` for an unknown recipe."""
    if recipe not in RECIPES:
        found, expected = f"no recipe {recipe[:80]!r}", f"one of {', '.join(RECIPES)}"
        raise ConfigError(found, where=str(RECORD), expected=expected)
    texts = {path: content.decode() for path, content in files(recipe, name).items()}
    return TemplateRecord(version=VERSION, recipe=recipe, name=name, files=texts)


def read(root: Path) -> TemplateRecord | None:
    """The record of the project at `root`; None if it has none. Raises `ConfigError`."""
    path = root / RECORD
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        record = TemplateRecord.model_validate_json(text)
    except ValidationError as error:
        found = f"it is damaged: {error.errors()[0]['msg']}"
        fix = "restore it from git; without it, upgrades do not touch what came from the template"
        raise ConfigError(found, where=str(RECORD), fix=fix) from None
    for name in record.files:
        _require_inside(name)
    return record


def _require_inside(name: str) -> None:
    """Raises `ConfigError` for a path that would be written outside the project, or into git."""
    parts = name.lower().split("/")  # some file systems know no letter case
    if {"", ".", "..", ".git"} & set(parts) or "\\" in name or not name.isprintable():
        found = f"{name[:80]!r} is no path of a file of the project"
        raise ConfigError(found, where=str(RECORD), fix="restore the file from git")
