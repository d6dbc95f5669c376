"""Page one's people: who trained, evaluated, validated, approved and deployed, and whether they are
different ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from governance.attest.predicates import Requester
from governance.base.text import moment
from governance.log.evidence import Evidence
from governance.report import assurance
from governance.report.facts import PREFIX, Facts, at, promoted, run_of
from governance.report.model import Person
from governance.report.standing import Standing, approval


def people(facts: Facts) -> list[Person]:
    """Who did what, as far as signatures show it."""
    evaluations = _evaluations(facts)
    rows = [
        _ran("trained", _trainings(facts), facts, assurance.of_all(facts)),
        _ran("evaluated", evaluations, facts, assurance.of_scores(facts, evaluations)),
        _nobody("validated", "not done: no independent validation is recorded"),
    ]
    if facts.standing is None:
        return [
            *rows,
            _nobody("approved", f"not done; {needed(facts)}"),
            _nobody("deployed", "not deployed"),
        ]
    return [*rows, *_approved(facts, facts.standing), _deployed(facts.standing)]


def needed(facts: Facts) -> str:
    """Whose approval policy demands, in words."""
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    if tier is None:
        return facts.policies_note or "needs: a tier in policies/policy.yaml"
    return (
        f"needs: approval by {tier.approvals} people in different roles"
        if tier.approvals
        else "needs: nobody"
    )


def separation(facts: Facts) -> str:
    """Whether different people trained, evaluated and approved."""
    if facts.standing is not None:
        return _separation(facts, facts.standing)
    trained, evaluated = (
        {item.keyid[:PREFIX] for item in items}
        for items in (_trainings(facts), _evaluations(facts))
    )
    same = sorted(trained & evaluated)
    shared = (
        f"the same key ({', '.join(same)}) trained and evaluated"
        if same
        else "different keys trained and evaluated"
    )
    return f"separation of duties: not shown ({shared}; nobody has approved)"


def name_of(facts: Facts, item: Evidence) -> str:
    """Whose key signed, as the policies in force then say."""
    who = facts.now.authority.principal(item.keyid, item.index) if facts.now else None
    return who.name if who else "development key" if item.development else "a key policies name"


def uncounted(standing: Standing) -> list[tuple[Evidence, str]]:
    """Words on the packet that do not count, and why."""
    why = {one.person: one.why for one in standing.votes[1]}
    counted, revoked = _counted(standing), standing.now.authority.revoked
    aside = [
        item
        for item in _votes(standing)
        if item.index not in counted and approval(item).principal in why
    ]
    found = [(item, why[approval(item).principal]) for item in aside]
    return [
        (
            (item, f"the key was revoked before, in E{revoked[item.keyid]}")
            if revoked.get(item.keyid, item.index) < item.index
            else (item, reason)
        )
        for item, reason in found
    ]


def _counted(standing: Standing) -> set[int]:
    return {item.index for _, _, item in (*standing.approvers, *standing.rejections)}


def self_approvals(facts: Facts, standing: Standing) -> dict[str, str]:
    """Who approves their own work or the move they asked for, counted or not, and which it is."""
    authors = dict.fromkeys(_asked(_trainings(facts)), "trained it")
    authors |= {name: "evaluated it" for name in _asked(_evaluations(facts)) if name not in authors}
    for asking in _asking(standing):
        authors.setdefault(asking.predicate.principal, "asked for the move")
    names = standing.now.authority.also_called
    authors |= {
        name: why
        for one, why in authors.items()
        for name in names.get(one, ())
        if name not in authors
    }
    votes = [approval(item) for item in _votes(standing)]
    approve = {vote.principal for vote in votes if vote.decision == "approve"}
    return {name: authors[name] for name in sorted(approve & set(authors))}


def _separation(facts: Facts, standing: Standing) -> str:
    own = self_approvals(facts, standing)
    if own:
        told = ", ".join(f"{name} {what} and approves it" for name, what in own.items())
        counted = {name for name, _, _ in standing.approvers}
        effect = "" if set(own) & counted else "; such approvals were not counted"
        return f"separation of duties: broken ({told}{effect})"
    if not standing.approvers:
        return "separation of duties: not shown (nobody has approved)"
    both = sorted(_asked(_trainings(facts)) & _asked(_evaluations(facts)))
    tier = facts.policies.tier_of(facts.registration.model) if facts.policies else None
    same = f"; {', '.join(both)} asked for training and evaluation" if both else ""
    permits = (
        f", which tier {facts.registration.tier} permits"
        if both and not (tier and tier.separate_evaluator)
        else ""
    )
    return (
        "separation of duties: holds (nobody who approved had asked for a run or for the"
        f" move{same}{permits})"
    )


def _asking(standing: Standing) -> list[Evidence]:
    """The request that was carried out; of a version that nothing was given to, every one that was
    made for it.
    """
    if standing.released is not None:
        carried = standing.request_of(standing.released)
        return [carried] if carried else []
    return standing.requests


def _trainings(facts: Facts) -> list[Evidence]:
    return [node.train for node in facts.trained if node.train]


def _evaluations(facts: Facts) -> list[Evidence]:
    return [
        item
        for node in facts.trained
        for suite in facts.suites
        if (item := facts.evaluation(node, suite))
    ]


def _asked(items: Iterable[Evidence]) -> set[str]:
    return {run.requested_by.name for item in items if (run := run_of(item))}


def _votes(standing: Standing) -> list[Evidence]:
    """Everything said of the packet."""
    found = standing.now.evidence.by_subject(standing.asked.packet or "", "approval")
    return [item for item in found if approval(item).about == "packet"]


def _ran(did: str, items: Sequence[Evidence], facts: Facts, assured: str) -> Person:
    """A run by a service, in the name of whoever asked for it."""
    if not items:
        return _nobody(did, "not recorded")
    asked: list[Requester] = [run.requested_by for item in items if (run := run_of(item))]
    names = sorted({f"{who.name}{'' if who.authenticated else ' (claimed)'}" for who in asked})
    keys = sorted({item.keyid[:PREFIX] for item in items})
    services = sorted({name_of(facts, item) for item in items})
    return Person(
        did=did,
        who=", ".join(names),
        role=f"asked for the runs; signed by {', '.join(services)}",
        at=moment(at(items[-1])),
        key=", ".join(keys),
        assurance=assured,
        evidence=[item.index for item in items][:6],
    )


def _approved(facts: Facts, standing: Standing) -> list[Person]:
    """One row per person who approved or rejects, those whose word does not count too."""
    counted = _counted(standing)
    why = {item.index: reason for item, reason in uncounted(standing)}
    rows = [
        _vote(item, item.index in counted, why.get(item.index, "")) for item in _votes(standing)
    ]
    return rows or [_nobody("approved", f"not done; {needed(facts)}")]


def _vote(item: Evidence, counts: bool, why: str) -> Person:
    said = approval(item)
    if counts:
        word = "signed the page shown"
    else:
        word = f"DOES NOT COUNT: {why}" if why else "superseded by a later word, or not needed"
    return Person(
        did="approved" if said.decision == "approve" else "rejected",
        who=said.principal,
        role=said.role,
        at=moment(said.at),
        key=item.keyid[:PREFIX],
        assurance=word,
        evidence=[item.index],
    )


def _deployed(standing: Standing) -> Person:
    last = (
        standing.live[-1].given
        if standing.live
        else (standing.held[-1].given if standing.held else None)
    )
    if last is None:
        return _nobody("deployed", "not deployed")
    said, asked = promoted(last), standing.request_of(last)
    return Person(
        did="deployed" if standing.live else "deployed, not any more",
        who=asked.predicate.principal if asked else "nobody asked",
        role=(
            f"{asked.predicate.role}; called by {said.caller or 'not recorded'}"
            if asked
            else "none"
        ),
        at=moment(said.at),
        key=asked.keyid[:PREFIX] if asked else "none",
        assurance="signed request, decided by the log",
        evidence=[last.index, *([asked.index] if asked else [])],
    )


def _nobody(did: str, why: str) -> Person:
    return Person(
        did=did, who=why, role="none", at="none", key="none", assurance="none", evidence=[]
    )
