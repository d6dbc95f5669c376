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
"""Plans a move on the log as it is, for a person who may sign."""


def named(text: str) -> tuple[str, str]:
    """MODEL and VERSION of `MODEL/VERSION`. Raises `ConfigError`."""
    from governance.release.serving import parse

    parsed = parse(text)
    if parsed.version is None:
        raise ConfigError(
            f"{text!r} names no version by its number",
            expected="MODEL/VERSION, e.g. support-desk/1",
        )
    return parsed.model, parsed.version


def move(
    make: Make,
    roles: Callable[[LogState], Sequence[str]],
    signing: Signing,
) -> None:
    """Plans a move and, unless it is a dry run, signs the request and carries it out.

    Exit code 4 where it is, or would be, refused.
    """
    machine, at = session.here(), session.clock()
    log = session.log_to_add_to(machine, signing.dry_run)
    now = session.current(log)
    plan = make(now, at, _signs(now, signing, roles(now), at))
    if plan.done is not None and not signing.dry_run:
        target, since = plan.move, plan.done.at
        already = f"{target.model}/{target.version} is already {target.alias}, since {since}"
        session.show(
            {**document(plan, plan.done), "written": False}, [timed(already)], signing.as_json
        )
        return
    if signing.dry_run:
        session.show(document(plan), lines(plan), signing.as_json)
        click.get_current_context().exit(0 if plan.decision.allowed else RefusedError.exit_code)
    if plan.request is None:
        _ready(plan)
        target = plan.move
        session.confirm("\n".join(lines(plan)), f"{target.model}/{target.version}", signing.yes)
        releasing.request(log, now, plan, at)
    try:
        moved = releasing.carry_out(machine, log, plan.move, session.clock)
    except RefusedError as error:
        again = make(session.current(session.read(machine)), session.clock(), None)
        if signing.as_json:
            click.echo(json.dumps({**document(again), "written": False}, indent=2))
            click.get_current_context().exit(error.exit_code)
        refusal = "\n".join([str(error), *signature_lines(again.missing)])
        raise RefusedError(refusal) from None
    session.show({**document(plan, moved), "written": True}, told_moved(moved), signing.as_json)


def document(plan: Plan, moved: Promotion | None = None) -> dict[str, Any]:
    """The plan, or the finished move, as JSON."""
    target, decision = plan.move, plan.decision
    outcome = moved or decision
    missing = () if moved else plan.missing
    return {
        "action": target.action,
        "model": target.model,
        "version": target.version,
        "alias": target.alias,
        "sha256": plan.asked.released.sha256,
        "tier": decision.tier,
        "from_version": plan.asked.from_version,
        "packet": plan.asked.packet,
        "request": plan.request.digest if plan.request else None,
        "signs": f"{plan.signs.name} as {plan.signs.role}" if plan.signs else None,
        "allowed": outcome.allowed,
        "findings": [finding.model_dump() for finding in outcome.findings],
        "waived": [finding.model_dump() for finding in outcome.waived],
        "missing_signatures": [_signature(signature) for signature in missing],
        "passed_over": [
            {"version": version, **finding.model_dump()} for version, finding in plan.skipped
        ],
        "second_signature_by": moved.second_signature_by if moved else None,
        "written": False,
    }


def lines(plan: Plan) -> list[str]:
    """The plan for people: the target, every finding, and whose signature is missing."""
    target, release, held = plan.move, plan.asked, plan.held
    text = [
        f"{target.action.upper()} {target.model}/{target.version}" + _as(plan),
        f"  model     sha256 {release.released.sha256[:12]}, tier {plan.decision.tier}",
        (
            f"  held now  by version {held.version} since {held.at}"
            if held
            else "  held now  by no version"
        ),
    ]
    if target.action == "promote":
        text.append(f"  packet    {release.packet[:12]}" if release.packet else "  packet    none")
    text += [
        f"  passed over: version {v}: {finding.code} {finding.message}"
        for v, finding in plan.skipped
    ]
    text.append(f"  request   {_request(plan)}")
    text.append(
        "  decision  would be ALLOWED" if plan.decision.allowed else "  decision  would be REFUSED:"
    )
    text += [line for finding in plan.decision.findings for line in finding_lines(finding)]
    text += [f"  waived    {finding.code} {finding.subject}" for finding in plan.decision.waived]
    return [timed(line) for line in text + signature_lines(plan.missing)]


def signature_lines(missing: Sequence[Signature]) -> list[str]:
    """The missing signatures, with the people who could give them."""
    text = []
    for signature in missing:
        people = ", ".join(signature.who) or "nobody that policy names"
        next_step = (
            signature.next if signature.who else "countersign enrol, for a person in that role"
        )
        text.append(f"  missing   {signed_thing(signature)}: {signature.count} of {people}")
        text.append(f"            next: {next_step}")
    return text


def signed_thing(signature: Signature) -> str:
    """What a missing signature is for."""
    if signature.kind == "move":
        return f"the {signature.action}"
    return {"policies": "the policies in force", "request": "the request", "packet": "the packet"}[
        signature.kind
    ]


def finding_lines(finding: Finding) -> list[str]:
    """A finding in two or three lines."""
    text = [f"    {finding.code} {finding.subject}: {finding.message}"]
    if finding.expected or finding.found:
        text.append(
            f"        expected {finding.expected or 'n/a'}; found {finding.found or 'nothing'}"
        )
    return [*text, f"        next: {finding.next}"] if finding.next else text


def told_moved(moved: Promotion) -> list[str]:
    """The finished move for people."""
    name = f"{moved.model}/{moved.version}"
    if moved.action == "retire":
        text = [f"{name} is retired: it holds no alias and gets none without new approvals"]
    else:
        before = f", replacing version {moved.from_version}" if moved.from_version else ""
        text = [f"{name} is now {moved.alias}{before} ({moved.action}, {moved.at})"]
    text += [f"  waived: {finding.code} {finding.subject}" for finding in moved.waived]
    if moved.second_signature_by:
        text.append(
            f"  one person signed alone; a second signature is due by {moved.second_signature_by}"
        )
        text.append(f"  next: countersign approve promotion {(moved.request or '')[:12]}")
    return [timed(line) for line in text]


def _signs(now: LogState, signing: Signing, roles: Sequence[str], at: datetime) -> Speaker | None:
    """The person who signs, if a key is given. A dry run needs no right."""
    if not session.has_key(signing.key):
        return None
    try:
        return speaking.speaker(now.authority, session.signer(signing.key), signing.role, roles, at)
    except RefusedError as error:
        if not signing.dry_run:
            raise
        session.tell([f"note: {error.found}"], err=True)
        return None


def _ready(plan: Plan) -> None:
    """Checks that there is a packet to promote, and a key to sign with. Raises `ConfigError`,
    `RefusedError`.
    """
    if plan.move.action == "promote" and plan.asked.packet is None:
        name = f"{plan.move.model}/{plan.move.version}"
        raise RefusedError(
            f"{name} has no packet yet, so nobody can approve it",
            fix=f"countersign freeze {name}",
        )
    if plan.signs is None:
        people = next(
            (signature.who for signature in plan.missing if signature.kind == "request"), ()
        )
        raise ConfigError(
            "no key to sign the request with",
            expected=f"the key of {', '.join(people) or 'a person in a requesting role'}",
            fix="give --key, or set COUNTERSIGN_KEY; --dry-run shows what would happen",
        )


def _as(plan: Plan) -> str:
    return "" if plan.move.action == "retire" else f" as {plan.move.alias}"


def _request(plan: Plan) -> str:
    if plan.request is not None:
        request = plan.request.predicate
        return (
            f"{plan.request.digest[:12]}, signed by {request.principal} as {request.role},"
            f" open until {request.expires}"
        )
    return (
        f"would be signed by {plan.signs.name} as {plan.signs.role}" if plan.signs else "none yet"
    )


def _signature(signature: Signature) -> dict[str, Any]:
    return {
        "kind": signature.kind,
        "what": signed_thing(signature),
        "count": signature.count,
        "who": list(signature.who),
        "next": signature.next,
    }
