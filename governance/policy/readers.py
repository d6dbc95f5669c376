"""Who may read the content of which dataset and model: the table `readers` of policies/policy.yaml.

1. Without the table everybody who has the files may read them, and no read is recorded.
2. A row lists people and services by name, roles, or `everybody`. The row `*` is for each name
   without a row of its own.
3. A name without a row, and without a row `*`, is closed to everybody.
4. Whoever is no principal of the policy, e.g. a development key, is in `everybody` only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from governance.base.model import SLUG, Model, Slug

if TYPE_CHECKING:
    from governance.policy.rules import Principal

ContentKind = Literal["dataset", "model"]
EVERYBODY = "everybody"
OTHERS = "*"
"""The row of the names that have no row; and the name of content that nothing names."""
RowName = Annotated[str, StringConstraints(pattern=rf"{SLUG}|^\*$")]


class Readers(Model):
    """policy.yaml: readers."""

    datasets: dict[RowName, list[Slug]]
    """Dataset, or `*`, to who may read it: names of principals, roles, or `everybody`."""
    models: dict[RowName, list[Slug]]
    """Model, or `*`, to who may read it. A base, and a stage from which no model is released, have
    the row of their own name.
    """
    purpose: Literal["optional", "required"] = Field("optional")
    """Whether a person who reads says what for."""

    def rows(self, kind: ContentKind, name: str) -> list[list[str]]:
        """The rows that must each permit to read this content; none where nothing says it. What
        nothing names (`*`) may be of any row.
        """
        table = self.datasets if kind == "dataset" else self.models
        others = table.get(OTHERS)
        if name == OTHERS:
            return [] if others is None else list(table.values())
        row = table.get(name, others)
        return [] if row is None else [row]

    def named(self) -> set[str]:
        """Every principal and role in the table."""
        rows = [*self.datasets.values(), *self.models.values()]
        return {name for row in rows for name in row} - {EVERYBODY}


@dataclass(frozen=True, order=True)
class Content:
    """What policy governs: a dataset or a model, by name; `*` for what nothing names."""

    kind: ContentKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


UNKNOWN = frozenset({Content("dataset", OTHERS), Content("model", OTHERS)})
"""The content of bytes that may be of anything: every row must permit it."""


def may_read(readers: Readers | None, reader: Principal | None, content: Content) -> bool:
    """Whether a principal, or somebody who is none, may read this content."""
    if readers is None:
        return True
    names = {EVERYBODY} if reader is None else {EVERYBODY, reader.name, *reader.roles}
    rows = readers.rows(content.kind, content.name)
    return bool(rows) and not any(names.isdisjoint(row) for row in rows)


def odd_names(readers: Readers, people: Collection[Principal]) -> list[str]:
    """What is wrong with the names in the table: nobody has one, or it has two meanings."""
    principals = {principal.name for principal in people}
    roles = {role for principal in people for role in principal.roles}
    both = sorted(readers.named() & principals & roles)
    unknown = sorted(readers.named() - principals - roles)
    taken = EVERYBODY in principals | roles
    return [
        *(f"{name!r} is a principal and a role: give one of them another name" for name in both),
        *(f"{name!r} is neither a principal nor a role of one" for name in unknown),
        *([f"{EVERYBODY!r} is the name of a principal or role: give it another"] if taken else []),
    ]
