"""policies/imports/NAME.yaml as typed models: what is declared of a model trained elsewhere.

1. Every field must be there. A fact that nobody knows is the word `unknown`, so that a reader sees
   it and a check can refuse it.
2. Nothing here was measured or run here. The declaration is under approval like every policy.
"""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from governance.base.model import Model, Sha256, Slug
from governance.policy.rules import Classification, LawfulBasis, Region

UNKNOWN = "unknown"
NONE = "none"
Unknown = Literal["unknown"]

Text = Annotated[str, StringConstraints(pattern=r"^\S[^\r\n]{0,299}$")]
"""In the declarer's words, in one line; `unknown` where nobody knows."""
DatasetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,119}$")]
"""The name that its maker gives it, without spaces."""
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class Trainer(Model):
    """Who trained the model, and with what."""

    organisation: Text
    tool: Text
    """E.g. `OpenRLHF` or `verl`."""
    tool_version: Text


class ParentModel(Model):
    """The model that it was trained from."""

    model: Text
    """Name and revision; `none` for a model that was trained from scratch."""
    licence: Text
    """SPDX identifier, or a name that policy lists; `none` without a parent."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.model == NONE) != (self.licence == NONE):
            raise ValueError("`none` stands for both, model and licence")
        return self


class DeclaredDataset(Model):
    """A dataset that the model was trained on elsewhere."""

    name: DatasetName
    licence: Text
    """SPDX identifier, or a name that policy lists."""
    lawful_basis: LawfulBasis | Unknown
    personal_data: Literal["present", "absent", "unknown"]
    """Whether the data holds personal data."""
    classification: Classification | Unknown
    purposes: Annotated[list[Slug], Field(min_length=1)] | Unknown
    """What it may be used for."""
    regions: Annotated[list[Region], Field(min_length=1)] | Unknown
    """Where it may be processed."""
    sha256: Sha256 | Unknown

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.personal_data == "present" and self.lawful_basis == "no_personal_data":
            raise ValueError("it has personal data, so `no_personal_data` is no basis")
        return self


class BuiltFrom(Model):
    """The code or image that trained the model."""

    commit: Commit | Unknown
    """Of the training code."""
    container: Sha256 | Unknown
    """Digest of the image."""


class DeclaredDocument(Model):
    """A document that the declaration rests on: the maker's model card, a contract."""

    title: Text
    sha256: Sha256


class Declaration(Model):
    """What somebody declares of a model that was trained elsewhere. `countersign allow-base NAME
    --declared-by PERSON` writes one to fill in.
    """

    digest: Sha256
    """`governance.attest.digests.tree_digest` of the model's folder: it is about these bytes."""
    trained_by: Trainer
    methods: Annotated[list[Slug], Field(min_length=1)] | Unknown
    """The training methods in their order, e.g. `[sft, dpo]`; own names are fine."""
    parent: ParentModel
    datasets: Annotated[list[DeclaredDataset], Field(min_length=1)] | Unknown
    built_from: BuiltFrom
    documents: list[DeclaredDocument]
    """`[]` where there are none."""
    declared_by: Slug
    """The person who answers for it, by the name in policy.yaml."""
    declared_on: date

    @property
    def declared_datasets(self) -> list[DeclaredDataset]:
        """The datasets; none where they are unknown."""
        return [] if isinstance(self.datasets, str) else self.datasets

    @property
    def method_names(self) -> str:
        """The methods in their order, as text."""
        return self.methods if isinstance(self.methods, str) else ", ".join(self.methods)

    @property
    def unknowns(self) -> list[str]:
        """The fields that nobody knows, by their names in the file, in its order."""
        content = self.model_dump(mode="json", exclude={"datasets"})
        data = self.model_dump(mode="json", include={"datasets"})["datasets"]
        found = _unknown(content, "")
        if data == UNKNOWN:
            return [*found, "datasets"]
        return [*found, *(name for row in data for name in _unknown(row, f"{row['name']}."))]

    @model_validator(mode="after")
    def _distinct_datasets(self) -> Self:
        names = [dataset.name for dataset in self.declared_datasets]
        if len(set(names)) < len(names):
            raise ValueError("two datasets have one name")
        return self


def _unknown(value: object, name: str) -> list[str]:
    if value == UNKNOWN:
        return [name]
    if not isinstance(value, dict):
        return []
    prefix = f"{name}." if name and not name.endswith(".") else name
    return [found for key, held in value.items() for found in _unknown(held, f"{prefix}{key}")]
