"""`countersign checkpoint-key`: a successor of the key that signs the log's checkpoints."""

from __future__ import annotations

import click

from governance.attest.digests import SHORTEST
from governance.attest.keys import public_key
from governance.base.errors import ConfigError
from governance.commands import session
from governance.commands.session import Call
from governance.history.state import LogState
from governance.machine.machine import ELSEWHERE, on_server
from governance.machine.signers import read_public
from governance.people import policies


@click.group("checkpoint-key")
def command() -> None:
    """The key that signs the log's checkpoints: its successor is made here, approved by the owners,
    and then used.
    """


@command.command("status")
@session.options("as_json")
def status_command(call: Call) -> None:
    """Which key signs, which is proposed, who approved it."""
    now = call.read()
    proposed = [each.model_dump() for each in policies.successors(now) if not each.approved]
    used, lines = [], []
    for index, pem in now.authority.checkpoint_keys:
        key = public_key(pem)
        used.append({"from_entry": index, "keyid": key.keyid, "fingerprint": key.fingerprint})
        lines.append(f"from entry {index}: {key.keyid[:12]} {key.fingerprint}")
    for each in proposed:
        approved = f"approved by {', '.join(each['signed_by']) or 'nobody'}; wants {_wants(now)}"
        name = f"{each['keyid'][:12]} {each['fingerprint']}"
        lines.append(f"proposed at entry {each['entry']}: {name}; {approved}")
    call.show({"keys": used, "proposed": proposed}, lines)


@command.command("rotate")
@session.reason_option("Why you change the key.")
@click.option("--public", metavar="FILE", help="Propose this public key, kept elsewhere.")
@session.options(*session.SIGNS)
def rotate_command(call: Call, reason: str, public: str | None) -> None:
    """Make the next key, on the machine that keeps the log, and propose it as a policy owner."""
    _check_keeper(call, "" if public else "--public FILE")
    given = public_key(read_public(public, "--public")) if public else None
    now = call.state()
    author = policies.owner(now.authority, call.signing, recovery=False)
    call.confirm(f"{author.name} proposes a new checkpoint key.", author.name)
    key = given or policies.next_key(call.machine)
    recorded = policies.propose_successor(call.log, key, author, reason)
    result = {"keyid": key.keyid, "fingerprint": key.fingerprint, "entry": recorded.index}
    done = f"{'read' if given else 'made'} {key.keyid[:12]} {key.fingerprint}"
    approve = f"countersign checkpoint-key approve {key.keyid[:12]}"
    lines = [f"{done}, proposed at entry {recorded.index}", f"next, {_wants(now)}: {approve}"]
    call.show(result, lines)


@command.command("approve")
@click.argument("keyid")
@session.reason_option("How you compared its fingerprint.")
@session.options(*session.SIGNS)
def approve_command(call: Call, keyid: str, reason: str) -> None:
    """Approve the key KEYID as one of the owners, having compared its fingerprint with who made
    it.
    """
    now = call.state()
    successor = policies.proposed_successor(now, keyid)
    key = successor.fingerprint
    author = policies.owner(now.authority, call.signing)
    question = f"{author.name} approves that {key} signs the log's checkpoints."
    call.confirm(question, successor.keyid[:SHORTEST])
    recorded = policies.approve_successor(call.log, successor.keyid, author, reason)
    now = call.state()
    updated = {each.keyid: each for each in policies.successors(now)}[successor.keyid]
    after = f"so far {', '.join(updated.signed_by)}; wants {_wants(now)}"
    if updated.approved:
        after = (
            "next, on the machine that keeps the log: countersign checkpoint-key use (a running"
            " server takes it up itself)"
        )
    result = {"keyid": successor.keyid, "entry": recorded.index, "approved": updated.approved}
    call.show(result, [f"{author.name} approved {key} (entry {recorded.index})", after])


@command.command("use")
@session.options("dry_run", "as_json")
def use_command(call: Call) -> None:
    """Sign with the approved key from now on; the old one is kept beside it."""
    _check_keeper(call, "set it to the address of the approved key, and restart the server")
    waits = policies.approved_successor(call.machine, call.read())
    lines = ["no other key waits to be used here"]
    if call.dry_run:
        lines = [f"would sign with {waits.fingerprint} from now on"] if waits else lines
        call.show({"would_use": waits.keyid if waits else None}, lines)
        return
    kept = policies.use_successor(call.machine.keys) if waits else None
    if kept is not None:
        lines = [f"the approved key signs checkpoints from now on; the old one is kept as {kept}"]
        lines.append(
            "next: keep a new checkpoint elsewhere (countersign verify --write-checkpoint FILE)"
        )
    call.show({"used": kept is not None, "kept": str(kept) if kept else None}, lines)


def _wants(now: LogState) -> str:
    """The required signatures, in words."""
    return policies.status(now, None).in_force.wants


def _check_keeper(call: Call, elsewhere: str) -> None:
    """Checks that this machine keeps the log and, where `elsewhere` says what to do otherwise, its
    checkpoint key. Raises `ConfigError`.
    """
    if on_server(call.machine):
        found = "the key is where the log is, and this machine reads the log over a server"
        fix = "run this on the server's machine; approving works from here"
        raise ConfigError(found, where="COUNTERSIGN_LOG", fix=fix)
    if elsewhere and call.machine.environ.get(ELSEWHERE):
        found = "this machine's checkpoint key lives elsewhere"
        raise ConfigError(found, where=ELSEWHERE, fix=elsewhere)
