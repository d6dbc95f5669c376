"""What a person says is dated within an hour of the server's clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from governance.attest.envelope import sign_statement
from governance.attest.predicates import Approval, Artifact, Authorization
from governance.base.errors import RefusedError
from governance.base.time import exact_instant
from governance.log import evidence
from governance.log.port import Filing
from governance.server.append import verifier
from tests.governance.governed import Governed, person
from tests.governance.story import MODEL, digest

HOUR, MICRO = timedelta(hours=1), timedelta(microseconds=1)


def sent(
    scene: Governed, dated: timedelta, kind: str = "approval", about: str = "packet"
) -> Filing:
    """A statement of ada that is dated so much later than the server's clock."""
    at = scene.now
    said = {"principal": "ada", "role": "ml-lead", "reason": "because"}
    said |= {"at": exact_instant(at + dated), "log": scene.story.log.entry(0).leaf_hash.hex()}
    if kind == "approval":
        said |= {"decision": "approve", "about": about, "model": MODEL, "page": digest("page")}
        predicate: Approval | Authorization = Approval.model_validate(said)
    else:
        said |= {"expires": exact_instant(at + timedelta(days=2))}
        predicate = Authorization.model_validate(said)
    log = scene.story.log
    subjects = [Artifact(role=about, name="x", sha256=digest("subject"))]
    if kind == "authorization":
        subjects = [Artifact(role="key", name="ada", sha256=person("ada").keyid)]
    envelope = sign_statement(evidence.build_statement(kind, subjects, predicate), person("ada"))
    return verifier(log, lambda: at)(envelope)


@pytest.mark.parametrize("dated", [-HOUR, -HOUR + MICRO, timedelta(0), HOUR - MICRO, HOUR])
def test_within_an_hour_it_is_taken(scene: Governed, dated: timedelta) -> None:
    assert sent(scene, dated).kind == "approval"


@pytest.mark.parametrize("dated", [-HOUR - MICRO, HOUR + MICRO])
def test_beyond_an_hour_it_is_refused(scene: Governed, dated: timedelta) -> None:
    with pytest.raises(RefusedError):
        sent(scene, dated)


@pytest.mark.parametrize("dated", [-HOUR - MICRO, HOUR + MICRO])
@pytest.mark.parametrize("kind", ["authorization", "approval"])
def test_no_kind_may_be_older(scene: Governed, kind: str, dated: timedelta) -> None:
    """A statement belongs to one log, so none is carried here later."""
    about = "data" if kind == "approval" else "policy"
    with pytest.raises(RefusedError):
        sent(scene, dated, kind, about)
