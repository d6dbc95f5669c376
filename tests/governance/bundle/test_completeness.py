"""A bundle that lacks any entry about its model is never complete, for either verifier, and nothing
that is read from it says APPROVED.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.predicates import KINDS
from governance.base.errors import BusyError, ConflictError, InputError, VerificationError
from governance.bundle import bundle_of, verify_bundle, write
from governance.bundle import standalone_verifier as verifier
from governance.history.model_entries import STAGES, ModelEntries
from governance.history.state import state
from governance.history.verify import TrustAnchors
from governance.log import evidence, merkle
from governance.log.checkpoint import parse_checkpoint, sign_checkpoint
from governance.log.evidence import origin
from governance.log.model_index import parse_index, sign_index, verified_index
from governance.log.sqlite import SqliteLog
from governance.machine.machine import log_of, machine, read_log, signer
from governance.machine.machine import model_index as index_here
from governance.machine.signers import CHECKPOINT, stored_signer
from governance.policy.authority import authority_entries
from pipelines.cli import cli
from tests.conftest import ROOT, examples
from tests.governance.bundles import Json, index_of, kind_of, made, opened, pin, said, sealed
from tests.governance.governed import Governed, authorize, person
from tests.governance.keys import checkpoint_of, stranger
from tests.governance.served import ACCOUNT, PASSWORD, serving
from tests.governance.story import MODEL, digest


@pytest.fixture(scope="module")
def against(life: Governed, tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 1 was approved and released. Then an incident, a rejection, and version 2 in its
    place. Another model has entries too.
    """
    scene = life.copy(tmp_path_factory.mktemp("against"))
    frozen = scene.freeze()
    for who, role in (("ada", "ml-lead"), ("ben", "risk")):
        scene.approve(who, role, frozen)
    scene.request()
    scene.consume()
    scene.incident("1", "open")
    scene.approve("cleo", "product", frozen, decision="reject")
    story = scene.story
    story.data("other", "conversation", "conversation", 100)
    story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    story.register("sft", "2")
    scene.released("2")
    return scene


@pytest.fixture(scope="module")
def full(against: Governed) -> bytes:
    return made(against.story.log)


@pytest.fixture(scope="module")
def root(against: Governed) -> str:
    return pin(against.story.log)


def is_complete(bundle: bytes, origin: str) -> bool:
    """Whether a bundle verifies and is complete. Both verifiers must agree."""
    ours = verify_bundle(bundle, TrustAnchors(origin))
    try:
        theirs = verifier.verify(bundle, origin)["completeness"] == "shown"
    except verifier.Refused:
        theirs = False
    assert theirs == (ours.ok and ours.complete), ours.broken
    return theirs


def without(bundle: bytes, *indexes: int, **members: Any) -> bytes:
    """The bundle without some entries, sealed again."""
    value = opened(bundle)
    value["entries"] = [item for item in value["entries"] if item["index"] not in indexes]
    return sealed({**value, **members})


def without_index(bundle: bytes) -> bytes:
    value = opened(bundle)
    value.pop("index")
    return sealed(value)


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


# -- The case that was found -----------------------------------------------------------------------
def _speaks_against(item: Json) -> bool:
    predicate = said(item)["predicate"]
    later = kind_of(item) == "promotion" and predicate["version"] == "2"
    return kind_of(item) == "incident" or predicate.get("decision") == "reject" or later


@pytest.fixture
def left_out(full: bytes) -> list[int]:
    indexes = [item["index"] for item in opened(full)["entries"] if _speaks_against(item)]
    assert len(indexes) >= 3
    return indexes


def test_a_bundle_without_its_incident_rejection_and_later_promotion(
    full: bytes, root: str, left_out: list[int], tmp_path: Path
) -> None:
    """It reported APPROVED with exit code 0."""
    assert is_complete(full, root)
    report = verify_bundle(without(full, *left_out), TrustAnchors(root))
    count = len(opened(full)["entries"])
    assert f"has {count - len(left_out)} of {count} entries" in (report.broken or "")
    partial = without_index(without(full, *left_out))
    assert not is_complete(partial, root)
    path = tmp_path / "b.json"
    path.write_bytes(partial)
    known = ("--bundle", str(path), "--origin", root)
    shown = run("report", f"{MODEL}/1", *known, "-o", str(tmp_path / "reports"))
    assert shown.exit_code == 5 and "COMPLETENESS NOT SHOWN" in shown.output
    page = (tmp_path / "reports" / f"{MODEL}-1.html").read_text(encoding="utf-8")
    assert "COMPLETENESS NOT SHOWN" in page and "APPROVED" not in page
    twin = json.loads(run("report", f"{MODEL}/1", *known, "--json").stdout)
    assert twin["verdict"]["word"] == "COMPLETENESS NOT SHOWN"
    assert twin["integrity"]["complete"] is False
    assert twin["use"]["approved_for"] == ["nothing: entries may be missing"]


@pytest.mark.parametrize(
    "args",
    [
        ("live", MODEL),
        ("history", MODEL),
        ("explain", f"{MODEL}/1"),
        ("diff", f"{MODEL}/1", f"{MODEL}/2"),
        ("verify-model", "{folder}", "--against", f"{MODEL}@champion"),
        ("report", "--all"),
        ("export", f"{MODEL}/1", "-o", "{folder}/out"),
        ("control", f"{MODEL}/1"),
        ("show", f"{MODEL}/1"),
    ],
    ids=lambda args: args[0] + args[1][:5],
)
def test_no_command_answers_from_it_with_exit_code_0(
    args: tuple[str, ...], full: bytes, root: str, left_out: list[int], tmp_path: Path
) -> None:
    (tmp_path / "b.json").write_bytes(without_index(without(full, *left_out)))
    known = ("--bundle", str(tmp_path / "b.json"), "--origin", root)
    result = run(*(text.format(folder=tmp_path) for text in args), *known)
    code = getattr(result.exception, "exit_code", result.exit_code)
    assert code == 5, result.output
    told = result.output + str(result.exception)
    assert "COMPLETENESS NOT SHOWN" in told


def test_a_bundle_answers_for_its_own_model_only(
    against: Governed, full: bytes, root: str, tmp_path: Path
) -> None:
    """Another model with the same bytes has entries in it, and perhaps more elsewhere."""
    scene = against.copy(tmp_path / "scene")
    now = state(scene.story.log)
    registered = now.registration(MODEL, "1")
    twin = registered.predicate.model_copy(update={"model": "twin", "version": "1"})
    log = scene.story.log
    evidence.record(log, signer(scene.story.machine), "registration", registered.subjects, twin)
    (tmp_path / "b.json").write_bytes(made(log))
    known = ("--bundle", str(tmp_path / "b.json"), "--origin", root)
    own = run("history", MODEL, *known)
    assert own.exit_code == 0 and "COMPLETENESS" not in own.output
    for args in (("history", "twin"), ("live", "twin"), ("explain", "twin/1")):
        result = run(*args, *known)
        assert getattr(result.exception, "exit_code", 0) == 5, args
        assert "may lack entries about twin" in str(result.exception)
    twin_report = run("show", "twin/1", *known)
    assert twin_report.exit_code == 5


def test_verify_says_so_of_the_file(
    full: bytes, root: str, left_out: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(without_index(without(full, *left_out)))
    result = run("verify", str(path), "--origin", root)
    assert result.exit_code == 5
    assert result.output.startswith("EVIDENCE VERIFIES, COMPLETENESS NOT SHOWN")
    assert "INCIDENT " not in result.output
    answer = json.loads(run("verify", str(path), "--origin", root, "--json").stdout)
    assert answer["verified"] and not answer["complete"]
    path.write_bytes(full)
    whole = run("verify", str(path), "--origin", root)
    assert whole.exit_code == 0 and "INCIDENT   entry" in whole.output


def test_the_second_verifier_prints_what_stands_against_it(
    full: bytes, root: str, left_out: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(full)
    assert verifier.main([str(path), "--origin", root]) == 0
    text = capsys.readouterr().out
    assert "completeness: shown" in text and "an incident is open" in text
    assert "cleo rejected it as product" in text and "champion went to version 2" in text
    path.write_bytes(without_index(without(full, *left_out)))
    assert verifier.main([str(path), "--origin", root]) == verifier.DOES_NOT_VERIFY
    text = capsys.readouterr().out
    assert text.startswith("VERIFIES, COMPLETENESS NOT SHOWN") and "none in this bundle" in text
    assert verifier.main([str(path), "--origin", root, "--json"]) == verifier.DOES_NOT_VERIFY
    assert json.loads(capsys.readouterr().out)["completeness"] == "not shown"


# -- Every other omission --------------------------------------------------------------------------
@pytest.mark.slow
@examples(30)
@given(data=st.data())
def test_any_entries_that_are_left_out_are_missed(full: bytes, root: str, data: Any) -> None:
    indexes = [item["index"] for item in opened(full)["entries"]]
    gone = data.draw(st.lists(st.sampled_from(indexes), min_size=1, unique=True))
    less = without(full, *gone)
    assert not is_complete(less, root)
    assert not is_complete(without_index(less), root)


@pytest.mark.slow
@examples(20)
@given(data=st.data())
def test_any_entry_of_the_whole_log_that_is_left_out_is_missed(
    against: Governed, root: str, data: Any
) -> None:
    whole = made(against.story.log, whole=True)
    gone = data.draw(st.integers(0, against.story.log.size() - 1))
    assert is_complete(whole, root) and not is_complete(without(whole, gone), root)


def test_an_entry_more_is_no_complete_bundle(against: Governed, full: bytes, root: str) -> None:
    whole = opened(made(against.story.log, whole=True))
    assert len(whole["entries"]) > len(opened(full)["entries"])
    assert not is_complete(sealed({**whole, "index": opened(full)["index"]}), root)


@pytest.mark.slow
@examples(40)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 6))
def test_any_bit_of_the_index_that_changes_fails(
    full: bytes, root: str, at: float, bit: int
) -> None:
    note = opened(full)["index"].encode()
    position = int(at * len(note))
    changed = note[:position] + bytes([note[position] ^ 1 << bit]) + note[position + 1 :]
    text = changed.decode("utf-8", "replace")
    assert not is_complete(without(full, index=text), root)


# -- An index of something else --------------------------------------------------------------------
def _of_another_size(scene: Governed, full: bytes) -> str:
    scene.incident("2", "open")
    return index_of(scene.story.log)


def _of_another_model(scene: Governed, full: bytes) -> str:
    index = parse_index(opened(full)["index"])
    return sign_index(replace_model(index, "support_desk"), key_of(scene))


def _checkpoint(scene: Governed, full: bytes) -> str:
    note: str = opened(full)["checkpoint"]
    return note


def _by_another_key(scene: Governed, full: bytes) -> str:
    return sign_index(parse_index(opened(full)["index"]), stranger())


def _of_fewer(scene: Governed, full: bytes) -> str:
    """As many entries as are left, with another root."""
    index = parse_index(opened(full)["index"])
    return sign_index(
        type(index)(index.origin, MODEL, index.size, index.entries, b"\0" * 32), key_of(scene)
    )


def _of_another_log(scene: Governed, full: bytes) -> str:
    index = parse_index(opened(full)["index"])
    other = index.origin[:-4] + "0000"
    return sign_index(
        type(index)(other, MODEL, index.size, index.entries, index.root), key_of(scene)
    )


def _under_a_checkpoints_name(scene: Governed, full: bytes) -> str:
    """The signature of the log's checkpoint under an index."""
    value = opened(full)
    return str(
        value["index"].partition("\n\n")[0] + "\n\n" + value["checkpoint"].partition("\n\n")[2]
    )


def replace_model(index: Any, model: str) -> Any:
    return type(index)(index.origin, model, index.size, index.entries, index.root)


def key_of(scene: Governed) -> Any:
    return stored_signer(scene.story.machine.keys, CHECKPOINT)


OTHERS: dict[str, Callable[[Governed, bytes], str]] = {
    "of another size": _of_another_size,
    "of a model with a similar name": _of_another_model,
    "a checkpoint": _checkpoint,
    "by another key": _by_another_key,
    "of other entries": _of_fewer,
    "of another log": _of_another_log,
    "with a checkpoint's signature": _under_a_checkpoints_name,
    "nothing": lambda scene, full: "",
    "with a line that is no signature": lambda scene, full: opened(full)["index"] + "x\n",
    "with a short signature of somebody": lambda scene, full: (
        opened(full)["index"] + "\u2014 witness.example AAAA\n"
    ),
    "signed twice": lambda scene, full: (
        opened(full)["index"] + opened(full)["index"].partition("\n\n")[2]
    ),
    "with a line more": lambda scene, full: opened(full)["index"].replace("\n\n", "\nx\n\n"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_index_of_something_else_fails(
    name: str, against: Governed, full: bytes, root: str, tmp_path: Path
) -> None:
    note = OTHERS[name](against.copy(tmp_path), full)
    bundle = without(full, index=note)
    assert not is_complete(bundle, root)
    assert verify_bundle(bundle, TrustAnchors(root)).broken is not None


def test_others_may_add_their_signatures_to_an_index(full: bytes, root: str) -> None:
    note = opened(full)["index"] + "\u2014 witness.example AAAAAAAA\n"
    assert is_complete(without(full, index=note), root)


def test_a_bundle_of_a_similar_model_does_not_pass_with_this_index(full: bytes, root: str) -> None:
    assert not is_complete(without(full, model="support_desk"), root)


def test_an_index_is_no_checkpoint(against: Governed, full: bytes, root: str) -> None:
    note = opened(full)["index"]
    with pytest.raises(VerificationError, match="not a checkpoint"):
        parse_checkpoint(note)
    with pytest.raises(VerificationError, match="not a checkpoint"):
        checkpoint_of(note, origin(against.story.log).checkpoint_key)
    assert not is_complete(without(full, checkpoint=note), root)
    head = parse_checkpoint(opened(full)["checkpoint"])[0]
    with pytest.raises(VerificationError, match="not a model index"):
        parse_index(sign_checkpoint(head, key_of(against)))


# -- Older bundles ---------------------------------------------------------------------------------
OLD = {
    "golden/bundle-v1.json": "whole log",
    "governance/log/old/bundle-0.2.json": "whole log",
    "golden/bundle-v1-partial.json": "not shown",
}


@pytest.mark.parametrize(("path", "complete"), OLD.items())
def test_a_bundle_from_before_verifies(path: str, complete: str) -> None:
    data = (ROOT / "tests" / path).read_bytes()
    report = verify_bundle(data, TrustAnchors())
    assert "index" not in opened(data)
    assert (report.broken, report.completeness) == (None, complete)


def test_a_bundle_from_before_that_is_not_whole_is_not_complete(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its entries were chosen for one version, and the log signed no index of them."""
    path = ROOT / "tests" / "golden" / "bundle-v1-partial.json"
    root = path.with_suffix(".origin").read_text(encoding="ascii").strip()
    report = verify_bundle(path.read_bytes(), TrustAnchors(root))
    assert report.ok and not report.complete
    assert report.limits[0].startswith("COMPLETENESS IS NOT SHOWN")
    assert "COMPLETENESS NOT SHOWN" in run("verify", str(path), "--origin", root).output
    assert verifier.main([str(path), "--origin", root]) == verifier.DOES_NOT_VERIFY
    assert "completeness: not shown" in capsys.readouterr().out


# -- The signer ------------------------------------------------------------------------------------
def test_everything_that_gives_or_takes_rights_is_in_every_index(against: Governed) -> None:
    log = against.story.log
    of_model = set(ModelEntries().of(log, MODEL, log.size()))
    assert {entry.index for entry in authority_entries(log)} <= of_model
    used = {entry.index for entry in log.entries() if entry.kind in ("authorization", "revocation")}
    assert used and used <= of_model


def test_an_authorization_is_in_the_index_of_the_models_whose_runs_name_it(
    scene: Governed,
) -> None:
    """Any enrolled person can sign many. They were in every index, bundle and report."""
    log = scene.story.log
    before = ModelEntries().of(log, MODEL, log.size())
    for hours in range(1, 4):
        authorize(scene, "eve", "visitor", hours=hours)
    assert ModelEntries().of(log, MODEL, log.size()) == before
    used = log.size() - 1
    scene.story.train("next", "sft", "conversation", "desk_sft", "base", accuracy=0.98, unsafe=0.01)
    scene.story.register("next", "2")
    of_model = ModelEntries().of(log, MODEL, log.size())
    assert used in of_model and not {used - 1, used - 2} & set(of_model)
    assert is_complete(made(log), pin(log))
    assert not is_complete(without(made(log), used), pin(log))
    foreign = without_index(without(made(log), used))
    assert not is_complete(foreign, pin(log))


def test_a_bundle_without_an_authorization_that_matters_is_refused(scene: Governed) -> None:
    """Even if the log's own key signed an index without it: the move does not repeat."""
    scene.released()
    log = scene.story.log
    (entry,) = log.by_kind(["authorization"])
    full, index = made(log), parse_index(index_of(log))
    leaves = [
        log.entry(item["index"]).leaf_hash
        for item in opened(full)["entries"]
        if item["index"] != entry.index
    ]
    less = type(index)(index.origin, MODEL, index.size, len(leaves), merkle.root_of(leaves))
    bundle = without(full, entry.index, index=sign_index(less, key_of(scene)))
    with pytest.raises(verifier.Refused, match="nobody authorized"):
        verifier.verify(bundle, pin(log))
    report = verify_bundle(bundle, TrustAnchors(pin(log)))
    assert not report.ok or "different" in {move.again for move in report.moves}


def test_what_people_say_about_its_data_is_in_the_index(scene: Governed) -> None:
    """A rejected dataset, a worse scan of the same records, a second evaluation, a revoked key."""
    story = scene.story
    added = [
        scene.approve(
            "ben", "risk", story.records["desk_sft"], "data", decision="reject", model=None
        ),
        scene.approve("ben", "risk", digest("elsewhere"), "data", decision="reject"),
        scene.revoke("eve", "eve", "ben", "policy-owner"),
        scene.incident("1", "open"),
    ]
    story.evaluate("sft", 0.1, 0.9)
    added.append(story.log.size() - 1)
    foreign = scene.approve("ben", "risk", digest("elsewhere"), "data", model="other-model")
    indexes = ModelEntries().of(story.log, MODEL, story.log.size())
    assert set(added) <= set(indexes) and foreign in indexes, "about what a counted vote is about"
    unrelated = scene.approve("ben", "risk", digest("nowhere"), "data", model="other-model")
    assert unrelated not in ModelEntries().of(story.log, MODEL, story.log.size())


def test_a_kind_that_names_no_model_concerns_every_model() -> None:
    """So that a kind that somebody adds is left out of no index."""
    named = {"approval", *STAGES}
    common = {
        name
        for name, kind in KINDS.items()
        if name not in named and "model" not in kind.model.model_fields
    }
    assert common >= {"origin", "policy", "revocation", "checkpoint_key", "authorization"}, (
        "an authorization is common where it is not about the key that signed it"
    )


def test_no_index_is_signed_over_an_altered_log(against: Governed, tmp_path: Path) -> None:
    """An entry in the middle, of another model: the head alone does not show it."""
    scene = against.copy(tmp_path)
    path = scene.story.log.path
    with sqlite3.connect(path) as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute(
            "UPDATE countersign_entry SET envelope = (SELECT envelope FROM countersign_entry"
            " WHERE kind = 'scan' LIMIT 1) WHERE kind = 'quality'"
        )
    log = SqliteLog(path, MODEL, key_of(scene))
    with pytest.raises(VerificationError, match="not those"):
        ModelEntries().signed(log, MODEL, key_of(scene))


def test_an_index_is_signed_once_for_each_size(against: Governed, tmp_path: Path) -> None:
    scene, signatures = against.copy(tmp_path), list[bytes]()

    class Counted:
        def __init__(self, signer: Any) -> None:
            self.keyid, self.public_pem, self._signer = signer.keyid, signer.public_pem, signer

        def sign(self, payload: bytes) -> bytes:
            signatures.append(payload)
            signature: bytes = self._signer.sign(payload)
            return signature

    entries, log, key = ModelEntries(), scene.story.log, Counted(key_of(scene))
    first = entries.signed(log, MODEL, key)
    assert entries.signed(log, MODEL, key) == first and len(signatures) == 1
    scene.incident("2", "open")
    second = parse_index(entries.signed(log, MODEL, key))
    assert (second.size, len(signatures)) == (log.size(), 2)
    leaves = [log.entry(index).leaf_hash for index in entries.of(log, MODEL, log.size())]
    assert (second.entries, second.root) == (len(leaves), merkle.root_of(leaves))
    for name in ("nobody", "", "../x", "x" * 500):
        with pytest.raises(InputError, match="no version"):
            entries.signed(log, name, key)
    assert len(signatures) == 2


def test_while_an_index_is_made_others_are_told_to_try_again(against: Governed) -> None:
    """Many requests do not occupy a server: they do not wait."""
    entries, log, key = ModelEntries(), against.story.log, key_of(against)
    with entries._lock, pytest.raises(BusyError, match="for another index"):
        entries.signed(log, MODEL, key)
    note = entries.signed(log, MODEL, key)
    with entries._lock:
        assert entries.signed(log, MODEL, key) == note, "what is known needs no turn"


def test_a_key_that_is_not_in_force_signs_no_index(against: Governed) -> None:
    with pytest.raises(VerificationError, match="not signed by this log's checkpoint key"):
        ModelEntries().signed(against.story.log, MODEL, person("ada"))


def test_an_index_of_an_earlier_size_makes_no_bundle(against: Governed, tmp_path: Path) -> None:
    scene = against.copy(tmp_path)
    note = index_of(scene.story.log)
    scene.incident("2", "open")
    with pytest.raises(ConflictError, match="has grown"):
        bundle_of(scene.story.log, MODEL, "1", index=note)


@pytest.mark.parametrize("lies", [False, True])
def test_verify_compares_the_servers_indexes_with_the_copy(
    against: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lies: bool
) -> None:
    """An auditor with a copy needs no bundle: `verify` makes each index anew."""
    good = parse_index(index_of(against.story.log))
    lie = sign_index(replace(good, entries=good.entries - 1), key_of(against))
    home = tmp_path / "home"
    values = {
        "COUNTERSIGN_HOME": home, "COUNTERSIGN_PROJECT": MODEL, "COUNTERSIGN_USER": ACCOUNT,
        "COUNTERSIGN_PASSWORD": PASSWORD, "COUNTERSIGN_ORIGIN": pin(against.story.log),
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    with serving(against.story.log) as served:
        monkeypatch.setenv("COUNTERSIGN_LOG", served.url)
        if lies:
            monkeypatch.setattr(ModelEntries, "signed", lambda *_: lie)
        result = run("verify", "--no-files")
    if lies:
        assert result.exit_code == VerificationError.exit_code
        assert "SIGNED AN INDEX THAT IS NOT OF THIS LOG" in result.output
        return
    assert result.exit_code == 0, result.output
    assert "index of 1 model(s) counts exactly the entries of this copy" in result.output


def test_a_log_at_a_server_gives_the_index_over_http(against: Governed, tmp_path: Path) -> None:
    with serving(against.story.log) as served:
        environ = {
            "COUNTERSIGN_HOME": str(tmp_path),
            "COUNTERSIGN_LOG": served.url,
            "COUNTERSIGN_USER": ACCOUNT,
            "COUNTERSIGN_PASSWORD": PASSWORD,
        }
        here = machine(MODEL, environ)
        log = read_log(here)
        note = index_here(here, log, MODEL)
        data = write(bundle_of(log, MODEL, "1", index=note))
        with pytest.raises(InputError, match="no version"):
            index_here(here, log, "nobody")
    assert data == made(against.story.log) and is_complete(data, pin(log))
    key = origin(log).checkpoint_key
    assert verified_index(note, [(0, key)]).size == log.size()
    assert log_of(here).size() == log.size()
