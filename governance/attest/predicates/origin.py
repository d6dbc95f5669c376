"""The first entry of a log, changed policies, and the version of the rules."""

from typing import Annotated

from pydantic import Field

from governance.attest.predicates.parts import Logged, Run, evidence_kind
from governance.base.model import Model, Sha256, empty

PolicyFiles = Annotated[dict[str, str], Field(max_length=4096)]
"""Path below `policies/` to text, of every YAML file there. The digest of the policies follows from
it.
"""


@evidence_kind("origin", scope="origin", not_copied=True)
class Origin(Model):
    """The first entry of the log: the keys and policies that the rest of the log starts from."""

    project: str
    policy: Sha256
    checkpoint_key: str
    """Ed25519 public key (PEM) that signs checkpoints."""
    development_keys: list[str]
    """Public keys (PEM) that were made automatically on this machine. They are good for `candidate`
    only.
    """
    run: Run
    files: PolicyFiles | None = None
    """The policies themselves. Origins from before version 0.2 lack them."""
    rules: int = Field(0, ge=0, exclude_if=empty)
    """The version of the rules by which the entries after this one are judged
    (`governance.log.rules`). Origins without it begin with version 1.
    """


@evidence_kind("policy", scope="policy", not_copied=True)
class PolicyChange(Logged):
    """The policies changed. The subject is the digest of the new ones. They take effect once people
    approve them (`Approval`).
    """

    previous: Sha256
    run: Run
    files: PolicyFiles | None = None


@evidence_kind("rules", scope="rules", not_copied=True)
class RulesChange(Logged):
    """The entries after this one are judged by a later version of the rules
    (`governance.log.rules`).
    """

    version: int = Field(ge=2)
    run: Run
