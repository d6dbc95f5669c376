"""One attempt: what counts as taken, and what is never done."""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from governance.events import client
from governance.events.receivers import Receiver
from tests.governance.events.receiving import KEY, made, receiving
from tests.governance.story import START

EVENT = made(0)


def post(receiver: Receiver, seconds: float = 5.0) -> client.Answer:
    return client.post(receiver, EVENT.id, EVENT.body, START, seconds)


def test_an_event_is_signed_and_sent_as_it_is() -> None:
    with receiving() as taken:
        assert post(taken.receiver()) == client.Answer(True)
    ((headers, body),) = taken.requests
    assert body == EVENT.body and not taken.problems
    assert headers["webhook-id"] == EVENT.id
    assert headers["webhook-timestamp"] == str(int(START.timestamp()))
    assert headers["content-type"] == "application/json"


FAILURES: dict[int | float | str, str] = {
    500: "status 500",
    429: "status 429",
    410: "status 410",
    302: r"status 302 \(a redirect is not followed\)",
    "break": "broke off",
    30.0: "in time|no answer within",
}


@pytest.mark.parametrize("answer", FAILURES)
def test_all_but_a_success_is_a_failure(answer: int | float | str) -> None:
    with receiving(answer) as taken:
        done = post(taken.receiver(), 0.5 if isinstance(answer, float) else 5)
    assert not done.ok and re.search(FAILURES[answer], done.why), done.why
    assert "hook" not in done.why, "the address may be secret"


def test_a_redirect_is_not_followed() -> None:
    with receiving() as elsewhere, receiving() as taken:
        taken.answers = [elsewhere.url]
        assert "redirect" in post(taken.receiver()).why
        assert elsewhere.requests == [] and len(taken.requests) == 1


def test_a_receiver_says_how_long_to_wait() -> None:
    with receiving(429, 503, 503) as taken:
        for text, seconds in (("7", 7.0), ("999999999999", 0.0), ("99999999", client.MAX_PAUSE)):
            taken.retry_after = text
            assert post(taken.receiver()).pause == seconds


def test_where_nothing_listens() -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "cannot be connected to" in post(_at(f"http://127.0.0.1:{port}/hook")).why


def test_a_receiver_that_sends_a_byte_now_and_then_ends_in_time() -> None:
    def drip(connection: socket.socket) -> None:
        for _ in range(100):
            connection.sendall(b"H")
            time.sleep(0.1)

    begun = time.monotonic()
    with _serving(drip) as url:
        assert not post(_at(url), 0.5).ok
    assert time.monotonic() - begun < 5


REFUSED = ["169.254.169.254", "fe80::1%eth0", "224.0.0.1", "0.0.0.0", "127.0.0.1", "::1"]
REFUSED += ["::ffff:127.0.0.1", "::ffff:169.254.169.254", "240.0.0.1"]


@pytest.mark.parametrize("address", REFUSED)
def test_a_name_that_leads_inside_is_not_connected_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 443))])
    assert "leads to this machine or" in post(_at("https://hooks.example.org/")).why


@pytest.mark.parametrize("address", ["93.184.216.34", "10.0.0.8", "2606:2800:220:1::1"])
def test_other_addresses_are_allowed(address: str) -> None:
    assert client._is_allowed(address, is_own=False) and not client._is_allowed(
        address, is_own=True
    )


def test_the_certificate_is_verified_for_the_name_and_not_for_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads, for this test, to a TLS server here."""
    certificate = tmp_path / "hooks.pem"
    certificate.write_bytes(_certificate("hooks.example.org"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    names: list[str | None] = []
    server.sni_callback = lambda _, name, __: names.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(client, "_is_allowed", lambda *_, **__: True)
    monkeypatch.setattr(client, "_authorities", lambda: trusting)

    def answer(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True) as secure:
            asked = b""
            while not asked.endswith(EVENT.body):
                asked += secure.recv(65536)
            secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with _serving(answer) as url:
        port = int(url.rsplit(":", 1)[1].strip("/"))
        here = [(0, 0, 0, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", _resolving(here))
        assert post(_at(f"https://hooks.example.org:{port}/")) == client.Answer(True)
        assert names == ["hooks.example.org"]
        other = post(_at(f"https://other.example.org:{port}/"))
        assert other.why == "its certificate does not verify"


def test_a_proxy_of_the_environment_carries_tls_only(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 502 no\r\nContent-Length: 0\r\n\r\n")

    with _serving(proxy) as url, receiving() as taken:
        monkeypatch.setenv("https_proxy", url)
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert post(taken.receiver()).ok and asked == []
        assert not post(_at("https://hooks.example.org/hook")).ok
    assert asked[0].startswith(b"CONNECT hooks.example.org:443 ")
    assert b"webhook" not in asked[0] and b"/hook" not in asked[0]


def _at(url: str) -> Receiver:
    return Receiver("desk", url, (KEY,))


def _resolving(found: list[tuple[int, int, int, str, tuple[str, int]]]) -> Callable[..., object]:
    real = socket.getaddrinfo

    def resolve(host: str, *rest: object, **more: object) -> object:
        return found if str(host).endswith("example.org") else real(host, *rest, **more)  # type: ignore[arg-type]

    return resolve


class _serving:
    """A server that treats each connection with one function."""

    def __init__(self, treat: Callable[[socket.socket], None]) -> None:
        self.treat, self.listening = treat, socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._run, daemon=True).start()
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}/"

    def __exit__(self, *_: object) -> None:
        self.listening.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            try:
                with connection:
                    self.treat(connection)
            except OSError:
                continue


def _certificate(name: str) -> bytes:
    """A certificate and its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made.public_bytes(serialization.Encoding.PEM) + private
