"""`countersign policy`: the policies in force, what is proposed, and its signatures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from governance.base.errors import ConfigError, CountersignError, Problems
from governance.commands import session
from governance.commands.session import Signing
from governance.history.state import LogState
from governance.people import enrolment, policies, speaking
from governance.people.policies import Signatures, Status
from governance.policy.policies import Policies, load_policies


@click.group("policy")
def command() -> None:
    """The policies in force for governed aliases; propose others, and sign what is proposed."""


@command.command("status")
@session.json_option
def status_command(as_json: bool) -> None:
    """Which policies are in force, which are proposed, who signed and who is missing."""
    status = policies.status(session.current(session.read(session.here())), _at_hand())
    session.show(status, list(status_lines(status)), as_json)


@command.command("show")
@click.argument("digest", required=False)
@session.json_option
def show_command(digest: str | None, as_json: bool) -> None:
    """What DIGEST would change of the policies in force; without DIGEST, the rules in force."""
    now = session.current(session.read(session.here()))
    if digest is None:
        files = dict(now.authority.policies.files)
        session.show(
            {"digest": now.authority.in_force.digest, "files": files},
            [files[enrolment.FILE].rstrip()],
            as_json,
        )
        return
    offer = policies.offer(now.authority, digest)
    text = policies.shown(now.authority, offer)
    session.show(
        {"digest": offer.digest, "files": dict(offer.files), "shown": text}, [text], as_json
    )


@command.command("propose")
@session.key_option
@session.dry_run_option
@session.json_option
def propose_command(key: str | None, dry_run: bool, as_json: bool) -> None:
    """Record the policies of this folder, for their owners to sign."""
    machine, proposed = session.here(), load_policies(Path.cwd() / "policies")
    problems = enrolment.impossible(proposed)
    if problems:
        raise Problems(problems)
    log = session.log_to_add_to(machine, dry_run)
    now = session.current(log)
    text = policies.unified(now.authority.policies.files, proposed.files)
    signer = session.signer(key)
    name = speaking.person_of(now.authority.policies, signer).name
    if not dry_run:
        policies.propose(log, now.authority, proposed, signer, name, session.clock())
        now = session.current(log)
    result = {"digest": proposed.digest, "recorded": not dry_run, "difference": text}
    owners = ", ".join(policies.status(now, None).in_force.wants.split(" or ")[:1])
    word = "would record" if dry_run else "recorded"
    session.show(
        result,
        [
            text,
            f"{word} policies {proposed.digest}",
            f"next, {owners}: countersign policy sign {proposed.digest[:12]}",
        ],
        as_json,
    )


@command.command("sign")
@click.argument("digest")
@session.reason_option("Why you sign.")
@session.signs
def sign_command(digest: str, reason: str, signing: Signing) -> None:
    """Sign the policies DIGEST as an owner, after reading what they change."""
    log = session.log_to_add_to(session.here(), signing.dry_run)
    now = session.current(log)
    offer = policies.offer(now.authority, digest)
    text = policies.shown(now.authority, offer)
    signer = session.signer(signing.key)
    author = policies.owner(now.authority, signer, signing.role, session.clock())
    entry = policies.signed_at(now, offer.digest, author)
    if entry is None:
        session.tell([text], err=signing.as_json)
    if entry is None and not signing.dry_run:
        question = f"\n{author.name} signs policies {offer.digest} as {author.role}."
        session.confirm(question, offer.digest[: policies.SHORTEST], signing.yes)
        recorded, _ = policies.sign(
            log, now.authority, offer, signer, signing.role, reason, session.clock()
        )
        entry, now = recorded.index, session.current(log)
    in_force = (
        now.authority.in_force.digest == offer.digest
        and now.authority.in_force.signed_at is not None
    )
    result = {
        "digest": offer.digest,
        "signed_by": author.name,
        "entry": entry,
        "in_force": in_force,
    }
    session.show(result, list(_signed_lines(now, offer, author.name, entry)), signing.as_json)


def status_lines(status: Status) -> Iterator[str]:
    """The status for people."""
    current = status.in_force
    yield f"in force   {current.digest} since entry {current.entry}"
    yield f"           {'signed by' if status.signed else 'NOT SIGNED YET; so far by'} " + _names(
        current.signed_by
    )
    if current.waits_for:
        yield f"           wants {current.wants}; missing: {_names(current.waits_for)}"
    for signatures in status.proposals:
        yield from _proposal_lines(signatures)
    if not status.proposals:
        yield "proposed   nothing"
    yield f"at hand    {status.at_hand}"
    for name, keys in status.keys.items():
        yield f"  {name:<12} {', '.join(keys)}"


def _proposal_lines(signatures: Signatures) -> Iterator[str]:
    yield (
        f"proposed   {signatures.digest} at entry {signatures.entry}, changes"
        f" {', '.join(signatures.changed) or 'nothing'}"
    )
    yield (
        f"           signed by {_names(signatures.signed_by)}; wants {signatures.wants}; missing:"
        f" {_names(signatures.waits_for)}"
    )
    yield (
        f"           countersign policy show {signatures.digest[:12]}; countersign policy sign"
        f" {signatures.digest[:12]}"
    )


def _signed_lines(
    now: LogState, offer: policies.Offer, name: str, entry: int | None
) -> Iterator[str]:
    yield (
        f"{name} signed (entry {entry})"
        if entry is not None
        else f"{name} would sign; nothing was written"
    )
    period = now.authority.in_force
    if period.digest == offer.digest and period.signed_at is not None:
        yield f"in force from entry {period.signed_at} on, signed by {_names(list(period.signers))}"
        yield (
            "next: countersign init, in the project, says how runs begin"
            if offer.first
            else "next: countersign pending"
        )
        return
    status = policies.status(now, None)
    waiting = next(
        (
            signatures
            for signatures in [*status.proposals, status.in_force]
            if signatures.digest == offer.digest
        ),
        status.in_force,
    )
    yield f"not in force yet: wants {waiting.wants}; so far {_names(waiting.signed_by)}"
    if entry is not None:
        yield f"next: {' or '.join(waiting.waits_for)}: countersign policy sign {offer.digest[:12]}"


def _names(names: list[str]) -> str:
    return ", ".join(names) or "nobody"


def _at_hand() -> Policies | CountersignError | None:
    folder = Path.cwd() / "policies"
    if not folder.is_dir():
        return None
    try:
        return load_policies(folder)
    except ConfigError as error:
        return error
