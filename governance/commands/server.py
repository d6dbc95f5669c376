"""`countersign server`: a real MLflow server whose governed aliases move by signed decisions
only.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import click

from governance.base.errors import ConfigError
from governance.commands import session
from governance.commands.session import Call
from governance.machine import projects
from governance.machine.machine import Machine


@click.command("server", context_settings={"show_default": True})
@click.option("--host", default="127.0.0.1", help="Address to listen on; put TLS before any other.")
@click.option("--port", default=5000, type=click.IntRange(1, 65535))
@click.option("--allowed-host", "allowed", multiple=True, help="A name of the server: NAME[:PORT].")
@click.option("--cors-origin", "origins", multiple=True, help="A web origin that may call it: URL.")
@click.option("--artifacts", type=session.FILE, help="Folder of model files; default: as before.")
@click.option("--workers", default=1, type=click.IntRange(1, 64), help="More than 1: PostgreSQL.")
@click.option(
    "--projects", "file", type=session.FILE, help="Serve the projects of a projects.yaml."
)
@session.options("origin")
def command(
    call: Call,
    host: str,
    port: int,
    allowed: tuple[str, ...],
    origins: tuple[str, ...],
    artifacts: Path | None,
    workers: int,
    file: Path | None,
) -> None:
    """Serve registry, runs, files and log for a team; or for several teams, with --projects.

    The database is COUNTERSIGN_LOG's (sqlite:/// or postgresql://); the administrator's password
    COUNTERSIGN_ADMIN_PASSWORD's, or made at the first start. It refuses to start when it can move a
    governed alias of its own, or when the log is not the pinned one.
    """
    from governance.server.run import serve
    from governance.server.settings import Settings

    def settings_of(machine: Machine, project: str = "") -> Settings:
        return Settings(
            database=_database(machine, machine.environ.get("COUNTERSIGN_REGISTRY")),
            artifacts=(artifacts or machine.artifact_root).absolute(),
            state=machine.state / "server",
            host=host,
            port=port,
            allowed_hosts=allowed_hosts(host, port, allowed),
            origins=web_origins(origins) or (f"http://{host}:{port}",),
            workers=workers,
            project=project,
        )

    def say(text: str) -> None:
        click.echo(text, err=True)

    if file is None:
        serve(settings_of(call.machine), call.machine, call.origin, os.environ, say)
        return
    if artifacts is not None or call.origin is not None:
        found = "--artifacts and --origin are of one project"
        fix = "write `origin` in projects.yaml; files are in each project's state folder"
        raise ConfigError(found, where="--projects", fix=fix)
    from governance.server.several import Served, serve_several

    machines = projects.listed(file, os.environ)
    served = {name: Served(each, settings_of(each, name)) for name, each in machines.items()}
    front = replace(next(iter(served.values())).settings, project="")
    serve_several(served, front, say)


def allowed_hosts(host: str, port: int, given: tuple[str, ...]) -> tuple[str, ...]:
    """The host names that the server answers to: those given, or its address. Patterns are not
    allowed.
    """
    for name in given:
        if "*" in name or "/" in name or not name.strip():
            raise ConfigError(f"{name!r} is not NAME or NAME:PORT", where="--allowed-host")
    if given:
        return given
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        found = f"{host} says nothing of the name under which the server is reached"
        raise ConfigError(found, fix="give --allowed-host NAME:PORT for each name")
    names = ("localhost", "127.0.0.1") if host in ("127.0.0.1", "localhost") else (host,)
    return tuple(f"{name}:{port}" for name in dict.fromkeys((host, *names)))


def web_origins(given: tuple[str, ...]) -> tuple[str, ...]:
    """The origins whose pages may call the server, as browsers write them. Patterns are not
    allowed: MLflow would take `*` for every site.
    """
    for origin in given:
        parts = urlsplit(origin)
        is_plain = (
            parts.scheme in ("http", "https") and origin == f"{parts.scheme}://{parts.netloc}"
        )
        if not is_plain or not parts.netloc or set(origin) & set("*?[@, "):
            raise ConfigError(
                f"{origin!r} is no web origin",
                where="--cors-origin",
                expected="https://HOST, with :PORT if it is not 443, and no more",
            )
    return tuple(origin.lower() for origin in given)


def _database(machine: Machine, registry: str | None) -> str:
    """Checks that registry and log are in one database, so that a move and its entry commit
    together.
    """
    plain = (registry or machine.log_uri).removeprefix("governed+")
    if plain != machine.log_uri:
        found = "registry and log are to stand in one database"
        raise ConfigError(found, where="COUNTERSIGN_REGISTRY", fix="set COUNTERSIGN_LOG only")
    if not plain.startswith(("sqlite:////", "postgresql://")):
        found = f"a server cannot keep its log at {plain.split('@')[-1]}"
        expected = "sqlite:/// and an absolute path, or postgresql://"
        raise ConfigError(found, where="COUNTERSIGN_LOG", expected=expected)
    return plain
