"""Who may read the data and models of a version, and who did, as policy and the log say.

1. The policies in force at the report's position decide. Reads are those recorded before it.
2. Rows are what policy governs: a dataset or a model by name, with all its versions.
3. An account or key that policy does not name is counted and not named: its name may be a person's
   address. Purposes are not shown: they are free text.
4. The log holds refused reads of models on a server. Commands refuse without an entry.
"""

from __future__ import annotations

from collections.abc import Iterable

from governance.attest.predicates import REFUSED_READ, Read, Refusal
from governance.base.time import instant_of
from governance.history.contents import Contents
from governance.log.evidence import Evidence
from governance.policy.policies import Policies
from governance.policy.readers import EVERYBODY, Content, Readers, may_read
from governance.release.reading import Rights
from governance.report.facts import Facts, at
from governance.report.model.data import ContentReaders, ReadCount, ReadersPart

NOT_RECORDED = "not shown: the log does not carry the policies in force"
UNRESTRICTED = "Policy does not restrict who may read the data and the models."


def readers(facts: Facts) -> ReadersPart:
    """Each dataset and model of the chain: who may read it, and who did."""
    policies = facts.now.authority.in_force.policies
    if policies is None:
        return ReadersPart(state="not shown", text=NOT_RECORDED)
    table = policies.rules.readers
    if table is None:
        return ReadersPart(state="not restricted", text=UNRESTRICTED)
    purpose = "say what for" if table.purpose == "required" else "may say what for"
    return ReadersPart(
        state="restricted",
        text=f"Policy restricts who may read. Readers {purpose}. Nobody else may read by command"
        " or from the server.",
        rows=[_row(facts, policies, table, content) for content in _contents(facts)],
    )


def without_reads(part: ReadersPart) -> ReadersPart:
    """The part as a bundle of a model shows it: no read is in such a bundle."""
    rows = [row.model_copy(update={"reads": [], "refused": []}) for row in part.rows]
    return part.model_copy(update={"reads_shown": False, "rows": rows})


def _contents(facts: Facts) -> list[Content]:
    """(2) The datasets of the chain, then its models, this version's first."""
    known = Contents(facts.now.view)
    models = {Content("model", facts.registration.model): None}
    for node in reversed(facts.chain):
        models |= dict.fromkeys(sorted(known.of_model(node.sha256)))
    return [*(Content("dataset", chain.dataset) for chain in facts.chains), *models]


def _row(facts: Facts, policies: Policies, table: Readers, content: Content) -> ContentReaders:
    listed = [name for row in table.rows(content.kind, content.name) for name in row]
    rights = Rights(facts.now.authority, None)
    people = [
        each.name
        for each in policies.rules.principals
        if rights.of_account(policies, each.name, facts.time) and may_read(table, each, content)
    ]
    return ContentReaders(
        kind=content.kind,
        name=content.name,
        listed=listed,
        people=[EVERYBODY] if EVERYBODY in listed else sorted(people),
        reads=_counted(policies, _reads(facts, content)),
        refused=_counted(policies, _refused(facts, content)),
    )


def _reads(facts: Facts, content: Content) -> list[tuple[str | None, Evidence]]:
    """The reads of this content that count, each with its reader."""
    return [
        (each.predicate.reader, each)
        for each in facts.now.evidence.all(Read)
        if facts.now.authority.counts(each)
        and any((one.role, one.name) == (content.kind, content.name) for one in each.subjects)
    ]


def _refused(facts: Facts, content: Content) -> list[tuple[str | None, Evidence]]:
    """(4) The refused reads of a model, each with the account."""
    if content.kind != "model":
        return []
    rights = facts.now.authority
    return [
        (each.predicate.caller, each)
        for each in facts.now.evidence.all(Refusal)
        if (each.predicate.operation, each.predicate.model) == (REFUSED_READ, content.name)
        and rights.may_sign("promotion", each.keyid, each.development, each.index)
    ]


def _counted(policies: Policies, found: Iterable[tuple[str | None, Evidence]]) -> list[ReadCount]:
    """(3) One row per reader, most reads first."""
    known = {principal.name for principal in policies.rules.principals}
    groups: dict[str, list[Evidence]] = {}
    for name, statement in found:
        groups.setdefault(name if name in known else "", []).append(statement)
    rows = [_count(name or None, statements) for name, statements in groups.items()]
    return sorted(rows, key=lambda row: (-row.count, row.who or ""))


def _count(who: str | None, statements: list[Evidence]) -> ReadCount:
    return ReadCount(
        who=who,
        count=len(statements),
        last=max(map(at, statements), key=instant_of),
        evidence=[statements[-1].index],
    )
