"""A stage runs in a process of its own, which nothing but its inputs, the code and the environment
of the interpreter can influence.

1. Python starts with `-P -s -S` (no working folder, no folder of the user on the path). Not with
   `-I`: it would ignore PYTHONHASHSEED, on which equal results depend.
2. The environment has only variables that are listed here. What the machine needs beside these
   stands in COUNTERSIGN_ENVIRONMENT; each statement contains the names. A variable by which a
   program loads other code (PYTHONPATH, LD_PRELOAD, GIT_DIR) is never passed on.
3. Modules are compiled from their sources (`pipelines.boot`).
4. Child processes inherit this: the same settings stand in variables of Python too.
5. A stage refuses to run in another process.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import governance
import pipelines
from governance.base.errors import ConfigError
from governance.base.home import state_home
from pipelines import boot
from pipelines.process import SETTINGS

ISOLATED = frozenset({"stage", "reproduce"})
"""Commands that run a stage."""
MORE = "COUNTERSIGN_ENVIRONMENT"
"""Environment variable: names of further variables, separated by commas."""
ENDPOINT_KEYS = "COUNTERSIGN_ENDPOINT_KEYS"
"""Environment variable: `NAME=VARIABLE,...`, the variable that holds the key of each endpoint."""
SIGNERS = ("COUNTERSIGN_SIGNER", "COUNTERSIGN_CHECKPOINT")
"""Variables whose value may be `env:NAME`."""
HASH_SEED = {"PYTHONHASHSEED": "0"}
"""A setting that results depend on and that works only before Python starts."""
PYTHON = {
    **HASH_SEED,
    "PYTHONSAFEPATH": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONPYCACHEPREFIX": os.devnull,  # below it nothing can be read or written
    "PYDANTIC_DISABLE_PLUGINS": "__all__",  # they would see and change what is validated
}
"""(4) The settings of Python and of typed models for every process of a stage."""

_SYSTEM = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE", r"LC_\w+"),
    *("TERM", "COLUMNS", "LINES", "NO_COLOR", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
)
_OURS = (r"COUNTERSIGN_\w+", "DVC_STAGE", "DVC_EXP_NAME")
_NETWORK = (
    *(r"(?i:https?|all|no)_(?i:proxy)", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSH_AUTH_SOCK"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH"),
    *("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"),
)
_SERVICES = (
    *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *("PGPASSWORD", "PGPASSFILE", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"),
    *(r"AWS_\w+", r"AZURE_\w+", "GOOGLE_APPLICATION_CREDENTIALS", "VAULT_ADDR", "VAULT_TOKEN"),
)
_DEVICES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "HIP_VISIBLE_DEVICES")
_SETTLED = (*SETTINGS, "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # each stage sets them anew
_ALLOWED = re.compile("|".join((*_SYSTEM, *_OURS, *_NETWORK, *_SERVICES, *_DEVICES, *_SETTLED)))
_NEVER = re.compile(
    r"(PYTHON|LD_|DYLD_|GIT_|GCONV_|BASH_|OPENSSL_|PERL5)\w*|ENV|IFS|NODE_OPTIONS"
    r"|OMP_TOOL\w*|\w*_INJECTION\w*|NCCL_\w*PLUGIN\w*|TORCH_DEVICE_BACKEND_AUTOLOAD"
)
"""(2) Variables by which an interpreter, the loader of programs, git, a shell or a library runs
other code.
"""
_LIBRARIES = "LD_LIBRARY_PATH"
"""The one of them that may be named in COUNTERSIGN_ENVIRONMENT: some machines have no other way to
tell where the drivers of their devices are.
"""


def enter(arguments: Sequence[str]) -> None:
    """Starts this command again in an isolated process, if it runs a stage and is not in one. Then
    it does not return. Raises `ConfigError`.
    """
    name = next((argument for argument in arguments if not argument.startswith("-")), "")
    if name in ISOLATED and not boot.installed():
        program = command("pipelines.cli", *arguments)
        os.execve(program[0], program, environment(os.environ))  # noqa: S606


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs `main` of a module isolated."""
    return [sys.executable, "-P", "-s", "-S", str(script()), module, *arguments]


def script() -> Path:
    """The file that starts a module of this project (`pipelines.boot`)."""
    return Path(pipelines.__path__[0]) / "boot.py"


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """(2), (4) The environment of an isolated process. Raises `ConfigError`."""
    names = {name for name in environ if _ALLOWED.fullmatch(name)}
    names |= set(named(environ)) | set(_secrets(environ))
    return {
        **{name: environ[name] for name in sorted(names) if name in environ},
        **PYTHON,
        boot.PACKAGES: os.pathsep.join(map(str, packages())),
        boot.BYTECODE: str(_bytecode(environ)),
    }


def packages() -> tuple[Path, Path]:
    """The folders of both packages, as this process imports them."""
    return Path(governance.__path__[0]).absolute(), Path(pipelines.__path__[0]).absolute()


def named(environ: Mapping[str, str]) -> list[str]:
    """The variables that COUNTERSIGN_ENVIRONMENT names. Raises `ConfigError` for one that is never
    passed on.
    """
    names = sorted({name.strip() for name in environ.get(MORE, "").split(",")} - {""})
    refused = [name for name in names if _NEVER.fullmatch(name) and name != _LIBRARIES]
    if refused:
        found = f"{', '.join(refused)}: by such a variable a program loads other code"
        raise ConfigError(found, where=MORE, fix="take it out; a stage never gets it")
    return names


def require_isolated(environ: Mapping[str, str]) -> None:
    """(5) Raises `ConfigError` unless this process is isolated."""
    found = list(_mistakes(environ))
    if found:
        fix = "run it as `countersign stage` or `countersign repro`"
        if boot.installed():  # it is, and something between changed its variables: a launcher
            fix = (
                "let the launcher set none of these; `torchrun` and FSDP do not (docs/evidence.md)"
            )
        raise ConfigError(f"this process is not isolated: {'; '.join(found)}", fix=fix)


def _mistakes(environ: Mapping[str, str]) -> Iterator[str]:
    if not (sys.flags.safe_path and sys.flags.no_user_site):
        yield "Python was started without -P -s"
    if not boot.installed():
        yield "modules were not compiled from their sources"
    allowed = {*PYTHON.items(), *((name, environ.get(name)) for name in named(environ))}
    risky = [item for item in environ.items() if _NEVER.fullmatch(item[0])]
    strange = [name for name, value in risky if (name, value) not in allowed]
    strange += [name for name, value in PYTHON.items() if environ.get(name) != value]
    if strange:
        yield f"variables {', '.join(sorted(set(strange)))}"


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables that hold a key, as the address of a signer names them."""
    for name in SIGNERS:
        scheme, _, secret = environ.get(name, "").partition(":")
        if scheme == "env" and not _NEVER.fullmatch(secret):
            yield secret
    yield from endpoint_keys(environ).values()


def endpoint_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Endpoint of policy to the variable that holds its key. Raises `ConfigError`."""
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, environ.get(ENDPOINT_KEYS, "").split(","))):
        name, _, variable = map(str.strip, part.partition("="))
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", variable) or _NEVER.fullmatch(variable):
            expected = "NAME=VARIABLE, the name of a variable in capitals, not a key"
            raise ConfigError("a part is not so", where=ENDPOINT_KEYS, expected=expected)
        found[name] = variable
    return found


def _bytecode(environ: Mapping[str, str]) -> Path:
    """The folder for compiled code: beside the state of all projects, for this account only. No
    variable names another one: what is compiled there runs in place of the sources.
    """
    folder = state_home(environ) / "bytecode"
    with suppress(OSError):  # without it, everything is compiled each time
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
