"""`countersign init`: a governed log, begun by people under a first policy that they sign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from governance.attest.digests import SHORTEST
from governance.base.yaml import load_model
from governance.commands import session
from governance.commands.session import Call
from governance.history.state import state
from governance.log.port import Log
from governance.machine.machine import log_to_add_to
from governance.people import enrolment, founding, policies
from governance.people.enrolment import Founding
from governance.policy.policies import Policies


@click.command("init")
@click.option("--people", "file", type=session.FILE, help="A YAML file that names everybody.")
@session.options("key", "yes", "dry_run", "as_json")
def command(call: Call, file: Path | None) -> None:
    """Begin a governed log: enrol people and services, pin the first policy, and sign it with your
    key.

    It can be run again at any time, also by another owner, and says what is missing. A role named
    policy-owner signs policies, recovery signs in their stead, release-manager asks for promotions;
    every other role of a person approves releases.
    """
    folder = Path.cwd() / "policies"
    log = founding.refuse_development(call.machine)
    before = enrolment.read(folder)
    text = before
    if file is not None:
        text = enrolment.founded(before, load_model(file, Founding), file.parent)
    first = enrolment.checked(folder, text)
    if log is not None:
        founding.check_first(log, first)
    changed = text != before
    wrote = "would write" if call.dry_run else "wrote"
    done = [f"{wrote} policies/{enrolment.FILE}"] if changed else []
    if not call.dry_run:
        signs = _agrees(call, first, log)
        if changed:
            enrolment.write(folder, text)
        log = _sign(call, first, log, done) if signs else log
    begun = founding.begun(call.machine, first, log, done)
    if call.dry_run and log is None:
        owners = " or ".join(person.name for person in policies.owners(first.rules))
        begun["next"] = [f"the same without --dry-run, with --key KEY of {owners}"]
    call.draw("begun", begun)


def _agrees(call: Call, first: Policies, log: Log | None) -> bool:
    """Whether to sign: there is a key, of an owner who has not signed and whose signature is
    missing. The owner reads the rules and agrees.
    """
    if not call.has_key:
        return False
    now = state(log) if log is not None else None
    if now is not None and now.authority.in_force.signed_at is not None:
        return False
    person = founding.owner(first, call.signer)
    if now is not None and person.name in policies.signed_by(now, first.digest, "policy"):
        return False
    session.tell([policies.first_rules(first.files), ""], err=call.as_json)
    question = f"{person.name} signs policies {first.digest}, which begin this log."
    call.confirm(question, first.digest[:SHORTEST])
    return True


def _sign(call: Call, first: Policies, log: Log | None, done: list[str]) -> Log:
    """Begins the log if needed, and signs its first policies."""
    if log is None:
        log = founding.begin(call.machine, first, call.signer, session.clock())
        done.append(f"began the log, as {founding.owner(first, call.signer).name}")
    else:
        log = log_to_add_to(call.machine)
    authority = state(log).authority
    offer = policies.offer(authority, first.digest)
    author = policies.owner(authority, replace(call.signing, at=session.clock()))
    recorded = policies.sign(log, authority, offer, author, "")
    done.append(f"{author.name} signed the policies as {author.role} (entry {recorded.index})")
    return log
