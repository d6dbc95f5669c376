"""Registration and report as stages: idempotent by bytes, whole after a kill, refused where the
release is.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from governance.attest.digests import manifest, sha256_bytes
from governance.attest.envelope import pae
from governance.attest.keys import public_key
from governance.attest.predicates import Artifact, Promotion, Registration, SignedReport, Waiver
from governance.base.errors import RefusedError, StorageError, VerificationError
from governance.base.progress import Progress
from governance.gates.decisions import decide_release
from governance.history.state import state
from governance.log.evidence import key_ring
from governance.log.rules import RuleVersions
from governance.log.views import log_evidence
from governance.models.signature import FILE, KEY_FILE
from governance.policy.policies import load_policies
from governance.registry.mlflow import MlflowRegistry, open_registry
from governance.release.retrospect import Repeat, forged, made_again
from pipelines import lock
from pipelines.harness import run_stage
from pipelines.project import Project
from pipelines.stages import gate, register
from pipelines.stages import report as report_stage
from tests.governance.bought import TIER, permits
from tests.governance.governed import RULES, Governed, authorize, empty
from tests.governance.registry.tables import with_tables
from tests.governance.story import MODEL, Story, altered, begin


@pytest.fixture(scope="module")
def shared(mlflow_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """All that comes before a registration: data, an architecture, two trained models; and an empty
    registry.
    """
    story = begin(tmp_path_factory.mktemp("story"))
    lock.write(story.root)
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_text", "conversation", "text", 5900)
    story.data("desk_sft", "conversation", "conversation", 2900)
    story.base("tiny")
    story.train("base", "pretrain", "conversation", "desk_text", "tiny", accuracy=0.2, unsafe=0.3)
    story.train("sft", "sft", "conversation", "desk_sft", "base")
    with_tables(mlflow_tables, story.log.path)
    registry(story)
    return story


@pytest.fixture
def story(shared: Story, tmp_path: Path) -> Story:
    """A copy of it, to go on with."""
    return shared.copy(tmp_path)


def run(
    story: Story,
    family: str = "register",
    environ: Mapping[str, str] | None = None,
    model: str = MODEL,
) -> str:
    """The stage in its harness."""
    here = replace(story.machine, environ={**story.machine.environ, **(environ or {})})
    return run_stage(
        family,
        model,
        Project(story.root, story.params, story.policies, here),
        story.now,
        Progress(),
    )


def logged(story: Story, kind: str) -> list[object]:
    view = log_evidence(story.log, key_ring(story.log, story.policies.keys))
    return [item.predicate for item in view.all(kind)]


def registry(story: Story) -> MlflowRegistry:
    return open_registry(story.machine)


def result(story: Story) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        (story.root / "reports/register/support-desk.json").read_text()
    )
    return found


def test_a_release_is_registered_once(story: Story) -> None:
    assert "version 1 is candidate" in run(story)
    size = story.log.size()
    first = result(story)
    run(story)
    assert story.log.size() == size
    assert result(story) == first == {"model": MODEL, "version": "1", "sha256": story.models["sft"]}
    (version,) = registry(story).versions(MODEL)
    assert (version.number, version.digest, version.aliases) == (
        "1",
        story.models["sft"],
        ("candidate",),
    )
    (registration,) = logged(story, "registration")
    assert registration.files == manifest(story.root / "models/sft/model")  # type: ignore[attr-defined]
    assert {item.role for item in registration.chain} == {  # type: ignore[attr-defined]
        "base", "evaluate", "gate", "ingest", "quality", "scan", "train",
    }  # fmt: skip
    (promotion,) = logged(story, "promotion")
    assert promotion.allowed and promotion.alias == "candidate"  # type: ignore[attr-defined]


def test_other_bytes_are_another_version_and_the_alias_moves(story: Story) -> None:
    run(story)
    story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    assert "version 2 is candidate" in run(story)
    assert [version.aliases for version in registry(story).versions(MODEL)] == [(), ("candidate",)]


def test_the_same_bytes_on_newer_evidence_are_the_same_version(story: Story) -> None:
    run(story)
    story.evaluate("sft", 0.98)
    run(story)
    assert [version.number for version in registry(story).versions(MODEL)] == ["1"]
    registrations = logged(story, "registration")
    assert [item.version for item in registrations] == ["1", "1"]  # type: ignore[attr-defined]
    assert len(logged(story, "promotion")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", ["registration", "promotion", "alias"])
def test_a_kill_at_any_step_is_mended_by_the_next_run(
    story: Story, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **_: object) -> None:
        if killed_at in ("alias", *arguments[1:2]):
            raise KeyboardInterrupt
        recorded(*arguments)  # type: ignore[arg-type]

    recorded = register._record
    with monkeypatch.context() as patch:
        if killed_at == "alias":
            patch.setattr(MlflowRegistry, "set_alias", killed)
        else:
            patch.setattr(register, "_record", killed)
        with pytest.raises(KeyboardInterrupt):
            run(story)
    run(story)
    (version,) = registry(story).versions(MODEL)
    assert version.aliases == ("candidate",)
    assert len(logged(story, "registration")) == len(logged(story, "promotion")) == 1


def test_a_version_whose_tag_was_lost_is_found_by_the_log(story: Story) -> None:
    run(story)
    registry(story)._client.delete_model_version_tag(MODEL, "1", "countersign.digest")
    run(story)
    assert [version.number for version in registry(story).versions(MODEL)] == ["1"]


@pytest.mark.slow
def test_a_registry_that_was_lost_is_filled_again(story: Story, tmp_path: Path) -> None:
    run(story)
    story.machine = replace(
        story.machine,
        registry_uri=f"sqlite:///{tmp_path}/other.db",
        artifact_root=tmp_path / "other",
    )
    run(story)
    (version,) = registry(story).versions(MODEL)
    assert version.digest == story.models["sft"]
    assert len(logged(story, "registration")) == 1


@pytest.mark.slow
def test_two_models_of_one_project_are_registered_side_by_side(story: Story) -> None:
    """Each by its own name, from its own stage; neither moves or names the other."""
    policy, params = story.root / "policies" / "policy.yaml", story.root / "params.yaml"
    params.write_text(f"{params.read_text()}  desk-text: {{stage: base}}\n")
    with pytest.raises(RefusedError, match="MODEL_UNKNOWN"):
        run(story, model="desk-text")
    named = "models:\n  desk-text: {tier: experimental, purpose: customer-support, region: EU}"
    policy.write_text(policy.read_text().replace("models:", named, 1))
    story.policies = load_policies(policy.parent)
    story.train("base", "pretrain", "conversation", "desk_text", "tiny", accuracy=0.9)
    assert "support-desk version 1 is candidate" in run(story)
    first = result(story)
    assert "desk-text version 1 is candidate" in run(story, model="desk-text")
    assert (registry(story).versions("desk-text")[0].digest, result(story)) == (
        story.models["base"],
        first,
    )
    size = story.log.size()
    assert "version 1" in run(story) + run(story, model="desk-text")
    assert story.log.size() == size
    assert "reports/desk-text-1.html" in run(story, "report", model="desk-text")
    assert "reports/support-desk-1.html" in run(story, "report")


@pytest.mark.slow
def test_a_model_that_was_trained_elsewhere_is_registered(story: Story) -> None:
    permits(story.root / "policies")
    policy = story.root / "policies" / "policy.yaml"
    text = policy.read_text()
    policy.write_text(text.replace("    approvals: 2\n", f"    approvals: 2\n{TIER}", 1))
    params = story.root / "params.yaml"
    rows = "bases:\n  acme: {source: acme, suite: desk_eval}\n"
    text = params.read_text().replace("bases:\n", rows).replace("stage: sft}", "stage: acme}")
    params.write_text(text)
    story.policies = load_policies(story.root / "policies")
    story.bring("acme")
    run(story)
    registered = logged(story, "registration")[-1]
    assert isinstance(registered, Registration)
    assert (registered.stage, registered.suite) == ("acme", story.suite_ref)
    assert {link.role for link in registered.chain} == {
        "base", "evaluate", "ingest", "scan", "quality",
    }  # fmt: skip
    (version,) = registry(story).versions(MODEL)
    assert version.aliases == ("candidate",) or "candidate" in version.aliases


def test_a_denied_release_is_recorded_and_registers_nothing(story: Story) -> None:
    story.evaluate("sft", 0.5)
    with pytest.raises(RefusedError, match="THRESHOLD_NOT_MET"):
        run(story)
    assert registry(story).versions(MODEL) == []
    assert logged(story, "registration") == []
    (promotion,) = logged(story, "promotion")
    assert (promotion.allowed, promotion.version) == (False, "none")  # type: ignore[attr-defined]
    assert not (story.root / "reports/register/support-desk.json").exists()
    size = story.log.size()
    with pytest.raises(RefusedError):
        run(story)
    assert story.log.size() == size


def test_an_experiment_registers_only_when_asked(story: Story) -> None:
    assert "COUNTERSIGN_REGISTER=1" in run(story, environ={"DVC_EXP_NAME": "fast-cat"})
    assert result(story)["version"] is None
    assert "no report" in run(story, "report")
    assert registry(story).versions(MODEL) == []
    run(story, environ={"DVC_EXP_NAME": "fast-cat", "COUNTERSIGN_REGISTER": "1"})
    assert result(story)["version"] == "1"


def test_a_server_that_does_not_answer_leaves_nothing_behind(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    story.machine = replace(story.machine, registry_uri="http://127.0.0.1:9")
    size = story.log.size()
    with pytest.raises(StorageError, match="nothing listens there"):
        run(story)
    assert story.log.size() == size
    assert not (story.root / "reports/register/support-desk.json").exists()


def test_what_stands_beside_a_version_is_evidence_and_no_data(story: Story) -> None:
    run(story)
    client, (version,) = registry(story)._client, registry(story).versions(MODEL)
    folder = Path(client.download_artifacts(version.run_id, "evidence"))
    found = {path.name: json.loads(path.read_bytes()) for path in folder.glob("*.json")}
    assert {path.name for path in folder.iterdir()} - set(found) == {FILE, KEY_FILE}
    (signature,) = json.loads((folder / FILE).read_bytes())["dsseEnvelope"]["signatures"]
    payload = json.loads((folder / FILE).read_bytes())["dsseEnvelope"]["payload"]
    key = public_key((folder / KEY_FILE).read_text(encoding="utf-8"))
    key.verify(b64decode(signature["sig"]), pae(b64decode(payload)))
    listed = json.loads(b64decode(payload))["predicate"]["resources"]
    registered = [(file["path"], file["sha256"]) for file in found["manifest.json"]["files"]]
    assert [(row["name"], row["digest"]) for row in listed] == sorted(registered)
    assert set(found) == {
        "manifest.json",
        "chain.json",
        "datasets.json",
        "evaluations.json",
        "gates.json",
    }
    assert found["manifest.json"]["digest"] == story.models["sft"]
    assert [step["stage"] for step in found["datasets.json"]][:3] == [
        "ingest@desk_eval", "scan_pii@desk_eval", "check_quality@desk_eval",
    ]  # fmt: skip
    assert {gate["stage"] for gate in found["gates.json"]} == {"gate@base", "gate@sft"}
    shown = client.get_run(version.run_id)
    assert shown.data.metrics["greedy_exact"] == pytest.approx(0.97)
    assert {one.dataset.name for one in shown.inputs.dataset_inputs} == {
        "desk_text",
        "desk_sft",
        "desk_eval",
    }


@pytest.mark.slow
def test_the_report_is_written_and_put_beside_the_version(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(story)
    assert run(story, "report") == "PENDING: reports/support-desk-1.html"
    written = {
        path.name: path.read_bytes() for path in (story.root / "reports").glob("support-desk-1.*")
    }
    assert set(written) == {"support-desk-1.html", "support-desk-1.json"}
    client, (version,) = registry(story)._client, registry(story).versions(MODEL)
    (stored,) = Path(client.download_artifacts(version.run_id, "report")).iterdir()
    assert stored.name == sha256_bytes(written["support-desk-1.html"])[:12]
    shown = {path.name: path.read_bytes() for path in stored.iterdir()}
    card = shown.pop("model-card.md").decode()
    assert card.startswith("# support-desk/1\n")
    assert shown == written
    (signed,) = _signed_reports(story)
    assert signed.page == sha256_bytes(written["support-desk-1.html"])
    assert (story.machine.state / "pages" / signed.page).read_bytes() == written[
        "support-desk-1.html"
    ]
    monkeypatch.setattr(report_stage, "_attach", _unwanted)
    run(story, "report")
    assert _signed_reports(story) == [signed], "that it was signed is nothing new to report"
    assert {
        path.name: path.read_bytes() for path in (story.root / "reports").glob("support-desk-1.*")
    } == written


def _signed_reports(story: Story) -> list[SignedReport]:
    return [item.predicate for item in state(story.log).evidence.all("report")]


def _unwanted(*_: object) -> None:
    raise AssertionError("an unchanged report is not sent again")


def test_a_log_that_does_not_verify_stops_the_report_and_says_why(story: Story) -> None:
    run(story)
    altered(story.log, 4)
    with pytest.raises(VerificationError, match="entry 4"):
        run(story, "report")
    assert (
        b"EVIDENCE DOES NOT VERIFY" in (story.root / "reports" / "support-desk-1.html").read_bytes()
    )


@pytest.fixture(autouse=True)
def _in_the_project(story: Story, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(story.root)
    yield


# -- What people accepted or approved counts here as it does at the gates ---------------------------
def trained(folder: Path, tables: Path, tier: str = "", *, scan_passed: bool = True) -> Governed:
    """A project of people: one trained model, not registered."""
    scene = empty(folder / "scene", RULES, tier=tier)
    story = scene.story
    authorize(scene)
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_text", "conversation", "text", 5900, scan_passed=scan_passed)
    story.base("tiny")
    if tier:
        data = story.records["desk_text"]
        scene.approve("ben", "risk", data, "data", page=None)
    story.train("sft", "pretrain", "conversation", "desk_text", "tiny")
    with_tables(tables, story.log.path)
    return scene


def accept(scene: Governed, code: str, name: str) -> None:
    """A waiver of a finding about the data of desk_text."""
    subject = Artifact(role="data", name="gate@sft", sha256=scene.story.records["desk_text"])
    said = {"owner": "ben", "control": "somebody looks", "expires": "2026-11-27T00:00:00Z"}
    terms = scene.signed("ben", "risk", model=MODEL, finding=code, about=name, **said)
    scene.say("ben", "waiver", [subject], Waiver.model_validate(terms))


@pytest.mark.slow
def test_a_model_that_trained_by_a_waiver_is_registered(
    mlflow_tables: Path, tmp_path: Path
) -> None:
    scene = trained(tmp_path, mlflow_tables, scan_passed=False)
    lock.write(scene.story.root)
    with pytest.raises(RefusedError, match="SCAN_NOT_PASSED"):
        run(scene.story)
    accept(scene, "SCAN_NOT_PASSED", "dataset desk_text")
    assert "version 1 is candidate" in run(scene.story)
    *_, move = logged(scene.story, "promotion")
    assert move.allowed and [each.code for each in move.waived] == ["SCAN_NOT_PASSED"]  # type: ignore[attr-defined]
    now = state(scene.story.log)
    assert {made_again(now, each) for each in now.view.all(Promotion)} == {Repeat.SAME}
    assert forged(now) == []


@pytest.mark.slow
def test_a_model_whose_data_people_approved_before_training_is_registered(
    mlflow_tables: Path, tmp_path: Path
) -> None:
    scene = trained(tmp_path, mlflow_tables, "    approved_before_training: [data]\n")
    lock.write(scene.story.root)
    assert "version 1 is candidate" in run(scene.story)


def test_nobody_waived_for_candidate_under_the_first_rules(
    mlflow_tables: Path, tmp_path: Path
) -> None:
    """What was refused then is refused when it is decided again."""
    scene = trained(tmp_path, mlflow_tables, scan_passed=False)
    accept(scene, "SCAN_NOT_PASSED", "dataset desk_text")
    story = scene.story
    now = state(story.log)
    request = gate.release_request(story.params, story.root, MODEL)
    earlier = replace(now.authority, rule_versions=RuleVersions())
    for rights, allowed in ((now.authority, True), (earlier, False)):
        decision = decide_release(
            request, story.policies, now.evidence, scene.now, authority=rights
        )
        assert decision.allowed is allowed
