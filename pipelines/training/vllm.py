"""Generation by vLLM in a training (`use_vllm: true`): in the trainer's process, or by a server
(`vllm_mode: server`).

1. The server's address is machine configuration (COUNTERSIGN_VLLM), never a parameter: the same
   objective runs on another machine. It stands in no statement. One with an account is refused,
   because TRL's messages name the address.
2. Before a model is loaded, the server is asked what TRL will ask it (trl 1.16,
   `trl.generation.vllm_client`): whether it is there, lets weights be changed, and has one model.
3. It must split a text into the tokens of the parent's tokenizer: an answer of another model would
   be learned as if this model had given it. TRL then sends the weights.
4. What it answers is untrusted: little, in time, of the expected shape, and never quoted.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from governance.base.errors import ConfigError, OfflineError
from governance.log.http_client import parse_json

VARIABLE = "COUNTERSIGN_VLLM"
"""Environment variable: http(s)://HOST:PORT of the server."""
MODES = ("colocate", "server")
SECONDS = 20.0
MAX_REPLY = 4 << 20
"""Bytes of a reply: the server's whole configuration is one."""
PROBE = "Ticket 4711: the router's light blinks; größer?\n\n- 1,024 files"
"""(3) A text with numbers, other letters and white space."""


def uses_server(trainer: Mapping[str, Any]) -> bool:
    """Whether an objective with these arguments generates by a server."""
    return bool(trainer.get("use_vllm")) and trainer.get("vllm_mode") == "server"


def mistakes(trainer: Mapping[str, Any], where: str) -> Iterator[ConfigError]:
    """What speaks against the arguments, on every machine."""
    mode = trainer.get("vllm_mode", MODES[0])
    if mode not in MODES:
        expected = " or ".join(MODES)
        yield ConfigError(repr(mode)[:80], where=f"{where}.vllm_mode", expected=expected)


def missing(
    trainer: Mapping[str, Any], where: str, environ: Mapping[str, str]
) -> Iterator[ConfigError]:
    """The server's address, where an objective needs one and the machine names none that is."""
    if uses_server(trainer):
        try:
            address(environ, where)
        except ConfigError as error:
            yield error


def address(environ: Mapping[str, str], where: str) -> str:
    """(1) The server's address. Raises `ConfigError`."""
    given = environ.get(VARIABLE, "").strip().rstrip("/")
    expected = "http://HOST:PORT of the server"
    if not given:
        found = "vLLM is to generate on a server, but this machine names none"
        raise ConfigError(found, where=where, expected=expected, fix=f"set {VARIABLE}")
    try:
        parts = urlsplit(given)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port is not None
    except ValueError:
        whole, parts = False, urlsplit("")
    if not whole or parts.username is not None or parts.path or parts.query or parts.fragment:
        found = "an address with an account, a path or without a port"  # which may be a secret
        raise ConfigError(found, where=VARIABLE, expected=expected)
    return given


def asked(url: str, tokenizer: Any) -> dict[str, str]:
    """(2), (3) How a server generates, for the signed parameters. Raises `OfflineError` where it
    does not answer, `ConfigError` where it cannot serve this training.
    """
    import httpx

    with httpx.Client(base_url=url, timeout=SECONDS, trust_env=False) as client:
        _reply(client, "GET", "/health")
        info = "/server_info?config_format=json"
        fix = "start it with VLLM_SERVER_DEV_MODE=1: TRL sends the weights through that"
        _object(client, "GET", info, fix)
        models = _object(client, "GET", "/v1/models").get("data")
        if not isinstance(models, list) or len(models) != 1 or not isinstance(models[0], dict):
            raise _unfit("it does not serve one model", "one model, without adapters")
        _require_same_tokens(client, models[0].get("id"), tokenizer)
        return {"engine": "vllm", "mode": "server", "version": _version(client)}


def colocated() -> dict[str, str]:
    """How vLLM generates in the trainer's process."""
    return {"engine": "vllm", "mode": "colocate", "version": importlib.metadata.version("vllm")}


def _require_same_tokens(client: Any, model: Any, tokenizer: Any) -> None:
    own = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    body = {"model": model, "prompt": PROBE, "add_special_tokens": False}
    if _object(client, "POST", "/tokenize", json=body).get("tokens") != own:
        fix = "start it with the parent's model folder of this stage"
        raise _unfit("it serves another model: its tokens differ", "the parent's tokens", fix)


def _version(client: Any) -> str:
    """The version that it says it has; `unknown` where it says none."""
    try:
        return str(Version(str(_object(client, "GET", "/version").get("version"))))
    except (ConfigError, InvalidVersion):
        return "unknown"


def _object(client: Any, method: str, path: str, fix: str = "", **more: Any) -> dict[str, Any]:
    value = parse_json(_reply(client, method, path, fix, **more))
    if not isinstance(value, dict):
        raise _unfit(f"{path.partition('?')[0]}: no JSON object", "a vLLM server")
    return value


def _reply(client: Any, method: str, path: str, fix: str = "", **more: Any) -> bytes:
    """(4)"""
    import httpx

    data, name = bytearray(), path.partition("?")[0]
    try:
        with client.stream(method, path, **more) as answer:
            if answer.status_code != 200:
                raise _unfit(f"{name}: status {answer.status_code}", "status 200", fix)
            for part in answer.iter_bytes():
                data += part
                if len(data) > MAX_REPLY:
                    raise _unfit(f"{name}: too large", f"at most {MAX_REPLY} bytes")
    except httpx.HTTPError as error:
        found = f"the vLLM server does not answer ({type(error).__name__})"
        fix = "start it (`trl vllm-serve` or `vllm serve`), or correct the address"
        raise OfflineError(found, where=VARIABLE, fix=fix) from None
    return bytes(data)


def _unfit(found: str, expected: str, fix: str = "") -> ConfigError:
    return ConfigError(
        f"the vLLM server cannot be used: {found}",
        where=VARIABLE,
        expected=expected,
        fix=fix or "look at how the server was started",
    )
