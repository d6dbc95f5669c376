"""`countersign promote`, `rollback` and `retire`: which version serves users.

A move is planned on the log as it is. Unless it is a dry run, the person signs the request, and the
move is carried out. Exit code 4 where it is, or would be, refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from governance.attest.predicates import Promotion
from governance.base.errors import ConfigError, RefusedError
from governance.base.text import timed
from governance.commands import session
from governance.commands.session import Call, named
from governance.history.state import LogState
from governance.people import moves
from governance.people.moves import Move, Plan
from governance.people.speaking import Speaker
from governance.release import artifacts

SIGNED = {"policies": "the policies in force", "request": "the request", "packet": "the packet"}
"""What a missing signature is for; the signature of a move is for the action."""


@click.command("promote")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--to", "alias", default="champion", show_default=True, help="The alias.")
@click.option("--reason", default="", help="Why it should serve; needed to sign a request.")
@session.options(*session.SIGNS)
def promote_command(call: Call, version: str, alias: str, reason: str) -> None:
    """Give MODEL/VERSION an alias: sign the request, decide on the log as it is, move it.

    Run it again after new approvals: it uses the request that is still open. Exit code 4 when it is
    refused.
    """
    move = Move("promote", *named(version), alias, reason)
    call.check_witnessed()
    now = call.state()
    roles = moves.requester_roles(now.authority.policies, alias)
    _move(call, now, move, roles)


@click.command("rollback")
@click.argument("model")
@session.reason_option("Why you roll back.")
@click.option("--alias", default="champion", show_default=True, help="The alias.")
@click.option("--break-glass", is_flag=True, help="Alone, in an emergency, where policy allows it.")
@session.options(*session.SIGNS)
def rollback_command(call: Call, model: str, reason: str, alias: str, break_glass: bool) -> None:
    """Give MODEL's alias back to the last approved version that still passes its checks.

    Its approvals stay valid. Keys, digests, base models and incidents are checked again. Exit code
    4 when it is refused.
    """
    now = call.state()
    policies = now.authority.policies
    roles = moves.requester_roles(policies, alias)
    rule = policies.rules.aliases.get(alias)
    if break_glass and rule is not None:
        roles = [role for role in roles if role in rule.break_glass]
        if not rule.break_glass:
            found = f"policy allows nobody to roll back {alias} alone"
            raise RefusedError(found, fix="run it without --break-glass; a second person signs")

    _move(call, now, Move("rollback", model, "", alias, reason, break_glass), roles)


@click.command("retire")
@click.argument("version", metavar="MODEL/VERSION")
@click.option("--reason", default="", help="Recorded in the request; not for --delete-files.")
@click.option("--delete-files", is_flag=True, help="Delete the weights of a retired version here.")
@session.options(*session.SIGNS)
def retire_command(call: Call, version: str, reason: str, delete_files: bool) -> None:
    """Remove every governed alias from MODEL/VERSION. Policy says how many people have to sign.

    Once it is retired, --delete-files deletes its weights from this machine's registry. Its row,
    the log and the evidence stay. Exit code 4 when it is refused.
    """
    model, number = named(version)
    if delete_files:
        deleted = artifacts.delete_files(call.read(), call.machine, model, number, call.dry_run)
        lines = [f"{'would delete' if call.dry_run else 'deleted'} {path}" for path in deleted]
        result = {"deleted": deleted, "written": not call.dry_run}
        call.show(result, lines or ["this machine has no files of it"])
        return
    if not reason.strip():
        raise click.UsageError("Missing option '--reason'.")

    now = call.state()
    alias = moves.retired_alias(now, model, number)
    roles = moves.requester_roles(now.authority.policies, alias)
    _move(call, now, Move("retire", model, number, alias, reason), roles)


def _move(call: Call, now: LogState, asked: Move, roles: Sequence[str]) -> None:
    """Plans a move, has the request signed, and carries the move out."""
    plan = moves.plan(now, asked, call.now, _signs(call, now, roles))
    move = plan.move
    if plan.done is not None and not call.dry_run:
        already = f"{move.model}/{move.version} is already {move.alias}, since {plan.done.at}"
        call.show(_document(plan, plan.done), [timed(already)])
        return
    if call.dry_run:
        call.draw("plan", _document(plan), plan=plan)
        call.exit(0 if plan.decision.allowed else RefusedError.exit_code)
    if plan.request is None:
        author = _requester(plan)
        question = "\n".join(session.text("plan", result=_document(plan), plan=plan))
        call.confirm(question, f"{move.model}/{move.version}")
        moves.request(call.log, now, plan, author, call.now)
    try:
        moved = moves.carry_out(call.machine, call.log, move, session.clock)
    except RefusedError as error:
        again = _document(moves.plan(call.read(), asked, session.clock()))
        if call.as_json:
            call.show(again, ())
            call.exit(error.exit_code)
        refusal = [str(error), *session.text("missing", missing=again["missing_signatures"])]
        raise RefusedError("\n".join(refusal)) from None
    call.draw("moved", {**_document(plan, moved), "written": True}, moved=moved)


def _document(plan: Plan, moved: Promotion | None = None) -> dict[str, Any]:
    """The plan, or the finished move, as JSON."""
    move, decision = plan.move, plan.decision
    outcome = moved or decision
    return {
        **asdict(move),
        "sha256": plan.release.released.sha256,
        "tier": decision.tier,
        "from_version": plan.release.from_version,
        "packet": plan.release.packet,
        "request": plan.request.digest if plan.request else None,
        "signs": f"{plan.signs.name} as {plan.signs.role}" if plan.signs else None,
        "allowed": outcome.allowed,
        "findings": [finding.model_dump() for finding in outcome.findings],
        "waived": [finding.model_dump() for finding in outcome.waived],
        "missing_signatures": [] if moved else missing_signatures(plan),
        "passed_over": [
            {"version": version, **finding.model_dump()} for version, finding in plan.skipped
        ],
        "second_signature_by": moved.second_signature_by if moved else None,
        "written": False,
    }


def missing_signatures(plan: Plan) -> list[dict[str, Any]]:
    """The signatures that a move lacks, as JSON, with what each is for."""
    return [
        {
            **asdict(signature),
            "what": SIGNED.get(signature.kind, f"the {signature.kind}"),
            "who": list(signature.who),
        }
        for signature in plan.missing
    ]


def _signs(call: Call, now: LogState, roles: Sequence[str]) -> Speaker | None:
    """The person who signs, if a key is given. A dry run needs no right."""
    if not call.has_key:
        return None
    try:
        return call.signing.speaker(now.authority, roles)
    except RefusedError as error:
        if not call.dry_run:
            raise
        session.tell([f"note: {error.found}"], err=True)
        return None


def _requester(plan: Plan) -> Speaker:
    """The person who signs the request. There must be a packet to promote, a key, and a reason.
    Raises `ConfigError`, `RefusedError`.
    """
    if plan.move.action == "promote" and plan.release.packet is None:
        name = f"{plan.move.model}/{plan.move.version}"
        raise RefusedError(f"{name} has no packet yet", fix=f"countersign freeze {name}")
    if plan.signs is None:
        people = [who for each in plan.missing if each.kind == "request" for who in each.who]
        raise ConfigError(
            "no key to sign the request with",
            expected=f"the key of {', '.join(people) or 'a person in a requesting role'}",
            fix="give --key, or set COUNTERSIGN_KEY; --dry-run shows what would happen",
        )
    if not plan.move.reason.strip():
        raise ConfigError("nobody signs a request without a reason", where="--reason")
    return plan.signs
