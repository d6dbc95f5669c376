"""`countersign enrol`: somebody new in policies/policy.yaml."""

from __future__ import annotations

from pathlib import Path

import click

from governance.base.errors import ConfigError
from governance.commands import session
from governance.people import enrolment
from governance.people.enrolment import KINDS

NEXT = "next: countersign policy propose, then its owners: countersign policy sign"


@click.command("enrol")
@click.argument("name")
@click.argument("key")
@click.option("--role", "roles", multiple=True, help="A role of a person; repeat it for several.")
@click.option(
    "--signs",
    "kinds",
    multiple=True,
    type=click.Choice([*KINDS, "all"]),
    help="What a service signs.",
)
@session.dry_run_option
@session.json_option
def command(
    name: str,
    key: str,
    roles: tuple[str, ...],
    kinds: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write NAME with the public key KEY (a file or the line itself) into policies/policy.yaml.

    A person has roles (--role), a service signs kinds of evidence (--signs); without either,
    somebody who is there has a further key. Nothing counts before the owners signed.
    """
    if roles and kinds:
        raise ConfigError(
            "a person has roles, a service signs", expected="--role ROLE, or --signs KIND"
        )
    public = enrolment.read_key(key)
    rights = list(roles) or (list(KINDS) if "all" in kinds else list(kinds))
    kind = "person" if roles else "service" if kinds else "known"
    digest = edit(lambda text: enrolment.enrolled(text, name, kind, public, rights), dry_run)
    result = {
        "name": name,
        "kind": kind,
        "rights": rights,
        "key": public.fingerprint,
        "policies": digest,
    }
    word, as_what = (
        "would be" if dry_run else "is",
        f" as {', '.join(rights)}" if rights else " with a further key",
    )
    lines = [f"{name} {word} enrolled{as_what}: {public.fingerprint}", f"policies {digest}", NEXT]
    session.show(result, lines, as_json)


def edit(change: enrolment.Change, dry_run: bool) -> str:
    """Changes policies/policy.yaml if the result could work. Returns the digest of the policies."""
    folder = Path.cwd() / "policies"
    text = change(enrolment.read(folder))
    policies = enrolment.checked(folder, text)
    if not dry_run:
        enrolment.write(folder, text)
    return policies.digest
