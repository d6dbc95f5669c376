"""Bundles: made, read, verified by two verifiers that share no code, spoiled in every way that can
be thought of.
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.digests import sha256_bytes
from governance.attest.keys import public_key
from governance.attest.predicates import Artifact, CheckpointKey, PolicyChange
from governance.base.errors import InputError, StorageError, VerificationError
from governance.bundle import BundleLog, BundleReport, read, verify_bundle
from governance.bundle import standalone_verifier as verifier
from governance.bundle.form import Attached
from governance.bundle.sources import NOWHERE, open_bundle
from governance.history.verify import TrustAnchors
from governance.log import evidence
from governance.log.evidence import key_ring
from governance.log.views import log_evidence
from governance.machine.machine import signer
from governance.machine.signers import private_signer, stored_signer
from governance.people import review, subjects
from governance.policy.authority import read_authority
from governance.policy.policies import files_digest
from governance.release import promotion, retrospect
from governance.report.build import build
from governance.report.html import page
from pipelines.cli import cli
from tests.conftest import examples, rows
from tests.governance.bundles import (
    LIES,
    Json,
    forged,
    kind_of,
    made,
    opened,
    pin,
    requested,
    sealed,
)
from tests.governance.governed import Governed, begun, empty, person
from tests.governance.keys import pem
from tests.governance.story import MODEL, digest, told

PAGE = "<!doctype html><title>page</title>"


@pytest.fixture(scope="module")
def released(life: Governed, tmp_path_factory: pytest.TempPathFactory) -> Governed:
    found = life.copy(tmp_path_factory.mktemp("released"))
    found.released()
    return found


@pytest.fixture(scope="module")
def long(life: Governed, tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Two versions, a waiver, an incident, a rollback, a key revoked, a refused promotion, much
    about other models.
    """
    found = life.copy(tmp_path_factory.mktemp("long"))
    story = found.story
    found.released()
    first = story.models["sft"]
    found.waive("THRESHOLD_MISSED", "model sft")
    found.incident("1", "open")
    found.incident("1", "closed")
    story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    story.register("sft", "2")
    found.request("2")
    with pytest.raises(Exception, match="APPROVAL_MISSING"):
        found.consume("2")
    found.released("2")
    request = found.request("1", action="rollback", model_digest=first)
    found.approve("ada", "ml-lead", request, "promotion")
    found.consume("1")
    found.revoke("eve", "eve", "ben", "policy-owner")
    for number in range(6):
        story.data(f"other_{number}", "conversation", "conversation", 100)
    return found


@pytest.fixture(scope="module")
def data(released: Governed) -> bytes:
    return made(
        released.story.log,
        files=[Attached(name="page.html", sha256=sha256_bytes(PAGE.encode()), text=PAGE)],
    )


@pytest.fixture(scope="module")
def root(released: Governed) -> str:
    return pin(released.story.log)


def both(bundle: bytes, origin: str) -> bool:
    """What both verifiers say of it; they must agree."""
    ours = verify_bundle(bundle, TrustAnchors(origin))
    theirs, summary = "", {"completeness": "not shown"}
    try:
        summary = verifier.verify(bundle, origin)
    except verifier.Refused as refused:
        theirs = str(refused)
    assert ours.ok == (not theirs), f"ours: {ours.broken or 'yes'}; theirs: {theirs or 'yes'}"
    assert (ours.ok and ours.complete) == (summary["completeness"] == "shown")
    return ours.ok and ours.complete


# -- Good ones -------------------------------------------------------------------------------------
def test_a_released_version(data: bytes, root: str) -> None:
    assert both(data, root)
    report = verify_bundle(data, TrustAnchors(root))
    assert (report.complete, report.statements, report.approvals_wanted) == (True, 17, 2)
    assert report.counted == (("ada", "ml-lead"), ("ben", "risk"))
    assert [(move.alias, move.again) for move in report.moves if move.alias != "candidate"] == [
        ("champion", "same")
    ]
    assert report.policy_signed_by == ("ada", "ben")
    assert report.packet_changed == () and report.aside == ()


def test_a_version_that_waits_for_approval(scene: Governed) -> None:
    scene.approve("ada", "ml-lead", scene.freeze())
    bundle = made(scene.story.log)
    assert both(bundle, pin(scene.story.log))
    report = verify_bundle(bundle, TrustAnchors())
    assert (report.counted, report.approvals_wanted) == ((("ada", "ml-lead"),), 2)


def test_a_release_in_spite_of_an_incident_that_somebody_accepted(scene: Governed) -> None:
    scene.incident("1", "open")
    scene.waive("INCIDENT_OPEN", f"model {MODEL}")
    scene.released()
    assert both(made(scene.story.log), pin(scene.story.log))


OFFERED = {
    "no key": "garbage",
    "a key that signs no checkpoints": (
        private_signer(pem(ec.derive_private_key(7, ec.SECP256R1())), "another kind").public_pem
    ),
}


@pytest.mark.parametrize("row", OFFERED)
def test_whoever_offers_a_checkpoint_key_stops_nobody(row: str, scene: Governed) -> None:
    """Anybody enrolled may; and what is no Ed25519 key takes no effect, whoever approves it."""
    keyid = public_key(OFFERED[row]).keyid if row != "no key" else "c" * 64
    offered = CheckpointKey.model_validate(scene.signed("eve", "visitor", pem=OFFERED[row]))
    scene.say(
        "eve",
        "checkpoint_key",
        [Artifact(role="checkpoint_key", name="next", sha256=keyid)],
        offered,
    )
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", keyid, "checkpoint_key")
    assert len(read_authority(scene.story.log).checkpoint_keys) == 1
    assert both(made(scene.story.log), pin(scene.story.log))


@pytest.mark.parametrize(
    "text", ["tiers: nonsense\n", "[", "principals: [{name: x, keys: [garbage]}]\n"]
)
def test_whoever_records_what_are_no_policies_stops_nobody(text: str, scene: Governed) -> None:
    files = {**scene.story.policies.files, "policy.yaml": text}
    digest = files_digest(files)
    change = PolicyChange(previous=scene.story.policies.digest, run=scene.story.run(), files=files)
    what = [Artifact(role="policy", name="policies", sha256=digest)]
    evidence.record(scene.story.log, signer(scene.story.machine), "policy", what, change)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", digest, "policy")
    assert both(made(scene.story.log), pin(scene.story.log))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1", "2"])
def test_one_version_of_a_long_log(long: Governed, version: str) -> None:
    log = long.story.log
    bundle = made(log, version)
    assert both(bundle, pin(log))
    report = verify_bundle(bundle, TrustAnchors(pin(log)))
    assert report.size == log.size() > report.entries
    assert report.completeness == "index"
    assert f"holds the {report.entries} of {report.size} entries" in report.limits[0]
    assert {kind_of(item) for item in opened(bundle)["entries"]} >= {
        "waiver",
        "incident",
        "revocation",
        "request",
    }
    mine = [move for move in report.moves if move.version == version and move.alias == "champion"]
    assert {move.again for move in mine} == {"same"}
    assert both(made(log, version, whole=True), pin(log))
    assert verify_bundle(made(log, version, whole=True), TrustAnchors()).complete


def test_a_log_of_development_keys(tmp_path: Path) -> None:
    story = told(tmp_path)
    bundle = made(story.log)
    assert both(bundle, pin(story.log))
    report = verify_bundle(bundle, TrustAnchors())
    assert set(report.names) == {"a development key"}
    assert report.packet is None


def test_the_same_log_gives_the_same_bytes(long: Governed) -> None:
    assert made(long.story.log) == made(long.story.log)


def test_no_such_version(released: Governed) -> None:
    with pytest.raises(InputError, match="no version 9 of support-desk"):
        made(released.story.log, "9")


def test_a_page_is_known_by_its_digest(scene: Governed) -> None:
    scene.approve("ada", "ml-lead", scene.freeze(), page=sha256_bytes(PAGE.encode()))
    mine = Attached(name="page.html", sha256=sha256_bytes(PAGE.encode()), text=PAGE)
    other = Attached(name="report.html", sha256=sha256_bytes(b"x"), text="x")
    report = verify_bundle(made(scene.story.log, files=[mine, other]), TrustAnchors())
    assert {file.name: file.shown_to for file in report.files} == {
        "page.html": ("ada",),
        "report.html": (),
    }
    assert verify_bundle(made(scene.story.log), TrustAnchors()).pages_missing == (mine.sha256,)


# -- TrustAnchors ------------------------------------------------------------------------------------------
def test_without_a_pin_the_origin_is_not_established(data: bytes) -> None:
    report = verify_bundle(data, TrustAnchors())
    assert (report.ok, report.broken, report.origin) == (False, None, None)
    with pytest.raises(verifier.Refused, match="origin not established"):
        verifier.verify(data, None)


def test_the_checkpoint_key_pins_too(data: bytes) -> None:
    assert both(data, verify_bundle(data, TrustAnchors()).checkpoint_key)


def test_another_origin(data: bytes) -> None:
    assert not both(data, digest("another log"))


def test_an_older_checkpoint(life: Governed, long: Governed, tmp_path: Path) -> None:
    old = life.story.log.checkpoint()
    log = long.story.log
    assert (
        verify_bundle(made(log, since=old), TrustAnchors(checkpoint=old)).grown_from
        == life.story.log.size()
    )
    assert verify_bundle(made(log, whole=True), TrustAnchors(checkpoint=old)).ok
    assert verify_bundle(made(log), TrustAnchors(checkpoint=log.checkpoint())).ok
    assert "no proof" in (verify_bundle(made(log), TrustAnchors(checkpoint=old)).broken or "")
    fork = begun(tmp_path / "fork").story.log.checkpoint()
    assert "another log" in (
        verify_bundle(made(log, since=old), TrustAnchors(checkpoint=fork)).broken or ""
    )


def test_a_checkpoint_of_a_log_that_went_another_way(life: Governed, tmp_path: Path) -> None:
    """The same origin and key, another history: what only an older checkpoint shows."""
    one, other = (life.copy(tmp_path / name) for name in ("one", "other"))
    one.incident("1", "open")
    other.released()
    kept = one.story.log.checkpoint()
    report = verify_bundle(
        made(other.story.log, since=kept), TrustAnchors(pin(other.story.log), kept)
    )
    assert "not the one the older checkpoint was taken from" in (report.broken or "")


# -- Spoiled ones ----------------------------------------------------------------------------------
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_bit_that_changes_fails(data: bytes, root: str, where: float, bit: int) -> None:
    spoiled = bytearray(data)
    spoiled[int(where * len(data))] ^= 1 << bit
    assert not both(bytes(spoiled), root)


@given(cut=st.floats(0, 1, exclude_max=True), tail=st.binary(min_size=0, max_size=4))
def test_a_file_cut_short_fails(data: bytes, root: str, cut: float, tail: bytes) -> None:
    assert not both(data[: int(cut * len(data))] + tail, root)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.recursive(st.none() | st.text(max_size=9), st.lists).map(json.dumps).map(str.encode),
    )
)
def test_other_files_are_no_bundles(data: bytes) -> None:
    assert not both(data, "0" * 64)


def test_deep_and_large_files_are_refused_at_once(root: str) -> None:
    assert "nested" in (
        verify_bundle(b"[" * 100_000 + b"]" * 100_000, TrustAnchors(root)).broken or ""
    )
    assert "too large" in (verify_bundle(b" " * ((64 << 20) + 1), TrustAnchors(root)).broken or "")


def _swap_entries(bundle: Json, a: int, b: int) -> None:
    entries = bundle["entries"]
    entries[a], entries[b] = entries[b], entries[a]


def _swap(name: str) -> Callable[[Json, int, int], None]:
    def change(bundle: Json, a: int, b: int) -> None:
        one, other = bundle["entries"][a], bundle["entries"][b]
        one[name], other[name] = other[name], one[name]

    return change


CHANGES: dict[str, Callable[[Json, int, int], object]] = {
    "two in another order": _swap_entries,
    "one twice": (
        lambda bundle, a, b: bundle["entries"].insert(a, copy.deepcopy(bundle["entries"][a]))
    ),
    "one at another's place": (
        lambda bundle, a, b: bundle["entries"].__setitem__(a, copy.deepcopy(bundle["entries"][b]))
    ),
    "proofs swapped": _swap("proof"),
    "envelopes swapped": _swap("envelope"),
    "numbers swapped": _swap("index"),
    "a proof too short": lambda bundle, a, b: bundle["entries"][a]["proof"].pop(),
    "a proof too long": lambda bundle, a, b: bundle["entries"][a]["proof"].append("0" * 64),
    "signatures swapped": (
        lambda bundle, a, b: bundle["entries"][a]["envelope"].__setitem__(
            "signatures", copy.deepcopy(bundle["entries"][b]["envelope"]["signatures"])
        )
    ),
    "a signature taken away": (
        lambda bundle, a, b: bundle["entries"][a]["envelope"]["signatures"].clear()
    ),
    "a member more": lambda bundle, a, b: bundle["entries"][a].__setitem__("note", "x"),
}


@pytest.mark.parametrize("name", CHANGES)
@examples(12)
@given(seed=st.integers(0, 10**6))
def test_a_bundle_changed_and_sealed_again_fails(
    data: bytes, root: str, name: str, seed: int
) -> None:
    bundle = opened(data)
    a, b = random.Random(seed).sample(range(len(bundle["entries"])), 2)
    before = copy.deepcopy(bundle)
    CHANGES[name](bundle, a, b)
    if (
        bundle == before
    ):  # two entries by one signer with equal signatures do not exist; equal proofs do not either
        return
    assert not both(sealed(bundle), root)


def _text(bundle: Json, change: Callable[[str], str], index: int = 0) -> None:
    """What entry `index` says, changed; its signature stays."""
    import base64

    envelope = bundle["entries"][index]["envelope"]
    payload = base64.b64decode(envelope["payload"]).decode()
    assert change(payload) != payload
    envelope["payload"] = base64.b64encode(change(payload).encode()).decode()


WHOLE: dict[str, Callable[[Json, Json], object]] = {
    "policies that want one approval": lambda bundle, _: _text(
        bundle, lambda text: text.replace("approvals: 2", "approvals: 1", 1)
    ),
    "a checkpoint of another log": lambda bundle, other: bundle.__setitem__(
        "checkpoint", other["checkpoint"]
    ),
    "another model": lambda bundle, _: bundle.__setitem__("model", "another"),
    "another version": lambda bundle, _: bundle.__setitem__("version", "2"),
    "another format": lambda bundle, _: bundle.__setitem__(
        "format", "https://countersign.dev/bundle/v2"
    ),
    "a file of another digest": lambda bundle, _: bundle["files"][0].__setitem__("text", "x"),
    "a file twice": lambda bundle, _: bundle["files"].append(bundle["files"][0]),
    "no origin": lambda bundle, _: bundle["entries"].pop(0),
    "no entries": lambda bundle, _: bundle["entries"].clear(),
    "an entry of another log": (
        lambda bundle, other: bundle["entries"].__setitem__(3, other["entries"][3])
    ),
    "the origin of another log": (
        lambda bundle, other: bundle["entries"].__setitem__(0, other["entries"][0])
    ),
    "a checkpoint without signature": lambda bundle, _: bundle.__setitem__(
        "checkpoint", bundle["checkpoint"].partition("—")[0]
    ),
    "a checkpoint of another size": lambda bundle, _: bundle.__setitem__(
        "checkpoint", bundle["checkpoint"].replace("\n28\n", "\n29\n")
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_bundle_with_a_part_that_is_not_its_own_fails(
    data: bytes, root: str, long: Governed, name: str
) -> None:
    bundle = opened(data)
    WHOLE[name](bundle, opened(made(long.story.log)))
    assert bundle != opened(data)
    assert not both(sealed(bundle), root)


@given(seed=st.integers(0, 10**9))
def test_any_value_that_changes_fails_even_where_it_is_sealed_again(
    data: bytes, root: str, seed: int
) -> None:
    """But for what nothing vouches for: the names of files, and which attachments there are."""
    rng, bundle = random.Random(seed), opened(data)
    holder, key, path = _somewhere(bundle, rng)
    holder[key] = _other(holder[key], rng)
    if bundle != opened(data) and path != ["files", 0, "name"] and path != ["files"]:
        assert not both(sealed(bundle), root), path
    elif bundle != opened(data):
        both(sealed(bundle), root)


def _somewhere(bundle: Json, rng: random.Random) -> tuple[Any, Any, list[Any]]:
    """A place in a JSON value: its holder, its key, its path."""
    holder: Any = bundle
    path: list[Any] = []
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        keys = [key for key in keys if key != "seal"]
        path.append(rng.choice(keys))
        value = holder[path[-1]]
        if not isinstance(value, (dict, list)) or not value or rng.random() < 0.15:
            return holder, path[-1], path
        holder = value


def _other(value: Any, rng: random.Random) -> Any:
    """Something like it that is not it."""
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        return rng.choice(
            [value[:at] + rng.choice("0aZ=\n") + value[at + 1 :], value[:at], value + "0", "", None]
        )
    if isinstance(value, list) and value:
        turned = [*value[1:], value[0]]
        return rng.choice([turned, value + value[:1], [], None])
    if isinstance(value, int):
        return rng.choice(
            [value + 1, value - 1, -value - 1, float(value) + 0.5, str(value), value + 2**40]
        )
    return rng.choice([0, "x", [], {}, False])


# -- Lies of the service ---------------------------------------------------------------------------
def test_what_the_service_writes_itself_verifies_where_the_rules_allow_it(scene: Governed) -> None:
    """So that the lies below are refused for what they are."""
    LIES["another request"][0](scene)
    forged(scene)
    assert both(made(scene.story.log), pin(scene.story.log))


@pytest.mark.slow
@pytest.mark.parametrize("name", rows(LIES, in_ci=list(LIES)[::2]))
def test_a_promotion_that_the_rules_did_not_allow_fails(scene: Governed, name: str) -> None:
    before, fields = LIES[name]
    before(scene)
    assert both(made(scene.story.log), pin(scene.story.log))
    forged(scene, **fields)
    if (
        name == "another model"
    ):  # then it is filed with another model's bytes, and yet says this version
        assert not both(made(scene.story.log, whole=True), pin(scene.story.log))
    assert not both(made(scene.story.log), pin(scene.story.log))
    broken = verify_bundle(made(scene.story.log), TrustAnchors()).broken or ""
    assert SAID.get(name, "entry ") in broken, broken


SAID = {
    "approved by who asks for the move": "cleo does not count: cleo requests the move",
    "approved by who asked for the runs": "dora does not count: role engineer does not approve",
    "approved by a key that was revoked": "ada does not count: at that entry, the key was not ada's",
}
"""Whose word was not counted is told beside the code of the finding."""


def test_a_promotion_by_somebody_who_may_not_sign_it_counts_for_nothing(scene: Governed) -> None:
    LIES["another request"][0](scene)
    forged(scene, key="ada")
    assert both(made(scene.story.log), pin(scene.story.log))
    report = verify_bundle(made(scene.story.log), TrustAnchors())
    assert [move for move in report.moves if move.alias == "champion"] == []
    assert [(one.kind, "ada had no right" in one.reason) for one in report.aside] == [
        ("promotion", True)
    ]


def test_a_version_that_rests_on_what_nobody_might_say_fails(scene: Governed) -> None:
    """A registration names, in its chain, a statement by somebody who may not sign one."""
    now = promotion.state(scene.story.log)
    scan, registered = now.view.all("scan")[0], now.view.all("registration")[0]
    by_eve = scan.predicate.model_copy(update={"run": scene.story.run()})
    entry = evidence.record(scene.story.log, person("eve"), "scan", list(scan.subjects), by_eve)
    named = next(
        one
        for one in promotion.state(scene.story.log).evidence.all("scan")
        if one.index == entry.index
    )
    chain = [Artifact(role="scan", name="scan_pii@desk_eval", sha256=named.digest)]
    said = registered.predicate.model_copy(update={"chain": chain})
    evidence.record(
        scene.story.log,
        signer(scene.story.machine),
        "registration",
        list(registered.subjects),
        said,
    )
    assert not both(made(scene.story.log), pin(scene.story.log))


def test_a_development_key_moves_no_governed_alias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log was begun without a service's key, so that its origin names one made on that
    machine.
    """
    from tests.governance import governed as told_by

    real = told_by.open_log

    def begun_without(machine: Any, policies: Any, now: Any) -> Any:
        real(replace(machine, signer_uri=None), policies, now)
        return real(machine, policies, now)

    monkeypatch.setattr(told_by, "open_log", begun_without)
    scene = begun(tmp_path)
    LIES["another request"][0](scene)
    assert both(made(scene.story.log), pin(scene.story.log))
    forged(scene, by=stored_signer(scene.story.machine.keys, "development"))
    report = verify_bundle(made(scene.story.log), TrustAnchors())
    assert "development key" in (report.broken or "")


def test_a_request_is_spent_once(released: Governed, tmp_path: Path) -> None:
    scene = released.copy(tmp_path)
    forged(scene)
    assert not both(made(scene.story.log), pin(scene.story.log))


def test_policies_that_nobody_signed_permit_nothing(tmp_path: Path) -> None:
    """The whole life without the owners' approvals of the first policy."""
    from tests.governance.governed import authorize
    from tests.governance.story import tell

    scene = empty(tmp_path)
    scene.story = replace(scene.story)
    authorize(scene)
    tell(scene.story)
    requested(scene)
    forged(scene)
    bundle = opened(made(scene.story.log))
    assert both(sealed(bundle), pin(scene.story.log))
    bundle["entries"] = [one for one in bundle["entries"] if one["index"] not in (1, 2)]
    assert not both(sealed(bundle), pin(scene.story.log))


# -- As a log --------------------------------------------------------------------------------------
def test_a_bundle_answers_as_its_log(long: Governed) -> None:
    log, bundle = long.story.log, BundleLog(read(made(long.story.log)))
    carried = [
        entry for entry in log.entries() if entry.index in {one.index for one in bundle.entries()}
    ]
    assert list(bundle.entries()) == carried
    assert bundle.head() == log.head()
    assert [bundle.entry(one.index) for one in carried] == carried
    for one in carried:
        assert bundle.inclusion_proof(one.index, bundle.size()) == log.inclusion_proof(
            one.index, log.size()
        )
        assert (
            bundle.page(one.index, one.index + 1)[1][one.index].subjects
            == log.derived(one.index, one.index + 1)[one.index].subjects
        )
    for kind in ("origin", "approval", "registration", "promotion", "packet", "waiver", "request"):
        assert [one for one in bundle.by_kind([kind]) if one in carried] == [
            one for one in log.by_kind([kind]) if one in carried
        ]
    assert bundle.latest("registration/support-desk/sft") == log.latest(
        "registration/support-desk/sft"
    )
    missing = next(
        index for index in range(log.size()) if index not in {one.index for one in carried}
    )
    with pytest.raises(VerificationError, match="does not have this entry"):
        bundle.entry(missing)
    with pytest.raises(StorageError, match="appended"):
        bundle.append(b"")


def test_what_was_live_and_why_is_answered_from_a_bundle(long: Governed) -> None:
    """The same answers as from the log."""
    at = datetime(2027, 1, 1, tzinfo=UTC)
    now = promotion.state(long.story.log)
    here = promotion.state(BundleLog(read(made(long.story.log))))  # type: ignore[arg-type]
    assert retrospect.live(here, MODEL, at) == retrospect.live(now, MODEL, at)
    mine = [event for event in retrospect.history(now, MODEL) if event.what != "registration"]
    carried = {one.index for one in here.log.entries()}
    assert [one for one in retrospect.history(here, MODEL) if one.what != "registration"] == [
        one for one in mine if one.entry in carried
    ]
    last = retrospect.last_decision(now, MODEL, "1")
    assert retrospect.decided_again(here, last) == retrospect.decided_again(now, last)
    of_log = log_evidence(long.story.log, key_ring(long.story.log, now.authority.keys))
    of_bundle = log_evidence(here.log, key_ring(here.log, here.authority.keys))
    first = of_log.all("registration")[0].predicate.model_digest
    assert [one.digest for one in of_bundle.by_subject(first)] == [
        one.digest for one in of_log.by_subject(first)
    ]


# -- On the command line ---------------------------------------------------------------------------
@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has never seen the project."""
    for name in [name for name in os.environ if name.startswith("COUNTERSIGN")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(*args: str) -> Any:
    return CliRunner().invoke(cli, list(args), catch_exceptions=False)


def test_verify_a_file_where_nothing_else_is(
    data: bytes, root: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "b.json").write_bytes(data)
    found = _run("verify", "b.json")
    assert found.exit_code == 5 and found.output.startswith(
        "INTERNALLY CONSISTENT, ORIGIN NOT ESTABLISHED"
    )
    found = _run("verify", "b.json", "--origin", root, "--write-checkpoint", "kept")
    assert found.exit_code == 0 and found.output.startswith("EVIDENCE VERIFIES\n")
    assert (
        "ada as ml-lead, ben as risk" in found.output and "What this does not show" in found.output
    )
    assert _run("verify", "b.json", "--checkpoint", "kept").exit_code == 0
    monkeypatch.setenv("COUNTERSIGN_ORIGIN", root)
    assert json.loads(_run("verify", "b.json", "--json").output)["verified"] is True
    (elsewhere / "b.json").write_bytes(data[:-9] + b"0" + data[-8:])
    found = _run("verify", "b.json")
    assert found.exit_code == 5 and found.output.startswith("EVIDENCE DOES NOT VERIFY: b.json: ")


def test_bundle_and_verify(
    released: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in released.story.machine.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(released.story.root)
    target = tmp_path / "out.json"
    found = _run("bundle", "support-desk/1", "-o", str(target), "--with-verifier")
    copy = (tmp_path / "out.json.verify.py").read_bytes()
    assert copy == Path(verifier.__file__).read_bytes()
    assert found.exit_code == 0 and f"--origin {pin(released.story.log)}" in found.output
    assert both(target.read_bytes(), pin(released.story.log))
    assert target.read_bytes() == made(released.story.log)


def test_the_commands_that_look_answer_from_a_bundle(long: Governed, elsewhere: Path) -> None:
    (elsewhere / "b.json").write_bytes(made(long.story.log))
    known = ("--bundle", "b.json", "--origin", pin(long.story.log))
    found = CliRunner().invoke(cli, ["live", MODEL, "--at", "2027-01-01T00:00Z", *known])
    assert found.exit_code == 0 and f"champion     {MODEL}/1" in found.stdout and not found.stderr
    assert "rollback champion 1" in _run("history", MODEL, *known).stdout
    assert "SAME RESULT" in _run("explain", f"{MODEL}/1", *known).stdout
    assert "nothing shows that this is the log" in _run("live", MODEL, "--bundle", "b.json").stderr


def test_the_page_that_people_were_shown_is_made_again(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = scene.freeze()
    now = promotion.state(scene.story.log)
    shown = review.html(
        review.review(now, subjects.find(now, ("packet", frozen)).statement, scene.now)
    )
    scene.approve("ada", "ml-lead", frozen, page=sha256_bytes(shown))
    for name, value in scene.story.machine.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(scene.story.root)
    assert _run("bundle", "support-desk/1", "-o", str(tmp_path / "b.json")).exit_code == 0
    report = verify_bundle((tmp_path / "b.json").read_bytes(), TrustAnchors())
    assert [(file.sha256, file.shown_to) for file in report.files] == [
        (sha256_bytes(shown), ("ada",))
    ]
    assert report.pages_missing == ()


def test_hostile_text_shows_as_text(scene: Governed, elsewhere: Path) -> None:
    scene.approve("ada\x1b[2J\u202eEVIDENCE VERIFIES\nroot", "ml-lead", scene.freeze(), key="ada")
    (elsewhere / "b.json").write_bytes(made(scene.story.log))
    text = _run("verify", "b.json").output
    assert "\x1b" not in text and "\u202e" not in text
    assert not any(
        line.startswith("root ") and "signed by key" not in line for line in text.splitlines()
    )


def test_a_verifier_loads_nothing_large(data: bytes, root: str, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(data)
    code = (
        "import sys; sys.argv = ['countersign', 'verify', 'b.json', '--origin', sys.argv[1]]\nfrom"
        " pipelines.cli import cli\ncli(standalone_mode=False)\nprint(sorted({'torch', 'mlflow',"
        " 'dvc', 'datasets', 'numpy', 'sqlalchemy', 'psycopg'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, root],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PATH": ""},
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.slow
@pytest.mark.nightly
def test_five_hundred_statements(scene: Governed) -> None:
    """How long it takes, `benchmarks.reporting` says."""
    for number in range(470):
        scene.story.evaluate("sft", 0.9 + number / 10_000)
    scene.released()
    bundle = made(scene.story.log)
    assert len(opened(bundle)["entries"]) > 490
    report: BundleReport = verify_bundle(bundle, TrustAnchors(pin(scene.story.log)))
    assert report.ok, report.broken


# -- A report from a bundle ------------------------------------------------------------------------
def test_a_report_from_a_bundle_says_what_the_log_says(long: Governed, tmp_path: Path) -> None:
    """Everything but what only the project's folder, or the whole log, can tell."""
    (tmp_path / "b.json").write_bytes(made(long.story.log, "2"))
    offline = open_bundle(tmp_path / "b.json", TrustAnchors(pin(long.story.log)))
    found = build(offline, MODEL, "2")
    whole = build(replace(long.story.sources, root=NOWHERE), MODEL, "2")
    same = {
        "verdict",
        "digest",
        "gates",
        "people",
        "separation",
        "decisions",
        "use",
        "alignment",
        "bases",
        "change_since",
    }
    for name in same:
        assert getattr(found, name) == getattr(whole, name), name
    uncounted = [metric.model_copy(update={"models_scored": None}) for metric in whole.metrics]
    assert found.metrics == uncounted, "other models' scores are not in it"
    assert found.integrity.verified and "established by the origin given" in found.integrity.origin
    assert "entries that a bundle carries" in found.reads
    assert not any("taken out" in line for line in found.integrity.shows)
    assert found.integrity.complete
    assert b"entries that a bundle carries" in page(found)


def test_a_bundle_that_does_not_verify_is_not_read(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(data.replace(b"support-desk", b"support_desk", 1))
    with pytest.raises(VerificationError, match="EVIDENCE DOES NOT VERIFY"):
        open_bundle(tmp_path / "b.json", TrustAnchors())
    with pytest.raises(InputError, match="cannot be read"):
        open_bundle(tmp_path / "none.json", TrustAnchors())
