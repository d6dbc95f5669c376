"""`countersign revoke`: a key is good for nothing from here on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from governance.attest.keys import PublicKey, public_key
from governance.base.errors import CountersignError
from governance.commands import session
from governance.commands.enrol import NEXT, edit
from governance.history.state import LogState
from governance.people import enrolment, keys, speaking


@click.command("revoke")
@click.argument("name")
@click.argument("key", required=False)
@click.option("--reason", required=True, help="Why; it stays visible.")
@click.option(
    "--later",
    is_flag=True,
    help="End it with the next signed policy, not at once: somebody leaves.",
)
@session.role_option
@click.option("--key", "own", metavar="KEY", help="Your private key, as elsewhere.")
@session.write_options
def command(
    name: str,
    key: str | None,
    reason: str,
    later: bool,
    role: str | None,
    own: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """End the key KEY of NAME, or all of NAME's, at once: by a revocation in the log, signed by
    whose key it is or by one policy owner. Take it out of policies/policy.yaml too, where there is
    one here.

    What the key signed before stands; from its revocation on it says nothing, whatever date is
    written on it.
    """
    done: list[str] = []
    entries = [] if later else _revoke(name, key, reason, role, own, yes, dry_run, done)
    digest = _edit(name, key, dry_run, done)
    result: dict[str, Any] = {
        "name": name,
        "revocations": entries,
        "policies": digest,
        "done": done,
    }
    session.show(result, [*done, *([NEXT] if digest else [])], as_json)


def _revoke(
    name: str,
    key: str | None,
    reason: str,
    role: str | None,
    own: str | None,
    yes: bool,
    dry_run: bool,
    done: list[str],
) -> list[int]:
    log = session.log_to_add_to(session.here(), dry_run)
    now = session.current(log)
    revoking = [
        public for public in _keys(now, name, key) if public.keyid not in now.authority.revoked
    ]
    signer = session.signer(own)
    by = speaking.person_of(now.authority.policies, signer).name
    entries = []
    for public in revoking:
        if dry_run:
            done.append(f"would revoke {public.fingerprint} of {name} at once")
            continue
        session.confirm(f"{by} revokes {public.fingerprint} of {name}: for ever.", name, yes)
        recorded, author = keys.revoke(
            log, now.authority, public, name, signer, role, reason, session.clock()
        )
        entries.append(recorded.index)
        done.append(
            f"{public.fingerprint} of {name} says nothing after entry {recorded.index},"
            f" by {author.name} as {author.role}"
        )
    if not revoking:
        done.append(f"every such key of {name} was revoked before")
    return entries


def _keys(now: LogState, name: str, key: str | None) -> list[PublicKey]:
    policies = now.authority.policies
    if key is not None:
        return [enrolment.key_of(policies, name, key)]
    enrolment.principal_named(policies, name)
    return [
        public_key(text)
        for principal in policies.rules.principals
        if principal.name == name
        for text in principal.keys
    ]


def _edit(name: str, key: str | None, dry_run: bool, done: list[str]) -> str | None:
    """Removes the key from the local policies. If the result could never work, policy.yaml stays
    and `done` says why.
    """
    if not (Path.cwd() / "policies" / enrolment.FILE).exists():
        done.append(
            "there are no policies here to take it out of: a policy owner does that in the project"
        )
        return None
    try:
        digest = edit(lambda text: enrolment.revoked(text, name, key), dry_run)
    except CountersignError as error:
        done.append(
            f"policies/{enrolment.FILE} is as it was, for without it nothing could be signed any"
            f" more:\n{error}"
        )
        done.append("next: enrol a successor first (countersign enrol, countersign rotate)")
        return None
    done.append(
        f"{'would take' if dry_run else 'took'} it out of policies/{enrolment.FILE}: policies"
        f" {digest}"
    )
    return digest
