"""Downloads of the Hugging Face libraries: their exceptions, which wrap one another's errors, are
translated, and no token travels unencrypted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from governance.base.errors import InputError, OfflineError
from governance.log.http_client import refuse_unencrypted


@contextmanager
def hub_errors(name: str, revision: str, where: str) -> Iterator[None]:
    """Translates the exceptions of a download of `name` at `revision`. Raises `OfflineError`
    without a network, `InputError` where the download is not permitted or there is no such thing,
    `ConfigError` where HF_ENDPOINT is another machine without TLS.
    """
    if endpoint := os.environ.get("HF_ENDPOINT"):
        refuse_unencrypted(endpoint, "HF_ENDPOINT", is_token=True)
    import httpx
    from huggingface_hub import errors as hub

    offline = (hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError, httpx.TransportError)
    absent = (hub.RepositoryNotFoundError, hub.RevisionNotFoundError, FileNotFoundError)
    thing = f"{name} at {revision[:12]}"
    try:
        yield
    except Exception as error:
        causes = _causes(error)
        if _any(causes, hub.GatedRepoError):
            fix = "accept its terms on huggingface.co, then set HF_TOKEN to your token"
            raise InputError(f"{thing} is gated", where=where, fix=fix) from None
        if _any(causes, *offline, ConnectionError):
            fix = "run this once with a network, or download the files elsewhere and name the copy"
            found = f"{thing} is not in the cache and huggingface.co cannot be reached"
            raise OfflineError(found, where=where, fix=fix) from None
        if _any(causes, *absent):
            expected = "public data files or safetensors, at a revision of 40 hexadecimal digits"
            found = f"{thing}: no such repository, revision or file ({type(error).__name__})"
            raise InputError(found, where=where, expected=expected) from None
        if _any(causes, hub.HfHubHTTPError):
            found = f"huggingface.co refuses {thing} ({type(error).__name__})"
            raise OfflineError(found, where=where, fix="run this again later") from None
        raise


def _causes(error: BaseException) -> list[BaseException]:
    """The error and the errors that led to it."""
    causes: list[BaseException] = []
    while error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__ or error
    return causes


def _any(causes: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)
