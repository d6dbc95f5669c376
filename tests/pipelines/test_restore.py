"""What one item of a version cannot do to another, when both are restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.attest.digests import sha256_file
from governance.attest.predicates import Artifact
from pipelines.dvc_store import Store
from pipelines.restore import Item, restore


def item(root: Path, path: str, content: str) -> Item:
    """A file of the project, with the digest that it has."""
    file = root / path / "weights"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    digest = sha256_file(file)
    proof = Artifact(role="model", name=f"{path}/weights", sha256=digest)
    return Item("model", Path(path).name, (), digest, path, (proof,), None)


@pytest.fixture
def nothing_kept(tmp_path: Path) -> Store:
    return Store(None, None, tmp_path / "fetched")  # items without an id of DVC ask it nothing


def test_an_item_at_the_path_of_another_leaves_its_files(
    tmp_path: Path, nothing_kept: Store
) -> None:
    root, target = tmp_path / "project", tmp_path / "made"
    first = item(root, "models/a", "first")
    assert restore(first, target, root, nothing_kept).where == "project"
    second = item(root, "models/a", "second")
    above = Item("model", "b", (), "0" * 64, "models", first.proofs, None)
    assert restore(second, target, root, nothing_kept).where == "not provable"
    assert restore(above, target, root, nothing_kept).where == "project"
    assert (target / "models/a/weights").read_text() == "first"


def test_an_item_that_cannot_be_read_is_no_error_of_the_others(
    tmp_path: Path, nothing_kept: Store
) -> None:
    root, target = tmp_path / "project", tmp_path / "made"
    spoiled, good = item(root, "models/a", "first"), item(root, "models/b", "second")
    (root / "models/a/weights").unlink()
    (root / "models/a/weights").symlink_to("gone")
    found = [restore(each, target, root, nothing_kept) for each in (spoiled, good)]
    assert [each.where for each in found] == ["nowhere", "project"]
    assert found[0].reasons[0] == "project: not all of it can be copied"
    assert not (target / "models/a").exists()
