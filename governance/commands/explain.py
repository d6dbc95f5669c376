"""`countersign explain`: a logged decision performed again from what stood before it."""

from __future__ import annotations

from pathlib import Path

import click

from governance.base.errors import ConfigError, VerificationError
from governance.base.text import moment
from governance.commands import session
from governance.commands.moves import finding_lines, named
from governance.release import retrospect
from governance.release.retrospect import Again


@click.command("explain")
@click.argument("what", metavar="ENTRY|MODEL/VERSION")
@session.bundle_options
@session.json_option
@click.pass_context
def command(
    ctx: click.Context, what: str, bundle: Path | None, origin: str | None, as_json: bool
) -> None:
    """Perform a logged decision again, from the evidence before it and the policies in force then;
    say why.

    ENTRY is a number of the log (countersign history lists them); MODEL/VERSION is the last
    decision about that version. Exit code 5 when it does not come out as it was logged.
    """
    now = session.looking(bundle, origin)
    if not what.isdecimal() and "/" not in what:
        raise ConfigError(
            f"{what!r} is no decision", expected="the number of an entry, e.g. 41, or MODEL/VERSION"
        )
    entry = int(what) if what.isdecimal() else retrospect.last_decision(now, *named(what))
    found = retrospect.decided_again(now, entry)
    session.show(found, lines(found), as_json)
    ctx.exit(0 if found.same else VerificationError.exit_code)


def lines(found: Again) -> list[str]:
    """For people: the decision, whether it comes out the same, and every reason."""
    word = "ALLOWED" if found.allowed else "REFUSED"
    text = [
        f"entry {found.entry}: {found.about}: {word} at {moment(found.at)}",
        (
            f"  decided again from {found.evidence} entries before it, under policies"
            f" {found.policy[:12]}:"
        ),
        "  it COMES OUT THE SAME" if found.same else "  IT DOES NOT COME OUT AS LOGGED:",
    ]
    text += [f"    {one}" for one in found.differences]
    text += [line for one in found.findings for line in finding_lines(one)]
    return text + [f"    waived: {one.code} {one.subject}" for one in found.waived]
