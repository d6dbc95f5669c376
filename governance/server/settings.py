"""All settings of a governed server: its addresses, and what is switched off.

The settings close what MLflow leaves open by default: hosts that only look local, scripts of other
sites, files of the server's own disk, pickles, the job runner, the AI gateway, an assistant that
runs commands, a default password.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from governance.base.errors import ConfigError
from governance.base.storage import write_atomic

PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable
SECRET_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"  # noqa: S105
MIN_PASSWORD = 12
ACCOUNT_SECONDS = 60
"""How long the check of a password is kept, because hashing takes 0.2 s. A changed password counts
at once in the process that changed it, and in other workers after this time.
"""
NEVER = (
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS",
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
    "MLFLOW_ENABLE_WORKSPACES",
)
"""Switches that a governed server refuses to start with."""


@dataclass(frozen=True)
class Settings:
    """What a governed server is started with."""

    database: str
    """`sqlite:////...` or `postgresql://...`: registry, runs and log."""
    artifacts: Path
    state: Path
    """The server's own folder: accounts, password, secret key. Only its account can read it."""
    host: str
    port: int
    allowed_hosts: tuple[str, ...]
    """The names under which it is reached, with port; anything else in a Host header is refused."""
    origins: tuple[str, ...]
    """Web origins whose scripts may call it."""
    workers: int = 1
    admin: str = "admin"
    project: str = ""
    """The part of the address that names the project, where one address serves several."""
    socket: Path | None = None
    """Listen here instead, behind the front (`governance.server.front`)."""

    @property
    def store_uri(self) -> str:
        """The governed address of the database."""
        return f"governed+{self.database}"

    @property
    def address(self) -> str:
        """The address that people use."""
        below = f"/{self.project}" if self.project else ""
        return f"http://{self.host}:{self.port}{below}"


@dataclass(frozen=True)
class Secrets:
    """Secrets, which must not be shown, and the password's file where the server made it."""

    password: str
    secret_key: str
    password_file: Path | None


def environment(settings: Settings, secret: Secrets, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that MLflow reads. Raises `ConfigError` where a switch of `NEVER` is set."""
    forbidden = sorted(
        name for name in NEVER if environ.get(name, "").lower() in ("1", "true", "yes")
    )
    if forbidden:
        variables = " ".join(forbidden)
        raise ConfigError(f"{variables} is set in the environment", fix=f"unset {variables}")
    return {
        # how MLflow's processes name the stores to each other (`mlflow.server.constants`)
        "_MLFLOW_SERVER_FILE_STORE": settings.store_uri,
        "_MLFLOW_SERVER_REGISTRY_STORE": settings.store_uri,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"governed+{settings.artifacts.absolute().as_uri()}",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_AUTH_CONFIG_PATH": str(settings.state / "accounts.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": settings.admin,
        PASSWORD: secret.password,
        SECRET_KEY: secret.secret_key,
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(settings.allowed_hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(settings.origins),
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "DENY",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_ENABLE_REMOTE_ASSISTANT": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",  # a route without a check of rights is refused
        "MLFLOW_ENABLE_WORKSPACES": "false",
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": (
            r"^(?:(?:mlflow-artifacts|models|runs):|dummy-source\Z)"
        ),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }


def own_secrets(settings: Settings, environ: Mapping[str, str]) -> Secrets:
    """Password and secret key: from the environment, or made once and kept with mode 0600. Raises
    `ConfigError`.
    """
    chosen = environ.get("COUNTERSIGN_ADMIN_PASSWORD") or environ.get(PASSWORD)
    if chosen is not None and len(chosen) < MIN_PASSWORD:
        found = f"the administrator's password has {len(chosen)} characters"
        expected = f"at least {MIN_PASSWORD}"
        raise ConfigError(found, where="COUNTERSIGN_ADMIN_PASSWORD", expected=expected)
    file = settings.state / "admin-password"
    password = chosen or _kept(file)
    key = environ.get(SECRET_KEY) or _kept(settings.state / "secret-key")
    return Secrets(password, key, None if chosen else file)


def write_accounts(settings: Settings) -> None:
    """MLflow's configuration of accounts: read by default, no default password."""
    accounts = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{settings.state / 'accounts.db'}",
        "admin_username": settings.admin,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "grant_default_workspace_access": "false",
        "auth_cache_ttl_seconds": ACCOUNT_SECONDS,
    }
    lines = ["[mlflow]", *(f"{name} = {value}" for name, value in accounts.items())]
    write_atomic(settings.state / "accounts.ini", "\n".join(lines).encode(), mode=0o600)


def _kept(path: Path) -> str:
    if not path.exists():
        write_atomic(path, secrets.token_urlsafe(24).encode(), mode=0o600)
    return path.read_text(encoding="ascii").strip()
