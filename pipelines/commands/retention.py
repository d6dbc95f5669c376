"""`countersign retention`: what ends when, of what policies and log say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import click

from governance.base.model import Model
from governance.base.time import instant_of
from governance.commands import session, sources
from governance.commands.session import Call
from governance.history import erasures
from governance.history.state import LogState
from governance.policy.policies import Policies
from pipelines import exclusions


class Ending(Model):
    """Something that ends, or that is kept without an end."""

    kind: str
    """dataset, allowance, waiver, authorization, erasure, model, exclusions."""
    what: str
    until: str | None
    """A day or an instant; None: as long as the project exists."""
    over: bool
    then: str
    """What happens then."""


@click.command("retention")
@session.options(*session.READS)
def command(call: Call) -> None:
    """List what ends when: datasets by their datacards, allowances and waivers, erasures and their
    deadlines, exclusions.
    """
    now, _ = sources.verified(sources.of(call)).read
    policies = call.own_policies or now.authority.policies
    today = call.now.date()
    rows = sorted(
        [*of_policies(policies, today), *of_log(now, call), *of_exclusions(Path.cwd())],
        key=lambda row: (row.until is None, row.until or "", row.kind, row.what),
    )
    call.show({"as_of": str(today), "ends": [row.model_dump() for row in rows]}, list(lines(rows)))


def of_policies(policies: Policies, today: date) -> Iterator[Ending]:
    """Datasets and allowed values."""
    for name, card in sorted(policies.datacards.items()):
        until = card.retention.until
        yield Ending(
            kind="dataset",
            what=name,
            until=str(until) if until else None,
            over=until is not None and today > until,
            then=card.retention.then.strip() or "the datacard does not say",
        )
    for number, each in enumerate(policies.pii.allowances, start=1):
        yield Ending(
            kind="allowance",
            what=f"entry {number} ({each.entity}), {each.owner}",
            until=str(each.until),
            over=today > each.until,
            then="the value is treated again",
        )


def of_log(now: LogState, call: Call) -> Iterator[Ending]:
    """Waivers, erasures, and live models that have seen erased records."""
    for waivers in now.timeline.waivers.values():
        last = waivers[-1].predicate
        over = instant_of(last.expires) <= call.now
        what = f"{last.finding} ({last.about}) of {last.model}"
        then = "what it waives is open again"
        yield Ending(kind="waiver", what=what, until=last.expires, over=over, then=then)
    for erasure in erasures.counted(now.evidence, now.authority):
        asked = erasure.predicate
        ended = bool(erasures.done(now.timeline, erasure))
        yield Ending(
            kind="erasure",
            what=f"case {asked.reference}, {'bytes deleted' if ended else 'BYTES NOT YET DELETED'}",
            until=asked.deadline,
            over=erasures.is_over(erasure, call.now),
            then="versions that have seen the records get no alias",
        )
    for one in erasures.open_decisions(now.timeline):
        yield Ending(
            kind="model",
            what=f"{one.tenure.model}/{one.tenure.version} as {one.tenure.alias}",
            until=one.erasure.predicate.deadline,
            over=one.is_overdue(call.now),
            then="it is retrained or retired",
        )


def of_exclusions(root: Path) -> Iterator[Ending]:
    """The lists of erased records."""
    for each in exclusions.read(root):
        what = f"case {each.reference}, {len(each.entries)} entries"
        then = "the record key is kept as long"
        yield Ending(kind="exclusions", what=what, until=None, over=False, then=then)


def lines(rows: Iterable[Ending]) -> Iterator[str]:
    """For people."""
    for row in rows:
        until = (row.until or "no end")[:10]
        over = "OVER " if row.over else ""
        yield f"{until:<11} {row.kind:<11} {over}{row.what}; then: {row.then}"
