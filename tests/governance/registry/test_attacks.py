"""Attacks, one row each: what is tried, and what must come back. Refused, or detected; always in
clear words.

Numbers are those of the list the design was made against (1 to 30), then others. Rows of the server
run against a real one, on SQLite and, at night, on PostgreSQL where that is installed; after each, the
champion is who it was, the log has only grown, and registry and log agree; after all, the log verifies.

The cases of the second trust round: the number of the point, what is tried, and what holds it.
Rows and tests without a folder are below. The other tests are beside their module and need no
server, but for those of witnesses; `...` stands for the rest of a name. `test_attack_map` looks each
of them up.

1  another log's registration, gate, candidate move: row 65, row 63
   the same, carried from one log to another:
      governance/log/test_carry::test_origin_policies_and_what_happened_to_a_registry_stay
   a version that gets a second digest:
      row 65 a second, governance/history/test_registered_twice::test_nothing_moves_to_it
   nothing repairs it:
      governance/history/test_registered_twice::test_policy_owners_settle_which_stands
   a person's statement that names no log or another:
      row 65, governance/attest/test_forgeries::test_what_was_said_to_one_log_counts_in_no_other
2  one person's statements replayed 300 times: test_a_replay_blocks_nobody
   new statements of one account:
      governance/attest/test_forgeries::test_an_account_adds_so_many_new_statements_in_an_hour
   revocations and incidents beyond the limit:
      governance/attest/test_forgeries::test_revocations_and_incidents_have_no_limit
   a refusal that nobody sees: test_a_refused_statement_is_recorded
   policies by others than owners, large policies, 7 MB of them: row 64 policies
   every decision reads all proposals again:
      governance/policy/test_authority::test_a_proposal_is_verified_and_parsed_once
   an incident on no registered model, version or digest: row 64 an incident on
   an incident, vote or revocation by an enrolled person without a role: row 64 an incident by,
      row 64 an incident that, row 64 an incident in, row 64 an approval, row 64 a rejection,
      row 64 a revocation
   a reason of 900 kB: row 64 a reason
   what is refused and yet read:
      governance/attest/test_forgeries::test_what_is_not_accepted_does_not_count_where_it_...
   an account without a right changes an answer:
      governance/server/test_no_right::test_no_account_without_a_right_changes_any_answer,
      governance/server/test_no_right_http::test_no_answer_of_others_changes
3  the ECDSA twin of an old candidate move:
      row 60 the other, governance/attest/test_keys::test_an_ecdsa_signature_has_one_form_only
   a statement again, in the same or other bytes: row 60 an, row 60 the same
   an RSA key, an expired certificate, two keys in one text, a weak key:
      row 61, governance/attest/test_keys::test_what_is_no_public_key_is_refused
4  a bundle without its incident, rejection, later promotion:
      test_a_bundle_without_what_speaks_against_its_version
   the same, APPROVED with exit code 0:
      governance/bundle/test_completeness::test_a_bundle_without_its_incident_rejection_...
   any other entry left out, both verifiers:
      governance/bundle/test_completeness::test_any_entries_that_are_left_out_are_missed
   a bundle from before: governance/bundle/test_completeness::test_a_bundle_from_before_verifies
   old decisions under new rules:
      governance/log/test_old::test_its_older_entries_are_judged_by_the_older_rules
5  a restored older copy moves champion: test_a_restored_older_copy_moves_nothing
   the same where nothing else looks:
      governance/log/test_heads::test_a_restored_older_copy_is_neither_read_nor_continued
   a copy that has grown otherwise:
      governance/log/test_heads::test_a_copy_that_has_grown_otherwise_is_not_continued
   a server that starts on an altered entry: test_an_entry_that_was_replaced_moves_nothing
6  one person moves 3, 1, 3, 2, 3: test_a_rollback_goes_to_the_last_earlier_version_only
   a rollback past a version with an incident:
      governance/release/test_promotion::test_a_rollback_passes_over_a_version_against_...
7  edits under assume-unchanged, skip-worktree, GIT_DIR:
      pipelines/test_codefiles::test_an_edit_that_git_is_told_to_overlook_is_an_...
   a sitecustomize on PYTHONPATH, in children too:
      pipelines/test_isolation::test_nothing_hostile_in_the_environment_reaches_a_stage
   the same in processes of a launcher:
      pipelines/test_isolation::test_a_launcher_gets_the_environment_of_a_stage
   the same in a run of DVC: pipelines/test_isolation::test_a_stage_that_dvc_starts_is_isolated
   a hash seed that has no effect: pipelines/test_isolation::test_equal_hashes_in_every_run
   an installed package altered: pipelines/test_installed::test_each_change_gives_another_digest
   the same, RECORD too: pipelines/test_installed::test_an_edit_with_its_record_gives_another_digest
   such a model for more than candidate:
      governance/release/test_promotion::test_uncommitted_code_is_good_for_candidate_only
   one machine signs all:
      pipelines/test_builders::test_the_commands_of_the_page_train_and_evaluate_by_two_...
8  a forged promotion is served: test_a_forged_promotion_is_not_served
   the same by verify-model and live:
      governance/release/test_serving::test_live_and_the_command_tell_of_a_forged_move
   the same by the loader: pipelines/test_loader::test_a_champion_by_a_forged_move_is_not_loaded
9  history names the requester, not the signer:
      governance/release/test_attribution::test_history_names_the_signer_not_the_name_in_...
   an account that two parsers read differently:
      row 50, governance/server/test_door::test_the_two_parsers_agree_or_nobody_is_let_in
   an unknown scheme gets 500: row 54 an account by, row 54 the same
   account names by timing:
      governance/server/test_door::test_a_wrong_password_costs_the_same_whoever_is_named
   account names by listing: row 54 the list, row 54 the entry
   another site's page, by Origin:
      row 53, row 62, governance/server/test_door::test_a_page_of_another_site_calls_nothing
   a password through http_proxy:
      governance/registry/test_rest::test_no_proxy_sees_a_password_for_this_machine
   the same for another machine:
      governance/registry/test_rest::test_a_proxy_gets_no_password_for_another_machine
   a database role without rights blocks writes:
      governance/log/test_postgres::test_a_role_that_may_not_write_keeps_nobody_from_writing
   tags of ours, on every route and object:
      row 39, row 40, row 56, row 57,
      governance/registry/test_stores::test_our_tags_are_nobody_elses_on_any_object
   names that look alike: row 17, row 58
   configuration that names code, templates and expressions that hang:
      row 55,
      governance/models/test_configs::test_a_template_that_runs_code_or_takes_long_is_refused
11 a history forged with all of the operator's keys:
      governance/witness/test_witnessed::test_a_forged_history_is_refused_by_a_client_that_...
   the same with people's keys:
      governance/witness/test_witnessed::test_owners_keys_do_not_take_the_witnesses_away
   two clients are shown different logs:
      governance/witness/test_compare::test_a_witness_detects_a_split_view_between_two_clients
   a release that no witness saw:
      governance/witness/test_served::test_the_server_asks_its_witness_and_promotes_what_...
   a missing witness delays rollback, revocation, incident:
      governance/witness/test_served::test_a_missing_witness_delays_no_rollback_no_...
   an inconsistent checkpoint: governance/witness/test_book::test_a_longer_fork_is_refused_and_kept
   a witness that is killed forgets:
      governance/witness/test_book::test_killed_at_any_write_it_signs_nothing_that_it_forgets
   a witness learns more than checkpoints:
      governance/witness/test_witnessed::test_only_the_checkpoint_and_a_proof_leave_the_...
   a bundle without cosignatures:
      governance/witness/test_witnessed::test_spoiled_cosignatures_of_a_bundle_are_refused
   files of a version that change:
      governance/models/test_signature::test_the_real_tool_verifies_it_and_finds_every_change
12 a name that somebody took before it was governed: test_a_name_that_was_taken_...
   a version deleted by another spelling of its number:
      governance/registry/test_stores::test_a_version_that_the_log_knows_is_not_...
   a version deleted while it is made:
      governance/registry/test_calls::test_a_version_that_is_made_meanwhile_is_known
   an alias moved by SQL: test_an_alias_moved_by_sql_is_put_back_...
   a body that is unpacked because of a second header:
      row 51 such a body of,
      governance/server/test_door::test_a_header_that_is_checked_stands_once
   a statement that only names a machine's key, carried:
      governance/log/test_carry::test_what_only_claims_this_machines_key_is_not_signed
   the password of one server, sent to another:
      governance/log/test_carry::test_the_password_of_one_server_goes_to_no_other
   a signature of a checkpoint key as one of policies:
      governance/policy/test_authority::test_a_signature_about_one_thing_takes_back_none_...
   cosignatures of a log whose name ends alike:
      governance/witness/test_witnessed::test_a_checkpoint_of_a_log_whose_name_ends_alike_...
   cosignatures of another history:
      governance/witness/test_witnessed::test_a_recorded_checkpoint_of_another_history_is_found
   a retirement that leaves an alias that policy dropped:
      governance/release/test_promotion::test_a_retirement_takes_an_alias_that_policy_dropped
   compiled code from a folder that a variable names:
      pipelines/test_isolation::test_compiled_code_of_another_folder_is_not_used
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.attest import canonical
from governance.attest.digests import manifest
from governance.attest.envelope import sign_statement, verify_envelope
from governance.attest.predicates import (
    Approval,
    Artifact,
    Authorization,
    Incident,
    ModelFile,
    PolicyChange,
    Promotion,
    Revocation,
)
from governance.attest.requests import ReleaseRequest
from governance.base.errors import ConfigError, CountersignError, RefusedError, VerificationError
from governance.base.time import exact_instant, instant
from governance.base.yaml import parse_yaml
from governance.bundle import bundle_of, standalone_verifier, verify_bundle, write
from governance.history.verify import TrustAnchors, verify_log
from governance.log import evidence
from governance.log.checkpoint import parse_checkpoint
from governance.log.model_index import parse_index
from governance.log.port import Filing
from governance.log.sqlite import SqliteLog
from governance.machine.signers import CHECKPOINT, private_signer, stored_signer
from governance.models.folder import check_manifest, enforce
from governance.models.weights import check_safetensors
from governance.policy.policies import files_digest, load_policies
from governance.registry.governed.limit import SAID_PER_HOUR
from governance.release import promotion, retrospect, serving
from tests.conftest import rows
from tests.governance.bundles import opened, sealed
from tests.governance.forged import forge, second
from tests.governance.governed import (
    Governed,
    authorize,
    empty,
    governed,
    keypair,
    person,
    principals,
    with_check,
)
from tests.governance.keys import (
    CERTIFICATE,
    EARLIER,
    ED,
    P256,
    WEAK,
    line_of,
    pem,
    text_of,
    twin,
    with_other_signature,
)
from tests.governance.log.databases import raw
from tests.governance.registry.place import (
    MODEL,
    Answer,
    NotStarted,
    Server,
    place,
    register,
    start,
)
from tests.governance.registry.place import serving as running
from tests.governance.registry.world import Fresh, World
from tests.governance.story import digest, tell
from tests.postgres import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    environ = {}
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("cluster")
        environ = {"COUNTERSIGN_LOG": cluster.database()}
    people = principals(
        {
            **{name: [name] for name in ("cleo", "dora", "eve")},
            **{name: [name, f"{name}2"] for name in ("ada", "ben")},
        }
    )
    kms = {"name": "kms", "kind": "service", "signs": ["promotion"], "keys": [text_of(P256)]}
    people += f"  - {json.dumps(kms)}\n"
    here = place(tmp_path_factory.mktemp("attacks"), people, **environ)
    with running(here) as server, pytest.MonkeyPatch.context() as patch:
        register(here, server, patch)  # the version of the story, in the registry, too
        made = World(here, server, patch)
        for _ in range(2):  # whichever rows a worker runs, version 1 is not the champion
            made.promote(made.fresh())
        yield made
        made.all_verifies()


SQLITE_IN_CI = pytest.mark.parametrize(
    "world", ["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)], indirect=True
)
"""PostgreSQL at night. What is done past the server, and many at once, run on both each time."""


# -- Against the server: refused -------------------------------------------------------------------
Attack = Callable[[World], Any]
"""Returns the server's answer."""


def _replayed_on_another_digest(world: World) -> Any:
    approved, other = world.fresh(), world.fresh()
    world.approve_all(approved)
    return world.tried(other)


def _deleted_and_made_again(world: World) -> Any:
    return world.server.ask(
        "DELETE", "model-versions/delete", {"name": MODEL, "version": world.champion}
    )


def _deleted_model(world: World) -> Any:
    return world.server.ask("DELETE", "registered-models/delete", {"name": MODEL})


def _request_replayed(world: World) -> Any:
    fresh = world.fresh()
    world.promote(fresh)
    return world.move(fresh.number)


def _approval_for_another(world: World, **fields: Any) -> Any:
    fresh = world.fresh()
    world.scene.approve("ada", "ml-lead", fresh.packet)
    world.scene.approve("ben", "risk", fresh.packet, **fields)
    return world.tried(fresh)


def _stale(world: World) -> Any:
    fresh = world.fresh()
    world.approve_all(fresh)
    return world.tried(fresh, from_version="97")


def _author_approves(world: World) -> Any:
    fresh = world.fresh()
    world.scene.approve("ada", "ml-lead", fresh.packet)
    world.scene.approve("cleo", "product", fresh.packet)
    return world.tried(fresh)


def _two_keys_of_one_person(world: World) -> Any:
    fresh = world.fresh()
    world.scene.approve("ada", "ml-lead", fresh.packet)
    world.scene.approve("ada", "policy-owner", fresh.packet, key="ada2")
    return world.tried(fresh)


def _expired(world: World) -> Any:
    return _approval_for_another(world, expires="2026-11-20T09:30:00Z")


def _not_yet(world: World) -> Any:
    return _approval_for_another(world, at="2031-01-01T00:00:00Z")


def _clock_set_back(world: World) -> Any:
    """An old instant on a request does not make it open: nor does a future one."""
    fresh = world.fresh()
    world.approve_all(fresh)
    return world.tried(fresh, at="2026-11-01T00:00:00Z", expires="2026-11-02T00:00:00Z")


def _policy_edited(world: World) -> Any:
    """The files at hand now ask for nobody: the log's policies decide."""
    path = world.scene.story.root / "policies" / "policy.yaml"
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text.replace("approvals: 2", "approvals: 0"), encoding="utf-8")
        return world.tried(world.fresh())
    finally:
        path.write_text(text, encoding="utf-8")


def _policy_proposed_and_unsigned(world: World) -> Any:
    """A weaker policy is recorded, and nobody signed it."""
    from governance.machine.machine import open_log

    path = world.scene.story.root / "policies" / "policy.yaml"
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text(text.replace("approvals: 2", "approvals: 0"), encoding="utf-8")
        open_log(world.here.machine, load_policies(path.parent), world.scene.story.now)
        return world.tried(world.fresh())
    finally:
        path.write_text(text, encoding="utf-8")
        open_log(world.here.machine, load_policies(path.parent), world.scene.story.now)


def _scores_of_another(world: World) -> Any:
    """The model was scored badly; the good scores are another model's."""
    fresh = world.fresh(accuracy=0.1)
    world.approve_all(fresh)
    return world.tried(fresh)


def _nested(world: World) -> Any:
    body = b'{"name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    path = "/api/2.0/mlflow/registered-models/create"
    return world.server.ask("POST", path, raw=body, kind="application/json")


def _raw(path: str, *headers: tuple[str, str], method: str = "POST", sent: bytes = b"") -> Attack:
    """A request as nobody's library writes it, by no account: what is told of it, before any of its
    body is sent.
    """

    def attack(world: World) -> Any:
        connection = http.client.HTTPConnection(
            world.server.uri.removeprefix("http://"), timeout=30
        )
        names_host = any(name == "Host" for name, _ in headers)
        connection.putrequest(method, path, skip_host=names_host, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(sent)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        return Answer(answer.status, text)

    return attack


def _by_admin(path: str, *headers: tuple[str, str], method: str = "POST") -> Attack:
    """The same with the administrator's password, as a browser adds it."""
    length = ("Content-Length", "0")
    return lambda world: _raw(path, _basic(world, "admin"), length, *headers, method=method)(world)


def _secretly(world: World) -> Any:
    """Refused, and neither answer nor log repeats what opens it."""
    place = "s3://AKIA:hu/sh@bucket/x?sig=hush"
    answer = world.server.post("experiments/create", name="secret", artifact_location=place)
    said = [
        one.predicate.reason
        for one in promotion.state(world.scene.story.log).evidence.all("refusal")
    ]
    assert any("s3://...@bucket/x?..." in one for one in said)
    assert not any("hu/sh" in one or "hush" in one for one in [*said, answer.text])
    return answer


def _unkept(world: World) -> Any:
    """Refused, and the log says so."""
    answer = world.server.post("registered-models/create", name="support\0-desk")
    said = [
        one.predicate.model
        for one in promotion.state(world.scene.story.log).evidence.all("refusal")
    ]
    assert "support\ufffd-desk" in said, said
    return answer


def _basic(world: World, user: str) -> tuple[str, str]:
    return (
        "Authorization",
        "Basic " + base64.b64encode(f"{user}:{world.server.password}".encode()).decode(),
    )


def _in_anothers_name(world: World) -> Any:
    """The first is who it is, the last who it is put down to."""
    headers = (_basic(world, "admin"), _basic(world, "ben"), ("Content-Length", "1"))
    return _raw(_artifact(world, "{base}/model/extra.txt"), *headers, method="PUT", sent=b"x")(
        world
    )


JSON = ("Content-Type", "application/json")
CREATE = "/api/2.0/mlflow/registered-models/create"
LOG = "/countersign/v1/entries"


def _create(name: str) -> Attack:
    return lambda world: world.server.post("registered-models/create", name=name)


def _alias(alias: str, model: str = MODEL) -> Attack:
    return lambda world: world.move(world.champion, alias, model)


def _post(path: str, **body: Any) -> Attack:
    return lambda world: world.server.post(
        path, **{"name": MODEL, "version": world.champion, **body}
    )


def _put(path: str) -> Attack:
    """To the artifacts; {run} is the champion's."""

    def attack(world: World) -> Any:
        return world.server.ask("PUT", _artifact(world, path), raw=b"other bytes")

    return attack


def _artifact(world: World, path: str) -> str:
    found = world.server.ask(
        "GET", f"model-versions/get?name={MODEL}&version={world.champion}"
    ).value["model_version"]
    base = found["source"].removeprefix("mlflow-artifacts:/").removesuffix("/model")
    return "/api/2.0/mlflow-artifacts/artifacts/" + path.format(base=base)


def _delete_artifact(world: World) -> Any:
    return world.server.ask("DELETE", _artifact(world, "{base}/model/config.json"))


def _beside(world: World) -> Any:
    """Whoever looks for the run's files below the artifact root would find two."""
    experiment = world.server.post("experiments/create", name="beside").value
    if "experiment_id" not in experiment:
        experiment = world.server.ask(
            "GET", "experiments/get-by-name?experiment_name=beside"
        ).value["experiment"]
    own = _artifact(world, "{base}/model/config.json").split("/")
    own[-5] = experiment["experiment_id"]
    return world.server.ask("PUT", "/".join(own), raw=b"other bytes")


def _upload_artifact(world: World) -> Any:
    run = world.server.ask(
        "GET", f"model-versions/get?name={MODEL}&version={world.champion}"
    ).value["model_version"]
    path = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run['run_id']}&path=model/config.json"
    return world.server.ask("POST", path, raw=b"other bytes")


KMS = private_signer(pem(P256), "kms")


def _old_candidate_move(world: World, change: Callable[[bytes], bytes]) -> Any:
    """A reader of the log sends a candidate move again after a later one, with a signature that
    follows from the old one.
    """
    story, log = world.scene.story, world.scene.story.log
    entries, versions = [], [world.fresh() for _ in range(2)]
    for fresh in versions:
        sha256 = story.models[fresh.stage]
        move = Promotion(
            model=MODEL,
            version=fresh.number,
            alias="candidate",
            model_digest=sha256,
            allowed=True,
            findings=[],
            policy=story.policies.digest,
            at=instant(story.now()),
            run=story.run(),
            asked=ReleaseRequest(model=MODEL, released=story.reference(fresh.stage)).model_dump(
                mode="json"
            ),
        )
        subject = Artifact(role="model", name=fresh.stage, sha256=sha256)
        entries.append(evidence.record(log, KMS, "promotion", [subject], move))
    old, size = entries[0], log.size()
    envelope = with_other_signature(old.envelope, change)
    answer = _sent_by_a_reader(world, envelope)
    assert all(entry.kind == "refusal" for entry in log.entries(size))
    held = promotion.state(log).holder(MODEL, "candidate")
    assert held is not None and held.version == versions[1].number
    assert answer.status != 200 or answer.value["index"] == old.index
    return answer


def _sent_by_a_reader(world: World, envelope: bytes) -> Any:
    """By an account that may only read."""
    return _as_reader(world).ask("POST", LOG, raw=envelope)


def _sent_by_the_service(world: World, envelope: bytes) -> Any:
    """By the account that is named as the service."""
    return world.account("ci").ask("POST", LOG, raw=envelope)


def _as_reader(world: World) -> Server:
    """An account that may only read."""
    return world.account("reader")


def _with_other_bytes(world: World) -> bytes:
    """Another registration of a version that is registered."""
    latest = list(promotion.state(world.scene.story.log).evidence.all("registration"))[-1]
    other = latest.predicate.model_copy(update={"model_digest": "ab" * 32})
    subject = Artifact(role="model", name="x", sha256="ab" * 32)
    return sign_statement(evidence.build_statement("registration", [subject], other), person("ci"))


def _vote(world: World, who: str, role: str, packet: str = "", **fields: Any) -> bytes:
    """An approval of a packet, or of a version that nobody has approved."""
    said = {"decision": "approve", "about": "packet", "model": MODEL, "page": digest("page")}
    vote = Approval.model_validate(world.scene.signed(who, role, **said) | fields)
    subject = Artifact(role=vote.about, name="x", sha256=packet or world.fresh().packet)
    return sign_statement(evidence.build_statement("approval", [subject], vote), person(who))


def _authorization(world: World, who: str, role: str, **fields: Any) -> bytes:
    """Services may run in this person's name for an hour."""
    until = exact_instant(world.scene.now + timedelta(hours=1))
    said = world.scene.signed(who, role, expires=until) | fields
    key = Artifact(role="key", name=who, sha256=person(who).keyid)
    statement = evidence.build_statement("authorization", [key], Authorization.model_validate(said))
    return sign_statement(statement, person(who))


def _revocation(world: World, who: str, role: str, of: str, key: str = "", **fields: Any) -> bytes:
    said = world.scene.signed(who, role, owner=of) | fields
    revocation = Revocation.model_validate(said)
    subject = Artifact(role="key", name=of, sha256=person(key or of).keyid)
    statement = evidence.build_statement("revocation", [subject], revocation)
    return sign_statement(statement, person(who))


SAY: dict[str, Callable[[World, str | None], bytes]] = {
    "an approval": lambda world, log: _vote(world, "ben", "risk", digest("packet"), log=log),
    "a rejection": lambda world, log: _vote(
        world, "ben", "risk", digest("packet"), log=log, decision="reject"
    ),
    "an approval of policies": lambda world, log: _vote(
        world, "ben", "policy-owner", digest("policies"), log=log, about="policy"
    ),
    "an approval of a registration": lambda world, log: _vote(
        world, "ben", "policy-owner", digest("bytes"), log=log, about="registration"
    ),
    "a revocation": lambda world, log: _revocation(world, "ben", "policy-owner", "dora", log=log),
    "an incident": lambda world, log: _incident_by(world, "ben", "risk", log=log),
    "an authorization": lambda world, log: _authorization(world, "dora", "engineer", log=log),
}
"""What people say that names this log, another log, or none."""


def _repeated(world: World, kind: str, **changed: str | None) -> bytes:
    """What the service signed, with a difference: as a run that ended before it sent it."""
    latest = list(promotion.state(world.scene.story.log).evidence.all(kind))[-1]
    predicate = latest.predicate.model_copy(update=changed)
    return sign_statement(evidence.build_statement(kind, latest.subjects, predicate), person("ci"))


def _incident_by(
    world: World, who: str, role: str, of: str = "sft", sha256: str = "", **fields: Any
) -> bytes:
    scene = world.scene
    said = scene.signed(who, role, model=MODEL, version="1", state="open") | fields
    model = Artifact(role="model", name=of, sha256=sha256 or scene.story.models[of])
    predicate = Incident.model_validate(with_check(said))
    statement = evidence.build_statement("incident", [model], predicate)
    return sign_statement(statement, person(who))


def _proposal(world: World, who: str, more: str = "# a comment") -> bytes:
    scene = world.scene
    files = dict(scene.story.policies.files)
    files["policy.yaml"] += f"\n{more}\n"
    log = scene.story.log.entry(0).leaf_hash.hex()
    change = PolicyChange(
        previous=scene.story.policies.digest, run=scene.story.run(), files=files, log=log
    )
    subject = Artifact(role="policy", name="policies", sha256=files_digest(files))
    return sign_statement(evidence.build_statement("policy", [subject], change), person(who))


def _many_proposals(world: World) -> Any:
    """Each as large as fits in a request. None of them is in the log that decisions read."""
    size = world.scene.story.log.size()
    answers = [
        _sent_by_a_reader(world, _proposal(world, "eve", f"# {number} " + "x" * 500_000))
        for number in range(14)
    ]
    assert {answer.status for answer in answers} == {403}
    assert all(entry.kind == "refusal" for entry in world.scene.story.log.entries(size))
    return answers[-1]


def _policies_with(key: str) -> Attack:
    """A policy owner proposes policies in which one person has this key."""

    def attack(world: World) -> Any:
        scene = world.scene
        files = dict(scene.story.policies.files)
        old = json.dumps(keypair("eve")[1])
        files["policy.yaml"] = files["policy.yaml"].replace(old, json.dumps(key))
        assert files != dict(scene.story.policies.files)
        log = scene.story.log.entry(0).leaf_hash.hex()
        change = PolicyChange(
            previous=scene.story.policies.digest, run=scene.story.run(), files=files, log=log
        )
        subject = Artifact(role="policy", name="policies", sha256=files_digest(files))
        statement = evidence.build_statement("policy", [subject], change)
        envelope = sign_statement(statement, person("ada"))
        return _sent_by_a_reader(world, envelope)

    return attack


def _taken_back(world: World, change: Callable[[bytes], bytes]) -> Any:
    """An approval that its author has taken back is sent again. It counts no more."""
    scene, fresh = world.scene, world.fresh()
    index = scene.approve("ben", "risk", fresh.packet)
    scene.approve("ben", "risk", fresh.packet, decision="reject")
    scene.approve("ada", "ml-lead", fresh.packet)
    log, size = scene.story.log, scene.story.log.size()
    answer = _sent_by_a_reader(world, change(log.entry(index).envelope))
    assert all(entry.kind == "refusal" for entry in log.entries(size))
    assert answer.status != 200 or answer.value["index"] == index
    moved = world.tried(fresh)
    assert moved.status == 403 and "APPROVAL_MISSING" in moved.message, moved.text
    return answer


def _in_other_json(envelope: bytes) -> bytes:
    """The same statement and signature, in bytes that are not those of the entry."""
    return json.dumps(json.loads(envelope), indent=2).encode()


def _version(source: str, **more: Any) -> Attack:
    def attack(world: World) -> Any:
        run = world.server.post("runs/create", experiment_id="0").value["run"]["info"]
        body = {"name": MODEL, "source": source.format(uri=run["artifact_uri"], run=run["run_id"])}
        return world.server.post(
            "model-versions/create", **{**body, "run_id": run["run_id"], **more}
        )

    return attack


def _config(text: str, name: str = "config.json") -> Attack:
    """A version of a run of one's own, with such a file."""

    def attack(world: World) -> Any:
        run = world.server.post("runs/create", experiment_id="0").value["run"]["info"]
        folder = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        path = f"/api/2.0/mlflow-artifacts/artifacts/{folder}/model/{name}"
        assert world.server.ask("PUT", path, raw=text.encode()).status == 200
        body = {"name": MODEL, "source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]}
        return world.server.post("model-versions/create", **body)

    return attack


def _described(path: str, text: str) -> Attack:
    """A version that MLflow can load, with such a file around its model."""

    def attack(world: World) -> Any:
        run = world.server.post("runs/create", experiment_id="0").value["run"]["info"]
        folder = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        files = {
            "model/config.json": '{"architectures": ["LlamaForCausalLM"]}',
            "MLmodel": '{"flavors": {}}',
            path: text,
        }
        for name, content in files.items():
            target = f"/api/2.0/mlflow-artifacts/artifacts/{folder}/model/{name}"
            assert world.server.ask("PUT", target, raw=content.encode()).status == 200
        body = {"name": MODEL, "source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]}
        return world.server.post("model-versions/create", **body)

    return attack


def _anothers_tag(world: World) -> Any:
    world.server.post("registered-models/create", name="theirs")
    body = {"name": "theirs", "key": "governance.status", "value": "champion"}
    return world.server.post("registered-models/set-tag", **body)


def _delete_run(world: World) -> Any:
    run = world.server.ask(
        "GET", f"model-versions/get?name={MODEL}&version={world.champion}"
    ).value["model_version"]
    return world.server.post("runs/delete", run_id=run["run_id"])


def _delete_experiment(world: World) -> Any:
    run = world.server.ask(
        "GET", f"model-versions/get?name={MODEL}&version={world.champion}"
    ).value["model_version"]
    info = world.server.ask("GET", f"runs/get?run_id={run['run_id']}").value["run"]["info"]
    return world.server.post("experiments/delete", experiment_id=info["experiment_id"])


def _copied_into(world: World) -> Any:
    """Through the client, as anybody would."""
    other = world.server.post("registered-models/create", name="innocent").status in (200, 400)
    assert other
    source = f"models:/{MODEL}/{world.champion}"
    made = world.server.post("model-versions/create", name="innocent", source=source)
    assert made.status == 200, made.text
    return world.server.post("model-versions/create", name=MODEL, source="models:/innocent/1")


def _rename_swap(world: World) -> Any:
    world.server.post("registered-models/create", name="impostor")
    return world.server.post("registered-models/rename", name="impostor", new_name=MODEL)


def _prompt(world: World) -> Any:
    """The same store method by another name."""
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    return world.server.post("registered-models/create", name="Support-Desk", tags=tags)


def _latest(world: World) -> Any:
    return world.server.ask("GET", f"registered-models/alias?name={MODEL}&alias=latest")


def _latest_versions(world: World) -> Any:
    return world.server.post("registered-models/get-latest-versions", name=MODEL)


def _local_files(world: World) -> Any:
    return world.server.post("experiments/create", name="loot", artifact_location="file:///etc")


OF: dict[str, tuple[str | None, str]] = {
    "another log": ("ab" * 32, "it names abababababab"),
    "no log": (None, "it names no log"),
}
"""Which log a statement names, and what is said of it."""
SENDERS = {
    "the service's own account": _sent_by_the_service,
    "an account that may only read": _sent_by_a_reader,
}

REFUSED: dict[str, tuple[Attack, tuple[int, ...], str]] = {
    "1 an approval replayed on another digest": (
        _replayed_on_another_digest,
        (403,),
        "APPROVAL_MISSING",
    ),
    "2 a version deleted, to be made again": (_deleted_and_made_again, (403,), "never deleted"),
    "2 the model deleted, to be made again": (_deleted_model, (403,), "never deleted"),
    "3 a used request replayed": (_request_replayed, (403,), "REQUEST_SPENT"),
    "4 an approval for another alias": (
        lambda world: _approval_for_another(world, alias="challenger"),
        (403,),
        "APPROVAL_MISSING",
    ),
    "4 an approval for another model": (
        lambda world: _approval_for_another(world, model="other"),
        (403,),
        "APPROVAL_MISSING",
    ),
    "5 a stale from-version": (_stale, (403,), "REQUEST_CONFLICT"),
    "10 the requester approves": (_author_approves, (403,), "APPROVAL_MISSING"),
    "12 two keys of one person": (_two_keys_of_one_person, (403,), "APPROVAL_MISSING"),
    "14 an approval that expired": (_expired, (403,), "APPROVAL_MISSING"),
    "14 an approval that is not valid yet": (_not_yet, (403,), "APPROVAL_MISSING"),
    "15 a request by a clock set back": (_clock_set_back, (403,), "REQUEST_EXPIRED"),
    "17 a homograph as model": (_create("suppоrt-desk"), (403,), "could be taken for"),
    "17 another alphabet altogether": (_create("ѕυррοrt-dеѕk"), (403,), "could be taken for"),
    "17 full width": (_create("ｓｕｐｐｏｒｔ-desk"), (403,), "could be taken for"),
    "17 a letter nobody tabled": (_create("suppⲟrt-desk"), (403,), "could be taken for"),
    "17 a zero-width space": (_create("support\u200b-desk"), (403,), "could be taken for"),
    "17 case": (_create("Support-Desk"), (403,), "could be taken for"),
    "17 a trailing newline": (_create("support-desk\n"), (403,), "could be taken for"),
    "17 a trailing space": (_create("support-desk "), (403,), "could be taken for"),
    "17 a digit for a letter": (_create("supp0rt-desk"), (403,), "could be taken for"),
    "17 another separator": (_create("support_desk"), (403,), "could be taken for"),
    "17 a name with a NUL, which no database keeps": (_unkept, (403,), "could be taken for"),
    "17 a name with a hidden character": (
        _create("in\u200bnocent"),
        (403,),
        "begins with a letter",
    ),
    "17 an alias in capitals": (_alias("Champion"), (403,), "plain name"),
    "17 an alias with a newline": (_alias("champion\n"), (400, 403), "alias"),
    "17 an alias in Cyrillic": (_alias("сhampion"), (403,), "plain name"),
    "17 an alias of full width": (_alias("ｃhampion"), (403,), "plain name"),
    "17 an alias that policy does not know": (_alias("production"), (403,), "policy does not know"),
    "17 a name that takes a minute to read": (
        _create("x" * (4 << 20)),
        (400, 403),
        "a name of 4194304 characters",
    ),
    "24 a body nested without end": (_nested, (400,), "nested too deep"),
    "18 a path that leaves the root": (_put("../../evil"), (400, 403, 404), "nvalid path"),
    "18 an encoded path": (_put("{base}/%2e%2e/%2e%2e/evil"), (400, 403), "nvalid path"),
    "18 a path encoded twice": (_put("{base}/%252e%252e/evil"), (400, 403), "nvalid path"),
    "18 a name encoded twice": (
        _put("{base}/model/%2563onfig.json"),
        (403,),
        "written once|closed|encoded",
    ),
    "18 an absolute path": (_put("%2fetc%2fevil"), (400, 403), "nvalid path|absolute"),
    "18 a backslash": (_put("{base}/..%5c..%5cevil"), (400, 403), "nvalid path|backslash"),
    "20 a file more in a registered folder": (_put("{base}/model/extra.txt"), (403,), "closed"),
    "20 a file more below a registered folder": (
        _put("{base}/model/sub/extra.txt"),
        (403,),
        "closed",
    ),
    "20 git in a registered folder": (_put("{base}/model/.git/config"), (403,), "closed"),
    "21 code in a registered folder": (_put("{base}/model/code/x.py"), (403,), "closed"),
    "28 the policies at hand edited": (_policy_edited, (403,), "APPROVAL_MISSING"),
    "28 weaker policies recorded and not signed": (
        _policy_proposed_and_unsigned,
        (403,),
        "APPROVAL_MISSING",
    ),
    "29 the scores of a bad model": (_scores_of_another, (403,), "THRESHOLD_NOT_MET"),
    # -- not in the list
    "31 the alias without any request": (
        lambda world: world.move(world.fresh().number),
        (403,),
        "REQUEST_MISSING",
    ),
    "32 the alias taken away": (
        lambda world: world.server.ask(
            "DELETE", "registered-models/alias", {"name": MODEL, "alias": "champion"}
        ),
        (403,),
        "REQUEST_MISSING",
    ),
    "33 through the door of the web pages": (
        lambda world: world.server.ask(
            "POST",
            "/ajax-api/2.0/mlflow/registered-models/alias",
            {"name": MODEL, "alias": "champion", "version": world.fresh().number},
        ),
        (403,),
        "REQUEST_MISSING",
    ),
    "34 a version that is not there": (_alias("champion"), (403,), "REQUEST_"),
    "35 candidate for what is not registered": (
        lambda world: world.move("4711", "candidate"),
        (403,),
        "no registration",
    ),
    "36 a governed model renamed": (
        _post("registered-models/rename", new_name="x"),
        (403,),
        "never renamed",
    ),
    "37 another model given its name": (_rename_swap, (403,), "never renamed"),
    "38 a stage": (
        _post(
            "model-versions/transition-stage", stage="Production", archive_existing_versions=True
        ),
        (403,),
        "stages",
    ),
    "39 a tag that claims an approval": (
        _post("model-versions/set-tag", key="governance.approved_by", value="everybody"),
        (403,),
        "only the server writes",
    ),
    "39 such a tag, hidden": (
        _post("model-versions/set-tag", key="gov\u200bernance.approved_by", value="x"),
        (400, 403),
        "",
    ),
    "39 such a tag, in capitals": (
        _post("model-versions/set-tag", key="GOVERNANCE.approved_by", value="x"),
        (403,),
        "only the server writes",
    ),
    "39 such a tag of the model": (
        _post("registered-models/set-tag", key="governance.x", value="x"),
        (403,),
        "only the server writes",
    ),
    "39 such a tag at creation": (
        _version("{uri}/model", tags=[{"key": "governance.status", "value": "champion"}]),
        (403,),
        "only the server writes",
    ),
    "39 a tag that hides the model among prompts": (
        _post("registered-models/set-tag", key="mlflow.prompt.is_prompt", value="true"),
        (403,),
        "only the server writes",
    ),
    "40 the digest's tag": (
        _post("model-versions/set-tag", key="countersign.digest", value="0" * 64),
        (403,),
        "only the server writes",
    ),
    "40 the digest's tag removed": (
        lambda world: world.server.ask(
            "DELETE",
            "model-versions/delete-tag",
            {"name": MODEL, "version": world.champion, "key": "countersign.digest"},
        ),
        (403,),
        "only the server writes",
    ),
    "41 the description": (
        lambda world: world.server.ask(
            "PATCH",
            "model-versions/update",
            {"name": MODEL, "version": world.champion, "description": "approved"},
        ),
        (403,),
        "only the server writes",
    ),
    "42 a source in somebody's bucket": (_version("s3://evil/model"), (400, 403), "source"),
    "42 a source on the server's disk": (_version("file:///etc"), (400, 403), "source"),
    "42 a source of another run": (
        _version("mlflow-artifacts:/0/" + "0" * 32 + "/artifacts/model"),
        (400, 403),
        "source",
    ),
    "42 a source of the hub": (_version("hf://evil/model"), (400, 403), "source"),
    "42 a source that climbs": (_version("{uri}/../../x"), (400, 403), "source"),
    "42 a source in a folder that is named like the run": (
        _version("mlflow-artifacts:/999/{run}/artifacts/model"),
        (400, 403),
        "source",
    ),
    "42 a source on a host that is a number": (
        _version("mlflow-artifacts://2130706433/{run}/artifacts/model"),
        (400, 403),
        "source",
    ),
    "43 a copy into a governed name": (_copied_into, (403,), "own artifact root"),
    "44 a prompt of that name": (_prompt, (403,), "could be taken for"),
    "45 latest, by alias": (_latest, (403,), "latest"),
    "45 latest, by stage": (_latest_versions, (403,), "latest"),
    "46 a file of the champion overwritten": (
        _put("{base}/model/config.json"),
        (403,),
        "closed|written once",
    ),
    "46 the same by the web pages": (_upload_artifact, (403,), "closed|written once"),
    "46 the same in a folder that is named like the run": (
        _beside,
        (403,),
        "the files of the run are below",
    ),
    "46 a file of the champion deleted": (_delete_artifact, (403,), "never deleted"),
    "47 the champion's run deleted": (_delete_run, (403,), "needs run"),
    "47 its experiment deleted": (_delete_experiment, (403,), "needs run"),
    "48 an experiment on the server's disk": (_local_files, (403,), "own root"),
    "48 an experiment at an address with a password in it": (_secretly, (403,), "own root"),
    "49 the trial's model": (
        lambda world: world.move("1", "governed", "countersign-trial"),
        (403,),
        "tests itself",
    ),
    "50 a refusal put down to somebody else": (
        _in_anothers_name,
        (400,),
        "more than one header of a kind: authorization",
    ),
    "51 a body that fills the memory": (
        _raw(CREATE, JSON, ("Content-Length", str(1 << 40))),
        (413,),
        "a body of more than",
    ),
    "51 a body that fills the memory once it is unpacked": (
        _raw(
            "/v1/traces",
            ("Content-Encoding", "gzip"),
            ("Content-Encoding", "identity"),
            ("Content-Length", "1"),
        ),
        (400,),
        "more than one header of a kind: content-encoding",
    ),
    "51 such a body where files are put": (
        _raw("/api/2.0/mlflow-artifacts/artifacts/x", ("Content-Length", str(1 << 40))),
        (413,),
        "a body of more than",
    ),
    "51 such a body of traces": (
        _raw("/v1/traces", JSON, ("Content-Length", str(1 << 40))),
        (413,),
        "a body of more",
    ),
    "51 a body without end": (
        _raw(CREATE, JSON, ("Transfer-Encoding", "chunked")),
        (411,),
        "without a declared length",
    ),
    "51 a body that unpacks to much": (
        _raw("/v1/traces", JSON, ("Content-Encoding", "gzip"), ("Content-Length", "1")),
        (415,),
        "compressed",
    ),
    "51 a file without end, by nobody": (
        _raw(
            "/api/2.0/mlflow-artifacts/artifacts/x/y",
            ("Content-Length", str(1 << 40)),
            method="PUT",
        ),
        (401,),
        "",
    ),
    "55 a configuration that names code": (
        _config('{"auto_map": {"AutoModel": "evil.Model"}}'),
        (403,),
        "it asks for code",
    ),
    "55 a configuration with an unknown text": (
        _config('{"plugin": "evil"}'),
        (403,),
        "a text under the key 'plugin'",
    ),
    "55 a template that runs code": (
        _config("{{ cycler.__init__.__globals__ }}", "chat_template.jinja"),
        (403,),
        "the attribute __",
    ),
    "55 a template that hangs": (
        _config("{% for a in range(99999999) %}x{% endfor %}", "chat_template.jinja"),
        (403,),
        "chat template",
    ),
    "55 the same within the tokenizer's configuration": (
        _config(
            json.dumps({"chat_template": "{% for a in range(99999999) %}x{% endfor %}"}),
            "tokenizer_config.json",
        ),
        (403,),
        "chat template",
    ),
    "55 a tokenizer that hangs": (
        _config('{"normalizer": {"pattern": {"Regex": "(a+)+$"}}}', "tokenizer.json"),
        (403,),
        "could take very long",
    ),
    "55 a description that loads a module": (
        _described("MLmodel", '{"flavors": {"python_function": {"loader_module": "evil"}}}'),
        (403,),
        "MLmodel: is not the one of this model",
    ),
    "55 code beside the model, where MLflow looks for it": (
        _described("code/evil.py", "import os"),
        (403,),
        "code/evil.py: stands beside the model",
    ),
    "55 another tokenizer beside the model": (
        _described("components/tokenizer/config.json", "{}"),
        (403,),
        "components/tokenizer/config.json: is not the model's own",
    ),
    "56 a tag of ours on a run": (
        lambda world: world.server.post(
            "runs/create", experiment_id="0", tags=[{"key": "countersign.approved", "value": "x"}]
        ),
        (403,),
        "only the server writes",
    ),
    "56 a tag of ours on an experiment": (
        lambda world: world.server.post(
            "experiments/set-experiment-tag", experiment_id="0", key="Governance.x", value="x"
        ),
        (403,),
        "only the server writes",
    ),
    "56 a tag of ours on another's model": (_anothers_tag, (403,), "only the server writes"),
    "57 the digest of another": (
        _version("{uri}/model", tags=[{"key": "countersign.digest", "value": "ab" * 32}]),
        (403,),
        "the files have the digest none",
    ),
    "58 a name that is no slug": (_create("My Model"), (403,), "begins with a letter"),
    "58 a prompt's name that is none": (
        lambda world: world.server.post(
            "registered-models/create",
            name="Приём",
            tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}],
        ),
        (403,),
        "begins with a letter",
    ),
    "53 a page of another site that posts to the log": (
        _by_admin(LOG, ("Origin", "https://evil.example")),
        (403,),
        "another site",
    ),
    "53 a script of another site that reads the log": (
        _by_admin(LOG, ("Origin", "https://evil.example"), method="GET"),
        (403,),
        "another site",
    ),
    "53 an image of another site that reads the log": (
        _by_admin(LOG, ("Sec-Fetch-Site", "cross-site"), method="GET"),
        (403,),
        "another site",
    ),
    **{
        f"54 an account by the unknown scheme {scheme}": (
            _raw(CREATE, JSON, ("Authorization", scheme), ("Content-Length", "0")),
            (401,),
            "not authenticated",
        )
        for scheme in (
            "Bearer x",
            "Bearer a=b",
            "Digest username=ada, response=x",
            "Negotiate YII=",
        )
    },
    "54 the same at the log": (
        _raw(LOG, ("Authorization", "Negotiate YII="), ("Content-Length", "0")),
        (401,),
        "not known here",
    ),
    "52 a source of no scheme that is known": (
        _version("modelsfile:///etc", name="innocent"),
        (400,),
        "source",
    ),
    "62 a host that is no text": (
        _raw(LOG, ("Host", "desk\xff"), ("Content-Length", "0")),
        (400,),
        "not ASCII",
    ),
    "62 an origin that is no address": (
        _by_admin(LOG, ("Origin", "http://[")),
        (403,),
        "another site",
    ),
    "60 the other ECDSA signature of an old candidate move": (
        lambda world: _old_candidate_move(world, twin),
        (422,),
        "does not verify",
    ),
    "60 an old candidate move, as it is": (
        lambda world: _old_candidate_move(world, lambda signature: signature),
        (200, 403),
        "index|only the account of the service",
    ),
    "60 an approval that was taken back, sent again": (
        lambda world: _taken_back(world, lambda envelope: envelope),
        (200,),
        "index",
    ),
    "60 the same in other bytes": (
        lambda world: _taken_back(world, _in_other_json),
        (422,),
        "not in canonical form",
    ),
    "60 the same with another signature": (
        lambda world: _taken_back(world, with_other_signature),
        (422,),
        "does not verify",
    ),
    "63 a registration of a service, sent by another account": (
        lambda world: _sent_by_a_reader(world, _repeated(world, "registration", tier="other")),
        (403,),
        "only the account of the service",
    ),
    "63 a gate of a service, sent by another account": (
        lambda world: _sent_by_a_reader(world, _repeated(world, "gate", method="other")),
        (403,),
        "only the account of the service",
    ),
    "63 a candidate move of a service, sent by another account": (
        lambda world: _sent_by_a_reader(world, _repeated(world, "promotion", alias="candidate")),
        (403,),
        "only the account of the service",
    ),
    **{
        f"65 a {kind} of {of}, sent by {whom}": (
            lambda world, kind=kind, log=log, more=more, sender=sender: sender(
                world, _repeated(world, kind, log=log, **more)
            ),
            (403,),
            said,
        )
        for kind, more in {
            "registration": {"tier": "other"},
            "gate": {"method": "other"},
            "promotion": {"alias": "candidate"},
        }.items()
        for of, (log, said) in OF.items()
        for whom, sender in SENDERS.items()
    },
    **{
        f"65 {what} of {of}": (
            lambda world, say=say, log=log: _sent_by_a_reader(world, say(world, log)),
            (403,),
            said,
        )
        for what, say in SAY.items()
        for of, (log, said) in OF.items()
    },
    "65 a second registration of a version, with other bytes": (
        lambda world: _sent_by_the_service(world, _with_other_bytes(world)),
        (403,),
        "is registered with other bytes",
    ),
    "54 the list of accounts, by one that is no administrator": (
        lambda world: _as_reader(world).ask("GET", "users/list"),
        (403,),
        "",
    ),
    "54 the entry of one account, by one that is no administrator": (
        lambda world: _as_reader(world).ask("GET", "users/get?username=admin"),
        (403,),
        "",
    ),
    "63 the alias, by an account that may only read": (
        lambda world: _as_reader(world).post(
            "registered-models/alias", name=MODEL, alias="champion", version="1"
        ),
        (403,),
        "",
    ),
    "64 an approval by an enrolled person without a role": (
        lambda world: _sent_by_a_reader(world, _vote(world, "eve", "visitor")),
        (403,),
        "permits no visitor",
    ),
    "64 a rejection by an enrolled person without a role": (
        lambda world: _sent_by_a_reader(world, _vote(world, "eve", "visitor", decision="reject")),
        (403,),
        "permits no visitor",
    ),
    "64 a revocation of another's key": (
        lambda world: _sent_by_a_reader(world, _revocation(world, "eve", "visitor", "ada")),
        (403,),
        "only its owner or a policy owner",
    ),
    "64 an incident by an enrolled person without a role": (
        lambda world: _sent_by_a_reader(world, _incident_by(world, "eve", "visitor")),
        (403,),
        "permits no visitor",
    ),
    "64 an incident that such a person closes": (
        lambda world: _sent_by_a_reader(
            world, _incident_by(world, "eve", "visitor", state="closed")
        ),
        (403,),
        "permits no visitor",
    ),
    "64 an incident in a role that its author does not have": (
        lambda world: _sent_by_a_reader(world, _incident_by(world, "eve", "risk")),
        (403,),
        "no person in force with this name and role",
    ),
    "64 an incident on a model that nobody registered": (
        lambda world: _sent_by_a_reader(world, _incident_by(world, "ben", "risk", model="nobody")),
        (403,),
        "no registration",
    ),
    "64 an incident on bytes that nobody registered": (
        lambda world: _sent_by_a_reader(
            world, _incident_by(world, "ben", "risk", sha256="ab" * 32)
        ),
        (403,),
        "no registration",
    ),
    "64 an incident on a version that nobody registered": (
        lambda world: _sent_by_a_reader(world, _incident_by(world, "ben", "risk", version="4711")),
        (403,),
        "no registration",
    ),
    "64 a reason of 700 kB": (
        lambda world: _sent_by_a_reader(
            world, _incident_by(world, "ben", "risk", reason="x" * 700_000)
        ),
        (403,),
        "too long",
    ),
    "64 a reason of 900 kB": (
        lambda world: _sent_by_a_reader(
            world, _incident_by(world, "ben", "risk", reason="x" * 900_000)
        ),
        (400,),
        "the envelope is too large",
    ),
    "64 policies proposed by an enrolled person without a role": (
        lambda world: _sent_by_a_reader(world, _proposal(world, "eve")),
        (403,),
        "does not let this key sign policy",
    ),
    "64 policies of 7 MB, proposed in parts by such a person": (
        _many_proposals,
        (403,),
        "sign policy",
    ),
    "64 policies of 500 kB": (
        lambda world: _sent_by_a_reader(world, _proposal(world, "ada", more="# " + "x" * 500_000)),
        (403,),
        "too large",
    ),
    "61 policies with an RSA key": (
        _policies_with(text_of(EARLIER["RSA"])),
        (403,),
        "could never be in force",
    ),
    "61 policies with a P-384 key": (
        _policies_with(text_of(EARLIER["P-384"])),
        (403,),
        "could never be in force",
    ),
    "61 policies with an expired certificate": (
        _policies_with(CERTIFICATE),
        (403,),
        "could never be in force",
    ),
    "61 policies with a weak key": (_policies_with(WEAK), (403,), "could never be in force"),
    "61 policies with two PEM keys in one text": (
        _policies_with(text_of(P256) + text_of(ED)),
        (403,),
        "could never be in force",
    ),
    "61 policies with two keys in one text": (
        _policies_with(f"{line_of(P256)}\n{text_of(EARLIER['RSA'])}"),
        (403,),
        "could never be in force",
    ),
}


@SQLITE_IN_CI
@pytest.mark.parametrize("row", rows(REFUSED, in_ci=list(REFUSED)[::3]))
def test_refused_by_the_server(row: str, world: World) -> None:
    attack, statuses, said = REFUSED[row]
    with world.nothing_lost():
        answer = attack(world)
        assert answer.status in statuses, (answer.status, answer.text)
        assert any(part in answer.message for part in said.split("|")), answer.message
        assert "Traceback" not in answer.text


@pytest.mark.nightly
def test_a_replay_blocks_nobody(world: World) -> None:
    """A reader sends ben's approval again, more often than an account may add statements. The same
    account can still send his rejection, his incident, and the revocation of a key that he lost.
    """
    scene, fresh, reader = world.scene, world.fresh(), _as_reader(world)
    index = scene.approve("ben", "risk", fresh.packet)
    envelope, size = scene.story.log.entry(index).envelope, scene.story.log.size()
    times = range(SAID_PER_HOUR + 1)
    with world.nothing_lost(), ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: reader.ask("POST", LOG, raw=envelope), times))
        assert {answer.status for answer in answers} == {200}
        assert {answer.value["index"] for answer in answers} == {index}
        assert scene.story.log.size() == size
        about = {"version": fresh.number, "of": fresh.stage}
        for said in (
            _vote(world, "ben", "risk", fresh.packet, decision="reject"),
            _incident_by(world, "ben", "risk", **about),
            _incident_by(world, "ben", "risk", **about, state="closed"),
            _revocation(world, "ben", "risk", "ben", key="ben2"),
        ):
            answer = reader.ask("POST", LOG, raw=said)
            assert answer.status == 200, answer.text


@SQLITE_IN_CI
def test_a_refused_statement_is_recorded(world: World) -> None:
    """Who sent it, what kind it is, and why it is refused."""
    log = world.scene.story.log
    size = log.size()
    envelope = _incident_by(world, "eve", "risk")
    assert world.account("mallory").ask("POST", LOG, raw=envelope).status == 403
    told = [one for one in promotion.state(log).evidence.all("refusal") if one.index >= size]
    assert [(one.predicate.operation, one.predicate.caller) for one in told] == [
        ("append", "mallory")
    ]
    assert told[0].predicate.reason == "incident: not_theirs"


@pytest.mark.nightly
def test_a_rollback_goes_to_the_last_earlier_version_only(world: World) -> None:
    """One person moved 3, 1, 3, 2, 3 by break-glass."""
    versions = [world.fresh() for _ in range(3)]
    for fresh in versions:
        world.promote(fresh)

    def back_to(fresh: Fresh) -> tuple[str, Answer]:
        request = world.scene.request(
            fresh.number, stage=fresh.stage, action="rollback", break_glass=True
        )
        return request, world.move(fresh.number)

    first, middle, last = versions
    with world.nothing_lost():
        _, answer = back_to(first)
        assert answer.status == 403 and "ROLLBACK_TARGET" in answer.text, answer.text
    request, answer = back_to(middle)
    assert answer.status == 200, answer.text
    world.champion = middle.number
    with world.nothing_lost():
        _, answer = back_to(last)
        assert answer.status == 403 and "ROLLBACK_TARGET" in answer.text, answer.text
        world.scene.approve("ben", "risk", request, "promotion")  # the second signature


# -- Past the server: detected ---------------------------------------------------------------------
SQL: dict[str, tuple[str, tuple[str, ...], str, tuple[str, ...]]] = {
    # what: statement, statement that undoes it, code, what the finding says
    "the alias moved": (
        "UPDATE registered_model_aliases SET version = 1 WHERE name = 'support-desk' AND alias = 'champion'",
        (
            "UPDATE registered_model_aliases SET version = {champion} WHERE name = 'support-desk'"
            " AND alias = 'champion'",
        ),
        "REGISTRY_ALIAS_MOVED",
        ("expected version {champion}", "found version 1"),
    ),
    "the alias removed": (
        "DELETE FROM registered_model_aliases WHERE name = 'support-desk' AND alias = 'champion'",
        (
            "INSERT INTO registered_model_aliases (workspace, name, alias, version)"
            " VALUES ('default', 'support-desk', 'champion', {champion})",
        ),
        "REGISTRY_ALIAS_MOVED",
        ("version {champion}", "nobody"),
    ),
    "an alias that policy does not know": (
        "INSERT INTO registered_model_aliases (workspace, name, alias, version)"
        " VALUES ('default', 'support-desk', 'Champion', 1)",
        ("DELETE FROM registered_model_aliases WHERE alias = 'Champion'",),
        "REGISTRY_ALIAS_UNKNOWN",
        ("Champion",),
    ),
    "a version deleted": (
        "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE name = 'support-desk' AND version = 1",
        (
            "UPDATE model_versions SET current_stage = 'None' WHERE name = 'support-desk' AND version = 1",
        ),
        "REGISTRY_VERSION_MISSING",
        ("support-desk/1", "deleted"),
    ),
    "a version put in": (
        "INSERT INTO model_versions (workspace, name, version, source, current_stage, status)"
        " VALUES ('default', 'support-desk', 999, 's3://evil', 'None', 'READY')",
        ("DELETE FROM model_versions WHERE version = 999",),
        "REGISTRY_VERSION_UNKNOWN",
        ("support-desk/999", "s3://evil"),
    ),
    "a source changed": (
        "UPDATE model_versions SET source = 's3://evil' WHERE name = 'support-desk' AND version = {champion}",
        (
            "UPDATE model_versions SET source = '{source}' WHERE name = 'support-desk' AND version = {champion}",
        ),
        "REGISTRY_SOURCE_CHANGED",
        ("s3://evil",),
    ),
    "where it is loaded from changed": (
        "UPDATE model_versions SET storage_location = 's3://evil' WHERE name = 'support-desk' AND version = {champion}",
        (
            "UPDATE model_versions SET storage_location = source WHERE name = 'support-desk' AND version = {champion}",
        ),
        "REGISTRY_SOURCE_CHANGED",
        ("s3://evil",),
    ),
    "a source on a host that is a number": (
        "UPDATE model_versions SET source = 'mlflow-artifacts://2130706433/{run}/artifacts/model'"
        " WHERE name = 'support-desk' AND version = {champion}",
        (
            "UPDATE model_versions SET source = '{source}' WHERE name = 'support-desk' AND version = {champion}",
        ),
        "REGISTRY_SOURCE_CHANGED",
        ("2130706433",),
    ),
    "a source on the disk of whoever loads it": (
        "UPDATE model_versions SET source = 'file:///tmp/{run}/artifacts/model'"
        " WHERE name = 'support-desk' AND version = {champion}",
        (
            "UPDATE model_versions SET source = '{source}' WHERE name = 'support-desk' AND version = {champion}",
        ),
        "REGISTRY_SOURCE_CHANGED",
        ("file:///tmp/{run}",),
    ),
    "a run deleted": (
        "UPDATE runs SET lifecycle_stage = 'deleted' WHERE run_uuid = '{run}'",
        ("UPDATE runs SET lifecycle_stage = 'active' WHERE run_uuid = '{run}'",),
        "REGISTRY_RUN_MISSING",
        ("{run}",),
    ),
    "a stage set": (
        "UPDATE model_versions SET current_stage = 'Production' WHERE name = 'support-desk' AND version = 1",
        (
            "UPDATE model_versions SET current_stage = 'None' WHERE name = 'support-desk' AND version = 1",
        ),
        "REGISTRY_STAGE_SET",
        ("Production",),
    ),
    "the digest's tag changed": (
        "UPDATE model_version_tags SET value = 'ff' WHERE key = 'countersign.digest' AND name = 'support-desk'"
        " AND version = {champion}",
        (
            "UPDATE model_version_tags SET value = '{digest}' WHERE key = 'countersign.digest' AND name = 'support-desk'"
            " AND version = {champion}",
        ),
        "REGISTRY_DIGEST_CHANGED",
        ("{digest}", "ff"),
    ),
    "a homograph put in": (
        "INSERT INTO registered_models (workspace, name) VALUES ('default', 'suppоrt-desk')",
        ("DELETE FROM registered_models WHERE name = 'suppоrt-desk'",),
        "REGISTRY_LOOKALIKE",
        ("support-desk",),
    ),
}


@pytest.mark.parametrize("row", SQL)
def test_found_in_the_registry(row: str, world: World) -> None:
    """Raw SQL past the server, each told with what was expected and what was found."""
    statement, undo, code, said = SQL[row]
    shown = world.server.ask(
        "GET", f"model-versions/get?name={MODEL}&version={world.champion}"
    ).value["model_version"]
    tags = {one["key"]: one["value"] for one in shown["tags"]}
    values = {"champion": world.champion, "source": shown["source"], "run": shown["run_id"]}
    values["digest"] = tags["countersign.digest"]
    with world.nothing_lost():
        world.sql(statement.format(**values))
        try:
            found = world.detects(code)
            told = f"{found.subject} expected {found.expected} found {found.found}"
            assert all(part.format(**values) in told for part in said), told
        finally:
            for one in undo:
                world.sql(one.format(**values))


@pytest.mark.parametrize("row", ["the alias moved", "a source changed", "the digest's tag changed"])
def test_what_serves_refuses_a_row_that_differs(row: str, world: World) -> None:
    """As the loader and `verify-model` ask: the log says one thing of the champion, the registry
    another.
    """
    statement, undo, code, _ = SQL[row]
    shown = world.server.ask(
        "GET", f"model-versions/get?name={MODEL}&version={world.champion}"
    ).value["model_version"]
    tags = {one["key"]: one["value"] for one in shown["tags"]}
    values = {"champion": world.champion, "source": shown["source"], "run": shown["run_id"]}
    values["digest"] = tags["countersign.digest"]
    log, machine = world.scene.story.log, world.here.machine
    served = serving.resolve(promotion.state(log), f"{MODEL}@champion")
    serving.check_registry(log, machine, served)
    with world.nothing_lost():
        world.sql(statement.format(**values))
        try:
            with pytest.raises(VerificationError, match="THE REGISTRY DIFFERS") as refused:
                serving.check_registry(log, machine, served)
            assert refused.value.where == code
        finally:
            for one in undo:
                world.sql(one.format(**values))


def test_an_alias_in_a_workspace_that_nobody_has_hides_none(world: World) -> None:
    """The row that serves is moved; one that reads as it did is put where MLflow never looks."""
    alias = "registered_model_aliases"
    with world.nothing_lost():
        for workspace in ("aaa", "zzz"):
            world.sql(
                "INSERT INTO registered_models (workspace, name) VALUES (?, ?)", workspace, MODEL
            )
            world.sql(
                f"INSERT INTO {alias} (workspace, name, alias, version) VALUES (?, ?, 'champion', ?)",
                workspace,
                MODEL,
                int(world.champion),
            )
        world.sql(
            f"UPDATE {alias} SET version = 1 WHERE workspace = 'default' AND alias = 'champion'"
        )
        try:
            world.detects("REGISTRY_ALIAS_MOVED", "version 1")
        finally:
            world.sql(
                f"UPDATE {alias} SET version = ? WHERE workspace = 'default' AND alias ="
                " 'champion'",
                int(world.champion),
            )
            for table in (alias, "registered_models"):
                world.sql(f"DELETE FROM {table} WHERE workspace <> 'default'")


def test_a_name_that_was_taken_before_it_was_governed(world: World) -> None:
    """Somebody made a model with a version and aliases. Then the pipeline registers under that name:
    nobody is served by those rows, and they can be taken away without a request.
    """
    server, name = world.server, "early-desk"
    server.post("registered-models/create", name=name)
    run = server.post("runs/create", experiment_id="0").value["run"]["info"]
    source = f"{run['artifact_uri']}/model"
    made = server.post("model-versions/create", name=name, source=source, run_id=run["run_id"])
    assert made.status == 200, made.text
    for alias in ("champion", "production"):
        set_ = server.post("registered-models/alias", name=name, alias=alias, version="1")
        assert set_.status == 200, set_.text
    assert register(world.here, server, world.patch, "sft", name).number == "2"
    assert {(one.code, one.subject) for one in world.found()} == {
        ("REGISTRY_VERSION_UNKNOWN", f"{name}/1"),
        ("REGISTRY_ALIAS_MOVED", f"{name}@champion"),
        ("REGISTRY_ALIAS_UNKNOWN", f"{name}@production"),
    }
    read = server.ask("GET", f"registered-models/alias?name={name}&alias=champion")
    assert read.status == 403 and "no version, as the log says" in read.message, read.text
    moved = server.post("registered-models/alias", name=name, alias="champion", version="2")
    assert moved.status == 403 and "REQUEST_MISSING" in moved.message
    for alias in ("champion", "production"):
        body = {"name": name, "alias": alias}
        assert server.ask("DELETE", "registered-models/alias", body).status == 200
    nothing = {"name": name, "alias": "no\0thing"}
    assert server.ask("DELETE", "registered-models/alias", nothing).status == 403
    for version, status in (("2", 403), ("02", 403), ("3", 403), ("1", 200)):
        body = {"name": name, "version": version}
        assert server.ask("DELETE", "model-versions/delete", body).status == status
    assert list(world.found()) == []


def test_an_alias_moved_by_sql_is_put_back_without_a_request(world: World) -> None:
    """To where the log has it, and nowhere else."""
    other = world.fresh().number
    row = "UPDATE registered_model_aliases SET version = ? WHERE name = ? AND alias = 'champion'"
    with world.nothing_lost():
        world.sql(row, int(other), MODEL)
        assert world.holder() is None, "nobody gets the other version"
        assert world.move(other).status == 403
        assert world.move(world.champion).status == 200
    history = retrospect.history(promotion.state(world.scene.story.log), MODEL)
    assert (history[-1].what, history[-1].by) == ("set champion", "account admin")


def test_an_alias_moved_by_sql_is_not_moved_on(world: World) -> None:
    """A promotion on a row that is not what the log says is a conflict, and changes nothing."""
    fresh = world.fresh()
    world.approve_all(fresh)
    with world.nothing_lost():
        world.sql(
            "UPDATE registered_model_aliases SET version = 1 WHERE name = ? AND alias = 'champion'",
            MODEL,
        )
        try:
            answer = world.tried(fresh)
            assert answer.status == 409, answer.text
            assert "as the log says" in answer.message
        finally:
            world.sql(
                "UPDATE registered_model_aliases SET version = ? WHERE name = ? AND alias = 'champion'",
                int(world.champion),
                MODEL,
            )


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited": (
        lambda folder: _write(folder / "config.json", "{ }"),
        "config.json: content changed",
    ),
    "added": (lambda folder: _write(folder / "extra.json", "{}"), "extra.json"),
    "removed": (lambda folder: (folder / "config.json").unlink(), "config.json: missing"),
    "linked": (lambda folder: (folder / "x.json").symlink_to("/etc/passwd"), "x.json"),
    "gone": (lambda folder: shutil.rmtree(folder), ""),
}


def _write(path: Path, text: str) -> None:
    if path.exists():
        path.chmod(0o640)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("row", FILES)
def test_found_in_the_files(row: str, world: World, tmp_path: Path) -> None:
    """19, 20, 27: somebody on the server's disk."""
    from governance.release.artifacts import in_artifact_root, verify_files

    spoil, said = FILES[row]
    root = tmp_path / "artifacts"
    shutil.copytree(world.here.artifacts, root, copy_function=shutil.copy2)
    run = world.server.ask(
        "GET", f"model-versions/get?name={MODEL}&version={world.champion}"
    ).value["model_version"]
    spoil(next(root.glob(f"*/{run['run_id']}/artifacts/model")))
    items = list(promotion.state(world.scene.story.log).evidence.all("registration"))
    mine = [one for one in items if one.predicate.run.detail.get("registry_run") == run["run_id"]]
    found = verify_files(tmp_path, mine, in_artifact_root(root)).mismatches
    assert len(found) == 1 and said in f"{found[0].path}: {found[0].reason}", found


# -- A decision that the evidence does not give -------------------------------------------------------
@pytest.fixture(params=["sqlite", "postgresql"])
def apart(request: pytest.FixtureRequest, tmp_path: Path) -> Governed:
    """A log of its own, with a version that people approved: a forged entry stays in its log."""
    environ = {}
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("cluster")
        environ = {"COUNTERSIGN_LOG": cluster.database()}
    scene = empty(tmp_path, **environ)
    authorize(scene)
    tell(scene.story)
    scene.released()
    return scene


def test_a_forged_promotion_is_not_served(apart: Governed) -> None:
    """Whoever has the service's key and the database records a move that nobody approved."""
    second(apart)
    entry = forge(apart, "2")
    now = promotion.state(apart.story.log)
    assert now.timeline.holders[MODEL, "champion"].version == "2"
    for name in (f"{MODEL}@champion", f"{MODEL}/2"):
        with pytest.raises(VerificationError, match="FORGED MOVE") as refused:
            serving.resolve(now, name)
        assert f"entry {entry}" in str(refused.value) and refused.value.exit_code == 5
    assert [f"entry {entry}" in found.subject for found in retrospect.forged(now)] == [True]


# -- Bundles ---------------------------------------------------------------------------------------
@pytest.mark.nightly
def test_a_bundle_without_what_speaks_against_its_version(world: World) -> None:
    """Of a version that was released: without the incident on it, its rejection, and the promotion
    that replaced it. Both verifiers refuse it; without the index too, it is not shown to be whole.
    """
    rejected = world.fresh()
    world.promote(rejected)
    log = world.scene.story.log
    against = [
        _incident(world, rejected, "open"),
        world.scene.approve("cleo", "product", rejected.packet, decision="reject"),
    ]
    world.promote(world.fresh())
    against.append([move.index for move in promotion.state(log).moves(MODEL)][-1])
    answer = world.server.ask("GET", f"/countersign/v1/index?model={MODEL}")
    assert answer.status == 200, answer.text
    origin = log.entry(0).leaf_hash.hex()
    whole = opened(write(bundle_of(log, MODEL, rejected.number, index=answer.text)))
    count = len(whole["entries"])
    assert verify_bundle(sealed(whole), TrustAnchors(origin)).complete
    assert standalone_verifier.verify(sealed(whole), origin)["completeness"] == "shown"
    for left_out in ([against[0]], [against[1]], [against[2]], against):
        less = {
            **whole,
            "entries": [item for item in whole["entries"] if item["index"] not in left_out],
        }
        said = f"{count - len(left_out)} of {count} entries"
        assert said in (verify_bundle(sealed(less), TrustAnchors(origin)).broken or "")
        with pytest.raises(standalone_verifier.Refused, match=said):
            standalone_verifier.verify(sealed(less), origin)
        less.pop("index")
        assert not verify_bundle(sealed(less), TrustAnchors(origin)).complete
        assert standalone_verifier.verify(sealed(less), origin)["completeness"] == "not shown"
    _incident(world, rejected, "closed")


def test_the_servers_index_is_of_registered_models_at_its_head_only(world: World) -> None:
    """Nobody gets a signature over a text of their own, or makes the server sign without end."""
    for name in ("nobody", "", "support_desk", "../etc", "x" * 4000, "a%0Acountersign/x"):
        assert world.server.ask("GET", f"/countersign/v1/index?model={name}").status == 400
    path = f"/countersign/v1/index?model={MODEL}"
    with ThreadPoolExecutor(16) as pool:
        answers = {pool.submit(world.server.ask, "GET", path).result().text for _ in range(32)}
    notes = {parse_index(text) for text in answers}
    assert len(notes) == 1 and notes.pop().size == world.scene.story.log.size()
    with pytest.raises(VerificationError, match="not a checkpoint"):
        parse_checkpoint(answers.pop())
    nobody = Server(world.server.uri, world.server.process, world.server.log, user="")
    assert nobody.ask("GET", path).status == 401


# -- Many at once ----------------------------------------------------------------------------------
def test_of_many_promoters_one_wins(world: World) -> None:
    """25"""
    fresh = world.fresh()
    world.approve_all(fresh)
    world.scene.request(fresh.number, stage=fresh.stage)
    world.champion = fresh.number
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: world.move(fresh.number).status, range(16)))
    assert answers.count(200) == 1, answers
    assert set(answers) <= {200, 403, 409}
    moves = [
        one
        for one in promotion.state(world.scene.story.log).moves(MODEL)
        if one.predicate.alias == "champion"
    ]
    assert [one.predicate.version for one in moves].count(fresh.number) == 1
    with world.nothing_lost():
        pass


# -- An older or altered database behind a running server -------------------------------------------
TABLES = ("entry", "subject", "node", "head")


class Copies:
    """Whoever can write the database keeps copies of the log's tables, and puts one back."""

    def __init__(self, world: World) -> None:
        self.address = world.here.database

    def keep(self, name: str) -> None:
        raw(
            self.address,
            *(
                f"CREATE TABLE {name}_{table} AS SELECT * FROM countersign_{table}"
                for table in TABLES
            ),
        )

    def restore(self, name: str) -> None:
        raw(
            self.address,
            *(f"DELETE FROM countersign_{table}" for table in TABLES),
            *(f"INSERT INTO countersign_{table} SELECT * FROM {name}_{table}" for table in TABLES),
            guarded=False,
        )

    def forget(self, *names: str) -> None:
        raw(self.address, *(f"DROP TABLE {name}_{table}" for name in names for table in TABLES))


def _incident(world: World, fresh: Fresh, state: str) -> int:
    said = world.scene.signed("ben", "risk", model=MODEL, version=fresh.number, state=state)
    subject = Artifact(role="model", name="x", sha256=world.scene.story.models[fresh.stage])
    predicate = Incident.model_validate(with_check(said))
    return world.scene.say("ben", "incident", [subject], predicate)


@pytest.fixture
def stopped(world: World) -> Iterator[tuple[Fresh, int, Copies]]:
    """A version that people approved and requested, and that an incident stops; the incident's
    entry, which is not the last, and copies of the log from before it and from now. Afterwards the
    log is as it was.
    """
    fresh, copies = world.fresh(), Copies(world)
    world.approve_all(fresh)
    world.scene.request(fresh.number, stage=fresh.stage)
    copies.keep("before")
    entry = _incident(world, fresh, "open")
    world.scene.approve("cleo", "product", fresh.packet, decision="reject")
    copies.keep("present")
    yield fresh, entry, copies
    copies.restore("present")
    copies.forget("before", "present")
    with world.nothing_lost():
        assert world.move(fresh.number).status == 403


def test_a_restored_older_copy_moves_nothing(
    world: World, stopped: tuple[Fresh, int, Copies]
) -> None:
    """The copy from before the incident: the promotion would be allowed, and all would verify."""
    fresh, entry, copies = stopped
    copies.restore("before")
    answer = world.move(fresh.number)
    assert answer.status >= 400 and "Traceback" not in answer.text, answer.text
    assert f"the log has {entry} entries, fewer than the {entry + 2}" in answer.message
    assert world.holder() == world.champion
    with pytest.raises(VerificationError, match="fewer than the"):
        _incident(world, fresh, "closed")  # nothing else is appended either
    with pytest.raises(NotStarted, match="fewer than the"):
        start(world.here)


def test_an_entry_that_was_replaced_moves_nothing(
    world: World, stopped: tuple[Fresh, int, Copies]
) -> None:
    """The incident's row has another entry's bytes and hash. Then the tree fits them, too; then the
    checkpoint as well, but for its signature.
    """
    fresh, entry, _ = stopped
    as_another = f"(SELECT envelope FROM before_entry WHERE idx = {entry - 1})"
    leaf = f"(SELECT leaf FROM before_entry WHERE idx = {entry - 1})"
    spoiled = [
        f"UPDATE countersign_entry SET envelope = {as_another} WHERE idx = {entry}",
        f"UPDATE countersign_entry SET leaf = {leaf} WHERE idx = {entry}",
        f"UPDATE countersign_node SET hash = {leaf} WHERE level = 0 AND position = {entry}",
    ]
    for statement in spoiled:
        raw(world.here.database, statement, guarded=False)
        answer = world.move(fresh.number)
        assert answer.status >= 400 and "Traceback" not in answer.text, answer.text
        row = "SELECT version FROM registered_model_aliases WHERE alias = 'champion'"
        assert [str(version) for (version,) in raw(world.here.database, row)] == [world.champion]
        with pytest.raises(NotStarted):
            start(world.here)


# -- The log, at rest ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    scene = governed(tmp_path_factory.mktemp("told"))
    scene.released()
    return scene


def _edited(database: sqlite3.Connection) -> None:
    (envelope,) = database.execute(
        "SELECT envelope FROM countersign_entry WHERE idx = 7"
    ).fetchone()
    database.execute(
        "UPDATE countersign_entry SET envelope = ? WHERE idx = 7",
        (envelope.replace(b"A", b"B", 1),),
    )


def _cut(database: sqlite3.Connection) -> None:
    database.execute(
        "DELETE FROM countersign_entry WHERE idx = (SELECT MAX(idx) FROM countersign_entry)"
    )


def _swapped(database: sqlite3.Connection) -> None:
    database.execute("UPDATE countersign_entry SET idx = -1 WHERE idx = 5")
    database.execute("UPDATE countersign_entry SET idx = 5 WHERE idx = 6")
    database.execute("UPDATE countersign_entry SET idx = 6 WHERE idx = -1")


def _doubled(database: sqlite3.Connection) -> None:
    database.execute(
        "INSERT INTO countersign_entry"
        " SELECT MAX(idx) + 1, envelope, leaf, identity, scope, kind FROM countersign_entry"
    )


def _dropped(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM countersign_entry WHERE idx = 4")


SPOILED: dict[str, Callable[[sqlite3.Connection], None]] = {
    "6 one entry edited": _edited,
    "7 the tail cut": _cut,
    "8 two entries swapped": _swapped,
    "8 one entry dropped": _dropped,
    "8 the last entry doubled": _doubled,
}


@pytest.mark.parametrize("row", SPOILED)
def test_found_in_the_log(row: str, told: Governed, tmp_path: Path) -> None:
    shutil.copy(told.story.log.path, tmp_path / "log.db")  # type: ignore[attr-defined]
    with sqlite3.connect(tmp_path / "log.db") as database:
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {name}")
        SPOILED[row](database)
    log = SqliteLog(tmp_path / "log.db", MODEL)
    report = verify_log(
        log,
        MODEL,
        told.story.policies.keys,
        TrustAnchors(origin=told.story.log.entry(0).leaf_hash.hex()),
    )
    assert report.broken is not None and not report.ok
    assert "entr" in report.broken or "checkpoint" in report.broken


def test_a_log_rolled_back_or_forked_is_found(tmp_path: Path) -> None:
    """9: everything in it verifies, and a checkpoint kept elsewhere does not."""
    scene = governed(tmp_path)
    path = scene.story.log.path  # type: ignore[attr-defined]
    shutil.copy(path, tmp_path / "older.db")
    scene.released()
    kept = scene.story.log.checkpoint()
    older = SqliteLog(
        tmp_path / "older.db", MODEL, stored_signer(scene.story.machine.keys, CHECKPOINT)
    )
    pins = TrustAnchors(origin=older.entry(0).leaf_hash.hex(), checkpoint=kept)
    report = verify_log(older, MODEL, scene.story.policies.keys, pins)
    assert report.broken and "it counts" in report.broken
    scene.story.log = older
    while older.size() <= scene.story.log.size() and older.size() < 60:
        scene.incident("1", "open")
        scene.incident("1", "closed")
    report = verify_log(older, MODEL, scene.story.policies.keys, pins)
    assert report.broken and not report.ok


def test_an_append_that_did_not_end_is_not_there(told: Governed, tmp_path: Path) -> None:
    """26: what happens along with an entry fails; neither is there."""
    shutil.copy(told.story.log.path, tmp_path / "log.db")  # type: ignore[attr-defined]
    log = SqliteLog(tmp_path / "log.db", MODEL, stored_signer(told.story.machine.keys, CHECKPOINT))
    before = log.head()

    def fails(execute: Any) -> None:
        raise OSError(28, "No space left on device")

    entry = log.entry(3)
    with pytest.raises(CountersignError):
        log.append(entry.envelope, Filing("i", "s", entry.kind, ("0" * 64,)), also=fails)
    assert log.head() == before


# -- People, keys, envelopes -----------------------------------------------------------------------
def test_one_key_under_two_names_is_no_policy(tmp_path: Path) -> None:
    """11"""
    shutil.copytree(Path(__file__).parent.parent.parent.parent / "policies", tmp_path / "policies")
    path = tmp_path / "policies" / "policy.yaml"
    text = path.read_text(encoding="utf-8").replace(
        "principals: []", principals({"ada": ["ada"], "ben": ["ada"]})
    )
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="named twice"):
        load_policies(tmp_path / "policies")


def test_a_revoked_key_signs_nothing_more_whatever_its_date(tmp_path: Path) -> None:
    """13"""
    scene = governed(tmp_path)
    packet = scene.freeze()
    scene.revoke("ada", "ada", "ben", "policy-owner")
    scene.approve("ada", "ml-lead", packet, at="2026-11-19T12:00:00.000000Z")
    scene.approve("ben", "risk", packet)
    scene.request()
    with pytest.raises(RefusedError, match="APPROVAL_MISSING"):
        scene.consume()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: {**data, "payloadType": "application/json"},
        lambda data: {**data, "payload": data["payload"][:-4] + "AAA="},
        lambda data: {**data, "signatures": []},
        lambda data: {**data, "signatures": data["signatures"] * 2},
        lambda data: {**data, "signatures": [{**data["signatures"][0], "keyid": "ab" * 32}]},
    ],
)
def test_an_envelope_of_another_kind_is_none(spoil: Callable[[Any], Any], told: Governed) -> None:
    """16"""
    data = json.loads(told.story.log.entry(3).envelope)
    with pytest.raises(VerificationError):
        verify_envelope(json.dumps(spoil(data)).encode(), told.story.policies.keys)


def test_a_statement_in_a_role_that_is_not_theirs_counts_for_nothing(tmp_path: Path) -> None:
    """16"""
    scene = governed(tmp_path)
    packet = scene.freeze()
    scene.approve("eve", "risk", packet)
    scene.approve("ada", "ml-lead", packet)
    scene.request()
    with pytest.raises(RefusedError, match="APPROVAL_MISSING"):
        scene.consume()


# -- Files of models -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path", ["../x.json", "/etc/x.json", "a\\x.json", "%2e%2e/x.json", "%252e%252e%252fx.json"]
)
def test_a_path_of_a_manifest_that_leaves_the_folder(path: str) -> None:
    """18"""
    files = [ModelFile(path=path, size=0, sha256="0" * 64)]
    assert check_manifest(files, "0" * 64)


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "x.json")


FOLDER: dict[str, Callable[[Path], object]] = {
    "19 a symbolic link": lambda folder: (folder / "x.json").symlink_to("config.json"),
    "19 a hard link to outside": lambda folder: os.link(
        folder / "config.json", folder.parent / "outside.json"
    ),
    "19 a FIFO": _fifo,
    "20 a file more": lambda folder: (folder / "extra.txt").write_text("x"),
    "20 git": lambda folder: [
        (folder / ".git").mkdir(),
        (folder / ".git" / "config").write_text("x"),
    ],
    "20 an empty folder": lambda folder: (folder / "empty").mkdir(),
    "20 names that collide by case": lambda folder: (folder / "Config.json").write_text("{}"),
    "21 code": lambda folder: (folder / "modeling.py").write_text("import os"),
    "21 a pickle under another name": (
        lambda folder: (folder / "config.json").write_bytes(b"\x80\x04\x95.")
    ),
    "21 auto_map": (
        lambda folder: (folder / "config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}')
    ),
}


@pytest.mark.parametrize("row", FOLDER)
def test_a_folder_that_is_not_the_registered_one(row: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    files = manifest(folder)
    from governance.attest.digests import manifest_digest

    FOLDER[row](folder)
    with pytest.raises(CountersignError) as refused:
        enforce(folder, files, manifest_digest(files))
    assert str(refused.value)


@pytest.mark.parametrize(
    "header",
    [
        (
            b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "F32",'
            b' "shape": [1], "data_offsets": [0, 4]}}'
        ),
        b'{"../../a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 9]}}',
        b"{",
    ],
)
def test_weights_that_read_two_ways(header: bytes, tmp_path: Path) -> None:
    """22"""
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(CountersignError):
        check_safetensors(path)


def test_bytes_swapped_after_they_were_checked_are_not_loaded(tmp_path: Path) -> None:
    """27: what is handed out is a private copy that was hashed; a swap on the way is found."""
    scene = governed(tmp_path)
    scene.released()
    served = serving.resolve(promotion.state(scene.story.log), f"{MODEL}@champion")
    source = scene.story.root / "models/sft/model"
    with serving.private_copy(served, source) as copy:
        (source / "config.json").write_text('{"evil": true}')
        assert (copy / "config.json").read_text() == "{}"
    with pytest.raises(VerificationError), serving.private_copy(served, source):
        pytest.fail("handed out")


# -- Text that is read -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "a: !!python/object/apply:os.system [ls]",
        "a: {b: &x 1, c: *x}",
        "[" * 5000,
        "a: 1\na: 2",
    ],
    ids=["bomb", "tag", "alias", "deep", "twice"],
)
def test_yaml_that_is_more_than_data(text: str) -> None:
    """23"""
    with pytest.raises(CountersignError):
        parse_yaml(text, "policy.yaml")


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 9007199254740993}', '{"a": 1.0e400}']
)
def test_json_that_reads_two_ways(text: str) -> None:
    """24"""
    with pytest.raises(CountersignError):
        canonical.loads(text.encode())


# -- The plugin ------------------------------------------------------------------------------------
BROKEN = {
    "governance.server.plugin": "does not import",
    "governance.registry.governed.registry_store": "does not import",
    "governance.registry.governed.guard": "does not import",
}


@pytest.mark.parametrize("module", rows(BROKEN, in_ci={"governance.registry.governed.guard"}))
def test_a_broken_plugin_is_no_registry(module: str, tmp_path: Path) -> None:
    """30: not an open one."""
    here = place(tmp_path)
    shim = tmp_path / "shim" / "sitecustomize.py"
    shim.parent.mkdir()
    shim.write_text(
        "import sys\nclass F:\n"
        f"    def find_spec(self, name, path=None, target=None):\n        if name == {module!r}:\n"
        "            raise ImportError('broken')\n"
        "sys.meta_path.insert(0, F())\n"
    )
    root = str(Path(__file__).parent.parent.parent.parent)
    with pytest.raises(NotStarted) as ended:
        start(here, PYTHONPATH=f"{shim.parent}:{root}")
    assert ended.value.code != 0
    assert "Traceback" not in ended.value.said


def test_a_log_that_goes_away_closes_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """30: policy and log unreadable while the server runs: nothing is changed any more."""
    here = place(tmp_path)
    with running(here) as server:
        with sqlite3.connect(here.database.removeprefix("sqlite:///")) as database:
            database.execute("ALTER TABLE countersign_entry RENAME TO elsewhere")
        for name in (MODEL, "innocent"):
            answer = server.post("registered-models/create", name=name)
            assert answer.status in (500, 503), answer.text
        answer = server.post("registered-models/alias", name=MODEL, alias="champion", version="1")
        assert answer.status in (500, 503), answer.text
