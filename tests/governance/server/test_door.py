"""The door: one account per request, read and checked once; no page of another site."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from governance.server import accounts
from governance.server.context import account
from governance.server.door import Door
from governance.server.passwords import WRONG_FOR_ACCOUNT, PasswordChecks, _Failures
from tests.governance.registry.place import PASSWORD

pytestmark = pytest.mark.slow  # it imports MLflow's server
HOST = "http://registry.example.org"
NOBODY = {"door": None, "flask": None, "fastapi": None, "header": None}
"""Also what is said of a request that is refused, because a header is not ASCII."""


def basic(text: bytes, scheme: str = "Basic") -> str:
    return f"{scheme} {base64.b64encode(text).decode()}"


class Both:
    """An application behind the door that reads the account as both frameworks of MLflow do."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        from mlflow.server import auth
        from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

        store = SqlAlchemyStore()
        store.init_db(f"sqlite:///{folder / 'accounts.db'}")
        store.create_user("ada", PASSWORD)
        patch.setattr(auth, "store", store)
        patch.setattr(auth, "_USER_AUTH_CACHE", None)
        routes = [Route("/{path:path}", self.answer, methods=["GET", "POST"])]
        self.checks = PasswordChecks(accounts.is_known, accounts.is_remembered)
        app = Door(Starlette(routes=routes), ["https://models.example.org"], self.checks)
        self.client = TestClient(app, HOST)

    def answer(self, request: Request) -> JSONResponse:
        from mlflow.server import auth
        from werkzeug.datastructures import Authorization

        header = request.headers.get("authorization")
        flask = Authorization.from_header(header)
        user = auth._authenticate_fastapi_request(request)
        return JSONResponse(
            {
                "door": account.get(),
                "flask": flask and flask.username,
                "fastapi": user and user.username,
                "header": header,
            }
        )

    def read(self, *headers: tuple[str, str | bytes]) -> Any:
        self.checks._failures = _Failures(time.monotonic)  # `test_passwords` holds the limits
        answer = self.client.get("/api", headers=list(headers))
        return NOBODY if answer.status_code == 400 else answer.json()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with pytest.MonkeyPatch.context() as patch:
        yield Both(tmp_path_factory.mktemp("door"), patch)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every computation of a password's hash."""
    from mlflow.server.auth import sqlalchemy_store
    from werkzeug import security

    computed: list[str] = []
    original = security.check_password_hash

    def counted(stored: str, password: str) -> bool:
        computed.append(stored.partition("$")[0])
        return original(stored, password)

    monkeypatch.setattr(security, "check_password_hash", counted)
    monkeypatch.setattr(sqlalchemy_store, "check_password_hash", counted)
    return computed


def test_an_account_is_the_same_for_everybody(both: Both) -> None:
    read = both.read(("Authorization", basic(f"ada:{PASSWORD}".encode())))
    assert (read["door"], read["flask"], read["fastapi"]) == ("ada", "ada", "ada")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Bearer abc",
        "Bearer a=b",
        "Digest username=ada, response=x",
        "Negotiate YII=",
        "garbage",
        "Basic YWRh",  # no colon
        basic(b":" + PASSWORD.encode()),
        basic(b"ada:"),
        basic(b"ada"),
        basic(f"Ada:{PASSWORD}".encode()),
        basic(f"ada :{PASSWORD}".encode()),
        basic(f" ada:{PASSWORD}".encode()),
        basic(f"ada\0:{PASSWORD}".encode()),
        basic(b"\xff\xfe:" + PASSWORD.encode()),
        basic(f"ada:{PASSWORD}\n".encode()),
        "Basic \xe9\xe9\xe9=",
    ],
)
def test_any_other_header_is_nobodys(both: Both, header: str) -> None:
    read = both.read(("Authorization", header.encode("latin-1")))
    assert read == {"door": None, "flask": None, "fastapi": None, "header": None}


_TOKENS = st.sampled_from(
    [
        base64.b64encode(text).decode()
        for text in (
            f"ada:{PASSWORD}".encode(),
            f"eve:{PASSWORD}".encode(),
            f"ada:{PASSWORD}:x".encode(),
            "adä:correct".encode(),
            "adä:correct".encode("latin-1"),
            b"",
        )
    ]
)
_GAPS = st.sampled_from(["", " ", "  ", "\t", " \t ", "\x0b", "\xa0", ",", "\r", "="])
_HEADERS = st.one_of(
    st.tuples(
        _GAPS,
        st.sampled_from(["Basic", "basic", "BASIC", "Bearer", "bAsIc"]),
        _GAPS,
        _TOKENS,
        _GAPS,
    ).map("".join),
    st.tuples(_TOKENS, st.integers(0, 40), st.characters(max_codepoint=255)).map(
        lambda parts: f"Basic {parts[0][: parts[1]]}{parts[2]}{parts[0][parts[1] :]}"
    ),
    st.text(st.characters(max_codepoint=255)),
)


@given(_HEADERS)
def test_the_two_parsers_agree_or_nobody_is_let_in(both: Both, header: str) -> None:
    """What the door records is what both authenticate; else there is no header any more."""
    if any(char in header for char in "\r\n\0"):
        return  # no server passes such a header on
    read = both.read(("Authorization", header.encode("latin-1")))
    assert read["door"] == read["flask"] == read["fastapi"]
    assert read["door"] in ("ada", None) and (read["header"] is None) == (read["door"] is None)


def test_the_header_of_another_door_is_left_out(both: Both) -> None:
    read = both.client.get(
        "/gateway/x", headers={"X-MLflow-Authorization": basic(f"ada:{PASSWORD}".encode())}
    ).json()
    assert read == {"door": None, "flask": None, "fastapi": None, "header": None}


@pytest.mark.parametrize("name", ["ada", "nobody", "Ada", "adä", "a" * 5000])
def test_a_wrong_password_costs_the_same_whoever_is_named(
    both: Both, hashes: list[str], name: str
) -> None:
    assert both.read(("Authorization", basic(f"{name}:wrong password".encode())))["door"] is None
    assert hashes == ["scrypt:32768:8:1"]


def test_after_too_many_wrong_passwords_there_is_no_computation(
    both: Both, hashes: list[str]
) -> None:
    both.checks._failures = _Failures(time.monotonic)
    both.client.get("/api", headers={"authorization": basic(f"ada:{PASSWORD}".encode())})
    hashes.clear()
    for name in ("ada", "nobody"):
        answers = [
            both.client.get("/api", headers={"authorization": basic(f"{name}:{i}".encode())})
            for i in range(20)
        ]
        assert [answer.status_code for answer in answers].count(429) == 20 - WRONG_FOR_ACCOUNT
        assert answers[-1].headers["retry-after"] == "60" and "wait a minute" in answers[-1].text
        assert len(hashes) == WRONG_FOR_ACCOUNT, "whether the account exists or not"
        hashes.clear()
    right = {"authorization": basic(f"ada:{PASSWORD}".encode())}
    assert both.client.get("/api", headers=right).json()["door"] == "ada"
    assert hashes, "the right one is checked, although others were wrong"


@pytest.mark.parametrize(
    "path", ["/countersign/v1/entries", "/api/2.0/x", "/v1/traces", "/graphql"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "http://localhost:1234"}, 403),
        ({"origin": "http://registry.example.org.evil.example"}, 403),
        ({"origin": "file://registry.example.org"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": HOST, "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://registry.example.org"}, 200),
        ({"origin": "https://models.example.org", "sec-fetch-site": "cross-site"}, 200),
    ],
)
def test_a_page_of_another_site_calls_nothing(
    both: Both, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    found = both.client.request(method, path, headers=headers)
    assert found.status_code == status
    assert status == 200 or "another site" in found.text


def test_a_link_opens_the_start_page(both: Both) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert both.client.get("/", headers=link).status_code == 200
    assert both.client.post("/", headers=link).status_code == 403
    assert both.client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_two_origins_are_no_more_than_one(both: Both) -> None:
    both_origins = [("origin", HOST), ("origin", "https://evil.example")]
    assert both.client.get("/api", headers=both_origins).status_code == 403


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # MLflow unpacks what the first says: 3 MB became 600 MB of memory, twice
        ("content-encoding", ("gzip", "identity")),
        ("content-encoding", ("identity", "identity")),
        ("content-type", ("application/json", "application/x-protobuf")),
        ("sec-fetch-site", ("cross-site", "none")),
        ("host", ("registry.example.org", "evil.example")),
    ],
)
def test_a_header_that_is_checked_stands_once(
    both: Both, name: str, values: tuple[str, str]
) -> None:
    answer = both.client.post("/v1/traces", headers=[(name, value) for value in values])
    assert answer.status_code == 400 and f"more than one header of a kind: {name}" in answer.text


def test_a_password_that_is_right_is_let_in_by_the_cached_check(both: Both) -> None:
    assert accounts.is_known("ada", PASSWORD) and not accounts.is_known("ada", "x")
