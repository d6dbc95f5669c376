"""Whose request it is: one parser and one check of the password, for every route.

1. MLflow has two parsers of the Authorization header, one per web framework, and they differ for
   odd headers. Here werkzeug's reads it, which is the stricter one. What it reads is passed on in
   one form, which both read as the same account. Any other header is left out, so that every route
   answers 401.
2. A password is checked before anything else sees the request (`passwords` bounds what that costs).
   An account that does not exist costs the same computation as a wrong password, so that the time
   of an answer names nobody.
3. Only an administrator lists the accounts.
"""

from __future__ import annotations

import secrets
from functools import cache

Account = tuple[str, str]
"""Name and password."""


def parse(header: str) -> Account | None:
    """(1) The account of an Authorization header; None where there is none that can be checked."""
    from werkzeug.datastructures import Authorization

    try:
        read = Authorization.from_header(header)
    except ValueError:  # of characters that are not ASCII, which werkzeug does not expect
        return None
    if read is None or read.type != "basic" or not read.username or read.password is None:
        return None
    return read.username, read.password


def written(account: Account) -> str:
    """(1) The Authorization header of an account, in the form that both parsers read alike."""
    from werkzeug.datastructures import Authorization

    name, password = account
    return Authorization("basic", {"username": name, "password": password}).to_header()


def is_known(name: str, password: str) -> bool:
    """(2) Whether the password is the account's. MLflow keeps the answer for a short time."""
    from mlflow.server import auth
    from werkzeug.security import check_password_hash

    if not auth.store.has_user(name):
        check_password_hash(_nobodys_hash(), password)
        return False
    return auth._authenticate_cached(name, password) is not None


def is_remembered(name: str, password: str) -> bool:
    """(2) Whether MLflow keeps the answer that this password is right. Nothing is computed."""
    from mlflow.server import auth

    if auth._USER_AUTH_CACHE is None:
        return False
    with auth._USER_AUTH_CACHE_LOCK:
        return auth._auth_cache_key(name, password) in auth._USER_AUTH_CACHE


def hide_list() -> None:
    """(3) MLflow lets every account list all accounts. Administrators are not asked by it."""
    from mlflow.server import auth

    for path in (auth.LIST_USERS, auth.AJAX_LIST_USERS):
        auth.BEFORE_REQUEST_VALIDATORS[path, "GET"] = lambda: False


@cache
def _nobodys_hash() -> str:
    """Of a password that nobody has, made as MLflow makes them."""
    from werkzeug.security import generate_password_hash

    return generate_password_hash(secrets.token_urlsafe(24))
