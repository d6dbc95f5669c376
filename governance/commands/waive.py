"""`countersign waive`: a finding is accepted for a while, by somebody who may, with something done
instead.
"""

from __future__ import annotations

import click

from governance.base.text import moment
from governance.commands import session
from governance.people import waiving


@click.command("waive")
@click.argument("what", metavar="MODEL/VERSION|gate@STAGE")
@click.option("--finding", required=True, help="Its code.")
@click.option("--about", help="Its subject, where several such findings stand.")
@click.option("--control", required=True, help="What is done instead, meanwhile.")
@click.option("--owner", required=True, help="Who answers for the risk meanwhile.")
@click.option(
    "--days",
    type=click.IntRange(1),
    required=True,
    help="For how long; policy says how long at most.",
)
@click.option("--reason", required=True, help="Why; it stays visible.")
@session.role_option
@session.key_option
@session.write_options
def command(
    what: str,
    finding: str,
    about: str | None,
    control: str,
    owner: str,
    days: int,
    reason: str,
    role: str | None,
    key: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Accept one finding against MODEL/VERSION, or against a stage before it trains, until an end.

    It joins the next packet, so that approvers see it: approvals of the packet before no longer
    hold.
    """
    log = session.log_to_add_to(session.here(), dry_run)
    now, at = session.current(log), session.clock()
    target = waiving.target(now, what, at)
    how = waiving.Acceptance(finding, about, owner, control, days, reason)
    signer = session.signer(key)
    _, who, said = waiving.waive(log, now, target, how, signer, role, at, dry_run=True)
    found = {**said.model_dump(mode="json"), "subject": target.sha256, "entry": None}
    line = (
        f"{said.finding} ({said.about}) of {target.name} until {moment(said.expires)}; meanwhile:"
        f" {control}"
    )
    if dry_run:
        session.show(found, [f"{who.name} would accept {line}; nothing was written"], as_json)
        return
    session.confirm(f"{who.name} accepts {line}.", said.finding, yes)
    entry, _, _ = waiving.waive(
        log, session.current(log), target, how, signer, role, at, dry_run=False
    )
    found["entry"] = entry.index if entry else None
    after = f"countersign freeze {what}" if "/" in what else f"countersign repro {what}"
    session.show(
        found, [f"{who.name} accepted {line} (entry {found['entry']})", f"next: {after}"], as_json
    )
