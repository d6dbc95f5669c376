"""`countersign enrol`, `rotate`, `revoke` and `authorize`: whose keys count, and for what."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from governance.attest.keys import earlier_key
from governance.attest.predicates import Artifact, Authorization
from governance.base.errors import ConfigError, CountersignError
from governance.base.text import moment
from governance.base.time import exact_instant
from governance.commands import session
from governance.commands.session import Call
from governance.history.authorizations import of_person
from governance.people import authorizing, enrolment, policies
from governance.people.enrolment import PIPELINE
from governance.policy.rules import RIGHTS

NEXT = "next: countersign policy propose, then its owners: countersign policy sign"


@click.command("enrol")
@click.argument("name")
@click.argument("key")
@click.option("--role", "roles", multiple=True, help="A role of a person; repeat it for several.")
@click.option("--signs", "kinds", multiple=True, type=click.Choice([*RIGHTS, PIPELINE]))
@session.options("dry_run", "as_json")
def enrol_command(
    call: Call, name: str, key: str, roles: tuple[str, ...], kinds: tuple[str, ...]
) -> None:
    """Write NAME with the public key KEY (a file or the line itself) into policies/policy.yaml.

    A person has roles (--role), a service signs kinds of evidence (--signs); without either,
    somebody who is there has a further key. `--signs pipeline` is every kind but promotion, which
    is for the server's key. Nothing counts before the owners signed.
    """
    if roles and kinds:
        expected = "--role ROLE, or --signs KIND"
        raise ConfigError("a person has roles, a service signs", expected=expected)
    public = enrolment.read_key(key)
    rights = list(roles) or enrolment.rights_of(kinds)
    kind = "person" if roles else "service" if kinds else "known"
    digest = _edit(call, lambda text: enrolment.enrolled(text, name, kind, public, rights))
    key = public.fingerprint
    done = f"{name} {'would be' if call.dry_run else 'is'} enrolled"
    right = f"as {', '.join(rights)}" if rights else "with a further key"
    result = {"name": name, "kind": kind, "rights": rights, "key": key, "policies": digest}
    call.show(result, [f"{done} {right}: {key}", f"policies {digest}", NEXT])


@click.command("rotate")
@click.argument("name")
@click.argument("old")
@click.argument("new")
@session.options("dry_run", "as_json")
def rotate_command(call: Call, name: str, old: str, new: str) -> None:
    """Write the public key NEW of NAME in place of OLD, named by fingerprint, key id, file or line.

    What the old key signed stands. It signs on until the changed policies are in force: where it
    may be in other hands, `countersign revoke` ends it at once.
    """
    public = enrolment.read_key(new)
    digest = _edit(call, lambda text: enrolment.rotated(text, name, old, public))
    result = {"name": name, "key": public.fingerprint, "policies": digest}
    done = f"{name} {'would have' if call.dry_run else 'has'} the key {public.fingerprint}"
    call.show(result, [done, f"policies {digest}", NEXT])


@click.command("revoke")
@click.argument("name")
@click.argument("revoked", metavar="[KEY]", required=False)
@click.option("--reason", required=True, help="Why; it stays visible.")
@click.option("--later", is_flag=True, help="End it with the next signed policy, not at once.")
@session.options(*session.SIGNS)
def revoke_command(call: Call, name: str, revoked: str | None, reason: str, later: bool) -> None:
    """End the key KEY of NAME, or all of NAME's, at once: by a revocation in the log, signed by
    whose key it is or by one policy owner. Take it out of policies/policy.yaml too, where there is
    one here.

    What the key signed before stays valid. What it signs after its revocation does not count,
    whatever date is written on it.
    """
    done: list[str] = []
    entries = [] if later else _revoke(call, name, revoked, reason, done)
    file = f"policies/{enrolment.FILE}"
    digest = None
    if not Path(file).exists():
        done.append(f"there is no {file} here: a policy owner removes the key in the project")
    else:
        try:
            digest = _edit(call, lambda text: enrolment.revoked(text, name, revoked))
            removed = "would be removed" if call.dry_run else "removed"
            done += [f"{removed} from {file}: policies {digest}", NEXT]
        except CountersignError as error:
            done.append(f"{file} is unchanged; without this key nothing could be signed:\n{error}")
            done.append("next: enrol a successor first (countersign enrol, countersign rotate)")
    result = {"name": name, "revocations": entries, "policies": digest, "done": done}
    call.show(result, done)


def _revoke(call: Call, name: str, revoked: str | None, reason: str, done: list[str]) -> list[int]:
    """Revokes the keys in the log that are not revoked yet. Returns the entries."""
    now = call.state()
    in_force = now.authority.policies
    if revoked is not None:
        named = [enrolment.key_of(in_force, name, revoked)]
    else:
        named = [earlier_key(text) for text in enrolment.principal_named(in_force, name).keys]
    revoking = [public for public in named if public.keyid not in now.authority.revoked]
    author = policies.revoker(now.authority, name, call.signing)
    if not revoking:
        done.append(f"every such key of {name} was revoked before")
        return []
    fingerprints = ", ".join(public.fingerprint for public in revoking)
    call.confirm(f"{author.name} revokes for ever, of {name}: {fingerprints}.", name)
    entries = []
    for public in revoking:
        entries.append(policies.revoke_key(call.log, public, name, author, reason).index)
        after = f"after entry {entries[-1]}, by {author.name} as {author.role}"
        done.append(f"{public.fingerprint} of {name} does not count {after}")
    return entries


def _edit(call: Call, change: enrolment.Change) -> str:
    """Changes policies/policy.yaml if the result could work. Returns the digest of the policies."""
    folder = Path.cwd() / "policies"
    text = change(enrolment.read(folder))
    digest = enrolment.checked(folder, text).digest
    if not call.dry_run:
        enrolment.write(folder, text)
    return digest


@click.command("authorize")
@click.option("--hours", type=click.IntRange(1, authorizing.LONGEST), required=True)
@click.option("--reason", default="", help="What for; the log keeps it.")
@session.options(*session.SIGNS)
def authorize_command(call: Call, hours: int, reason: str) -> None:
    """Let services run in your name for so many hours. A run that nobody authorized cannot reach a
    governed alias.

    Set COUNTERSIGN_REQUESTER=YOUR_NAME for the runs. Who starts a run cannot approve its model.
    """
    now = call.state()
    author = call.signing.speaker(now.authority, None, first=True)
    name = author.name
    question = f"{name} lets services run in their name for {hours} hours."
    call.confirm(question, name, {"name": name, "hours": hours})
    expires = exact_instant(call.now + timedelta(hours=hours))
    authorization = Authorization(**author.signed(reason), expires=expires)
    subject = Artifact(role="key", name=name, sha256=author.signer.keyid)
    entry = author.record(call.log, "authorization", subject, authorization).index
    signed = call.state()
    statements = of_person(signed.evidence, signed.authority, name)
    digest = next(statement.digest for statement in statements if statement.index == entry)
    until = f"until {moment(authorization.expires)} (entry {entry})"
    lines = [f"services may run in the name of {name} {until}"]
    lines.append(f"next: export COUNTERSIGN_REQUESTER={name}")
    call.show(authorization, lines, name=name, entry=entry, authorization=digest)
