"""`countersign init`: a governed log, begun by people under a first policy that they sign."""

from __future__ import annotations

import os
from pathlib import Path

import click
from pydantic import ValidationError

from governance.attest.keys import Signer
from governance.base.errors import ConfigError
from governance.base.yaml import error_text
from governance.commands import session
from governance.log.port import Log
from governance.people import enrolment, founding, policies, speaking
from governance.people.enrolment import EXAMPLE, Founding
from governance.policy.policies import Policies
from governance.release import promotion

PERSON = "NAME=KEY:ROLE,ROLE"
SERVICE = "NAME=KEY:KIND,KIND"


@click.command("init")
@click.option(
    "--person",
    "people",
    metavar=PERSON,
    multiple=True,
    help="A person, their public key and roles.",
)
@click.option(
    "--service",
    "services",
    metavar=SERVICE,
    multiple=True,
    help="A service and what it signs, or `all`.",
)
@click.option(
    "--people", "file", type=click.Path(path_type=Path), help="A YAML file that says all of it."
)
@click.option(
    "--key",
    "keys",
    metavar="KEY",
    multiple=True,
    help="Private key of an owner at hand; several may sign.",
)
@session.write_options
def command(
    people: tuple[str, ...],
    services: tuple[str, ...],
    file: Path | None,
    keys: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Begin a governed log: enrol people and services, pin the first policy, have its owners sign
    it.

    It can be run again at any time, and says what is missing. A role named policy-owner signs
    policies, recovery signs in their stead, release-manager asks for promotions; every other role
    of a person approves releases.
    """
    machine, folder = session.here(), Path.cwd() / "policies"
    log = founding.refuse_development(machine)
    given = _given(people, services, file)
    before = enrolment.read(folder)
    text = enrolment.founded(before, given) if given.people or given.services else before
    first = enrolment.checked(folder, text)
    scene = founding.Scene(machine, first, session.clock)
    if log is not None:
        founding.check_first(log, first)
    done: list[str] = []
    if text != before:
        done.append(f"{'would write' if dry_run else 'wrote'} policies/{enrolment.FILE}")
    if not dry_run:
        signers = _signers(scene, log, keys, yes, as_json)
        if text != before:
            enrolment.write(folder, text)
        log = _begin_and_sign(scene, log, signers, done)
    begun = founding.begun(scene, log, done)
    if dry_run and log is None:
        begun = begun.model_copy(
            update={"next": [f"the same without --dry-run, with --key KEY of {_owners(first)}"]}
        )
    session.show(begun, lines(begun), as_json)


def lines(begun: founding.Begun) -> list[str]:
    """The result for people."""
    text = [f"- {step}" for step in begun.done]
    text += [f"policies  {begun.policies}", f"log       {begun.log}", f"entry 0   {begun.pin}"]
    for name, (roles, *keys) in {**begun.people, **begun.services}.items():
        text.append(f"  {name:<12} {roles}")
        text += [f"  {'':<12} {key}" for key in keys]
    text.append("signed by " + (", ".join(begun.signed_by) or "nobody yet"))
    if begun.waits_for:
        text.append(f"missing   {begun.wants}: {', '.join(begun.waits_for)}")
    return [*text, "next:", *(f"  {step}" for step in begun.next)]


def _owners(first: Policies) -> str:
    """The people who sign the first policy. One of them begins the log."""
    roles = first.rules.owners.roles if first.rules.owners else []
    return " or ".join(
        principal.name for principal in first.rules.principals if set(principal.roles) & set(roles)
    )


def _signers(
    scene: founding.Scene, log: Log | None, keys: tuple[str, ...], yes: bool, as_json: bool
) -> list[Signer]:
    """The owners with a key here who have not signed yet. Each reads the rules and agrees."""
    if not keys and not os.environ.get(speaking.KEY):
        return []
    now = promotion.state(log) if log is not None else None
    if now is not None and now.authority.in_force.signed_at is not None:
        return []
    signed = policies.signed_by(now, scene.policies.digest, "policy") if now else set()
    signers: list[Signer] = []
    for key in keys or (None,):
        signer = session.signer(key)
        person = founding.owner(scene.policies, signer)
        if person.name in signed:
            continue
        if not signers:
            session.tell([policies.first_rules(scene.policies.files), ""], err=as_json)
        question = f"{person.name} signs policies {scene.policies.digest}, which begin this log."
        session.confirm(question, scene.policies.digest[: policies.SHORTEST], yes)
        signers.append(signer)
    return signers


def _begin_and_sign(
    scene: founding.Scene, log: Log | None, signers: list[Signer], done: list[str]
) -> Log | None:
    """Begins the log if needed, and signs with every key. Does nothing without a key."""
    if not signers:
        return log
    if log is None:
        log = founding.begin(scene, signers[0])
        done.append(f"began the log, as {founding.owner(scene.policies, signers[0]).name}")
    else:
        log = speaking.log_to_add_to(scene.machine)
    for signer in signers:
        now = promotion.state(log)
        if now.authority.in_force.signed_at is not None:
            break  # enough have signed
        offer = policies.offer(now.authority, scene.policies.digest)
        recorded, author = policies.sign(
            log, now.authority, offer, signer, None, "the first policy", scene.now()
        )
        done.append(f"{author.name} signed the policies as {author.role} (entry {recorded.index})")
    return log


def _given(people: tuple[str, ...], services: tuple[str, ...], file: Path | None) -> Founding:
    """All people and services of the file and the command line. Raises `ConfigError`."""
    base = enrolment.read_founding(file) if file else Founding()
    persons, others = {}, {}
    for text in people:
        name, key, roles = enrolment.principal_of(text, "person")
        persons[name] = {"key": key, "roles": roles}
    for text in services:
        name, key, kinds = enrolment.principal_of(text, "service")
        others[name] = {"key": key, "signs": kinds}
    try:
        further = Founding.model_validate({"people": persons, "services": others})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'][:2]))}: {error_text(problem)}"
            for problem in error.errors()
        )
        raise ConfigError(problems[:400], where="--person, --service", expected=EXAMPLE) from None
    return base.model_copy(
        update={
            "people": {**base.people, **further.people},
            "services": {**base.services, **further.services},
        }
    )
