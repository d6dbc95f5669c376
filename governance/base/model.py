"""The one base class of everything typed that crosses a boundary: frozen, closed, finite numbers
only.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

# No plugin of another package changes what a model accepts; looking for them takes time, too.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import BaseModel, ConfigDict, StringConstraints

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A sha256 digest, 64 lower-case hexadecimal characters."""

SLUG = r"^[a-z][a-z0-9_-]{0,62}$"
Slug = Annotated[str, StringConstraints(pattern=SLUG)]
"""A name that is safe in paths, YAML keys, DVC stage names and registry names (ASCII, lower case).
"""

Json = Any
"""A JSON value; what may stand in it is decided by `governance.attest.canonical`."""


def empty(value: object) -> bool:
    """For `exclude_if`: an empty new field is left out, so that older bytes and digests stay."""
    return not value


def absent(value: object) -> bool:
    """The same for a new field of which 0 says something."""
    return value is None


class Model(BaseModel):
    """Frozen, refuses unknown fields, NaN and infinity; text is kept exactly as given."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),
        defer_build=True,  # a command builds the models it reads, not a hundred
    )
