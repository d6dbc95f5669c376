"""`countersign policy`: the policies in force, what is proposed, and its signatures."""

from __future__ import annotations

from pathlib import Path

import click

from governance.attest.digests import SHORTEST
from governance.base.errors import ConfigError, CountersignError, Problems
from governance.commands import session
from governance.commands.session import Call
from governance.people import enrolment, policies
from governance.policy.policies import Policies, load_policies


@click.group("policy")
def command() -> None:
    """The policies in force for governed aliases; propose others, and sign what is proposed."""


@command.command("status")
@session.options("as_json")
def status_command(call: Call) -> None:
    """Which policies are in force, which are proposed, who signed and who is missing."""
    folder = Path.cwd() / "policies"
    at_hand: Policies | CountersignError | None = None
    try:
        at_hand = load_policies(folder) if folder.is_dir() else None
    except ConfigError as error:
        at_hand = error
    call.draw("policy_status", policies.status(call.read(), at_hand))


@command.command("show")
@click.argument("digest", required=False)
@session.options("as_json")
def show_command(call: Call, digest: str | None) -> None:
    """What DIGEST would change of the policies in force; without DIGEST, the rules in force."""
    authority = call.read().authority
    if digest is None:
        files = dict(authority.policies.files)
        result = {"digest": authority.in_force.digest, "files": files}
        call.show(result, [files[enrolment.FILE].rstrip()])
        return
    offer = policies.offer(authority, digest)
    text = policies.shown(authority, offer)
    call.show({"digest": offer.digest, "files": dict(offer.files), "shown": text}, [text])


@command.command("propose")
@session.options("key", "dry_run", "as_json")
def propose_command(call: Call) -> None:
    """Propose the policies of this folder, as one of their owners, for the owners to sign."""
    proposed = load_policies(Path.cwd() / "policies")
    problems = enrolment.impossible(proposed)
    if problems:
        raise Problems(problems)
    now = call.state()
    text = policies.unified(now.authority.policies.files, proposed.files)
    owner_roles = now.authority.policies.rules.owner_roles
    name = call.signing.speaker(now.authority, owner_roles, first=True).name
    if not call.dry_run:
        policies.propose(call.log, now.authority, proposed, call.signer, name, call.now)
        now = call.state()
    result = {"digest": proposed.digest, "recorded": not call.dry_run, "difference": text}
    owners = policies.status(now, None).in_force.wants.split(" or ")[0]
    done = f"{'would record' if call.dry_run else 'recorded'} policies {proposed.digest}"
    after = f"next, {owners}: countersign policy sign {proposed.digest[:12]}"
    call.show(result, [text, done, after])


@command.command("sign")
@click.argument("digest")
@session.reason_option("Why you sign.")
@session.options(*session.SIGNS)
def sign_command(call: Call, digest: str, reason: str) -> None:
    """Sign the policies DIGEST as an owner, after reading what they change."""
    now = call.state()
    offer = policies.offer(now.authority, digest)
    first = offer.digest == now.authority.in_force.digest
    author = policies.owner(now.authority, call.signing)
    entry = policies.signed_at(now, offer.digest, author)
    if entry is None:
        session.tell([policies.shown(now.authority, offer)], err=call.as_json)
        question = f"\n{author.name} signs policies {offer.digest} as {author.role}."
        unsigned = {"digest": offer.digest, "signed_by": author.name, "entry": None}
        call.confirm(question, offer.digest[:SHORTEST], unsigned)
        entry = policies.sign(call.log, now.authority, offer, author, reason).index
        now = call.state()
    period, status = now.authority.in_force, policies.status(now, None)
    in_force = period.digest == offer.digest and period.signed_at is not None
    result = {"digest": offer.digest, "signed_by": author.name, "entry": entry}
    proposals = {proposal.digest: proposal for proposal in status.proposals}
    waiting = proposals.get(offer.digest, status.in_force)
    result = {**result, "in_force": in_force}
    call.draw("policy_signed", result, period=period, first=first, waiting=waiting)
