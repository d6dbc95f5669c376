"""A log on a server: read from a copy, appended to over HTTP; a server that lies is refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from governance.attest.canonical import dumps
from governance.attest.envelope import sign_payload
from governance.attest.keys import Signer, public_key
from governance.attest.predicates import Artifact, CheckpointKey
from governance.base.errors import (
    ConfigError,
    ConflictError,
    CountersignError,
    InputError,
    OfflineError,
    RefusedError,
    StorageError,
    VerificationError,
)
from governance.base.progress import Progress
from governance.history import verify
from governance.log import api, evidence, http_client, merkle
from governance.log.checkpoint import Checkpoint
from governance.log.http_client import StatusError
from governance.log.mirror import MirrorLog, Server
from governance.log.port import Log
from governance.log.routes import PREFIX
from governance.log.sqlite import SqliteLog
from governance.machine.machine import log_of, machine, own_checkpoint_key, read_log
from governance.machine.signers import private_signer
from tests.conftest import ROOT
from tests.governance.examples import PROJECT, A, B, Scene, artifact, gate, ingest, scene
from tests.governance.governed import Governed, authorize, empty, keypair
from tests.governance.keys import checkpoint_of, stranger
from tests.governance.served import ACCOUNT, PASSWORD, Served, serving
from tests.ports import free_port
from tests.project import wait_for


@pytest.fixture
def there(tmp_path: Path) -> Scene:
    """The server's own machine."""
    place = scene(tmp_path / "server")
    for n in range(5):
        place.record("ingest", ingest(f"ingest@d{n}"), artifact("records"), artifact("report", B))
    return place


@pytest.fixture
def served(there: Scene) -> Iterator[Served]:
    with serving(there.log) as found:
        yield found


def client(served: Served, home: Path, **environ: str) -> MirrorLog:
    log = log_of(
        machine(
            PROJECT,
            {
                "COUNTERSIGN_HOME": str(home),
                "COUNTERSIGN_LOG": served.url,
                "COUNTERSIGN_USER": ACCOUNT,
                "COUNTERSIGN_PASSWORD": PASSWORD,
                **environ,
            },
        )
    )
    assert isinstance(log, MirrorLog)
    return log


def say(log: Log, name: str, **options: Any) -> int:
    return evidence.record(
        log, stranger(), "ingest", [artifact("records")], ingest(name), **options
    ).index


def test_a_client_reads_what_the_server_has_and_verifies_all_of_it(
    served: Served, there: Scene, tmp_path: Path
) -> None:
    mine = client(served, tmp_path / "home")
    assert list(mine.entries()) == list(there.log.entries()) and mine.head() == there.log.head()
    assert mine.by_subject(B) == there.log.by_subject(B) and mine.derived(
        0, 99
    ) == there.log.derived(0, 99)
    report = verify.verify_log(
        mine, PROJECT, {}, verify.TrustAnchors(checkpoint_key=own_checkpoint_key(there.machine))
    )
    assert report.ok and report.entries == 6
    there.record("gate", gate(True))
    assert mine.size() == 6  # one reading, one state
    mine.refresh()
    assert mine.size() == 7 == client(served, tmp_path / "home").size()


def test_an_append_is_verified_and_its_receipt_is_kept(
    served: Served, there: Scene, tmp_path: Path
) -> None:
    mine = client(served, tmp_path / "home")
    assert say(mine, "ingest@mine") == 6 and there.log.size() == 7
    assert say(mine, "ingest@mine") == 6 and there.log.size() == 7
    (path,) = mine.receipts.iterdir()
    kept = json.loads(path.read_text())
    assert kept.pop("log") == served.url and len(kept.pop("envelope")) > 100
    receipt = api.Receipt.model_validate(kept)
    state = checkpoint_of(receipt.checkpoint, evidence.origin(there.log).checkpoint_key)
    steps = [bytes.fromhex(step) for step in receipt.proof]
    leaf = bytes.fromhex(receipt.leaf_hash)
    merkle.verify_inclusion(leaf, receipt.index, state.size, steps, state.root)
    assert there.log.entry(6).leaf_hash.hex() == receipt.leaf_hash == path.stem
    with pytest.raises(ConflictError, match="the log has 7 entries"):
        say(mine, "ingest@late", expected_size=6)
    assert say(mine, "ingest@later", expected_size=7) == 7


def test_two_clients_at_once_lose_and_double_nothing(
    served: Served, there: Scene, tmp_path: Path
) -> None:
    """Two machines, and two processes of one machine, which share a copy."""
    said: list[int] = []
    failed: list[Exception] = []

    def work(home: str, name: str) -> None:
        try:
            mine = client(served, tmp_path / home)
            said.extend(say(mine, f"ingest@{name}-{n}") for n in range(6))
        except Exception as error:
            failed.append(error)

    threads = [
        threading.Thread(target=work, args=pair)
        for pair in (("one", "a"), ("one", "b"), ("two", "c"), ("two", "d"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and sorted(said) == list(range(6, 30))
    for home in ("one", "two"):
        assert list(client(served, tmp_path / home).entries()) == list(there.log.entries())


def test_a_copy_that_another_process_brought_further_meanwhile_is_no_shorter_log(
    served: Served, there: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = client(served, tmp_path / "home")
    assert mine.size() == 6
    ask, asked_for = Server.ask, []

    def slow(self: Server, method: str, path: str, body: bytes | None = None) -> bytes:
        """Between our question and what we do with the answer, the log grows, and another process
        follows it.
        """
        answer = ask(self, method, path, body)
        if path == "checkpoint" and not asked_for:
            asked_for.append(path)
            there.record("gate", gate(True))
            there.record("gate", gate(False))
            client(served, tmp_path / "home").refresh()
        return answer

    there.record("ingest", ingest("ingest@first"))
    monkeypatch.setattr(Server, "ask", slow)
    mine.refresh()
    assert asked_for and mine.head() == there.log.head() and mine.size() == 9


def test_offline_the_copy_is_read_and_nothing_is_appended(
    there: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(there.log) as served:
        assert client(served, tmp_path / "home").size() == 6
    mine = client(served, tmp_path / "home")
    assert (
        mine.size() == 6 and len(list(mine.entries())) == 6 and "cannot be reached" in mine.offline
    )
    told = "warning: this machine's copy of the log is read: the log's server cannot be reached"
    assert capsys.readouterr().err.count(told) == 1
    with pytest.raises(OfflineError, match="cannot be reached"):
        say(mine, "ingest@mine")
    with pytest.raises(OfflineError, match="cannot be reached"):
        client(served, tmp_path / "another").size()
    assert read_log(_machine(served, tmp_path / "home")).size() == 6


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_server_that_takes_long_is_told_on_a_terminal_only() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    with Progress(terminal).waiting("waiting for it", after=0):
        wait_for(lambda: "waiting for it" in terminal.getvalue(), 300, "it is told")
    for quiet, after in ((terminal, 3600.0), (pipe, 0.0)):
        with Progress(quiet).waiting("for something else", after):
            pass
        assert "something else" not in quiet.getvalue()


def _machine(served: Served, home: Path) -> Any:
    return machine(PROJECT, {"COUNTERSIGN_HOME": str(home), "COUNTERSIGN_LOG": served.url})


# Servers that lie
class Lying(SqliteLog):
    """Shows one entry otherwise than it is."""

    wrong = 3

    def page(self, start: int, end: int) -> Any:
        found, kept = super().page(start, end)
        other = sign_payload(
            dumps(evidence.build_statement("gate", [artifact("gate")], gate(True))), stranger()
        )
        at = self.wrong
        swapped = [
            entry if entry.index != at else type(entry)(at, other, *_rest(entry)) for entry in found
        ]
        return swapped, kept


def _rest(entry: Any) -> tuple[Any, ...]:
    return entry.leaf_hash, entry.identity, entry.scope, entry.kind


class Stale(SqliteLog):
    """Shows an older checkpoint over the entries it has."""

    note = ""

    def checkpoint(self) -> str:
        return self.note


class Short(SqliteLog):
    """Does not give the last entries."""

    def page(self, start: int, end: int) -> Any:
        return super().page(start, min(end, 4))


def test_an_altered_entry_is_refused(served: Served, there: Scene, tmp_path: Path) -> None:
    served.log = Lying(there.log.path, PROJECT)
    with pytest.raises(VerificationError, match="not those of the checkpoint"):
        client(served, tmp_path / "home").size()
    served.log = there.log
    assert client(served, tmp_path / "home").size() == 6  # nothing of the lie was kept


def test_missing_entries_are_refused(served: Served, there: Scene, tmp_path: Path) -> None:
    served.log = Short(there.log.path, PROJECT)
    with pytest.raises(VerificationError, match="the server does not give entry 4"):
        client(served, tmp_path / "home").size()


def test_a_shorter_log_is_refused_and_both_checkpoints_are_named(
    served: Served, there: Scene, tmp_path: Path
) -> None:
    shutil.copy(there.log.path, tmp_path / "before.db")
    before = there.log.checkpoint()
    there.record("gate", gate(True))
    mine = client(served, tmp_path / "home")
    assert mine.size() == 7
    served.log = SqliteLog(tmp_path / "before.db", PROJECT)
    with pytest.raises(VerificationError, match="shorter than it was") as error:
        client(served, tmp_path / "home").size()
    assert before in str(error.value) and there.log.checkpoint() in str(error.value)
    stale = Stale(there.log.path, PROJECT)
    stale.note = before
    served.log = stale
    with pytest.raises(VerificationError, match="shorter than it was"):
        client(served, tmp_path / "home").size()
    served.log = SqliteLog(tmp_path / "empty.db", PROJECT)
    with pytest.raises(VerificationError, match="shorter than it was"):
        client(served, tmp_path / "home").size()
    served.log = there.log
    assert client(served, tmp_path / "home").size() == 7


@pytest.mark.parametrize("more", [0, 1, 4], ids=["as long", "longer", "much longer"])
def test_a_forked_log_is_refused_and_both_checkpoints_are_named(
    served: Served, there: Scene, tmp_path: Path, more: int
) -> None:
    shutil.copytree(there.machine.home, tmp_path / "fork")
    there.record("gate", gate(True), artifact("gate", A))
    assert client(served, tmp_path / "home").size() == 7
    fork = scene(tmp_path / "fork")
    for n in range(more + 1):
        fork.record("gate", gate(n % 2 == 0), artifact("gate", B))
    served.log = fork.log
    with pytest.raises(
        VerificationError, match=r"was rewritten|does not continue the log seen"
    ) as error:
        client(served, tmp_path / "home").size()
    assert there.log.checkpoint() in str(error.value) and fork.log.checkpoint() in str(error.value)


def test_a_log_of_another_origin_is_refused(served: Served, there: Scene, tmp_path: Path) -> None:
    assert client(served, tmp_path / "home").size() == 6
    other = scene(tmp_path / "other")
    for n in range(9):
        other.record("ingest", ingest(f"ingest@x{n}"))
    served.log = other.log
    with pytest.raises(VerificationError, match="another log than before"):
        client(served, tmp_path / "home").size()
    pin = there.log.entry(0).leaf_hash.hex()
    with pytest.raises(VerificationError, match="pinned origin"):
        client(served, tmp_path / "new", COUNTERSIGN_ORIGIN=pin).size()
    served.log = there.log
    assert client(served, tmp_path / "new", COUNTERSIGN_ORIGIN=pin).size() == 6
    with pytest.raises(VerificationError, match="pinned origin"):
        client(served, tmp_path / "home", COUNTERSIGN_ORIGIN="f" * 64).size()


def test_a_checkpoint_by_another_key_is_refused(
    served: Served, there: Scene, tmp_path: Path
) -> None:
    from governance.log.checkpoint import Checkpoint, origin_of, sign_checkpoint

    leaves = [entry.leaf_hash for entry in there.log.entries()]
    state = Checkpoint(origin_of(PROJECT, leaves[0]), 6, merkle.root_of(leaves))
    forged = Stale(there.log.path, PROJECT)
    forged.note = sign_checkpoint(state, stranger())
    served.log = forged
    for _ in range(2):
        with pytest.raises(VerificationError, match="not signed by this log's checkpoint key"):
            client(served, tmp_path / "home").size()


class Forgetful(SqliteLog):
    """Says it appended, and did not."""

    def append(self, envelope: bytes, *_: Any, **__: Any) -> Any:
        return self.entry(2)


def test_a_receipt_of_another_entry_is_refused(
    served: Served, there: Scene, tmp_path: Path
) -> None:
    served.log = Forgetful(there.log.path, PROJECT)
    with pytest.raises(VerificationError, match="receipt is of another entry, 2"):
        say(client(served, tmp_path / "home"), "ingest@mine")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("checkpoint", None),
        ("checkpoint", 5),
        ("index", float("inf")),
        ("index", 1 << 70),
        ("index", True),
        ("size", -1),
        ("size", "2"),
        ("leaf_hash", "ab"),
        ("proof", ["xy"]),
        ("more", 1),
    ],
)
def test_what_is_no_receipt_is_refused(member: str, value: object) -> None:
    good = {"index": 1, "size": 2, "leaf_hash": "a" * 64, "proof": ["b" * 64], "checkpoint": "x"}
    server = Server("http://localhost")
    assert server.read(json.dumps(good).encode(), api.Receipt).index == 1
    with pytest.raises(VerificationError, match="not a receipt"):
        server.read(json.dumps({**good, member: value}).encode(), api.Receipt)


@pytest.mark.parametrize("entries", [["+"], [1], "eA==", None, [["eA=="]]])
def test_what_is_no_page_of_entries_is_refused(entries: object) -> None:
    server = Server("http://localhost")
    page = server.read(b'{"start": 0, "entries": ["eA=="]}', api.Page)
    assert page.entries == [b"x"]
    with pytest.raises(VerificationError, match="not a page"):
        server.read(json.dumps({"start": 0, "entries": entries}).encode(), api.Page)


def test_a_servers_words_repaint_no_terminal() -> None:
    told = json.dumps(
        {"kind": "StorageError", "error": "\x1b[2J\u202everified\nline", "next": "\x07"}
    ).encode()
    refused = Server("http://localhost")._refused(StatusError(500, "x", told))
    assert isinstance(refused, StorageError)
    assert (refused.found, refused.fix) == ("\ufffd[2J\ufffdverified\nline", "\ufffd")


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLError(1, "tlsv1 alert certificate required"),
        URLError(ssl.SSLError(1, "wrong version number")),
        URLError("unknown url type: socks5h"),
        URLError(ConnectionResetError()),
        HTTPException("no status line"),
    ],
    ids=repr,
)
def test_each_failure_to_connect_is_no_answer(error: Exception) -> None:
    assert isinstance(http_client._no_answer(error, "https://log"), http_client.NoAnswerError)


def test_a_first_checkpoint_of_no_entries_is_refused(served: Served, tmp_path: Path) -> None:
    copy = client(served, tmp_path / "home")
    with pytest.raises(VerificationError, match="entry 0 is not that of its checkpoint"):
        copy._check_begin(Checkpoint(f"countersign/{PROJECT}/0000", 0, bytes(32)))


def test_the_copy_is_for_this_account_only(served: Served, tmp_path: Path) -> None:
    copy = client(served, tmp_path / "home")
    assert copy.size() > 0
    files = [path for path in copy.path.parent.rglob("*") if path.is_file()]
    assert files and copy.path.parent.stat().st_mode & 0o077 == 0


# What is asked, and by whom
def test_a_wrong_address_is_told_from_a_server_that_is_away(served: Served, tmp_path: Path) -> None:
    for wrong, says in {
        f"https://127.0.0.1:{served.port}": "does not speak TLS",
        "http://127.0.0.1:1": "nothing listens there",
    }.items():
        with pytest.raises(OfflineError, match=rf"{says}[\s\S]*next: check COUNTERSIGN_LOG"):
            client(served, tmp_path / "home", COUNTERSIGN_LOG=wrong).size()
    with pytest.raises(
        StorageError,
        match=r"answered 404[\s\S]*next: check COUNTERSIGN_LOG: https://SERVER, without",
    ):
        client(served, tmp_path / "home", COUNTERSIGN_LOG=f"{served.url}/page").size()


def test_without_the_right_account_nothing_is_answered(served: Served, tmp_path: Path) -> None:
    for wrong in (
        {"COUNTERSIGN_PASSWORD": "x"},
        {"COUNTERSIGN_USER": "eve"},
        {"COUNTERSIGN_USER": ""},
    ):
        with pytest.raises(
            ConfigError, match="does not accept the account or its password"
        ) as error:
            client(served, tmp_path / "home", **wrong).size()
        assert PASSWORD not in str(error.value)
    for path in ("checkpoint", "entries"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{served.url}{PREFIX}/{path}")


def test_who_is_not_known_appends_nothing(served: Served, there: Scene, tmp_path: Path) -> None:
    mine = client(served, tmp_path / "home")
    with pytest.raises(RefusedError, match="does not know who signed this"):
        evidence.record(mine, stranger(3), "ingest", [artifact("records")], ingest())
    assert there.log.size() == 6


def asked(served: Served) -> Server:
    return Server(served.url, ACCOUNT, PASSWORD)


WRONG: dict[str, Callable[[Server], object]] = {
    "a start that is no number": lambda server: server.ask("GET", "entries?start=x"),
    "a negative start": lambda server: server.ask("GET", "entries?start=-1"),
    "no entries at all": lambda server: server.ask("GET", "entries?limit=0"),
    "an empty envelope": lambda server: server.ask("POST", "entries", b""),
    "an envelope that is too large": lambda server: server.ask(
        "POST", "entries", b"x" * (api.MAX_ENVELOPE + 1)
    ),
    "a size that is no number": lambda server: server.ask("POST", "entries?expected_size=x", b"{}"),
}


@pytest.mark.parametrize("ask", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_answered_is_said(served: Served, ask: Callable[[Server], object]) -> None:
    with pytest.raises(InputError):
        ask(asked(served))


def test_what_is_no_envelope_is_said(served: Served) -> None:
    for body in (b"{}", b"\xff", b'{"a":1}', b"[" * 1000):
        with pytest.raises(VerificationError):
            asked(served).ask("POST", "entries", body)


def test_a_page_has_limits(there: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(api.entries(there.log, 0, 10**9)["entries"]) == 6
    monkeypatch.setattr(api, "MAX_PAGE", 5000)
    assert 1 <= len(api.entries(there.log, 0, 6)["entries"]) < 6
    monkeypatch.setattr(api, "MAX_PAGE", 1)
    assert len(api.entries(there.log, 1, 6)["entries"]) == 1
    assert api.entries(there.log, 6, 6) == {"start": 6, "entries": []}


def test_a_large_log_comes_in_pages(
    served: Served, there: Scene, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(api, "MAX_PAGE", 5000)
    assert list(client(served, tmp_path / "home").entries()) == list(there.log.entries())


@dataclass
class Slow(SqliteLog):
    """Remembers which pages it was asked for, and gives those from `stops` on when it may."""

    def __init__(self, log: SqliteLog, stops: int = 10**9) -> None:
        super().__init__(log.path, log.project)
        self.asked: list[int] = []
        self.stops = stops
        self.may = threading.Event()

    def page(self, start: int, end: int) -> Any:
        self.asked.append(start)
        if start >= self.stops:
            self.may.wait(600)
        return super().page(start, end)


PULL = """
import sys
from governance.log import api
from governance.machine.machine import log_of, machine
import os
api.MAX_ENTRIES = 5
log_of(machine(sys.argv[1], os.environ)).size()
"""


@pytest.fixture
def long(there: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A log of many pages."""
    monkeypatch.setattr(api, "MAX_ENTRIES", 5)
    for n in range(40):
        there.record("ingest", ingest(f"ingest@long{n}"))
    return there


def incoming(home: Path) -> list[Path]:
    return sorted(home.glob(f"{PROJECT}/mirror/*/incoming/*.json"))


def interrupted(served: Served, home: Path) -> None:
    """A first download that is killed when four pages have come."""
    slow = Slow(there_log(served), 20)
    served.log = slow
    environ = {
        **os.environ,
        "COUNTERSIGN_HOME": str(home),
        "COUNTERSIGN_LOG": served.url,
        "COUNTERSIGN_USER": ACCOUNT,
        "COUNTERSIGN_PASSWORD": PASSWORD,
    }
    process = subprocess.Popen([sys.executable, "-c", PULL, PROJECT], cwd=ROOT, env=environ)
    wait_for(lambda: len(incoming(home)) == 4, 300, "four pages came")
    process.kill()
    process.wait()
    slow.may.set()


def there_log(served: Served) -> SqliteLog:
    assert isinstance(served.log, SqliteLog)
    return served.log


def test_a_killed_download_goes_on_where_it_was(
    served: Served, long: Scene, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    interrupted(served, home)
    kept = [int(path.stem) for path in incoming(home)]
    assert not list(home.glob(f"{PROJECT}/mirror/*/log.db")), "what came is nobody's log yet"
    long.record("ingest", ingest("ingest@meanwhile"))
    again = Slow(long.log)
    served.log = again
    mine = client(served, home)
    assert list(mine.entries()) == list(long.log.entries())
    assert mine.size() == 47 and not set(again.asked) & (set(kept) - {0}) and not incoming(home)
    assert verify.verify_log(
        mine, PROJECT, {}, verify.TrustAnchors(origin=mine.entry(0).leaf_hash.hex())
    ).ok


def test_pages_that_were_kept_are_not_believed(served: Served, long: Scene, tmp_path: Path) -> None:
    """Another log's, or spoiled ones: what does not fit is thrown away, and asked for once more."""
    home = tmp_path / "home"
    interrupted(served, home)
    page = json.loads(incoming(home)[2].read_text())
    page["entries"][1] = page["entries"][2]
    incoming(home)[2].write_text(json.dumps(page))
    incoming(home)[3].write_text("{")
    served.log = again = Slow(long.log)
    assert list(client(served, home).entries()) == list(long.log.entries())
    assert {5, 10, 15} <= set(again.asked) and not incoming(home)


def test_a_long_log_that_does_not_fit_leaves_nothing(
    served: Served, long: Scene, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    assert client(served, home).size() == 46
    for n in range(20):
        long.record("ingest", ingest(f"ingest@more{n}"))
    served.log = Lying(long.log.path, PROJECT)
    served.log.wrong = 60
    for _ in range(2):
        with pytest.raises(VerificationError, match="does not continue"):
            client(served, home).size()
        assert not incoming(home)
    served.log = long.log
    assert client(served, home).size() == 66


def succeeded(folder: Path) -> tuple[Governed, Signer]:
    """A log whose owners have just approved another checkpoint key."""
    made = empty(folder)
    authorize(made)
    private, line = keypair("the next one")
    key = public_key(line)
    said = CheckpointKey.model_validate(made.signed("ada", "policy-owner", pem=key.pem))
    made.say(
        "ada",
        "checkpoint_key",
        [Artifact(role="checkpoint_key", name="next", sha256=key.keyid)],
        said,
    )
    for who in ("ada", "ben"):
        made.approve(who, "policy-owner", key.keyid, "checkpoint_key")
    return made, private_signer(private, "next")


def test_a_successor_of_the_checkpoint_key_is_followed(tmp_path: Path) -> None:
    """By a copy that saw it coming and by one that is new; what the old key signs from then on is
    refused.
    """
    made, following = succeeded(tmp_path / "server")
    log = made.story.log
    with serving(log) as served:

        def size(home: str) -> int:
            known = {
                "COUNTERSIGN_LOG": served.url,
                "COUNTERSIGN_USER": ACCOUNT,
                "COUNTERSIGN_PASSWORD": PASSWORD,
            }
            return read_log(
                machine(log.project, {**known, "COUNTERSIGN_HOME": str(tmp_path / home)})
            ).size()

        before = size("watching")
        assert before == log.size(), "the old key still signed the entry that replaced it"
        made.approve("ada", "policy-owner", "ab" * 32, "policy")
        for home in ("watching", "new"):
            with pytest.raises(VerificationError, match="not signed by this log's checkpoint key"):
                size(home)
        made.story.log = SqliteLog(log.path, log.project, following)
        made.approve("ben", "policy-owner", "ab" * 32, "policy")
        assert size("watching") == size("new") == before + 2
        made.approve("ben", "policy-owner", "cd" * 32, "policy")
        assert size("watching") == size("new") == before + 3


@pytest.mark.parametrize(
    "url",
    [
        "http://db.example.org",
        "https://ada:pw@host",
        "https://",
        "https://host/?x=1",
        "ftp://localhost",
    ],
)
def test_an_address_that_is_not_safe_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        Server(url, "ada", "secret")
    assert "secret" not in str(error.value) and "pw" not in str(error.value)


def test_a_servers_trouble_is_not_told_to_clients_but_to_who_runs_it(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client(served, tmp_path / "copy").size()
    served.log = SqliteLog(tmp_path / "secret-path.db", PROJECT)
    (tmp_path / "secret-path.db").write_bytes(b"no database" * 99)
    with pytest.raises(StorageError, match="the server cannot use its log now") as error:
        client(served, tmp_path / "home").size()
    assert "secret-path" not in str(error.value) and "secret-path" in caplog.text
    mine = client(served, tmp_path / "copy")
    assert mine.size() == 6 and "cannot use its log now" in mine.offline, "what was copied is read"
    with pytest.raises(StorageError, match="the server cannot use its log now"):
        say(mine, "ingest@mine")


SERVER = """
import sys
from pathlib import Path
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from governance.log import evidence
from governance.log.routes import PREFIX, routes
from tests.governance.examples import scene
place = scene(Path(sys.argv[1]))
found = routes(lambda: place.log, lambda given, account: evidence.filed_under(given), lambda header: "ada", str)
uvicorn.run(Starlette(routes=[Mount(PREFIX, routes=found)]), port=int(sys.argv[2]), log_level="critical")
"""


@pytest.mark.slow
def test_a_server_killed_in_the_middle_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    port = free_port()
    served = Served(scene(tmp_path / "server").log, port)
    answered: list[int] = []
    halted = threading.Event()

    def work() -> None:
        mine = client(served, tmp_path / "home")
        for n in range(100_000):
            while not halted.is_set():
                with contextlib.suppress(CountersignError):
                    answered.append(say(mine, f"ingest@n{n}"))
                    break
                time.sleep(0.01)
            if halted.is_set():
                return

    worker = threading.Thread(target=work)
    worker.start()
    command = [sys.executable, "-c", SERVER, str(tmp_path / "server"), str(port)]
    try:
        for _ in range(2):
            enough = len(answered) + 8
            with subprocess.Popen(command, cwd=ROOT) as process:
                try:
                    wait_for(lambda enough=enough: len(answered) >= enough, 300, "it answers")  # type: ignore[misc]
                finally:
                    process.kill()
    finally:
        halted.set()
        worker.join()
    place = scene(tmp_path / "server")
    named = {stranger().keyid: stranger().public_pem}
    report = verify.verify_log(
        place.log,
        PROJECT,
        named,
        verify.TrustAnchors(checkpoint_key=own_checkpoint_key(place.machine)),
    )
    assert report.ok and answered == sorted(set(answered)) and max(answered) < report.entries
    assert report.entries <= len(answered) + 3  # what was not answered was not said twice
