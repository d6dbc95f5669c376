"""What promote, rollback and retire share: the plan, the signature, the move, and the output."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

from governance.attest.predicates import Finding, Promotion
from governance.base.errors import ConfigError, RefusedError
from governance.base.text import timed
from governance.commands import session
from governance.commands.session import Signing
from governance.history.state import LogState
from governance.people import moves as releasing
from governance.people import speaking
from governance.people.moves import Plan, Signature
from governance.people.speaking import Speaker

Make = Callable[[LogState, datetime, Speaker | None], Plan]
"""The plan of a move, on the log as it stands, by somebody who may sign for it."""


def named(text: str) -> tuple[str, str]:
    """MODEL and VERSION of `MODEL/VERSION`. Raises `ConfigError`."""
    from governance.release.serving import parse

    asked = parse(text)
    if asked.version is None:
        raise ConfigError(
            f"{text!r} names no version by its number",
            expected="MODEL/VERSION, e.g. support-desk/1",
        )
    return asked.model, asked.version


def move(
    make: Make,
    roles: Callable[[LogState], Sequence[str]],
    how: Signing,
) -> None:
    """Plans a move and, unless it is a dry run, signs the request and carries it out.

    Exit code 4 where it is, or would be, refused.
    """
    machine, at = session.here(), session.clock()
    log = session.log_to_add_to(machine, how.dry_run)
    now = session.current(log)
    found = make(now, at, _signs(now, how, roles(now), at))
    if found.done is not None and not how.dry_run:
        what, since = found.move, found.done.at
        told = f"{what.model}/{what.version} is already {what.alias}, since {since}"
        session.show({**document(found, found.done), "written": False}, [timed(told)], how.as_json)
        return
    if how.dry_run:
        session.show(document(found), lines(found), how.as_json)
        click.get_current_context().exit(0 if found.decision.allowed else RefusedError.exit_code)
    if found.request is None:
        _ready(found)
        what = found.move
        session.confirm("\n".join(lines(found)), f"{what.model}/{what.version}", how.yes)
        releasing.request(log, now, found, at)
    try:
        moved = releasing.carry_out(machine, log, found.move, session.clock)
    except RefusedError as error:
        again = make(session.current(session.read(machine)), session.clock(), None)
        if how.as_json:
            click.echo(json.dumps({**document(again), "written": False}, indent=2))
            click.get_current_context().exit(error.exit_code)
        told = "\n".join([str(error), *signature_lines(again.missing)])
        raise RefusedError(told) from None
    session.show({**document(found, moved), "written": True}, told_moved(moved), how.as_json)


def document(found: Plan, moved: Promotion | None = None) -> dict[str, Any]:
    """The plan, or what became of it, as JSON."""
    what, decision = found.move, found.decision
    said = moved or decision
    return {
        "action": what.action,
        "model": what.model,
        "version": what.version,
        "alias": what.alias,
        "sha256": found.asked.released.sha256,
        "tier": decision.tier,
        "from_version": found.asked.from_version,
        "packet": found.asked.packet,
        "request": found.request.digest if found.request else None,
        "signs": f"{found.signs.name} as {found.signs.role}" if found.signs else None,
        "allowed": said.allowed,
        "findings": [one.model_dump() for one in said.findings],
        "waived": [one.model_dump() for one in said.waived],
        "missing_signatures": [] if moved else [_signature(one) for one in found.missing],
        "passed_over": [{"version": version, **one.model_dump()} for version, one in found.skipped],
        "second_signature_by": moved.second_signature_by if moved else None,
        "written": False,
    }


def lines(found: Plan) -> list[str]:
    """The plan for people: the target, every finding, and whose signature is missing."""
    what, asked, held = found.move, found.asked, found.held
    text = [
        f"{what.action.upper()} {what.model}/{what.version}" + _as(found),
        f"  model     sha256 {asked.released.sha256[:12]}, tier {found.decision.tier}",
        (
            f"  held now  by version {held.version} since {held.at}"
            if held
            else "  held now  by no version"
        ),
    ]
    if what.action == "promote":
        text.append(f"  packet    {asked.packet[:12]}" if asked.packet else "  packet    none")
    text += [f"  passed over: version {v}: {one.code} {one.message}" for v, one in found.skipped]
    text.append(f"  request   {_request(found)}")
    text.append(
        "  decision  would be ALLOWED"
        if found.decision.allowed
        else "  decision  would be REFUSED:"
    )
    text += [line for one in found.decision.findings for line in finding_lines(one)]
    text += [f"  waived    {one.code} {one.subject}" for one in found.decision.waived]
    return [timed(line) for line in text + signature_lines(found.missing)]


def signature_lines(missing: Sequence[Signature]) -> list[str]:
    """Exactly whose signature is missing."""
    text = []
    for one in missing:
        who = ", ".join(one.who) or "nobody that policy names"
        how = one.next if one.who else "countersign enrol, for a person in that role"
        text.append(f"  missing   {signed_thing(one)}: {one.count} of {who}")
        text.append(f"            next: {how}")
    return text


def signed_thing(one: Signature) -> str:
    """What a missing signature is for."""
    if one.kind == "move":
        return f"the {one.action}"
    return {"policies": "the policies in force", "request": "the request", "packet": "the packet"}[
        one.kind
    ]


def finding_lines(one: Finding) -> list[str]:
    """A finding in two or three lines."""
    text = [f"    {one.code} {one.subject}: {one.message}"]
    if one.expected or one.found:
        text.append(f"        expected {one.expected or 'n/a'}; found {one.found or 'nothing'}")
    return [*text, f"        next: {one.next}"] if one.next else text


def told_moved(moved: Promotion) -> list[str]:
    """What happened, for people."""
    name = f"{moved.model}/{moved.version}"
    if moved.action == "retire":
        text = [f"{name} is retired: it holds no alias and gets none without new approvals"]
    else:
        before = f", replacing version {moved.from_version}" if moved.from_version else ""
        text = [f"{name} is now {moved.alias}{before} ({moved.action}, {moved.at})"]
    text += [f"  waived: {one.code} {one.subject}" for one in moved.waived]
    if moved.second_signature_by:
        text.append(
            f"  one person signed alone; a second signature is due by {moved.second_signature_by}"
        )
        text.append(f"  next: countersign approve promotion {(moved.request or '')[:12]}")
    return [timed(line) for line in text]


def _signs(now: LogState, how: Signing, roles: Sequence[str], at: datetime) -> Speaker | None:
    """Who signs, where a key is given. A dry run needs no right."""
    if not session.has_key(how.key):
        return None
    try:
        return speaking.speaker(now.authority, session.signer(how.key), how.role, roles, at)
    except RefusedError as error:
        if not how.dry_run:
            raise
        session.tell([f"note: {error.found}"], err=True)
        return None


def _ready(found: Plan) -> None:
    """There is something to sign for, and somebody who signs. Raises `ConfigError`,
    `RefusedError`.
    """
    if found.move.action == "promote" and found.asked.packet is None:
        name = f"{found.move.model}/{found.move.version}"
        raise RefusedError(
            f"{name} has no packet yet, so nobody can approve it",
            fix=f"countersign freeze {name}",
        )
    if found.signs is None:
        who = next((one.who for one in found.missing if one.kind == "request"), ())
        raise ConfigError(
            "no key to sign the request with",
            expected=f"the key of {', '.join(who) or 'a person in a requesting role'}",
            fix="give --key, or set COUNTERSIGN_KEY; --dry-run shows what would happen",
        )


def _as(found: Plan) -> str:
    return "" if found.move.action == "retire" else f" as {found.move.alias}"


def _request(found: Plan) -> str:
    if found.request is not None:
        said = found.request.predicate
        return (
            f"{found.request.digest[:12]}, signed by {said.principal} as {said.role}, open until"
            f" {said.expires}"
        )
    return (
        f"would be signed by {found.signs.name} as {found.signs.role}"
        if found.signs
        else "none yet"
    )


def _signature(one: Signature) -> dict[str, Any]:
    what = signed_thing(one)
    return {
        "kind": one.kind,
        "what": what,
        "count": one.count,
        "who": list(one.who),
        "next": one.next,
    }
