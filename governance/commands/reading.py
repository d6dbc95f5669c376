"""`countersign live`, `history`, `explain`, `pending`: what the log says. `countersign show`,
`lineage`, `diff`, `control`: parts of a report, for a terminal.
"""

from __future__ import annotations

from datetime import datetime

import click

from governance.attest.predicates import CANDIDATE
from governance.base.errors import ConfigError, VerificationError, did_you_mean
from governance.commands import session
from governance.commands.session import Call, named
from governance.commands.sources import exit_code, looking, of, records_of, verified
from governance.people import enrolment, pending, speaking
from governance.release import retrospect
from governance.release.reconcile import differing
from governance.report import controls, html, sections
from governance.report.build import between, build
from governance.report.frameworks import catalogue_of, narrowed

EPILOG = "\b\nSections:\n" + "\n".join(
    f"  {name:<12} {section.question}" for name, section in sections.SECTIONS.items()
)


@click.command("live")
@click.argument("model")
@session.options("moment", *session.READS)
def live_command(call: Call, model: str) -> None:
    """Which version of MODEL holds each alias, now or at a time: what the log says.

    Exit code 5 where the log does not give a decision by which a version holds an alias, where
    policy owners rejected its bytes, and where the registry of this machine has an alias elsewhere
    now; of the past it says nothing.
    """
    now = looking(call, model)
    holders = retrospect.live(now, model, call.as_of or call.now, known_then=bool(call.as_of))
    compares = call.bundle is None and call.as_of is None
    differences = differing(now.log, call.machine) if compares else None
    moved = [
        finding
        for finding in differences or []
        if finding.code.startswith("REGISTRY_ALIAS") and finding.subject.startswith(f"{model}@")
    ]
    result = {
        "model": model,
        "live": [holder.model_dump() for holder in holders],
        "registry": [finding.model_dump() for finding in moved],
    }
    call.draw("live", result, candidate=CANDIDATE)
    is_refused = any(holder.not_reproduced or holder.rejected for holder in holders)
    call.exit(VerificationError.exit_code if moved or is_refused else 0)


@click.command("history")
@click.argument("model")
@session.options(*session.READS)
def history_command(call: Call, model: str) -> None:
    """What happened to MODEL: versions, packets, votes, waivers, moves, incidents and refusals, in
    the order of the log.
    """
    events = retrospect.history(looking(call, model), model)
    call.draw("history", {"model": model, "events": [event.model_dump() for event in events]})


@click.command("explain")
@click.argument("what", metavar="ENTRY|MODEL/VERSION")
@session.options(*session.READS)
def explain_command(call: Call, what: str) -> None:
    """Repeat a logged decision, from the evidence before it and the policies in force then. Show
    the reasons.

    ENTRY is a number of the log (countersign history lists them); MODEL/VERSION is the last
    decision about that version. Exit code 5 when it gives another result.
    """
    now = looking(call, "" if what.isdecimal() else what.partition("/")[0])
    if not what.isdecimal() and "/" not in what:
        expected = "the number of an entry, e.g. 41, or MODEL/VERSION"
        raise ConfigError(f"{what!r} is no decision", expected=expected)
    entry = int(what) if what.isdecimal() else retrospect.last_decision(now, *named(what))
    repeated = retrospect.decided_again(now, entry)
    call.draw("explain", repeated)
    call.exit(0 if repeated.same else VerificationError.exit_code)


@click.command("pending")
@click.option("--as", "name", metavar="NAME", help="What waits for this person; needs no key.")
@click.option("--all", "everybody", is_flag=True, help="What waits for anybody.")
@session.options("key", "as_json")
def pending_command(call: Call, name: str | None, everybody: bool) -> None:
    """What waits for you, and why; for everybody, where no key and no name is given."""
    now = call.read()
    waits = pending.pending(now, call.now)
    policies = now.authority.policies
    person = None if everybody else name
    if not everybody and name is None and call.has_key:
        person = speaking.person_of(policies, call.signer).name
    if person is not None:
        enrolment.principal_named(policies, person)
        waits = [wait for wait in waits if person in wait.people]
    call.draw("pending", {"person": person, "pending": [wait.model_dump() for wait in waits]})


# --- Parts of a report ----------------------------------------------------------------------------


@click.command("show", epilog=EPILOG)
@click.argument("version", metavar="MODEL/VERSION")
@click.argument("section", metavar="[SECTION]", default="page")
@session.options("moment", *session.READS)
def show_command(call: Call, version: str, section: str) -> None:
    """One section of the report of MODEL/VERSION; page one where none is named. Exit codes as of
    `report`.
    """
    _show(call, version, section)


@click.command("lineage")
@click.argument("version", metavar="MODEL/VERSION")
@session.options("moment", *session.READS)
def lineage_command(call: Call, version: str) -> None:
    """Everything MODEL/VERSION was made from, by digest: sources, datasets, stages, bases. As `show
    ... lineage`.
    """
    _show(call, version, "lineage")


def _show(call: Call, version: str, section: str) -> None:
    if section not in sections.SECTIONS:
        raise ConfigError(
            f"{section[:40]!r} is no section",
            expected=f"one of: {', '.join(sections.SECTIONS)}",
            fix=did_you_mean(section, sections.SECTIONS),
        )
    report = build(of(call), *named(version), as_of=call.as_of, clock=call.now)
    if call.as_json:
        call.show(sections.document(report, section), ())
    else:
        session.tell(sections.text(report, section))
    call.exit(exit_code(report))


@click.command("diff")
@click.argument("old", metavar="MODEL/V1")
@click.argument("new", metavar="MODEL/V2")
@session.options(*session.READS)
def diff_command(call: Call, old: str, new: str) -> None:
    """What differs between two versions: results, data, recipe, code, base model, libraries,
    rules.
    """
    read, versions = verified(of(call)), (named(old), named(new))
    for model, _ in versions:
        read.must_show_all_of(model)
    changes = between(read, *versions)
    lines = [f"{old} -> {new}: {len(changes)} differences"]
    for change in changes:
        lines.append(f"  {change.group:<12} {change.what}: {change.before} -> {change.now}")
    rows = [change.model_dump() for change in changes]
    call.show({"old": old, "new": new, "changes": rows}, lines)


@click.command("control")
@click.argument("words", metavar="[ID] MODEL/VERSION", nargs=-1, required=True)
@click.option("--framework", default="", help="Of one framework: its name, or how it begins.")
@click.option("--role", "roles", multiple=True, help="Of this role, e.g. provider; repeatable.")
@click.option("--jurisdiction", "regions", multiple=True, help="E.g. EU, US-CA; repeatable.")
@click.option("--on", "day", type=click.DateTime(["%Y-%m-%d"]), help="For dates; default: today.")
@session.options(*session.READS)
def control_command(
    call: Call,
    words: tuple[str, ...],
    framework: str,
    roles: tuple[str, ...],
    regions: tuple[str, ...],
    day: datetime | None,
) -> None:
    """Show what controls ask, the evidence that MODEL/VERSION has for it, the gap, and since when
    it is in force.

    ID is an id as this command prints it, with or without the framework, or how an id begins.
    Without ID, all controls are shown. Linked evidence exists and verifies; whether a duty is met
    is not judged here.

    \b
    countersign control "EU-AI-ACT Annex IV(2)(g)" support-desk/1
    countersign control support-desk/1 --jurisdiction EU --role provider
    """
    records = records_of(call, words[-1], call.now)
    policies = records.facts.policies
    if policies is None:
        raise ConfigError(f"there is no catalogue of controls: {records.facts.policies_note}")
    found = catalogue_of(policies).find(" ".join(words[:-1]), framework)
    if not found:
        raise ConfigError("the policies of this version have no policies/controls/*.yaml")
    narrow = narrowed(found, roles, regions)
    report = controls.assess(records.facts, records.verified, narrow, (day or call.now).date())
    call.show(report, html.lines("control.txt.j2", answer=report))
