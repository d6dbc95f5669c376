"""Models that were trained elsewhere: policies that let them be released, and a team that does it."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.governance.governed import RULES, Governed, authorize, empty
from tests.governance.story import bought, tell
from tests.simulator import declaration

NAMES = ("acme", "acme2")
"""Two versions of one vendor's model."""
TIER = "    imported: true\n"
METHOD = """
      imported:
        thresholds:
          greedy_exact: {at_least: 0.9}
"""

Edit = Callable[[Path], object]


@functools.cache
def digest_of(name: str) -> str:
    """The digest of a bought model's folder."""
    with tempfile.TemporaryDirectory() as folder:
        return bought(Path(folder), name)


def declared(name: str, **changes: Any) -> str:
    """The text of a declaration of the model."""
    return json.dumps({**declaration(), "digest": digest_of(name), **_permitted(), **changes})


def _permitted() -> dict[str, Any]:
    """What the shipped policies permit."""
    (dataset,) = declaration()["datasets"]
    return {"datasets": [{**dataset, "licence": "MIT"}], "declared_by": "eve"}


def permits(policies: Path) -> None:
    """Policies that let both models be released. The tier is the caller's."""
    bases = policies / "bases.yaml"
    rows = "".join(
        f"  {name}: {{digest: {digest_of(name)}, weights: true, source: {name}, licence: MIT}}\n"
        for name in NAMES
    )
    bases.write_text(bases.read_text() + rows)
    evaluation = policies / "evaluation.yaml"
    text = evaluation.read_text()
    evaluation.write_text(text.replace("    methods:\n", f"    methods:{METHOD}", 1))
    (policies / "imports").mkdir()
    for name in NAMES:
        (policies / "imports" / f"{name}.yaml").write_text(declared(name))


def importing(
    folder: Path, rules: str = RULES, tier: str = TIER, edit: Edit | None = None, people: str = ""
) -> Governed:
    """The team's log with a trained version 1 and an imported version 2."""

    def change(policies: Path) -> None:
        permits(policies)
        if edit is not None:
            edit(policies)

    scene = empty(folder, rules, people, tier, edit=change)
    authorize(scene)
    tell(scene.story)
    scene.story.bring("acme")
    scene.story.register("acme", "2")
    scene.main = "acme"
    return scene
