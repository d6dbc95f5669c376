"""Ways around a gate that DVC leaves open: none of them trains a model, and each is told why.

The project has been built once. A scenario removes the trained stage's model, spoils something and
asks DVC to train all the same. A bypass that works would leave a `train` statement, a model folder,
or a registered version.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project import Project

pytestmark = pytest.mark.slow

SINGLE = ("dvc", "repro", "-s", "-f", "train@sft")
STAGE = ("countersign", "stage", "train", "sft")
"""What DVC starts for that. One row of each exit code goes through DVC; so do those about DVC itself."""
READY = "data/ready/desk_sft/records/00000.parquet"
WEIGHTS = "models/base/model/model.safetensors"


@dataclass(frozen=True)
class Bypass:
    """One way around a gate."""

    how: Callable[[Project], None]
    says: tuple[str, ...]
    command: tuple[str, ...] = STAGE
    verify_names: tuple[str, ...] = ()
    """Files at hand that `countersign verify` names afterwards."""


def refused_by_policy(project: Project) -> None:
    """The gate of `sft`, and that of `base`, would refuse now."""
    project.edit("policies/datacards/desk_sft.yaml", lambda card: card.pop("licence"))


def after_refusal(project: Project) -> None:
    """The gate has refused, so that its file is gone, and somebody brings back the one of
    yesterday.
    """
    gate = (project.root / "gates/base.json").read_bytes()
    refused_by_policy(project)
    assert project.repro("gate@base").code == 4
    assert not (project.root / "gates/base.json").exists()
    (project.root / "gates/base.json").write_bytes(gate)


def flip(path: Path) -> None:
    """One byte in the middle of a file is another."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def edited(name: str) -> Callable[[Project], None]:
    """A file that DVC tracks is edited where it stands."""
    return lambda project: flip(project.root / name)


def edited_in_cache(name: str) -> Callable[[Project], None]:
    """DVC's cached copy of a file is edited, read-only again as DVC trusts it, and checked out."""

    def how(project: Project) -> None:
        path = project.root / name
        content = path.read_bytes()
        objects = [one for one in (project.root / ".dvc/cache/files").rglob("*") if one.is_file()]
        cached = next(one for one in objects if one.read_bytes() == content)
        flip(cached)
        cached.chmod(0o444)
        path.unlink()
        done = project.run("dvc", "checkout", "--force", str(Path(*Path(name).parts[:3])))
        assert path.read_bytes() != content, done.out

    return how


def written_by_hand(project: Project) -> None:
    """The gate's file says what it would say of the edited data, by hand."""
    from governance.attest import digests

    flip(project.root / READY)
    path = project.root / "gates/sft.json"
    gate = json.loads(path.read_text(encoding="utf-8"))
    gate["decided_on"]["data"] = digests.tree_digest((project.root / READY).parent)
    path.write_text(json.dumps(gate, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def said_allowed(project: Project) -> None:
    """The gate's file of a refused stage is written by hand."""
    refused_by_policy(project)
    assert project.repro("--single-item", "gate@sft").code == 4
    (project.root / "gates/sft.json").write_text(
        '{"allowed": true, "stage": "sft"}\n', encoding="utf-8"
    )


def of_another_stage(project: Project) -> None:
    """The gate's file is that of another stage, which was allowed."""
    shutil.copy(project.root / "gates/base.json", project.root / "gates/sft.json")


def other_objective(project: Project) -> None:
    """The stage is changed after its gate decided."""
    project.edit(
        "params.yaml", lambda params: params["stages"]["sft"]["trainer"].update(learning_rate=0.5)
    )


def other_policy(project: Project) -> None:
    """Policy is changed after the gate decided, and the gate is not asked."""
    refused_by_policy(project)


def log_truncated(project: Project) -> None:
    """Somebody takes the last entries out of the log's database."""
    import sqlite3

    connection = sqlite3.connect(project.database)
    connection.execute("DROP TRIGGER countersign_entry_DELETE")
    connection.execute("DELETE FROM countersign_entry WHERE idx > 5")
    connection.commit()
    connection.close()


def other_log(project: Project) -> None:
    """The log at hand is another, in which nothing was decided."""
    shutil.rmtree(project.home)


BYPASSES: dict[str, Bypass] = {
    "-s, under another policy": Bypass(
        other_policy, ("DATACARD_INCOMPLETE", "licence", "next: "), SINGLE
    ),
    "-s, after a refusal": Bypass(
        after_refusal,
        ("DATACARD_INCOMPLETE", "licence"),
        ("dvc", "repro", "-s", "-f", "train@base"),
    ),
    "--ignore-errors": Bypass(
        refused_by_policy,
        (
            "gate@base refused",
            "DATACARD_INCOMPLETE",
            "gates/base.json: an input of the stage is missing",
        ),
        ("dvc", "repro", "--ignore-errors", "--force", "--downstream", "gate@base"),
    ),
    "--keep-going": Bypass(
        refused_by_policy,
        ("gate@base refused", "DATACARD_INCOMPLETE"),
        ("dvc", "repro", "--keep-going", "--force", "--downstream", "gate@base"),
    ),
    "the stage by itself, without DVC": Bypass(refused_by_policy, ("DATACARD_INCOMPLETE",)),
    "edited data": Bypass(
        edited(READY),
        ("EVIDENCE_MISSING", "desk_sft", "next: "),
        verify_names=("data/ready/desk_sft/records",),
    ),
    "edited data in DVC's cache": Bypass(
        edited_in_cache(READY), ("EVIDENCE_MISSING", "desk_sft", "next: "), SINGLE
    ),
    "edited parent": Bypass(
        edited(WEIGHTS),
        ("EVIDENCE_MISSING", "model base", "next: "),
        verify_names=("models/base/model",),
    ),
    "edited parent in DVC's cache": Bypass(
        edited_in_cache(WEIGHTS), ("EVIDENCE_MISSING", "model base", "next: "), SINGLE
    ),
    "edited data, gate written by hand": Bypass(
        written_by_hand, ("EVIDENCE_MISSING", "desk_sft", "next: ")
    ),
    "refused, gate written by hand": Bypass(
        said_allowed, ("DATACARD_INCOMPLETE", "EVIDENCE_INCONSISTENT")
    ),
    "gate of another stage": Bypass(
        of_another_stage, ("EVIDENCE_INCONSISTENT", "gates/sft.json", "next: ")
    ),
    "another objective": Bypass(
        other_objective, ("EVIDENCE_INCONSISTENT", "gates/sft.json", "next: ")
    ),
    "another log": Bypass(other_log, ("EVIDENCE_MISSING", "GATE_MISSING", "next: ")),
    "a shortened log": Bypass(
        log_truncated, ("the log has 6 entries", "expected: "), SINGLE, verify_names=("6 entries",)
    ),
}


@pytest.mark.parametrize("name", BYPASSES)
def test_no_way_around_a_gate(name: str, small: Project, tmp_path: Path) -> None:
    one, project = BYPASSES[name], small.copy(tmp_path)
    one.how(project)
    stage = one.command[-1].removeprefix("train@") if "train@" in one.command[-1] else "sft"
    shutil.rmtree(project.root / "models" / stage)
    shutil.rmtree(project.root / ".dvc/cache/runs")
    before = [item.digest for item in small.evidence("train")]
    done = project.run(*one.command)
    assert done.code != 0 or "--ignore-errors" in one.command, done.out
    assert [wanted for wanted in one.says if wanted not in done.out] == [], done.out
    assert "Traceback" not in done.out
    assert not (project.root / "models" / stage).exists()
    assert project.runs() in (small.runs(), [])
    if name != "a shortened log":
        assert [item.digest for item in project.evidence("train")] in (before, [])
        assert project.log_is_whole()
    for named in one.verify_names:
        checked = project.countersign("verify")
        assert checked.code == 5 and named in checked.out, checked.out


def test_a_model_put_in_the_place_of_a_trained_one_is_not_registered(
    small: Project, tmp_path: Path
) -> None:
    """DVC is told that the other bytes are the stage's output; the release is decided on digests
    all the same.
    """
    project = small.copy(tmp_path)
    flip(project.root / "models/sft/model/model.safetensors")
    assert project.run("dvc", "commit", "--force", "train@sft").code == 0
    done = project.repro()
    assert done.code == 4, done.out
    assert "register@support-desk refused" in done.out
    assert "EVIDENCE_MISSING model sft" in done.out
    assert project.versions() == small.versions()
    assert project.log_is_whole()
