"""The report's answers to four questions about labels: who labelled, by which guideline, with what
agreement, and what was excluded. What a steward declares is marked as declared.
"""

from __future__ import annotations

from collections.abc import Iterator

from governance.attest.predicates import Agreement, Ingest, Labels
from governance.base.text import plain
from governance.history.lineage import DataChain, inputs
from governance.policy.data import IngestPolicy
from governance.policy.labelling import Labelling
from governance.policy.rules import Datacard
from governance.report.facts import PREFIX, Facts
from governance.report.model.data import Answer, Labelled

KINDS = ("rated", "preference")
NOT_DECLARED = "not declared"
OLDER = ("GUIDELINE_DRIFTS", "RATER_FOLLOWS_POSITION", "RATER_TOO_FAST")
"""Suspicions that an older ingest did not look for."""
NOT_MEASURED = "not measured: fewer than two raters are named in the source, or an older ingest"


def labelled(facts: Facts, chain: DataChain) -> Labelled | None:
    """The four answers; None for data of another kind."""
    if chain.ingest is None or chain.ingest.predicate.kind not in KINDS:
        return None
    card = facts.cards.get(chain.dataset)
    said = card.labelling if card and isinstance(card.labelling, Labelling) else Labelling()
    ingest: Ingest = chain.ingest.predicate
    policy = facts.policies.rules.ingest if facts.policies else None
    return Labelled(
        answers=[
            Answer(question="Who labelled", answer="; ".join(_who(card, said, ingest))),
            Answer(
                question="By which guideline",
                answer="; ".join(_guideline(said, inputs(chain.ingest).get("guideline"))),
            ),
            Answer(question="With what agreement", answer="; ".join(_agreed(said, ingest.labels))),
            Answer(
                question="What was excluded",
                answer="; ".join(_excluded(chain.dataset, ingest.labels, policy)),
            ),
        ],
        overruled=ingest.labels.overruled if ingest.labels else {},
    )


def _who(card: Datacard | None, said: Labelling, ingest: Ingest) -> Iterator[str]:
    """(declared) in words and models, models that the source names, the number of raters, how items
    were chosen, pay.
    """
    labels = ingest.labels
    yield f"declared: {_text(card.labelled_by)}" if card and card.labelled_by else NOT_DECLARED
    for judge in said.judges:
        digest = f"sha256 {judge.sha256[:PREFIX]}" if judge.sha256 else "no digest declared"
        yield f"model {_text(judge.name)} ({digest})"
    for each in ingest.judges:
        rubric = (
            f"rubric sha256 {each.rubric[:PREFIX]}" if each.rubric else "no rubric in the source"
        )
        yield f"the source names {_text(each.name)} ({rubric}) as judge of {each.pairs:,} pairs"
    if ingest.judges:
        yield "nothing here shows that these judges agree with people"
    if labels:
        yield f"{labels.agreement.raters:,} raters gave {labels.agreement.ratings:,} ratings"
    if said.sampling:
        sampling = said.sampling
        seed = f", seed {sampling.seed}" if sampling.seed is not None else ""
        drawn = f", from sha256 {sampling.population[:PREFIX]}" if sampling.population else ""
        yield f"declared: items chosen by the rule {sampling.rule}{seed}{drawn}"
    else:
        yield f"how items were chosen: {NOT_DECLARED}"
    yield f"pay: {_text(said.pay) if said.pay else NOT_DECLARED}"


def _guideline(said: Labelling, read: str | None) -> Iterator[str]:
    declared = said.guideline
    if declared is None:
        yield NOT_DECLARED
    else:
        yield f"declared: version {_text(declared.version)}, sha256 {declared.sha256[:PREFIX]}"
    if read is None:
        yield "no file was read"
    elif declared and declared.sha256 == read:
        yield "the file that was read has this digest"
    else:
        yield f"the file that was read has sha256 {read[:PREFIX]}"


def _agreed(said: Labelling, labels: Labels | None) -> Iterator[str]:
    """Krippendorff's alpha of all ratings and of those that count, and disputed items."""
    if labels is None:
        yield NOT_MEASURED
    else:
        yield f"Krippendorff's alpha ({labels.level}) {_alpha(labels.agreement)}"
        if labels.without:
            yield f"without excluded raters {_alpha(labels.without)}"
        yield (
            f"items: {labels.unanimous:,} unanimous, {labels.majority:,} by majority,"
            f" {labels.split:,} split"
        )
    decided = said.adjudication
    if decided is None:
        yield f"who decided disputes: {NOT_DECLARED}"
    else:
        yield (
            f"declared: {decided.disputes:,} disputes decided by {_text(decided.by)}"
            f" ({_text(decided.rule)}), {decided.open:,} open"
        )


def _alpha(found: Agreement) -> str:
    if found.alpha is None:
        return "not defined"
    if found.low is None or found.high is None:
        return f"{found.alpha:.3f}, too few items for an interval"
    return f"{found.alpha:.3f} (95% interval {found.low:.3f} to {found.high:.3f})"


def _excluded(dataset: str, labels: Labels | None, policy: IngestPolicy | None) -> Iterator[str]:
    """Whose ratings, by whose decision; then raters with a finding whose ratings count."""
    left_out = labels.excluded if labels else {}
    rows = {row.rater: row for row in policy.excluded(dataset)} if policy else {}
    for rater, count in left_out.items():
        row = rows.get(rater)
        why = f": {_text(row.reason)}, decided by {_text(row.decided_by)}" if row else ""
        yield f"{count:,} ratings by {rater}{why}"
    if not left_out:
        yield "no rater"
    counted = [
        f"{', '.join(each.raters) or f'batch {each.batch}'} ({each.code})"
        for each in (labels.suspicions if labels else [])
        if each.batch or not set(each.raters) <= left_out.keys()
    ]
    if counted:
        yield f"with a finding, and counted: {', '.join(counted)}"
    if labels:
        missing = OLDER if labels.not_searched is None else labels.not_searched
        yield f"not searched for: {', '.join(missing)}" if missing else "all checks were made"


def _text(value: str) -> str:
    """A declared text as valid Unicode. A YAML escape may have made it invalid."""
    return plain(value).encode("utf-8", "backslashreplace").decode()
