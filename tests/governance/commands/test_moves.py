"""promote, rollback, retire, incident, live, history, explain: the commands, on a real log and the
registry's rows.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from governance.attest.findings import finding
from governance.base.errors import ConfigError, RefusedError
from governance.base.time import instant
from governance.commands import retrospect, sources
from governance.commands.status import lines
from governance.release import promotion
from governance.release.artifacts import in_artifact_root, verify_files
from governance.report.status import status
from tests.governance.commands.desk import Desk, desk_of
from tests.governance.governed import RULES, Governed, governed
from tests.governance.story import MODEL

Prepare = Callable[[str], Desk]


@pytest.fixture(scope="module")
def told() -> dict[str, Governed]:
    """Rules to a log under them with one registered version; read only."""
    return {}


@pytest.fixture
def prepare(
    told: dict[str, Governed], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Prepare:  # fmt: skip
    """A desk under these rules, with one registered version."""

    def made(rules: str) -> Desk:
        if rules not in told:
            told[rules] = governed(tmp_path_factory.mktemp("governed"), rules)
        return desk_of(told[rules], tmp_path, monkeypatch)

    return made


@pytest.fixture
def desk(prepare: Prepare) -> Desk:
    return prepare(RULES)


def test_a_version_is_promoted_and_the_registry_says_so(desk: Desk) -> None:
    desk.approved("1")
    code, told = desk.run("promote", "support-desk/1", who="cleo")
    assert code == 0 and told.startswith("support-desk/1 is now champion (promote, ")
    assert desk.rows() == [("champion", 1)] and desk.scene.held() == "1"


def test_a_dry_run_says_exactly_whose_signature_is_missing_and_writes_nothing(desk: Desk) -> None:
    frozen = desk.scene.freeze()
    desk.scene.approve("ada", "ml-lead", frozen)
    size = desk.scene.story.log.size()
    code, told = desk.run("promote", "support-desk/1", "--dry-run", who="cleo")
    assert code == 4
    assert "APPROVAL_MISSING" in told and "REQUEST_MISSING" not in told
    assert "missing   the packet: 1 of ben as risk\n" in told
    assert "request   would be signed by cleo as release-manager" in told
    found = desk.json("promote", "support-desk/1", "--dry-run")
    assert [(one["what"], one["count"], one["who"]) for one in found["missing_signatures"]] == [
        ("the request", 1, ["cleo as release-manager"]),
        ("the packet", 1, ["ben as risk", "cleo as product"]),
    ]
    assert {one["code"] for one in found["findings"]} == {"REQUEST_MISSING", "APPROVAL_MISSING"}
    desk.scene.approve("ben", "risk", frozen)
    assert desk.run("promote", "support-desk/1", "--dry-run", who="cleo")[0] == 0
    assert desk.scene.story.log.size() == size + 1 and desk.rows() == []


def test_a_refused_request_stays_open_until_the_signatures_are_there(desk: Desk) -> None:
    frozen = desk.scene.freeze()
    code, told = desk.run("promote", "support-desk/1", "--reason", " ", who="cleo")
    assert code == 2 and "without a reason" in told
    code, told = desk.run("promote", "support-desk/1", who="cleo")
    assert (
        code == 4
        and "APPROVAL_MISSING" in told
        and "missing   the packet: 2 of ada as ml-lead, ben as risk" in told
    )
    desk.scene.approve("ada", "ml-lead", frozen)
    desk.scene.approve("ben", "risk", frozen)
    code, told = desk.run("promote", "support-desk/1")  # nobody signs again
    assert code == 0, told
    assert len(list(promotion.state(desk.scene.story.log).evidence.all("request"))) == 1
    size = desk.scene.story.log.size()
    for who in ("", "cleo"):  # and once only
        code, told = desk.run("promote", "support-desk/1", who=who)
        assert code == 0 and "support-desk/1 is already champion, since" in told
    assert desk.scene.story.log.size() == size
    code, told = desk.run("promote", "support-desk/1", "--to", "champoin", who="cleo")
    assert code == 2 and "did you mean 'champion'?" in told and desk.scene.story.log.size() == size


def test_without_a_packet_nothing_is_signed(desk: Desk) -> None:
    code, told = desk.run("promote", "support-desk/1", who="cleo")
    assert code == 4 and "no packet yet" in told and "countersign freeze support-desk/1" in told
    assert not list(promotion.state(desk.scene.story.log).evidence.all("request"))


def test_nobody_else_may_ask(desk: Desk) -> None:
    desk.approved("1")
    assert (
        "note: dora (engineer) may not say this"
        in desk.run("promote", "support-desk/1", "--dry-run", who="dora")[1]
    )
    for who, words in {
        "dora": "may not say this",
        "mallory": "do not name this key",
        "ci": "service ci",
    }.items():
        code, told = desk.run("promote", "support-desk/1", who=who)
        assert code == 4 and words in told
    code, told = desk.run("promote", "support-desk/1")
    assert code == 2 and "no key to sign" in told and "cleo as release-manager" in told
    assert desk.rows() == []


MISTYPED = [
    ("promote", "suport-desk/1", "--dry-run"),
    ("rollback", "suport-desk", "--reason", "x", "--dry-run"),
    ("live", "suport-desk"),
    ("history", "suport-desk"),
    ("review", "suport-desk/1"),
    ("verify-model", ".", "--against", "suport-desk@champion"),
]


@pytest.mark.parametrize("words", MISTYPED, ids=lambda words: words[0])
def test_a_model_mistyped_is_told_what_was_meant(words: tuple[str, ...], desk: Desk) -> None:
    code, told = desk.run(*words)
    assert code == 3 and "did you mean 'support-desk'?" in told and "one of: support-desk/1" in told


@pytest.mark.parametrize(
    "name", ["support-desk", "support-desk@champion", "support-desk/latest", "x/1"]
)
def test_only_a_registered_version_by_number(name: str, desk: Desk) -> None:
    assert desk.run("promote", name, "--dry-run")[0] in (2, 3)


def test_a_registry_in_another_database_is_no_place_to_promote(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.approved("1")
    monkeypatch.setenv("COUNTERSIGN_REGISTRY", "sqlite:////tmp/elsewhere.db")
    code, told = desk.run("promote", "support-desk/1", who="cleo")
    assert code == ConfigError.exit_code and "do not stand in one database" in told


def test_an_alias_moved_behind_the_log_is_found_at_the_next_promotion(desk: Desk) -> None:
    desk.promoted("1")
    desk.another()
    desk.approved("2")
    with sqlite3.connect(desk.scene.story.machine.state / "countersign.db") as database:
        database.execute("UPDATE registered_model_aliases SET version = 2")
    code, told = desk.run("promote", "support-desk/2", who="cleo")
    assert code == 7 and "as the log says" in told
    assert desk.scene.held() == "1"


def test_whoever_asks_what_is_live_is_told_where_the_registry_has_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.promoted("1")
    assert desk.run("live", MODEL)[0] == 0
    moved = finding(
        "REGISTRY_ALIAS_MOVED",
        f"{MODEL}@champion",
        "moved",
        expected="version 1",
        found="version 2",
    )
    other = finding(
        "REGISTRY_ALIAS_MOVED", "another@champion", "moved", expected="version 1", found="version 2"
    )
    for module in (sources, retrospect):
        monkeypatch.setattr(module, "differing", lambda *_: [moved, other])
    code, told = desk.run("live", MODEL)
    assert (
        code == 5
        and "FAULT        support-desk@champion: the log says version 1, the registry says version 2"
        in told
    )
    assert "another" not in told
    assert desk.run("live", MODEL, "--at", instant(desk.scene.now))[0] == 0


def test_a_rollback_takes_two_people_and_goes_to_the_version_before(desk: Desk) -> None:
    desk.promoted("1")
    desk.another()
    desk.promoted("2")
    code, told = desk.run(
        "rollback", MODEL, "--reason", "answers are wrong", "--dry-run", who="cleo"
    )
    assert code == 4 and "ROLLBACK support-desk/1 as champion" in told
    assert "missing   the rollback: 1 of ada, ben" in told
    assert "countersign approve promotion DIGEST" in told and "000000" not in told
    code, told = desk.run("rollback", MODEL, "--reason", "answers are wrong", who="cleo")
    assert code == 4 and "countersign approve" in told
    (asked,) = promotion.state(desk.scene.story.log).timeline.open_requests(MODEL)
    desk.scene.approve("ben", "risk", asked.digest, "promotion")
    code, told = desk.run("rollback", MODEL, "--reason", "answers are wrong")
    assert code == 0 and told.startswith(
        "support-desk/1 is now champion, replacing version 2 (rollback"
    )
    assert desk.rows() == [("champion", 1)]
    code, told = desk.run("rollback", MODEL, "--reason", "further", who="cleo")
    assert code == 4 and "no version to go back to" in told  # not forward to 2 again


def test_one_person_breaks_the_glass_and_a_second_is_due(desk: Desk) -> None:
    desk.promoted("1")
    desk.another()
    desk.promoted("2")
    found = desk.json("rollback", MODEL, "--reason", "it leaks", "--break-glass", who="cleo")
    assert found["written"] and found["version"] == "1" and found["second_signature_by"]
    assert desk.rows() == [("champion", 1)] and "needs approval" not in waits(desk)
    desk.scene.story.minutes += 73 * 60
    code, told = desk.run("live", MODEL)
    assert code == 0 and "OVERDUE: a second signature since" in told


def test_glass_that_policy_does_not_let_break(prepare: Prepare) -> None:
    desk = prepare(RULES.replace("break_glass: [release-manager]", "break_glass: []"))
    desk.promoted("1")
    desk.another()
    desk.promoted("2")
    code, told = desk.run("rollback", MODEL, "--reason", "it leaks", "--break-glass", who="cleo")
    assert code == RefusedError.exit_code and "allows nobody to roll back" in told
    assert desk.rows() == [("champion", 2)]


def test_a_rollback_passes_over_a_version_with_an_incident(desk: Desk) -> None:
    desk.promoted("1")
    desk.another()
    desk.promoted("2")
    desk.run(
        "incident",
        "open",
        "support-desk/1",
        "--reason",
        "it insults people",
        "--role",
        "risk",
        who="ben",
    )
    code, told = desk.run("rollback", MODEL, "--reason", "back", "--break-glass", who="cleo")
    assert code == 4 and "version 1: INCIDENT_OPEN" in told
    assert desk.rows() == [("champion", 2)]


@pytest.mark.slow
def test_what_a_rollback_goes_back_through(desk: Desk) -> None:
    desk.promoted("1")
    desk.another()
    desk.promoted("2")
    now = promotion.state(desk.scene.story.log)
    assert [
        one.predicate.version for one in now.timeline.released_before(MODEL, "champion", "2")
    ] == ["1"]
    desk.run("rollback", MODEL, "--reason", "x", "--break-glass", who="cleo")
    desk.approved("2")
    desk.run("promote", "support-desk/2", who="cleo")
    now = promotion.state(desk.scene.story.log)
    assert [
        one.predicate.version for one in now.timeline.released_before(MODEL, "champion", "2")
    ] == ["1"]


def test_a_retired_version_serves_nobody(desk: Desk) -> None:
    desk.promoted("1")
    code, told = desk.run("retire", "support-desk/1", "--reason", "end of life", who="cleo")
    assert code == 4 and "missing   the retire: 1 of" in told
    (asked,) = promotion.state(desk.scene.story.log).timeline.open_requests(MODEL)
    desk.scene.approve("ada", "ml-lead", asked.digest, "promotion")
    code, told = desk.run("retire", "support-desk/1", "--reason", "end of life")
    assert code == 0 and "is retired" in told
    assert desk.rows() == [] and desk.scene.held() is None
    assert "champion" not in desk.run("live", MODEL)[1]
    assert "retire champion 1" in desk.run("history", MODEL)[1]


def test_only_a_retired_version_loses_its_bytes(desk: Desk) -> None:
    story, run = desk.scene.story, "a" * 32
    story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    story.register("sft", "2", run)
    kept = story.machine.artifact_root / run / "artifacts"
    shutil.copytree(story.root / "models/sft/model", kept / "model")
    (kept / "report").mkdir()
    code, told = desk.run("retire", "support-desk/2", "--delete-files")
    assert code == 4 and "was not retired" in told
    desk.promoted("2")
    desk.run("retire", "support-desk/2", "--reason", "end of life", who="cleo")
    (asked,) = promotion.state(story.log).timeline.open_requests(MODEL)
    desk.scene.approve("ada", "ml-lead", asked.digest, "promotion")
    assert desk.run("retire", "support-desk/2", "--reason", "end of life")[0] == 0
    assert (kept / "model").is_dir(), "a decision alone deletes nothing"
    assert desk.json("retire", "support-desk/2", "--delete-files", "--dry-run")["deleted"] == [
        str(kept / "model")
    ]
    assert desk.run("retire", "support-desk/2", "--delete-files")[0] == 0
    assert [path.name for path in kept.iterdir()] == ["report"]
    found = verify_files(
        story.root, story.view.all(), in_artifact_root(story.machine.artifact_root)
    )
    assert "support-desk/2" in found.out_of_reach, "that its files are gone is no difference"
    assert not [one for one in found.mismatches if "support-desk/2" in one.path]


def test_live_at_a_time_and_history(desk: Desk) -> None:
    desk.promoted("1")
    between = desk.scene.story.now()
    desk.another()
    desk.promoted("2")

    def champion(*words: str) -> str | None:
        found = desk.json("live", MODEL, *words)["live"]
        return next((one["version"] for one in found if one["alias"] == "champion"), None)

    assert champion() == "2"
    assert champion("--at", instant(between)) == "1"
    assert champion("--at", instant(between - timedelta(days=1))) is None
    events = desk.json("history", MODEL)["events"]
    moves = [
        (one["what"], one["version"], one["result"]) for one in events if "champion" in one["what"]
    ]
    assert ("promote champion", "2", "allowed") in moves
    assert [one["entry"] for one in events] == sorted(one["entry"] for one in events)
    assert sum(one["what"].startswith("approve packet") for one in events) == 4
    assert (
        desk.run("history", "nothing")[0] == 3 and desk.run("live", MODEL, "--at", "noon")[0] == 2
    )


@pytest.mark.slow
def test_every_decision_comes_out_the_same_when_it_is_made_again(desk: Desk) -> None:
    desk.scene.freeze()
    desk.run("promote", "support-desk/1", who="cleo")  # refused
    desk.promoted("1")
    desk.another()
    desk.promoted("2")
    desk.run("rollback", MODEL, "--reason", "x", "--break-glass", who="cleo")
    now = promotion.state(desk.scene.story.log)
    decisions = [item for item in now.view.all("promotion") if item.predicate.asked is not None]
    assert {(one.predicate.action, one.predicate.allowed) for one in decisions} == {
        ("promote", False), ("promote", True), ("rollback", True)
    }  # fmt: skip
    for item in decisions:
        code, told = desk.run("explain", str(item.index))
        assert code == 0 and "SAME RESULT" in told, told
    assert desk.run("explain", "support-desk/1")[0] == 0
    assert desk.run("explain", "0")[0] == 3 and desk.run("explain", "9999")[0] == 3


def test_a_decision_that_was_not_what_the_evidence_says_is_found(desk: Desk) -> None:
    """Who holds the service's key writes "allowed" without a reason."""
    from governance.attest.predicates import Artifact, Promotion
    from governance.log import evidence
    from governance.machine.machine import signer

    desk.scene.freeze()
    desk.run("promote", "support-desk/1", who="cleo")
    log = desk.scene.story.log
    said: Promotion = list(promotion.state(log).view.all("promotion"))[-1].predicate
    forged = said.model_copy(update={"allowed": True, "findings": []})
    what = Artifact(role="model", name=MODEL, sha256=said.model_digest)
    entry = evidence.record(
        log, signer(desk.scene.story.machine), "promotion", [what], forged
    ).index
    code, told = desk.run("explain", str(entry))
    assert code == 5 and "logged as allowed, comes out refused" in told
    assert "finding found only now: APPROVAL_MISSING" in told


@pytest.mark.slow
def test_a_waiver_that_ended_is_told_of_a_live_model(prepare: Prepare) -> None:
    desk = prepare(RULES + "commits: []\n")
    desk.scene.waive("COMMIT_NOT_PERMITTED", "model support-desk", days=7)
    desk.promoted("1")
    assert "EXPIRED" not in desk.run("live", MODEL)[1]
    desk.scene.story.minutes += 8 * 24 * 60
    assert (
        "EXPIRED: the waiver of COMMIT_NOT_PERMITTED model support-desk ended"
        in desk.run("live", MODEL)[1]
    )
    desk.scene.waive("COMMIT_NOT_PERMITTED", "model support-desk", days=7)
    assert "EXPIRED" not in desk.run("live", MODEL)[1]


def waits(desk: Desk) -> str:
    story = desk.scene.story
    return "\n".join(lines(status(story.root, story.machine, story.now())))


@pytest.mark.slow
def test_status_says_what_serves_and_what_is_asked_for(desk: Desk) -> None:
    desk.scene.freeze()
    desk.run("promote", "support-desk/1", who="cleo")
    assert "cleo asks to promote support-desk/1 as champion, until" in waits(desk)
    desk.promoted("1")
    assert "asks to promote" not in waits(desk)
    story = desk.scene.story
    found = status(story.root, story.machine, story.now())
    assert [
        (one.alias, one.version, one.asked_by) for one in found.live if one.alias == "champion"
    ] == [("champion", "1", "cleo")]
    assert found.versions[-1].aliases == ["candidate", "champion"]
    desk.another()
    desk.promoted("2")
    desk.run("rollback", MODEL, "--reason", "it leaks", "--break-glass", who="cleo")
    assert "a second signature is due" not in waits(desk)
    desk.scene.story.minutes += 73 * 60
    assert "support-desk@champion (support-desk/1): a second signature is due since" in waits(desk)
    desk.run(
        "incident", "open", "support-desk/1", "--reason", "it insults", "--role", "risk", who="ben"
    )
    assert "support-desk@champion (support-desk/1): incident open: it insults" in waits(desk)


def test_status_flags_a_live_model_whose_waiver_ended(prepare: Prepare) -> None:
    desk = prepare(RULES + "commits: []\n")
    desk.scene.waive("COMMIT_NOT_PERMITTED", "model support-desk", days=7)
    desk.promoted("1")
    assert "waiver" not in waits(desk)
    desk.scene.story.minutes += 8 * 24 * 60
    assert "support-desk@champion (support-desk/1): the waiver of COMMIT_NOT_PERMITTED" in waits(
        desk
    )


def test_an_incident_is_opened_and_closed_by_whoever_is_enrolled(desk: Desk) -> None:
    desk.approved("1")
    found = desk.json(
        "incident", "open", "support-desk/1", "--reason", "x", "--role", "risk", who="ben"
    )
    assert found["principal"] == "ben" and isinstance(found["entry"], int)
    code, told = desk.run("promote", "support-desk/1", who="cleo")
    assert code == 4 and "INCIDENT_OPEN" in told
    close = ("incident", "close", "support-desk/1", "--reason", "x", "--role", "risk")
    close = (*close, "--effective", "300 answers: none")
    assert desk.run(*close, "--dry-run", who="ben")[0] == 0
    assert desk.run("promote", "support-desk/1", "--dry-run", who="cleo")[0] == 4
    desk.run(*close, who="ben")
    assert "no incident is open" in desk.run(*close, who="ben")[1]
    code, told = desk.run(
        "incident", "open", "support-desk/1", "--reason", "f\udcfcr", "--role", "risk", who="ben"
    )
    assert code == 2 and "the reason is not UTF-8" in told
    assert desk.run("promote", "support-desk/1", who="cleo")[0] == 0
    told = desk.run(
        "incident", "open", "support-desk/1", "--reason", "y", "--role", "risk", who="ben"
    )[1]
    assert "next: countersign rollback support-desk --alias champion" in told


def test_none_of_it_needs_mlflow_or_torch() -> None:
    """An auditor's laptop has governance's dependencies only."""
    names = "moves approving retrospect sections control pending rights verify status"
    code = (
        "import importlib, sys\n[importlib.import_module('governance.commands.' + name) for name"
        f" in {names.split()!r}]\nprint(sorted({{'torch', 'mlflow', 'transformers', 'pandas',"
        " 'sqlalchemy', 'dvc', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stdout + done.stderr
