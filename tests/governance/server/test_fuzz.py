"""Whatever is sent to the log of a server: no error of its own, and nothing accepted that its
signer may not state. `make nightly` runs each for ten minutes (TESTS_FUZZ_SECONDS).
"""

from __future__ import annotations

import base64
import http.client
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attest.envelope import payload_of, unverified
from governance.base.errors import CountersignError
from governance.history.verify import TrustAnchors, verify_log
from governance.log import api
from governance.log.port import Entry, Log
from governance.machine.signers import private_signer
from governance.registry.governed.limit import Limit
from governance.release import promotion
from governance.server.append import verifier
from tests.conftest import examples
from tests.fuzzing import ODD, cases, other_bytes
from tests.governance.governed import Governed
from tests.governance.keys import P256, pem, stranger, with_other_signature
from tests.governance.nonsense import is_nobodys, nonsense, signed
from tests.governance.registry.place import PASSWORD, Place, Server, place, serving
from tests.governance.story import MODEL
from tests.postgres import Cluster

pytestmark = pytest.mark.slow
OTHERS = (stranger(), private_signer(pem(P256), "test"))
PREFIX = "/countersign/v1"


def said_twice(log: Log) -> list[int]:
    """Entries with a statement that an earlier entry has, by the same key."""
    seen: set[tuple[bytes, str]] = set()
    twice = []
    for entry in log.entries():
        statement = (payload_of(entry.envelope), unverified(entry.envelope)[1])
        if statement in seen and entry.kind != "call":
            twice.append(entry.index)
        seen.add(statement)
    return twice


def check(scene: Governed, size: int) -> None:
    """Everything from entry `size` on is somebody's to state, and every reader can read the log."""
    log = scene.story.log
    for entry in log.entries(size):
        if entry.kind != "refusal":
            assert not is_nobodys(scene, entry.envelope), unverified(entry.envelope)
    assert not said_twice(log)
    verify_log(
        log, MODEL, scene.story.policies.keys, TrustAnchors(origin=log.entry(0).leaf_hash.hex())
    )
    held = promotion.state(log).holder(MODEL, "champion")
    assert held is not None and held.version == "1"


def an_envelope(scene: Governed, chance: Random) -> bytes:
    """One of the log, spoiled or not, or nonsense that somebody signed."""
    log = scene.story.log
    logged = log.entry(chance.randrange(log.size())).envelope
    how = chance.randrange(6)
    if how == 0:
        return logged
    if how == 1:
        return with_other_signature(logged, lambda old: other_bytes(old, chance) or b"x")
    if how == 2:
        return other_bytes(logged, chance)
    return signed(*nonsense(scene, chance, OTHERS))


@pytest.fixture
def released(scene: Governed) -> Governed:
    scene.incident("1", "open")
    scene.incident("1", "closed")
    scene.released()
    return scene


def test_statements_that_nobody_may_make(released: Governed) -> None:
    size, accepted = released.story.log.size(), 0
    for chance in cases(few=150):
        limit = Limit(released.story.now, chance.choice((1, 1000)))
        verify = verifier(released.story.log, released.story.now, limit)
        with suppress(CountersignError):
            account = chance.choice((None, "ci", "ada", "guest"))
            api.append(released.story.log, verify, an_envelope(released, chance), account=account)
            accepted += 1
        if accepted % 20 == 1:
            check(released, size)
    check(released, size)
    assert accepted


@pytest.fixture(scope="module")
def long(life: Governed, tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """A log in which decisions changed and changed back."""
    scene = life.copy(tmp_path_factory.mktemp("long"))
    scene.released()
    frozen = scene.freeze()
    for decision in ("approve", "reject", "approve"):
        scene.approve("ben", "risk", frozen, decision=decision)
    for state in ("open", "closed", "open", "closed"):
        scene.incident("1", state)
    scene.story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.99)
    scene.story.register("sft", "2")
    return scene


@examples(20)
@given(data=st.data())
def test_a_replay_of_the_log_changes_nothing(data: st.DataObject, long: Governed) -> None:
    """Any reader can send any entries again, in any order, with other bytes as signatures."""
    log = long.story.log
    before: list[Entry] = list(log.entries())
    verify = verifier(log, long.story.now)
    change = st.sampled_from((0, 1, 255))
    for index in data.draw(st.lists(st.integers(0, len(before) - 1), min_size=1, max_size=8)):
        flip = data.draw(change)
        envelope = with_other_signature(
            before[index].envelope, lambda old, flip=flip: old[:-1] + bytes([old[-1] ^ flip])
        )
        with suppress(CountersignError):
            assert api.append(log, verify, envelope).index <= index
    assert list(log.entries()) == before


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)]
)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    environ = {}
    if request.param == "postgresql":
        found: Cluster = request.getfixturevalue("cluster")
        environ = {"COUNTERSIGN_LOG": found.database()}
    return place(tmp_path_factory.mktemp("fuzzed"), **environ)


@pytest.fixture(scope="module")
def server(here: Place) -> Iterator[Server]:
    with serving(here) as started:
        yield started


def a_query(chance: Random) -> str:
    names = ("start", "limit", "expected_size", "start", "x", "")
    values = [
        *(str(value)[:300] for value in ODD),
        *("-1", "1e3", "٣", "0x10", "%00", "%ff", "%", "&", "=", "+1", " 1", "1" * 16, "9" * 15),
    ]
    from urllib.parse import quote

    parts = [
        f"{chance.choice(names)}={quote(chance.choice(values), safe='%&=')}"
        for _ in range(chance.choice((0, 1, 1, 2, 3)))
    ]
    return "?" + "&".join(parts) if parts else ""


def an_authorization(chance: Random) -> str:
    known = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    odd = ("", "Basic", "Basic !", "Bearer x", "Basic Og==", "Basic /w==", "basic " + known[6:])
    return known if chance.random() < 0.8 else chance.choice((*odd, known + "x", "Negotiate YII="))


def ask(server: Server, scene: Governed, chance: Random) -> tuple[int, str]:
    """One request as nobody's library writes it; status and text of the answer."""
    method = chance.choice(("POST",) * 6 + ("GET",) * 3 + ("PUT", "DELETE", "HEAD", "OPTIONS", "X"))
    paths = ("/entries",) * 8 + ("/checkpoint", "/entries/", "", "/", "//entries", "/../x", "/%2e")
    path = PREFIX + chance.choice(paths) + a_query(chance)
    body = an_envelope(scene, chance) if chance.random() < 0.8 else chance.randbytes(40)
    headers = {
        "Authorization": an_authorization(chance),
        "Content-Type": chance.choice(("application/json", "text/plain", "x", "multipart/x;;")),
    }
    if chance.random() < 0.1:
        odd = [("Content-Encoding", "gzip"), ("Expect", "x"), ("Origin", "null"), ("Range", "x")]
        name, value = chance.choice([*odd, ("X-Forwarded-For", "x" * 3000), ("Accept", "x/y")])
        headers[name] = value
    connection = http.client.HTTPConnection(server.uri.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def raw(server: Server, chance: Random) -> tuple[bytes, bytes]:
    """Bytes that are hardly HTTP, and the beginning of the answer."""
    host, _, port = server.uri.removeprefix("http://").partition(":")
    request = f"POST {PREFIX}/entries HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc"
    data = request.encode()
    for _ in range(chance.choice((1, 2, 5))):
        data = other_bytes(data, chance) or b"\n"
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            return data, connection.recv(4096)
    return data, b""


def test_requests_of_every_kind(here: Place, server: Server) -> None:
    scene = here.scene
    size, written = scene.story.log.size(), server.log.stat().st_size
    for chance in cases(few=100):
        if chance.random() < 0.1:
            data, answered = raw(server, chance)
            assert b" 500 " not in answered.partition(b"\r\n")[0], (data, answered)
            continue
        status, text = ask(server, scene, chance)
        assert status < 500 and "Traceback" not in text, (status, text)
    for entry in scene.story.log.entries(size):
        if entry.kind != "refusal":
            assert not is_nobodys(scene, entry.envelope), unverified(entry.envelope)
    assert not said_twice(scene.story.log)
    with Path(server.log).open(encoding="utf-8", errors="replace") as log:
        log.seek(written)
        assert "Traceback" not in log.read()
