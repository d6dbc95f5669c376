"""What both verifiers repeat of a decision: each rule, as a move that broke it and as one that did
not.

Somebody with the service's key records the move past the server. The second verifier repeats less
than the first: `RELIED_ON` names the rest, and every code is in one of its lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from governance.attest.codes import CODES
from governance.attest.predicates import Artifact, Finding
from governance.base.time import exact_instant
from governance.bundle import standalone_verifier as verifier
from governance.bundle import verify_bundle
from governance.history import packet
from governance.history.verify import TrustAnchors
from governance.log import evidence
from governance.machine.machine import signer
from governance.policy.policies import load_policies
from governance.release import promotion
from tests.conftest import rows
from tests.governance.bundles import made, pin, requested
from tests.governance.forged import forge
from tests.governance.governed import RULES, Governed, begun, governed, principals
from tests.governance.story import MODEL, ROOT, digest

COMMIT = "0" * 39 + "1"
OTHER = "0" * 39 + "2"


def verdicts(scene: Governed, version: str = "1") -> tuple[bool, bool]:
    """Whether the first and the second verifier accept the bundle of a version."""
    data, origin = made(scene.story.log, version), pin(scene.story.log)
    first = verify_bundle(data, TrustAnchors(origin))
    try:
        verifier.verify(data, origin)
    except verifier.Refused:
        return first.ok, False
    return first.ok, True


def promoted(scene: Governed) -> None:
    """All that a promotion needs, and the promotion past the server."""
    requested(scene)
    forge(scene, "1")


def waived(code: str, about: str = f"model {MODEL}") -> Callable[[Governed], None]:
    """The same, after a waiver."""

    def act(scene: Governed) -> None:
        scene.waive(code, about)
        scene.released()

    return act


def silent(code: str) -> Callable[[Governed], None]:
    """After a waiver, a move past the server that states none."""

    def act(scene: Governed) -> None:
        if code == "INCIDENT_OPEN":
            scene.incident("1", "open")
        scene.waive(code, f"model {MODEL}")
        promoted(scene)

    return act


def held(scene: Governed, hours: int) -> None:
    """The request is open for two days, and policy permits one."""
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen)
    scene.request(expires=exact_instant(scene.now + timedelta(hours=48)))
    scene.story.minutes += hours * 60
    forge(scene, "1")


def retired(scene: Governed) -> None:
    scene.released()
    asked = scene.request(action="retire")
    scene.approve("ben", "risk", asked, "promotion")
    scene.consume(action="retire")


def retired_in_an_incident(scene: Governed) -> None:
    """The usual reason of a retirement; it needs no closed incident."""
    scene.released()
    scene.incident("1", "open")
    asked = scene.request(action="retire")
    scene.approve("ben", "risk", asked, "promotion")
    scene.consume(action="retire")


def given_again(scene: Governed) -> None:
    retired(scene)
    promoted(scene)


def another(scene: Governed, version: str) -> None:
    """A further version of other bytes, released."""
    stage = f"sft{version}"
    scene.story.train(stage, "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    scene.story.register(stage, version)
    scene.released(version)


def rolled_back(scene: Governed, to: str, **fields: Any) -> None:
    """A rollback past the server, asked for by two people."""
    stage = "sft" if to == "1" else f"sft{to}"
    bytes_of = {"model_digest": scene.story.models[stage], "stage": stage}
    asked = scene.request(to, action="rollback", **bytes_of, **fields)
    if not fields:
        scene.approve("ben", "risk", asked, "promotion")
    forge(scene, to, action="rollback")


def back_past_a_good_version(scene: Governed) -> None:
    scene.released()
    another(scene, "2")
    another(scene, "3")
    rolled_back(scene, "1")


def back_past_an_incident(scene: Governed) -> None:
    scene.released()
    another(scene, "2")
    another(scene, "3")
    incident(scene, "2")
    rolled_back(scene, "1")


def back_to_the_last(scene: Governed) -> None:
    scene.released()
    another(scene, "2")
    rolled_back(scene, "1")


def incident(scene: Governed, version: str) -> None:
    """Ben opens one on a later version."""
    kept = scene.story.models["sft"]
    scene.story.models["sft"] = scene.story.models[f"sft{version}"]
    scene.incident(version, "open")
    scene.story.models["sft"] = kept


def alone_twice(scene: Governed, named: str | None = None) -> None:
    """Cleo alone, in an emergency; nobody seconds it in time; cleo alone once more. `named`: the
    overdue move that a waiver and the last move name; empty for the right one.
    """
    scene.released()
    another(scene, "2")
    another(scene, "3")
    due = exact_instant(scene.now + timedelta(hours=1))
    glass = {"break_glass": True}
    bytes_of = {"model_digest": scene.story.models["sft2"], "stage": "sft2"}
    scene.request("2", action="rollback", **bytes_of, **glass)
    entry = forge(scene, "2", action="rollback", second_signature_by=due)
    scene.story.minutes += 120
    if named is None:
        rolled_back(scene, "1", **glass)
        return
    code, about, figures = "SECOND_SIGNATURE_OVERDUE", f"rollback of {MODEL}", [named or str(entry)]
    scene.waive(code, about, accepts=[{"figures": figures}])
    bytes_of = {"model_digest": scene.story.models["sft"], "stage": "sft"}
    scene.request("1", action="rollback", **bytes_of, **glass)
    due = exact_instant(scene.now + timedelta(hours=72))
    waived = [stated(code, about, figures)]
    forge(scene, "1", action="rollback", waived=waived, second_signature_by=due)


def stated(code: str, about: str, figures: list[str]) -> Finding:
    """A waived finding, as a move states it."""
    return Finding(
        code=code, subject=about, message="m", expected="e", found="f", next="n", figures=figures
    )


def waives_another(code: str, about: str = f"model {MODEL}") -> Callable[[Governed], None]:
    """A waiver accepts other figures of a finding. Packet and move state that these were found."""

    def act(scene: Governed) -> None:
        figures = ["another"]
        scene.waive(code, about, accepts=[{"figures": figures}])
        lies(scene, stated(code, about, figures))

    return act


def waives_what_was_found(code: str, about: str = f"model {MODEL}") -> Callable[[Governed], None]:
    """The same, and they are those that were found."""

    def act(scene: Governed) -> None:
        (found,) = scene.found(code, about)
        scene.waive(code, about)
        lies(scene, stated(code, about, found["figures"]))

    return act


def invents_a_waiver(scene: Governed) -> None:
    """Packet and move say that a finding was waived, and nobody waived it."""
    lies(scene, stated("THRESHOLD_NOT_MET", "model sft", []))


def lies(scene: Governed, finding: Finding) -> None:
    """Packet and move say that this finding was waived."""
    story = scene.story
    now = promotion.state(story.log)
    true = promotion.freeze(now, MODEL, "1", scene.now, story.run())
    findings = [one for one in true.findings if one.code != finding.code]
    false = true.model_copy(update={"waived": [finding], "findings": findings})
    evidence.record(story.log, signer(story.machine), "packet", packet.subjects(false), false)
    asked_and_forged(scene, "1", packet.digest_of(false), waived=[finding])


def asked_and_forged(scene: Governed, version: str, frozen: str, **fields: Any) -> None:
    """Two approvals, the request, and the promotion past the server."""
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen)
    scene.request(version)
    forge(scene, version, **fields)


def after_their_last_day(scene: Governed) -> None:
    frozen = scene.freeze()
    scene.approve("ada", "ml-lead", frozen)
    scene.approve("ben", "risk", frozen)
    scene.request(expires="2026-12-04T09:00:00.000000Z")
    forge(scene, "1", at="2026-12-01T09:00:00.000000Z")


def past_the_gate(scene: Governed) -> None:
    """The gate decided on other data than the training used."""
    story = scene.story
    story.models["sft"] = story._model("sft")
    (gate,) = [
        one
        for one in promotion.state(story.log).evidence.all("gate")
        if one.predicate.stage == "gate@sft"
    ]
    inputs = [
        Artifact(role="data", name="in", sha256=digest("other data")),
        Artifact(role="parent", name="models/base/model", sha256=story.models["base"]),
        gate.subjects[0],
    ]
    made = [Artifact(role="model", name="models/sft/model", sha256=story.models["sft"])]
    common = {
        "method": "sft", "objective": digest("objective sft"), "records": 2900, "steps": 150,
        "final": {"loss": 0.42, "reward": None}, "device": "cpu", "threads": 1,
        "use": {"train": {"offered": 9, "used": 9, "dropped": {}, "truncated": 0}},
        "adapter": digest("adapter"), "run": story.run(),
    }  # fmt: skip
    story.record("train", "train@sft", made, inputs, **common)
    story.register("sft", "2")
    asked_and_forged(scene, "2", scene.freeze("2"))


def from_nowhere(scene: Governed) -> None:
    """A version of bytes that nothing in the log made."""
    scene.story.models["sft"] = scene.story._model("other")
    (scene.story.root / "models/sft/model").rename(scene.story.root / "models/sft/before")
    (scene.story.root / "models/other/model").rename(scene.story.root / "models/sft/model")
    scene.story.register("sft", "2")
    asked_and_forged(scene, "2", scene.freeze("2"))


@dataclass(frozen=True)
class Row:
    """What happens in a log, its policies, and whether both verifiers accept it."""

    act: Callable[[Governed], None]
    accepted: bool
    rules: str = RULES
    changes: tuple[tuple[str, str, str], ...] = ()
    """File below policies/, a text in it and what stands in its place, in policies that the owners
    put in force before.
    """
    people: str = ""


def in_force(scene: Governed, changes: tuple[tuple[str, str, str], ...]) -> None:
    """Changed policies, signed by their owners."""
    folder = scene.story.root / "policies"
    for name, old, new in changes:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    policies = load_policies(folder)
    scene.propose(policies)
    for who in ("ada", "ben"):
        scene.approve(who, "policy-owner", policies.digest, "policy")


def tier(demand: str) -> tuple[tuple[str, str, str], ...]:
    """One demand more of the tier of the model."""
    end = "classifications: [public, internal, confidential]\n  # Data"
    return (("policy.yaml", end, end.replace("\n", f"\n    {demand}\n", 1)),)


OTHER_BASE = (
    ("bases.yaml", "tiny:", "other:"),
    ("bases.yaml", digest("base tiny"), digest("another")),
)
OTHER_LICENCE = (("bases.yaml", "Apache-2.0", "Proprietary"),)
LEAVING = principals().replace('"name": "ada",', '"name": "ada", "until": "2026-11-25",')
LONG = RULES.replace("request_hours: 24", "request_hours: 400")
REVIEWED_BY = "2026-11-25"
LIMITED = "    approvals: 2\n    approvers: [ml-lead, risk, product]\n"


def review_rule(then: str) -> tuple[tuple[str, str, str], ...]:
    """Policies in which the tier says what follows where a review is overdue, after five days."""
    rule = f"    overdue_review: {{grace_days: 5, then: {then}}}\n"
    return (("policy.yaml", LIMITED, LIMITED + rule),)


def next_while_overdue(
    scene: Governed, after: int, waive: bool = False, review: tuple[str, str] = ("", "")
) -> None:
    """Version 1 is to be reviewed by a day; so many days after the start, somebody may review it,
    and version 2 is promoted.
    """
    scene.released()
    scene.review(next_by=REVIEWED_BY)
    scene.story.minutes += after * 24 * 60
    who, role = review
    if who:
        scene.review("1", who, role)
    scene.story.train("sft2", "sft", "conversation", "desk_sft", "base", accuracy=0.98)
    scene.story.register("sft2", "2")
    scene.main = "sft2"
    if waive:
        accepts = [{"figures": [REVIEWED_BY]}]
        scene.waive("REVIEW_OVERDUE", f"version {MODEL}/1", accepts=accepts)
    scene.asked_for("2")
    if waive:
        scene.consume("2")
    else:
        forge(scene, "2")


def closed(scene: Governed, *said: tuple[str, str, dict[str, Any]]) -> None:
    """ben opens an incident and acts, these people say this of it, and the version is promoted past
    the server.
    """
    scene.incident("1", "open", actions=["withdrew it"])
    for state, who, fields in said:
        scene.incident("1", state, who, {"ada": "ml-lead", "ben": "risk"}[who], **fields)
    promoted(scene)


ANOTHER = RULES + "incidents: {checked_by_another: true}\n"
NEEDS = RULES + "incidents: {closing_needs: [severity, cause, actions]}\n"
UNCHECKED: dict[str, Any] = {"effective": "", "effective_at": None}
CHECK: dict[str, Any] = {
    "effective": "300 answers: none",
    "effective_at": "2026-11-20T09:00:00.000000Z",
}


ROWS = {
    "a permitted commit": Row(promoted, True, f"{RULES}commits: ['{COMMIT}']\n"),
    "another commit": Row(promoted, False, f"{RULES}commits: ['{OTHER}']\n"),
    "another commit, waived": Row(
        waived("COMMIT_NOT_PERMITTED"), True, f"{RULES}commits: ['{OTHER}']\n"
    ),
    "another commit, waived, and the move does not say so": Row(
        silent("COMMIT_NOT_PERMITTED"), False, f"{RULES}commits: ['{OTHER}']\n"
    ),
    "another commit, and a waiver of a third one": Row(
        waives_another("COMMIT_NOT_PERMITTED"), False, f"{RULES}commits: ['{OTHER}']\n"
    ),
    "another commit, and its waiver": Row(
        waives_what_was_found("COMMIT_NOT_PERMITTED"), True, f"{RULES}commits: ['{OTHER}']\n"
    ),
    "an open incident, waived, and the move does not say so": Row(silent("INCIDENT_OPEN"), False),
    "another builder, and a waiver of a third one": Row(
        waives_another("BUILDER_NOT_PERMITTED"), False, f"{RULES}builders: [other]\n"
    ),
    "another builder, and its waiver": Row(
        waives_what_was_found("BUILDER_NOT_PERMITTED"), True, f"{RULES}builders: [other]\n"
    ),
    "a permitted builder": Row(promoted, True, f"{RULES}builders: [ci]\n"),
    "another builder": Row(promoted, False, f"{RULES}builders: [other]\n"),
    "no canary": Row(promoted, False, changes=tier("canary: true")),
    "no canary, waived": Row(waived("CANARY_MISSING"), True, changes=tier("canary: true")),
    "one signer": Row(promoted, False, changes=tier("separate_evaluator: true")),
    "one signer, waived": Row(
        waived("SEPARATE_EVALUATOR", "model sft"), True, changes=tier("separate_evaluator: true")
    ),
    "another base": Row(promoted, False, changes=OTHER_BASE),
    "another base, waived": Row(waived("BASE_NOT_ALLOWED", "base tiny"), True, changes=OTHER_BASE),
    "another base, and a waiver of a third one": Row(
        waives_another("BASE_NOT_ALLOWED", "base tiny"), False, changes=OTHER_BASE
    ),
    "one signer, and a waiver of another": Row(
        waives_another("SEPARATE_EVALUATOR", "model sft"),
        False,
        changes=tier("separate_evaluator: true"),
    ),
    "another licence": Row(promoted, False, changes=OTHER_LICENCE),
    "a tier without aliases": Row(
        promoted,
        False,
        changes=(
            ("policy.yaml", "limited:\n    promotable: true", "limited:\n    promotable: false"),
        ),
    ),
    "trained past its gate": Row(past_the_gate, False),
    "trained by nobody": Row(from_nowhere, False),
    "a request that is open for longer than policy permits": Row(partial(held, hours=25), False),
    "the same request in time": Row(partial(held, hours=23), True),
    "retired": Row(retired, True),
    "retired while an incident is open": Row(retired_in_an_incident, True),
    "given again after its retirement": Row(given_again, False),
    "back to the last earlier version": Row(back_to_the_last, True),
    "back past a version against which nothing is open": Row(back_past_a_good_version, False),
    "back past a version with an incident": Row(back_past_an_incident, True),
    "alone again while the second signature is overdue": Row(alone_twice, False),
    "alone again while the second signature is overdue, waived": Row(
        partial(alone_twice, named=""), True
    ),
    "alone again while another second signature is overdue than its waiver names": Row(
        partial(alone_twice, named="1"), False
    ),
    "a waived finding of the packet that nobody waived": Row(invents_a_waiver, False),
    "promoted while a review is overdue": Row(
        partial(next_while_overdue, after=7), False, changes=review_rule("warn")
    ),
    "promoted before the review is overdue": Row(
        partial(next_while_overdue, after=4), True, changes=review_rule("warn")
    ),
    "promoted while a review is overdue, waived": Row(
        partial(next_while_overdue, after=7, waive=True), True, changes=review_rule("stop_serving")
    ),
    "promoted after the grace of a review, where policy only warns": Row(
        partial(next_while_overdue, after=20, waive=True), True, changes=review_rule("warn")
    ),
    "promoted after the grace of a review": Row(
        partial(next_while_overdue, after=20), False, changes=review_rule("block_moves")
    ),
    "promoted after a review": Row(
        partial(next_while_overdue, after=7, review=("ada", "ml-lead")),
        True,
        changes=review_rule("stop_serving"),
    ),
    "promoted after a review by who may not": Row(
        partial(next_while_overdue, after=7, review=("dora", "engineer")),
        False,
        changes=review_rule("stop_serving"),
    ),
    "promoted while a review is overdue, of which policy says nothing": Row(
        partial(next_while_overdue, after=20), True
    ),
    "an incident closed without a check": Row(
        lambda scene: closed(scene, ("closed", "ada", UNCHECKED)), False
    ),
    "an incident closed with an earlier check": Row(
        lambda scene: closed(scene, ("open", "ben", CHECK), ("closed", "ada", UNCHECKED)), True
    ),
    "an incident closed with a check before the last action": Row(
        lambda scene: closed(
            scene,
            ("open", "ben", CHECK),
            ("open", "ben", {"actions": ["filtered"]}),
            ("closed", "ada", UNCHECKED),
        ),
        False,
    ),
    "an incident checked by who acted, where another must": Row(
        lambda scene: closed(scene, ("closed", "ben", {})), False, ANOTHER
    ),
    "an incident checked by another than who acted": Row(
        lambda scene: closed(scene, ("closed", "ada", {})), True, ANOTHER
    ),
    "an incident closed, and what policy needs is stated": Row(
        lambda scene: closed(scene, ("closed", "ada", {"severity": "low", "cause": "a bug"})),
        True,
        NEEDS,
    ),
    "an incident closed without a cause, which policy needs": Row(
        lambda scene: closed(scene, ("closed", "ada", {"severity": "low"})), False, NEEDS
    ),
    "long open": Row(after_their_last_day, True, LONG),
    "an approver whose last day is over": Row(after_their_last_day, False, LONG, people=LEAVING),
}


def test_every_code_of_a_decision_is_repeated_or_named_as_relied_on() -> None:
    """A new code of a gate or release must be put in one of the two lists, and the page has it."""
    sections = ("Gate and release", "People and governed aliases")
    codes = {name for name, code in CODES.items() if code.section in sections and code.blocking}
    relied_on = {code for text in verifier.RELIED_ON.values() for code in text.split()}
    repeated = set(verifier.REPEATED.split())
    assert codes == repeated | relied_on
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    table = page.partition("\n## 8.")[0].rpartition("\n| It relies on the service for |")[2]
    rows = {cells[0]: cells[1] for line in table.splitlines() if len(cells := _cells(line)) == 2}
    for what, text in verifier.RELIED_ON.items():
        assert set(rows[what].replace("`", "").split(", ")) == set(text.split())


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_second_verifier_says_what_it_relies_on(tmp_path: Path, capsys: Any) -> None:
    scene = governed(tmp_path)
    scene.released()
    path = tmp_path / "a.bundle"
    path.write_bytes(made(scene.story.log))
    assert verifier.main([str(path), "--origin", pin(scene.story.log)]) == 0
    shown = capsys.readouterr().out
    assert all(f"for {what}\n" in shown for what in verifier.RELIED_ON)


IN_CI = {
    *("a permitted commit", "another commit", "another commit, waived", "another builder"),
    *("no canary", "no canary, waived", "one signer", "another base", "another licence"),
    *(
        "trained past its gate",
        "retired while an incident is open",
        "back past a version with an incident",
    ),
    *("given again after its retirement", "alone again while the second signature is overdue"),
    *("a waived finding of the packet that nobody waived", "promoted while a review is overdue"),
    *("promoted after the grace of a review", "an incident closed with an earlier check"),
    "an approver whose last day is over",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", rows(ROWS, in_ci=IN_CI))
def test_both_verifiers_repeat_it(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    begin = begun(tmp_path, row.rules, row.people) if row.people else None
    scene = begin or governed(tmp_path, row.rules)
    if row.changes:
        in_force(scene, row.changes)
    row.act(scene)
    version = "2" if row.act in (from_nowhere, past_the_gate) else "1"
    assert verdicts(scene, version) == (row.accepted, row.accepted)
