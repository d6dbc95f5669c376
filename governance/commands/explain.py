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
    repeated = retrospect.decided_again(now, entry)
    session.show(repeated, lines(repeated), as_json)
    ctx.exit(0 if repeated.same else VerificationError.exit_code)


def lines(repeated: Again) -> list[str]:
    """The decision for people: whether it gives the same result, and every reason."""
    word = "ALLOWED" if repeated.allowed else "REFUSED"
    text = [
        f"entry {repeated.entry}: {repeated.about}: {word} at {moment(repeated.at)}",
        (
            f"  decided again from {repeated.evidence} entries before it, under policies"
            f" {repeated.policy[:12]}:"
        ),
        "  it COMES OUT THE SAME" if repeated.same else "  IT DOES NOT COME OUT AS LOGGED:",
    ]
    text += [f"    {difference}" for difference in repeated.differences]
    text += [line for finding in repeated.findings for line in finding_lines(finding)]
    return text + [f"    waived: {finding.code} {finding.subject}" for finding in repeated.waived]
