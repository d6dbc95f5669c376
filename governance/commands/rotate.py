"""`countersign rotate`: another key of somebody in policies/policy.yaml."""

from __future__ import annotations

import click

from governance.commands import session
from governance.commands.enrol import NEXT, edit
from governance.people import enrolment


@click.command("rotate")
@click.argument("name")
@click.argument("old")
@click.argument("new")
@session.dry_run_option
@session.json_option
def command(name: str, old: str, new: str, dry_run: bool, as_json: bool) -> None:
    """Write the public key NEW of NAME in place of OLD, named by fingerprint, key id, file or line.

    What the old key signed stands. It signs on until the changed policies are in force: where it
    may be in other hands, `countersign revoke` ends it at once.
    """
    public = enrolment.read_key(new)
    digest = edit(lambda text: enrolment.rotated(text, name, old, public), dry_run)
    result = {"name": name, "key": public.fingerprint, "policies": digest}
    word = "would have" if dry_run else "has"
    session.show(
        result, [f"{name} {word} the key {public.fingerprint}", f"policies {digest}", NEXT], as_json
    )
