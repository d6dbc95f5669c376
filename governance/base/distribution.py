"""What this software is called on a package index, and its version.

`countersign` there belongs to someone else. The command is `countersign`; the packages are
`governance` and `pipelines`. pyproject.toml reads the version from here.
"""

from __future__ import annotations

NAME = "countersign-llm"
VERSION = "0.1.0"


def pip_install(extra: str) -> str:
    """The command that installs this software with an extra: `pipeline` or `server`."""
    return f"pip install '{NAME}[{extra}]=={VERSION}'"
