"""The folder for the state of all projects on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from governance.base.errors import ConfigError


def state_home(environ: Mapping[str, str]) -> Path:
    """COUNTERSIGN_HOME, else the folder that XDG_STATE_HOME or HOME give. Raises `ConfigError`."""
    chosen, state = environ.get("COUNTERSIGN_HOME"), environ.get("XDG_STATE_HOME", "")
    if chosen:
        folder = Path(chosen).expanduser()
        if not folder.is_absolute():
            found = f"{chosen!r} depends on the working folder"
            raise ConfigError(found, where="COUNTERSIGN_HOME", expected="an absolute path")
        return folder
    if Path(state).is_absolute():
        return Path(state) / "countersign"
    return Path(environ.get("HOME") or "~").expanduser() / ".local" / "state" / "countersign"
