"""What a command trusts of a bundle, besides the options that its caller gives."""

from __future__ import annotations

from governance.base.errors import CountersignError
from governance.bundle.form import read
from governance.commands.session import Call
from governance.history.verify import TrustAnchors
from governance.log.checkpoint import parse_checkpoint
from governance.machine.trust import bundle_anchors
from governance.policy.witnesses import Requirement


def anchors_of_bundle(
    call: Call, data: bytes, witnesses: Requirement | None = None
) -> TrustAnchors:
    """What this machine trusts of a bundle's log. In a project's folder, its own policies count if
    the bundle is from a log of this project. A bundle that cannot be read is the verifier's affair.
    """
    nothing = TrustAnchors(origin=call.origin, witnesses=witnesses)
    try:
        bundle = read(data)
        name = parse_checkpoint(bundle.checkpoint)[0].origin
        here = call.machine  # raises without a project
    except CountersignError:
        return nothing
    if not name.startswith(f"countersign/{here.project}/"):
        return nothing
    return bundle_anchors(
        here,
        call.own_policies,
        bundle.checkpoint,
        bundle.model,
        origin=call.origin,
        witnesses=witnesses,
    )
