"""Review pages that people were shown before they spoke, made again from the log; the report that
was signed last.
"""

from __future__ import annotations

from contextlib import suppress

from governance.attest.digests import sha256_bytes
from governance.attest.predicates import Approval
from governance.base.errors import CountersignError, InputError
from governance.bundle.form import Attached
from governance.history import lineage
from governance.log.evidence import Evidence
from governance.log.port import Log
from governance.machine.machine import Machine
from governance.people import kept, page, reports, review
from governance.release.promotion import State, state


def pages(log: Log, model: str, version: str) -> list[Attached]:
    """The page of each packet that somebody spoke on, where this version of Countersign still makes
    the same bytes.
    """
    now = state(log)
    found = (_page(now, item) for item in now.evidence.all("packet") if _of(item, model, version))
    return list({one.sha256: one for one in found if one is not None}.values())


def signed_report(machine: Machine, log: Log, model: str, version: str) -> list[Attached]:
    """The report of MODEL/VERSION that was signed last, page and twin, of those that are kept on
    this machine.
    """
    for item in reversed(reports.of_version(state(log), model, version)):
        with suppress(InputError):
            found = reports.content(item, lambda sha256: kept.read(machine, sha256))
            files = {
                f"report-{item.index}.html": found.page,
                f"report-{item.index}.json": found.twin,
            }
            return [
                Attached(name=name, sha256=sha256_bytes(data), text=data.decode())
                for name, data in files.items()
            ]
    return []


def _page(now: State, item: Evidence) -> Attached | None:
    votes = now.evidence.by_subject(lineage.subject(item, "packet") or "", "approval")
    wanted = {one.predicate.page for one in votes if isinstance(one.predicate, Approval)} - {None}
    if not wanted:
        return None
    try:
        html = page.html(review.review(now.log, item))
    except CountersignError:
        return None
    digest = review.digest_of(html)
    return (
        Attached(name=f"review-{item.index}.html", sha256=digest, text=html.decode())
        if digest in wanted
        else None
    )


def _of(item: Evidence, model: str, version: str) -> bool:
    return (item.predicate.model, item.predicate.version) == (model, version)
