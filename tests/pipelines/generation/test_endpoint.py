"""Endpoints: what they answer is untrusted, and is kept."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from governance.attest.requests import EndpointRef
from governance.base.errors import ConfigError, CountersignError, OfflineError, VerificationError
from governance.base.progress import Bar
from governance.policy.rules import EndpointPrice
from pipelines.generation.endpoint import AT_ONCE, REFUSED, Endpoint, Limits
from pipelines.generation.replies import MAX_REPLY, Replies
from tests.pipelines.generation.peer import Peer, peer, said, text

QUICK = Limits(seconds=1.0, silence=0.5, attempts=3, pause=0.01)
KEY = {"COUNTERSIGN_ENDPOINT_KEYS": "frontier=FRONTIER_KEY", "FRONTIER_KEY": "s3cret"}
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "seed": 1}


def endpoint(server: Peer, folder: Path, environ: dict[str, str] | None = None) -> Endpoint:
    ref = EndpointRef(name="frontier", url=server.uri, model="some/model")
    return Endpoint(ref, Replies(folder), environ or {}, Bar(None, 0, ""), QUICK)


def test_a_reply_is_kept_and_nobody_is_asked_again(tmp_path: Path) -> None:
    with peer(text("hi")) as server:
        first = endpoint(server, tmp_path, KEY)
        assert [reply.text for reply in first.ask([BODY, BODY])] == ["hi", "hi"]
        assert server.asked == [{"model": "some/model", **BODY}]
        assert server.keys == ["Bearer s3cret"]
    again = endpoint(server, tmp_path)  # the server is gone, and no key is needed
    assert again.ask([BODY])[0].text == "hi"
    assert again.replies.digest == first.replies.digest is not None
    kept = [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(kept) == 1 and "s3cret" not in kept[0] and "hello" not in kept[0]


def counted(*replies: dict[str, Any]) -> Any:
    """Answers in turn, each with such a count of tokens."""
    left = iter(replies)

    def answer(body: dict[str, Any], before: int) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps({**json.loads(said("hi")), "usage": next(left)}).encode()

    return answer


PRICE = EndpointPrice(currency="EUR", input=2.5, output=10)
FULL = {"total_tokens": 12, "completion_tokens": 2}


@pytest.mark.parametrize(
    ("usage", "price", "cost"),
    [
        ((FULL, FULL), PRICE, (2, 24, 4, "EUR", 90)),
        ((FULL, FULL), None, (2, 24, 4, None, None)),
        ((FULL, {"total_tokens": 12}), PRICE, (2, 24, None, None, None)),
        ((FULL, {}), PRICE, (2, None, None, None, None)),
        ((FULL, {"total_tokens": 1, "completion_tokens": 2}), PRICE, (2, 13, None, None, None)),
        (
            (FULL, {"total_tokens": -1, "completion_tokens": True}),
            PRICE,
            (2, None, None, None, None),
        ),
    ],
)
def test_requests_tokens_and_cost_are_counted_and_again_from_kept_replies(
    tmp_path: Path, usage: tuple[dict[str, int], ...], price: EndpointPrice | None, cost: Any
) -> None:
    bodies = [BODY, {**BODY, "seed": 2}]
    with peer(counted(*usage)) as server:
        first = endpoint(server, tmp_path)
        assert first.replies.cost(price) is None
        for body in bodies:
            first.ask([body])
    again = endpoint(server, tmp_path)
    again.ask(bodies)
    for replies in (first.replies, again.replies):
        found = replies.cost(price)
        assert found is not None
        told = (found.requests, found.tokens, found.written, found.currency, found.millionths)
        assert told == cost


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b'"hi"', b'"ho"'),
        lambda data: data[:-5],
        lambda data: b"",
        lambda data: json.dumps({**json.loads(data), "request": "0" * 64}).encode(),
    ],
)
def test_a_spoiled_reply_is_refused_and_not_used(tmp_path: Path, spoil: Any) -> None:
    with peer(text("hi")) as server:
        endpoint(server, tmp_path).ask([BODY])
        (path,) = tmp_path.rglob("*.json")
        path.write_bytes(spoil(path.read_bytes()))
        with pytest.raises(VerificationError, match="spoiled"):
            endpoint(server, tmp_path).ask([BODY])
        assert len(server.asked) == 1


WRONG: dict[str, tuple[int, dict[str, str], bytes]] = {
    "too large": (200, {}, said("x" * (MAX_REPLY + 1))),
    "not JSON": (200, {}, b"<html>sign in</html>"),
    "nested": (200, {}, b"[" * 50_000),
    "not an object": (200, {}, b"[]"),
    "no choices": (200, {}, b'{"choices": []}'),
    "no message": (200, {}, b'{"choices": [{"text": "hi"}]}'),
    "not a text": (200, {}, said(["hi"])),
    "half a pair": (200, {}, b'{"choices": [{"message": {"content": "\\ud800"}}]}'),
    "compressed": (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b"),
    "redirect": (307, {"Location": "http://127.0.0.1:1/v1/chat/completions"}, b""),
    "no right": (401, {}, b'{"error": "hello s3cret"}'),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_an_error_that_quotes_nothing(tmp_path: Path, name: str) -> None:
    with peer(lambda body, before: WRONG[name]) as server:
        expected = ConfigError if name == "no right" else VerificationError
        with pytest.raises(expected) as caught:
            endpoint(server, tmp_path, KEY).ask([BODY])
        assert len(server.asked) == 1
    assert not list(tmp_path.rglob("*.json"))
    assert "s3cret" not in str(caught.value) and "hello" not in str(caught.value)


@pytest.mark.parametrize("status", sorted(REFUSED))
def test_one_request_that_is_refused_is_kept_as_that(tmp_path: Path, status: int) -> None:
    def answer(body: dict[str, Any], before: int) -> tuple[int, dict[str, str], bytes]:
        return (status, {}, b"hello") if body["seed"] == 1 else (200, {}, said("hi"))

    bodies = [{**BODY, "seed": seed} for seed in range(3)]
    with peer(answer) as server:
        replies = endpoint(server, tmp_path).ask(bodies)
        assert [reply.refused for reply in replies] == [False, True, False]
        assert replies[1].text == "" and len(server.asked) == 3
    assert endpoint(server, tmp_path).ask(bodies) == replies  # the server is gone


def test_an_endpoint_that_refuses_every_request_is_an_error_and_nothing_is_kept(
    tmp_path: Path,
) -> None:
    bodies = [{**BODY, "seed": seed} for seed in range(3)]
    every = pytest.raises(ConfigError, match="every request")
    with peer(lambda body, before: (400, {}, b"")) as server, every:
        endpoint(server, tmp_path).ask(bodies)
    assert not list(tmp_path.rglob("*.json"))
    with peer(lambda body, before: (400, {}, b"") if before else (200, {}, said("hi"))) as server:
        endpoint(server, tmp_path).ask(bodies[:1])  # so it does take some
        replies = endpoint(server, tmp_path).ask(bodies)
    assert [reply.refused for reply in replies] == [False, True, True]


def test_busy_endpoints_are_asked_again_and_not_for_ever(tmp_path: Path) -> None:
    with peer(lambda body, before: (200, {}, said("hi")) if before else (429, {}, b"")) as server:
        assert endpoint(server, tmp_path).ask([BODY])[0].text == "hi"
        assert len(server.asked) == 2
    with peer(lambda body, before: (500, {}, b"")) as server:
        with pytest.raises(OfflineError, match="3 attempts: status 500"):
            endpoint(server, tmp_path / "other").ask([BODY])
        assert len(server.asked) == 3
    with pytest.raises(OfflineError, match="ConnectError"):  # nothing listens there
        endpoint(server, tmp_path / "gone").ask([BODY])


def test_a_slow_drip_ends_with_the_time(tmp_path: Path) -> None:
    began = time.monotonic()
    with peer(text("x" * 1000), drip=0.05) as server:
        slow = Endpoint(
            EndpointRef(name="frontier", url=server.uri, model="m"),
            Replies(tmp_path), {}, Bar(io.StringIO(), 0, ""),
            Limits(seconds=0.3, silence=60, attempts=2, pause=0.01),
        )  # fmt: skip
        with pytest.raises(OfflineError, match=r"not within 0\.3 s"):
            slow.ask([BODY])
    assert time.monotonic() - began < 3


ASKING = """
import sys
from pathlib import Path
from governance.attest.requests import EndpointRef
from governance.base.progress import Bar
from pipelines.generation.endpoint import Endpoint
from pipelines.generation.replies import Replies
from pipelines.process import end_when_asked
if sys.argv[3] == "handled":
    end_when_asked()
ref = EndpointRef(name="frontier", url=sys.argv[1], model="m")
endpoint = Endpoint(ref, Replies(Path(sys.argv[2])), {}, Bar(None, 0, ""))
bodies = [{"messages": [{"role": "user", "content": str(at)}]} for at in range(12)]
print(*(reply.text for reply in endpoint.ask(bodies)))
"""


@pytest.mark.parametrize(
    ("number", "how", "status"),
    [
        (signal.SIGINT, "handled", 128 + signal.SIGINT),
        (signal.SIGTERM, "handled", 128 + signal.SIGTERM),
        (signal.SIGINT, "not handled", -signal.SIGINT),
    ],
)
def test_a_signal_ends_what_is_asked_and_the_next_start_goes_on(
    tmp_path: Path, number: int, how: str, status: int
) -> None:
    stuck = threading.Event()

    def answer(body: dict[str, Any], before: int) -> tuple[int, dict[str, str], bytes]:
        if before > 4:
            stuck.wait(60)
        return 200, {}, said(body["messages"][0]["content"])

    with peer(answer) as server:
        command = [sys.executable, "-P", "-c", ASKING, server.uri, str(tmp_path), how]
        first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while len(server.asked) < 5 + AT_ONCE and first.poll() is None:
            time.sleep(0.02)
        began = time.monotonic()
        first.send_signal(number)
        _, errors = first.communicate(timeout=30)
        assert time.monotonic() - began < 5 and first.returncode == status, errors
        kept = list(tmp_path.rglob("*.json"))
        assert len(kept) == 5
        stuck.set()
        asked = len(server.asked)
        again = subprocess.run(command, capture_output=True, check=True, text=True)
        assert again.stdout.split() == [str(at) for at in range(12)]
        assert len(server.asked) - asked == 12 - len(kept)


@pytest.mark.parametrize(
    "proxy", ["proxy.example.org:3128", "socks5://p:1", "http://?y", "http://:x"]
)
def test_a_proxy_that_is_no_address_is_a_mistake_in_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", proxy)
    ref = EndpointRef(name="frontier", url="https://frontier.invalid/v1", model="m")
    with pytest.raises(ConfigError, match="not the address of a proxy") as caught:
        Endpoint(ref, Replies(tmp_path), {}, Bar(None, 0, ""), QUICK).ask([BODY])
    assert caught.value.where == "https_proxy" and proxy not in str(caught.value)


@pytest.mark.parametrize(
    "keys", ["frontier", "frontier=", "sk-abc", "frontier=sk-abc", "frontier=PYTHONPATH"]
)
def test_a_key_in_place_of_a_variable_is_refused_and_not_shown(tmp_path: Path, keys: str) -> None:
    with peer(text("hi")) as server, pytest.raises(CountersignError) as caught:
        endpoint(server, tmp_path, {"COUNTERSIGN_ENDPOINT_KEYS": keys}).ask([BODY])
    assert "abc" not in str(caught.value) and server.asked == []
