"""`countersign serve MODEL@ALIAS`: verified serving (docs/serving.md)."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import click

from governance.base.distribution import pip_install
from governance.base.errors import ConfigError
from governance.commands import session
from governance.commands.session import Call, clock
from governance.history.state import LogState
from governance.log import evidence
from governance.machine.machine import log_to_add_to, signer
from governance.release.reading import Reading, Rights, admit
from governance.release.serving import Served, content_of
from pipelines.pii import answer_search

NEEDED = ("httpcore", "httpx", "starlette", "uvicorn")


@click.command("serve", context_settings={"show_default": True})
@click.argument("name", metavar="MODEL@ALIAS")
@click.option("--host", default="127.0.0.1", help="Address to listen on; put TLS before any other.")
@click.option("--port", default=8000, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option(
    "--server",
    default="transformers",
    help="transformers, vllm, or a command with {port} and {folder} or {model}.",
)
@click.option("--backend", "urls", multiple=True, help="[VERSION=]URL of a server that others run.")
@click.option("--poll", default=2.0, type=click.FloatRange(0.1, 60), help="Seconds.")
@click.option("--hold", default=30.0, type=click.FloatRange(0, 600), help="Seconds.")
@click.option("--scratch", type=session.FILE, help="Folder of the private copies.")
@session.options("key", "origin", "purpose")
def command(
    call: Call,
    name: str,
    host: str,
    port: int,
    server: str,
    urls: tuple[str, ...],
    poll: float,
    hold: float,
    scratch: Path | None,
) -> None:
    """Serve the version that holds an alias, and nothing else, behind OpenAI's API.

    During a live rollout, its new version answers the share of the callers that people gave it.

    The log, the decisions behind the alias and the files are verified. An inference server starts
    on a private copy, and a proxy in front of it follows the log: it reads it every --poll seconds.
    It switches when the alias moves, and answers 503 after a retirement, an incident, or when
    policy says that the log was not read for too long. A request waits up to --hold seconds for a
    server that starts.

    With --backend, others run the servers, and what they run is declared, not verified.
    """
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        found = f"the proxy needs {', '.join(missing)}, which is not installed"
        raise ConfigError(found, fix=pip_install("serve"))
    from governance.proxy import launching, run, servers
    from governance.proxy.following import Follower
    from governance.proxy.permission import Held

    model, alias = run.alias_of(name)
    others = launching.backends(urls)
    chosen = None if others else servers.server_of(server)
    machine, environ = call.machine, os.environ

    def starter(held: Held) -> launching.Launcher | launching.Directory:
        if chosen is None:
            return launching.Directory(others, held.version)
        admit = lambda now, served: _admit(call, now, served)  # noqa: E731
        return launching.Launcher(machine, alias, chosen, environ, admit, clock, scratch)

    follower = Follower(machine, model, alias, call.own_policies, call.origin, clock, run.steady)
    settings = run.Settings(host, port, poll, hold)
    say = lambda text: session.tell([text], err=True)  # noqa: E731
    run.serve(follower, starter, settings, say, answer_search.command)


def _admit(call: Call, now: LogState, served: Served) -> None:
    """Records the read of the files where policy says who may read them. Raises `RefusedError`."""
    rights = Rights(now.authority, call.own_policies)
    if not rights.restricted:
        return
    key = call.signer if call.has_key else signer(call.machine)
    is_development = key.public_pem in evidence.origin(now.log).development_keys
    reading = Reading(key, is_development, "serve", call.purpose, call.machine.requester, clock())
    admit(rights, reading, [content_of(now, served)], lambda: log_to_add_to(call.machine))
