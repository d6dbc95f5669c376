"""Who may read what: the table `readers`, the reader at a position of the log, what bytes are the
content of, and the statement about a read.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from governance.attest.keys import Signer
from governance.attest.predicates import Artifact, Read, Requester
from governance.base.errors import ConfigError, RefusedError, StorageError
from governance.history.contents import Contents
from governance.history.model_entries import ModelEntries
from governance.history.state import state
from governance.log import evidence
from governance.log.evidence import Evidence
from governance.log.port import Entry
from governance.machine.machine import signer
from governance.people.speaking import run_by
from governance.policy.authority import read_authority
from governance.policy.policies import load_policies
from governance.policy.readers import EVERYBODY, OTHERS, UNKNOWN, Content, Readers, may_read
from governance.policy.rules import Principal
from governance.release import retrospect
from governance.release.reading import Reading, Rights, Wanted, admit, refused_account
from governance.server.append import refusal
from tests.conftest import ROOT
from tests.governance.governed import RULES, Governed, begun, empty, keypair, person, principals
from tests.governance.story import MODEL, digest

READERS = """
readers:
  datasets: {desk_sft: [ml-lead, ben, ci], "*": [everybody]}
  models: {support-desk: [release-manager, ci], base: [ml-lead], "*": []}
"""
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DATA = Content("dataset", "desk_sft")
MODEL_CONTENT = Content("model", MODEL)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    return begun(tmp_path_factory.mktemp("readers"), RULES + READERS)


@pytest.fixture
def scene(told: Governed, tmp_path: Path) -> Governed:
    return told.copy(tmp_path)


def rights(scene: Governed, own: bool = False) -> Rights:
    policies = load_policies(scene.story.root / "policies") if own else None
    return Rights(read_authority(scene.story.log), policies)


def read(
    scene: Governed, who: Signer | str, *contents: Content, at: datetime = NOON, purpose: str = "",
    own: bool = False, development: bool = False, sha256: str = digest("bytes"),
) -> Entry | None:  # fmt: skip
    key = person(who) if isinstance(who, str) else who
    asked = Requester(name="x", authenticated=False)
    reading = Reading(key, development, "look", purpose, asked, at)
    wanted = [Wanted.of(sha256, frozenset(contents))]
    return admit(rights(scene, own), reading, wanted, lambda: scene.story.log)


def may(scene: Governed, who: str, *contents: Content, **how: Any) -> bool:
    try:
        read(scene, who, *contents, **how)
    except RefusedError as error:
        assert "READ_NOT_ALLOWED" in str(error)
        return False
    return True


# -- The table -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "content", "permitted"),
    [
        ("ada", DATA, True),  # by role
        ("ben", DATA, True),  # by name
        ("cleo", DATA, False),
        ("ci", DATA, True),  # a service, by name
        ("eve", Content("dataset", "desk_eval"), True),  # by the row `*`
        ("cleo", MODEL_CONTENT, True),
        ("ada", MODEL_CONTENT, False),
        ("ada", Content("model", "base"), True),  # a stage from which no model is released
        ("ada", Content("model", "other"), False),  # `*` is closed
        ("ada", Content("dataset", "support-desk"), True),  # a model's name opens no dataset
    ],
)
def test_who_may_read_what(who: str, content: Content, permitted: bool, scene: Governed) -> None:
    before = scene.story.log.size()
    assert may(scene, who, content) is permitted
    assert scene.story.log.size() == before + permitted


def person_of(name: str, *roles: str) -> Principal:
    return Principal(name=name, kind="person", roles=list(roles), keys=[keypair(name)[1]])


def test_without_a_table_everybody_reads_and_nothing_is_recorded(tmp_path: Path) -> None:
    scene = begun(tmp_path)
    before = scene.story.log.size()
    assert read(scene, "eve", DATA) is None and scene.story.log.size() == before


def test_a_missing_row_is_closed() -> None:
    table = Readers(datasets={"open": [EVERYBODY]}, models={})
    ada = person_of("ada", "lead")
    assert may_read(table, None, Content("dataset", "open"))
    for content in (Content("dataset", "other"), Content("model", "open"), *UNKNOWN):
        assert not may_read(table, ada, content)


def test_what_nothing_names_may_be_what_a_row_closes() -> None:
    """E.g. the files of a run that was killed before it was recorded."""
    table = Readers(
        datasets={OTHERS: [EVERYBODY], "secret": ["lead"]}, models={OTHERS: [EVERYBODY]}
    )
    unknown = [content for content in UNKNOWN if content.kind == "dataset"]
    for content in unknown:
        assert may_read(table, person_of("ada", "lead"), content)
        assert not may_read(table, person_of("ben"), content)
        assert not may_read(table, None, content)


NAMES = ["ada", "ben", "cleo", "dora"]
ROLES = ["lead", "risk", "guest"]
ROWS = ["x", "y", "z", "*"]


def random_table(chance: Random) -> dict[str, list[str]]:
    rows = chance.sample(ROWS, chance.randrange(len(ROWS) + 1))
    known = [*NAMES, *ROLES, EVERYBODY]
    return {row: chance.sample(known, chance.randrange(3)) for row in rows}


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_permitted_that_the_table_does_not_name(seed: int) -> None:
    """Against the words of the documentation, written once more."""
    chance = Random(seed)
    raw = {"datasets": random_table(chance), "models": random_table(chance)}
    table = Readers.model_validate(raw)
    for _ in range(50):
        name, roles = chance.choice(NAMES), chance.sample(ROLES, chance.randrange(3))
        kind, content = chance.choice(["dataset", "model"]), chance.choice([*ROWS, "unheard"])
        reader = None if chance.random() < 0.2 else person_of(name, *roles)
        rows = raw[f"{kind}s"]
        asked = list(rows) if content == "*" and "*" in rows else [content]
        own = {EVERYBODY, *([name, *roles] if reader else [])}
        expected = all(own & set(rows.get(row, rows.get("*", []))) for row in asked)
        wanted = Content("dataset" if kind == "dataset" else "model", content)
        assert may_read(table, reader, wanted) is expected


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ('{"*": [nobody-here]}', "neither a principal nor a role"),
        ('{"Upper": []}', "datasets"),
        ("[ada]", "datasets"),
    ],
)
def test_a_table_with_names_that_nobody_has_is_an_error(
    rows: str, why: str, scene: Governed
) -> None:
    path = scene.story.root / "policies" / "policy.yaml"
    text = path.read_text().replace(READERS, f"\nreaders: {{datasets: {rows}, models: {{}}}}\n")
    path.write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_policies(scene.story.root / "policies")


def test_a_name_has_one_meaning(scene: Governed) -> None:
    path = scene.story.root / "policies" / "policy.yaml"
    path.write_text(path.read_text().replace('"roles": ["visitor"]', '"roles": ["ben"]'))
    with pytest.raises(ConfigError, match="'ben' is a principal and a role"):
        load_policies(scene.story.root / "policies")


# -- Who the reader is -----------------------------------------------------------------------------


def test_a_revoked_key_reads_nothing_and_another_of_its_owner_does(tmp_path: Path) -> None:
    keys = {"ada": ["ada", "ada2"], **{name: [name] for name in ("ben", "cleo", "dora", "eve")}}
    scene = begun(tmp_path, RULES + READERS, principals(keys))
    scene.revoke("ada", "ada", "ada", "ml-lead")
    assert not may(scene, "ada", DATA)
    assert may(scene, "ada2", DATA)
    assert not refused_account(rights(scene), "ada", [Wanted.of("", frozenset({DATA}))], NOON)
    scene.revoke("ada2", "ada", "ben", "policy-owner")
    assert refused_account(rights(scene), "ada", [Wanted.of("", frozenset({DATA}))], NOON) == [DATA]


def test_nobody_reads_after_their_last_day(scene: Governed) -> None:
    now = rights(scene)
    policies = now.authority.policies if now.authority else None
    assert policies is not None
    people = [
        each.model_copy(update={"until": date(2026, 11, 25)}) for each in policies.rules.principals
    ]
    ended = replace(policies, rules=policies.rules.model_copy(update={"principals": people}))
    assert now.of_key(ended, person("ada").keyid, NOON) is not None
    assert now.of_key(ended, person("ada").keyid, NOON + timedelta(days=1)) is None
    assert now.of_account(ended, "ada", NOON) is not None
    assert now.of_account(ended, "ada", NOON + timedelta(days=1)) is None


def test_rights_are_those_of_the_policies_in_force(scene: Governed) -> None:
    """A changed table opens nothing before its owners signed it, and closes what it closes here at
    once.
    """
    path = scene.story.root / "policies" / "policy.yaml"
    path.write_text(
        path.read_text().replace("desk_sft: [ml-lead, ben, ci]", "desk_sft: [cleo, ci]")
    )
    changed = load_policies(scene.story.root / "policies")
    scene.propose(changed)
    assert not may(scene, "cleo", DATA, own=True) and may(scene, "ada", DATA)
    assert not may(scene, "ada", DATA, own=True)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", changed.digest, "policy")
    assert may(scene, "cleo", DATA, own=True) and not may(scene, "ada", DATA)


def test_a_table_in_the_folder_alone_is_enforced(tmp_path: Path) -> None:
    scene = begun(tmp_path)
    path = scene.story.root / "policies" / "policy.yaml"
    path.write_text(path.read_text() + READERS)
    assert not may(scene, "cleo", DATA, own=True) and may(scene, "ada", DATA, own=True)


def test_a_key_that_nobody_names_reads_what_everybody_may(scene: Governed) -> None:
    stranger, everyone = person("stranger"), Content("dataset", "desk_eval")
    with pytest.raises(RefusedError, match="do not name this key"):
        read(scene, stranger, everyone)  # its statement would not count
    assert read(scene, stranger, everyone, development=True) is not None
    with pytest.raises(RefusedError, match="READ_NOT_ALLOWED"):
        read(scene, stranger, DATA, development=True)


# -- What bytes are the content of -----------------------------------------------------------------


def contents(scene: Governed) -> Contents:
    return Contents(state(scene.story.log).view)


def test_bytes_are_the_content_of_what_evidence_says(scene: Governed) -> None:
    story, known = scene.story, contents(scene)
    for step in ("ingested", "scanned"):
        assert known.of_digest(digest(f"{step} desk_sft")) == {DATA}
    assert known.of_digest(story.records["desk_sft"]) == {DATA}
    assert known.of_digest(story.models["sft"]) == {MODEL_CONTENT}
    assert known.of_digest(story.models["base"]) == {Content("model", "base")}
    assert known.of_stage("sft") == {MODEL_CONTENT}
    assert known.of_stage("base") == {Content("model", "base")}
    assert known.of_digest(digest("of nothing")) == frozenset()
    assert Wanted.of("", known.of_digest(digest("of nothing"))).contents == UNKNOWN


def test_a_stage_of_two_models_needs_the_right_for_both(scene: Governed) -> None:
    """Registered as another model, too: a checkpoint of one stage is both."""
    story = scene.story
    first = state(story.log).registration(MODEL, "1")
    second = first.predicate.model_copy(update={"model": "second", "version": "1"})
    evidence.record(story.log, signer(story.machine), "registration", first.subjects, second)
    both = contents(scene).of_digest(story.models["sft"])
    assert both == {MODEL_CONTENT, Content("model", "second")} == contents(scene).of_stage("sft")
    assert may(scene, "cleo", MODEL_CONTENT) and not may(scene, "cleo", *both)


def test_a_source_shared_by_two_datasets_needs_the_right_for_both(scene: Governed) -> None:
    story = scene.story
    statement = next(iter(state(story.log).view.by_subject(story.records["desk_sft"], "quality")))
    other = statement.predicate.model_copy(update={"dataset": "copied", "stage": "check_quality@c"})
    evidence.record(story.log, signer(story.machine), "quality", statement.subjects, other)
    assert contents(scene).of_digest(story.records["desk_sft"]) == {
        DATA,
        Content("dataset", "copied"),
    }


def test_stored_answers_are_content_of_the_model_and_of_the_suites_dataset(scene: Governed) -> None:
    story = scene.story
    evaluations = state(story.log).view.all("evaluate")
    first = next(one for one in evaluations if one.predicate.model == story.models["sft"])
    read = [Artifact(role="records", name="x", sha256=story.records["desk_eval"])]
    said = first.predicate.model_copy(update={"inputs": read})
    made = [Artifact(role=role, name=role, sha256=digest(role)) for role in ("answers", "scores")]
    evidence.record(story.log, signer(story.machine), "evaluate", made, said)
    known = contents(scene)
    assert known.of_digest(digest("scores")) == {MODEL_CONTENT}
    assert known.of_digest(digest("answers")) == {MODEL_CONTENT, Content("dataset", "desk_eval")}


def test_a_registration_by_a_key_without_the_right_renames_nothing(scene: Governed) -> None:
    story = scene.story
    first = state(story.log).registration(MODEL, "1")
    base = first.predicate.model_copy(
        update={"model": "opened", "stage": "base", "model_digest": story.models["base"]}
    )
    evidence.record(story.log, person("eve"), "registration", first.subjects, base)
    assert contents(scene).of_digest(story.models["base"]) == {Content("model", "base")}


# -- The statement ---------------------------------------------------------------------------------


def test_a_read_says_who_read_what_and_what_for(scene: Governed) -> None:
    entry = read(scene, "ada", DATA, purpose=" false\nalarms ", sha256=digest("x"))
    assert entry is not None
    (said,) = state(scene.story.log).evidence.all(Read)
    assert (said.index, said.predicate.reader, said.predicate.command) == (
        entry.index,
        "ada",
        "look",
    )
    assert [(one.role, one.name, one.sha256) for one in said.subjects] == [
        ("dataset", "desk_sft", digest("x"))
    ]
    assert said.predicate.purpose == "false⟨U+000A⟩alarms"
    assert rights(scene).authority and read_authority(scene.story.log).counts(said)


def test_the_same_read_is_recorded_once_a_day(scene: Governed) -> None:
    first = read(scene, "ada", DATA)
    again = read(scene, "ada", DATA, at=NOON + timedelta(hours=11))
    assert first and again and first.index == again.index
    for how in (
        {"at": NOON + timedelta(hours=12)},
        {"purpose": "another"},
        {"sha256": digest("y")},
    ):
        entry = read(scene, "ada", DATA, **how)
        assert entry and entry.index > first.index
    other = read(scene, "ben", DATA)
    assert other and other.index == scene.story.log.size() - 1
    assert len(state(scene.story.log).evidence.all(Read)) == 5


def test_a_log_that_takes_no_entry_gives_nothing_out(scene: Governed) -> None:
    def closed() -> Any:
        raise StorageError("read-only")

    reading = Reading(
        person("ada"), False, "look", "", Requester(name="x", authenticated=False), NOON
    )
    with pytest.raises(StorageError):
        admit(rights(scene), reading, [Wanted.of("", frozenset({DATA}))], closed)


def test_policy_can_ask_what_for(tmp_path: Path) -> None:
    asking = READERS.replace("readers:\n", "readers:\n  purpose: required\n")
    scene = begun(tmp_path, RULES + asking)
    for purpose in ("", "  "):
        with pytest.raises(ConfigError, match="what the content is read for"):
            read(scene, "ada", DATA, purpose=purpose)
    with pytest.raises(ConfigError, match="at most 300"):
        read(scene, "ada", DATA, purpose="x" * 301)
    assert read(scene, "ada", DATA, purpose="audit of June") is not None


@pytest.mark.parametrize(
    ("key", "fields", "counts", "accepted"),
    [
        ("ada", {"reader": "ada"}, True, True),
        ("ada", {"reader": "ben"}, False, False),  # nobody says it of somebody else
        ("ada", {"reader": None}, False, False),
        ("ada", {"reader": "ada", "account": "ada"}, False, False),
        ("ci", {"reader": "ci"}, True, True),
        ("ci", {"reader": "ada"}, False, False),
        ("ci", {"reader": "ada", "account": "ada"}, True, False),  # the server, on the server only
    ],
)
def test_whose_statement_about_a_read_counts(
    key: str, fields: dict[str, Any], counts: bool, accepted: bool, scene: Governed
) -> None:
    log = scene.story.log
    predicate = Read(
        command="look", policy=scene.story.policies.digest, run=run_by("x", NOON),
        log=log.entry(0).leaf_hash.hex(), **fields,
    )  # fmt: skip
    said = Evidence(log.size(), "read", (), predicate, person(key).keyid, False, "")
    authority = read_authority(log)
    assert authority.counts(said) is counts
    assert (refusal(said, authority) is None) is accepted


def test_a_read_holds_nothing_but_names_and_digests() -> None:
    with pytest.raises(ValidationError):
        Read.model_validate({"reader": "ada", "command": "look", "text": "a record"})


def test_no_read_is_in_a_models_index(scene: Governed) -> None:
    """Any account can cause many, and a bundle goes to other people."""
    log = scene.story.log
    before = ModelEntries().of(log, MODEL, log.size())
    entry = read(scene, "cleo", MODEL_CONTENT, sha256=scene.story.models["sft"])
    assert entry is not None and entry.index == log.size() - 1
    assert ModelEntries().of(log, MODEL, log.size()) == before


def test_the_history_lists_the_reads_of_a_model_and_of_its_data(scene: Governed) -> None:
    read(scene, "cleo", MODEL_CONTENT, purpose="serving")
    read(scene, "ada", DATA)
    read(scene, "eve", Content("dataset", "unrelated"))
    log = scene.story.log
    forged = Read(
        reader="ada", command="look", policy=scene.story.policies.digest, run=run_by("x", NOON)
    )
    subject = Artifact(role="model", name=MODEL, sha256=digest("x"))
    evidence.record(log, person("ben"), "read", [subject], forged)
    events = [each for each in retrospect.history(state(log), MODEL) if "read of" in each.what]
    assert [(each.what, each.by, each.counts) for each in events] == [
        ("read of model support-desk", "cleo", True),
        ("read of dataset desk_sft", "ada", True),
        ("read of model support-desk", "ben", False),
    ]
    assert events[0].detail == "serving"


PAGE = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")


def test_the_table_of_the_page_is_one(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    scene = empty(tmp_path, RULES + shown)
    table = scene.story.policies.rules.readers
    assert table is not None and table.purpose == "required"
    assert may(scene, "cleo", MODEL_CONTENT, purpose="x") and may(scene, "ben", DATA, purpose="x")
    assert not may(scene, "eve", Content("model", "unnamed"), purpose="x")
