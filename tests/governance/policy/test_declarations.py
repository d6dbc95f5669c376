"""Declarations of models that were trained elsewhere: nothing may be left out, nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance.base.errors import ConfigError
from governance.base.yaml import parse_model
from governance.policy.declarations import Declaration
from governance.policy.policies import load_policies
from tests.conftest import ROOT
from tests.governance.bought import declared, importing
from tests.simulator import declaration

DATASET: dict[str, Any] = declaration()["datasets"][0]
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("a blank fact", {"trained_by": {"organisation": "", "tool": "verl", "tool_version": "0.6"}}),
    ("a line break", {"parent": {"model": "a\nb", "licence": "MIT"}}),
    ("half a parent", {"parent": {"model": "none", "licence": "MIT"}}),
    ("no datasets", {"datasets": []}),
    ("a dataset twice", {"datasets": [DATASET, DATASET]}),
    ("an invented basis", {"datasets": [{**DATASET, "lawful_basis": "curiosity"}]}),
    (
        "personal data without a basis",
        {"datasets": [{**DATASET, "personal_data": "present", "lawful_basis": "no_personal_data"}]},
    ),
    ("a name with a space", {"datasets": [{**DATASET, "name": "their chats"}]}),
    ("no digest", {"digest": "unknown"}),
    ("something else", {"licence": "MIT"}),
]


@pytest.mark.parametrize("field", sorted(declaration()))
def test_a_fact_may_be_unknown_and_never_absent(field: str) -> None:
    facts = declaration()
    Declaration.model_validate(facts)
    del facts[field]
    with pytest.raises(ValueError, match=field):
        Declaration.model_validate(facts)


@pytest.mark.parametrize(("what", "changes"), CHANGES, ids=[what for what, _ in CHANGES])
def test_it_refuses(what: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Declaration.model_validate({**declaration(), **changes})


def test_unknown_is_a_value() -> None:
    facts = {**declaration(), "datasets": "unknown", "methods": "unknown"}
    made = Declaration.model_validate(facts)
    assert (made.declared_datasets, made.method_names) == ([], "unknown")


def test_the_published_form_reads_as_it_was_written() -> None:
    made = Declaration.model_validate(declaration())
    text = made.model_dump_json()
    assert parse_model(text, Path("imports/x.yaml"), Declaration) == made


def test_two_declarations_of_one_model_are_a_mistake(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", folder)
    (folder / "imports").mkdir()
    text = Declaration.model_validate(declaration()).model_dump_json()
    for name in ("a", "b"):
        (folder / "imports" / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigError, match="about the same bytes"):
        load_policies(folder)


@pytest.mark.parametrize("name", ["adaa", "ci"])
def test_a_declarer_who_is_no_person_is_a_mistake(name: str, tmp_path: Path) -> None:
    """Who declares under another name could approve it under their own."""
    with pytest.raises(ConfigError, match=f"no person is called '{name}'"):
        importing(tmp_path, edit=_declared_by(name))


def _declared_by(name: str) -> Callable[[Path], object]:
    def edit(policies: Path) -> None:
        (policies / "imports/acme.yaml").write_text(declared("acme", declared_by=name))

    return edit
