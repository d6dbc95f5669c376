"""The review pages that people were shown before they spoke: made again from the log, and known by their digest."""

from __future__ import annotations

from governance import lineage
from governance.bundle.form import Attached
from governance.errors import CountersignError
from governance.evidence import Evidence
from governance.log.port import Log
from governance.people import page, review
from governance.predicates import Approval
from governance.promotion import State, state


def pages(log: Log, model: str, version: str) -> list[Attached]:
    """The page of each packet that somebody spoke on, where this version of Countersign still makes the same bytes."""
    now = state(log)
    found = (_page(now, item) for item in now.evidence.all("packet") if _of(item, model, version))
    return list({one.sha256: one for one in found if one is not None}.values())


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
    return Attached(name=f"review-{item.index}.html", sha256=digest, text=html.decode()) if digest in wanted else None


def _of(item: Evidence, model: str, version: str) -> bool:
    return (item.predicate.model, item.predicate.version) == (model, version)
