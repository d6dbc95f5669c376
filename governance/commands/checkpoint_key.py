"""`countersign checkpoint-key`: a successor of the key that signs the log's checkpoints."""

from __future__ import annotations

import click

from governance.attest.keys import public_key
from governance.base.errors import ConfigError
from governance.commands import session
from governance.commands.session import Signing
from governance.machine.machine import ELSEWHERE, Machine, on_server, read_public
from governance.people import keys, policies


@click.group("checkpoint-key")
def command() -> None:
    """The key that signs the log's checkpoints: its successor is made here, approved by the owners,
    and then used.
    """


@command.command("status")
@session.json_option
def status(as_json: bool) -> None:
    """Which key signs, which is proposed, who approved it."""
    now = session.current(session.read(session.here()))
    used = [(index, public_key(pem)) for index, pem in now.authority.checkpoint_keys]
    proposed = keys.successors(now)
    result = {
        "keys": [
            {"from_entry": index, "keyid": key.keyid, "fingerprint": key.fingerprint}
            for index, key in used
        ],
        "proposed": [successor.model_dump() for successor in proposed if not successor.approved],
    }
    lines = [f"from entry {index}: {key.keyid[:12]} {key.fingerprint}" for index, key in used]
    for successor in proposed:
        if not successor.approved:
            lines.append(
                f"proposed at entry {successor.entry}: {successor.keyid[:12]}"
                f" {successor.fingerprint}; approved by"
                f" {', '.join(successor.signed_by) or 'nobody'}; wants"
                f" {policies.status(now, None).in_force.wants}"
            )
    session.show(result, lines, as_json)


@command.command("rotate")
@session.reason_option("Why you change the key.")
@click.option(
    "--public",
    metavar="FILE",
    help="Propose this public key; whoever keeps the log reaches it elsewhere.",
)
@session.signs
def rotate(reason: str, public: str | None, signing: Signing) -> None:
    """Make the next key, on the machine that keeps the log, and propose it as a policy owner."""
    machine = _keeper()
    given = public_key(read_public(public, "--public")) if public else None
    if given is None and machine.environ.get(ELSEWHERE):
        raise ConfigError(
            "this machine's checkpoint key lives elsewhere", where=ELSEWHERE, fix="--public FILE"
        )
    log = session.log_to_add_to(machine, signing.dry_run)
    now, signer, at = session.current(log), session.signer(signing.key), session.clock()
    author = policies.owner(now.authority, signer, signing.role, at, recovery=False)
    if signing.dry_run:
        session.show(
            {"would": "propose"},
            [f"{author.name} would propose a new checkpoint key"],
            signing.as_json,
        )
        return
    session.confirm(f"{author.name} proposes a new checkpoint key.", author.name, signing.yes)
    recorded, successor = keys.propose_successor(
        machine, log, now.authority, signer, signing.role, reason, at, given
    )
    lines = [
        (
            f"{'read' if given else 'made'} {successor.keyid[:12]} {successor.fingerprint},"
            f" proposed at entry {recorded.index}"
        ),
        (
            f"next, {policies.status(now, None).in_force.wants}: countersign checkpoint-key approve"
            f" {successor.keyid[:12]}"
        ),
    ]
    session.show(
        {"keyid": successor.keyid, "fingerprint": successor.fingerprint, "entry": recorded.index},
        lines,
        signing.as_json,
    )


@command.command("approve")
@click.argument("keyid")
@click.option(
    "--reason", default="fingerprint compared", show_default=True, help="Why; it stays visible."
)
@session.signs
def approve(keyid: str, reason: str, signing: Signing) -> None:
    """Approve the key KEYID as one of the owners, having compared its fingerprint with who made
    it.
    """
    log = session.log_to_add_to(session.here(), signing.dry_run)
    now, signer, at = session.current(log), session.signer(signing.key), session.clock()
    successor = keys.proposed(now, keyid)
    author = policies.owner(now.authority, signer, signing.role, at)
    if signing.dry_run:
        session.show(
            {"would": "approve"},
            [f"{author.name} would approve {successor.fingerprint}"],
            signing.as_json,
        )
        return
    question = f"{author.name} approves that {successor.fingerprint} signs the log's checkpoints."
    session.confirm(question, successor.keyid[: policies.SHORTEST], signing.yes)
    recorded, _ = keys.approve_successor(log, now, keyid, signer, signing.role, reason, at)
    proposals = {proposal.keyid: proposal for proposal in keys.successors(session.current(log))}
    updated = proposals[successor.keyid]
    lines = [f"{author.name} approved {successor.fingerprint} (entry {recorded.index})"]
    lines.append(
        "next, on the machine that keeps the log: countersign checkpoint-key use (a running server"
        " takes it up itself)"
        if updated.approved
        else (
            f"so far {', '.join(updated.signed_by)}; wants"
            f" {policies.status(now, None).in_force.wants}"
        )
    )
    session.show(
        {"keyid": successor.keyid, "entry": recorded.index, "approved": updated.approved},
        lines,
        signing.as_json,
    )


@command.command("use")
@session.dry_run_option
@session.json_option
def use(dry_run: bool, as_json: bool) -> None:
    """Sign with the approved key from now on; the old one is kept beside it."""
    machine = _keeper()
    if machine.environ.get(ELSEWHERE):
        fix = "set it to the address of the approved key, and restart the server"
        raise ConfigError("this machine's checkpoint key lives elsewhere", where=ELSEWHERE, fix=fix)
    waits = keys.approved_successor(machine, session.current(session.read(machine)))
    if dry_run:
        line = (
            f"would sign with {waits.fingerprint} from now on"
            if waits
            else "no other key waits to be used here"
        )
        session.show({"would_use": waits.keyid if waits else None}, [line], as_json)
        return
    kept = keys.use_successor(machine.keys) if waits else None
    lines = ["no other key waits to be used here"]
    if kept is not None:
        lines = [f"the approved key signs checkpoints from now on; the old one is kept as {kept}"]
        lines.append(
            "next: keep a new checkpoint elsewhere (countersign verify --write-checkpoint FILE)"
        )
    session.show({"used": kept is not None, "kept": str(kept) if kept else None}, lines, as_json)


def _keeper() -> Machine:
    """This machine, which must keep the log. Raises `ConfigError`."""
    machine = session.here()
    if on_server(machine):
        raise ConfigError(
            "the key is where the log is, and this machine reads the log over a server",
            where="COUNTERSIGN_LOG",
            fix="run this on the server's machine; approving works from here",
        )
    return machine
