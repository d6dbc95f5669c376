"""`countersign init`: a governed log, begun by people under a first policy that they sign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from governance.attest.keys import Signer
from governance.base.yaml import load_model
from governance.commands import session
from governance.commands.session import Call
from governance.history.state import state
from governance.log.port import Log
from governance.machine.machine import log_to_add_to
from governance.people import enrolment, founding, policies
from governance.people.enrolment import Founding
from governance.people.speaking import Signing
from governance.policy.policies import Policies


@click.command("init")
@click.option("--people", "file", type=session.FILE, help="A YAML file that names everybody.")
@click.option(
    "--key",
    "keys",
    metavar="KEY",
    multiple=True,
    help="Private key of an owner at hand; several may sign.",
)
@session.options("yes", "dry_run", "as_json")
def command(call: Call, file: Path | None, keys: tuple[str, ...]) -> None:
    """Begin a governed log: enrol people and services, pin the first policy, have its owners sign
    it.

    It can be run again at any time, and says what is missing. A role named policy-owner signs
    policies, recovery signs in their stead, release-manager asks for promotions; every other role
    of a person approves releases.
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
    done: list[str] = []
    if text != before:
        done.append(f"{'would write' if call.dry_run else 'wrote'} policies/{enrolment.FILE}")
    if not call.dry_run:
        signers = _signers(call, first, log, keys)
        if text != before:
            enrolment.write(folder, text)
        log = _begin_and_sign(call, first, log, signers, done)
    begun = founding.begun(call.machine, first, log, done)
    if call.dry_run and log is None:
        owners = " or ".join(person.name for person in policies.owners(first.rules))
        begun["next"] = [f"the same without --dry-run, with --key KEY of {owners}"]
    call.draw("begun", begun)


def _signers(call: Call, first: Policies, log: Log | None, keys: tuple[str, ...]) -> list[Signer]:
    """The owners with a key here who have not signed yet. Each reads the rules and agrees."""
    if not keys and not call.has_key:
        return []
    now = state(log) if log is not None else None
    if now is not None and now.authority.in_force.signed_at is not None:
        return []
    digest = first.digest
    signed = policies.signed_by(now, digest, "policy") if now else set()
    signers: list[Signer] = []
    for key in keys or (None,):
        signer = replace(call, key=key).signer
        person = founding.owner(first, signer)
        if person.name in signed:
            continue
        if not signers:
            session.tell([policies.first_rules(first.files), ""], err=call.as_json)
        question = f"{person.name} signs policies {digest}, which begin this log."
        call.agreed(question, digest[: policies.SHORTEST])
        signers.append(signer)
    return signers


def _begin_and_sign(
    call: Call, first: Policies, log: Log | None, signers: list[Signer], done: list[str]
) -> Log | None:
    """Begins the log if needed, and signs with every key. Does nothing without a key."""
    if not signers:
        return log
    if log is None:
        log = founding.begin(call.machine, first, signers[0], session.clock())
        done.append(f"began the log, as {founding.owner(first, signers[0]).name}")
    else:
        log = log_to_add_to(call.machine)
    for signer in signers:
        now = state(log)
        if now.authority.in_force.signed_at is not None:
            break  # enough have signed
        offer = policies.offer(now.authority, first.digest)
        author = policies.owner(now.authority, Signing(signer, None, session.clock()))
        recorded = policies.sign(log, now.authority, offer, author, "")
        done.append(f"{author.name} signed the policies as {author.role} (entry {recorded.index})")
    return log
