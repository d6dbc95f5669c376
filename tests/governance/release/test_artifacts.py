"""Files at hand against evidence: each file that is not what a stage made is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.attest import digests
from governance.attest.predicates import Artifact, Registration
from governance.base.errors import VerificationError
from governance.log.evidence import key_ring
from governance.log.views import log_evidence
from governance.release.artifacts import REGISTRY_RUN, FilesReport, in_artifact_root, verify_files
from tests.governance.examples import C, Scene, every_kind, ingest, run, scene

READY, MODEL, GATE = "data/ready/x/records", "models/sft/model", "gates/sft.json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for path, data in {
        "data/source/x.jsonl": b"{}",
        READY: b"rows",
        "data/ready/x/report.md": b"# x",
        GATE: b"{}",
        f"{MODEL}/config.json": b"{}",
        f"{MODEL}/model.safetensors": b"weights",
        "reports/x.html": b"no output of a stage",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def artifact(root: Path, path: str) -> Artifact:
    return Artifact(role=Path(path).stem, name=path, sha256=digests.digest_of(root / path))


@pytest.fixture
def here(project: Path, tmp_path: Path) -> Scene:
    """A log that says what made each file."""
    place = scene(tmp_path / "home")
    source = artifact(project, "data/source/x.jsonl")
    place.record(
        "ingest",
        ingest(inputs=[source]),
        *(artifact(project, path) for path in (READY, "data/ready/x/report.md")),
    )
    place.record("train", every_kind()["train"], artifact(project, MODEL))
    place.record("gate", every_kind()["gate"], artifact(project, GATE))
    return place


def compare(place: Scene, root: Path, registered: Path | None = None) -> FilesReport:
    evidence = log_evidence(place.log, key_ring(place.log, {}))
    return verify_files(root, evidence.all(), lambda registration: registered)


def test_files_as_their_stages_made_them_match(here: Scene, project: Path) -> None:
    report = compare(here, project)
    assert (report.compared, report.mismatches) == (5, ())  # four outputs and the source


def test_files_that_are_not_here_are_not_missed(here: Scene, tmp_path: Path) -> None:
    """A colleague's clone has no data yet."""
    assert compare(here, tmp_path / "empty").compared == 0


CHANGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a byte of the records": (
        lambda r: (r / READY).write_bytes(b"rowz"),
        READY,
        "not those that its stage made",
    ),
    "a byte of the weights": (
        lambda r: (r / MODEL / "model.safetensors").write_bytes(b"weightz"),
        MODEL,
        "not those that",
    ),
    "a byte of the source": (
        lambda r: (r / "data/source/x.jsonl").write_bytes(b"{ }"),
        "data/source/x.jsonl",
        "changed since it was read",
    ),
    "a gate's decision": (
        lambda r: (r / GATE).write_bytes(b'{"allowed":true}'),
        GATE,
        "not those that its stage made",
    ),
    "a file more in the model": (
        lambda r: (r / MODEL / "code.py").write_bytes(b""),
        MODEL,
        "not those that",
    ),
    "a file less in the model": (
        lambda r: (r / MODEL / "config.json").unlink(),
        MODEL,
        "not those that",
    ),
    "a link in the model": (
        lambda r: (r / MODEL / "link").symlink_to("/etc/passwd"),
        MODEL,
        "symbolic link",
    ),
    "a file beside the model": (
        lambda r: (r / "models/sft/adapter.bin").write_bytes(b""),
        "models/sft/adapter.bin",
        "no statement names",
    ),
    "a model nobody trained": (
        lambda r: shutil.copytree(r / MODEL, r / "models/dpo/model"),
        "models/dpo/model",
        "no statement names",
    ),
    "a gate nobody decided": (
        lambda r: shutil.copy(r / GATE, r / "gates/dpo.json"),
        "gates/dpo.json",
        "no statement names",
    ),
    "records of another dataset": (
        lambda r: shutil.copytree(r / "data/ready/x", r / "data/ready/y"),
        "data/ready/y",
        "no statement names",
    ),
    "a link for a file": (
        lambda r: [(r / GATE).unlink(), (r / GATE).symlink_to("nowhere")],
        GATE,
        "no such file",
    ),
}


@pytest.mark.parametrize(("change", "path", "reason"), CHANGES.values(), ids=CHANGES.keys())
def test_what_a_stage_did_not_make_is_named(
    here: Scene, project: Path, change: Callable[[Path], object], path: str, reason: str
) -> None:
    change(project)
    report = compare(here, project)
    assert report.mismatches
    assert all(
        path in mismatch.path and reason in mismatch.reason for mismatch in report.mismatches
    )


def test_a_file_of_an_earlier_run_is_a_file_of_its_stage(here: Scene, project: Path) -> None:
    """`git checkout` and `dvc checkout` bring it back."""
    old = (project / READY).read_bytes()
    (project / READY).write_bytes(b"other rows")
    here.record(
        "ingest",
        ingest(inputs=[artifact(project, "data/source/x.jsonl")]),
        artifact(project, READY),
    )
    assert compare(here, project).mismatches == ()
    (project / READY).write_bytes(old)
    assert compare(here, project).mismatches == ()


def test_what_dvc_writes_beside_outputs_is_left_alone(here: Scene, project: Path) -> None:
    (project / "models/.gitignore").write_text("/sft\n")
    assert compare(here, project).mismatches == ()


@pytest.fixture
def registered(here: Scene, project: Path, tmp_path: Path) -> Path:
    """The model's files as a registry of this machine keeps them."""
    kept = tmp_path / "artifacts"
    shutil.copytree(project / MODEL, kept)
    files = digests.manifest(kept)
    fields = {
        "model": "desk",
        "version": "1",
        "stage": "sft",
        "tier": "limited",
        "policy": C,
        "chain": [],
        "run": run(),
    }
    predicate = Registration(files=files, model_digest=digests.manifest_digest(files), **fields)
    here.record("registration", predicate, artifact(project, MODEL))
    return kept


def test_a_registered_version_is_compared_where_it_can_be_reached(
    here: Scene, project: Path, registered: Path
) -> None:
    report = compare(here, project, registered)
    assert (report.versions, report.out_of_reach, report.mismatches) == (1, (), ())
    report = compare(here, project, None)
    assert (report.versions, report.out_of_reach, report.mismatches) == (0, ("desk/1",), ())


def test_the_registry_of_this_machine_keeps_them_by_run(tmp_path: Path) -> None:
    registration = every_kind()["registration"]

    def of(detail: dict[str, object]) -> Path | None:
        changed = registration.model_copy(
            update={"run": run().model_copy(update={"detail": detail})}
        )
        return in_artifact_root(tmp_path)(changed)

    assert of({REGISTRY_RUN: "a" * 32}) == tmp_path / ("a" * 32) / "artifacts" / "model"
    assert [of({}), of({REGISTRY_RUN: 1}), of({REGISTRY_RUN: "../../etc"})] == [None] * 3
    assert in_artifact_root(tmp_path / "none")(registration) is None
    for experiment in ("12", "2"):
        (tmp_path / experiment / ("a" * 32)).mkdir(parents=True)
        if experiment == "12":
            assert (
                of({REGISTRY_RUN: "a" * 32}) == tmp_path / "12" / ("a" * 32) / "artifacts" / "model"
            )
    with pytest.raises(VerificationError, match="in several folders"):
        of({REGISTRY_RUN: "a" * 32})


def test_each_changed_file_of_a_registered_version_is_named(
    here: Scene, project: Path, registered: Path
) -> None:
    (registered / "model.safetensors").write_bytes(b"weightz")
    (registered / "evil.pkl").write_bytes(b"")
    (registered / "config.json").unlink()
    found = [
        (mismatch.path, mismatch.reason)
        for mismatch in compare(here, project, registered).mismatches
    ]
    assert found == [
        ("registered desk/1", "config.json: missing"),
        ("registered desk/1", "evil.pkl: not in the manifest"),
        ("registered desk/1", "model.safetensors: content changed"),
    ]
    shutil.rmtree(registered)
    assert "no such folder" in compare(here, project, registered).mismatches[0].reason


def test_a_registered_models_manifest_names_the_changed_file_at_hand_too(
    here: Scene, project: Path, registered: Path
) -> None:
    (project / MODEL / "model.safetensors").write_bytes(b"weightz")
    (mismatch,) = compare(here, project, registered).mismatches
    assert (mismatch.path, mismatch.reason) == (MODEL, "model.safetensors: content changed")
