"""What the log says of the alias that is served (`permission.Said`).

1. The holder is resolved and checked as the verifying loader does: `governance.release.serving`.
   What the loader refuses is a finding here.
2. Beyond the loader: open incidents end serving from the severity on that policy names; and so does
   a retirement of these bytes under any version number.
3. A row of the registry that says something else of version or alias is a finding.
4. A version whose periodic review has lapsed is not served where policy then stops it. A time is
   over without an entry of the log, so what the log says is asked again from time to time.
5. The new version of an open live rollout is added with its share (`canary`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from governance.attest.findings import finding
from governance.attest.predicates import Finding, Promotion
from governance.base.errors import InputError, VerificationError
from governance.history.state import LogState
from governance.log.evidence import Evidence
from governance.policy.serving import ServingRules
from governance.proxy import against
from governance.proxy.canary import Moment, canary_of
from governance.proxy.permission import Held, Said
from governance.release import retrospect
from governance.release.serving import resolve


def said_of(
    now: LogState, model: str, alias: str, at: Moment, differences: Iterable[Finding] = ()
) -> Said:
    """What the log says. `differences`: between log and registry."""
    rules, name = rules_of(now), f"{model}@{alias}"
    differences = tuple(differences)
    tenure = now.timeline.holders.get((model, alias))
    if tenure is None:
        return Said(now.size, (), None, (_not_held(now, model, alias),), rules)
    try:
        served = resolve(now, name)
    except (VerificationError, InputError) as error:
        return Said(now.size, (), None, (_refused(now, name, error),), rules)
    held = _held(now, tenure.given, rules)
    held = replace(held, against=(*held.against, *against.unreviewed(now, served, at.wall)))
    concerned = {held.name, name}
    findings = tuple(each for each in differences if each.subject in concerned)
    former = _former(now, tenure.given, rules)
    canary = canary_of(now, held, alias, at, differences)
    return Said(now.size, (held,), former, findings, rules, canary)


def rules_of(now: LogState) -> ServingRules:
    """What the policies in force say of serving; the defaults where the log, an old one, does not
    carry them.
    """
    policies = now.authority.in_force.policies
    return policies.rules.serving if policies is not None else ServingRules()


def _held(now: LogState, given: Evidence[Promotion], rules: ServingRules) -> Held:
    move = given.predicate
    subject = f"{move.model}/{move.version}"
    found = (
        *against.incidents(now, move.model_digest, subject, rules),
        *against.retired(now, move.model_digest, subject),
    )
    return Held(move.model, move.version, move.model_digest, given.index, found)


def _former(now: LogState, given: Evidence[Promotion], rules: ServingRules) -> Held | None:
    """The version from which a promotion took the alias, unless its bytes were rejected since."""
    if given.predicate.action != "promote":
        return None
    ended = (each for each in now.timeline.tenures if each.ended is not None)
    before = next((each for each in ended if each.ended and each.ended.index == given.index), None)
    if before is None or now.timeline.settled_otherwise(before.given.predicate) is not None:
        return None
    return _held(now, before.given, rules)


def _not_held(now: LogState, model: str, alias: str) -> Finding:
    """Why nobody holds the alias: its last holder was retired, or nobody ever did."""
    tenures = [
        tenure for tenure in now.timeline.tenures if (tenure.model, tenure.alias) == (model, alias)
    ]
    last = tenures[-1] if tenures else None
    if last is not None and last.ended is not None and last.how_ended == "retired":
        fields = {"model": model, "version": last.version, "alias": alias}
        subject, found = f"{model}/{last.version}", f"entry {last.ended.index}"
        return finding("RETIRED", subject, found=found, **fields)
    return finding("ALIAS_NOT_HELD", f"{model}@{alias}", alias=alias)


def _refused(now: LogState, name: str, error: VerificationError | InputError) -> Finding:
    """(1) What the loader refuses."""
    known = [each for each in retrospect.rejected(now) if each.subject == name]
    if known:
        return known[0]
    return finding(
        "DECISION_NOT_REPRODUCED",
        name,
        expected=error.expected,
        found=f"{error.found} {error.where}",
    )
