"""`countersign waive`: accept a finding until a date, with a compensating control."""

from __future__ import annotations

import click

from governance.base.text import moment
from governance.commands import session
from governance.commands.session import Signing
from governance.people import waiving


@click.command("waive")
@click.argument("what", metavar="MODEL/VERSION|gate@STAGE")
@click.option("--finding", required=True, help="The code of the finding.")
@click.option("--about", help="The subject, where the code occurs several times.")
@click.option("--control", required=True, help="The compensating control.")
@click.option("--owner", required=True, help="The person who answers for the risk.")
@click.option(
    "--days",
    type=click.IntRange(1),
    required=True,
    help="How long; policy sets the longest.",
)
@session.reason_option("Why it is acceptable.")
@session.signs
def command(
    what: str,
    finding: str,
    about: str | None,
    control: str,
    owner: str,
    days: int,
    reason: str,
    signing: Signing,
) -> None:
    """Waive one finding of MODEL/VERSION, or of a stage before it trains, until a date.

    The next packet has the waiver, so approvers see it. Approvals of earlier packets no longer
    count.
    """
    log = session.log_to_add_to(session.here(), signing.dry_run)
    now, at = session.current(log), session.clock()
    target = waiving.target(now, what, at)
    terms = waiving.Acceptance(finding, about, owner, control, days, reason)
    signer = session.signer(signing.key)
    _, author, waiver = waiving.waive(
        log, now, target, terms, signer, signing.role, at, dry_run=True
    )
    result = {**waiver.model_dump(mode="json"), "subject": target.sha256, "entry": None}
    line = (
        f"{waiver.finding} ({waiver.about}) of {target.name} until {moment(waiver.expires)};"
        f" compensating control: {control}"
    )
    if signing.dry_run:
        session.show(
            result, [f"{author.name} would waive {line}; nothing was written"], signing.as_json
        )
        return
    session.confirm(f"{author.name} waives {line}.", waiver.finding, signing.yes)
    entry, _, _ = waiving.waive(
        log, session.current(log), target, terms, signer, signing.role, at, dry_run=False
    )
    result["entry"] = entry.index if entry else None
    after = f"countersign freeze {what}" if "/" in what else f"countersign repro {what}"
    session.show(
        result,
        [f"{author.name} waived {line} (entry {result['entry']})", f"next: {after}"],
        signing.as_json,
    )
