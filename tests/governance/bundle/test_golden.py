"""A bundle of the present form verifies for ever, and the same without one of its entries never.

It has the index of its model, cosigned checkpoints, two versions, an incident and a rollback. `python
-m tests.governance.bundle.test_golden NAME` writes both files and their origin, and refuses to
overwrite. A released version never writes its files again: the next form gets another name.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from governance.bundle import standalone_verifier as verifier
from governance.bundle import verify_bundle
from governance.history.verify import TrustAnchors
from tests.conftest import ROOT
from tests.governance.bundles import kind_of, made, opened, pin, sealed
from tests.governance.witness.worlds import NAMES, Witnessed, world

GOLDEN = ROOT / "tests" / "golden"
NAME = "bundle-v1-index"


def lived(here: Witnessed) -> None:
    """Two versions are released, the second has an incident, and the first serves again."""
    scene = here.scene
    here.ask()
    scene.released()
    first = scene.story.models["sft"]
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    scene.story.register("sft", "2")
    here.ask()
    scene.released("2")
    scene.incident("2", "open")
    asked = scene.request("1", action="rollback", model_digest=first)
    scene.approve("ben", "risk", asked, "promotion")
    scene.consume("1")
    here.ask()


def write(name: str, folder: Path = GOLDEN) -> None:
    """Writes the bundle, the same without its incident, and the origin of both."""
    whole, partial = folder / f"{name}.json", folder / f"{name}-incomplete.json"
    if whole.exists():
        raise FileExistsError(whole)
    with world(Path(tempfile.mkdtemp())) as here:
        lived(here)
        data, origin = made(here.log), pin(here.log)
    bundle = opened(data)
    bundle["entries"] = [item for item in bundle["entries"] if kind_of(item) != "incident"]
    whole.write_bytes(data)
    partial.write_bytes(sealed(bundle))
    (folder / f"{name}.origin").write_text(f"{origin}\n", encoding="ascii")


def read(name: str) -> tuple[bytes, str]:
    origin = (GOLDEN / f"{NAME}.origin").read_text(encoding="ascii").strip()
    return (GOLDEN / f"{name}.json").read_bytes(), origin


def test_both_verifiers_accept_it() -> None:
    data, origin = read(NAME)
    report = verify_bundle(data, TrustAnchors(origin))
    assert (report.broken, report.ok, report.completeness) == (None, True, "index")
    assert {one.witness for one in report.witnessed} == set(NAMES)
    moves = [move for move in report.moves if move.alias == "champion" and move.allowed]
    assert [(move.action, move.version) for move in moves] == [
        ("promote", "1"),
        ("promote", "2"),
        ("rollback", "1"),
    ]
    summary = verifier.verify(data, origin)
    assert (summary["completeness"], summary["witnesses"]) == ("shown", sorted(NAMES))
    assert [move.split(": ")[1] for move in summary["moves"]] == [
        "promote as champion",
        "rollback as champion",
    ]


def test_both_verifiers_refuse_it_without_its_incident() -> None:
    data, origin = read(f"{NAME}-incomplete")
    report = verify_bundle(data, TrustAnchors(origin))
    assert "entries about the model" in (report.broken or "")
    with pytest.raises(verifier.Refused, match="entries about the model"):
        verifier.verify(data, origin)


if __name__ == "__main__":
    write(sys.argv[1])
